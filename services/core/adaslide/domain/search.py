"""Looking for the rung to keep of a ladder, a measurement at a time: the cheapest that holds the floors, or a
dearer one where what it loses less is worth its bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Protocol

from adaslide.domain.fidelity import Measurable


@dataclass(frozen=True, slots=True)
class Tried:
    """A rung that was measured: bytes of its payload, what the better of its restorers lost (measured as it
    is asked for), and whether that holds every floor with the margin."""

    bytes: int
    fidelity: Measurable
    held: bool


class Search(Protocol):
    """The agent's way through the ladder of one patch."""

    @property
    def proposed(self) -> int:
        """The rung it measures first, of a one-step agent the one it expects to be right; the ladder's length
        means the last resort."""
        ...

    @property
    def p_compress(self) -> float | None:
        """The probability of compression, None where the agent estimates none."""
        ...

    def next(self, tried: Mapping[int, Tried]) -> int | None:
        """The rung to measure next, by place in the ladder; None when enough are."""
        ...

    def kept(self, tried: Mapping[int, Tried]) -> int | None:
        """The rung to keep once enough are measured, one that holds; None when none does."""
        ...


def cheapest(tried: Mapping[int, Tried]) -> int | None:
    """The rung of fewest bytes among those that hold, None when none does."""
    held = [place for place, one in tried.items() if one.held]
    return min(held, key=lambda place: tried[place].bytes, default=None)


class Bisection:
    """From ``proposed`` on, by halves; then one look further down for as long as that finds another.

    Fidelity is not strictly monotone: where a rung fails by chance a cheaper one can hold. ``length`` counts
    the ladder's rungs, of which none below ``lowest`` is tried. ``p_compress`` is the agent's probability.
    """

    def __init__(
        self, length: int, proposed: int, p_compress: float | None = None, *, lowest: int = 0
    ) -> None:
        self.proposed = proposed
        self.p_compress = p_compress
        self._length = length
        self._lowest = lowest
        self._looked: int | None = None

    def next(self, tried: Mapping[int, Tried]) -> int | None:
        """The rung to measure next, None when enough are."""
        if self._looked is not None and not tried[self._looked].held:
            return None
        fails, holds = self._lowest - 1, self._length
        probe = min(self.proposed, self._length - 1)
        while holds - fails > 1:
            if probe not in tried:
                return probe
            holds, fails = (probe, fails) if tried[probe].held else (holds, probe)
            probe = (holds + fails) // 2
        below = (place for place in reversed(range(self._lowest, holds)) if place not in tried)
        self._looked = next(below, None)
        return self._looked

    def kept(self, tried: Mapping[int, Tried]) -> int | None:
        """See `cheapest`."""
        return cheapest(tried)


class Ground:
    """Goes on where ``search`` ends: down the ladder of ``length`` rungs, until one below the cheapest that
    holds is known to fail.

    Where an agent sees no gain in measuring a cheaper rung, nobody knows what it would violate; here that is
    known, unless the ladder ends.
    """

    def __init__(self, search: Search, length: int) -> None:
        self.proposed = search.proposed
        self.p_compress = search.p_compress
        self._search: Search | None = search
        self._length = length

    def next(self, tried: Mapping[int, Tried]) -> int | None:
        """The rung to measure next, None when enough are."""
        if self._search:
            place = self._search.next(tried)
            if place is not None:
                return place
            self._search = None
        least = cheapest(tried)
        below = range(self._length if least is None else least)
        if any(place in tried and not tried[place].held for place in below):
            return None
        return next((place for place in reversed(below) if place not in tried), None)

    def kept(self, tried: Mapping[int, Tried]) -> int | None:
        """See `cheapest`."""
        return cheapest(tried)


class Dial:
    """Goes on where ``search`` ends: up the ladder, while each rung's smaller loss is worth its bytes.

    ``price`` are the bytes that a Dice of 0 would cost. A rung is a step of the climb if it holds, takes more
    bytes than the step before and has a greater Dice; the climb ends at the first step that is not worth its
    bytes. Which rungs are steps does not depend on the price, only how many of them are taken: more at a
    higher price, and so neither bytes nor Dice ever fall when the price rises.
    """

    def __init__(self, search: Search, length: int, price: float) -> None:
        self.proposed = search.proposed
        self.p_compress = search.p_compress
        self._search = search
        self._length = length
        self._price = price
        self._ahead: list[int] | None = None
        self.steps: list[int] = []
        """The steps taken so far, by place in the ladder, bytes and Dice rising; the last one is kept."""

    def next(self, tried: Mapping[int, Tried]) -> int | None:
        """The rung to measure next, None when enough are."""
        if self._ahead is None:
            place = self._search.next(tried)
            if place is not None:
                return place
            first = self._search.kept(tried)
            self.steps = [] if first is None else [first]
            self._ahead = [] if first is None else [*range(first + 1, self._length)]
        while self._ahead and self._ahead[0] in tried:
            self._climb(tried, self._ahead.pop(0))
        return self._ahead[0] if self._ahead else None

    def _climb(self, tried: Mapping[int, Tried], place: int) -> None:
        last, one = tried[self.steps[-1]], tried[place]
        if not one.held or one.bytes <= last.bytes or one.fidelity.dice <= last.fidelity.dice:
            return
        if one.bytes - last.bytes < self._price * (one.fidelity.dice - last.fidelity.dice):
            self.steps.append(place)
        else:
            self._ahead = []

    def kept(self, tried: Mapping[int, Tried]) -> int | None:
        """The last step that was worth its bytes."""
        return self.steps[-1] if self.steps else None

    def cost(self, tried: Mapping[int, Tried]) -> float:
        """Bytes for which the patch kept whole is no dearer than a step: the most that a step costs, its loss
        priced as the climb leaves it. Infinite without a step.

        A later step may cost less than one before it at the price that it takes. Were only the last one
        asked, a patch would be kept whole at one price and not at a higher one.
        """
        if not self.steps:
            return inf
        most, left_at = 0.0, 0.0
        for step, after in pairwise(tried[place] for place in self.steps):
            gain = after.fidelity.dice - step.fidelity.dice
            left_at = max(left_at, (after.bytes - step.bytes) / gain)
            most = max(most, step.bytes + left_at * (1 - step.fidelity.dice))
        last = tried[self.steps[-1]]
        return max(most, last.bytes + self._price * (1 - last.fidelity.dice))
