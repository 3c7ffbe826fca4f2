"""The steps that the patches of one slide may take, from the fewest bytes up, and which of them to take for a
given number of bytes.

Every patch is kept at its cheapest step at first. The steps up of all patches are taken in the order of their
price, bytes for Dice, as EBCOT truncates the code blocks of a JPEG 2000 image (Taubman 2000).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from adaslide.domain.profile import LOSS_PRICE

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


def hull(steps: Sequence[tuple[int, float]]) -> list[int]:
    """Places of the (bytes, Dice) ``steps`` that some price would keep: the lower convex hull of the losses.

    Bytes must rise from step to step, and Dice must not fall. The first step and the last are always kept;
    what wins no Dice has no finite price.
    """
    kept: list[int] = []
    for place, step in enumerate(steps):
        while len(kept) > 1 and _price(steps[kept[-2]], steps[kept[-1]]) > _price(steps[kept[-1]], step):
            kept.pop()
        kept.append(place)
    return kept


def _price(low: tuple[int, float], high: tuple[int, float]) -> float:
    gain = high[1] - low[1]
    return (high[0] - low[0]) / gain if gain > 0 else inf


@dataclass(frozen=True, slots=True)
class Climb:
    """The steps up of all patches, the cheapest for what they win first.

    ``patch`` (n,) is whose step up each is; ``total`` (n + 1,) are the payload bytes of the slide once the
    first 0 to n of them are taken; ``lambdas`` (n,) are their prices as lambda counts: bytes for Dice as a
    share of what a Dice of 0 costs at lambda 1. A patch's own steps stand in their order.
    """

    patch: Integers
    total: Integers
    lambdas: Numbers

    @classmethod
    def of(
        cls,
        counts: npt.NDArray[Any],
        sizes: npt.NDArray[Any],
        dice: npt.NDArray[Any],
        whole: npt.NDArray[Any],
    ) -> Self:
        """``counts`` (patches,) say how many steps each patch has, one or more; ``sizes`` (bytes) and
        ``dice`` are (steps,), patch after patch, each patch's its `hull`; ``whole`` (patches,) are about the
        bytes of each patch kept whole, which its losses are priced by."""
        owner = np.repeat(np.arange(len(counts)), counts)
        up = owner[1:] == owner[:-1]
        patch = owner[1:][up]
        more = np.diff(sizes.astype(np.int64))[up]
        gain = np.diff(dice.astype(np.float64))[up]
        with np.errstate(divide="ignore", invalid="ignore"):
            # Divided as `hull` does it, so that no patch's order is lost to rounding.
            price = np.where(gain > 0, more / gain, inf) / (LOSS_PRICE * whole[patch])
        order = np.argsort(price, kind="stable")
        first = np.concatenate([[True], ~up]) if len(owner) else np.zeros(0, bool)
        least = int(sizes[first].sum(dtype=np.int64))
        total = np.concatenate([[least], least + np.cumsum(more[order])])
        return cls(patch[order], total.astype(np.int64), price[order])

    def nearest(self, size: float) -> int:
        """How many steps up bring the payloads nearest to ``size`` bytes; the fewer of two that are as near.

        Never fewer for a greater ``size``: of two sizes, no patch has more bytes under the smaller.
        """
        above = int(np.searchsorted(self.total, size))
        if above == 0:
            return 0
        if above == len(self.total):
            return above - 1
        return above if self.total[above] - size < size - self.total[above - 1] else above - 1

    def steps(self, taken: int, patches: int) -> Integers:
        """(patches,): each patch's step once the first ``taken`` steps up are, its cheapest being 0."""
        return np.bincount(self.patch[:taken], minlength=patches)

    def lambda_at(self, taken: int) -> float:
        """The greatest price that was paid for Dice among the first ``taken`` steps up, as lambda counts: it
        may exceed 1. 0 where none was."""
        paid = self.lambdas[:taken]
        return float(paid[np.isfinite(paid)].max(initial=0.0))
