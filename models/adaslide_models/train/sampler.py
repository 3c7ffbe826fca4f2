"""Batches of pairs, cut, turned and enlarged where the net trains."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adaslide_models.data.patches import PixelBatch
from adaslide_models.judged import seen_in
from adaslide_models.nets.unet import UNet


@dataclass(frozen=True, slots=True)
class Batch:
    """``low`` (B, 3, side, side), its bicubic enlargement ``base`` and the original ``high``, both
    (B, 3, side * scale, side * scale), in 0..1; ``seen`` (B, 1, side * scale, side * scale) are the
    probabilities that one judge saw in the original, None without judges."""

    low: Tensor
    base: Tensor
    high: Tensor
    seen: Tensor | None


class Sampler:
    """Random crops of pairs that stay on ``device``: ``high`` (n, S, S, 3), ``low`` (n, versions,
    S / scale, S / scale, 3), both uint8, and what ``judges`` see in the originals."""

    def __init__(self, high: PixelBatch, low: PixelBatch, device: str, judges: tuple[UNet, ...] = ()) -> None:
        self.high = torch.from_numpy(high).to(device)
        self.low = torch.from_numpy(low).to(device)
        self.scale = high.shape[1] // low.shape[2]
        self.seen = seen_in(self.high, judges) if judges else None

    def batch(self, count: int, side: int, random: np.random.Generator, judge: int = 0) -> Batch:
        """The crops of one batch are turned and mirrored alike. ``judge`` is the one whose view is given."""
        index, version = (random.integers(most, size=count) for most in self.low.shape[:2])
        y, x = random.integers(self.low.shape[2] - side + 1, size=(2, count))
        turns, mirror = int(random.integers(4)), bool(random.integers(2))

        def cut(images: Tensor, index: np.ndarray, scale: int) -> Tensor:
            planes = _planes(_cut(images, index, y * scale, x * scale, side * scale))
            turned = torch.rot90(planes, turns, (2, 3))
            return turned.flip(3) if mirror else turned

        low = cut(self.low.flatten(0, 1), index * self.low.shape[1] + version, 1)
        seen = None if self.seen is None else cut(self.seen[:, judge, ..., None], index, self.scale)
        return Batch(low, enlarged(low, self.scale), cut(self.high, index, self.scale), seen)

    def whole(self, image: int, version: int) -> tuple[Tensor, Tensor]:
        """(low, original) of one pair, each (1, 3, ..) in 0..1."""
        return _planes(self.low[image, version][None]), _planes(self.high[image][None])


def _cut(images: Tensor, index: np.ndarray, y: np.ndarray, x: np.ndarray, side: int) -> Tensor:
    """(B, side, side, channels) of (n, H, W, channels)."""
    at, rows, columns = (torch.from_numpy(each).to(images.device) for each in (index, y, x))
    span = torch.arange(side, device=images.device)
    return images[
        at[:, None, None], (rows[:, None] + span)[:, :, None], (columns[:, None] + span)[:, None, :]
    ]


def enlarged(low: Tensor, scale: int) -> Tensor:
    """Bicubic as Pillow does it (a = -0.5, rounded to grey levels), within a grey level."""
    big = functional.interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False, antialias=True)
    return (big.clamp(0, 1) * 255).round() / 255


def _planes(images_BHWC: Tensor) -> Tensor:
    return images_BHWC.permute(0, 3, 1, 2).float() / 255
