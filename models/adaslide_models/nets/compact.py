"""The compact enhancer: all convolutions at low resolution or below, one pixel shuffle at the end.

Shapes: B batch, C channels (RGB), H W low resolution, S scale. After Shi et al. 2016 (sub-pixel
convolution, and its inverse at the input) and Lim et al. 2017 (residual blocks without normalisation).
"""

from fractions import Fraction

import torch
from torch import nn

SLOPE = 0.1
CENTRE = 0.75
"""About the mean of H&E in 0..1: what the zero padding of the borders then stands for."""
BLOCK_GAIN = 0.1
"""Blocks start near the identity, which lets the learning rate be high from the start."""


class Block(nn.Module):
    """x + two convolutions; (B, F, H, W) in and out."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        self.activation = nn.LeakyReLU(SLOPE)
        _start(self.first)
        _start(self.second, BLOCK_GAIN)

    def forward(self, x_BFHW: torch.Tensor) -> torch.Tensor:
        return self.activation(x_BFHW + self.second(self.activation(self.first(x_BFHW))))


class Compact(nn.Module):
    """(B, 3, H, W) in 0..1 to the (B, 3, H * S, W * S) residual over bicubic, in the same unit.

    Height and width are any multiples of ``fold``: blocks of so many pixels a side are folded into channels
    first, which lets a net see further for the same work, and a scale be no whole number. ``fold * scale``
    must be one. ``convolutions`` counts all of them (even, at least 4). Untrained, the residual is 0:
    training starts from bicubic.
    """

    def __init__(
        self, features: int = 48, convolutions: int = 12, scale: int | Fraction = 4, fold: int = 1
    ) -> None:
        super().__init__()
        if convolutions < 4 or convolutions % 2:
            raise ValueError(f"convolutions come in pairs, at least 4 in all, not {convolutions}")
        unfold = fold * Fraction(scale)
        if unfold.denominator != 1:
            raise ValueError(f"{fold} px cannot be folded for a scale of {scale}")
        self.fold = nn.PixelUnshuffle(fold)
        self.head = nn.Conv2d(3 * fold**2, features, 3, padding=1)
        self.activation = nn.LeakyReLU(SLOPE)
        self.blocks = nn.Sequential(*(Block(features) for _ in range(convolutions // 2 - 1)))
        self.tail = nn.Conv2d(features, 3 * unfold.numerator**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(unfold.numerator)
        _start(self.head)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, low_BCHW: torch.Tensor) -> torch.Tensor:
        x_BFHW = self.activation(self.head(self.fold(low_BCHW - CENTRE)))
        return self.shuffle(self.tail(self.blocks(x_BFHW)))


def _start(layer: nn.Conv2d, gain: float = 1.0) -> None:
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    with torch.no_grad():
        layer.weight.mul_(gain)
    nn.init.zeros_(layer.bias)
