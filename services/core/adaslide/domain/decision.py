"""What became of one patch: the row of facts behind ``decision/`` and ``quality/``."""

from dataclasses import dataclass
from enum import IntFlag

from adaslide.domain.fidelity import Fidelity, Floors
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.rung import Rung


class PatchFlag(IntFlag):
    """Bits of ``decision/flags``. Stable."""

    NONE = 0
    CORRUPT = 1
    """The source could not be read here; its bytes are kept as they stand."""
    DEMOTED = 2
    """Kept at a dearer rung than was proposed, or whole: a floor was not held, or lambda paid for more."""
    PROMOTED = 4
    """Kept at a cheaper rung than was proposed: the floors allowed it."""
    UNKNOWN_STAIN = 8
    """Not stained as what the models learned: nothing is restored."""
    UNKNOWN_FOCUS = 16
    """Out of focus, or noise: nothing is restored."""
    PROTECTED = 32
    """In a region that the caller protects: nothing is restored."""


BARRED = PatchFlag.UNKNOWN_STAIN | PatchFlag.UNKNOWN_FOCUS | PatchFlag.PROTECTED
"""Why nothing of a patch may be restored."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The floors of a package's patches: ``barred`` holds for those of which nothing may be restored."""

    floors: Floors
    barred: Floors

    def of(self, flags: int) -> Floors:
        """The floors of a patch with ``flags``, bits of `PatchFlag`."""
        return self.barred if flags & BARRED else self.floors


@dataclass(frozen=True, slots=True)
class PatchOutcome:
    """The chosen rung of one patch, its payload and what was measured.

    ``payload`` is the envelope's bytes, empty for an absent chunk (background at the fill value).
    ``pixels_crc32c`` is the CRC-32C of the restored patch, (p, p, 3) uint8 in C order: it proves that
    what is served is what was measured.
    ``source_bytes`` are the source's encoded tiles under this patch, 0 where it has none.
    """

    index: PatchIndex
    rung: Rung
    quality: int
    p_compress: float
    flags: PatchFlag
    fidelity: Fidelity
    payload: bytes
    pixels_crc32c: int
    measurements: int
    source_bytes: int
