"""Checkpoints: everything a training run needs to go on as if it had never stopped."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adaslide.domain.errors import NotFound

FILE = "checkpoint.pt"


@dataclass(slots=True)
class Progress:
    """How far a run is. ``seconds`` of training, over all its parts."""

    step: int = 0
    seconds: float = 0.0
    best: float = float("-inf")


def save(folder: Path, progress: Progress, random: np.random.Generator, parts: dict[str, Any]) -> None:
    """Writes ``folder/checkpoint.pt``; whoever stops the run meanwhile leaves the previous one whole.

    ``parts`` are state dicts by name. The state of torch's and of ``random``'s generator is kept too.
    """
    state = {
        "progress": [progress.step, progress.seconds, progress.best],
        "random": json.dumps(random.bit_generator.state),
        "torch_random": torch.get_rng_state(),
        "parts": parts,
    }
    part = folder / f"{FILE}.part"
    torch.save(state, part)
    os.replace(part, folder / FILE)


def load(folder: Path, random: np.random.Generator) -> tuple[Progress, dict[str, Any]]:
    """What `save` wrote, the generators put back. Raises `NotFound`."""
    path = folder / FILE
    if not path.is_file():
        raise NotFound(f"there is no {FILE} to resume from")
    state = torch.load(path, weights_only=True)
    random.bit_generator.state = json.loads(state["random"])
    torch.set_rng_state(state["torch_random"])
    step, seconds, best = state["progress"]
    return Progress(step, seconds, best), state["parts"]
