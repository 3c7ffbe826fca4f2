"""No opinion: starts in the middle of the ladder and leaves the rest to measurement."""

from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import Profile
from adaslide.domain.search import Bisection


class BisectionAgent:
    """See the module; `Agent`. It estimates no probability: ``p_compress`` stays unknown."""

    def search(self, image: Pixels, mpp: float, profile: Profile, whole_bytes: int) -> Bisection:
        """The same for every image."""
        return Bisection(len(profile.ladder), len(profile.ladder) // 2)
