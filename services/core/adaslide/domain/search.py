"""Looking for the cheapest rung of a ladder that holds the floors, a measurement at a time."""

from collections.abc import Mapping
from dataclasses import dataclass

from adaslide.domain.fidelity import Measurable


@dataclass(frozen=True, slots=True)
class Tried:
    """A rung that was measured: bytes of its payload, what the better of its restorers lost (measured as it
    is asked for), and whether that holds every floor with the margin."""

    bytes: int
    fidelity: Measurable
    held: bool


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
