"""Patches that a restorer made, close enough to see what it made: a window of each, pixel by pixel."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from adaslide.domain.geometry import PatchIndex, Region
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Rung
from adaslide.package.reader import PackageReader
from adaslide.pipeline.made_with import BICUBIC
from adaslide.pipeline.report.pictures import jpeg_uri
from adaslide.pipeline.restore import Restoration
from adaslide.ports.slides import SlideReader

SHOWN = 8
"""Patches, but one for every restorer and rung where these are more."""
TRIED = 32
"""Patches of a restorer and rung that are looked at: where those with most to see are glass, all are."""
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
    rung: str
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
    """Of the patches in ``restorers`` about `SHOWN`, those restored by nets first.

    The restorers of each rung take turns, so that everyone is shown whose patches are not all glass.
    """
    groups = by_restorer(package, restorers)
    queues = [_cards(package, restoration, source, name, indices) for (name, _), indices in groups.items()]
    cards = islice(_in_turns(queues), max(SHOWN, len(groups)))
    return sorted(
        cards, key=lambda card: (card.restorer == BICUBIC, card.restorer, card.rung, card.row, card.col)
    )


def by_restorer(
    package: PackageReader, restorers: Mapping[PatchIndex, str]
) -> dict[tuple[str, Rung], list[PatchIndex]]:
    """The patches of every restorer and rung, nets before bicubic, in reading order."""
    rungs = package.maps.decision["rung"]
    groups: dict[tuple[str, Rung], list[PatchIndex]] = {}
    for index in sorted(restorers, key=lambda index: (index.row, index.col)):
        groups.setdefault((restorers[index], Rung(int(rungs[index.row, index.col]))), []).append(index)
    return dict(sorted(groups.items(), key=lambda group: (group[0][0] == BICUBIC, group[0])))


def spread(package: PackageReader, indices: list[PatchIndex]) -> list[PatchIndex]:
    """All of ``indices``, reading order, so that the first few lie all over the slide and are not glass.

    First, of each of `SHOWN` runs, the patch with the most texture: a run, one far from it, one between
    them, and so on. Then the others, the most texture first. The source's JPEG tiles are all of one
    quality: the more bytes, the more there is to see. Without them the payloads tell.
    """
    decision = package.maps.decision
    weight = decision["source_bytes" if decision["source_bytes"].any() else "bytes"]

    def texture(index: PatchIndex) -> int:
        return int(weight[index.row, index.col])

    runs = np.array_split(np.arange(len(indices)), min(SHOWN, len(indices)))
    best = [max((indices[i] for i in run), key=texture) for run in runs]
    first = [best[i] for i in sorted(range(len(best)), key=lambda i: f"{i:03b}"[::-1])]
    return first + sorted(
        set(indices) - set(first), key=lambda index: (-texture(index), index.row, index.col)
    )


def _cards(
    package: PackageReader,
    restoration: Restoration,
    source: SlideReader,
    restorer: str,
    indices: list[PatchIndex],
) -> Iterator[RestoredCard]:
    """Those of ``indices`` that are not glass, in the order of `spread`."""
    for index in spread(package, indices)[:TRIED]:
        if card := _card(package, restoration, source, index, restorer):
            yield card


def _in_turns(queues: list[Iterator[RestoredCard]]) -> Iterator[RestoredCard]:
    """One of each queue, then the next of each, until all are empty."""
    while queues:
        left = []
        for queue in queues:
            if card := next(queue, None):
                left.append(queue)
                yield card
        queues = left


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
        Rung(int(package.maps.decision["rung"][index.row, index.col])).label,
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
