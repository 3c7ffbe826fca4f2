"""From the agent's probability to the rung that the search tries first: fewest measurements.

`PatchEncoder` bisects a ladder from whatever place it is told: a wrong start costs measurements, never a
floor. Needs no torch.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adaslide.adapters.inference.weights import weights_pinned
from adaslide.domain.fidelity import IDENTICAL
from adaslide.domain.profile import Profile
from adaslide.domain.search import Bisection, Tried

BINS = 5
DIGITS = 4
"""Probabilities that agree in these are one: no threshold parts them."""


@dataclass(frozen=True, slots=True)
class FirstRung:
    """``shares`` of a ladder's length at which to start, for probabilities parted by ``thresholds``.

    Thresholds rise, one fewer than shares; shares never rise: the likelier Compress, the cheaper the start.
    """

    thresholds: tuple[float, ...]
    shares: tuple[float, ...]

    def as_table(self) -> dict[str, Any]:
        """As a manifest holds it and `CdaAgent` reads it."""
        return {"thresholds": list(self.thresholds), "share": list(self.shares)}


def costs_of(profile: Profile) -> tuple[int, ...]:
    """Measurements that trying each rung takes: a restored one is tried under bicubic and every restorer of
    its scale. Raises `WeightsMissing`."""
    scales = Counter(weights_pinned(pin).table["scale"] for pin in profile.restorers)
    return tuple(1 + scales[spec.scale] for spec in profile.ladder)


def measurements(start: int, place: int, costs: Sequence[int]) -> int:
    """What the search of `PatchEncoder` measures from ``start`` to find ``place``.

    ``place`` is the cheapest rung that holds the floors, ``len(costs)`` where none does; all rungs above
    it are taken to hold them, all below not to: the look past the last one that failed finds nothing.
    """
    search = Bisection(len(costs), start)
    tried: dict[int, Tried] = {}
    while (probe := search.next(tried)) is not None:
        tried[probe] = Tried(0, IDENTICAL, held=probe >= place)
    return sum(costs[probe] for probe in tried)


def calibrated(
    probability: npt.NDArray[np.float64],
    places: npt.NDArray[np.int64],
    costs: Sequence[int],
    bins: int = BINS,
) -> FirstRung:
    """The monotone table with the fewest measurements over the patches given, both (n,).

    Patches are parted into ``bins`` of equal number by probability; each gets a start, and starts that
    turn out equal are one bin. Exact, by dynamic programming.
    """
    parts = _parts(probability, bins)
    ladder = len(costs)
    spent = np.array(
        [
            [sum(measurements(start, int(places[i]), costs) for i in part) for start in range(ladder)]
            for part in parts
        ]
    )
    starts = _descending(spent)
    thresholds, shares = [], [starts[0] / ladder]
    for before, after, part, last in zip(starts, starts[1:], parts[1:], parts, strict=False):
        if after != before:
            between = (probability[part[0]] + probability[last[-1]]) / 2
            thresholds.append(round(float(between), DIGITS + 1))
            shares.append(after / ladder)
    return FirstRung(tuple(thresholds), tuple(round(share, DIGITS) for share in shares))


def _parts(probability: npt.NDArray[np.float64], bins: int) -> list[npt.NDArray[np.int64]]:
    """Indices by rising probability, in ``bins`` parts, or fewer where no threshold can part two."""
    parts: list[npt.NDArray[np.int64]] = []
    for part in np.array_split(np.argsort(probability, kind="stable"), bins):
        if parts and part.size and np.isclose(*probability[[parts[-1][-1], part[0]]], 0, 10.0**-DIGITS):
            parts[-1] = np.concatenate((parts[-1], part))
        elif part.size:
            parts.append(part)
    return parts


def _descending(spent: npt.NDArray[np.int64]) -> list[int]:
    """The column of each row of ``spent`` (bins, starts) with the least sum, columns never rising."""
    rows, columns = spent.shape
    best = np.empty((rows, columns), np.int64)  # least sum of rows up to this one, which takes this column
    origin = np.zeros((rows, columns), np.int64)
    best[0] = spent[0]
    for row in range(1, rows):
        for column in range(columns):
            origin[row, column] = column + int(np.argmin(best[row - 1, column:]))
            best[row, column] = spent[row, column] + best[row - 1, origin[row, column]]
    chosen = [int(np.argmin(best[-1]))]
    for row in range(rows - 1, 0, -1):
        chosen.append(int(origin[row, chosen[-1]]))
    return chosen[::-1]
