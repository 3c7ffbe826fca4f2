"""How a view at some downsample is read: from payloads, their previews, or a stored overview."""

from collections.abc import Sequence
from dataclasses import dataclass

from adaslide.domain.errors import RegionOutOfRange

PREVIEW_FACTORS = (4, 2)
"""What payloads give without being restored, best first."""


@dataclass(frozen=True, slots=True)
class LevelRead:
    """Read stored ``level`` with its payloads' previews at ``preview`` (1: decode in full), then take
    the mean of ``shrink`` x ``shrink`` blocks."""

    level: int
    preview: int
    shrink: int


def level_read(downsample: int, stored: Sequence[int]) -> LevelRead:
    """The cheapest way to ``downsample``, a power of two; ``stored`` are the levels' downsamples, rising.

    Raises `RegionOutOfRange` for a downsample that is no power of two.
    """
    if downsample < 1 or downsample & (downsample - 1):
        raise RegionOutOfRange(f"a downsample is a power of two, not {downsample}")
    level = max(number for number, factor in enumerate(stored) if factor <= downsample)
    rest = downsample // stored[level]
    if level:
        # An overview is a small lossy image: its previews would cost a decode as well.
        return LevelRead(level, 1, rest)
    preview = next((factor for factor in PREVIEW_FACTORS if factor <= rest), 1)
    return LevelRead(0, preview, rest // preview)
