"""Trains the Compression Decision Agent: REINFORCE with one step, on rewards measured beforehand.

    adaslide train cda --data DIR --split FILE [--split FILE ...] --val FILE [--val FILE ...] --out DIR

Makes the tables of rewards (`adaslide_models.data.rewards_table`) ``train.npz`` and ``val.npz`` in ``out``
where they are not there yet. Writes ``log.jsonl``, ``checkpoint.pt`` every minute (`--resume`), and at the
end ``cda-resnet18.safetensors`` and ``.onnx``: the mean of the weights with the best greedy reward on the
validation patches, with ``result.json``.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adaslide.adapters.agents.cda import mirrored, place_at, thumbnail_planes
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import PAPER_TAU, profile_named
from adaslide_models import weights
from adaslide_models.data.patches import Variety, varied
from adaslide_models.data.rewards_table import UNKNOWN, RewardsTable, TableSettings, load_table, make_table
from adaslide_models.data.sources import check_known, list_digest, read_split
from adaslide_models.first_rung import calibrated, costs_of, measurements
from adaslide_models.losses import reinforce
from adaslide_models.nets.resnet import ResNet18
from adaslide_models.rewards import paper_reward
from adaslide_models.train import loop
from adaslide_models.train.averages import average
from adaslide_models.train.loop import rate_at, set_rate
from adaslide_models.train.state import State

NAME = "cda-resnet18"
LOG_STEPS = 25
VALIDATE_STEPS = 100
SCANNERS = Variety()
STAINS = Variety(stain=0.8, stain_spread=0.1, blur=0, sharpen=0, noise=0, jpeg=0)


@dataclass(frozen=True, slots=True)
class Cda:
    """A run. Recipes (`adaslide_models.recipes`) give the values that a release was trained with."""

    data: Path
    split: tuple[Path, ...]
    val: tuple[Path, ...]
    out: Path
    budget_minutes: float = 10.0
    """Minutes of training, validation included; making the tables comes before them."""
    steps: int | None = None
    """Ends the run instead of the budget: for runs that must repeat exactly."""
    resume: Path | None = None
    seed: int = 0
    threads: int = 1

    width: int = 16
    """Channels of the first stage; 64 in the publication."""
    lambda_: float = 0.5
    tau: float = PAPER_TAU

    patches: int = 1500
    val_patches: int = 300
    searched: int = 300
    """Training patches on which the first rung is calibrated."""
    variety: Variety = SCANNERS
    """Of the patches, before they are compressed and judged."""
    processes: int = 1
    """That make the tables."""

    batch: int = 32
    learning_rate: float = 1e-3
    floor: float = 0.02
    """Share of the learning rate that is left at the end of the cosine."""
    warmup: int = 50
    weight_decay: float = 0.05
    entropy: float = 0.3
    """Weight of the policy's entropy (nats). The best probability is then the logistic of the expected reward
    over this: the more probable action stays the better one, and a policy that is sure too early, and
    tries nothing any more, does not pay."""
    ema: float = 0.995
    least_cut: float = 0.7
    """Least share of a thumbnail's sides that a step sees."""
    stain: Variety = STAINS
    """Of the thumbnails: mild, for the reward was measured before it."""


class Run(State):
    """A training run: its state, one step, one validation."""

    def __init__(self, config: Cda) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        self.config = config
        net = ResNet18(config.width)
        optimiser = torch.optim.AdamW(
            net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        super().__init__(net, optimiser, config.seed, config.out)

    def step(self, table: RewardsTable, done: float) -> float:
        """One step on a random batch; ``done`` is the share of the run behind it. Gives the mean reward."""
        config = self.config
        rate = rate_at(self.progress.step, done, config.warmup, config.floor)
        set_rate(self.optimiser, config.learning_rate * rate)
        images, dice = batch(table, config, self.random)
        self.net.train()
        policy = torch.distributions.Bernoulli(logits=self.net(images))
        action = policy.sample()
        reward = self._reward(action.bool(), dice)
        # What the policy is worth at each patch: known exactly, as Keep's reward is 0. It does not depend on
        # the action drawn, so that the gradient keeps its mean and loses variance.
        value = policy.probs.detach() * self._reward(torch.ones_like(action, dtype=torch.bool), dice)
        loss = reinforce(policy.log_prob(action), reward - value) - config.entropy * policy.entropy().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        average(self.mean, self.net, config.ema, self.progress.step)
        self.progress.step += 1
        return float(reward.mean())

    def _reward(self, compressed: torch.Tensor, dice: torch.Tensor) -> torch.Tensor:
        return paper_reward(compressed, dice, self.config.lambda_, self.config.tau)

    def validate(self, table: RewardsTable) -> dict[str, float]:
        """Mean greedy reward of the mean weights, and the share compressed; remembers the best."""
        compressed = probabilities(self.mean, table) >= 0.5
        reward = float(paper_reward(compressed, table.dice, self.config.lambda_, self.config.tau).mean())
        self.keep_if_best(reward)
        return {"val_reward": reward, "val_share_compressed": float(compressed.mean())}


def batch(table: RewardsTable, config: Cda, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random patches: thumbnails (B, 3, 128, 128) in 0..1, cut, turned, mirrored, restained, and Dice (B,).

    Small ones are brought to one size as the agent does, so that a batch holds patches of every data set:
    its normalisation must not know which one a patch came from.
    """
    rows = random.integers(len(table), size=config.batch)
    images = []
    for row in rows:
        thumbnail = _cut(table.thumbnail(row), config.least_cut, random)
        thumbnail = np.rot90(thumbnail, int(random.integers(4)))
        if random.integers(2):
            thumbnail = thumbnail[:, ::-1]
        images.append(mirrored(varied(thumbnail, config.stain, random)))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    planes = pixels.to(torch.float32).div(255).contiguous(memory_format=torch.channels_last)
    return planes, torch.from_numpy(table.dice[rows])


def _cut(thumbnail: Pixels, least: float, random: np.random.Generator) -> Pixels:
    """A random part of at least that share of each side."""
    height, width = thumbnail.shape[:2]
    rows, columns = (int(random.integers(round(least * side), side + 1)) for side in (height, width))
    y, x = int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1))
    return thumbnail[y : y + rows, x : x + columns]


@torch.inference_mode()
def probabilities(net: ResNet18, table: RewardsTable) -> npt.NDArray[np.float64]:
    """(n,) of Compress, each thumbnail as the agent serves it."""
    net.eval()
    odds = [float(net(torch.from_numpy(thumbnail_planes(table.thumbnail(i))))[0]) for i in range(len(table))]
    return 1 / (1 + np.exp(-np.array(odds)))


def names_in(data: Path, splits: tuple[Path, ...]) -> set[str]:
    """The images that the lists name."""
    return {source.name for split in splits for source in read_split(data, split)}


def table_of(config: Cda, splits: tuple[Path, ...], name: str, settings: TableSettings) -> RewardsTable:
    """The table ``name`` in the run's folder, made where it is not there yet.

    Raises `InputError` when it holds an image that is in none of ``splits``.
    """
    sources = [source for split in splits for source in read_split(config.data, split)]
    path = config.out / name
    if not path.is_file():
        make_table(sources, settings, config.processes).save(path)
    table = load_table(path)
    check_known(table.images.tolist(), sources, name)
    return table


def train(config: Cda) -> list[float]:
    """Runs ``config`` to its end; gives the mean reward of every step taken."""
    config.out.mkdir(parents=True, exist_ok=True)
    settings = TableSettings(config.patches, config.searched, config.variety, config.seed)
    table = table_of(config, config.split, "train.npz", settings)
    val = table_of(config, config.val, "val.npz", TableSettings(config.val_patches, seed=config.seed + 1))
    run = Run(config)
    if config.resume is not None:
        run.resume(config.resume)
    rewards = loop.run(
        run.progress,
        loop.Schedule(config.budget_minutes, config.steps, "reward", LOG_STEPS, VALIDATE_STEPS),
        config.out,
        run.optimiser,
        step=lambda done: run.step(table, done),
        validate=lambda: run.validate(val),
        save=run.save,
    )
    _release(run, table, val)
    return rewards


def _release(run: Run, table: RewardsTable, val: RewardsTable) -> None:
    """Writes what is served and what can be trained on, and what a manifest must say of them."""
    config = run.config
    result = {
        **run.release(NAME, lambda net, path: weights.export_onnx(net, channels=3, multiple=1, path=path)),
        "patches": len(table),
        "patches_below_tau": float((table.dice < config.tau).mean()),
        "val": {"patches": len(val), "reward": run.progress.best} | baselines(val, config),
        "judge": table.judge,
        "restorer": table.restorer,
        "train_list_sha256": list_digest(sorted(names_in(config.data, config.split))),
        **first_rung(probabilities(run.mean, table), table),
    }
    (config.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")


def baselines(table: RewardsTable, config: Cda) -> dict[str, float]:
    """Mean rewards of compressing every patch and of knowing best; keeping every patch is worth 0."""
    always = paper_reward(np.ones(len(table), bool), table.dice, config.lambda_, config.tau)
    return {"always_compress": float(always.mean()), "oracle": float(np.maximum(always, 0).mean())}


def first_rung(probability: npt.NDArray[np.float64], table: RewardsTable) -> dict[str, Any]:
    """The calibrated table, and the measurements a patch that it and the middle of the ladder take on the
    patches it was calibrated on. The middle for all where no patch was searched."""
    known = table.places != UNKNOWN
    costs = costs_of(profile_named(table.profile))
    if not known.any():
        return {"first_rung": {"thresholds": [], "share": [0.5]}}
    places = table.places[known]
    chosen = calibrated(probability[known], places, costs)
    parts = np.searchsorted(chosen.thresholds, probability[known], side="right")
    starts = [place_at(chosen.shares[part], len(costs)) for part in parts]
    spent = [measurements(start, int(place), costs) for start, place in zip(starts, places, strict=True)]
    middle = [measurements(len(costs) // 2, int(place), costs) for place in places]
    return {
        "first_rung": chosen.as_table(),
        "calibrated_on": {
            "profile": table.profile,
            "patches": int(known.sum()),
            "measurements": round(float(np.mean(spent)), 3),
            "measurements_from_the_middle": round(float(np.mean(middle)), 3),
        },
    }
