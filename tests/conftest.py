"""What every suite shares: the sample slide, its pixels, and packages made of it once a session."""

import json
import os
from pathlib import Path

import numpy as np
import openslide
import pytest
from filelock import FileLock
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from adaslide import library
from jpeg_slide import write_jpeg_slide
from servers.collector import Collector

pytest_plugins = ["servers.seaweedfs", "servers.postgres", "servers.valkey", "servers.fault_proxy"]

settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

ROOT = Path(__file__).parent.parent
SHARING = "tests/e2e/service/"
"""Tests of services that are started but once."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes run the tests, one runs all of a file, and all that share the e2e services."""
    return ByService(config, log)


class ByService(LoadFileScheduling):
    """See `pytest_xdist_make_scheduler`."""

    def _split_scope(self, nodeid):
        path = nodeid.split("::")[0]
        return SHARING if path.startswith(SHARING) else path


# Dozens of processes are started: without their bytecode each would compile what it imports, for seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def sample_slide():
    """The CC0 slide in the repository: 2220 x 2967 px, 130 RGB-JPEG tiles of 240 px."""
    return ROOT / "samples" / "CMU-1-Small-Region.svs"


@pytest.fixture(scope="session")
def sample_pixels(sample_slide):
    """(2967, 2220, 3) uint8, as OpenSlide reads the sample: the reference of every claim."""
    with openslide.OpenSlide(sample_slide) as slide:
        pixels = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    pixels.setflags(write=False)
    return pixels


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """Gives the folder ``name`` as ``make(folder)`` filled it, made once by all processes that run tests."""
    base = tmp_path_factory.getbasetemp()
    root = base if worker_id == "master" else base.parent

    def once(name, make):
        folder, done = root / f"once-{name}", root / f"once-{name}.done"
        with FileLock(folder.with_suffix(".lock")):
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return once


def made_package(made_once, slide, profile):
    """(path, totals) of ``slide`` under ``profile``."""

    def make(folder):
        totals = library.compress(slide, folder / "sample.zarr", profile=profile)
        (folder / "totals.json").write_text(json.dumps(totals))

    folder = made_once(profile, make)
    return folder / "sample.zarr", json.loads((folder / "totals.json").read_text())


@pytest.fixture(scope="session")
def archive_package(sample_slide, made_once):
    """(path, totals) of the sample under the profile archive. Read only."""
    return made_package(made_once, sample_slide, "archive")


@pytest.fixture(scope="session")
def net_package(sample_slide, made_once):
    """(path, totals) of the sample under a profile whose nets restored some patches of it. Read only."""
    return made_package(made_once, sample_slide, "archive@4")


@pytest.fixture(scope="session")
def exact_package(sample_slide, made_once):
    """(path, totals) of the sample under the profile exact. Read only."""
    return made_package(made_once, sample_slide, "exact")


@pytest.fixture(scope="session")
def restored_package(sample_pixels, made_once):
    """(slide, path) of 1024 x 512 px of tissue, its two patches restored by a net or bicubic. Read only."""

    def make(folder):
        pixels = sample_pixels[900:1412, :1024]
        write_jpeg_slide(folder / "slide.tif", pixels)
        library.compress(
            folder / "slide.tif", folder / "slide.zarr", profile="paper", dice_floor=0.3, mpp=0.499, workers=1
        )

    folder = made_once("restored", make)
    return folder / "slide.tif", folder / "slide.zarr"


@pytest.fixture(scope="module")
def collector():
    """A collector that is listening."""
    collector = Collector()
    yield collector
    collector.close()
