"""What other searches would have ended with, by looking up what was measured of every rung."""

from collections.abc import Callable
from typing import Any

import numpy as np

from adaslide.domain.fidelity import METRICS, Fidelity
from adaslide.domain.profile import Profile
from adaslide.domain.search import Bisection, Tried
from adaslide.ports.agent import Search
from adaslide_models.evaluate.rate_fidelity.measured import Table, ladder_of


def bisected(table: Table, profile: Profile) -> dict[str, Any]:
    """Bisection from the middle of the profile's ladder, as every profile without an agent searches."""
    length = len(profile.ladder)
    return searched(table, profile, lambda: Bisection(length, length // 2))


def searched(table: Table, profile: Profile, search: Callable[[], Search]) -> dict[str, Any]:
    """Mean bytes that ``search`` ends with on every patch, and the rungs that it measured. A patch on which
    no rung holds takes the bytes of its dearest."""
    sizes, values = ladder_of(table, profile)
    kept, measured = [], []
    for size, fidelity in zip(sizes, values, strict=True):
        rungs = [Fidelity(**dict(zip(METRICS, map(float, one), strict=True))) for one in fidelity]
        looking, tried = search(), dict[int, Tried]()
        while (place := looking.next(tried)) is not None:
            held = profile.floors.held_by(rungs[place], margin=True)
            tried[place] = Tried(int(size[place]), rungs[place], held)
        kept.append(min((one.bytes for one in tried.values() if one.held), default=float(size.max())))
        measured.append(len(tried))
    return {"bytes": round(float(np.mean(kept))), "rungs_measured": round(float(np.mean(measured)), 3)}
