"""Integer geometry of a slide: sizes, regions, the patch grid and its shards.

Pixels are always those of one named level; x grows to the right, y downwards. Rows and columns
count patches (or shards), never pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

SHARD_PATCHES = 16
"""Patches along each side of a shard (architecture: shard = 16 x 16 patches)."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels, both positive."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"a size is positive, not {self.width} x {self.height}")

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def shrunk(self, factor: int) -> "Size":
        """The size after shrinking by ``factor``, rounded up so that no pixel is lost."""
        return Size(-(-self.width // factor), -(-self.height // factor))


@dataclass(frozen=True, slots=True)
class Region:
    """A half-open rectangle [x, x + width) x [y, y + height) in pixels."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"a region is not empty: {self.width} x {self.height}")

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    def inside(self, size: Size) -> bool:
        return self.x >= 0 and self.y >= 0 and self.right <= size.width and self.bottom <= size.height

    def intersection(self, other: Self) -> "Region | None":
        x, y = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Region(x, y, right - x, bottom - y) if right > x and bottom > y else None


@dataclass(frozen=True, slots=True, order=True)
class PatchIndex:
    """A patch's place in the grid."""

    row: int
    col: int


@dataclass(frozen=True, slots=True, order=True)
class ShardIndex:
    """A shard's place in the grid of shards."""

    row: int
    col: int


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """Square patches of ``patch`` px from the slide's origin; the last row and column may reach beyond it."""

    size: Size
    patch: int

    @property
    def rows(self) -> int:
        return -(-self.size.height // self.patch)

    @property
    def cols(self) -> int:
        return -(-self.size.width // self.patch)

    @property
    def shard_rows(self) -> int:
        return -(-self.rows // SHARD_PATCHES)

    @property
    def shard_cols(self) -> int:
        return -(-self.cols // SHARD_PATCHES)

    def __len__(self) -> int:
        return self.rows * self.cols

    def region(self, index: PatchIndex) -> Region:
        """The patch's *valid* pixels: clipped to the slide."""
        x, y = index.col * self.patch, index.row * self.patch
        if not (0 <= x < self.size.width and 0 <= y < self.size.height):
            raise IndexError(f"patch {index.row}, {index.col} is outside a {self.rows} x {self.cols} grid")
        return Region(x, y, min(self.patch, self.size.width - x), min(self.patch, self.size.height - y))

    def covering(self, region: Region) -> Iterator[PatchIndex]:
        """Patches that share a pixel with ``region``, row by row."""
        for row in range(region.y // self.patch, -(-region.bottom // self.patch)):
            for col in range(region.x // self.patch, -(-region.right // self.patch)):
                yield PatchIndex(row, col)

    def shards(self) -> Iterator[ShardIndex]:
        for row in range(self.shard_rows):
            for col in range(self.shard_cols):
                yield ShardIndex(row, col)

    def shard_of(self, index: PatchIndex) -> ShardIndex:
        return ShardIndex(index.row // SHARD_PATCHES, index.col // SHARD_PATCHES)

    def patches_of(self, shard: ShardIndex) -> Iterator[PatchIndex]:
        """The shard's patches that exist, row by row."""
        top, left = shard.row * SHARD_PATCHES, shard.col * SHARD_PATCHES
        for row in range(top, min(top + SHARD_PATCHES, self.rows)):
            for col in range(left, min(left + SHARD_PATCHES, self.cols)):
                yield PatchIndex(row, col)
