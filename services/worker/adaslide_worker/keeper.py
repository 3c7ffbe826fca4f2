"""Keeps a lease alive while its work goes on."""

from collections.abc import Callable
from threading import Event

from adaslide.domain.errors import StoreUnavailable
from adaslide_worker.periodic import Periodic


class Keeper(Periodic):
    """Calls ``renew`` every ``interval_s`` seconds, until left or until it says False.

    From a thread, because nothing in the work itself comes by often enough: hashing a slide takes minutes. A
    process that is stopped or gone renews nothing, and its work passes on.
    """

    def __init__(self, renew: Callable[[], bool], interval_s: float) -> None:
        super().__init__(self._kept, interval_s, "adaslide-lease")
        self._renew = renew
        self.lost = Event()
        """Set once the work is not ours any more, or is not to go on."""

    def _kept(self) -> bool:
        try:
            if self._renew():
                return True
        except StoreUnavailable:
            return True  # the lease runs for a while yet; whoever ends the work will ask again
        self.lost.set()
        return False
