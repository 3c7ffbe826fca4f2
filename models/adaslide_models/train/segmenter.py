"""Trains the nuclei judge: crops of one scale, binary cross-entropy and Dice, an average of weights kept.

    adaslide train segmenter --data DIR --split FILE [--split FILE ...] --val FILE [--val FILE ...] --out DIR

Leaves in ``out``: log.jsonl, checkpoint.pt every minute (`--resume`), NAME.safetensors and NAME.onnx (the
best average of weights on ``val``), and result.json about them.
"""

import copy
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.segmenters.unet import Scaling
from adaslide.domain.errors import InputError
from adaslide.domain.pixels import Mask, Pixels
from adaslide_models.data.nuclei import Entry, Labelled, folds, load, read_split, read_unlabelled
from adaslide_models.evaluate.segmenter import by_source, score
from adaslide_models.losses import counted_bce_dice
from adaslide_models.nets.lean_unet import LeanUNet
from adaslide_models.nets.unet import UNet, parameter_count
from adaslide_models.recipes.segmenter import SegmenterConfig
from adaslide_models.runtime.device import choose
from adaslide_models.train import checkpoints, loop
from adaslide_models.train.averages import average
from adaslide_models.train.crops import batches_by
from adaslide_models.train.loop import rate_at, set_rate
from adaslide_models.weights import export_onnx, load_trained, save_trained, sha256

Net = TypeVar("Net", bound=nn.Module)

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
    unlabelled: tuple[Path, ...] = ()
    """Lists of images that only the recipe's teacher knows."""
    device: str | None = None
    """As torch names it; None: CUDA where there is any."""
    workers: int = 0
    """Processes that make crops; 0: none but this one, which alone repeats exactly."""

    def __post_init__(self) -> None:
        if self.fold is not None and not 0 <= self.fold[0] < self.fold[1]:
            raise InputError("folds are counted from 0 up to their number less 1")


def net_of(config: SegmenterConfig) -> nn.Module:
    """The recipe's net, untrained."""
    return (LeanUNet if config.architecture == "lean-unet" else UNet)(config.channels)


def teacher_of(config: SegmenterConfig) -> UNet | None:
    """The installed judge that the recipe learns from as well. Raises `WeightsMissing`."""
    if config.teacher is None:
        return None
    weights = weights_named(config.teacher)
    net = UNet()
    net.load_state_dict(load_trained(weights))
    return net.eval().requires_grad_(False)


def judge_of(net: nn.Module, scaling: Scaling) -> Callable[[Pixels, float], Mask]:
    """The net as the evaluation sees it: the served judge's own scaling around torch in fp32."""
    device = next(net.parameters()).device

    @torch.inference_mode()
    def judge(image: Pixels, mpp: float) -> Mask:
        scaled = scaling.scaled(image, mpp)
        logits = net.eval()(torch.from_numpy(scaling.planes(scaled)).to(device))
        return scaling.mask(logits[0, 0].cpu().numpy(), scaled, image)

    return judge


class Training:
    """A run's net, its average, its optimiser and its chance; all of it goes into a checkpoint."""

    def __init__(
        self, config: SegmenterConfig, examples: list[Labelled], device: str = "cpu", workers: int = 0
    ) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.chance = np.random.default_rng(config.seed)
        self.device = torch.device(device)
        self.net = self._placed(net_of(config))
        teacher = teacher_of(config)
        self.teacher = None if teacher is None else self._placed(teacher)
        if self.teacher is not None and isinstance(self.net, LeanUNet):
            self.net.take_encoder(self.teacher)
        self.kept = copy.deepcopy(self.net)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=config.rate, weight_decay=config.weight_decay
        )
        self.progress = checkpoints.Progress()
        self._batches = batches_by(workers, examples, config, self.chance)

    def _placed(self, net: Net) -> Net:
        move: Any = net.to  # torch's types know no memory_format
        placed: Net = move(self.device, memory_format=torch.channels_last)
        return placed

    def step(self, share: float) -> float:
        """One step of the optimiser, ``share`` of the run behind it. Returns the loss."""
        config = self.config
        set_rate(
            self.optimiser, config.rate * rate_at(self.progress.step, share, config.warm_up_steps, FLOOR)
        )
        pixels, target, weight = (part.to(self.device, non_blocking=True) for part in next(self._batches))
        self.net.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.bf16):
            logits = self.net(pixels).float()
            taught = None if self.teacher is None else torch.sigmoid(self.teacher(pixels).float())
        loss = counted_bce_dice(logits, target, weight, config.dice_share, config.dice_smooth)
        if taught is not None:
            everywhere = torch.ones_like(taught)
            loss = loss + counted_bce_dice(logits, taught, everywhere, config.dice_share, config.dice_smooth)
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
    labelled = {entry.image for entry in train}
    unlabelled = (entry for split in run.unlabelled for entry in read_unlabelled(split))
    train += [entry for entry in unlabelled if entry.image not in labelled]
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
    training = Training(config, examples, choose(run.device).name, run.workers)
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
    net = net_of(config)
    net.load_state_dict(load_file(trained))
    rows = score(held, judge_of(net, config.scaling))
    ready = net.served() if isinstance(net, LeanUNet) else net
    export_onnx(ready, channels=3, multiple=config.scaling.multiple, path=served)
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
