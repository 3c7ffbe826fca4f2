"""What every suite shares: the sample slide, its pixels, and packages made of it once a session."""

import os
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import settings

from adaslide import library
from servers.collector import Collector

pytest_plugins = ["servers.seaweedfs", "servers.postgres", "servers.valkey", "servers.fault_proxy"]

settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

ROOT = Path(__file__).parent.parent

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
def archive_package(sample_slide, tmp_path_factory):
    """(path, totals) of the sample under the profile archive. Read only."""
    path = tmp_path_factory.mktemp("archive") / "sample.zarr"
    return path, library.compress(sample_slide, path, profile="archive")


@pytest.fixture(scope="session")
def exact_package(sample_slide, tmp_path_factory):
    """(path, totals) of the sample under the profile exact. Read only."""
    path = tmp_path_factory.mktemp("exact") / "sample.zarr"
    return path, library.compress(sample_slide, path, profile="exact")


@pytest.fixture(scope="session")
def restored_package(sample_pixels, tmp_path_factory):
    """(slide, path) of 1024 x 512 px of tissue, its two patches restored by a net or bicubic. Read only."""
    folder = tmp_path_factory.mktemp("restored")
    slide, path = folder / "slide.tif", folder / "slide.zarr"
    pixels = sample_pixels[900:1412, :1024]
    tifffile.imwrite(slide, pixels, photometric="ycbcr", tile=(256, 256), compression="jpeg")
    library.compress(slide, path, profile="paper", dice_floor=0.3, mpp=0.499, workers=1)
    return slide, path


@pytest.fixture(scope="module")
def collector():
    """A collector that is listening."""
    collector = Collector()
    yield collector
    collector.close()
