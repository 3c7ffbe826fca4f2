"""A worker whose nets run in torch: what it measured holds for whoever reads the package with ONNX."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from adaslide import codec_runtime, library, wiring
from adaslide.adapters.inference import golden
from adaslide.adapters.inference.weights import FOLDER_VARIABLE, MANIFEST, weights_pinned
from adaslide.domain.errors import RuntimeMismatch, Unavailable
from adaslide.domain.fidelity import Floors
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.profile import FIE_X4
from adaslide.package.envelope import Envelope
from adaslide.pipeline.check_patch import is_by_net
from adaslide.pipeline.compress_shard import read_patch
from adaslide_models.runtime import process
from adaslide_models.weights import load_trained, sha256
from adaslide_worker.compute import Compute
from adaslide_worker.nets import net_processes
from jpeg_slide import write_jpeg_slide

torch = pytest.importorskip("torch")
PARENT = Path(__file__).parent / "worker_parent.py"
SIDE, TILE, PATCH = 960, 240, 480


def run(*command, **settings):
    """The JSON that a process prints; ``settings`` are those of ``ADASLIDE_COMPRESSION``."""
    names = {f"ADASLIDE_COMPRESSION__{name.upper()}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ | names,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def made(request, sample_pixels, tmp_path_factory):
    """(slide, package, what its maker told): four patches, most restored by a net, which torch ran."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    folder = tmp_path_factory.mktemp("torch")
    slide = folder / "slide.tif"
    crop = sample_pixels[1920 : 1920 + SIDE, 480 : 480 + SIDE]
    write_jpeg_slide(slide, crop, tile=TILE, level=95)
    told = run(PARENT, slide, folder, "archive@3", runtime="torch", device=request.param, workers=1)
    return slide, folder / "slide.zarr", told


@pytest.fixture(scope="module")
def by_net(made):
    """{index: payload} of the patches that a net restores."""
    package = library.open_package(made[1])
    indices = [PatchIndex(row, col) for row in range(package.grid.rows) for col in range(package.grid.cols)]
    payloads = dict(zip(indices, package.payloads(indices), strict=True))
    return {index: payload for index, payload in payloads.items() if payload and is_by_net(payload)}


def test_the_parent_imports_nothing_heavy(made):
    assert made[2]["imported"] == []


def test_the_root_names_the_runtime_that_measured(made):
    (named,) = library.open_package(made[1]).info.attributes["runtime"]["nets"]
    assert named.startswith(f"torch {torch.__version__.partition('+')[0]} on c")
    assert named.endswith("in fp32")


def test_a_fresh_process_verifies_it_with_onnx(made, by_net):
    slide, package, told = made
    assert by_net  # or nothing here was proved about nets
    report = run("-m", "adaslide.cli", "verify", package, "--against", slide, "--json")
    assert report["ok"]
    assert report["violations"] == told["totals"]["violations"] == 0
    assert report["remeasured"] == report["patches"] == told["totals"]["patches"]["total"] == 4


def test_what_was_measured_is_what_onnx_measures(made, by_net):
    slide, path, _ = made
    package = library.open_package(path)
    checker = wiring.package_checker(package)
    floors = Floors(**package.info.attributes["floors"])
    with wiring.open_slide(slide) as reader:
        for index, payload in by_net.items():
            source = read_patch(reader, package.grid, reader.facts.tiles, index).source
            told, found = package.maps.fidelity(index), checker.remeasure(payload, source).fidelity
            assert floors.held_by(told, margin=True)
            assert not floors.violated_by(found)
            assert abs(told.dice - found.dice) < 5e-4
            assert abs(told.dice_window_min - found.dice_window_min) < 1e-3
            assert abs(told.ssim - found.ssim) < 1e-4


def test_it_decodes_with_onnx_within_the_tolerance(made, by_net, monkeypatch):
    monkeypatch.setattr(process, "_here", None)
    process.start(None, [])
    for payload in by_net.values():
        low = codec_runtime.stored_payload(payload, PATCH)
        digest = Envelope.unpack(payload).params.restorer_digest
        error = np.abs(
            process.restore(digest, [low])[0].astype(int) - codec_runtime.decode_payload(payload, PATCH)
        )
        assert error.max() <= golden.MAX_DIFFERENCE
        assert error.mean() <= golden.MEAN_DIFFERENCE


# The start


@pytest.fixture
def compute(request):
    compute = Compute(1, partial(net_processes, "cpu"))
    yield compute
    compute.close()


def children():
    return {
        child.pid
        for child in psutil.Process().children()
        if "multiprocessing.spawn" in " ".join(child.cmdline())
    }


def test_it_starts_with_processes_that_are_ready_and_ends_them(compute):
    before = children()
    compute.start()
    assert len(children() - before) == 1
    started = children()
    compute.start()
    assert children() == started
    compute.close()
    assert children() == before


def test_a_lost_process_is_a_passing_error_and_the_next_job_has_another(compute):
    before = children()
    compute.start()
    (lost,) = children() - before
    with pytest.raises(Unavailable, match="lost"), compute._pool() as (executor, _):
        executor.submit(os._exit, 1).result()
    with compute._pool() as (executor, _):
        assert executor.submit(os.getpid).result() not in (lost, os.getpid())


def test_a_start_whose_nets_fail_the_golden_tiles_fails(tmp_path, monkeypatch, compute):
    weights = weights_pinned(FIE_X4)
    shutil.copytree(weights.path.parent, tmp_path, dirs_exist_ok=True)
    tensors = load_trained(weights)
    tensors["tail.weight"] *= 1.2
    damaged = tmp_path / weights.table["safetensors"]
    pytest.importorskip("safetensors.torch").save_file(tensors, damaged)
    manifest = (tmp_path / MANIFEST).read_text()
    (tmp_path / MANIFEST).write_text(manifest.replace(weights.table["safetensors_sha256"], sha256(damaged)))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    before = children()
    with pytest.raises(RuntimeMismatch, match="grey levels"):
        compute.start()
    assert children() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_start_without_the_device_fails():
    with pytest.raises(Unavailable, match="no device 'cuda'"):
        Compute(1, partial(net_processes, "cuda")).start()
