"""Patches that a restorer made, close enough to see what it made: a window of each, pixel by pixel."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaslide.domain.geometry import PatchIndex, Region
from adaslide.domain.pixels import Pixels
from adaslide.package.reader import PackageReader
from adaslide.pipeline.made_with import BICUBIC
from adaslide.pipeline.report.pictures import jpeg_uri
from adaslide.pipeline.restore import Restoration
from adaslide.ports.slides import SlideReader

SHOWN = 8
WINDOW = 256
"""Side of the window that is shown of a patch, px."""
STRIDE = 32
GLASS = 3.0
"""A window whose grey levels deviate less is glass: there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class RestoredCard:
    """A window of one restored patch; ``x``, ``y`` are its corner in pixels of level 0."""

    row: int
    col: int
    x: int
    y: int
    width: int
    height: int
    restorer: str
    bytes: int
    fidelity: dict[str, float]
    before: str
    after: str


def restored_patches(
    package: PackageReader,
    restoration: Restoration,
    source: SlideReader,
    restorers: Mapping[PatchIndex, str],
) -> list[RestoredCard]:
    """At most `SHOWN` of the patches in ``restorers``, in reading order, those restored by nets first;
    fewer where most are glass."""
    cards = (
        _card(package, restoration, source, index, restorers[index])
        for index in chosen_patches(package, restorers)
    )
    return [card for card in cards if card]


def chosen_patches(package: PackageReader, restorers: Mapping[PatchIndex, str]) -> list[PatchIndex]:
    """Those restored by nets, then, where they are fewer than `SHOWN`, others; spread over the slide."""
    nets = [index for index, name in restorers.items() if name != BICUBIC]
    others = [index for index, name in restorers.items() if name == BICUBIC]
    chosen = _spread(package, nets, SHOWN)
    return chosen + _spread(package, others, SHOWN - len(chosen))


def _spread(package: PackageReader, indices: list[PatchIndex], count: int) -> list[PatchIndex]:
    """Of ``count`` runs of ``indices``, reading order, each run's patch with the most texture.

    The source's JPEG tiles are all of one quality: the more bytes, the more there is to see. Without
    them the payloads tell.
    """
    if not indices or not count:
        return []
    decision = package.maps.decision
    known = bool(decision["source_bytes"].any())
    weight = decision["source_bytes"] if known else decision["bytes"]
    ordered = sorted(indices, key=lambda index: (index.row, index.col))
    runs = np.array_split(np.arange(len(ordered)), min(count, len(ordered)))
    return [max((ordered[i] for i in run), key=lambda index: weight[index.row, index.col]) for run in runs]


def _card(
    package: PackageReader, restoration: Restoration, source: SlideReader, index: PatchIndex, restorer: str
) -> RestoredCard | None:
    region = package.grid.region(index)
    original = source.read(region)
    y, x = textured_window(original)
    window = Region(region.x + x, region.y + y, min(WINDOW, region.width - x), min(WINDOW, region.height - y))
    shown = original[y : y + window.height, x : x + window.width]
    if shown.mean(axis=2).std() < GLASS:
        return None
    return RestoredCard(
        index.row,
        index.col,
        window.x,
        window.y,
        window.width,
        window.height,
        restorer,
        int(package.maps.decision["bytes"][index.row, index.col]),
        package.maps.fidelity(index).as_dict(),
        jpeg_uri(np.ascontiguousarray(shown)),
        jpeg_uri(restoration.read(window).pixels),
    )


def textured_window(pixels: Pixels) -> tuple[int, int]:
    """(y, x) of the `WINDOW` of (h, w, 3) ``pixels`` in which neighbouring pixels differ most."""
    grey = pixels.astype(np.int64).sum(axis=2)
    change = np.zeros_like(grey)
    change[:, 1:] += np.abs(np.diff(grey, axis=1))
    change[1:] += np.abs(np.diff(grey, axis=0))
    table: npt.NDArray[np.int64] = np.zeros((grey.shape[0] + 1, grey.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(change, axis=0), axis=1, out=table[1:, 1:])
    height, width = (min(WINDOW, side) for side in grey.shape)
    tops = np.unique([*range(0, grey.shape[0] - height + 1, STRIDE), grey.shape[0] - height])
    lefts = np.unique([*range(0, grey.shape[1] - width + 1, STRIDE), grey.shape[1] - width])
    y, x = np.meshgrid(tops, lefts, indexing="ij")
    sums = table[y + height, x + width] - table[y, x + width] - table[y + height, x] + table[y, x]
    best = int(sums.argmax())
    return int(y.flat[best]), int(x.flat[best])
