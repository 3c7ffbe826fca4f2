"""A child's handler and a texture, for the tests of this folder."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaslide.adapters.slides.synthetic import SyntheticSlide
from adaslide.domain.geometry import Size

SAMPLE = Path(__file__).parents[4] / "samples" / "CMU-1-Small-Region.svs"

HANDLER = """
import os, time
from adaslide.domain.errors import SlideTooLarge, SlideUnsupported

class Handler:
    def __init__(self, refuse=False):
        if refuse:
            raise SlideUnsupported("refused")
    def echo(self, **values):
        return values, bytes(values.get("size", 0))
    def pid(self):
        return {"pid": os.getpid()}, b""
    def crash(self):
        os.abort()
    def hang(self):
        time.sleep(600)
    def spin(self):
        while True:
            pass
    def grow(self):
        return {}, bytes(8 << 30)
    def bug(self):
        raise RuntimeError("/secret/path/of/a/patient")
    def too_large(self):
        raise SlideTooLarge("as I said")
"""


@pytest.fixture
def handler(tmp_path, monkeypatch):
    """The name of a handler that misbehaves on demand; a child finds it through its parent's sys.path."""
    (tmp_path / "misbehaving.py").write_text(HANDLER)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "misbehaving:Handler"


@pytest.fixture(scope="session")
def sample_slide():
    return SAMPLE


@pytest.fixture(scope="session")
def texture():
    """(768, 768, 3): the sample's real tissue, read without the code under test."""
    with Image.open(SAMPLE) as image:
        return np.asarray(image.convert("RGB"))[900:1668, 800:1568].copy()


@pytest.fixture(scope="session")
def synthetic(texture):
    return SyntheticSlide(Size(3000, 2500), seed=5, texture=texture)
