"""What is known of a slide before any patch is read. Never its label, macro or names."""

from dataclasses import dataclass
from enum import StrEnum

from adaslide.domain.geometry import Size

MPP_RANGE = (0.05, 10.0)
"""Micrometres per pixel outside this range are a mistake of the scanner or the caller."""

PATCH_NOMINAL = 512


class MppOrigin(StrEnum):
    """Where the value of mpp was taken from."""

    PROPERTIES = "properties"
    CALLER = "caller"


@dataclass(frozen=True, slots=True)
class SourceLevel:
    """One level of the source's own pyramid."""

    size: Size
    downsample: float


@dataclass(frozen=True, slots=True)
class TileLayout:
    """The source's own JPEG tiles at level 0: square tiles of ``tile`` px from the origin."""

    tile: int
    cols: int
    rows: int
    total_bytes: int
    """Sum of the encoded tiles as they stand in the file: the denominator of ``ratio_tissue``."""


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """Facts of one slide. ``mpp`` is micrometres per pixel at level 0, x and y averaged."""

    size: Size
    levels: tuple[SourceLevel, ...]
    vendor: str
    mpp: float | None
    objective: float | None
    icc: bytes | None
    tiles: TileLayout | None
    """None when the source has no JPEG tiles that `exact` could keep."""
    source_bytes: int
    """Size of the slide's file, or of all its files."""
    source_sha256: str


def patch_size(facts: SlideFacts) -> int:
    """The patch's side in px: the multiple of the source tile nearest 512, else 512.

    A multiple of 16 is needed for the x16 overview; a tile that allows none is not aligned to.
    """
    if facts.tiles is None:
        return PATCH_NOMINAL
    tile = facts.tiles.tile
    size = max(1, round(PATCH_NOMINAL / tile)) * tile
    return size if size % 16 == 0 and size <= 4 * PATCH_NOMINAL else PATCH_NOMINAL
