"""What trainers that keep an exponential mean of their net share: its best state, checkpoints, release."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from adaslide_models import weights
from adaslide_models.train import checkpoints


class State:
    """Net, mean of its weights, the best mean so far, optimiser, generator and progress of a run that
    writes to ``out``."""

    def __init__(self, net: nn.Module, optimiser: torch.optim.Optimizer, seed: int, out: Path) -> None:
        self.net = net
        self.mean = copy.deepcopy(net).requires_grad_(requires_grad=False).eval()
        self.best = copy.deepcopy(self.mean.state_dict())
        self.optimiser = optimiser
        self.random = np.random.default_rng(seed)
        self.progress = checkpoints.Progress()
        self._out = out

    def keep_if_best(self, score: float) -> None:
        """Remembers the mean if ``score`` is the highest so far."""
        if score > self.progress.best:
            self.progress.best, self.best = score, copy.deepcopy(self.mean.state_dict())

    def save(self) -> None:
        """Writes the checkpoint."""
        parts = {
            "net": self.net.state_dict(),
            "mean": self.mean.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
        }
        checkpoints.save(self._out, self.progress, self.random, parts)

    def resume(self, folder: Path) -> None:
        """Goes on from the checkpoint in ``folder``. Raises `NotFound`."""
        self.progress, parts = checkpoints.load(folder, self.random)
        self.net.load_state_dict(parts["net"])
        self.mean.load_state_dict(parts["mean"])
        self.optimiser.load_state_dict(parts["optimiser"])
        self.best = parts["best"]

    def release(self, name: str, export: Callable[[nn.Module, Path], None]) -> dict[str, Any]:
        """Writes the best mean as ``name``.safetensors and, by ``export``, ``name``.onnx; what a manifest
        must say of them, and how long the run was."""
        self.mean.load_state_dict(self.best)
        trained, served = (self._out / f"{name}.{suffix}" for suffix in ("safetensors", "onnx"))
        weights.save_trained(self.mean, trained)
        export(self.mean, served)
        return {
            "onnx": served.name,
            "sha256": weights.sha256(served),
            "safetensors": trained.name,
            "safetensors_sha256": weights.sha256(trained),
            "parameters": sum(p.numel() for p in self.mean.parameters()),
            "steps": self.progress.step,
            "seconds": round(self.progress.seconds),
            "torch": torch.__version__,
        }
