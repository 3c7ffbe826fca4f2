"""What each rung of a ladder will do: a small perceptron over the state of the sequential agent.

Shapes: B batch, S state, R rungs.
"""

import torch
from torch import nn


class LadderNet(nn.Module):
    """(B, S) state to (B, 2, R): the log-odds that each rung holds, and its scaled logarithm of bytes."""

    def __init__(self, state: int, rungs: int, width: int = 192, dropout: float = 0.1) -> None:
        super().__init__()
        self.rungs = rungs
        self.layers = nn.Sequential(
            nn.Linear(state, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, 2 * rungs),
        )

    def forward(self, state_BS: torch.Tensor) -> torch.Tensor:
        return self.layers(state_BS).unflatten(1, (2, self.rungs))
