"""The probes of `observability.readiness` on the real parts; each runs the thing itself."""

from collections.abc import Iterator
from typing import Any, Protocol

from adaslide import wiring
from adaslide.adapters.inference import golden
from adaslide.adapters.inference.weights import installed, weights_pinned
from adaslide.adapters.queue.ping import ping_broker
from adaslide.domain.errors import StoreUnavailable, WeightsMissing
from adaslide.domain.profile import OTSU, PROFILES, profile_named
from adaslide.observability.readiness import Probe
from adaslide.ports.jobs import Database
from adaslide.ports.objects import GetObject, HeadObject, PutObject

STORE_KEY, STORE_BYTES = "health/probe", b"adaslide"
DEFAULT_PROFILE = "archive"


class ProbedStore(GetObject, HeadObject, PutObject, Protocol):
    """What a look at a store takes."""


def database_probe(database: Database) -> Probe:
    """The database answers."""
    return Probe("database", database.ping)


def broker_probe(celery: Any) -> Probe:
    """The broker takes a connection."""
    return Probe("broker", lambda: ping_broker(celery), 4.0)


def store_probe(store: ProbedStore) -> Probe:
    """The store has the tiny object `STORE_KEY`, which is written where it is not there yet.

    A bucket that is missing, a wrong key and a folder that may not be written all fail.
    """

    def check() -> None:
        found = store.size(STORE_KEY)
        if found is None:
            store.put(STORE_KEY, STORE_BYTES)
            found = store.size(STORE_KEY)
        if found != len(STORE_BYTES):
            raise StoreUnavailable("the store does not hold what was put")

    return Probe("store", check, 4.0)


def weights_probe() -> Probe:
    """Manifests can be read, and hold the weights that the shipped profiles pin, with their files."""

    def check() -> None:
        installed()
        for profile in PROFILES.values():
            wiring.weights_in(profile)
            for pin in _pins(profile.id):
                if not weights_pinned(pin).path.is_file():
                    raise WeightsMissing("a file that the manifest names is not there")

    return Probe("weights", check)


def golden_probe(profile: str = DEFAULT_PROFILE) -> Probe:
    """The judge and the restorers of ``profile`` give their golden tiles on this machine; seconds, once."""

    def check() -> None:
        for weights in map(weights_pinned, _pins(profile)):
            if weights.kind in golden.KINDS:
                golden.check_canonical(weights)

    return Probe("golden", check, once=True)


def _pins(profile: str) -> Iterator[str]:
    named = profile_named(profile)
    for pin in (named.judge, *named.restorers, named.agent):
        if pin and pin != OTSU:
            yield pin
