"""One shard: read its patches, encode them in parallel, write one object and one sidecar.

The unit of retry: running it twice writes the same keys again and harms nothing. Where the slide is to reach
a target ratio, it holds each patch's cheapest step, and a survey of all steps goes beside the sidecar.
"""

import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np

from adaslide.domain.decision import PatchFlag
from adaslide.domain.errors import SlideCorrupt
from adaslide.domain.geometry import SHARD_PATCHES, PatchGrid, PatchIndex, ShardIndex
from adaslide.domain.pixels import Pixels, pad_to
from adaslide.domain.slide import TileLayout
from adaslide.package.levels import FIRST_OVERVIEW
from adaslide.package.records import PatchMaps
from adaslide.package.writer import write_shard
from adaslide.pipeline.encode_patch import EncodedPatch, PatchEncoder, PatchInput
from adaslide.pipeline.plan import CompressionPlan
from adaslide.pipeline.survey import PatchSurvey, write_survey
from adaslide.ports.objects import PutObject
from adaslide.ports.rungs import PatchSource
from adaslide.ports.slides import EncodedTile, SlideReader, SourceTiles

IN_FLIGHT = 8
"""Patches read ahead of the encoders: bounds memory whatever the number of workers' speed."""
RUNTIME = "runtime"
"""The sidecar's member for what ran the nets."""


def sidecar_key(shard: ShardIndex) -> str:
    """Where a shard's facts wait for `finalize`, in the job's scratch."""
    return f"shards/{shard.row}_{shard.col}.npz"


def compress_shard(
    plan: CompressionPlan,
    shard: ShardIndex,
    reader: SlideReader,
    encoder: PatchEncoder,
    executor: Executor,
    package: PutObject,
    scratch: PutObject,
    *,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> bool:
    """Writes the shard's object into ``package`` and its sidecar, with the survey if one is made, into
    ``scratch``.

    ``progress`` is told how many more patches are done. Returns False, having written nothing, when
    ``cancelled`` says so between patches. Raises what reading and storing raise.
    """
    grid = plan.grid
    block = plan.patch // FIRST_OVERVIEW
    maps = PatchMaps.empty(SHARD_PATCHES, SHARD_PATCHES)
    overview = np.full((SHARD_PATCHES * block, SHARD_PATCHES * block, 3), plan.fill, np.uint8)
    payloads: dict[PatchIndex, bytes] = {}
    surveys: list[PatchSurvey] = []
    for encoded in _encoded(plan, shard, reader, encoder, executor):
        row = encoded.outcome.index.row - shard.row * SHARD_PATCHES
        col = encoded.outcome.index.col - shard.col * SHARD_PATCHES
        maps.record(row, col, encoded.outcome)
        overview[row * block : (row + 1) * block, col * block : (col + 1) * block] = encoded.overview
        payloads[encoded.outcome.index] = encoded.outcome.payload
        if encoded.survey:
            surveys.append(encoded.survey)
        if progress:
            progress(1)
        if cancelled and cancelled():
            return False
    write_shard(package, 0, shard, payloads)
    if surveys:
        write_survey(scratch, shard, surveys)
    rows = min(SHARD_PATCHES, grid.rows - shard.row * SHARD_PATCHES)
    cols = min(SHARD_PATCHES, grid.cols - shard.col * SHARD_PATCHES)
    corner = overview[: rows * block, : cols * block]
    scratch.put(sidecar_key(shard), sidecar(maps.corner(rows, cols), corner, encoder.runtime))
    return True


def _encoded(
    plan: CompressionPlan, shard: ShardIndex, reader: SlideReader, encoder: PatchEncoder, executor: Executor
) -> Iterator[EncodedPatch]:
    encode = encoder.encode if plan.target_ratio is None else encoder.survey
    waiting: deque[Future[EncodedPatch]] = deque()
    try:
        for index in plan.grid.patches_of(shard):
            at = index.row, index.col
            on_tissue, barred = bool(plan.tissue[at] > 0), PatchFlag(int(plan.barred[at]))
            patch = read_patch(reader, plan.grid, plan.facts.tiles, index, on_tissue=on_tissue, barred=barred)
            waiting.append(executor.submit(encode, patch))
            if len(waiting) >= IN_FLIGHT:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def read_patch(
    reader: SlideReader,
    grid: PatchGrid,
    layout: TileLayout | None,
    index: PatchIndex,
    *,
    on_tissue: bool = True,
    barred: PatchFlag = PatchFlag.NONE,
) -> PatchInput:
    """The patch's pixels, edge replicated, and the source tiles under it, which lie as ``layout`` says.

    A patch that cannot be read is no error here: its bytes may still be kept.
    """
    region, side = grid.region(index), grid.patch
    tiles = _tiles(reader, layout, side, index)
    pixels: Pixels
    try:
        pixels, readable = pad_to(reader.read(region), side, side), True
    except SlideCorrupt:
        pixels, readable = np.zeros((side, side, 3), np.uint8), False
    return PatchInput(
        index,
        PatchSource(pixels, region.width, region.height, tiles, side // len(tiles) if tiles else 0),
        readable,
        on_tissue,
        source_bytes=sum(len(tile.data) for row in tiles for tile in row if tile),
        barred=barred,
    )


def _tiles(
    reader: SlideReader, layout: TileLayout | None, patch: int, index: PatchIndex
) -> tuple[tuple[EncodedTile | None, ...], ...]:
    if layout is None or patch % layout.tile or not isinstance(reader, SourceTiles):
        return ()
    side = patch // layout.tile
    top, left = index.row * side, index.col * side
    try:
        return tuple(
            tuple(
                reader.tile(row, col) if row < layout.rows and col < layout.cols else None
                for col in range(left, left + side)
            )
            for row in range(top, top + side)
        )
    except SlideCorrupt:
        return ()


def sidecar(maps: PatchMaps, overview: Pixels, runtime: str | None = None) -> bytes:
    """A shard's facts, as `read_sidecar` gives them."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"overview": overview, **maps.decision, **maps.quality}
    if runtime is not None:
        arrays[RUNTIME] = np.array(runtime)
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_sidecar(data: bytes) -> tuple[PatchMaps, Pixels, str | None]:
    """What `compress_shard` left: the shard's maps, its part of the x16 overview, and the runtime of the nets
    that measured it, None for the canonical one."""
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return PatchMaps.of(stored), stored["overview"], str(stored[RUNTIME]) if RUNTIME in stored else None
