"""A cluster that may be hurt, and a slide of three shards that it compresses again and again."""

import numpy as np
import pytest

from chaos.patient import LEASE_S, Patient
from e2e.services import Cluster
from jpeg_slide import write_jpeg_slide
from servers.fault_proxy import FaultProxy

PATCH, COLUMNS = 512, 34
"""Sixteen, sixteen and two patches: three shards."""


@pytest.fixture(scope="session")
def wide_slide(sample_pixels, tmp_path_factory):
    """A JPEG-tiled slide of 34 x 1 patches, three shards: glass, with two patches of tissue in each."""
    strip = np.full((PATCH, COLUMNS * PATCH, 3), 243, np.uint8)
    for column in (3, 20, 32):
        strip[:, column * PATCH : (column + 2) * PATCH] = sample_pixels[900 : 900 + PATCH, : 2 * PATCH]
    path = tmp_path_factory.mktemp("wide") / "wide.tif"
    return write_jpeg_slide(path, strip)


@pytest.fixture(scope="session")
def patient(postgres, valkey, s3, wide_slide, tmp_path_factory):
    """What is hurt: see `Patient`."""
    proxy = FaultProxy(s3.endpoint)
    cluster = Cluster(
        tmp_path_factory.mktemp("chaos"),
        postgres,
        valkey,
        s3,
        apis=1,
        workers=2,
        endpoint=proxy.endpoint,
        COMPRESSION__WORKERS=1,
        COMPRESSION__LEASE_S=LEASE_S,
        COMPRESSION__BEAT_S=0.2,
        COMPRESSION__RECONCILE_S=0.25,
        COMPRESSION__ATTEMPTS=30,
    )
    cluster.ready()
    yield Patient(cluster, postgres, valkey, s3, proxy, wide_slide)
    cluster.stop()
    proxy.close()
