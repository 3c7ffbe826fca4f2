"""What `adaslide doctor` finds out about the nets."""

import shutil

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")

from adaslide.adapters.inference.golden import folder_of, pixel_tiles
from adaslide.adapters.inference.weights import FOLDER_VARIABLE, pinned, weights_named
from adaslide.diagnosis import diagnose

FIE = "fie-compact-x4"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The released enhancer once more, in the user's own folder of weights; that folder."""
    weights = weights_named(FIE)
    shutil.copy(weights.path, tmp_path / "net.onnx")
    shutil.copytree(folder_of(weights), tmp_path / "golden" / folder_of(weights).name)
    (tmp_path / "manifest.toml").write_text(
        f'[{FIE}]\nkind = "restorer"\nscale = 4\nonnx = "net.onnx"\nsha256 = "{weights.digest.hex()}"\n'
    )
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def check_of(name):
    (check,) = (check for check in diagnose() if name in check.name)
    return check


def test_every_net_is_run_on_its_golden_tiles(own):
    checks = {check.name: check for check in diagnose()}
    for name in (FIE, "nuclei-unet"):
        check = checks[f"runs {pinned(weights_named(name))} as it was measured"]
        assert check.ok
        assert "ONNX Runtime" in check.detail


def test_a_runtime_that_gives_other_pixels_is_called_out(own):
    tile = pixel_tiles(weights_named(FIE))[0]
    path = folder_of(weights_named(FIE)) / "0-expected.png"
    Image.fromarray(np.where(tile.expected < 128, tile.expected + 4, tile.expected - 4)).save(path)
    check = check_of(FIE)
    assert not check.ok
    assert "RuntimeMismatch" in check.detail
    assert "4 grey levels" in check.detail


def test_weights_that_cannot_be_checked_are_called_out(own):
    shutil.rmtree(own / "golden")
    check = check_of(FIE)
    assert not check.ok
    assert "golden" in check.detail


def test_a_manifest_that_cannot_be_read_is_one_finding(own):
    (own / "manifest.toml").write_text("[")
    assert not check_of("weights").ok
