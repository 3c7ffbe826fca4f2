"""Benches for the suites of the worker."""

import pytest

from unit.worker.bench import Bench


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.database.close()


@pytest.fixture
def sleepy(tmp_path):
    """A bench whose worker never renews a lease: to the others it seems dead."""
    bench = Bench(tmp_path, beat_s=3600)
    yield bench
    bench.database.close()
