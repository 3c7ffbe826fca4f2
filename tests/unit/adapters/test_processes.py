"""Processes are light, of one thread, and leave the environment as it was."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

from adaslide import wiring
from adaslide.adapters.processes import processes
from adaslide.domain.profile import profile_named
from adaslide.pipeline.plan import plan

SAMPLE = Path(__file__).parents[3] / "samples" / "CMU-1-Small-Region.svs"

HEAVY = {"zarr", "scipy", "skimage", "pyvips", "jinja2", "pydantic", "matplotlib"}


def environment(name):
    return os.environ.get(name)


def loaded(name):
    return name in sys.modules


def test_each_runs_one_thread_and_has_loaded_what_it_needs(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with processes(1, ("wave",)) as pool:
        assert environment("OPENBLAS_NUM_THREADS") is None
        assert environment("OMP_NUM_THREADS") == "3"
        assert pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "1"
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
        assert pool.submit(loaded, "wave").result()


def test_what_encodes_is_light_and_complete():
    code = f"""
import importlib, pickle, sys
for name in {wiring.ENCODING!r}:
    importlib.import_module(name)
print(*sorted({HEAVY!r} & set(sys.modules)))
before = set(sys.modules)
pickle.loads(sys.stdin.buffer.read())
print(*sorted(name for name in set(sys.modules) - before if name.startswith("adaslide")))
"""
    with wiring.open_slide(SAMPLE) as reader:
        encoder = wiring.patch_encoder(plan(reader, profile_named("archive")))
    found = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(encoder.encode), capture_output=True, check=True
    )
    assert found.stdout.decode().splitlines() == ["", ""]
