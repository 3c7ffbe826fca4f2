"""Rungs: the ways in which one patch can be kept (architecture section 3)."""

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from fractions import Fraction

Scale = int | Fraction
"""By how much a stored image is smaller than its patch, along a side."""
THREE_QUARTERS = Fraction(4, 3)
"""The scale of an image that is stored at three quarters of its side."""


def scale_of(value: int | str) -> Scale:
    """``2`` or ``"4/3"``, as manifests and command lines write it. Raises `ValueError` for another text."""
    try:
        scale = Fraction(value)
    except (TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{value!r} is no scale") from error
    return scale.numerator if scale.denominator == 1 else scale


class Rung(IntEnum):
    """Stable ids: they stand in every payload and in ``decision/rung``. Never renumber."""

    BACKGROUND = 0
    EXACT = 1
    FINE = 2
    X2 = 3
    X4 = 4
    LATENT = 5
    LOSSLESS = 6
    PAPER_KEEP = 7
    PAPER_COMPRESS = 8
    X4_3 = 9

    @property
    def label(self) -> str:
        """The name users see: ``fine``, ``x4``, ``paper-keep``."""
        return self.name.lower().replace("_", "-")


class Provenance(StrEnum):
    """Where served pixels come from (header ``X-AdaSlide-Provenance``)."""

    ORIGINAL = "original"
    LOSSLESS = "lossless"
    LOSSY = "lossy"
    RESTORED = "restored"
    PREVIEW = "preview"
    BACKGROUND = "background"
    MIXED = "mixed"


PROVENANCE: dict[Rung, Provenance] = {
    Rung.BACKGROUND: Provenance.BACKGROUND,
    Rung.EXACT: Provenance.ORIGINAL,
    Rung.LOSSLESS: Provenance.LOSSLESS,
    Rung.FINE: Provenance.LOSSY,
    Rung.PAPER_KEEP: Provenance.LOSSY,
    Rung.X4_3: Provenance.RESTORED,
    Rung.X2: Provenance.RESTORED,
    Rung.X4: Provenance.RESTORED,
    Rung.LATENT: Provenance.RESTORED,
    Rung.PAPER_COMPRESS: Provenance.RESTORED,
}


class Codec(IntEnum):
    """Image codecs a payload may hold. Stable ids, see docs/package-format.md."""

    AVIF = 1
    JPEGXL = 2
    JPEG = 3
    PNG = 4
    TERSE_AVIF = 5
    """AVIF whose head is deflated: the same file, shorter."""
    STAIN_AVIF = 6
    """AVIF of the planes that nuclei are seen in, in place of red, green and blue."""
    TERSE_STAIN_AVIF = 7


class RestorerKind(IntEnum):
    """What turns a low-resolution payload back to full size. Stable ids."""

    NONE = 0
    BICUBIC = 1
    WEIGHTS = 2


@dataclass(frozen=True, slots=True)
class RungSpec:
    """One entry of a profile's ladder: a rung with its settings.

    ``scale`` is 1, `THREE_QUARTERS`, 2 or 4; ``quality`` is the codec's own 0-100 scale; ``speed`` is the
    encoder's effort (AVIF: 0 slow - 10 fast).
    """

    rung: Rung
    codec: Codec | None = None
    scale: Scale = 1
    quality: int = 0
    speed: int = 6
    restorer: RestorerKind = RestorerKind.NONE

    def plain(self) -> "RungSpec":
        """The same for any stain."""
        return replace(self, codec=Codec.AVIF) if self.codec is Codec.STAIN_AVIF else self

    @property
    def name(self) -> str:
        return f"{self.rung.label}-q{self.quality}" if self.quality else self.rung.label


LOSSLESS_RUNGS = frozenset({Rung.EXACT, Rung.LOSSLESS})
RESTORED_RUNGS = frozenset(r for r, p in PROVENANCE.items() if p is Provenance.RESTORED)
