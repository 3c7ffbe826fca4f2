"""The Compression Decision Agent: says what to measure. The measurement disposes."""

from typing import Protocol

from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import Profile
from adaslide.domain.search import Search


class Agent(Protocol):
    """Looks at a patch. Picklable."""

    def search(self, image: Pixels, mpp: float, profile: Profile, whole_bytes: int) -> Search:
        """Begins with (h, w, 3) ``image``, its valid pixels alone, of ``mpp`` micrometres per pixel, under
        the ladder of ``profile``.
        ``whole_bytes`` is about what the patch will take if it is kept whole."""
        ...
