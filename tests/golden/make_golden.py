"""Builds the golden packages of format version 1 into ``tests/golden/v1``.

Run once per format version, never again: a golden package that is rebuilt proves nothing.
    .venv/bin/python tests/golden/make_golden.py
"""

import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import tifffile

from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.codec_runtime import decode_payload, rung_codecs
from adaslide.domain.decision import PatchFlag, PatchOutcome
from adaslide.domain.fidelity import IDENTICAL, Fidelity
from adaslide.domain.geometry import PatchGrid, PatchIndex, Size
from adaslide.domain.pixels import Pixels, pad_to, shrink
from adaslide.domain.rung import Codec, RestorerKind, Rung, RungSpec
from adaslide.package.layout import FORMAT_VERSION, sealed
from adaslide.package.levels import levels_of
from adaslide.package.reader import PackageReader
from adaslide.package.records import PatchMaps
from adaslide.package.shard import crc32c
from adaslide.package.writer import write_icc, write_level, write_maps, write_root, write_shard
from adaslide.ports.rungs import PatchSource
from adaslide.ports.slides import EncodedTile

HERE = Path(__file__).parent
SAMPLE = HERE.parent.parent / "samples" / "CMU-1-Small-Region.svs"
MPP = 0.499
FILL = 243
TILE = 240
BICUBIC = RestorerKind.BICUBIC

LADDER = (
    RungSpec(Rung.FINE, Codec.AVIF, 1, 40),
    RungSpec(Rung.X4, Codec.AVIF, 4, 60, restorer=BICUBIC),
    RungSpec(Rung.X2, Codec.AVIF, 2, 50, restorer=BICUBIC),
    RungSpec(Rung.LOSSLESS, Codec.JPEGXL),
    RungSpec(Rung.PAPER_KEEP, Codec.JPEG, 1, 75),
    RungSpec(Rung.PAPER_COMPRESS, Codec.PNG, 4, restorer=BICUBIC),
    RungSpec(Rung.EXACT),
    RungSpec(Rung.BACKGROUND),
)


class Sample:
    """The sample's tiles and pixels from tile (``row``, ``col``) on."""

    def __init__(self, row: int, col: int) -> None:
        self.row, self.col = row, col

    def tiles(self, index: PatchIndex, side: int, size: Size) -> tuple[tuple[EncodedTile | None, ...], ...]:
        with tifffile.TiffFile(SAMPLE) as tiff:
            page = tiff.pages[0]
            file = tiff.filehandle
            rows, cols = (
                range(index.row * side, (index.row + 1) * side),
                range(index.col * side, (index.col + 1) * side),
            )

            def tile(row: int, col: int) -> EncodedTile | None:
                if row * TILE >= size.height or col * TILE >= size.width:
                    return None
                number = (self.row + row) * 10 + self.col + col
                file.seek(page.dataoffsets[number])
                return EncodedTile(file.read(page.databytecounts[number]), page.jpegtables, True)

            return tuple(tuple(tile(row, col) for col in cols) for row in rows)


def _payload(spec: RungSpec, source: PatchSource) -> bytes:
    return rung_codecs()[spec.rung].encode(source, spec)


def _texture(grid: PatchGrid, index: PatchIndex) -> Pixels:
    """Coloured ramps that differ from patch to patch: pixels known without any codec."""
    y, x = np.indices((grid.patch, grid.patch))
    base = index.row * 37 + index.col * 11
    planes = (base + 3 * x, base + 5 * y, base + x + y)
    return np.stack([p % 256 for p in planes], axis=2).astype(np.uint8)


def _write(
    name: str,
    size: Size,
    patch: int,
    payloads: dict[PatchIndex, bytes],
    icc: bytes | None = None,
    source_bytes: int = 9_000,
) -> dict:
    folder = HERE / "v1" / f"{name}.zarr"
    shutil.rmtree(folder, ignore_errors=True)
    store = FilesystemStore(folder)
    grid = PatchGrid(size, patch)
    levels = levels_of(size, patch)
    picture = np.full((grid.rows * patch, grid.cols * patch, 3), FILL, np.uint8)
    maps = PatchMaps.empty(grid.rows, grid.cols)
    for shard in grid.shards():
        own = {index: payloads.get(index, b"") for index in grid.patches_of(shard)}
        write_shard(store, 0, shard, own)
        for index, payload in own.items():
            y, x = index.row * patch, index.col * patch
            pixels = decode_payload(payload, patch) if payload else np.full((patch, patch, 3), FILL, np.uint8)
            picture[y : y + patch, x : x + patch] = pixels
            rung = Rung(payload[3]) if payload else Rung.BACKGROUND
            lossless = rung in (Rung.EXACT, Rung.LOSSLESS)
            fidelity = IDENTICAL if lossless else Fidelity(0.9, 0.8, 0.95, 38.5, 1.25, 17.0)
            crc = int.from_bytes(crc32c(pixels.tobytes()), "little")
            flags = PatchFlag.NONE
            outcome = PatchOutcome(
                index, rung, 0, math.nan, flags, fidelity, payload, crc, 1, 9 if rung is Rung.EXACT else 0
            )
            maps.record(index.row, index.col, outcome)
    write_level(store, levels[0], patch, FILL)
    for level in levels[1:]:
        side = level.downsample * patch
        shape = -(-picture.shape[0] // side) * side, -(-picture.shape[1] // side) * side
        low = shrink(pad_to(picture, *shape), level.downsample)
        overview = PatchGrid(level.size, patch)
        chunks = {}
        for index in (i for s in overview.shards() for i in overview.patches_of(s)):
            y, x = index.row * patch, index.col * patch
            source = PatchSource(low[y : y + patch, x : x + patch], patch, patch)
            chunks[index] = _payload(LADDER[3], source)
        write_level(store, level, patch, FILL, chunks)
    write_maps(store, maps)
    if icc:
        write_icc(store, icc)
    write_root(store, size=size, patch=patch, mpp=MPP, attributes={"profile": {"id": "golden@1"}})
    reader = PackageReader(FilesystemStore(folder))
    pixels = picture[: size.height, : size.width]
    return {
        "size": [size.width, size.height],
        "patch": patch,
        "pixels_sha256": hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(),
        "rungs": reader.maps.decision["rung"].tolist(),
        "psnr_mean": float(reader.maps.quality["psnr"].mean()),
    }


def rungs() -> dict:
    """Every rung once, patches of one source tile, the last row and column reaching beyond the slide."""
    size, patch = Size(900, 650), TILE
    grid, sample = PatchGrid(size, patch), Sample(4, 4)
    payloads = {}
    for number, spec in enumerate(LADDER):
        index = PatchIndex(*divmod(number, grid.cols))
        tiles = sample.tiles(index, 1, size)
        pixels = decode_payload(
            _payload(LADDER[6], PatchSource(_blank(patch), patch, patch, tiles, TILE)), patch
        )
        payloads[index] = _payload(spec, PatchSource(pixels, patch, patch, tiles, TILE))
    return _write("rungs", size, patch, payloads, icc=bytes(range(256)) * 2)


def exact() -> dict:
    """Patches of 2 x 2 source tiles, some of which lie outside the slide."""
    size, patch = Size(700, 500), 2 * TILE
    grid, sample = PatchGrid(size, patch), Sample(6, 2)
    payloads = {
        index: _payload(
            LADDER[6], PatchSource(_blank(patch), patch, patch, sample.tiles(index, 2, size), TILE)
        )
        for shard in grid.shards()
        for index in grid.patches_of(shard)
    }
    return _write("exact", size, patch, payloads)


def shards() -> dict:
    """Several shards and two overviews, most chunks absent, in patches of 16 px."""
    size, patch = Size(600, 299), 16
    grid = PatchGrid(size, patch)
    wanted = [
        PatchIndex(r, c) for r, c in ((0, 0), (0, 1), (0, 2), (3, 15), (3, 16), (15, 20), (16, 20), (18, 37))
    ]
    payloads = {i: _payload(LADDER[3], PatchSource(_texture(grid, i), patch, patch)) for i in wanted}
    return _write("shards", size, patch, payloads, source_bytes=0)


def future() -> None:
    """The root of a package that a later version of the format wrote."""
    root = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"adaslide": {"format": FORMAT_VERSION + 1, "novelty": True}},
    }
    path = HERE / "future" / "zarr.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(sealed(root))


def _blank(patch: int) -> Pixels:
    return np.zeros((patch, patch, 3), np.uint8)


def main() -> None:
    future()
    expected = {"rungs": rungs(), "exact": exact(), "shards": shards()}
    (HERE / "v1" / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
