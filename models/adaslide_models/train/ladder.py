"""Trains the sequential agent: what one measured rung tells of all others, from tables of measured rungs.

    adaslide train ladder --data DIR --split FILE [--split FILE ...] --val FILE [--val FILE ...] --out DIR

Makes the tables (`adaslide_models.data.ladder_table`) ``train.npz`` and ``val.npz`` in ``out`` where they
are not there yet. Every rung of a patch can be looked up there, so that each step learns from all of them:
states are reached by the searches of the net itself, and by chance. Writes ``log.jsonl``, ``checkpoint.pt``
every minute (`--resume`), and at the end ``cda-ladder.safetensors`` and ``.onnx``, the mean of the weights
whose searches cost least on the validation patches, with ``result.json``.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from adaslide.adapters.agents.ladder import bytes_of, chances, next_rungs
from adaslide.domain.profile import profile_named
from adaslide_models import weights
from adaslide_models.data.ladder_table import GLASS, Counts, LadderTable, load_table, make_table
from adaslide_models.data.patches import NONE as AS_THEY_ARE
from adaslide_models.data.patches import Variety
from adaslide_models.data.sources import check_known, list_digest, read_split
from adaslide_models.nets.ladder import LadderNet
from adaslide_models.train import loop
from adaslide_models.train.averages import average
from adaslide_models.train.ladder_world import NONE, Jitter, Patches, drawn
from adaslide_models.train.loop import rate_at, set_rate
from adaslide_models.train.state import State

NAME = "cda-ladder"
DICE_FLOORS = (0.80, 0.85, 0.90, 0.95)
"""At which runs are validated."""
DEEPEST = 4
"""Measurements before the last state that is learned from."""
WHOLE_BYTES = 45_000.0
"""Of a patch that is kept whole: about what its JPEG tiles take, transcoded."""
CAUTIOUS_SSIM = 0.95
"""The greatest floor of SSIM that is learned."""
BYTES_WEIGHT = 2.0
"""Of the error in the logarithm of bytes, beside the cross-entropy of holding."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """A run. Recipes (`adaslide_models.recipes`) give the values that a release was trained with."""

    data: Path
    split: tuple[Path, ...]
    val: tuple[Path, ...]
    out: Path
    profile: str = "archive"
    budget_minutes: float = 6.0
    steps: int | None = None
    """Ends the run instead of the budget: for runs that must repeat exactly."""
    resume: Path | None = None
    seed: int = 0
    threads: int = 1

    patches: int = 320
    val_patches: int = 60
    own_patches: int = 160
    own_val_patches: int = 30
    """Further ones at the scales of their images."""
    variety: Variety = field(default_factory=lambda: Variety(glass=GLASS))
    processes: int = 2
    """That make the tables."""

    width: int = 192
    dropout: float = 0.1
    batch: int = 128
    explore: float = 0.5
    """Share of measurements before a state that are drawn at random, not by the search."""
    price: float = 500.0
    """Bytes that a measurement must promise to save at 0.5 micrometres per pixel, see `price_at`."""
    jitter: Jitter = field(default_factory=Jitter)
    dice_floors: tuple[float, float] = (0.6, 0.97)
    cautious: float = 0.15
    """Share of states with a greater SSIM floor than the profile's own."""
    learning_rate: float = 1e-3
    floor: float = 0.02
    warmup: int = 100
    weight_decay: float = 1e-3
    ema: float = 0.99


class Run(State):
    """A training run: its state, one step, one validation."""

    def __init__(self, config: Ladder, table: LadderTable) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        self.config = config
        self.limits = profile_named(table.profile).floors
        self.rungs = table.bytes.shape[1]
        nothing = np.zeros((1, 4))
        patches = drawn(table, np.zeros(1, int), nothing, NONE, np.random.default_rng(0))
        state = patches.state(torch.zeros(1, self.rungs, dtype=torch.bool)).shape[1]
        net = LadderNet(state, self.rungs, config.width, config.dropout)
        optimiser = torch.optim.AdamW(
            net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        super().__init__(net, optimiser, config.seed, config.out)

    def step(self, table: LadderTable, done: float) -> float:
        """One step on a random batch; ``done`` is the share of the run behind it. Gives the loss."""
        config = self.config
        rate = rate_at(self.progress.step, done, config.warmup, config.floor)
        set_rate(self.optimiser, config.learning_rate * rate)
        rows = self.random.integers(len(table), size=config.batch)
        patches = drawn(table, rows, self._floors(config.batch), config.jitter, self.random)
        tried = self._walked(patches)
        self.net.train()
        odds, sizes = self.net(patches.state(tried)).unbind(1)
        holds = nn.functional.binary_cross_entropy_with_logits(odds, patches.held.float())
        error = nn.functional.smooth_l1_loss(sizes, patches.scaled_bytes(), beta=0.1)
        loss = holds + BYTES_WEIGHT * error
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        average(self.mean, self.net, config.ema, self.progress.step)
        self.progress.step += 1
        return float(loss.detach())

    def _floors(self, count: int) -> np.ndarray:
        """(count, 4): Dice anywhere in the range, the others mostly as the profile has them; of some, SSIM as
        of patches that nothing may restore."""
        low, high = self.config.dice_floors
        own = self.limits
        others = np.array([own.dice_window_min, own.ssim, own.dice_second])
        scale = np.where(self.random.random((count, 3)) < 0.7, 1.0, self.random.uniform(0, 1.1, (count, 3)))
        dice = self.random.uniform(low, high, (count, 1))
        limits = others * scale
        cautious = self.random.random(count) < self.config.cautious
        limits[cautious, 1] = self.random.uniform(own.ssim, CAUTIOUS_SSIM, np.count_nonzero(cautious))
        return np.hstack([dice, limits]).astype(np.float32)

    def _walked(self, patches: Patches) -> torch.Tensor:
        """(B, R) bool: rungs measured before the state that is learned from."""
        count = len(patches.bytes)
        tried = torch.zeros(count, self.rungs, dtype=torch.bool)
        depth = self.random.integers(DEEPEST + 1, size=count)
        for number in range(DEEPEST):
            found = steps(self.mean, patches, tried, self.config.price)
            for row in np.flatnonzero(depth > number):
                wanders = self.random.random() < self.config.explore
                place = int(self.random.integers(self.rungs)) if wanders else found[row]
                if place is not None:
                    tried[row, place] = True
        return tried

    def validate(self, table: LadderTable) -> dict[str, Any]:
        """Bytes over the oracle's, and measurements, at every floor, of the patches that were brought to one
        scale and of those that were not; remembers the best mean of both."""
        parts = {"alike": table.only(~table.is_own), "own": table.only(table.is_own)}
        found = {
            name: {f"{floor:g}": self._followed(part, floor) for floor in DICE_FLOORS}
            for name, part in parts.items()
            if len(part)
        }
        self.keep_if_best(-float(np.mean([one["cost"] for part in found.values() for one in part.values()])))
        return {"val": found}

    def _followed(self, table: LadderTable, dice: float) -> dict[str, float]:
        own = self.limits
        limits = np.tile([dice, own.dice_window_min, own.ssim, own.dice_second], (len(table), 1))
        return followed(self.mean, table, limits, self.config.price)


@torch.no_grad()
def steps(net: nn.Module, patches: Patches, tried: torch.Tensor, price: float) -> list[int | None]:
    """What the search that serves would measure next of each patch; None where it would stop."""
    odds, sizes = net(patches.state(tried)).numpy().swapaxes(0, 1)
    kept = torch.where(tried & patches.held, patches.bytes, torch.inf).amin(dim=1).double().numpy()
    prices = patches.price(price)
    found = next_rungs(chances(odds), bytes_of(sizes), tried.numpy(), kept, prices, WHOLE_BYTES)
    return [None if place < 0 else int(place) for place in found]


def followed(net: nn.Module, table: LadderTable, limits: np.ndarray, price: float) -> dict[str, float]:
    """What the net's searches end with on all patches of the table, as they are: bytes over the oracle's,
    measurements a patch, and what both cost together."""
    patches = drawn(table, np.arange(len(table)), limits, NONE, np.random.default_rng(0))
    tried = torch.zeros(patches.bytes.shape, dtype=torch.bool)
    going = True
    while going:
        found = steps(net, patches, tried, price)
        going = any(place is not None for place in found)
        for row, place in enumerate(found):
            if place is not None:
                tried[row, place] = True
    kept, oracle = (_kept(patches, seen) for seen in (tried, torch.ones_like(tried)))
    measured = tried.double().sum(dim=1).numpy()
    paid = float(np.mean(measured * patches.price(price)))
    return {
        "over_oracle": round(kept / oracle, 4),
        "measurements": round(float(measured.mean()), 3),
        "cost": round((kept + paid) / oracle, 4),
    }


def _kept(patches: Patches, tried: torch.Tensor) -> float:
    """Mean bytes of the cheapest that was tried and holds, those of the patch kept whole where none does."""
    sizes = torch.where(tried & patches.held, patches.bytes, torch.inf).amin(dim=1)
    return float(torch.where(sizes.isinf(), WHOLE_BYTES, sizes).mean())


def table_of(
    config: Ladder, splits: tuple[Path, ...], name: str, variety: Variety, counts: Counts
) -> LadderTable:
    """The table ``name`` in the run's folder, made where it is not there yet.

    Raises `InputError` when it holds an image that is in none of ``splits``.
    """
    sources = [source for split in splits for source in read_split(config.data, split)]
    path = config.out / name
    if not path.is_file():
        profile = profile_named(config.profile)
        make_table(sources, profile, counts, variety, config.seed, config.processes).save(path)
    table = load_table(path)
    check_known(table.images.tolist(), sources, name)
    return table


def train(config: Ladder) -> list[float]:
    """Runs ``config`` to its end; gives the loss of every step taken."""
    config.out.mkdir(parents=True, exist_ok=True)
    counts = Counts(config.patches, config.own_patches)
    val_counts = Counts(config.val_patches, config.own_val_patches)
    table = table_of(config, config.split, "train.npz", config.variety, counts)
    val = table_of(config, config.val, "val.npz", AS_THEY_ARE, val_counts)
    run = Run(config, table)
    if config.resume is not None:
        run.resume(config.resume)
    losses = loop.run(
        run.progress,
        loop.Schedule(config.budget_minutes, config.steps, validate_steps=200),
        config.out,
        run.optimiser,
        step=lambda done: run.step(table, done),
        validate=lambda: run.validate(val),
        save=run.save,
    )
    _release(run, table, val)
    return losses


def _release(run: Run, table: LadderTable, val: LadderTable) -> None:
    """Writes what is served and what can be trained on, and what a manifest must say of them."""
    config = run.config
    names = [source.name for split in config.split for source in read_split(config.data, split)]
    size = run.net.layers[0].in_features
    result = {
        **run.release(NAME, lambda net, path: weights.export_vector_onnx(net, size, path)),
        "rungs": table.rungs.tolist(),
        "is_told_scale": True,
        "profile": table.profile,
        "patches": len(table),
        "val_patches": len(val),
        "train_list_sha256": list_digest(sorted(set(names))),
        **run.validate(val),
    }
    (config.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
