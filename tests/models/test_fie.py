"""The enhancer's training, on made-up tissue: repeatable, resumable, and the same in torch and ONNX."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("safetensors")

from safetensors.torch import load_file

from adaslide.adapters.inference.onnx import OnnxModel, planes_of
from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.restorers.onnx import OnnxRestorer, with_residual
from adaslide.adapters.rungs.restored import degraded
from adaslide.domain.errors import DigestMismatch, InputError, NotFound
from adaslide_models import weights as trained_weights
from adaslide_models.data.patches import NONE, PairSettings, Variety, make_pairs, varied
from adaslide_models.data.sources import read_split
from adaslide_models.nets.compact import Compact
from adaslide_models.recipes.overrides import overridden
from adaslide_models.train.fie_compact import FieCompact, Run, train

torch = pytest.importorskip("torch")
GOLDEN = Path(__file__).parent / "golden" / "fie_compact_loss.json"
GOLDEN_SECOND = Path(__file__).parent / "golden" / "fie_compact_second_loss.json"
STEPS = 40


def tissue(seed, side=160):
    """Sharp purple nuclei on pink: what bicubic blurs, and a net soon learns to sharpen."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 5)
    nuclei = (field > field.std()).astype(float)[..., None]
    pixels = (1 - nuclei) * np.array([225, 160, 195]) + nuclei * np.array([75, 40, 120])
    return pixels.astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder of three images in two data sets, with its splits."""
    folder = tmp_path_factory.mktemp("data")
    names = ["sr/alpha/1.png", "sr/alpha/2.png", "sr/beta/images/3.png"]
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tissue(seed)).save(folder / name)
    (folder / "train.txt").write_text("\n".join(names[:2]))
    (folder / "val.txt").write_text(f"{names[2]}\tmask.png\tbinary\n")
    return folder


@pytest.fixture
def config(data, tmp_path):
    return FieCompact(
        data,
        data / "train.txt",
        data / "val.txt",
        tmp_path / "out",
        steps=STEPS,
        bf16=False,
        features=16,
        convolutions=6,
        crops=8,
        side=64,
        qualities=(45,),
        val_crops=2,
        processes=1,
        batch=32,
        crop=12,
        learning_rate=2e-3,
        warmup=5,
        epsilon=0.001,
    )


def test_seeded_training_follows_the_golden_curve(config):
    losses = train(config)
    assert len(losses) == STEPS
    assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:10])
    np.testing.assert_allclose(losses, json.loads(GOLDEN.read_text()), atol=1e-3)
    log = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert set(log[-1]["gain_db"]) == {"q45", "lossless"}


def test_a_second_run_begins_with_the_first_ones_net_and_goes_for_psnr(config):
    train(config)
    first = config.out / f"{config.name}.safetensors"
    second = replace(
        config,
        out=config.out.with_name("second"),
        start=first,
        seed=1,
        loss="log_error",
        epsilon=0.01,
        learning_rate=1e-3,
    )
    begun = Run(second).net.state_dict()
    assert all(value.equal(begun[name]) for name, value in load_file(first).items())
    losses = train(second)
    np.testing.assert_allclose(losses, json.loads(GOLDEN_SECOND.read_text()), atol=0.01)
    results = [json.loads((run.out / "result.json").read_text()) for run in (config, second)]
    gains = [result["best_val_gain_db"] for result in results]
    assert gains[1] > gains[0] > 0


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(config):
    whole = train(config)
    first = replace(config, out=config.out.with_name("half"))
    pairs = make_pairs(read_split(config.data, config.split), config.pairs(8, config.variety, 0), 1)
    run = Run(first)
    first.out.mkdir()
    start = [run.step(pairs, step / STEPS) for step in range(8)]
    run.save()
    torch.rand(7)
    rest = train(replace(first, resume=first.out))
    np.testing.assert_array_equal(start + rest, whole)


def test_there_must_be_something_to_resume(config, tmp_path):
    with pytest.raises(NotFound):
        train(replace(config, resume=tmp_path / "nothing"))


def test_untrained_is_bicubic():
    residual = Compact(16, 4)(torch.rand(2, 3, 9, 7))
    assert residual.shape == (2, 3, 36, 28)
    assert not residual.any()


@pytest.mark.parametrize("convolutions", [2, 7])
def test_convolutions_come_in_pairs(convolutions):
    with pytest.raises(ValueError):
        Compact(16, convolutions)


def test_what_training_exports_is_what_it_trained(config, data):
    train(config)
    result = json.loads((config.out / "result.json").read_text())
    net = Compact(config.features, config.convolutions)
    net.load_state_dict(trained_weights.load((config.out / result["safetensors"]).read_bytes()))
    model = OnnxModel(config.out / result["onnx"], bytes.fromhex(result["sha256"]))
    low = degraded(tissue(9), config.pairs(1, config.variety, 0).specs[0])
    with torch.no_grad():
        expected = net(torch.from_numpy(planes_of(low))).numpy()
    np.testing.assert_allclose(model.run(planes_of(low)), expected, atol=1e-5)
    again = config.out / "again.onnx"
    trained_weights.export_onnx(net, 3, 1, again)
    assert trained_weights.sha256(again) == result["sha256"]
    assert str(Path(__file__).parents[2]).encode() not in again.read_bytes()


def test_released_onnx_and_safetensors_agree_within_a_grey_level():
    weights = weights_named("fie-compact-x4")
    net = Compact(weights.table["features"], weights.table["convolutions"], weights.table["scale"]).eval()
    net.load_state_dict(trained_weights.load_trained(weights))
    low = degraded(tissue(3, 256), PairSettings(1, qualities=(45,)).specs[0])
    with torch.no_grad():
        residual = net(torch.from_numpy(planes_of(low)))[0].numpy()
    served = OnnxRestorer.of(weights).restore([low])[0].astype(int)
    difference = np.abs(served - with_residual(BicubicRestorer(4).restore([low])[0], residual))
    assert difference.max() <= 1
    assert difference.mean() < 0.01


def test_damaged_safetensors_are_not_loaded(tmp_path):
    weights = weights_named("fie-compact-x4")
    name = weights.table["safetensors"]
    (tmp_path / name).write_bytes(weights.path.with_name(name).read_bytes()[:-1] + b"\0\0")
    with pytest.raises(DigestMismatch):
        trained_weights.load_trained(replace(weights, path=tmp_path / "net.onnx"))


def test_pairs_are_the_same_for_any_number_of_processes(data):
    sources = read_split(data, data / "train.txt")
    settings = PairSettings(4, side=64, qualities=(30,), variety=Variety(), shrink={"alpha": (1.0, 1.5)})
    one, two = (make_pairs(sources, settings, processes) for processes in (1, 2))
    np.testing.assert_array_equal(one.high, two.high)
    np.testing.assert_array_equal(one.low, two.low)
    assert one.high.shape == (4, 64, 64, 3)
    assert one.low.shape == (4, 2, 16, 16, 3)
    for high, low in zip(one.high, one.low, strict=True):
        for version, spec in zip(low, settings.specs, strict=True):
            np.testing.assert_array_equal(version, degraded(high, spec))


def test_patches_beside_glass_are_half_glass_or_more(sample_pixels):
    patch = sample_pixels[1000:1256, 900:1156]
    random = np.random.default_rng(0)
    for _ in range(5):
        mixed = varied(patch, replace(NONE, glass=1.0), random)
        assert mixed.shape == patch.shape
        assert (np.ptp(mixed[mixed.min(axis=2) > 210], axis=0) < 45).all()
        assert (mixed.min(axis=2) > 210).mean() > 0.45
    assert np.array_equal(varied(patch, NONE, random), patch)


def test_batches_keep_low_and_high_together(data):
    pairs = make_pairs(read_split(data, data / "train.txt"), PairSettings(4, side=64, qualities=()), 1)
    low, base, high = pairs.batch(6, 8, np.random.default_rng(0))
    assert (low.shape, base.shape, high.shape) == ((6, 8, 8, 3), (6, 32, 32, 3), (6, 32, 32, 3))
    spec = PairSettings(1, qualities=()).specs[0]
    for small, big in zip(low, high, strict=True):
        np.testing.assert_array_equal(small, degraded(big, spec))


def test_splits_name_their_data_sets(data):
    assert [s.dataset for s in read_split(data, data / "train.txt")] == ["alpha", "alpha"]
    assert [s.dataset for s in read_split(data, data / "val.txt")] == ["beta"]
    (data / "bad.txt").write_text("sr/alpha/none.png\n")
    with pytest.raises(InputError):
        read_split(data, data / "bad.txt")[0].read()
    with pytest.raises(InputError):
        read_split(data, data / "absent.txt")


def test_overrides(config):
    changed = overridden(config, ["crop=40", "qualities=[20, 50]", "bf16=true"])
    assert (changed.crop, changed.qualities, changed.bf16) == (40, (20, 50), True)
    for wrong in ("colour=1", "crop=x"):
        with pytest.raises(InputError):
            overridden(config, [wrong])
