"""The agent: its reward, its loss, its training on made-up tissue, and what is served."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("safetensors")

from adaslide.adapters.agents.cda import CdaAgent, thumbnail_planes
from adaslide.adapters.inference.weights import Weights, weights_named
from adaslide.domain.errors import DigestMismatch, InputError
from adaslide.domain.pixels import shrink
from adaslide.domain.profile import profile_named
from adaslide_models import weights as trained_weights
from adaslide_models.data.first_rung import SEARCHED
from adaslide_models.data.rewards_table import UNKNOWN, RewardsTable, load_table, make_table
from adaslide_models.data.rewards_table import TableSettings as Settings
from adaslide_models.data.sources import read_split
from adaslide_models.losses import reinforce
from adaslide_models.nets.resnet import ResNet18
from adaslide_models.recipes.cda import cda
from adaslide_models.rewards import paper_reward
from adaslide_models.train.cda import NAME, Run, batch, train

torch = pytest.importorskip("torch")
STEPS = 40
DATA = Path(os.environ.get("ADASLIDE_DATA", Path(__file__).parents[3] / "shared" / "data"))


# Reward and loss


@pytest.mark.parametrize(
    ("compressed", "dice", "lambda_", "reward"),
    [
        (False, 1.0, 0.5, 0.0),
        (False, 0.1, 0.5, 0.0),
        (True, 1.0, 0.5, 1.0),
        (True, 0.8, 0.5, 0.9),
        (True, 0.8, 1.0, 0.8),
        (True, 0.8, 0.0, 1.0),
        (True, 0.6, 0.5, 0.8),
        (True, 0.5999, 0.5, -1.0),
        (True, 0.0, 0.0, -1.0),
    ],
)
def test_truth_table(compressed, dice, lambda_, reward):
    for as_values in (torch.tensor, np.array):
        found = paper_reward(as_values([compressed]), as_values([dice]), lambda_)
        assert float(found[0]) == pytest.approx(reward)


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_best_action_never_depends_on_lambda(dice, lambda_):
    compress, keep = (float(paper_reward(np.array([a]), np.array([dice]), lambda_)[0]) for a in (True, False))
    assert (compress > keep) is (dice >= 0.6)


def test_shapes_that_would_be_broadcast_are_refused():
    column = torch.zeros(4, 1)
    for compressed, dice in (
        (column.bool(), column),
        (torch.ones(4).bool(), column),
        (column.bool(), column[:, 0]),
    ):
        with pytest.raises(ValueError):
            paper_reward(compressed, dice)
    with pytest.raises(ValueError):
        reinforce(torch.zeros(4), column)
    with pytest.raises(ValueError):
        reinforce(column, column)


def test_each_sample_sees_its_own_reward():
    """The gradient of sample i is -advantage[i] / B: in a (B, B) product it would be the mean of all."""
    log_probability = torch.zeros(3, requires_grad=True)
    advantage = torch.tensor([3.0, 0.0, -6.0], requires_grad=True)
    loss = reinforce(log_probability, advantage)
    loss.backward()
    assert log_probability.grad.tolist() == [-1.0, 0.0, 2.0]
    assert advantage.grad is None


# The net


def test_it_is_resnet_18():
    assert sum(p.numel() for p in ResNet18().parameters()) == 11_177_025
    assert sum(isinstance(m, torch.nn.Conv2d) for m in ResNet18(8).modules()) == 17 + 3
    net = ResNet18(8).eval()
    for height, width in ((32, 32), (120, 120), (47, 200)):
        assert net(torch.rand(2, 3, height, width)).tolist() == [0.0, 0.0]


# Training, on tissue whose nuclei are large (Compress holds) or fine (it does not)


def tissue(seed, fine, side=256):
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 1.2 if fine else 7)
    nuclei = (field > field.std()).astype(float)[..., None]
    pixels = (1 - nuclei) * np.array([225, 160, 195]) + nuclei * np.array([75, 40, 120])
    return pixels.astype(np.uint8)


def write(folder, name, pixels):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name)
    return name


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    names = [write(folder, f"sr/brca_m2c/{i}.png", tissue(i, fine=bool(i % 2))) for i in range(4)]
    (folder / "train.txt").write_text("\n".join(names))
    other = [write(folder, f"sr/ocdc/{i}.png", tissue(i, fine=bool(i % 2))) for i in range(4, 6)]
    (folder / "val.txt").write_text("\n".join(other))
    return folder


@pytest.fixture(scope="module")
def table(data):
    return make_table(read_split(data, data / "train.txt"), Settings(8, searched=1))


@pytest.fixture
def made_up():
    """Rewards that follow from what is seen: bright patches are worth compressing."""
    random = np.random.default_rng(0)
    bright = random.integers(0, 2, 48)
    thumbnails = random.normal(150, 25, (48, 32, 32, 3)) + 50 * bright[:, None, None, None]
    return RewardsTable(
        thumbnails.clip(0, 255).astype(np.uint8),
        np.full(48, 32, np.int32),
        np.array([f"sr/brca_m2c/{i % 4}.png" for i in range(48)]),
        np.full(48, 0.5, np.float32),
        np.where(bright == 1, 0.9, 0.3).astype(np.float32),
        np.where(np.arange(48) < 24, np.where(bright == 1, 1, 11), UNKNOWN).astype(np.int32),
        *(weights_named(name).digest.hex() for name in ("nuclei-unet", "fie-compact-x4")),
        profile_named(SEARCHED).id,
    )


@pytest.fixture
def config(data, tmp_path, made_up):
    out = tmp_path / "out"
    out.mkdir()
    made_up.save(out / "train.npz")
    replace(made_up, images=np.full(48, "sr/ocdc/4.png")).save(out / "val.npz")
    recipe = cda(data, (data / "train.txt",), (data / "val.txt",), out)
    return replace(recipe, steps=STEPS, width=8, batch=24, warmup=5, ema=0.8, learning_rate=3e-3)


def test_the_reward_rises_and_what_is_served_is_what_was_trained(config, made_up):
    rewards = train(config)
    assert len(rewards) == STEPS
    assert np.mean(rewards[-10:]) > np.mean(rewards[:10]) + 0.2
    result = json.loads((config.out / "result.json").read_text())
    best = float(np.maximum(paper_reward(np.ones(48, bool), made_up.dice), 0).mean())
    assert result["val"]["oracle"] == pytest.approx(best)
    assert result["val"]["reward"] > 0.9 * best
    assert result["calibrated_on"]["patches"] == 24
    assert result["calibrated_on"]["measurements"] < result["calibrated_on"]["measurements_from_the_middle"]
    net = ResNet18(config.width).eval()
    net.load_state_dict(trained_weights.load((config.out / result["safetensors"]).read_bytes()))
    digest = bytes.fromhex(result["sha256"])
    served = CdaAgent.of(Weights(NAME, "agent", config.out / result["onnx"], digest, result))
    for index in range(6):
        planes = thumbnail_planes(made_up.thumbnail(index))
        with torch.no_grad():
            expected = net(torch.from_numpy(planes)).numpy()
        np.testing.assert_allclose(served.model.run(planes), expected, atol=1e-4)
    for shape in ((1, 3, 32, 32), (2, 3, 33, 70), (3, 3, 120, 128)):
        assert served.model.run(np.zeros(shape, np.float32)).shape == shape[:1]
    assert served.search(tissue(0, fine=False), 0.5, profile_named(SEARCHED), 40_000).proposed < 12


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(config, made_up):
    whole = Run(config)
    rewards = [whole.step(made_up, step / 12) for step in range(12)]
    first = Run(config)
    assert [first.step(made_up, step / 12) for step in range(6)] == rewards[:6]
    first.save()
    torch.rand(7)
    second = Run(config)
    second.resume(config.out)
    assert [second.step(made_up, step / 12) for step in range(6, 12)] == rewards[6:]
    kept, own = whole.mean.state_dict(), second.mean.state_dict()
    assert all(kept[name].equal(own[name]) for name in kept)


def test_batches_keep_patch_and_dice_together(config, made_up):
    images, dice = batch(made_up, config, np.random.default_rng(0))
    assert images.shape == (24, 3, 128, 128)
    assert ((images.mean(dim=(1, 2, 3)) > 175 / 255) == (dice > 0.6)).all()


@pytest.mark.skipif(
    not (DATA / "splits").is_dir(), reason="the development data are not here (ADASLIDE_DATA)"
)
def test_the_reward_rises_on_real_tissue(config):
    """Fields that Compress holds and fields that it does not: 40 steps tell them apart."""
    lists = ("sr_train.txt", "cls_oral_train.txt")
    chosen = [s for name in lists for s in read_split(DATA, DATA / "splits" / name)]
    chosen = [s for s in chosen if s.dataset in ("brecahad", "oral_224")][::12]
    table = make_table(chosen, Settings(20))
    run = Run(config)
    rewards = [run.step(table, step / STEPS) for step in range(STEPS)]
    assert 0.2 < (table.dice < config.tau).mean() < 0.8
    assert np.mean(rewards[-8:]) > np.mean(rewards[:8]) + 0.1


# The table


def test_the_table_holds_what_compressing_costs(table):
    assert len(table) == 8
    assert (table.sides * 4 <= 256).all()
    assert ((table.mpp >= 0.5) & (table.mpp <= 1.1)).all()
    fine = np.array([int(Path(name).stem) % 2 == 1 for name in table.images])
    assert table.dice[fine].max() < table.dice[~fine].min()
    assert np.count_nonzero(table.places != UNKNOWN) <= 1


def test_the_table_is_the_same_for_any_number_of_processes(data, table):
    again = make_table(read_split(data, data / "train.txt"), Settings(8, searched=1), processes=2)
    for name in ("thumbnails", "dice", "places", "images"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))


def test_thumbnails_are_the_served_shrink_of_the_patch(tmp_path):
    """An image of 128 px has one patch, itself."""
    pixels = tissue(7, fine=False, side=128)
    (tmp_path / "one.txt").write_text(write(tmp_path, "sr/brca_m2c/7.png", pixels))
    one = make_table(read_split(tmp_path, tmp_path / "one.txt"), Settings(1))
    np.testing.assert_array_equal(one.thumbnail(0), shrink(pixels, 4))
    assert one.mpp[0] == 0.5


def test_a_table_of_other_weights_is_refused(table, tmp_path):
    path = tmp_path / "table.npz"
    table.save(path)
    np.testing.assert_array_equal(load_table(path).dice, table.dice)
    for changed in (replace(table, judge="0" * 64), replace(table, restorer="0" * 64)):
        changed.save(path)
        with pytest.raises(DigestMismatch):
            load_table(path)
    with pytest.raises(InputError):
        load_table(tmp_path / "absent.npz")


def test_a_table_of_other_images_is_refused(config, made_up):
    replace(made_up, images=np.full(48, "sr/ocdc/4.png")).save(config.out / "train.npz")
    with pytest.raises(InputError):
        train(config)
