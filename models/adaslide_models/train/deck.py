"""Pairs where a net is trained, and random batches of them."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch

from adaslide_models.data.patches import Pairs


class Batch(NamedTuple):
    """``low`` is (B, 3, h, w), its bicubic enlargement ``base`` and the original ``high`` (B, 3, H, W): all
    float32 in 0..1, ``low`` with its channels last."""

    low: torch.Tensor
    base: torch.Tensor
    high: torch.Tensor


class Deck:
    """`Pairs` on a device. Crops are cut there: a GPU does not wait for the CPU."""

    def __init__(self, pairs: Pairs, device: str) -> None:
        self._high = torch.from_numpy(pairs.high).to(device)
        self._low = torch.from_numpy(pairs.low).to(device)
        self._scale = Fraction(pairs.high.shape[1], pairs.low.shape[2])

    def deal(self, count: int, side: int, random: np.random.Generator) -> Batch:
        """``count`` random crops of ``side`` px at low resolution, turned and mirrored.

        Raises `ValueError` for a side that the scale does not enlarge to whole pixels.
        """
        if (side * self._scale).denominator != 1:
            raise ValueError(f"a crop of {side} px cannot be enlarged by {self._scale}")
        # Crops begin where pixels of low and full resolution begin together.
        cell, wide_cell = self._scale.denominator, self._scale.numerator
        cells = (self._low.shape[2] - side) // cell + 1
        images = self._moved(random.integers(len(self._high), size=count))
        versions = self._moved(random.integers(self._low.shape[1], size=count))
        corners = self._moved(random.integers(cells, size=(2, count)))
        turns = self._moved(random.integers(2, size=(3, count)).astype(bool))
        low = _planes(
            self._low[images[:, None, None], versions[:, None, None], *_grid(corners * cell, side, turns)]
        )
        wide = int(side * self._scale)
        high = _planes(self._high[images[:, None, None], *_grid(corners * wide_cell, wide, turns)])
        return Batch(low.contiguous(memory_format=torch.channels_last), enlarged(low, wide), high)

    def _moved(self, drawn: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(drawn).to(self._high.device)


def _grid(corners: torch.Tensor, side: int, turns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns, (B, side, side) each, of the crops that begin at ``corners`` (2, B).

    ``turns`` (3, B): mirrored along y, along x, transposed.
    """
    steps = torch.arange(side, device=corners.device)
    y, x = corners[:, :, None] + torch.where(turns[:2, :, None], steps.flip(0), steps)
    down, along = y[:, :, None], x[:, None, :]
    swap = turns[2][:, None, None]
    return torch.where(swap, y[:, None, :], down), torch.where(swap, x[:, :, None], along)


def enlarged(low_BCHW: torch.Tensor, side: int) -> torch.Tensor:
    """Bicubic as Pillow's, to ``side`` px, within a grey level of it: (B, 3, side, side) in 0..1."""
    # Pillow's kernel (a = -0.5) is the one that torch uses where it filters against aliases.
    base = torch.nn.functional.interpolate(
        low_BCHW.float(), size=(side, side), mode="bicubic", antialias=True, align_corners=False
    )
    return (base.clamp(0, 1) * 255).round() / 255


def _planes(pixels_BHWC: torch.Tensor) -> torch.Tensor:
    return pixels_BHWC.permute(0, 3, 1, 2).float() / 255
