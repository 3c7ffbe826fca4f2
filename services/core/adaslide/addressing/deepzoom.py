"""DeepZoom: levels count from 1 x 1 px upward; tiles are patches, without overlap.

Source: Deep Zoom File Format Overview, Microsoft (2008 schema), as read by OpenSeadragon.
"""

from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from adaslide.domain.errors import RegionOutOfRange
from adaslide.domain.geometry import Region, Size

SCHEMA = "http://schemas.microsoft.com/deepzoom/2008"


@dataclass(frozen=True, slots=True)
class TileAddress:
    """What a tile shows: ``region`` in pixels of the slide shrunk by ``downsample``."""

    downsample: int
    region: Region


@dataclass(frozen=True, slots=True)
class DeepZoom:
    """The pyramid of one slide of ``size``, in tiles of ``tile`` px."""

    size: Size
    tile: int

    @property
    def max_level(self) -> int:
        """The level of full resolution: level 0 is 1 x 1 px."""
        return (max(self.size.width, self.size.height) - 1).bit_length()

    def downsample(self, level: int) -> int:
        """Raises `RegionOutOfRange` for a level that does not exist."""
        if not 0 <= level <= self.max_level:
            raise RegionOutOfRange(f"there are levels 0 to {self.max_level}, not {level}")
        return 1 << (self.max_level - level)

    def level_size(self, level: int) -> Size:
        """The level's size in px, rounded up as DeepZoom asks."""
        return self.size.shrunk(self.downsample(level))

    def tiles(self, level: int) -> tuple[int, int]:
        """(columns, rows) of tiles of the level."""
        size = self.level_size(level)
        return -(-size.width // self.tile), -(-size.height // self.tile)

    def address(self, level: int, col: int, row: int) -> TileAddress:
        """Where the tile's pixels are; tiles of the last column and row are narrower or lower.

        Raises `RegionOutOfRange` outside the level.
        """
        size = self.level_size(level)
        x, y = col * self.tile, row * self.tile
        if not (0 <= x < size.width and 0 <= y < size.height):
            cols, rows = self.tiles(level)
            raise RegionOutOfRange(f"level {level} has {cols} x {rows} tiles, none at {col}, {row}")
        region = Region(x, y, min(self.tile, size.width - x), min(self.tile, size.height - y))
        return TileAddress(self.downsample(level), region)

    def descriptor(self, image_format: str) -> str:
        """The ``.dzi`` document; ``image_format`` is the tiles' file suffix."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<Image xmlns="{SCHEMA}" Format={quoteattr(image_format)} Overlap="0" TileSize="{self.tile}">'
            f'<Size Width="{self.size.width}" Height="{self.size.height}"/></Image>\n'
        )
