"""Nets under another runtime than the canonical one."""

from collections.abc import Mapping
from typing import Protocol

from adaslide.domain.rung import Scale
from adaslide.ports.restorer import Restorer
from adaslide.ports.segmenter import Segmenter


class Nets(Protocol):
    """What runs in the canonical runtime's place. All that it gives is picklable."""

    @property
    def runtime(self) -> str:
        """Stands in the package beside what it measured."""
        ...

    def segmenter(self, pin: str) -> Segmenter:
        """The judge of the weights that ``pin`` names."""
        ...

    @property
    def restorers(self) -> Mapping[tuple[Scale, bytes], Restorer]:
        """By (scale, sha256 of the weights): as many as the canonical runtime knows."""
        ...
