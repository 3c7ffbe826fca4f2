"""`adaslide evaluate fie`: the shape of its answer, and that it needs no torch."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")

from adaslide.domain.errors import WeightsMissing
from adaslide_models.data.sources import Source
from adaslide_models.evaluate.fie import evaluate, patches

KEYS = {
    "psnr", "psnr_bicubic", "ssim", "ssim_bicubic", "dice", "dice_bicubic", "dice_not_worse",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory, sample_pixels):
    """One whole patch beside a strip of glass, and an image smaller than a patch."""
    folder = tmp_path_factory.mktemp("data")
    glass = np.full((512, 512, 3), 243, np.uint8)
    images = {
        "sr/one/a.png": np.hstack([sample_pixels[1000:1512, 600:1112], glass, glass[:, :40]]),
        "sr/two/b.png": sample_pixels[500:690, 800:1010],
    }
    for name, pixels in images.items():
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(pixels).save(folder / name)
    (folder / "list.txt").write_text("\n".join(images))
    return folder


def test_patches_are_whole_and_not_glass(data):
    assert [p.shape for p, _ in patches(Source(data, "sr/one/a.png"))] == [(512, 512, 3)]
    assert [p.shape for p, _ in patches(Source(data, "sr/two/b.png"))] == [(190, 210, 3)]


def test_answer(data):
    code = (
        "import sys; from adaslide.cli import app; app(standalone_mode=False);"
        "assert 'torch' not in sys.modules"
    )
    call = [sys.executable, "-c", code, "evaluate", "fie", "--data", str(data)]
    run = subprocess.run(
        [*call, "--split", str(data / "list.txt"), "--json"], capture_output=True, text=True, check=True
    )
    result = json.loads(run.stdout)
    assert set(result) == {"one", "two"}
    for row in result.values():
        assert set(row) == KEYS | {"n", "stored"}
        assert row["n"] == 1
        assert set(row["stored"]) == {"q45", "q60"}
        assert all(set(values) == KEYS for values in row["stored"].values())
        assert row["psnr"] > row["stored"]["q60"]["psnr"] > row["stored"]["q45"]["psnr"]
        assert row["psnr"] > row["psnr_bicubic"]


def test_unknown_weights(data):
    with pytest.raises(WeightsMissing):
        evaluate(data, data / "list.txt", "no-such-weights")
