"""Pixels out of a package: any region at any power-of-two downsample, and where they come from."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from adaslide.addressing.levels import LevelRead, level_read
from adaslide.domain.errors import RegionOutOfRange
from adaslide.domain.geometry import PatchGrid, PatchIndex, Region, Size
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.rung import PROVENANCE, Provenance, Scale
from adaslide.package.envelope import Envelope, ImageParams
from adaslide.package.reader import PackageReader
from adaslide.pipeline.made_with import restorer_of
from adaslide.ports.cache import Cache
from adaslide.ports.payloads import PayloadDecoder

T = TypeVar("T")

MAX_PIXELS = 64_000_000
"""The most pixels one call returns: 192 MB."""

BATCH_PATCHES = 64
"""Payloads held at once: bounds memory whatever the region."""


@dataclass(frozen=True, slots=True)
class RestoredRegion:
    """``pixels`` (h, w, 3) uint8, and what the patches under them are.

    ``provenance`` is the one kind all those patches have, else `Provenance.MIXED` (glass beside
    tissue is mixed as well: it was not kept, and nothing here hides that). ``weights``: the nets
    that synthesised pixels of it, as ``fie-compact-x4@92b417ce0215``.
    """

    pixels: Pixels = field(repr=False)
    provenance: Provenance
    weights: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PatchView:
    """Chunk ``index`` of ``level``, decoded in full (``preview`` 1) or as its payload's preview."""

    level: int
    index: PatchIndex
    preview: int


@dataclass(frozen=True, slots=True)
class NetPatch:
    """A patch that waits for its net: ``low`` is the stored image, to be enlarged ``scale`` times by the
    weights whose sha256 is ``digest``; ``valid`` is the part of the result that lies inside the slide."""

    view: PatchView
    valid: Size
    low: Pixels = field(repr=False)
    scale: Scale
    digest: bytes
    weights: str


class Unfinished:
    """A region of which everything is laid down but the patches that ``nets`` waits for."""

    def __init__(self, region: Region, how: LevelRead, grid: PatchGrid) -> None:
        self._region = region
        self._how = how
        self._grid = grid
        self._pixels = np.empty((region.height, region.width, 3), np.uint8)
        self._kinds: set[Provenance] = set()
        self._weights: set[str] = set()
        self.nets: list[NetPatch] = []

    def lay(self, index: PatchIndex, patch: RestoredRegion) -> None:
        """Lays ``patch``, the chunk at ``index`` before it is shrunk, where the region shows it."""
        pixels = shrink(patch.pixels, self._how.shrink)
        _lay(self._pixels, self._region, pixels, _origin(self._grid, index, self._how))
        self._kinds.add(patch.provenance)
        self._weights |= patch.weights

    def result(self) -> RestoredRegion:
        """The region, once every one of ``nets`` has been laid."""
        provenance = next(iter(self._kinds)) if len(self._kinds) == 1 else Provenance.MIXED
        return RestoredRegion(self._pixels, provenance, frozenset(self._weights))


class Restoration:
    """Reads restored pixels. Safe for use by several threads at once.

    ``decoder`` is `adaslide.codec_runtime` in every service; an ``executor`` of threads decodes
    the patches of one call side by side; ``memory`` keeps decoded patches for the next region.
    """

    def __init__(
        self,
        reader: PackageReader,
        decoder: PayloadDecoder,
        executor: Executor | None = None,
        memory: Cache[PatchView, RestoredRegion] | None = None,
    ) -> None:
        self._reader = reader
        self._decoder = decoder
        self._executor = executor
        self._memory = memory
        self._stored = [level.downsample for level in reader.info.levels]

    def size_at(self, downsample: int) -> Size:
        """The slide's size in px at ``downsample``, rounded up."""
        self._how(downsample)
        return self._reader.info.size.shrunk(downsample)

    def read(self, region: Region, downsample: int = 1) -> RestoredRegion:
        """The pixels of ``region``, in pixels of the slide shrunk by ``downsample`` (a power of two).

        1 restores in full; 2, 4 and 8 come from the payloads' previews; 16 and more from the stored
        overviews. Raises `RegionOutOfRange` outside the slide or beyond `MAX_PIXELS`, `PackageError`,
        `ModelError`.
        """
        unfinished = self.begin(region, downsample)
        for start in range(0, len(unfinished.nets), BATCH_PATCHES):
            batch = unfinished.nets[start : start + BATCH_PATCHES]
            for net, patch in zip(batch, self._each(self._restore, batch), strict=True):
                unfinished.lay(net.view.index, patch)
        return unfinished.result()

    def begin(self, region: Region, downsample: int = 1) -> Unfinished:
        """`read` up to the nets: whoever calls this has them run and lays what they give.

        So that patches of many calls can wait for a net together, and no thread waits with them.
        """
        how = self._how(downsample)
        if not region.inside(self._reader.info.size.shrunk(downsample)):
            raise RegionOutOfRange("the region leaves the slide")
        if region.size.pixels > MAX_PIXELS:
            raise RegionOutOfRange(f"a region has at most {MAX_PIXELS} pixels, not {region.size.pixels}")
        grid = self._reader.level_grid(how.level)
        unfinished = Unfinished(region, how, grid)
        indices = list(_under(grid, region, how))
        for start in range(0, len(indices), BATCH_PATCHES):
            batch = [
                PatchView(how.level, index, how.preview) for index in indices[start : start + BATCH_PATCHES]
            ]
            for view, patch in self._patches(batch, grid):
                if isinstance(patch, NetPatch):
                    unfinished.nets.append(patch)
                else:
                    unfinished.lay(view.index, patch)
        return unfinished

    def remembered(self, view: PatchView) -> RestoredRegion | None:
        """The patch, if the memory has it."""
        return self._memory.get(view) if self._memory is not None else None

    def restored(self, net: NetPatch, pixels: Pixels) -> RestoredRegion:
        """The patch that ``pixels``, which its net made of ``net.low``, are; remembered from now on."""
        cut = pixels[: net.valid.height, : net.valid.width]
        return self._remember(net.view, RestoredRegion(cut, Provenance.RESTORED, frozenset({net.weights})))

    def _restore(self, net: NetPatch) -> RestoredRegion:
        restorer = self._decoder.restorer_with(net.scale, net.digest)
        return self.restored(net, restorer.restore([net.low])[0])

    def _how(self, downsample: int) -> LevelRead:
        size = self._reader.info.size
        if downsample >= 2 * max(size.width, size.height):
            raise RegionOutOfRange(f"shrunk by {downsample} the slide is less than a pixel")
        return level_read(downsample, self._stored)

    def _patches(
        self, views: list[PatchView], grid: PatchGrid
    ) -> Iterator[tuple[PatchView, RestoredRegion | NetPatch]]:
        missing = []
        for view in views:
            patch = self.remembered(view)
            if patch is None:
                missing.append(view)
            else:
                yield view, patch
        if missing:
            payloads = self._reader.payloads([view.index for view in missing], missing[0].level)
            regions = [grid.region(view.index).size for view in missing]
            yield from zip(missing, self._each(self._patch, missing, payloads, regions), strict=True)

    def _each(self, call: Callable[..., T], *arguments: Sequence[Any]) -> Iterator[T]:
        """``map``; by the executor's threads where there is more than one call: a lone patch would wait
        there behind those of a large region."""
        run = self._executor.map if self._executor and len(arguments[0]) > 1 else map
        return iter(run(call, *arguments))

    def _patch(self, view: PatchView, payload: bytes | None, valid: Size) -> RestoredRegion | NetPatch:
        """One patch at its view, cut to its ``valid`` pixels (rounded up)."""
        info, preview = self._reader.info, view.preview
        cut = valid.shrunk(preview)
        if payload is None:
            glass = np.full((cut.height, cut.width, 3), info.fill, np.uint8)
            return RestoredRegion(glass, Provenance.BACKGROUND)
        envelope = Envelope.unpack(payload)
        if preview > 1:
            decoded = self._decoder.preview_payload(payload, info.patch, preview)
        elif isinstance(params := envelope.params, ImageParams) and params.restorer_digest:
            low = self._decoder.stored_payload(payload, info.patch)
            weights = restorer_of(envelope, info.attributes)
            return NetPatch(view, cut, low, params.scale, params.restorer_digest, weights)
        else:
            decoded = self._decoder.decode_payload(payload, info.patch)
        patch = RestoredRegion(decoded[: cut.height, : cut.width], _provenance(envelope, preview))
        return self._remember(view, patch)

    def _remember(self, view: PatchView, patch: RestoredRegion) -> RestoredRegion:
        if self._memory is not None:
            patch.pixels.setflags(write=False)
            self._memory.put(view, patch)
        return patch


def _under(grid: PatchGrid, region: Region, how: LevelRead) -> Iterator[PatchIndex]:
    """The chunks of the level that ``region`` shows."""
    factor = how.preview * how.shrink
    size = grid.size
    x, y = region.x * factor, region.y * factor
    width, height = min(region.width * factor, size.width - x), min(region.height * factor, size.height - y)
    return grid.covering(Region(x, y, width, height))


def _provenance(envelope: Envelope, preview: int) -> Provenance:
    """What a payload's pixels are when its preview at ``preview`` is shown (1: restored in full).

    Pixels of a restored rung are the stored, measured-down ones from its own scale on; between that
    and full resolution they are interpolated, which is a preview.
    """
    kind = PROVENANCE[envelope.rung]
    if kind is not Provenance.RESTORED or preview == 1:
        return kind
    stored = isinstance(envelope.params, ImageParams) and envelope.params.scale <= preview
    return Provenance.LOSSY if stored else Provenance.PREVIEW


def _origin(grid: PatchGrid, index: PatchIndex, how: LevelRead) -> tuple[int, int]:
    factor = how.preview * how.shrink
    return index.col * grid.patch // factor, index.row * grid.patch // factor


def _lay(canvas: Pixels, region: Region, pixels: Pixels, origin: tuple[int, int]) -> None:
    """Copies the part of ``pixels``, whose first lies at ``origin``, that ``region`` shows."""
    x, y = origin
    shown = region.intersection(Region(x, y, pixels.shape[1], pixels.shape[0]))
    if shown is None:
        return
    canvas[shown.y - region.y : shown.bottom - region.y, shown.x - region.x : shown.right - region.x] = (
        pixels[shown.y - y : shown.bottom - y, shown.x - x : shown.right - x]
    )
