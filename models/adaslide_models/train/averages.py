"""The exponential mean of a net's weights: what is validated and kept."""

import torch
from torch import nn


@torch.no_grad()
def average(kept: nn.Module, net: nn.Module, decay: float, step: int) -> None:
    """Moves ``kept`` towards ``net``; faster at first, when there is nothing worth keeping."""
    rest = 1 - min(decay, (1 + step) / (10 + step))
    own = kept.state_dict()
    for name, value in net.state_dict().items():
        if value.dtype.is_floating_point:
            own[name].lerp_(value, rest)
        else:
            own[name].copy_(value)
