"""The Compression Decision Agent: proposes, before anything is measured."""

from typing import Protocol

from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import Profile


class Agent(Protocol):
    """Proposes a rung per patch. The measurement disposes."""

    def propose(self, images: list[Pixels], profile: Profile) -> list[tuple[int, float | None]]:
        """Per image: the index into ``profile.ladder`` to measure first (its length means the last
        resort), and the probability of compression, None where the agent estimates none."""
        ...
