"""Rules that no linter holds: the size of files, where torch may be, what the library exports.

The import contracts are held by `lint-imports` (``make check``).
"""

import ast
import subprocess
from pathlib import Path

import pytest

import adaslide

ROOT = Path(__file__).parents[2]
TREES = ("services", "models", "benchmarks", "tests")
LINES = 400
TRAINER_LINES = 500
PUBLIC = ["compress", "open"]


def python_files():
    """Every Python file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *TREES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.split("\0") if name.endswith(".py")]
    assert names
    return [path for name in names if (path := ROOT / name).is_file()]


def imported(path):
    """Top-level names of every module that ``path`` imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def test_no_file_is_long():
    trainers = ROOT / "models" / "adaslide_models" / "train"
    long = {
        str(path.relative_to(ROOT)): lines
        for path in python_files()
        if (lines := len(path.read_bytes().splitlines()))
        >= (TRAINER_LINES if path.parent == trainers else LINES)
    }
    assert not long


def test_torch_is_imported_in_models_only():
    found = [
        str(path.relative_to(ROOT))
        for path in python_files()
        if ROOT / "models" not in path.parents and {"torch", "torchvision"} & set(imported(path))
    ]
    assert not found


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import torch.nn as nn", ["torch"]),
        ("def f():\n    from torch import Tensor", ["torch"]),
        ("from . import torch", []),
    ],
)
def test_imports_are_found_where_they_hide(tmp_path, source, names):
    path = tmp_path / "module.py"
    path.write_text(source)
    assert list(imported(path)) == names


def test_locks_hold_no_torch():
    for name in ("requirements.lock", "requirements-dev.lock"):
        packages = {
            line.partition("==")[0]
            for line in (ROOT / name).read_text().splitlines()
            if "==" in line and not line.startswith((" ", "#"))
        }
        assert {"numpy", "zarr"} <= packages
        assert not {"torch", "torchvision"} & packages


def test_exported_members():
    assert sorted(adaslide.__all__) == PUBLIC
    for name in adaslide.__all__:
        assert getattr(adaslide, name) is not None
