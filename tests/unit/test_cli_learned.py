"""The commands of the learned parts, in processes of their own."""

import json
import os
import subprocess
import sys

import pytest

from adaslide.adapters.inference.weights import FOLDER_VARIABLE

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from adaslide.cli import main; main()"


def adaslide(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments],
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_weights_that_are_whole_are_listed():
    done = adaslide("weights", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert {row["state"] for row in json.loads(done.stdout).values()} == {"ok"}


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize(
    ("content", "state"), [(b"another net", "digest-mismatch"), (None, "weights-missing")]
)
def test_a_file_that_is_not_what_its_manifest_names_is_a_fault_of_integrity(tmp_path, content, state, form):
    if content:
        (tmp_path / "net.onnx").write_bytes(content)
    (tmp_path / "manifest.toml").write_text(
        f'[mine]\nkind = "restorer"\nscale = 4\nonnx = "net.onnx"\nsha256 = "{"00" * 32}"\n'
    )
    done = adaslide("weights", "list", *form, **{FOLDER_VARIABLE: str(tmp_path)})
    assert done.returncode == 4, done.stderr
    assert state in done.stdout
    assert "nuclei-unet" in done.stdout


@pytest.mark.parametrize("net", ["segmenter", "fie-compact", "cda"])
def test_training_tells_its_options_without_torch(net):
    done = adaslide("train", net, "--help")
    assert done.returncode == 0, done.stderr
    for option in ("--data", "--split", "--val", "--out", "--budget", "--resume", "--seed", "--set"):
        assert option in done.stdout


def test_training_without_torch_names_the_extra(tmp_path):
    paths = [f"{option}={tmp_path}" for option in ("--data", "--split", "--val", "--out")]
    done = adaslide("train", "segmenter", *paths)
    assert done.returncode == 5
    assert "pip install 'adaslide[train]'" in done.stderr


def test_a_fold_needs_the_number_of_folds(tmp_path):
    paths = [f"{option}={tmp_path}" for option in ("--data", "--split", "--val", "--out")]
    done = adaslide("train", "segmenter", *paths, "--fold", "1")
    assert done.returncode == 2
    assert "--folds and --fold come together" in done.stderr
