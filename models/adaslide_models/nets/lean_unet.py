"""The fast judge's net: the encoder of `UNet`, and a decoder that adds its skips in place of joining them.

Two thirds of what a `UNet` costs is its decoder: its convolutions read two to five times the channels that
they write. Here a 1 x 1 convolution brings the deeper map to the width of the skip, the two are added, and
one 3 x 3 convolution follows. Names of axes: B batch, H, W rows and columns.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaslide_models.nets.unet import CHANNELS, Block, UNet


class LeanUNet(nn.Module):
    """(B, 3, H, W) float RGB in 0..1 -> (B, 1, H, W) logits: is this pixel a nucleus?

    H and W are multiples of 2 ** len(channels). Colours are centred inside, as `UNet` does.
    """

    def __init__(self, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        self.blocks: nn.Module = nn.PixelUnshuffle(2)
        self.down = nn.ModuleList()
        self.lift = nn.ModuleList()
        self.up = nn.ModuleList()
        above = 3 * 4
        for index, width in enumerate(channels):
            self.down.append(Block(above, width))
            if index:
                self.lift.append(nn.Conv2d(width, above, 1))
                self.up.append(
                    nn.Sequential(
                        nn.Conv2d(above, above, 3, padding=1, bias=False),
                        nn.BatchNorm2d(above),
                        nn.ReLU(inplace=True),
                    )
                )
            above = width
        self.head = nn.Conv2d(channels[0], 4, 1)

    @torch.no_grad()
    def take_encoder(self, other: UNet) -> None:
        """Starts from the trained encoder of ``other``. Raises `RuntimeError` for other channels."""
        self.down.load_state_dict(other.down.state_dict())

    @torch.no_grad()
    def served(self) -> "LeanUNet":
        """The same function, ready to be exported: a 3 x 3 convolution of blocks of 2 x 2 pixels is one of
        6 x 6 pixels in steps of two, and saves the runtime from moving the image about."""
        net = copy.deepcopy(self)
        first = self.down[0][0]
        width = first.out_channels
        direct = nn.Conv2d(3, width, 6, stride=2, padding=2, bias=False)
        # (out, colour, row and column in the block, row and column of the kernel): the latter step by blocks.
        kernel = first.weight.view(width, 3, 2, 2, 3, 3).permute(0, 1, 4, 2, 5, 3)
        direct.weight.copy_(kernel.reshape(width, 3, 6, 6))
        net.down[0][0], net.blocks = direct, nn.Identity()
        return net

    def forward(self, x_B3HW: Tensor) -> Tensor:
        x = self.blocks(4 * (x_B3HW - 0.7))
        skips: list[Tensor] = []
        for index, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if index else x)
            skips.append(x)
        skips.pop()
        for lift, up in zip(reversed(self.lift), reversed(self.up), strict=True):
            x = functional.interpolate(lift(x), scale_factor=2.0, mode="nearest")
            x = up(skips.pop() + x)
        return functional.pixel_shuffle(self.head(x), 2)
