"""The child's side of reading: OpenSlide and the source's tiles, inside the limited process.

Reads what OpenSlide reads: Aperio SVS, Hamamatsu NDPI/VMS, MIRAX, Leica SCN, Ventana BIF, Philips,
Trestle, Zeiss CZI, DICOM and tiled TIFF. Associated images (label, macro, thumbnail) are not touched.
"""

from pathlib import Path
from typing import Any

import numpy as np
import openslide

from adaslide.adapters.child import Reply
from adaslide.adapters.slides.files import readable_file
from adaslide.adapters.slides.source_tiles import TiffTiles
from adaslide.domain.errors import NotFound, RegionOutOfRange, SlideCorrupt, SlideTooLarge, SlideUnsupported
from adaslide.domain.pixels import Pixels
from adaslide.domain.slide import MPP_RANGE

_CACHE_BYTES = 64 << 20
_MAX_LEVELS = 64


class OpenSlideSource:
    """The handler that `ChildSlideReader` runs in its child. Opens the slide at once."""

    def __init__(self, path: str, max_pixels: int, min_side: int, max_tile_side: int) -> None:
        self._path = readable_file(Path(path))
        self._max_tile_area = max_tile_side**2
        self._cache = openslide.OpenSlideCache(_CACHE_BYTES)
        self._slide: openslide.OpenSlide | None = None
        self._levels: list[tuple[int, int, float]] = []
        slide = self._open()
        self._check_size(slide, max_pixels, min_side)
        self._levels = [
            (width, height, float(downsample))
            for (width, height), downsample in zip(
                slide.level_dimensions, slide.level_downsamples, strict=True
            )
        ]
        self._background = _background(slide.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR))
        self._tiles = TiffTiles.find(self._path, slide.dimensions, self._pixels)

    def describe(self) -> Reply:
        """Everything but the digest; the block is the ICC profile."""
        properties = self._handle().properties
        tiles = self._tiles
        description = {
            "levels": self._levels,
            "vendor": properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown"),
            "mpp": _mpp(properties),
            "objective": _number(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)),
            "tiles": None if tiles is None else [tiles.tile, tiles.cols, tiles.rows, tiles.total_bytes],
        }
        return description, self._icc()

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Reply:
        """RGB of a region in the level's own pixels: (height, width, 3) uint8, row by row."""
        return {}, self._pixels(x, y, width, height, level).data.cast("B")

    def tile(self, row: int, col: int) -> Reply:
        """One encoded tile behind the level's tables: ``{"tables": n, "rgb": b}``, tables + tile."""
        if self._tiles is None or not (0 <= row < self._tiles.rows and 0 <= col < self._tiles.cols):
            raise RegionOutOfRange(f"the slide has no tile {row}, {col}")
        tile = self._tiles.tile_at(row, col)
        if tile is None:
            return {"absent": True}, b""
        return {"tables": len(tile.tables), "rgb": tile.rgb}, tile.tables + tile.data

    def _pixels(self, x: int, y: int, width: int, height: int, level: int = 0) -> Pixels:
        downsample = self._levels[level][2]
        origin = (round(x * downsample), round(y * downsample))
        try:
            rgba = np.asarray(self._handle().read_region(origin, level, (width, height)))
        except openslide.OpenSlideError:
            # An OpenSlide handle answers nothing more after its first error: take a new one.
            self._drop()
            raise SlideCorrupt(f"level {level} cannot be read at {x}, {y}") from None
        alpha = rgba[..., 3:]
        if alpha.min() == 255:
            return np.ascontiguousarray(rgba[..., :3])
        weight = alpha.astype(np.float32) / 255
        mixed = rgba[..., :3] * weight + self._background * (1 - weight)
        return np.rint(mixed).astype(np.uint8)

    def _handle(self) -> openslide.OpenSlide:
        return self._slide if self._slide is not None else self._open()

    def _open(self) -> openslide.OpenSlide:
        try:
            slide = openslide.OpenSlide(self._path)
        except openslide.OpenSlideUnsupportedFormatError:
            raise SlideUnsupported("not a slide in a format that can be read") from None
        except openslide.OpenSlideError:
            raise SlideCorrupt("a slide, but damaged: it cannot be opened") from None
        except FileNotFoundError:
            raise NotFound("there is no such slide") from None
        slide.set_cache(self._cache)
        self._slide = slide
        return slide

    def _drop(self) -> None:
        if self._slide is not None:
            self._slide.close()
        self._slide = None

    def _check_size(self, slide: openslide.OpenSlide, max_pixels: int, min_side: int) -> None:
        width, height = slide.dimensions
        if width * height > max_pixels:
            raise SlideTooLarge(f"{width} x {height} px is more than the {max_pixels} px allowed")
        if min(width, height) < min_side:
            raise SlideUnsupported(f"{width} x {height} px is no slide: a side is under {min_side} px")
        if slide.level_count > _MAX_LEVELS:
            raise SlideCorrupt(f"a slide with {slide.level_count} levels")
        for level in range(slide.level_count):
            sides = [
                int(slide.properties.get(f"openslide.level[{level}].tile-{side}", 0))
                for side in ("width", "height")
            ]
            if sides[0] * sides[1] > self._max_tile_area:
                raise SlideTooLarge(f"tiles of {sides[0]} x {sides[1]} px are larger than allowed")

    def _icc(self) -> bytes:
        # OpenSlide's Python binding hands the profile's own bytes out only with pixels.
        try:
            last = len(self._levels) - 1
            return self._handle().read_region((0, 0), last, (1, 1)).info.get("icc_profile") or b""
        except openslide.OpenSlideError:
            self._drop()
        profile = self._handle().color_profile
        return b"" if profile is None else bytes(profile.tobytes())


def _background(value: str | None) -> Pixels:
    """OpenSlide's ``RRGGBB``, else white."""
    try:
        return np.frombuffer(bytes.fromhex(value or "ffffff"), np.uint8)[:3].copy()
    except ValueError:
        return np.full(3, 255, np.uint8)


def _mpp(properties: Any) -> float | None:
    """The mean of x and y in micrometres per pixel; what no scanner has counts as unknown."""
    x = _number(properties.get(openslide.PROPERTY_NAME_MPP_X))
    y = _number(properties.get(openslide.PROPERTY_NAME_MPP_Y))
    if x is None or y is None:
        return None
    low, high = MPP_RANGE
    return (x + y) / 2 if low <= x <= high and low <= y <= high else None


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and np.isfinite(number) else None
