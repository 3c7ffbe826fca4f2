"""What a package was made with: its judges, its agent, its restorers, and which of them restored a patch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from adaslide.domain.geometry import PatchIndex
from adaslide.domain.rung import RESTORED_RUNGS
from adaslide.package.envelope import Envelope, ImageParams

if TYPE_CHECKING:  # the command line wants a name from here, and need not load Zarr for it
    from adaslide.package.reader import PackageReader

BICUBIC = "bicubic"
"""The name of the restorer without weights."""
DIGITS = 12
"""Hexadecimal digits of the sha256 by which weights are named to people."""
BATCH_PATCHES = 1024
"""Payloads held at once."""
_RESTORED = frozenset(rung.label for rung in RESTORED_RUNGS)


def has_restored(totals: Mapping[str, Any]) -> bool:
    """Whether any patch of the package with these totals is restored."""
    return not _RESTORED.isdisjoint(totals["patches"]["by_rung"])


@dataclass(frozen=True, slots=True)
class MadeWith:
    """Names as profiles pin them: ``fie-compact-x4@92b417ce0215``, ``otsu-haematoxylin@1``.

    ``restorers`` are the nets that were tried beside bicubic; ``nets`` all that are weights.
    """

    profile: str
    judge: str
    second_judge: str | None
    agent: str | None
    restorers: tuple[str, ...]
    nets: frozenset[str]

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Self:
        """From the root's ``adaslide`` block; the first packages name a judge alone."""
        judge, second, agent = attributes["judge"], attributes.get("second_judge"), attributes.get("agent")
        nets = [_pin(name, sha256) for name, sha256 in attributes.get("weights", {}).items()]
        restorers = tuple(pin for pin in nets if pin not in (judge, second, agent))
        return cls(attributes["profile"], judge, second, agent, restorers, frozenset(nets))


def _pin(name: str, sha256: str) -> str:
    return f"{name}@{sha256[:DIGITS]}"


def restorer_of(envelope: Envelope, attributes: Mapping[str, Any]) -> str:
    """`BICUBIC`, or the weights that a restored payload names; ``unnamed@...`` where the root does not."""
    params = envelope.params
    if not isinstance(params, ImageParams) or not params.restorer_digest:
        return BICUBIC
    digest = params.restorer_digest.hex()
    named = attributes.get("weights", {})
    return _pin(next((name for name, sha256 in named.items() if sha256 == digest), "unnamed"), digest)


def restored_by(package: "PackageReader") -> dict[PatchIndex, str]:
    """The restorer of every restored patch. Reads their payloads, decodes none. Raises `PackageError`."""
    rungs = package.maps.decision["rung"]
    places = np.argwhere(np.isin(rungs, sorted(RESTORED_RUNGS)))
    indices = [PatchIndex(int(row), int(col)) for row, col in places]
    found = {}
    for start in range(0, len(indices), BATCH_PATCHES):
        batch = indices[start : start + BATCH_PATCHES]
        for index, payload in zip(batch, package.payloads(batch), strict=True):
            if payload is not None:
                found[index] = restorer_of(Envelope.unpack(payload), package.info.attributes)
    return found
