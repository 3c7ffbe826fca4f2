"""Nets in torch, in the place of `adaslide.adapters.inference.onnx.OnnxModel`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from adaslide.adapters.inference.onnx import Floats
from adaslide.adapters.inference.weights import Weights
from adaslide.domain.errors import ModelError
from adaslide.domain.rung import scale_of
from adaslide_models.nets.compact import Compact
from adaslide_models.nets.lean_unet import LeanUNet
from adaslide_models.nets.unet import CHANNELS, UNet
from adaslide_models.runtime.device import Device, computing
from adaslide_models.weights import load_trained


def _compact(table: Mapping[str, Any]) -> nn.Module:
    return Compact(table["features"], table["convolutions"], scale_of(table["scale"]), table.get("fold", 1))


def _unet(table: Mapping[str, Any]) -> nn.Module:
    return UNet(table.get("channels", CHANNELS))


def _lean_unet(table: Mapping[str, Any]) -> nn.Module:
    return LeanUNet(table.get("channels", CHANNELS))


ARCHITECTURES: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "compact": _compact,
    "unet": _unet,
    "lean-unet": _lean_unet,
}
"""By the name that manifests use: the net of a manifest's entry, untrained."""


class Model(Protocol):
    """A net with one input and one output on a device, named by its weights."""

    @property
    def weights(self) -> Weights: ...

    @property
    def device(self) -> Device: ...

    def run(self, images: Sequence[Floats]) -> Floats:
        """The net's (B, c, H, W) output for ``images`` of shape (1, 3, h, w), all of one size; float32.

        Raises `ModelError` for weights that cannot be used.
        """
        ...


@dataclass(frozen=True, slots=True)
class TorchModel:
    """`Model`. Picklable: the net is no part of it, but is loaded at the first `run` of each process."""

    weights: Weights = field(hash=False)
    device: Device

    def run(self, images: Sequence[Floats]) -> Floats:
        """Raises `WeightsMissing`, `DigestMismatch`, and `ModelError` for weights of no net that is known."""
        net = _net(self)
        with computing(self.device):
            batch = torch.from_numpy(np.concatenate(images)).to(self.device.name)
            output = net(batch.contiguous(memory_format=torch.channels_last))
            floats: Floats = output.float().contiguous().cpu().numpy()
        return floats


@lru_cache(maxsize=16)
def _net(model: TorchModel) -> nn.Module:
    weights = model.weights
    try:
        net = ARCHITECTURES[weights.table["architecture"]](weights.table)
    except KeyError as error:
        raise ModelError(f"the manifest does not say what net {weights.name} is: {error}") from error
    try:
        net.load_state_dict(load_trained(weights))
    except RuntimeError as error:
        raise ModelError(f"the safetensors of {weights.name} are those of another net") from error
    move: Any = net.eval().to  # torch's types know no memory_format
    placed: nn.Module = move(model.device.name, memory_format=torch.channels_last)
    return placed


def batches(images: Sequence[Floats], pixels: int) -> list[list[int]]:
    """Indices of ``images``, (1, 3, h, w), in groups of one size and of at most ``pixels`` pixels.

    Every index is in one group; within a group they ascend. An image that is larger has its own.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.shape, []).append(index)
    parts = []
    for shape, group in groups.items():
        most = max(1, pixels // (shape[2] * shape[3]))
        parts += [group[start : start + most] for start in range(0, len(group), most)]
    return parts
