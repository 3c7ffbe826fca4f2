"""The Compression Decision Agent: says what to measure. The measurement disposes."""

from collections.abc import Mapping
from typing import Protocol

from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import Profile
from adaslide.domain.search import Tried


class Search(Protocol):
    """The agent's way through the ladder of one patch."""

    @property
    def proposed(self) -> int:
        """The rung it expects to be right before anything is measured; the ladder's length means the last
        resort."""
        ...

    @property
    def p_compress(self) -> float | None:
        """The probability of compression, None where the agent estimates none."""
        ...

    def next(self, tried: Mapping[int, Tried]) -> int | None:
        """The rung to measure next, by place in the ladder; None: the best of ``tried`` is to be kept."""
        ...


class Agent(Protocol):
    """Looks at a patch. Picklable."""

    def search(self, image: Pixels, profile: Profile) -> Search:
        """Begins with (h, w, 3) ``image``, its valid pixels alone, under the ladder of ``profile``."""
        ...
