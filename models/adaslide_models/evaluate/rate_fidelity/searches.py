"""What other searches would have ended with, by looking up what was measured of every rung."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from adaslide import wiring
from adaslide.domain.fidelity import METRICS, Fidelity
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import Profile
from adaslide.domain.search import Bisection, Search, Tried
from adaslide.pipeline.encode_patch import LOSSLESS_SHARE
from adaslide_models.evaluate.rate_fidelity.measured import PAPER, Table, ladder_of

PRICES = (250.0, 350.0, 500.0, 700.0, 1000.0)
"""Bytes that a measurement must promise to save."""


def bisected(table: Table, profile: Profile) -> dict[str, Any]:
    """Bisection from the middle of the profile's ladder, as every profile without an agent searches."""
    length = len(profile.ladder)
    return searched(table, profile, (Bisection(length, length // 2) for _ in table.bytes))


def by_agent(table: Table, profile: Profile, mpp: float, patches: Iterable[Pixels]) -> dict[str, Any]:
    """The profile's own agent, shown the ``patches`` of the table, of ``mpp`` micrometres per pixel."""
    return searched(table, profile, _begun(profile, mpp, patches))


def by_price(table: Table, profile: Profile, mpp: float, patches: Sequence[Pixels]) -> list[dict[str, Any]]:
    """`by_agent` for each of `PRICES` of a measurement, bytes: how many it makes is the profile's choice."""
    priced = [replace(profile, measurement_price=price) for price in PRICES]
    return [{"price": one.measurement_price, **by_agent(table, one, mpp, patches)} for one in priced]


def by_image_alone(table: Table, profile: Profile, mpp: float, patches: Iterable[Pixels]) -> dict[str, Any]:
    """The first word of the profile's own agent, believed: the rung that it would measure first is kept, and
    nothing is measured."""
    proposed = [search.proposed for search in _begun(profile, mpp, patches)]
    return _believed(table, profile, profile, proposed)


def by_published_agent(
    table: Table, profile: Profile, mpp: float, patches: Iterable[Pixels]
) -> dict[str, Any]:
    """The published one-step agent, believed: the smaller or the larger of its pair of rungs by its image."""
    proposed = [search.proposed for search in _begun(PAPER, mpp, patches)]
    return _believed(table, PAPER, profile, proposed)


def _begun(profile: Profile, mpp: float, patches: Iterable[Pixels]) -> Iterator[Search]:
    """The searches of the profile's own agent."""
    agent = wiring.agent_named(profile.agent)
    return (agent.search(image, mpp, profile, round(LOSSLESS_SHARE * image.size)) for image in patches)


def _believed(table: Table, ladder: Profile, promise: Profile, proposed: list[int]) -> dict[str, Any]:
    """Mean bytes of the rungs ``proposed`` of ``ladder``, its dearest for the last resort, and the share of
    patches that would then be below a floor of ``promise``."""
    sizes, values = ladder_of(table, ladder)
    every, places = np.arange(len(sizes)), np.minimum(proposed, sizes.shape[1] - 1)
    kept = [Fidelity(**dict(zip(METRICS, map(float, one), strict=True))) for one in values[every, places]]
    below = [not promise.floors.held_by(one) for one in kept]
    return {
        "bytes": round(float(sizes[every, places].mean())),
        "below_a_floor": round(float(np.mean(below)), 4),
    }


def searched(table: Table, profile: Profile, searches: Iterable[Search]) -> dict[str, Any]:
    """Mean bytes that each patch's search ends with, and the rungs that it measured. A patch on which
    no rung holds takes the bytes of its dearest."""
    sizes, values = ladder_of(table, profile)
    kept, measured = [], []
    for size, fidelity, looking in zip(sizes, values, searches, strict=True):
        rungs = [Fidelity(**dict(zip(METRICS, map(float, one), strict=True))) for one in fidelity]
        tried = dict[int, Tried]()
        while (place := looking.next(tried)) is not None:
            held = profile.floors.held_by(rungs[place], margin=True)
            tried[place] = Tried(int(size[place]), rungs[place], held)
        found = looking.kept(tried)
        kept.append(float(size.max()) if found is None else float(size[found]))
        measured.append(len(tried))
    return {"bytes": round(float(np.mean(kept))), "rungs_measured": round(float(np.mean(measured)), 3)}
