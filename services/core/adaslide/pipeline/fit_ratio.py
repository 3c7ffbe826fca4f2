"""A package of the size that was asked for: over the whole slide, which step each patch keeps.

Only numbers are held for all patches; payloads are read and shards written one at a time.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from math import floor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from adaslide.domain.errors import RatioOutOfReach
from adaslide.domain.geometry import SHARD_PATCHES, ShardIndex
from adaslide.domain.steps import Climb
from adaslide.package.records import PatchMaps
from adaslide.package.writer import write_shard
from adaslide.pipeline.plan import CompressionPlan
from adaslide.pipeline.survey import ShardSurvey, payloads_key
from adaslide.ports.objects import GetObject, PutObject

TOLERANCE = 0.03
"""A package may miss the asked size by this share of it."""
NEAR = 0.005
"""What lies around the payloads (overviews, maps, documents) may be off by this share of the size."""
ATTEMPTS = 2
"""Times that the shards are written, beside the cheapest ones that are there already."""

Scratch = Callable[[ShardIndex], GetObject]
"""Where `compress_shard` left what it left beside a shard."""


class Fitted(NamedTuple):
    """What the package holds now, and the price that was paid for its Dice, as lambda counts."""

    maps: PatchMaps
    lambda_: float


def fit_ratio(
    plan: CompressionPlan,
    package: PutObject,
    scratch: Scratch,
    cheapest: PatchMaps,
    weigh: Callable[[Fitted], int],
) -> Fitted:
    """Rewrites the shards in ``package`` so that it comes as near to ``plan.target_ratio`` as steps allow.

    They are there as `compress_shard` wrote them: ``cheapest`` are their maps. ``weigh`` gives the package's
    bytes, root included, with what it is told. Where all that could be kept is kept, and still takes fewer
    bytes than asked for, that is the package. Raises `RatioOutOfReach` where the floors need more bytes, or
    where the steps of a small slide miss the size by more than `TOLERANCE`.
    """
    assert plan.target_ratio is not None
    wanted = plan.ratio_base / plan.target_ratio
    surveys = {shard: ShardSurvey.read(scratch(shard), shard) for shard in plan.grid.shards()}
    climb = _climb(surveys)
    fitted, taken = Fitted(cheapest, 0.0), 0
    size = weigh(fitted)
    if size > wanted * (1 + TOLERANCE):
        raise RatioOutOfReach(_why_not(plan, surveys, size))
    # Measured where it is the same for every ratio, so that a smaller one never takes fewer bytes of a patch.
    around = size - int(climb.total[0])
    for _ in range(ATTEMPTS):
        nearest = climb.nearest(wanted - around)
        if nearest == taken:
            break
        taken = nearest
        maps = _kept(plan, package, scratch, surveys, climb.steps(taken, len(plan.grid)))
        fitted = Fitted(maps, climb.lambda_at(taken))
        size = weigh(fitted)
        known, around = around, size - int(climb.total[taken])
        if abs(around - known) <= NEAR * wanted:
            break
    if abs(size - wanted) > TOLERANCE * wanted and not (taken == len(climb.patch) and size < wanted):
        raise RatioOutOfReach(_too_coarse(plan, climb, wanted, around))
    return fitted


def _climb(surveys: dict[ShardIndex, ShardSurvey]) -> Climb:
    found = list(surveys.values())
    return Climb.of(
        np.concatenate([survey.counts for survey in found]),
        np.concatenate([survey.steps.decision["bytes"].ravel() for survey in found]),
        np.concatenate([survey.steps.quality["dice"].ravel() for survey in found]),
        np.concatenate([survey.whole_bytes for survey in found]),
    )


def _kept(
    plan: CompressionPlan,
    package: PutObject,
    scratch: Scratch,
    surveys: dict[ShardIndex, ShardSurvey],
    steps: npt.NDArray[np.int64],
) -> PatchMaps:
    """Writes the shards where each patch is kept at its step, (patches,) shard after shard; their maps."""
    grid = plan.grid
    maps = PatchMaps.empty(grid.rows, grid.cols)
    for shard, survey in surveys.items():
        own, steps = steps[: len(survey.counts)], steps[len(survey.counts) :]
        payloads = survey.payloads(scratch(shard).get(payloads_key(shard)), own)
        write_shard(package, 0, shard, dict(zip(grid.patches_of(shard), payloads, strict=True)))
        top, left = shard.row * SHARD_PATCHES, shard.col * SHARD_PATCHES
        rows, cols = min(SHARD_PATCHES, grid.rows - top), min(SHARD_PATCHES, grid.cols - left)
        maps.paste(top, left, survey.outcomes(own, rows, cols))
    return maps


def _why_not(plan: CompressionPlan, surveys: dict[ShardIndex, ShardSurvey], least: int) -> str:
    """That no smaller package than of ``least`` bytes was found, and which floor most patches owe that to."""
    open_to_choice = max(1, sum(int(np.count_nonzero(survey.whole_bytes)) for survey in surveys.values()))
    deciding = Counter(floor for survey in surveys.values() for floor in _deciding(plan, survey))
    greatest = _down(plan.ratio_base / least)
    text = f"the greatest ratio found under the floors is {greatest}, not {plan.target_ratio:g}"
    if not deciding:
        return f"{text}; no rung is cheaper than those that were kept"
    floor, count = deciding.most_common(1)[0]
    return f"{text}; {floor} decides on {count / open_to_choice:.0%} of the patches"


def _deciding(plan: CompressionPlan, survey: ShardSurvey) -> Iterator[str]:
    """The floor, with its value, that decided on each patch where one did."""
    flags = survey.steps.decision["flags"].ravel()[survey.first]
    for name, bits in zip(survey.floors.tolist(), flags.tolist(), strict=True):
        if name:
            yield f"{name} {plan.profile.promise.of(bits).as_dict()[name]:g}"


def _too_coarse(plan: CompressionPlan, climb: Climb, wanted: float, around: int) -> str:
    above = min(int(np.searchsorted(climb.total, wanted - around)), len(climb.total) - 1)
    near = [climb.total[max(above - 1, 0)], climb.total[above]]
    larger, smaller = (_down(plan.ratio_base / (int(total) + around)) for total in near)
    return (
        f"the slide has too few patches for a ratio of {plan.target_ratio:g}: "
        f"the nearest that hold the floors are {smaller} and {larger}"
    )


def _down(ratio: float) -> str:
    """Rounded down: what is said to be allowed must be."""
    return f"{floor(ratio * 100) / 100:g}"
