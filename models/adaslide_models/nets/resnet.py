"""The agent's net: ResNet-18 (He et al. 2016) of any width, with one logit.

Names of axes: B batch, C channels, H, W rows and columns.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

PAPER_WIDTH = 64
BLOCKS = 2
"""Per stage; four stages of `BasicBlock` make 18 layers."""
CENTRE = 0.7
SPREAD = 4.0
"""H&E in 0..1, centred and brought to about unit variance inside the net."""


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; ``stride`` 2 halves the sides."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = functional.relu(self.first_norm(self.first(x_BCHW)))
        return functional.relu(self.shortcut(x_BCHW) + self.second_norm(self.second(y_BCHW)))


class ResNet18(nn.Module):
    """(B, 3, H, W) float RGB in 0..1 -> (B,) log-odds of Compress; H and W at least 32 each.

    ``width``: channels of the first stage, 64 in the publication. Untrained, it has no opinion: all odds
    are even.
    """

    def __init__(self, width: int = PAPER_WIDTH) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        stages: list[nn.Module] = []
        inputs = width
        for stage in range(4):
            outputs = width * 2**stage
            for block in range(BLOCKS):
                stages.append(BasicBlock(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        x = functional.relu(self.stem_norm(self.stem(SPREAD * (x_B3HW - CENTRE))))
        x_BCHW = self.stages(functional.max_pool2d(x, 3, stride=2, padding=1))
        logits_B: Tensor = self.head(torch.mean(x_BCHW, dim=(2, 3))).squeeze(1)
        return logits_B
