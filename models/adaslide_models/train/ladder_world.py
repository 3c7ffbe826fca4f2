"""The sequential agent's world: patches whose rungs were all measured, looked up instead of measured again.

A batch of B patches is searched at once, each under floors of its own; R rungs.
"""

from dataclasses import dataclass

import numpy as np
import torch

from adaslide.adapters.agents.ladder import (
    DICE_SPREAD,
    LOG_BYTES_SPREAD,
    PER_RUNG,
    TYPICAL_LOG_BYTES,
    TYPICAL_MPP,
    price_at,
)
from adaslide.domain.profile import profile_named
from adaslide_models.data.ladder_table import GATED, LadderTable


@dataclass(frozen=True, slots=True)
class Jitter:
    """How a patch of the table is made to look like another one: standard deviations of logarithms."""

    bytes: float = 0.15
    """Of all rungs together."""
    loss: float = 0.2
    """Of 1 - metric, of all rungs together; the second judge and SSIM apart from Dice."""
    each: float = 0.04
    """Of 1 - metric, rung by rung."""


NONE = Jitter(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Patches:
    """``looks`` (B, looks), ``bytes`` (B, R), ``slack`` (B, R) and ``dice`` (B, R) above their floors, and
    ``limits`` (B, 4): the floors."""

    looks: torch.Tensor
    bytes: torch.Tensor
    slack: torch.Tensor
    dice: torch.Tensor
    limits: torch.Tensor

    @property
    def held(self) -> torch.Tensor:
        """(B, R) bool."""
        return self.slack >= 0

    def state(self, tried: torch.Tensor) -> torch.Tensor:
        """(B, S) for (B, R) bool ``tried``: as `state_of` tells it to the served net."""
        each = torch.stack(
            [
                torch.ones_like(self.bytes),
                self.scaled_bytes(),
                self.dice / DICE_SPREAD,
                self.slack / DICE_SPREAD,
                self.held.float(),
            ],
            dim=-1,
        )
        seen = torch.where(tried[..., None], each, 0.0)
        assert seen.shape[-1] == PER_RUNG
        return torch.cat([self.looks, self.limits, seen.flatten(1)], dim=1)

    def price(self, typical: float) -> np.ndarray:
        """(B,): of a measurement, which is ``typical`` at `TYPICAL_MPP`."""
        scales = TYPICAL_MPP * 2 ** self.looks[:, -1].double().numpy()
        return np.array([price_at(typical, mpp) for mpp in scales])

    def scaled_bytes(self) -> torch.Tensor:
        """(B, R): as the net speaks of them."""
        return (self.bytes.log() - TYPICAL_LOG_BYTES) / LOG_BYTES_SPREAD


def drawn(
    table: LadderTable, rows: np.ndarray, limits: np.ndarray, jitter: Jitter, random: np.random.Generator
) -> Patches:
    """Patches ``rows`` (B,) of the table under ``limits`` (B, 4), the floors that a net is told, with the
    floor of colour and the margin of the table's profile."""
    own = profile_named(table.profile).floors
    floors = np.hstack([limits, np.full((len(rows), 1), own.colour_min)])
    size = table.bytes[rows] * np.exp(random.normal(0, 1, (len(rows), 1)) * jitter.bytes)
    slack, failed = np.full(size.shape, 1.0), np.zeros(size.shape, bool)
    dice = np.zeros(size.shape)
    for column, name in enumerate(GATED):
        # The windows' Dice moves with the patch's.
        if name != "dice_window_min":
            common = random.normal(0, 1, (len(rows), 1)) * jitter.loss
        lost = (1 - table.metric(name)[rows]) * np.exp(common + random.normal(0, jitter.each, size.shape))
        value, floor = 1 - np.clip(lost, 0, 1), floors[:, column : column + 1]
        over = value - np.minimum(floor + own.margin, 1.0)
        if name == "dice":
            dice = value - floor
        counts = (floor > 0) & ~failed  # the first that fails is where the encoder stops measuring
        slack = np.where(counts, np.where(over >= 0, np.minimum(slack, over), over), slack)
        failed |= (floor > 0) & (over < 0)
    tensors = (table.looks[rows], size, slack, dice, limits)
    return Patches(*(torch.from_numpy(np.asarray(each, np.float32)) for each in tensors))
