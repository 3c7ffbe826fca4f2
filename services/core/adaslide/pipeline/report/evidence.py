"""What the page shows, as plain values: read from the package, measured against the slide if given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adaslide.domain.decision import PatchFlag
from adaslide.domain.fidelity import Fidelity, Floors
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import LOSSLESS_RUNGS, Rung
from adaslide.package.reader import PackageReader
from adaslide.package.records import PatchMaps
from adaslide.pipeline.maps import RUNG_COLOURS
from adaslide.pipeline.report.pictures import jpeg_uri
from adaslide.pipeline.restore import Restoration
from adaslide.ports.slides import SlideReader

Baseline = Callable[[Pixels], tuple[int, Fidelity]]
"""One setting for every patch: (h, w, 3) original pixels to its encoded bytes and its fidelity."""

THIS_PACKAGE = "this package"
WORST = 12
BASELINE_PATCHES = 64
"""Baselines are tried on at most so many patches, evenly spread: a slide has tens of thousands."""
BINS = 24


@dataclass(frozen=True, slots=True)
class RungShare:
    """A rung's patches and payload bytes."""

    label: str
    colour: str
    patches: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of a metric over the lossy patches, in equal bins from ``low`` to ``high``."""

    metric: str
    low: float
    high: float
    counts: tuple[int, ...]
    floor: float


@dataclass(frozen=True, slots=True)
class PatchCard:
    """One patch near its floors; ``before`` is None when the slide was not given."""

    row: int
    col: int
    rung: str
    bytes: int
    source_bytes: int
    fidelity: dict[str, float]
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class BaselineRow:
    """One way to keep the same patches; ``below`` counts those that miss a floor."""

    name: str
    bytes: int
    worst: dict[str, float]
    below: int


def rung_shares(facts: Mapping[str, Any]) -> list[RungShare]:
    """Rungs that occur, in the legend's order."""
    patches, sizes = facts["patches"]["by_rung"], facts["patches"]["bytes_by_rung"]
    return [
        RungShare(rung.label, colour, patches[rung.label], sizes[rung.label])
        for rung, colour in RUNG_COLOURS.items()
        if rung.label in patches
    ]


def lossy_patches(maps: PatchMaps) -> npt.NDArray[np.bool_]:
    """(rows, cols): patches whose pixels were changed and judged: neither glass nor bit-exact."""
    kept = [Rung.BACKGROUND, *LOSSLESS_RUNGS]
    lossy: npt.NDArray[np.bool_] = ~np.isin(maps.decision["rung"], kept)
    return lossy


def histograms(maps: PatchMaps, floors: Mapping[str, float]) -> list[Histogram]:
    """One for each metric that can have a floor; none where no patch is lossy."""
    lossy, made = lossy_patches(maps), []
    for metric in Floors().as_dict():
        values = maps.quality[metric][lossy]
        values = values[np.isfinite(values)]
        if values.size:
            floor = floors.get(metric, 0.0)
            low = np.floor(min(values.min(), floor or 1.0) * 20 - 0.5) / 20
            counts, _ = np.histogram(values, BINS, (low, 1.0))
            made.append(Histogram(metric, float(low), 1.0, tuple(int(c) for c in counts), floor))
    return made


def headroom(maps: PatchMaps, floors: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """(rows, cols): the least distance of a patch to any of its floors; SSIM itself where there is
    no floor; infinite for patches that are not lossy."""
    active = {name: floor for name, floor in floors.items() if floor > 0} or {"ssim": 0.0}
    distance = np.stack([maps.quality[name] - floor for name, floor in active.items()])
    distance = np.where(np.isfinite(distance), distance, np.inf).min(axis=0)
    return np.where(lossy_patches(maps), distance, np.inf)


def worst_patches(
    package: PackageReader, restoration: Restoration, source: SlideReader | None, floors: Mapping[str, float]
) -> list[PatchCard]:
    """At most `WORST` lossy patches, the one nearest to a floor first."""
    maps = package.maps
    distance = headroom(maps, floors)
    cards = []
    for flat in np.argsort(distance, axis=None, kind="stable")[:WORST]:
        row, col = (int(i) for i in np.unravel_index(flat, distance.shape))
        if not np.isfinite(distance[row, col]):
            break
        region = package.grid.region(PatchIndex(row, col))
        cards.append(
            PatchCard(
                row,
                col,
                Rung(int(maps.decision["rung"][row, col])).label,
                int(maps.decision["bytes"][row, col]),
                int(maps.decision["source_bytes"][row, col]),
                {name: float(maps.quality[name][row, col]) for name in Floors().as_dict()},
                jpeg_uri(source.read(region)) if source else None,
                jpeg_uri(restoration.read(region).pixels),
            )
        )
    return cards


def compare_baselines(
    package: PackageReader,
    source: SlideReader,
    baselines: Mapping[str, Baseline],
    floors: Mapping[str, float],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, list[BaselineRow]]:
    """The number of patches tried, and a row for the package and for each baseline, fewest bytes first.
    ``progress`` is told (patches done, patches in all).

    The same patches for all: those that hold tissue and could be read, at most `BASELINE_PATCHES`.
    The package's row counts payloads; index, overviews and metadata stand elsewhere on the page.
    """
    maps, limits = package.maps, Floors(**floors)
    corrupt = (maps.decision["flags"] & PatchFlag.CORRUPT) != 0
    places = np.argwhere((maps.decision["rung"] != Rung.BACKGROUND) & ~corrupt)
    spread = np.unique(np.linspace(0, len(places) - 1, min(BASELINE_PATCHES, len(places))).astype(int))
    chosen = [PatchIndex(int(row), int(col)) for row, col in places[spread]]
    own = [(int(maps.decision["bytes"][i.row, i.col]), maps.fidelity(i)) for i in chosen]
    tried: dict[str, list[tuple[int, Fidelity]]] = {THIS_PACKAGE: own} | {name: [] for name in baselines}
    for done, index in enumerate(chosen, 1):
        pixels = source.read(package.grid.region(index))
        for name, baseline in baselines.items():
            tried[name].append(baseline(pixels))
        if progress:
            progress(done, len(chosen))
    rows = [_baseline_row(name, results, limits) for name, results in tried.items() if results]
    return len(chosen), sorted(rows, key=lambda row: row.bytes)


def _baseline_row(name: str, results: list[tuple[int, Fidelity]], limits: Floors) -> BaselineRow:
    worst = {m: min(getattr(fidelity, m) for _, fidelity in results) for m in limits.as_dict()}
    below = sum(not limits.held_by(fidelity) for _, fidelity in results)
    return BaselineRow(name, sum(size for size, _ in results), worst, below)


def flattened(block: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested metadata as (dotted key, text) rows; long lists by their length."""
    rows = []
    for key, value in block.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += flattened(value, f"{name}.")
        elif isinstance(value, list | tuple) and (
            len(value) > 6 or any(isinstance(v, Mapping) for v in value)
        ):
            rows.append((name, f"{len(value)} entries"))
        elif isinstance(value, list | tuple):
            rows.append((name, ", ".join(map(str, value))))
        else:
            rows.append((name, "none" if value is None else str(value)))
    return rows
