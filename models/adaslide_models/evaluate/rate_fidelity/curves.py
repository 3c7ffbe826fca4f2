"""The arithmetic of the contest: curves of uniform settings, the oracle, and how far apart they are.

Everything is in bytes a patch. Patches of one image are not independent: intervals resample images.
"""

from collections.abc import Callable, Sequence
from math import nan

import numpy as np
import numpy.typing as npt

from adaslide.domain.fidelity import Floors
from adaslide.domain.rung import RESTORED_RUNGS, Rung
from adaslide_models.evaluate.rate_fidelity.contestants import STAINED
from adaslide_models.evaluate.rate_fidelity.measured import Table, Values

Indices = npt.NDArray[np.int64]
Statistic = Callable[[Values], float]
"""Of the Dice of all patches."""

RESAMPLES = 1000
INTERVAL = (5, 95)
"""Percentiles: a 90 % interval."""
PAPER_RUNGS = (Rung.PAPER_COMPRESS, Rung.PAPER_KEEP)


def mean(values: Values) -> float:
    """A `Statistic`."""
    return float(values.mean())


def p5(values: Values) -> float:
    """A `Statistic`: the 5th percentile."""
    return float(np.percentile(values, 5))


def bytes_at(sizes: Values, scores: Values, wanted: float) -> float:
    """The fewest bytes at which a codec's curve reaches ``wanted``; infinite where it never does.

    Between neighbouring settings (by bytes) the logarithm of the bytes is interpolated linearly in the
    score. A codec whose smallest setting is better than wanted is taken at that setting.
    """
    order = np.argsort(sizes)
    size, score = sizes[order], scores[order]
    if score[0] >= wanted:
        return float(size[0])
    for below in range(len(size) - 1):
        low, high = score[below], score[below + 1]
        if low < wanted <= high:
            share = (wanted - low) / (high - low)
            return float(np.exp((1 - share) * np.log(size[below]) + share * np.log(size[below + 1])))
    return float("inf")


def cheapest_uniform(
    table: Table, patches: Indices, statistic: Statistic, wanted: float, *, stained: bool = False
) -> tuple[float, str]:
    """(bytes a patch, name) of the codec that reaches ``wanted`` with fewest; ``stained``: of our own coding
    alone, which is none of the others' (`STAINED`)."""
    dice = table.metric("dice")[patches]
    sizes = table.bytes[patches].mean(axis=0)
    scores = np.array([statistic(column) for column in dice.T])
    found: dict[str, float] = {}
    for codec in dict.fromkeys(column.codec for column in table.columns if column.codec):
        if (codec == STAINED) is not stained:
            continue
        own = np.array([column.codec == codec for column in table.columns])
        found[codec] = bytes_at(sizes[own], scores[own], wanted)
    name = min(found, key=lambda codec: found[codec])
    return found[name], name


def oracle(
    table: Table, floors: Floors, *, margin: bool = False, nets: bool = True, restored: bool = True
) -> Indices:
    """(n,) column of the cheapest rung that holds the floors on each patch, as if all had been measured.

    A net that loses nuclei against bicubic on the same bytes is no candidate, as in the encoder. Without
    ``restored`` no rung of a lower resolution is one.
    """
    usable = table.held(floors, margin=margin)
    dice = table.metric("dice")
    for index, column in enumerate(table.columns):
        is_ours = column.codec is None and column.rung not in PAPER_RUNGS
        is_ours &= restored or column.rung not in RESTORED_RUNGS
        if not is_ours or (column.by_net and not nets):
            usable[:, index] = False
        elif column.by_net:
            plain = next(
                i for i, c in enumerate(table.columns) if c.setting == column.setting and not c.by_net
            )
            usable[:, index] &= dice[:, index] >= dice[:, plain]
    chosen: Indices = np.where(usable, table.bytes, np.inf).argmin(axis=1)
    return chosen


def picked(values: Values, columns: Indices) -> Values:
    """(n,) of (n, columns): each patch's own column."""
    chosen: Values = np.take_along_axis(values, columns[:, None], axis=1)[:, 0]
    return chosen


def gap_with_margin(table: Table, floors: Floors, sizes: Values, barred: npt.NDArray[np.bool_]) -> float:
    """``sizes``, the bytes of each patch, over those of an oracle that keeps the margin, too: of the patches
    that are not ``barred`` by a policy, which the oracle knows nothing of. NaN where all are."""
    best, free = picked(table.bytes, oracle(table, floors, margin=True)), ~barred
    return float(sizes[free].mean() / best[free].mean()) if free.any() else nan


def paper_hybrid(table: Table, floor: float) -> Indices:
    """(n,) column of the published pair: Compress (by its net, if there is one) where it holds ``floor`` in
    Dice, else Keep."""
    compress, keep = (
        max((i for i, c in enumerate(table.columns) if c.rung is rung), key=lambda i: table.columns[i].by_net)
        for rung in PAPER_RUNGS
    )
    chosen: Indices = np.where(table.metric("dice")[:, compress] >= floor, compress, keep)
    return chosen


def told(value: float, digits: int = 3) -> float | None:
    """As JSON can hold it: None for what no codec reached, or nobody measured."""
    return round(float(value), digits) if np.isfinite(value) else None


def interval(images: Sequence[str], value: Callable[[Indices], float], seed: int = 0) -> list[float | None]:
    """The 90 % bootstrap interval of ``value`` (of indices of patches) over source images."""
    names = np.array(images)
    groups = [np.flatnonzero(names == name) for name in dict.fromkeys(images)]
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = random.integers(len(groups), size=len(groups))
        drawn.append(value(np.concatenate([groups[i] for i in chosen])))
    # Drawn values and none between them: some may be infinite.
    return [told(x) for x in np.percentile(drawn, INTERVAL, method="nearest")]
