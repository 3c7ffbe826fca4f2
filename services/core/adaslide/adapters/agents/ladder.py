"""The sequential agent: measures a rung, learns from what it found, and measures another or stops.

A net foretells, for every rung, whether it will hold the floors and in how many bytes. Its state is what the
patch looks like, the floors, and of every rung that was measured its bytes and how far it is from the
floors: images alone tell little of what a patch will lose, one measured rung tells most of it. What to
measure next follows from what is foretold, the bytes at stake and the price of a measurement. One net serves
every floor.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

from adaslide.adapters.inference.onnx import OnnxModel
from adaslide.adapters.inference.weights import Weights
from adaslide.domain.errors import ModelError
from adaslide.domain.fidelity import Floors
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.profile import Profile
from adaslide.domain.search import Tried

LOOKS = 10
"""Numbers that say what a patch looks like."""
PER_RUNG = 5
"""Numbers for each rung: whether it was measured, and then bytes, Dice, slack and whether it holds."""
TYPICAL_LOG_BYTES, LOG_BYTES_SPREAD = 8.5, 1.0
DICE_SPREAD = 0.1
"""What brings the numbers near 1."""
LAST_RESORT = 45_000.0
"""Bytes of a patch that is kept exact: about what its JPEG tiles take, transcoded."""
COARSER = (2, 4, 8, 16)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Vector = npt.NDArray[np.float32]


def looks(image: Pixels) -> Vector:
    """(`LOOKS`,) of (h, w, 3) ``image``: colour, and how much detail each halving of the scale takes away.

    Detail is what bytes are spent on; the logarithm of its standard deviation in grey levels is given.
    """
    planes = [image, *(shrink(image, factor) for factor in COARSER)]
    luma = [plane.astype(np.float32) @ _LUMA for plane in planes]
    details = []
    for fine, coarse in pairwise(luma):
        doubled = coarse.repeat(2, axis=0).repeat(2, axis=1)[: fine.shape[0], : fine.shape[1]]
        details.append(float(np.log1p(np.std(fine - doubled))))
    small = planes[-1].reshape(-1, 3).astype(np.float32) / 255
    colour = [*small.mean(axis=0), *small.std(axis=0)]
    return np.array([*details, *colour], np.float32)


def state_of(seen: Vector, floors: Floors, tried: Mapping[int, Tried], rungs: int) -> Vector:
    """(`LOOKS` + 4 + `PER_RUNG` * rungs,): what the net is shown."""
    state = np.zeros((rungs, PER_RUNG), np.float32)
    for place, one in tried.items():
        state[place] = (
            1.0,
            (np.log(one.bytes) - TYPICAL_LOG_BYTES) / LOG_BYTES_SPREAD,
            (one.fidelity.dice - floors.dice) / DICE_SPREAD,
            floors.slack(one.fidelity) / DICE_SPREAD,
            float(one.held),
        )
    limits = [floors.dice, floors.dice_window_min, floors.ssim, floors.dice_second]
    return np.concatenate([seen, np.array(limits, np.float32), state.ravel()])


@dataclass(frozen=True, slots=True)
class LadderAgent:
    """`Agent` by a net that maps a (1, n) state to (1, 2, rungs): the log-odds that each rung holds, and the
    logarithm of its bytes as `state_of` scales it. ``rungs`` are the names of the ladder that it learned,
    ``price`` is what a measurement may cost, as a share of the bytes that are expected."""

    model: OnnxModel
    rungs: tuple[str, ...]
    price: float

    @classmethod
    def of(cls, weights: Weights, threads: int = 1) -> Self:
        """The agent of an installed weight. Raises `ModelError` when it is none."""
        try:
            rungs, price = tuple(map(str, weights.table["rungs"])), float(weights.table["price"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the weights {weights.name} are no agent of a ladder") from error
        if weights.kind != "agent" or not rungs or not price > 0:
            raise ModelError(f"the weights {weights.name} are no agent of a ladder")
        return cls(OnnxModel(weights.path, weights.digest, threads), rungs, price)

    def search(self, image: Pixels, profile: Profile) -> "LadderSearch":
        """Raises `ModelError` for a profile with another ladder than it learned."""
        if tuple(spec.name for spec in profile.ladder) != self.rungs:
            raise ModelError(f"the agent does not know the ladder of {profile.id}")
        return LadderSearch(partial(self._foretold, looks(image), profile.floors), self.price)

    def _foretold(self, seen: Vector, floors: Floors, tried: Mapping[int, Tried]) -> tuple[Vector, Vector]:
        state = state_of(seen, floors, tried, len(self.rungs))
        odds, sizes = self.model.run(state[None])[0]
        return chances(odds), bytes_of(sizes)


def chances(odds: Vector) -> Vector:
    """Probabilities of log-odds."""
    shares = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
    return shares.astype(np.float32)


def bytes_of(scaled: Vector) -> Vector:
    """Bytes of the scaled logarithm that the net speaks of."""
    result: Vector = np.exp(np.clip(scaled, -6, 6) * LOG_BYTES_SPREAD + TYPICAL_LOG_BYTES)
    return result


class LadderSearch:
    """One patch's way; `Search`. ``foretold`` gives (rungs,) chances and bytes for what was tried so far. It
    estimates no probability of compression: ``p_compress`` stays unknown."""

    p_compress = None

    def __init__(
        self, foretold: Callable[[Mapping[int, Tried]], tuple[Vector, Vector]], price: float
    ) -> None:
        self._foretold = foretold
        self._price = price
        self.proposed = self.next({}) or 0

    def next(self, tried: Mapping[int, Tried]) -> int | None:
        """None when nothing cheaper is worth a look, or even the dearest rung failed."""
        held = [float(one.bytes) for one in tried.values() if one.held]
        chance, size = self._foretold(tried)
        failed = np.array([place in tried for place in range(len(chance))])
        return next_rung(chance, size, failed, min(held, default=None), self._price)


def next_rung(
    chance: Vector, size: Vector, tried: npt.NDArray[np.bool_], kept: float | None, price: float
) -> int | None:
    """The rung to measure next. ``kept`` are the bytes of the best that holds so far, None for none.

    With something to keep: the rung that promises to save most, if that is more than the price. Before
    that: the beginning of the climb that is expected to end cheapest, `climb`.
    """
    if kept is not None:
        gain = np.where(tried, -np.inf, chance * (kept - size) - price * kept)
        best = int(gain.argmax())
        return best if gain[best] > 0 else None
    if tried.all() or tried[-1]:
        return None
    left = np.flatnonzero(~tried)
    order = left[np.argsort(size[left], kind="stable")]
    return int(order[climb(chance[order], size[order], price)])


def climb(chance: Vector, size: Vector, price: float) -> int:
    """Where to start among rungs in the order of their ``size``, all untried: climbing until one holds.

    If a rung holds, so does every dearer one: ``chance`` is then the distribution of the cheapest that
    holds. Exact by dynamic programming from the last resort downwards.
    """
    known = np.maximum.accumulate(np.minimum(chance, 1 - 1e-6))
    count = len(known)
    each = np.diff(known, prepend=0.0)
    price *= float(each @ size + (1 - known[-1]) * LAST_RESORT)
    ahead = np.full(count + 1, LAST_RESORT)  # expected bytes and price after rung k - 1 has failed
    first = 0
    for below in range(count - 1, -1, -1):
        failed = known[below - 1] if below else 0.0
        holds = (known[below:] - failed) / (1 - failed)
        cost = price + holds * size[below:] + (1 - holds) * ahead[below + 1 :]
        first = below + int(cost.argmin())
        ahead[below] = cost[first - below]
    return first
