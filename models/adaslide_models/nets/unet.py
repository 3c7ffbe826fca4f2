"""The nuclei judge's net: a small U-Net that starts on 2 x 2 blocks of pixels.

Ronneberger 2015 (U-Net) after a pixel unshuffle (Shi 2016, reversed): the widest feature maps are a quarter
of the image's, which is most of what a U-Net costs. Names of axes: B batch, H, W rows and columns.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (16, 32, 64, 160)
"""Feature channels at 1/2, 1/4, 1/8 and 1/16 of the image's side: multiples of 16, which is what the CPU's
vector units fill (24-48-96-96, hardly larger, takes twice as long)."""
MULTIPLE = 2 ** len(CHANNELS)
"""Height and width of an input are multiples of this."""


class Block(nn.Sequential):
    """Two 3 x 3 convolutions, each normalised over the batch; exported, the norms fold into the kernels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    """(B, 3, H, W) float RGB in 0..1 -> (B, 1, H, W) logits: is this pixel a nucleus?

    H and W are multiples of `MULTIPLE`. Colours are centred inside, so that callers pass pixels / 255.
    """

    def __init__(self, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        self.down = nn.ModuleList()
        inputs = 3 * 4
        for width in channels:
            self.down.append(Block(inputs, width))
            inputs = width
        self.up = nn.ModuleList()
        for width in reversed(channels[:-1]):
            self.up.append(Block(inputs + width, width))
            inputs = width
        self.head = nn.Conv2d(inputs, 4, 1)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        x = functional.pixel_unshuffle(4 * (x_B3HW - 0.7), 2)
        skips: list[Tensor] = []
        for index, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if index else x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat((x, skips.pop()), dim=1))
        return functional.pixel_shuffle(self.head(x), 2)


def parameter_count(net: nn.Module) -> int:
    """Trained numbers of a net."""
    return sum(parameter.numel() for parameter in net.parameters())
