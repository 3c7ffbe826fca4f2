"""`adaslide evaluate cda`: its arithmetic, the shape of its answer, and that it needs no torch."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")

from adaslide.domain.errors import WeightsMissing
from adaslide_models.data.sources import Source
from adaslide_models.evaluate.cda import evaluate, patches, summary


@pytest.fixture(scope="module")
def data(tmp_path_factory, sample_pixels):
    """Tissue of 0.5 and of 0.24 micrometres as the names of their data sets say, and glass beside one."""
    folder = tmp_path_factory.mktemp("data")
    glass = np.full((512, 512, 3), 243, np.uint8)
    images = {
        "sr/ocdc/a.png": np.hstack([sample_pixels[1000:1512, 600:1112], glass, glass[:, :40]]),
        "sr/camelyon16/b.png": sample_pixels[500:690, 800:1010],
    }
    for name, pixels in images.items():
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(pixels).save(folder / name)
    (folder / "list.txt").write_text("\n".join(images))
    return folder


def test_patches_are_whole_known_in_scale_and_not_glass(data):
    ocdc, camelyon = (Source(data, name) for name in ("sr/ocdc/a.png", "sr/camelyon16/b.png"))
    assert [(p.shape, mpp) for p, mpp in patches(ocdc, None)] == [((512, 512, 3), 0.5)]
    assert [(p.shape, mpp) for p, mpp in patches(camelyon, None)] == [((188, 208, 3), 0.24)]
    assert [(p.shape, mpp) for p, mpp in patches(ocdc, 1.0)] == [((256, 256, 3), 1.0)]
    assert patches(camelyon, 1.0) == []
    assert patches(ocdc, 0.4) == []


def test_rewards_follow_from_the_decisions():
    """Right, wrong, over-careful, rightly kept."""
    rows = [[0.9, 0.9], [0.8, 0.3], [0.1, 0.7], [0.2, 0.1]]
    result = summary(rows)
    assert result["n"] == 4
    assert result["agent"] == pytest.approx((0.95 - 1) / 4, abs=1e-4)
    assert result["always_compress"] == pytest.approx((0.95 - 1 + 0.85 - 1) / 4, abs=1e-4)
    assert result["random"] == pytest.approx(result["always_compress"] / 2, abs=1e-4)
    assert result["oracle"] == pytest.approx((0.95 + 0.85) / 4, abs=1e-4)
    assert result["always_keep"] == 0
    assert (result["share_compressed"], result["share_below_tau"], result["right"]) == (0.5, 0.5, 0.5)
    low, high = result["agent_interval"]
    assert low < result["agent"] < high
    assert "search" not in result


def test_the_search_is_averaged_over_the_patches_that_were_searched():
    result = summary([[0.9, 0.9, 3.0, 5.0], [0.9, 0.9, 4.0, 5.0], [0.9, 0.9]])
    assert result["search"] == {"n": 2, "measurements": 3.5, "measurements_from_the_middle": 5.0}


def test_answer(data):
    code = (
        "import sys; from adaslide.cli import app; app(standalone_mode=False);"
        "assert 'torch' not in sys.modules"
    )
    call = [sys.executable, "-c", code, "evaluate", "cda", "--data", str(data), "--search"]
    run = subprocess.run(
        [*call, "--split", str(data / "list.txt"), "--json"], capture_output=True, text=True, check=True
    )
    result = json.loads(run.stdout)
    assert set(result) == {"ocdc", "camelyon16", "all"}
    assert [result[name]["n"] for name in ("ocdc", "camelyon16", "all")] == [1, 1, 2]
    assert result["all"]["search"]["n"] == 1
    for row in result.values():
        assert row["agent"] <= row["oracle"]
        assert row["always_keep"] == 0


def test_unknown_weights(data):
    with pytest.raises(WeightsMissing):
        evaluate(data, data / "list.txt", "no-such-weights")
