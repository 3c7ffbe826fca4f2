"""The enhancer's training, on made-up tissue: repeatable, resumable, and the same in torch and ONNX."""

import json
from dataclasses import replace
from fractions import Fraction
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
from adaslide.domain.rung import THREE_QUARTERS, scale_of
from adaslide_models import weights as trained_weights
from adaslide_models.data.patches import NONE, PairSettings, Variety, make_pairs, varied
from adaslide_models.data.sources import read_split
from adaslide_models.nets.compact import Compact
from adaslide_models.recipes.overrides import overridden
from adaslide_models.runtime.model import ARCHITECTURES
from adaslide_models.train.deck import Deck
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
    deck = Deck(pairs, config.device)
    start = [run.step(deck, step / STEPS) for step in range(8)]
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


RELEASED = ["fie-compact-x4", "fie-compact-x2", "fie-folded-x2", "fie-folded-x4-3"]


@pytest.mark.parametrize("name", RELEASED)
def test_released_onnx_and_safetensors_agree_within_a_grey_level(name):
    weights = weights_named(name)
    scale = scale_of(weights.table["scale"])
    net = ARCHITECTURES["compact"](weights.table).eval()
    net.load_state_dict(trained_weights.load_trained(weights))
    low = degraded(tissue(3, 192), PairSettings(1, scale, qualities=(45,)).specs[0])
    with torch.no_grad():
        residual = net(torch.from_numpy(planes_of(low)))[0].numpy()
    served = OnnxRestorer.of(weights).restore([low])[0].astype(int)
    difference = np.abs(served - with_residual(BicubicRestorer(scale).restore([low])[0], residual))
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


@pytest.mark.parametrize("scale", [4, 2, THREE_QUARTERS])
def test_batches_keep_low_and_high_together(data, scale):
    settings = PairSettings(4, scale, side=96, qualities=())
    deck = Deck(make_pairs(read_split(data, data / "train.txt"), settings, 1), "cpu")
    side = 24
    batch = deck.deal(40, side, np.random.default_rng(0))
    wide = int(side * scale)
    assert batch.low.shape == (40, 3, side, side)
    assert batch.base.shape == batch.high.shape == (40, 3, wide, wide)
    for low, base, high in zip(*(pixels_of(planes) for planes in batch), strict=True):
        assert np.abs(BicubicRestorer(scale).restore([low])[0].astype(int) - base).max() <= 1
        # Between blocks of pixels the borders of a crop come from outside it.
        inner = slice(3, -3) if scale == THREE_QUARTERS else slice(None)
        again = degraded(high, settings.specs[0])
        assert np.abs(again.astype(int) - low)[inner, inner].max() <= 1


def pixels_of(planes):
    """(B, 3, h, w) in 0..1 as (B, h, w, 3) uint8."""
    return np.ascontiguousarray((planes * 255).round().byte().permute(0, 2, 3, 1).numpy())


def test_batches_are_turned_and_mirrored_in_every_way(data):
    deck = Deck(
        make_pairs(read_split(data, data / "train.txt"), PairSettings(1, side=64, qualities=()), 1), "cpu"
    )
    batch = deck.deal(200, 16, np.random.default_rng(0))
    assert len({planes.numpy().tobytes() for planes in batch.low}) == 8 * len({*range(2)})


def test_crops_that_the_scale_cannot_enlarge_are_refused(data):
    settings = PairSettings(2, THREE_QUARTERS, side=64, qualities=())
    deck = Deck(make_pairs(read_split(data, data / "train.txt"), settings, 1), "cpu")
    with pytest.raises(ValueError):
        deck.deal(1, 16, np.random.default_rng(0))


@pytest.mark.parametrize(("scale", "fold"), [(THREE_QUARTERS, 3), (2, 2)])
def test_folded_nets_train_and_export(config, scale, fold):
    changed = replace(config, scale=scale, fold=fold, crop=12 * Fraction(scale).denominator, steps=2, side=48)
    train(changed)
    result = json.loads((changed.out / "result.json").read_text())
    assert result["onnx"] == f"fie-folded-x{scale}.onnx".replace("/", "-")
    model = OnnxModel(changed.out / result["onnx"], bytes.fromhex(result["sha256"]))
    sides = np.array([12, 24]) * fold
    low = np.zeros((1, 3, *sides), np.float32)
    assert model.run(low).shape == (1, 3, *(int(side * scale) for side in sides))


def test_pixels_are_folded_by_whole_numbers():
    with pytest.raises(ValueError):
        Compact(16, 4, THREE_QUARTERS, 2)


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
