"""Trains the nuclei judge: crops of one scale, binary cross-entropy and Dice, an average of weights kept.

    python -m adaslide_models.train.segmenter --data DIR --split FILE [--split FILE ...] --val FILE --out DIR
        --budget MINUTES [--resume DIR] [--folds K --fold I]

Leaves in DIR: log.jsonl (a line every few steps, and one a validation), checkpoint.pt (to resume from),
NAME.safetensors and NAME.onnx (the best average of weights on ``--val``), and result.json about them.

With ``--folds K --fold I`` the images of --split and --val that the recipe selects on are pooled and cut
into K parts by patient; part I is only scored, once, at the end, and nothing is selected on it. Such a net
tells how good the recipe is; it is never shipped, for it has seen what others are validated on.
"""

import argparse
import copy
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
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
from adaslide_models.recipes.segmenter import RECIPES, SegmenterConfig
from adaslide_models.train import checkpoints
from adaslide_models.train.averages import average
from adaslide_models.weights import export_onnx, save_trained, sha256

LOG_STEPS = 20
VALIDATION_SECONDS = 45.0
CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Limit:
    """When a run ends: after seconds of training or, for runs that must repeat exactly, after steps."""

    seconds: float = math.inf
    steps: int | None = None

    def share(self, progress: checkpoints.Progress) -> float:
        """Of the run, how much is behind."""
        if self.steps is not None:
            return progress.step / self.steps
        return progress.seconds / self.seconds


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

    def rate(self, share: float) -> float:
        """Linear warm-up, then half a cosine down to a hundredth."""
        warm = min(1.0, (self.progress.step + 1) / self.config.warm_up_steps)
        return self.config.rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * min(share, 1.0))) / 2)

    def step(self, share: float) -> float:
        """One step of the optimiser, ``share`` of the run behind it. Returns the loss."""
        config = self.config
        rate = self.rate(share)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
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


class Log:
    """log.jsonl: one JSON object a line, complete whenever the run is stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, **line: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


@contextmanager
def _progress_bar() -> Iterator[Callable[[float, str], None]]:
    console = Console(stderr=True)
    columns = TextColumn("training"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share, text: bar.update(task, completed=share, description=text)


def validated(training: Training, validation: list[Labelled]) -> tuple[float, dict[str, Any]]:
    """(mean Dice over the sources that select, the table of all sources)."""
    config = training.config
    table = by_source(score(validation, judge_of(training.kept, config.scaling)))
    chosen = [table[source]["dice"] for source in config.selected_on if source in table]
    return float(np.mean(chosen)), table


def run(training: Training, validation: list[Labelled], out: Path, limit: Limit) -> None:
    """Trains up to ``limit``. Without ``validation`` the last average is kept, else the best one."""
    config, progress, log = training.config, training.progress, Log(out / "log.jsonl")
    trained = out / f"{config.name}.safetensors"
    if not trained.exists():
        progress.best = -math.inf  # resumed elsewhere: what was best there is not here
    next_validation = progress.seconds + VALIDATION_SECONDS
    next_checkpoint = progress.seconds + CHECKPOINT_SECONDS
    losses: list[float] = []
    with _progress_bar() as show:
        while (share := limit.share(progress)) < 1:
            start = time.monotonic()
            losses.append(training.step(share))
            progress.seconds += time.monotonic() - start
            show(share, f"step {progress.step}, loss {losses[-1]:.3f}, best {max(progress.best, 0):.3f}")
            if progress.step % LOG_STEPS == 0:
                log.write(
                    step=progress.step,
                    seconds=round(progress.seconds, 1),
                    loss=round(float(np.mean(losses)), 5),
                    rate=training.rate(share),
                )
                losses.clear()
            if validation and (progress.seconds >= next_validation or limit.share(progress) >= 1):
                start = time.monotonic()
                mean, table = validated(training, validation)
                log.write(step=progress.step, seconds=round(progress.seconds, 1), dice=mean, validation=table)
                if mean > progress.best:
                    progress.best = mean
                    save_trained(training.kept, trained)
                # Validation is paid out of the budget like everything else.
                progress.seconds += time.monotonic() - start
                next_validation = progress.seconds + VALIDATION_SECONDS
            if progress.seconds >= next_checkpoint:
                training.save(out)
                next_checkpoint = progress.seconds + CHECKPOINT_SECONDS
    if not validation:
        save_trained(training.kept, trained)
    training.save(out)


def split_entries(given: argparse.Namespace, config: SegmenterConfig) -> tuple[list[Entry], list[Entry]]:
    """(trained on, validated or scored): the splits as they are, or a fold of them."""
    train = [entry for split in given.split for entry in read_split(split)]
    validation = [entry for split in given.val for entry in read_split(split) if entry.kind != "points"]
    if given.folds is None:
        return train, validation
    pooled = [entry for entry in (*train, *validation) if entry.source in config.selected_on]
    held_out = folds(pooled, given.folds)[given.fold]
    rest = [entry for entry in train if entry.source not in config.selected_on]
    return [*(entry for entry in pooled if entry not in held_out), *rest], held_out


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="nuclei-unet")
    parser.add_argument("--data", type=Path, required=True, help="folder that the splits' paths start in")
    parser.add_argument("--split", type=Path, required=True, action="append")
    parser.add_argument("--val", type=Path, required=True, action="append")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=12.0, help="minutes of training")
    parser.add_argument("--steps", type=int, help="train this many steps instead: repeats exactly")
    parser.add_argument("--resume", type=Path, help="folder of a checkpoint to go on from")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folds", type=int)
    parser.add_argument("--fold", type=int)
    given = parser.parse_args(arguments)
    if (given.folds is None) != (given.fold is None):
        parser.error("--folds and --fold come together")
    if given.folds is not None and not 0 <= given.fold < given.folds:
        parser.error("--fold counts from 0 up to --folds - 1")
    return given


def main(arguments: list[str] | None = None) -> None:
    """The command line of the module."""
    given = _parsed(arguments)
    config = RECIPES[given.recipe]()
    if given.seed is not None:
        config = replace(config, seed=given.seed)
    torch.set_num_threads(given.threads)
    train, held = split_entries(given, config)
    examples = [load(given.data, entry) for entry in train if entry.source in config.shares]
    validation = [load(given.data, entry) for entry in held]
    given.out.mkdir(parents=True, exist_ok=True)
    training = Training(config, examples)
    if given.resume is not None:
        training.resume(given.resume)
    is_fold = given.folds is not None
    Log(given.out / "log.jsonl").write(
        recipe=config.name,
        parameters=parameter_count(training.net),
        trained_on=len(examples),
        fold=[given.fold, given.folds] if is_fold else None,
        step=training.progress.step,
    )
    run(training, [] if is_fold else validation, given.out, Limit(given.budget * 60, given.steps))
    release(training, examples, validation, given.out)


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


if __name__ == "__main__":
    main()
