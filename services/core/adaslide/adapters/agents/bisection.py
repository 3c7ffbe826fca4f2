"""No opinion: starts in the middle of the ladder and leaves the rest to measurement."""

from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import Profile


class BisectionAgent:
    """See the module; `Agent`. It estimates no probability: ``p_compress`` stays unknown."""

    def propose(self, images: list[Pixels], profile: Profile) -> list[tuple[int, float | None]]:
        return [(len(profile.ladder) // 2, None) for _ in images]
