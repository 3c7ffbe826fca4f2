"""What `adaslide doctor` finds out about the nets."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")

from adaslide.adapters.agents.cda import CdaAgent
from adaslide.adapters.inference.golden import folder_of, pixel_tiles
from adaslide.adapters.inference.weights import FOLDER_VARIABLE, pinned, weights_named
from adaslide.diagnosis import _picture, diagnose

FIE = "fie-compact-x4"
CDA = "cda-resnet18"


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


def test_the_agent_is_asked():
    agent = weights_named(CDA)
    check = check_of(CDA)
    assert check.name == f"asks {pinned(agent)}"
    assert check.ok
    told = float(re.search(r"p (0\.\d{3}) ", check.detail)[1])
    assert abs(CdaAgent.of(agent).probability(_picture()) - told) < 5e-4


@pytest.mark.parametrize(
    "name",
    [
        "cda-ladder@",
        "cda-ladder-2@",
        "cda-ladder-fast@",
        "cda-ladder-3@",
        "cda-ladder-4@",
        "cda-ladder-fast-2@",
        "cda-ladder-fast-3@",
    ],
)
def test_the_agent_of_a_ladder_is_asked(name):
    check = check_of(name)
    assert check.ok, check.detail
    assert re.search(r"^p [01]\.\d{3} for the test picture, twice$", check.detail)


def test_an_agent_that_gives_no_probability_is_called_out(tmp_path, monkeypatch):
    """The released agent, but its head's bias is not a number."""
    agent = weights_named(CDA)
    graph = bytearray(agent.path.read_bytes())
    trained = agent.path.with_name(agent.table["safetensors"]).read_bytes()
    length = int.from_bytes(trained[:8], "little")
    start, end = json.loads(trained[8 : 8 + length])["head.bias"]["data_offsets"]
    place = graph.index(trained[8 + length + start : 8 + length + end])
    graph[place : place + 4] = np.float32(np.nan).tobytes()
    (tmp_path / "net.onnx").write_bytes(graph)
    first_rung = agent.table["first_rung"]
    (tmp_path / "manifest.toml").write_text(
        f'[{CDA}]\nkind = "agent"\nonnx = "net.onnx"\nsha256 = "{hashlib.sha256(graph).hexdigest()}"\n'
        f"first_rung = {{ thresholds = {first_rung['thresholds']}, share = {first_rung['share']} }}\n"
    )
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    checks = {check.name: check for check in diagnose() if CDA in check.name}
    broken, released = (checks[f"asks {name}"] for name in (pinned(weights_named(CDA)), pinned(agent)))
    assert (broken.ok, released.ok) == (False, True)
    assert "nan is no probability" in broken.detail


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
