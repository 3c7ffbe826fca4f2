"""The learned agent: a net that looks at a patch's thumbnail and guesses whether Compress would hold.

Its guess only chooses where the search starts: the measurement disposes.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import exp, floor
from typing import Self

import numpy as np

from adaslide.adapters.inference.onnx import Floats, OnnxModel, planes_of
from adaslide.adapters.inference.weights import Weights
from adaslide.domain.errors import ModelError
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.profile import Profile
from adaslide.domain.rung import Rung
from adaslide.domain.search import Bisection

SHRINK = 4
"""The thumbnail is what an x4 rung would store of the patch, before its codec."""
SIDE = 128
"""px of the thumbnails it learned from. Smaller ones are mirrored up to it: zeros beyond a border would be a
larger part of them than it ever saw."""
PAPER_LADDER = (Rung.PAPER_COMPRESS, Rung.PAPER_KEEP)


@dataclass(frozen=True, slots=True)
class CdaAgent:
    """`Agent` by a net that maps (1, 3, h, w) in 0..1 to the (1,) log-odds of Compress.

    ``shares`` of a ladder's length are where to start, for probabilities parted by ``thresholds``. Under the
    published ladder the more probable action is proposed. Images are run one by one: a proposal then
    never depends on which images came along.
    """

    model: OnnxModel
    thresholds: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, weights: Weights, threads: int = 1) -> Self:
        """The agent of an installed weight. Raises `ModelError` when it is none."""
        try:
            table = weights.table["first_rung"]
            thresholds, shares = (tuple(float(x) for x in table[name]) for name in ("thresholds", "share"))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the weights {weights.name} are no agent") from error
        is_monotone = all(a < b for a, b in pairwise(thresholds)) and all(a >= b for a, b in pairwise(shares))
        is_table = is_monotone and len(shares) == len(thresholds) + 1 and 0 <= shares[-1] <= shares[0] <= 1
        if weights.kind != "agent" or not is_table:
            raise ModelError(f"the weights {weights.name} are no agent")
        return cls(OnnxModel(weights.path, weights.digest, threads), thresholds, shares)

    def search(self, image: Pixels, mpp: float, profile: Profile, whole_bytes: int) -> Bisection:
        probability = self.probability(image)
        place = self._place(probability, profile)
        lowest = 0 if profile.promotes else place
        return Bisection(len(profile.ladder), place, probability, lowest=lowest)

    def probability(self, image: Pixels) -> float:
        """Of Compress for (h, w, 3) ``image``: above 0.5 where it expects a reward, not the chance of one."""
        odds = float(self.model.run(thumbnail_planes(shrink(image, SHRINK)))[0])
        return 1 / (1 + exp(-odds)) if odds >= 0 else exp(odds) / (1 + exp(odds))

    def _place(self, probability: float, profile: Profile) -> int:
        ladder = profile.ladder
        if tuple(spec.rung for spec in ladder) == PAPER_LADDER:
            return 0 if probability >= 0.5 else 1
        return place_at(self.shares[bisect_right(self.thresholds, probability)], len(ladder))


def place_at(share: float, length: int) -> int:
    """The rung of a ladder of ``length`` that stands at ``share`` of it; the nearest where none does."""
    return max(0, min(floor(share * length + 0.5), length - 1))


def thumbnail_planes(thumbnail: Pixels) -> Floats:
    """The net's input for (h, w, 3) pixels."""
    return planes_of(mirrored(thumbnail))


def mirrored(thumbnail: Pixels) -> Pixels:
    """(h, w, 3) pixels, mirrored at the lower and right edge, as often as it takes, up to `SIDE`."""
    missing = [(0, max(SIDE - side, 0)) for side in thumbnail.shape[:2]]
    return np.pad(thumbnail, (*missing, (0, 0)), mode="symmetric")
