"""A package out as a file that other programs read: TIFF pyramid, PNG, NumPy, or the source's own tiles."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from PIL import Image

from adaslide.domain.errors import Conflict, InputError, PackageError, StoreUnavailable
from adaslide.domain.fidelity import PSNR_IDENTICAL
from adaslide.domain.geometry import PatchIndex, Region
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Rung
from adaslide.package.envelope import Envelope, TileParams
from adaslide.package.reader import PackageReader
from adaslide.pipeline.restore import Restoration
from adaslide.ports.payloads import SourceTileDecoder
from adaslide.ports.pyramid import PyramidFacts, PyramidWriter, ReducedLevel, SourceLayout
from adaslide.ports.slides import EncodedTile

TIFF_SUFFIXES = (".tif", ".tiff")
BAND_PIXELS = 16_000_000
"""Pixels restored at once while a pyramid is written: 48 MB."""
REDUCED_STEP = 4
REDUCED_UNTIL = 512
"""Reduced levels beside the source's own tiles: x4, x16, ... until both sides are at most this."""
MEASURED_PATCHES = 64
Progress = Callable[[int, int], None]
_TIFF_TILE_MULTIPLE = 16
"""Sides of TIFF tiles are multiples of 16 (TIFF 6.0, section 15)."""


@dataclass(frozen=True, slots=True)
class Exporter:
    """Writes what a package holds. ``decoder`` is the exact rung's codec."""

    reader: PackageReader
    restoration: Restoration
    decoder: SourceTileDecoder
    pyramids: PyramidWriter

    def export(
        self,
        out: Path,
        *,
        region: Region | None = None,
        downsample: int = 1,
        original: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Writes ``out`` whole or not at all; its suffix names the format (.tif .tiff .png .npy).

        ``region`` is in pixels of the slide shrunk by ``downsample``; None is all of it. ``original``
        gives the source's own tiles back, byte for byte, as level 0 of a TIFF. ``progress`` is told
        (patches done, patches in all) of a TIFF's level 0, where the work is.

        Returns ``format``, ``bytes``, ``width``, ``height``, ``passed_through_tiles`` and ``reencoded``:
        None where level 0 holds the source's tiles or a lossless format, else what the JPEG of the
        TIFF costs against the restored pixels (``psnr_mean``, ``psnr_min``, ``max_error``, ``n`` patches).

        Raises `InputError` for another suffix, `Conflict` where ``original`` is asked of a package that
        does not hold all of it, `RegionOutOfRange`, `StoreUnavailable`, and what restoring raises.
        """
        size = self.restoration.size_at(downsample)
        shown = region or Region(0, 0, size.width, size.height)
        suffix = out.suffix.lower()
        whole = region is None and downsample == 1
        if original and not (whole and suffix in TIFF_SUFFIXES):
            raise InputError("the source's own tiles are written whole, as .tif")
        if suffix not in (*TIFF_SUFFIXES, ".png", ".npy"):
            raise InputError("a file to write ends in .tif, .png or .npy")
        # Before any file exists: a region that cannot be read leaves nothing behind.
        pixels = None if suffix in TIFF_SUFFIXES else self.restoration.read(shown, downsample).pixels
        part = out.with_name(f".{uuid4().hex}{suffix}")
        passed, reencoded, count = 0, None, _Count(progress)
        try:
            if pixels is None:
                passed, reencoded = self._tiff(part, shown, downsample, count, original=original, whole=whole)
            elif suffix == ".png":
                self._png(part, pixels, downsample)
            else:
                np.save(part, pixels, allow_pickle=False)
            written = part.stat().st_size
            part.replace(out)
        except OSError as error:
            raise StoreUnavailable(f"the file cannot be written ({error.strerror})") from None
        finally:
            with suppress(OSError):
                part.unlink()
        return {
            "format": "original" if original else {".png": "png", ".npy": "npy"}.get(suffix, "tiff"),
            "bytes": written,
            "width": shown.width,
            "height": shown.height,
            "passed_through_tiles": passed,
            "reencoded": reencoded,
        }

    def _png(self, out: Path, pixels: Pixels, downsample: int) -> None:
        info = self.reader.info
        dots_per_inch = 25_400 / (info.mpp * downsample)
        Image.fromarray(pixels).save(out, "PNG", icc_profile=info.icc, dpi=(dots_per_inch, dots_per_inch))

    def _tiff(
        self, out: Path, shown: Region, downsample: int, count: "_Count", *, original: bool, whole: bool
    ) -> tuple[int, dict[str, Any] | None]:
        info = self.reader.info
        facts = PyramidFacts(shown.size, info.mpp * downsample, info.icc)
        layout = self._source_layout(count, required=original) if whole else None
        if layout is not None:
            return self.pyramids.write_source_tiles(out, facts, layout, self._reduced()), None
        self.pyramids.write_pixels(out, facts, self._bands(shown, downsample, count))
        return 0, self._measured(out, shown, downsample)

    def _bands(self, shown: Region, downsample: int, count: "_Count") -> Iterator[Pixels]:
        """``shown`` from top to bottom, in bands of whole rows of patches where they are not too large."""
        patch = max(1, self.reader.info.patch // downsample) if downsample < 16 else self.reader.info.patch
        columns = max(1, BAND_PIXELS // (patch * patch)) * patch
        top = shown.y
        rows = (shown.bottom - 1) // patch - top // patch + 1
        count.begin(rows * -(-shown.width // patch))
        while top < shown.bottom:
            bottom = min(shown.bottom, (top // patch + 1) * patch)
            band = np.empty((bottom - top, shown.width, 3), np.uint8)
            for left in range(shown.x, shown.right, columns):
                right = min(shown.right, left + columns)
                part = self.restoration.read(Region(left, top, right - left, bottom - top), downsample)
                band[:, left - shown.x : right - shown.x] = part.pixels
                count.add(-(-(right - left) // patch))
            yield band
            top = bottom

    def _reduced(self) -> list[ReducedLevel]:
        levels = []
        downsample = REDUCED_STEP
        while True:
            size = self.restoration.size_at(downsample)

            def read(region: Region, downsample: int = downsample) -> Pixels:
                return self.restoration.read(region, downsample).pixels

            levels.append(ReducedLevel(size, read))
            if max(size.width, size.height) <= REDUCED_UNTIL:
                return levels
            downsample *= REDUCED_STEP

    def _measured(self, path: Path, shown: Region, downsample: int) -> dict[str, Any]:
        """What the file's own JPEG costs, on patches spread evenly over ``shown``."""
        side = self.reader.info.patch
        corners = [(x, y) for y in range(0, shown.height, side) for x in range(0, shown.width, side)]
        chosen = corners[:: -(-len(corners) // MEASURED_PATCHES)]
        values, worst = [], 0
        for x, y in chosen:
            part = Region(x, y, min(side, shown.width - x), min(side, shown.height - y))
            expected = self.restoration.read(
                Region(shown.x + x, shown.y + y, part.width, part.height), downsample
            )
            error = np.abs(self.pyramids.read(path, part).astype(np.int16) - expected.pixels)
            values.append(_psnr(error))
            worst = max(worst, int(error.max()))
        return {
            "psnr_mean": round(float(np.mean(values)), 3),
            "psnr_min": round(float(np.min(values)), 3),
            "max_error": worst,
            "n": len(values),
        }

    def _source_layout(self, count: "_Count", *, required: bool) -> SourceLayout | None:
        """Level 0 in the source's tiles; without all of them None, or `Conflict` where it is ``required``."""
        decision = self.reader.maps.decision
        exact = decision["rung"] == Rung.EXACT
        if not exact.all():
            if not required:
                return None
            if not decision["source_bytes"].any():
                raise Conflict("this package's source had no tiles that could be kept")
            raise Conflict(f"not the original: {1 - exact.mean():.1%} of the patches are kept another way")
        payload = self.reader.payloads([PatchIndex(0, 0)])[0]
        params = Envelope.unpack(payload).params if payload else None
        if payload is None or not isinstance(params, TileParams):
            raise PackageError("patch 0, 0 is not the exact one that the decision map states")
        first = next((t for line in self.decoder.source_tiles(payload) for t in line if t is not None), None)
        if params.tile % _TIFF_TILE_MULTIPLE or first is None:
            if required:
                raise Conflict("the source's tiles are not such as a TIFF can hold")
            return None
        return SourceLayout(
            params.tile, first.rgb, first.tables, lambda: self._source_tiles(params.tile, first, count)
        )

    def _source_tiles(self, tile: int, first: EncodedTile, count: "_Count") -> Iterator[EncodedTile | None]:
        """Every source tile of level 0, row by row; a row of patches is held at once."""
        grid = self.reader.grid
        side = grid.patch // tile
        rows, cols = -(-grid.size.height // tile), -(-grid.size.width // tile)
        count.begin(len(grid))
        for patch_row in range(grid.rows):
            indices = [PatchIndex(patch_row, col) for col in range(grid.cols)]
            patches = [self._tiles_of(payload, side) for payload in self.reader.payloads(indices)]
            count.add(len(indices))
            for row in range(min(side, rows - patch_row * side)):
                line = [found for patch in patches for found in patch[row]][:cols]
                for found in line:
                    if found is not None and (found.tables, found.rgb) != (first.tables, first.rgb):
                        raise Conflict(
                            "the source's tiles do not share their tables: one TIFF cannot hold them"
                        )
                    yield found

    def _tiles_of(self, payload: bytes | None, side: int) -> list[list[EncodedTile | None]]:
        tiles = self.decoder.source_tiles(payload) if payload else []
        if len(tiles) != side or any(len(line) != side for line in tiles):
            raise PackageError("a patch does not hold the tiles that its map states")
        return tiles


class _Count:
    """How many patches were written, for whoever wants to know."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.done = self.total = 0

    def begin(self, total: int) -> None:
        """From the first patch on, also once more."""
        self.done, self.total = 0, total
        self.add(0)

    def add(self, patches: int) -> None:
        self.done += patches
        if self._progress is not None:
            self._progress(self.done, self.total)


def _psnr(error: npt.NDArray[np.int16]) -> float:
    mean_square = float(np.mean(np.square(error, dtype=np.float64)))
    return 10 * math.log10(255**2 / mean_square) if mean_square else PSNR_IDENTICAL
