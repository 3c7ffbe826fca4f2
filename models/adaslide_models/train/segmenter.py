"""Trains the nuclei judge: crops of one scale, binary cross-entropy and Dice, an average of weights kept.

    adaslide train segmenter --data DIR --split FILE [--split FILE ...] --val FILE [--val FILE ...] --out DIR

Leaves in ``out``: log.jsonl, checkpoint.pt every minute (`--resume`), NAME.safetensors and NAME.onnx (the
best average of weights on ``val``), and result.json about them.
"""

import copy
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from adaslide.adapters.segmenters.unet import Scaling
from adaslide.domain.errors import InputError
from adaslide.domain.pixels import Mask, Pixels
from adaslide_models.data.nuclei import Entry, Labelled, folds, load, read_split
from adaslide_models.data.nuclei_augment import Augmenter
from adaslide_models.evaluate.segmenter import by_source, score
from adaslide_models.losses import counted_bce_dice
from adaslide_models.nets.unet import MULTIPLE, UNet, parameter_count
from adaslide_models.recipes.segmenter import SegmenterConfig
from adaslide_models.train import checkpoints, loop
from adaslide_models.train.averages import average
from adaslide_models.train.loop import rate_at, set_rate
from adaslide_models.weights import export_onnx, save_trained, sha256

LOG_STEPS = 20
VALIDATION_SECONDS = 45.0
FLOOR = 0.01
"""Share of the learning rate that is left at the end of the cosine."""


@dataclass(frozen=True, slots=True)
class Segmenter:
    """A run of ``recipe``.

    With ``fold``, (I, K), the images of ``split`` and ``val`` that the recipe selects on are pooled and cut
    into K parts by patient; part I is only scored, once, at the end, and nothing is selected on it. Such a
    net tells how good the recipe is; it is never shipped, for it has seen what others are validated on.
    Raises `InputError` unless I counts from 0 up to K - 1.
    """

    recipe: SegmenterConfig
    data: Path
    split: tuple[Path, ...]
    val: tuple[Path, ...]
    out: Path
    budget_minutes: float = 12.0
    """Minutes of training, validation included."""
    steps: int | None = None
    """Ends the run instead of the budget: for runs that must repeat exactly."""
    resume: Path | None = None
    threads: int = 1
    fold: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.fold is not None and not 0 <= self.fold[0] < self.fold[1]:
            raise InputError("folds are counted from 0 up to their number less 1")


def sources_of(examples: list[Labelled], config: SegmenterConfig) -> tuple[list[list[Labelled]], np.ndarray]:
    """The examples of each source that the recipe names, and the share of each. Raises `InputError`."""
    held = {
        source: [example for example in examples if example.entry.source == source]
        for source in config.shares
    }
    held = {source: own for source, own in held.items() if own}
    if not held:
        raise InputError("the split holds no image of a source that the recipe trains on")
    shares = np.array([config.shares[source] for source in held])
    return list(held.values()), shares / shares.sum()


def batches(
    examples: list[Labelled], config: SegmenterConfig, chance: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless (B, 3, S, S) pixels in 0..1, (B, 1, S, S) targets and weights."""
    sources, shares = sources_of(examples, config)
    augmenter = Augmenter(config.side, config.augmentation)
    while True:
        crops = []
        for index in chance.choice(len(sources), config.batch, p=shares):
            own = sources[index]
            crops.append(augmenter(own[chance.integers(len(own))], chance))
        pixels = np.stack([crop.image for crop in crops]).transpose(0, 3, 1, 2)
        yield (
            torch.from_numpy(pixels.astype(np.float32) / 255).contiguous(memory_format=torch.channels_last),
            torch.from_numpy(np.stack([crop.target for crop in crops])[:, None]),
            torch.from_numpy(np.stack([crop.weight for crop in crops])[:, None]),
        )


def judge_of(net: UNet, scaling: Scaling) -> Callable[[Pixels, float], Mask]:
    """The net as the evaluation sees it: the served judge's own scaling around torch in fp32."""

    @torch.inference_mode()
    def judge(image: Pixels, mpp: float) -> Mask:
        scaled = scaling.scaled(image, mpp)
        logits = net.eval()(torch.from_numpy(scaling.planes(scaled)))
        return scaling.mask(logits[0, 0].numpy(), scaled, image)

    return judge


class Training:
    """A run's net, its average, its optimiser and its chance; all of it goes into a checkpoint."""

    def __init__(self, config: SegmenterConfig, examples: list[Labelled]) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.chance = np.random.default_rng(config.seed)
        self.net = UNet(config.channels).to(memory_format=torch.channels_last)
        self.kept = copy.deepcopy(self.net)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=config.rate, weight_decay=config.weight_decay
        )
        self.progress = checkpoints.Progress()
        self._batches = batches(examples, config, self.chance)

    def step(self, share: float) -> float:
        """One step of the optimiser, ``share`` of the run behind it. Returns the loss."""
        config = self.config
        set_rate(
            self.optimiser, config.rate * rate_at(self.progress.step, share, config.warm_up_steps, FLOOR)
        )
        pixels, target, weight = next(self._batches)
        self.net.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            logits = self.net(pixels)
        loss = counted_bce_dice(logits.float(), target, weight, config.dice_share, config.dice_smooth)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), config.clip)
        self.optimiser.step()
        average(self.kept, self.net, config.ema, self.progress.step)
        self.progress.step += 1
        return loss.item()

    def save(self, out: Path) -> None:
        parts = {
            "net": self.net.state_dict(),
            "kept": self.kept.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        checkpoints.save(out, self.progress, self.chance, parts)

    def resume(self, folder: Path) -> None:
        self.progress, parts = checkpoints.load(folder, self.chance)
        self.net.load_state_dict(parts["net"])
        self.kept.load_state_dict(parts["kept"])
        self.optimiser.load_state_dict(parts["optimiser"])


def validated(training: Training, validation: list[Labelled]) -> tuple[float, dict[str, Any]]:
    """(mean Dice over the sources that select, the table of all sources)."""
    config = training.config
    table = by_source(score(validation, judge_of(training.kept, config.scaling)))
    chosen = [table[source]["dice"] for source in config.selected_on if source in table]
    return float(np.mean(chosen)), table


def validate(training: Training, validation: list[Labelled], out: Path) -> dict[str, Any]:
    """What the log says; writes the average to ``out`` if it is the best so far, or if nothing tells."""
    trained = out / f"{training.config.name}.safetensors"
    if not validation:
        save_trained(training.kept, trained)
        return {}
    mean, table = validated(training, validation)
    if mean > training.progress.best:
        training.progress.best = mean
        save_trained(training.kept, trained)
    return {"dice": mean, "validation": table}


def split_entries(run: Segmenter) -> tuple[list[Entry], list[Entry]]:
    """(trained on, validated or scored): the splits as they are, or a fold of them."""
    train = [entry for split in run.split for entry in read_split(split)]
    validation = [entry for split in run.val for entry in read_split(split) if entry.kind != "points"]
    if run.fold is None:
        return train, validation
    selected_on, (index, count) = run.recipe.selected_on, run.fold
    held_out = folds([e for e in (*train, *validation) if e.source in selected_on], count)[index]
    pooled = [e for e in (*train, *validation) if e.source in selected_on and e not in held_out]
    return [*pooled, *(e for e in train if e.source not in selected_on)], held_out


def train(run: Segmenter) -> list[float]:
    """Does ``run`` to its end; gives the loss of every step taken. Prints the scores on what was held out."""
    config, out = run.recipe, run.out
    torch.set_num_threads(run.threads)
    trained_on, held = split_entries(run)
    examples = [load(run.data, entry) for entry in trained_on if entry.source in config.shares]
    validation = [load(run.data, entry) for entry in held]
    out.mkdir(parents=True, exist_ok=True)
    training = Training(config, examples)
    if run.resume is not None:
        training.resume(run.resume)
    if not (out / f"{config.name}.safetensors").exists():
        training.progress.best = -math.inf  # resumed elsewhere: what was best there is not here
    loop.log_row(
        out,
        recipe=config.name,
        parameters=parameter_count(training.net),
        trained_on=len(examples),
        fold=run.fold,
        step=training.progress.step,
    )
    chosen_on = validation if run.fold is None else []
    losses = loop.run(
        training.progress,
        loop.Schedule(
            run.budget_minutes, run.steps, log_steps=LOG_STEPS, validate_seconds=VALIDATION_SECONDS
        ),
        out,
        training.optimiser,
        step=training.step,
        validate=lambda: validate(training, chosen_on, out),
        save=lambda: training.save(out),
    )
    release(training, examples, validation, out)
    return losses


def release(training: Training, examples: list[Labelled], held: list[Labelled], out: Path) -> None:
    """Exports what was kept, scores it on ``held``, and writes down what a manifest and a card must say."""
    config = training.config
    trained, served = (out / f"{config.name}.{suffix}" for suffix in ("safetensors", "onnx"))
    net = UNet(config.channels)
    net.load_state_dict(load_file(trained))
    rows = score(held, judge_of(net, config.scaling))
    export_onnx(net, channels=3, multiple=MULTIPLE, path=served)
    result = {
        "onnx": served.name,
        "sha256": sha256(served),
        "safetensors": trained.name,
        "safetensors_sha256": sha256(trained),
        "parameters": parameter_count(net),
        "steps": training.progress.step,
        "seconds": round(training.progress.seconds),
        "torch": torch.__version__,
        "scores": by_source(rows),
        "scored": rows,
        "trained_on": sorted(example.entry.image for example in examples),
    }
    (out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(json.dumps(result["scores"], indent=2) + "\n")
