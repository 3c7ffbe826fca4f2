"""Pixels out of a package: any region at any power-of-two downsample, and where they come from."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from adaslide.addressing.levels import LevelRead, level_read
from adaslide.domain.errors import RegionOutOfRange
from adaslide.domain.geometry import PatchGrid, PatchIndex, Region, Size
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.rung import PROVENANCE, Provenance
from adaslide.package.envelope import Envelope, ImageParams
from adaslide.package.reader import PackageReader
from adaslide.pipeline.made_with import BICUBIC, restorer_of
from adaslide.ports.payloads import PayloadDecoder

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


class Restoration:
    """Reads restored pixels. Safe for use by several threads at once.

    ``decoder`` is `adaslide.codec_runtime` in every service; an ``executor`` of threads decodes
    the patches of one call side by side.
    """

    def __init__(
        self, reader: PackageReader, decoder: PayloadDecoder, executor: Executor | None = None
    ) -> None:
        self._reader = reader
        self._decoder = decoder
        self._executor = executor
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
        how = self._how(downsample)
        if not region.inside(self._reader.info.size.shrunk(downsample)):
            raise RegionOutOfRange("the region leaves the slide")
        if region.size.pixels > MAX_PIXELS:
            raise RegionOutOfRange(f"a region has at most {MAX_PIXELS} pixels, not {region.size.pixels}")
        grid = self._reader.level_grid(how.level)
        pixels = np.empty((region.height, region.width, 3), np.uint8)
        kinds: set[Provenance] = set()
        weights: set[str] = set()
        for index, patch in self._patches(grid, region, how):
            _lay(pixels, region, patch.pixels, _origin(grid, index, how))
            kinds.add(patch.provenance)
            weights |= patch.weights
        provenance = kinds.pop() if len(kinds) == 1 else Provenance.MIXED
        return RestoredRegion(pixels, provenance, frozenset(weights))

    def _how(self, downsample: int) -> LevelRead:
        size = self._reader.info.size
        if downsample >= 2 * max(size.width, size.height):
            raise RegionOutOfRange(f"shrunk by {downsample} the slide is less than a pixel")
        return level_read(downsample, self._stored)

    def _patches(
        self, grid: PatchGrid, region: Region, how: LevelRead
    ) -> Iterator[tuple[PatchIndex, RestoredRegion]]:
        factor = how.preview * how.shrink
        size = grid.size
        x, y = region.x * factor, region.y * factor
        under = Region(
            x, y, min(region.width * factor, size.width - x), min(region.height * factor, size.height - y)
        )
        indices = list(grid.covering(under))
        for start in range(0, len(indices), BATCH_PATCHES):
            batch = indices[start : start + BATCH_PATCHES]
            payloads = self._reader.payloads(batch, how.level)
            run = self._executor.map if self._executor else map
            patches: Iterable[RestoredRegion] = run(
                self._patch, payloads, (grid.region(index) for index in batch), (how for _ in batch)
            )
            yield from zip(batch, patches, strict=True)

    def _patch(self, payload: bytes | None, valid: Region, how: LevelRead) -> RestoredRegion:
        """One patch at ``how``, cut to its valid pixels (rounded up)."""
        info = self._reader.info
        height, width = -(-valid.height // how.preview), -(-valid.width // how.preview)
        weights: frozenset[str] = frozenset()
        if payload is None:
            pixels = np.full((height, width, 3), info.fill, np.uint8)
            provenance = Provenance.BACKGROUND
        else:
            envelope = Envelope.unpack(payload)
            provenance = _provenance(envelope, how.preview)
            if how.preview == 1:
                weights = self._weights(envelope)
            decoded = (
                self._decoder.decode_payload(payload, info.patch)
                if how.preview == 1
                else self._decoder.preview_payload(payload, info.patch, how.preview)
            )
            pixels = decoded[:height, :width]
        return RestoredRegion(shrink(pixels, how.shrink), provenance, weights)

    def _weights(self, envelope: Envelope) -> frozenset[str]:
        restorer = restorer_of(envelope, self._reader.info.attributes)
        return frozenset() if restorer == BICUBIC else frozenset({restorer})


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
