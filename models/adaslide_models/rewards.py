"""Rewards of the Compression Decision Agent, for tensors and arrays alike. Needs no torch."""

from typing import Any, TypeVar

from adaslide.domain.profile import PAPER_TAU

Values = TypeVar("Values", bound=Any)
"""A torch tensor or a numpy array."""


def paper_reward(compressed: Any, dice: Values, lambda_: float = 0.5, tau: float = PAPER_TAU) -> Values:
    """Per patch (B,): Keep 0; Compress 1 - lambda (1 - Dice), or -1 below tau (Methods, Eq. 3-4).

    ``compressed`` is (B,) bool, ``dice`` (B,) in 0..1. For every lambda in [0, 1] the best action is the
    same: compress if and only if Dice >= tau. Raises `ValueError` for any other shape: (B, 1) would be
    broadcast to (B, B), where no patch sees its own reward.
    """
    if dice.ndim != 1 or tuple(compressed.shape) != tuple(dice.shape):
        raise ValueError(f"rewards are of (B,), not {tuple(compressed.shape)} and {tuple(dice.shape)}")
    held, lost = dice >= tau, dice < tau
    reward: Values = compressed * (held * (1 - lambda_ * (1 - dice)) + lost * -1.0)
    return reward
