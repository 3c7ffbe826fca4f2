"""The loop of every training run: steps until the end, a log, validation, checkpoints and a bar."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from adaslide_models.train import checkpoints

LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a run ends, and what it does on the way."""

    minutes: float
    """Of training, validation included."""
    steps: int | None = None
    """Ends the run instead of ``minutes``: for runs that must repeat exactly."""
    measure: str = "loss"
    """What a step gives, as the log names it."""
    log_steps: int = 50
    validate_steps: int | None = None
    """Between validations; None: ``validate_seconds`` are."""
    validate_seconds: float = 60.0
    checkpoint_seconds: float = 60.0

    def share(self, progress: checkpoints.Progress) -> float:
        """Of the run, how much is behind."""
        if self.steps is not None:
            return progress.step / self.steps
        return progress.seconds / (60 * self.minutes)

    def validates(self, step: int, seconds: float) -> bool:
        """After ``step``, ``seconds`` after the last validation."""
        if self.validate_steps is not None:
            return step % self.validate_steps == 0
        return seconds >= self.validate_seconds


def rate_at(step: int, done: float, warmup: int, floor: float) -> float:
    """The share of the learning rate: linear over ``warmup`` steps, then a cosine down to ``floor``.

    ``done`` is the share of the run that is behind.
    """
    warm = min(1.0, (step + 1) / warmup)
    cosine = (1 + math.cos(math.pi * min(done, 1.0))) / 2
    return warm * (floor + (1 - floor) * cosine)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Of all parameters."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def log_row(out: Path, **row: Any) -> None:
    """Appends to ``out/log.jsonl``, which is whole whenever the run is stopped."""
    with (out / LOG).open("a") as log:
        log.write(json.dumps(row) + "\n")


def run(
    progress: checkpoints.Progress,
    schedule: Schedule,
    out: Path,
    optimiser: torch.optim.Optimizer,
    *,
    step: Callable[[float], float],
    validate: Callable[[], dict[str, Any]],
    save: Callable[[], None],
) -> list[float]:
    """Goes on from ``progress`` to the end of ``schedule``; gives what every step gave.

    ``step`` is told the share of the run behind it, takes one step and counts it in ``progress``.
    ``validate`` gives what the log shall say of it. It and ``save`` are called once more at the end.
    """
    given: list[float] = []
    with _bar() as show:
        start = time.monotonic() - progress.seconds
        validated = saved = time.monotonic()

        def check() -> None:
            found = validate()
            progress.seconds = time.monotonic() - start
            if found:
                log_row(out, step=progress.step, seconds=round(progress.seconds, 1), **found)

        while (done := schedule.share(progress)) < 1:
            given.append(step(done))
            progress.seconds = time.monotonic() - start
            if progress.step % schedule.log_steps == 0:
                recent = round(float(np.mean(given[-schedule.log_steps :])), 5)
                row = {"step": progress.step, "seconds": round(progress.seconds, 1)}
                log_row(out, **row, **{schedule.measure: recent}, rate=optimiser.param_groups[0]["lr"])
                show(done, f"step {progress.step} {schedule.measure} {recent:.4f} best {progress.best:.4f}")
            is_over = schedule.share(progress) >= 1
            if not is_over and schedule.validates(progress.step, time.monotonic() - validated):
                check()
                validated = time.monotonic()
            if time.monotonic() - saved >= schedule.checkpoint_seconds:
                save()
                saved = time.monotonic()
        check()
        save()
    return given


@contextmanager
def _bar() -> Iterator[Callable[[float, str], None]]:
    console = Console(stderr=True)
    columns = BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=1.0)
        yield lambda done, text: progress.update(task, completed=done, description=text)
