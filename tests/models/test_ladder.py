"""The sequential agent's training: its world tells the net what the service will, and it learns."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

from adaslide.adapters.agents.ladder import LOOKS, LadderAgent, state_of
from adaslide.adapters.inference.weights import Weights
from adaslide.domain.errors import InputError
from adaslide.domain.fidelity import METRICS, Fidelity, Floors
from adaslide.domain.profile import PROFILES
from adaslide.domain.search import Tried
from adaslide_models.data.ladder_table import LadderTable
from adaslide_models.train.ladder import NAME, Ladder, Run, followed, train
from adaslide_models.train.ladder_world import NONE, Jitter, drawn

torch = pytest.importorskip("torch")

ARCHIVE = PROFILES["archive"]
RUNGS = len(ARCHIVE.ladder)
LIMITS = np.array([[0.85, 0.60, 0.70, 0.70]])


def made_up(count, seed):
    """Patches that differ in how much detail they have and in how much of it is lost."""
    random = np.random.default_rng(seed)
    detail, loss = random.normal(0, 0.4, (count, 1)), random.normal(0, 0.5, (count, 1))
    typical = np.geomspace(1500, 28000, RUNGS)
    sizes = typical * np.exp(detail + random.normal(0, 0.05, (count, RUNGS)))
    lost = np.clip(
        0.3 * (1500 / typical) ** 0.75 * np.exp(loss + random.normal(0, 0.08, (count, RUNGS))), 0, 1
    )
    fidelity = np.ones((count, RUNGS, len(METRICS)))
    for metric, factor in {
        "dice": 1,
        "dice_window_min": 2,
        "ssim": 1.3,
        "dice_second": 1,
        "colour_min": 0.15,
    }.items():
        fidelity[:, :, METRICS.index(metric)] = 1 - np.clip(factor * lost, 0, 1)
    octaves = np.where(np.arange(count) % 4 == 0, -1, 0)[:, None]
    looks = np.hstack([detail, random.normal(0, 1, (count, LOOKS - 1)), octaves]).astype(np.float32)
    images = np.array([f"{seed}/{number}.png" for number in range(count)])
    names = np.array([spec.name for spec in ARCHIVE.ladder])
    return LadderTable(looks, np.rint(sizes), fidelity, images, names, ARCHIVE.id)


@pytest.fixture
def config(tmp_path):
    """A run on made-up tables, whose images the splits name."""
    out = tmp_path / "out"
    out.mkdir()
    tables = {"train": made_up(120, 1), "val": made_up(40, 2)}
    for name, table in tables.items():
        table.save(out / f"{name}.npz")
        (tmp_path / f"{name}.txt").write_text("\n".join(table.images))
    splits = (tmp_path / "train.txt",), (tmp_path / "val.txt",)
    return Ladder(tmp_path, *splits, out, steps=180, width=64, batch=64)


def test_the_net_learns_from_what_the_served_one_is_shown():
    table, floors = made_up(6, 3), Floors(*LIMITS[0], ARCHIVE.floors.colour_min, ARCHIVE.floors.margin)
    patches = drawn(table, np.arange(6), np.repeat(LIMITS, 6, axis=0), NONE, np.random.default_rng(0))
    tried = torch.zeros(6, RUNGS, dtype=torch.bool)
    tried[:, [2, 7, 11]] = True
    for row, told in enumerate(patches.state(tried).numpy()):
        found = {}
        for place in (2, 7, 11):
            fidelity = Fidelity(**dict(zip(METRICS, map(float, table.fidelity[row, place]), strict=True)))
            held = floors.held_by(fidelity, margin=True)
            found[place] = Tried(int(table.bytes[row, place]), fidelity, held)
        np.testing.assert_allclose(told, state_of(table.looks[row], floors, found, RUNGS), atol=1e-4)


def test_jitter_makes_other_patches_of_the_same_order():
    table = made_up(20, 4)
    rows, limits = np.arange(20), np.repeat(LIMITS, 20, axis=0)
    plain, other = (drawn(table, rows, limits, j, np.random.default_rng(5)) for j in (NONE, Jitter()))
    ratio = (other.bytes / plain.bytes).numpy()
    np.testing.assert_allclose(ratio, np.repeat(ratio[:, :1], RUNGS, axis=1), rtol=1e-5)
    assert 0.05 < np.log(ratio[:, 0]).std() < 0.4
    assert not torch.equal(plain.slack, other.slack)


def test_a_short_run_learns_and_releases_what_is_served(config):
    val = made_up(40, 2)
    limits = np.repeat(LIMITS, 40, axis=0)
    before = followed(Run(config, val).mean, val, limits, config.price)
    losses = train(config)
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20])
    result = json.loads((config.out / "result.json").read_text())
    assert result["rungs"] == [spec.name for spec in ARCHIVE.ladder]
    found = {name: part["0.85"] for name, part in result["val"].items()}
    assert found.keys() == {"alike", "own"}
    assert found["alike"]["over_oracle"] < 1.15
    assert found["own"]["over_oracle"] < 1.5
    assert found["alike"]["cost"] < before["cost"] - 0.05
    # What is served is what was trained.
    digest = bytes.fromhex(result["sha256"])
    agent = LadderAgent.of(Weights(NAME, "agent", config.out / result["onnx"], digest, result))
    assert agent.is_told_scale
    state = np.random.default_rng(0).normal(0, 1, (1, LOOKS + 1 + 4 + 5 * RUNGS)).astype(np.float32)
    assert agent.model.run(state).shape == (1, 2, RUNGS)


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(config):
    table = made_up(120, 1)
    whole = Run(config, table)
    losses = [whole.step(table, step / 6) for step in range(6)]
    first = Run(config, table)
    assert [first.step(table, step / 6) for step in range(3)] == losses[:3]
    first.save()
    second = Run(config, table)
    second.resume(config.out)
    assert [second.step(table, step / 6) for step in range(3, 6)] == losses[3:]


def test_what_it_ends_with_is_never_cheaper_than_the_oracle(config):
    table = made_up(120, 1)
    found = followed(Run(config, table).mean, table, np.repeat(LIMITS, 120, axis=0), 600)
    assert found["over_oracle"] >= 1
    assert 1 <= found["measurements"] <= RUNGS


def test_a_table_of_other_images_is_refused(config):
    made_up(5, 9).save(config.out / "val.npz")
    with pytest.raises(InputError, match="does not name"):
        train(config)
