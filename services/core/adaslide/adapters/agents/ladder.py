"""The sequential agent: measures a rung, learns from what it found, and measures another or stops.

A net foretells, for every rung, whether it will hold the floors and in how many bytes. Its state is what the
patch looks like, the floors, and of every rung that was measured its bytes and how far it is from the
floors: images alone tell little of what a patch will lose, one measured rung tells most of it. What to
measure next follows from what is foretold, the bytes at stake and the price of a measurement. One net serves
every floor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

from adaslide.adapters.inference.onnx import OnnxModel
from adaslide.adapters.inference.weights import Weights
from adaslide.domain.errors import ModelError
from adaslide.domain.fidelity import Floors
from adaslide.domain.pixels import LUMA, Pixels, block_sums, halved, pad_to
from adaslide.domain.profile import Profile
from adaslide.domain.rung import RESTORED_RUNGS
from adaslide.domain.search import Tried, cheapest

LOOKS = 10
"""Numbers that say what a patch looks like."""
TYPICAL_MPP = 0.5
"""Micrometres per pixel of which the scale that a net is told is 0."""
PER_RUNG = 5
"""Numbers for each rung: whether it was measured, and then bytes, Dice, slack and whether it holds."""
TYPICAL_LOG_BYTES, LOG_BYTES_SPREAD = 8.5, 1.0
DICE_SPREAD = 0.1
"""What brings the numbers near 1."""
AREA = 512 * 512
"""px of the patches that it learned from; at the borders of a slide there are smaller ones."""
_NEVER = 1e12
"""Bytes of a rung that is not to be tried again."""
HALVINGS = 4
COARSEST = 2**HALVINGS

Vector = npt.NDArray[np.float32]


def looks(image: Pixels) -> Vector:
    """(`LOOKS`,) of (h, w, 3) ``image``: colour, and how much detail each halving of the scale takes away.

    Detail is what bytes are spent on; the logarithm of its standard deviation in grey levels is given.
    """
    height, width = (-(-side // COARSEST) for side in image.shape[:2])
    whole = pad_to(image, height * COARSEST, width * COARSEST)
    luma = whole @ LUMA
    luma -= luma.mean()
    energy = [_mean_square(luma)]
    for _ in range(HALVINGS):
        luma = halved(luma)
        energy.append(_mean_square(luma))
    # Of an image and its halved one, the mean square of the difference is that of the mean squares.
    details = [float(np.log1p(np.sqrt(max(fine - coarse, 0.0)))) for fine, coarse in pairwise(energy)]
    small = block_sums(whole, COARSEST).reshape(-1, 3).astype(np.float32) / COARSEST**2 / 255
    return np.array([*details, *small.mean(axis=0), *small.std(axis=0)], np.float32)


def looks_at(image: Pixels, mpp: float) -> Vector:
    """(`LOOKS` + 1,): `looks`, and the octaves that ``mpp``, micrometres per pixel, is above `TYPICAL_MPP`.

    What a rung does to nuclei depends on how many pixels they have, which no pixel tells.
    """
    return np.append(looks(image), np.float32(np.log2(mpp / TYPICAL_MPP)))


def price_at(price: float, mpp: float) -> float:
    """Of a measurement at ``mpp``, which has ``price`` at `TYPICAL_MPP`: at finer scales a patch shows less
    tissue, judges look at fewer pixels of it, and there are fewer bytes to be saved."""
    return price * min(1.0, (mpp / TYPICAL_MPP) ** 2)


def _mean_square(plane: Vector) -> float:
    return float(np.mean(np.square(plane), dtype=np.float64))


def state_of(seen: Vector, floors: Floors, tried: Mapping[int, Tried], rungs: int) -> Vector:
    """(len(seen) + 4 + `PER_RUNG` * rungs,): what the net is shown. ``seen`` are `looks` or `looks_at`."""
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
    logarithm of its bytes as `state_of` scales it. ``rungs`` are the names of the ladder that it learned;
    ``is_told_scale`` whether it learned at several scales, and is shown the patch's."""

    model: OnnxModel
    rungs: tuple[str, ...]
    is_told_scale: bool = False

    @classmethod
    def of(cls, weights: Weights, threads: int = 1) -> Self:
        """The agent of an installed weight. Raises `ModelError` when it is none."""
        try:
            rungs = tuple(map(str, weights.table["rungs"]))
        except (KeyError, TypeError) as error:
            raise ModelError(f"the weights {weights.name} are no agent of a ladder") from error
        if weights.kind != "agent" or not rungs:
            raise ModelError(f"the weights {weights.name} are no agent of a ladder")
        is_told_scale = weights.table.get("is_told_scale") is True
        return cls(OnnxModel(weights.path, weights.digest, threads), rungs, is_told_scale)

    def check(self, profile: Profile) -> None:
        """Raises `ModelError` for a profile with a rung that it did not learn."""
        if not {spec.name for spec in profile.ladder} <= set(self.rungs):
            raise ModelError(f"the agent does not know the ladder of {profile.id}")

    def search(self, image: Pixels, mpp: float, profile: Profile, whole_bytes: int) -> "LadderSearch":
        """Raises as `check`. A net that is told the scale prices a measurement by it, `price_at`."""
        self.check(profile)
        price = profile.measurement_price
        if self.is_told_scale:
            seen, price = looks_at(image, mpp), price_at(price, mpp)
        else:
            seen = looks(image)
        own = [self.rungs.index(spec.name) for spec in profile.ladder]
        scale = AREA / (image.shape[0] * image.shape[1])
        foretold = partial(self._foretold, seen, profile.floors, own, scale)
        small = [place for place, spec in enumerate(profile.ladder) if spec.rung in RESTORED_RUNGS]
        return LadderSearch(foretold, price, whole_bytes, small)

    def _foretold(
        self, seen: Vector, floors: Floors, own: list[int], scale: float, tried: Mapping[int, Tried]
    ) -> tuple[Vector, Vector]:
        """``own`` are the places of the profile's rungs among those that were learned. The net speaks of the
        bytes of a whole patch: those of this one times ``scale``."""
        known = {own[place]: replace(one, bytes=round(one.bytes * scale)) for place, one in tried.items()}
        odds, sizes = self.model.run(state_of(seen, floors, known, len(self.rungs))[None])[0][:, own]
        return chances(odds), bytes_of(sizes) / scale


def chances(odds: Vector) -> Vector:
    """Probabilities of log-odds."""
    shares = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
    return shares.astype(np.float32)


def bytes_of(scaled: Vector) -> Vector:
    """Bytes of the scaled logarithm that the net speaks of."""
    result: Vector = np.exp(np.clip(scaled, -6, 6) * LOG_BYTES_SPREAD + TYPICAL_LOG_BYTES)
    return result


class LadderSearch:
    """One patch's way; `Search`. ``foretold`` gives (rungs,) chances and bytes for what was tried so far.
    ``small`` are the rungs whose pixels are restored: ``p_compress`` is the chance that one of them holds."""

    def __init__(
        self,
        foretold: Callable[[Mapping[int, Tried]], tuple[Vector, Vector]],
        price: float,
        whole_bytes: float,
        small: Sequence[int] = (),
    ) -> None:
        self._foretold = foretold
        self._price = price
        self._whole_bytes = whole_bytes
        chance, size = foretold({})
        self._first = next_rung(chance, size, np.zeros(len(chance), bool), None, price, whole_bytes)
        self.proposed = len(chance) if self._first is None else self._first
        self.p_compress = max((float(chance[place]) for place in small), default=None)

    def next(self, tried: Mapping[int, Tried]) -> int | None:
        """None when nothing cheaper is worth a look."""
        if not tried:
            return self._first
        held = [float(one.bytes) for one in tried.values() if one.held]
        chance, size = self._foretold(tried)
        seen = np.array([place in tried for place in range(len(chance))])
        return next_rung(chance, size, seen, min(held, default=None), self._price, self._whole_bytes)

    def kept(self, tried: Mapping[int, Tried]) -> int | None:
        """See `cheapest`."""
        return cheapest(tried)


def next_rung(
    chance: Vector,
    size: Vector,
    tried: npt.NDArray[np.bool_],
    kept: float | None,
    price: float,
    whole_bytes: float,
) -> int | None:
    """Of one patch: `next_rungs`. ``kept`` is None where nothing holds yet, and so is what is given where
    nothing is worth a look."""
    best = np.array([np.inf if kept is None else kept])
    place = int(next_rungs(chance[None], size[None], tried[None], best, np.array([price]), whole_bytes)[0])
    return None if place < 0 else place


def next_rungs(
    chance: Vector,
    size: Vector,
    tried: npt.NDArray[np.bool_],
    kept: npt.NDArray[np.float64],
    price: npt.NDArray[np.float64],
    whole_bytes: float,
) -> npt.NDArray[np.intp]:
    """(B,): the rung to measure next of each patch, -1 where nothing is worth a look. ``chance``, ``size``
    and ``tried`` are (B, rungs), ``kept`` (B,) the bytes of the best that holds so far, infinite for none,
    ``price`` (B,); ``whole_bytes`` are those of the patch kept whole, which needs no measurement.

    With something to keep: the rung that promises to save most, if that is more than the price. Before
    that: the beginning of the climb that is expected to end cheapest, `climbs`.
    """
    result = np.empty(len(kept), np.intp)
    none = np.isinf(kept)
    if none.any():
        left, hope = np.where(tried[none], _NEVER, size[none]), np.where(tried[none], 0, chance[none])
        order = np.argsort(left, axis=1, kind="stable")
        left, hope = (np.take_along_axis(each, order, axis=1) for each in (left, hope))
        first = climbs(hope, left, price[none], whole_bytes)
        rung = np.take_along_axis(order, first[:, None], axis=1)[:, 0]
        result[none] = np.where(first < 0, -1, rung)
    if not none.all():
        seen, best = tried[~none], kept[~none, None]
        gain = np.where(seen, -np.inf, chance[~none] * (best - size[~none]) - price[~none, None])
        result[~none] = np.where(gain.max(axis=1) > 0, gain.argmax(axis=1), -1)
    return result


def climbs(
    chance: Vector, size: Vector, price: npt.NDArray[np.float64], whole_bytes: float
) -> npt.NDArray[np.intp]:
    """(B,): where to start among (B, rungs) in the order of their ``size``, all untried: climbing until one
    holds, or until nothing that is left is worth a look. -1 where that is so from the start.

    If a rung holds, so does every dearer one: ``chance`` is then the distribution of the cheapest that
    holds. Exact by dynamic programming from the patch kept whole downwards.
    """
    known = np.maximum.accumulate(np.minimum(chance, 1 - 1e-6), axis=1)
    patches, count = known.shape
    # Expected bytes and price after rung k - 1 has failed.
    ahead = np.full((patches, count + 1), float(whole_bytes))
    first = np.full(patches, -1)
    for below in range(count - 1, -1, -1):
        failed = known[:, below - 1 : below] if below else np.zeros((patches, 1), known.dtype)
        holds = (known[:, below:] - failed) / (1 - failed)
        cost = price[:, None] + holds * size[:, below:] + (1 - holds) * ahead[:, below + 1 :]
        least = cost.min(axis=1)
        first = np.where(least < whole_bytes, below + cost.argmin(axis=1), -1)
        ahead[:, below] = np.minimum(least, whole_bytes)
    return first
