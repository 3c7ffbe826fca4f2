"""Trains the compact enhancer: bicubic plus a learned residual, on what packages really store.

``python -m adaslide_models.train.fie_compact --data DIR --split FILE --val FILE --out DIR --budget MIN``

Writes to ``out``: ``checkpoint.pt`` every minute (`--resume`), ``log.jsonl``, and at the end
``fie-compact-x4.safetensors`` and ``.onnx``: the exponential mean of the weights that did best on the
validation list, with ``result.json``.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.domain.rung import Scale, scale_of
from adaslide_models import weights
from adaslide_models.data.patches import NONE, Pairs, PairSettings, PixelBatch, Variety, make_pairs
from adaslide_models.data.sources import list_digest, read_split
from adaslide_models.losses import charbonnier, log_error
from adaslide_models.nets.compact import Compact
from adaslide_models.train import loop
from adaslide_models.train.deck import Deck
from adaslide_models.train.loop import rate_at, set_rate
from adaslide_models.train.state import State

LOSSES = {"charbonnier": charbonnier, "log_error": log_error}


@dataclass(frozen=True, slots=True)
class FieCompact:
    """A run. Recipes (`adaslide_models.recipes`) give the values that a release was trained with."""

    data: Path
    split: Path
    val: Path
    out: Path
    budget_minutes: float = 24.0
    """Minutes of training, validation included; making the pairs comes before them."""
    steps: int | None = None
    """Ends the run instead of the budget: for runs that must repeat exactly."""
    resume: Path | None = None
    start: Path | None = None
    """Weights (.safetensors) of the same net that the run begins with, instead of bicubic."""
    seed: int = 0
    device: str = "cpu"
    """torch's name of where the net is trained: ``cpu``, ``cuda``."""
    threads: int = 1
    """Of the CPU, in training."""
    bf16: bool = True
    """Mixed precision in training; validation and the released weights are fp32."""

    scale: Scale = 4
    features: int = 48
    convolutions: int = 12
    fold: int = 1
    """px along a side that the net folds into channels."""

    crops: int = 3000
    side: int = 256
    """px of a crop at full resolution, from which batches are cut."""
    qualities: tuple[int, ...] = (30, 45, 60, 75)
    shrink: Mapping[str, tuple[float, float]] | None = None
    share: Mapping[str, float] | None = None
    variety: Variety = NONE
    val_crops: int = 24
    processes: int = 2
    """That make the pairs."""

    batch: int = 16
    crop: int = 32
    """px of a training crop at low resolution: a multiple of ``fold``."""
    learning_rate: float = 1e-3
    floor: float = 0.02
    """Share of the learning rate that is left at the end of the cosine."""
    warmup: int = 100
    ema: float = 0.999
    loss: Literal["charbonnier", "log_error"] = "charbonnier"
    """Charbonnier finds its way from bicubic; the logarithm of the squared error then goes for PSNR."""
    epsilon: float = 0.02
    """Of the loss, in units of full scale."""

    @property
    def name(self) -> str:
        kind = "compact" if self.fold == 1 else "folded"
        return f"fie-{kind}-x{self.scale}".replace("/", "-")

    def pairs(self, count: int, variety: Variety, seed: int) -> PairSettings:
        return PairSettings(
            count, self.scale, self.side, self.qualities, shrink=self.shrink, share=self.share,
            variety=variety, seed=seed,
        )  # fmt: skip


class Run(State):
    """A training run: its state, one step, one validation."""

    def __init__(self, config: FieCompact) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        self.config = config
        net = Compact(config.features, config.convolutions, config.scale, config.fold)
        if config.start is not None:
            net.load_state_dict(load_file(config.start))
        net.to(config.device)
        optimiser = torch.optim.Adam(net.parameters(), lr=config.learning_rate)
        super().__init__(net, optimiser, config.seed, config.out)

    def step(self, deck: Deck, done: float) -> float:
        """One step on a random batch; ``done`` is the share of the run behind it. Gives the loss."""
        config = self.config
        rate = rate_at(self.progress.step, done, config.warmup, config.floor)
        set_rate(self.optimiser, config.learning_rate * rate)
        batch = deck.deal(config.batch, config.crop, self.random)
        with torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=config.bf16):
            residual = self.net(batch.low)
        loss = LOSSES[config.loss](batch.base + residual.float(), batch.high, config.epsilon)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.progress.step += 1
        self._follow()
        return float(loss.detach())

    @torch.no_grad()
    def _follow(self) -> None:
        """The mean remembers little while the run is young."""
        decay = min(self.config.ema, (1 + self.progress.step) / (10 + self.progress.step))
        for mean, value in zip(self.mean.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)

    def validate(self, pairs: Pairs) -> dict[str, Any]:
        """dB of PSNR above bicubic by version of the low resolution; remembers the best mean."""
        versions = pairs.low.shape[1]
        gains = [gain(self.mean, pairs.low[:, v], pairs.high, self.config.device) for v in range(versions)]
        self.keep_if_best(float(np.mean(gains)))
        names = [f"q{quality}" for quality in self.config.qualities] + ["lossless"]
        return {"gain_db": dict(zip(names, gains, strict=True))}


def _tensor(batch: PixelBatch) -> torch.Tensor:
    """(B, h, w, 3) uint8 as (B, 3, h, w) in 0..1."""
    return torch.tensor(batch).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def gain(net: nn.Module, low: PixelBatch, high: PixelBatch, device: str = "cpu") -> float:
    """Mean over images of PSNR restored minus PSNR of bicubic, dB. ``net`` is on ``device``."""
    scale = Fraction(high.shape[1], low.shape[1])
    gains = []
    for small, original in zip(low, high, strict=True):
        target = _tensor(original[None])
        base = _tensor(BicubicRestorer(scale).restore([small])[0][None])
        restored = (base + net(_tensor(small[None]).to(device)).cpu()).clamp(0, 1)
        errors = [float((x - target).square().mean()) for x in (base, restored)]
        gains.append(10 * math.log10(errors[0] / errors[1]) if min(errors) > 0 else 0.0)
    return float(np.mean(gains))


def train(config: FieCompact) -> list[float]:
    """Runs ``config`` to its end; gives the loss of every step taken."""
    config.out.mkdir(parents=True, exist_ok=True)
    with Console(stderr=True).status("making pairs"):
        sources, kept = read_split(config.data, config.split), read_split(config.data, config.val)
        pairs = make_pairs(sources, config.pairs(config.crops, config.variety, config.seed), config.processes)
        val = make_pairs(kept, config.pairs(config.val_crops, NONE, config.seed + 1), config.processes)
    run = Run(config)
    deck = Deck(pairs, config.device)
    if config.resume is not None:
        run.resume(config.resume)
    losses = loop.run(
        run.progress,
        loop.Schedule(config.budget_minutes, config.steps),
        config.out,
        run.optimiser,
        step=lambda done: run.step(deck, done),
        validate=lambda: run.validate(val),
        save=run.save,
    )
    _release(run, [source.name for source in sources])
    return losses


def _release(run: Run, trained_on: list[str]) -> None:
    """Writes what is served and what can be trained on, and what a manifest must say of them."""
    config = run.config
    result = {
        **run.release(
            config.name,
            lambda net, path: weights.export_onnx(net.cpu(), channels=3, multiple=config.fold, path=path),
        ),
        "best_val_gain_db": run.progress.best,
        "train_list_sha256": list_digest(trained_on),
    }
    (config.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")


def main() -> None:
    """The command line; see the module."""
    from adaslide_models.recipes.fie_compact import fie_compact

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("data", "split", "val", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--scale", type=scale_of, default=4)
    parser.add_argument("--budget", type=float, help="minutes, instead of the recipe's own")
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(sys.argv[1:])
    config = fie_compact(given.data, given.split, given.val, given.out, given.scale)
    minutes = given.budget or config.budget_minutes
    train(replace(config, budget_minutes=minutes, resume=given.resume, seed=given.seed))


if __name__ == "__main__":
    main()
