"""A seeded slide of any size made of real H&E texture: for tests of scale, and for demonstrations.

Every pixel is a function of the seed and its place, so a region costs only its own pixels and looks
the same whatever was asked for before. Smooth random fields on a coarse lattice say where tissue and
faint tissue lie; texture comes in blocks, each a window of the given picture, turned and mirrored.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from adaslide.adapters.slides.thumbnails import thumbnail
from adaslide.domain.errors import RegionOutOfRange
from adaslide.domain.geometry import Region, Size
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.slide import SlideFacts, SourceLevel

Field = npt.NDArray[np.float32]

DOWNSAMPLES = (1, 4, 16, 64)
MPP = 0.5
_GLASS = np.array((242, 241, 243), np.float32)
_BLOCK = 512
_LATTICE = 256
_MIN_LEVEL_SIDE = 64
_TISSUE_SHARE, _FAINT_SHARE = 0.35, 0.10
_FAINT_OPACITY = 0.14
_EDGE = 0.06
"""Width of a piece of tissue's edge, in units of its field."""
_INKS = ((28, 52, 128), (20, 92, 60), (24, 24, 28))


@dataclass(frozen=True, slots=True)
class _Stroke:
    """A straight line of a felt pen, in pixels of level 0."""

    x0: float
    y0: float
    x1: float
    y1: float
    width: float
    ink: tuple[int, int, int]


class SyntheticSlide:
    """`SlideReader` without a file: tissue, faint tissue (as fat or mucus), glass and pen marks.

    ``texture`` is (h, w, 3) uint8 of real tissue at ``MPP``; windows of it that hold mostly tissue
    are chosen. ``facts.tiles`` is None, and ``facts.source_bytes`` is that of the raw pixels: there
    is no file. Lower levels are drawn from the shrunk texture, not averaged from level 0.
    """

    def __init__(self, size: Size, seed: int, texture: Pixels) -> None:
        self._size, self._seed, self._texture = size, seed, texture
        random = np.random.default_rng(seed)
        self._textures = _shrunk_textures(texture)
        self._windows = _tissue_windows(self._textures[0])
        self._tissue = _field(random, size, _TISSUE_SHARE)
        self._faint = _field(random, size, _FAINT_SHARE)
        self._noise = random.normal(0, 1.0, (_BLOCK, _BLOCK, 1)).astype(np.float32)
        self._strokes = _strokes(random, size)

    @cached_property
    def facts(self) -> SlideFacts:
        recipe = f"synthetic {self._size.width}x{self._size.height} {self._seed} ".encode()
        return SlideFacts(
            size=self._size,
            levels=self._levels,
            vendor="synthetic",
            mpp=MPP,
            objective=20.0,
            icc=None,
            tiles=None,
            source_bytes=3 * self._size.pixels,
            source_sha256=hashlib.sha256(recipe + self._texture.tobytes()).hexdigest(),
        )

    @cached_property
    def _levels(self) -> tuple[SourceLevel, ...]:
        levels = (SourceLevel(self._size.shrunk(factor), float(factor)) for factor in DOWNSAMPLES)
        return tuple(
            one
            for one in levels
            if one.downsample == 1 or min(one.size.width, one.size.height) >= _MIN_LEVEL_SIDE
        )

    def read(self, region: Region, level: int = 0) -> Pixels:
        if not (0 <= level < len(self._levels) and region.inside(self._levels[level].size)):
            raise RegionOutOfRange(f"{region} is not inside level {level}")
        side = _BLOCK // DOWNSAMPLES[level]
        out: Pixels = np.empty((region.height, region.width, 3), np.uint8)
        for row in range(region.y // side, -(-region.bottom // side)):
            for col in range(region.x // side, -(-region.right // side)):
                part = Region(col * side, row * side, side, side).intersection(region)
                assert part is not None
                y, x = part.y - region.y, part.x - region.x
                out[y : y + part.height, x : x + part.width] = self._draw(part, level, row, col)
        return out

    def thumbnail(self, max_side: int) -> Pixels:
        return thumbnail(self._levels, self.read, max_side)

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[type["SyntheticSlide"], tuple[Size, int, Pixels]]:
        return SyntheticSlide, (self._size, self._seed, self._texture)

    def write_tiff(self, path: Path, tile: int = 256, quality: int = 80) -> None:
        """Writes itself as a pyramidal BigTIFF of JPEG tiles with its mpp, in bounded memory.

        The pixels are this slide's up to JPEG's loss (4:2:0, as scanners write).
        """
        from adaslide.adapters.slides.tiled_tiff import write_tiled_tiff

        write_tiled_tiff(self, path, tile, quality)

    def _draw(self, part: Region, level: int, row: int, col: int) -> Pixels:
        """Pixels of ``part``, which lies inside texture block ``row``, ``col`` of the level."""
        factor = DOWNSAMPLES[level]
        ys = (np.arange(part.y, part.bottom, dtype=np.float32) + 0.5) * factor
        xs = (np.arange(part.x, part.right, dtype=np.float32) + 0.5) * factor
        opaque = np.clip(_sample(self._tissue, ys, xs) / _EDGE, 0, 1)
        faint = np.clip(_sample(self._faint, ys, xs) / _EDGE, 0, 1) * _FAINT_OPACITY
        opacity = np.maximum(opaque, faint)[..., None]
        rows, cols = np.arange(part.y, part.bottom) % _BLOCK, np.arange(part.x, part.right) % _BLOCK
        # Averaging factor x factor px divides the noise by factor.
        pixels: Field = _GLASS + self._noise[np.ix_(rows, cols)] / np.float32(factor)
        if opacity.any():
            pixels += opacity * (self._block(level, row, col, part) - pixels)
        for stroke in self._strokes:
            pixels = _ink(pixels, stroke, ys, xs)
        return np.rint(pixels).clip(0, 255).astype(np.uint8)

    def _block(self, level: int, row: int, col: int, part: Region) -> Field:
        random = np.random.default_rng((self._seed, row, col))
        factor = DOWNSAMPLES[level]
        side = _BLOCK // factor
        y, x = self._windows[random.integers(len(self._windows))] // factor
        block = self._textures[level][y : y + side, x : x + side]
        block = np.rot90(block, int(random.integers(4)))
        if random.integers(2):
            block = block[:, ::-1]
        top, left = part.y - row * side, part.x - col * side
        turned: Field = block[top : top + part.height, left : left + part.width].astype(np.float32)
        return turned


def _shrunk_textures(texture: Pixels) -> tuple[Pixels, ...]:
    """The texture at every level, its sides made multiples of the greatest downsample, a block at least."""
    last = DOWNSAMPLES[-1]
    height, width = (max(_BLOCK, side - side % last) for side in texture.shape[:2])
    missing = [(0, max(0, side - have)) for side, have in zip((height, width), texture.shape, strict=False)]
    whole = np.pad(texture, (*missing, (0, 0)), mode="symmetric")[:height, :width]
    return tuple(shrink(whole, factor) for factor in DOWNSAMPLES)


def _tissue_windows(texture: Pixels) -> npt.NDArray[np.intp]:
    """(n, 2) origins y, x of the windows of one block that hold most tissue: the best third."""
    coloured = (np.ptp(texture, axis=2) > 24).astype(np.float32)
    step = DOWNSAMPLES[-1]
    origins = [
        (y, x)
        for y in range(0, texture.shape[0] - _BLOCK + 1, step)
        for x in range(0, texture.shape[1] - _BLOCK + 1, step)
    ]
    share = [float(coloured[y : y + _BLOCK : 4, x : x + _BLOCK : 4].mean()) for y, x in origins]
    best = sorted(range(len(origins)), key=lambda i: (-share[i], i))[: max(1, len(origins) // 3)]
    return np.array([origins[i] for i in best], np.intp)


def _field(random: np.random.Generator, size: Size, share: float) -> Field:
    """Smooth noise on the lattice, positive on about ``share`` of the slide, negative along its border."""
    rows, cols = size.height // _LATTICE + 3, size.width // _LATTICE + 3
    smooth = ndimage.gaussian_filter(random.standard_normal((rows, cols)), max(1.0, min(rows, cols) / 14))
    smooth /= max(float(smooth.std()), 1e-6)
    inward = np.minimum.outer(
        np.minimum(np.arange(rows), np.arange(rows)[::-1]), np.minimum(np.arange(cols), np.arange(cols)[::-1])
    )
    smooth -= 1.5 * np.exp(-inward / max(1.0, min(rows, cols) / 16))
    field: Field = (smooth - np.quantile(smooth, 1 - share)).astype(np.float32)
    return field


def _sample(field: Field, ys: Field, xs: Field) -> Field:
    """The field between its lattice points, bilinear: (len(ys), len(xs))."""
    y, x = ys / np.float32(_LATTICE), xs / np.float32(_LATTICE)
    top, left = y.astype(np.intp), x.astype(np.intp)
    down, right = (y % np.float32(1))[:, None], x % np.float32(1)
    # Between the two lattice rows first: only len(ys) x columns values.
    span = slice(int(left[0]), int(left[-1]) + 2)
    rows: Field = field[top, span] * (1 - down) + field[top + 1, span] * down
    left = left - left[0]
    sampled: Field = rows[:, left] * (1 - right) + rows[:, left + 1] * right
    return sampled


def _strokes(random: np.random.Generator, size: Size) -> tuple[_Stroke, ...]:
    """Three lines of ink, as long as a fifth of the shorter side."""
    shorter = min(size.width, size.height)
    strokes = []
    for ink in _INKS:
        x, y = random.uniform(0.1, 0.9, 2) * (size.width, size.height)
        angle, length = random.uniform(0, np.pi), shorter / 5
        width = float(random.uniform(0.004, 0.01)) * shorter + 8
        end = (float(x + length * np.cos(angle)), float(y + length * np.sin(angle)))
        strokes.append(_Stroke(float(x), float(y), *end, width, ink))
    return tuple(strokes)


def _ink(pixels: Field, stroke: _Stroke, ys: Field, xs: Field) -> Field:
    """Draws the stroke over pixels whose centres are ``ys`` x ``xs``; ink lets a little light through."""
    reach = stroke.width / 2 + 1
    if (
        ys[0] > max(stroke.y0, stroke.y1) + reach
        or ys[-1] < min(stroke.y0, stroke.y1) - reach
        or xs[0] > max(stroke.x0, stroke.x1) + reach
        or xs[-1] < min(stroke.x0, stroke.x1) - reach
    ):
        return pixels
    along_x, along_y = stroke.x1 - stroke.x0, stroke.y1 - stroke.y0
    dx, dy = xs - stroke.x0, (ys - stroke.y0)[:, None]
    part = np.clip((dx * along_x + dy * along_y) / (along_x**2 + along_y**2), 0, 1)
    distance = np.hypot(dx - part * along_x, dy - part * along_y)
    cover = np.clip(reach - distance, 0, 1)[..., None] * np.float32(0.92)
    return (pixels + cover * (np.array(stroke.ink, np.float32) - pixels)).astype(np.float32)
