"""Which weights are installed, and which of two with one name wins."""

import hashlib

import pytest

from adaslide.adapters.inference.onnx import verified
from adaslide.adapters.inference.weights import (
    FOLDER_VARIABLE,
    installed,
    weights_named,
    weights_of,
)
from adaslide.domain.errors import ModelError, WeightsMissing
from adaslide.settings import load_settings

FIE = "fie-compact-x4"


def manifest(name, digest, kind="restorer"):
    return f'[{name}]\nkind = "{kind}"\nscale = 4\nonnx = "net.onnx"\nsha256 = "{digest.hex()}"\n'


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder of the user's own with another net under a released name."""
    (tmp_path / "net.onnx").write_bytes(b"a net")
    digest = hashlib.sha256(b"a net").digest()
    (tmp_path / "manifest.toml").write_text(manifest(FIE, digest))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path, digest


def test_every_released_weight_is_whole_and_has_a_card():
    for name, weights in installed().items():
        assert verified(weights.path, weights.digest), name
        assert (weights.path.parent / weights.table["card"]).is_file(), name
        assert weights.table["licence"], name


def test_the_enhancer_is_released():
    weights = weights_named(FIE)
    assert (weights.kind, weights.table["scale"]) == ("restorer", 4)
    assert weights_of(weights.digest) == weights


def test_released_weights_are_small():
    folder = weights_named(FIE).path.parent
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 60e6


def test_the_folder_of_the_user_wins_by_name(own):
    folder, digest = own
    assert weights_named(FIE).path == folder / "net.onnx"
    assert weights_of(digest).path == folder / "net.onnx"


def test_released_weights_are_found_by_digest_all_the_same(own, monkeypatch):
    hidden = weights_named(FIE)
    monkeypatch.delenv(FOLDER_VARIABLE)
    released = weights_named(FIE)
    assert released.digest != hidden.digest
    monkeypatch.setenv(FOLDER_VARIABLE, str(own[0]))
    assert weights_of(released.digest) == released


def test_the_folder_is_a_known_setting(own, monkeypatch):
    monkeypatch.delenv("ADASLIDE_DATA", raising=False)  # of the tests of models/, not a setting
    assert load_settings().weights == own[0]


def test_unknown_weights_are_missing():
    with pytest.raises(WeightsMissing):
        weights_named("no-such-weights")
    with pytest.raises(WeightsMissing):
        weights_of(bytes(32))


def test_a_folder_without_a_manifest(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsMissing, match=FOLDER_VARIABLE) as caught:
        installed()
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("text", ["[a", '[a]\nkind = "restorer"', "a = 1", manifest("a", b"x") + "x y"])
def test_a_manifest_that_cannot_be_used_is_named_by_its_setting(tmp_path, monkeypatch, text):
    (tmp_path / "manifest.toml").write_text(text)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match=FOLDER_VARIABLE) as caught:
        installed()
    assert str(tmp_path) not in caught.value.message
