"""Does a package keep its promise? Decoded again from its store, and measured again if the slide is there."""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adaslide.domain.decision import PatchFlag, Promise
from adaslide.domain.errors import Conflict, PackageError
from adaslide.domain.fidelity import METRICS, Floors
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.rung import LOSSLESS_RUNGS, Rung
from adaslide.package.envelope import Envelope
from adaslide.package.layout import ROOT_KEY
from adaslide.package.reader import PackageReader
from adaslide.pipeline.check_patch import PatchChecker, Remeasured
from adaslide.pipeline.compress_shard import IN_FLIGHT, read_patch
from adaslide.pipeline.finalize import objects_digest
from adaslide.pipeline.totals import restored_though_barred, violations
from adaslide.ports.objects import ReadStore
from adaslide.ports.slides import SlideReader

TOLERANCE = 1e-3
"""A remeasured metric may differ by this share of its stored value: float32 and another library build."""
NET_GREY_LEVELS = 3.0
"""A sample that a net restored may differ by this much on another processor, and its error with it."""


@dataclass(slots=True)
class VerifyReport:
    """What was checked, and every way in which the package breaks its promise."""

    patches: int = 0
    remeasured: int = 0
    source_tiles: int = 0
    source_tiles_identical: int = 0
    problems: list[str] = field(default_factory=list)
    below_floor: list[tuple[int, int]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems and not self.below_floor

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "patches": self.patches,
            "violations": len(self.below_floor),
            "below_floor": [list(place) for place in self.below_floor],
            "problems": self.problems,
            "remeasured": self.remeasured,
            "source_tiles": self.source_tiles,
            "source_tiles_identical": self.source_tiles_identical,
        }


def verify(
    store: ReadStore,
    package: PackageReader,
    checker: PatchChecker,
    executor: Executor,
    slide: SlideReader | None = None,
) -> VerifyReport:
    """Checks every object and patch of ``package``, read from ``store``.

    With ``slide`` every patch is measured against the original again and every exact tile compared byte
    by byte. Raises `Conflict` when ``slide`` is not the one the package was made of; what is wrong with
    the package is reported, not raised.
    """
    report = VerifyReport()
    block = package.info.attributes
    if slide and slide.facts.source_sha256 != block["source"]["sha256"]:
        raise Conflict("this is not the slide that the package was made of")
    keys = sorted(key for key, _ in store.list() if key != ROOT_KEY)
    if objects_digest(store, keys) != block["certificate"]["digest"]:
        report.problems.append("the objects are not those that the certificate names")
    # The first packages have one set of floors for all patches.
    promise = Promise(Floors(**block["floors"]), Floors(**block.get("barred_floors", block["floors"])))
    try:
        report.below_floor += [(i.row, i.col) for i in violations(package.maps, promise)]
        report.problems += [
            f"patch {i.row}, {i.col} is restored and must not be"
            for i in restored_though_barred(package.maps)
        ]
    except PackageError as error:
        report.problems.append(error.message)
        return report
    if slide:
        _against(package, checker, executor, slide, promise, report)
    else:
        _pixels_only(package, checker, executor, report)
    return report


def _pixels_only(
    package: PackageReader, checker: PatchChecker, executor: Executor, report: VerifyReport
) -> None:
    for shard in package.grid.shards():
        indices = list(package.grid.patches_of(shard))
        try:
            payloads = package.payloads(indices)
            found = list(executor.map(checker.crc32c, payloads))
        except PackageError as error:
            report.problems.append(error.message)
            continue
        _check_rungs(package, indices, payloads, report)
        for index, crc in zip(indices, found, strict=True):
            _check_pixels(package, index, crc, report)


def _check_rungs(
    package: PackageReader, indices: list[PatchIndex], payloads: list[bytes | None], report: VerifyReport
) -> None:
    """The rung that the map tells is the one that the payload is restored by."""
    for index, payload in zip(indices, payloads, strict=True):
        rung = Rung.BACKGROUND if payload is None else Envelope.unpack(payload).rung
        if rung != package.maps.decision["rung"][index.row, index.col]:
            report.problems.append(f"patch {index.row}, {index.col} is kept as {rung.label}, not as told")


def _check_pixels(package: PackageReader, index: PatchIndex, crc: int, report: VerifyReport) -> None:
    report.patches += 1
    if crc != package.maps.decision["pixels_crc32c"][index.row, index.col]:
        report.problems.append(f"patch {index.row}, {index.col} does not restore to what was measured")


def _against(
    package: PackageReader,
    checker: PatchChecker,
    executor: Executor,
    slide: SlideReader,
    promise: Promise,
    report: VerifyReport,
) -> None:
    for index, result in _remeasured(package, checker, executor, slide, report):
        _check_pixels(package, index, result.pixels_crc32c, report)
        report.source_tiles += result.tiles
        report.source_tiles_identical += result.tiles_equal
        if result.tiles_equal != result.tiles:
            report.problems.append(f"patch {index.row}, {index.col}: a tile is not the source's own")
        at = index.row, index.col
        flags = int(package.maps.decision["flags"][at])
        if flags & PatchFlag.CORRUPT:
            continue
        report.remeasured += 1
        rung = Rung(int(package.maps.decision["rung"][at]))
        if rung in LOSSLESS_RUNGS and result.fidelity.max_error:
            report.problems.append(f"patch {index.row}, {index.col} is called original and is not")
        if rung is not Rung.BACKGROUND and promise.of(flags).violated_by(result.fidelity):
            report.below_floor.append((index.row, index.col))
        stored = package.maps.fidelity(index)
        for metric in METRICS:
            told, found = getattr(stored, metric), getattr(result.fidelity, metric)
            if np.isfinite(told) and not agree(metric, told, found, by_net=result.by_net):
                report.problems.append(f"patch {index.row}, {index.col}: {metric} is {found}, not {told}")


def agree(metric: str, told: float, found: float, *, by_net: bool) -> bool:
    """Whether ``found`` may be another machine's measurement of what was ``told``."""
    if metric == "max_error" and by_net:
        return abs(told - found) <= NET_GREY_LEVELS
    return abs(told - found) <= TOLERANCE * max(1.0, abs(found))


def _remeasured(
    package: PackageReader,
    checker: PatchChecker,
    executor: Executor,
    slide: SlideReader,
    report: VerifyReport,
) -> Iterator[tuple[PatchIndex, Remeasured]]:
    for shard in package.grid.shards():
        indices = list(package.grid.patches_of(shard))
        for start in range(0, len(indices), IN_FLIGHT):
            batch = indices[start : start + IN_FLIGHT]
            try:
                payloads = package.payloads(batch)
            except PackageError as error:
                report.problems.append(error.message)
                continue
            _check_rungs(package, batch, payloads, report)
            sources = [read_patch(slide, package.grid, slide.facts.tiles, index).source for index in batch]
            yield from zip(batch, executor.map(checker.remeasure, payloads, sources), strict=True)
