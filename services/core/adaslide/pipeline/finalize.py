"""The last step: the size that was asked for, overviews, maps and metadata, a full read-back, and only then
the root document."""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import repeat
from typing import Any

import numpy as np

from adaslide.domain.errors import ChecksumMismatch, QualityBelowFloor
from adaslide.domain.geometry import SHARD_PATCHES, PatchGrid, PatchIndex, Region, ShardIndex
from adaslide.domain.pixels import Pixels, pad_to, shrink
from adaslide.domain.rung import Codec, Rung, RungSpec
from adaslide.package.layout import ROOT_KEY, compact_json
from adaslide.package.levels import FIRST_OVERVIEW, OVERVIEW_STEP, levels_of
from adaslide.package.reader import PackageReader
from adaslide.package.records import PatchMaps
from adaslide.package.writer import write_icc, write_level, write_maps, write_root
from adaslide.pipeline.check_patch import PatchChecker
from adaslide.pipeline.compress_shard import read_sidecar, sidecar_key
from adaslide.pipeline.fit_ratio import Fitted, Scratch, fit_ratio
from adaslide.pipeline.plan import CompressionPlan
from adaslide.pipeline.totals import totals_of
from adaslide.ports.objects import ObjectStore, ReadStore
from adaslide.ports.rungs import PatchSource, RungCodec

OVERVIEW = RungSpec(Rung.FINE, Codec.AVIF, 1, 60, speed=6)
ROOT_SLACK = 64
"""More than all the numbers of the totals can grow by when one of them changes."""
CANONICAL = "onnxruntime"
"""What ran the nets of a shard unless its sidecar says otherwise."""
NO_DIGEST = "0" * 64
"""As long as any: in the place of the certificate's while a package is only weighed."""
LIBRARIES = ("imagecodecs", "simplejpeg", "pillow", "numpy", "onnxruntime", "openslide-bin")


class _Unpublished:
    """``store`` as it will be, the root document held back: what is not verified is not visible."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.root = b""

    def put(self, key: str, data: bytes) -> None:
        if key != ROOT_KEY:
            raise ValueError("only the root is written once everything else is")
        self.root = data

    def get(self, key: str) -> bytes:
        return self.root if key == ROOT_KEY else self.store.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self.store.get_range(key, start, length)

    def size(self, key: str) -> int | None:
        return self.store.size(key)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        return ((key, size) for key, size in self.store.list(prefix) if key != ROOT_KEY)

    def delete(self, key: str) -> None:
        self.store.delete(key)


def finalize(
    plan: CompressionPlan,
    package: ObjectStore,
    scratch: Scratch,
    checker: PatchChecker,
    executor: Executor,
    *,
    weights: Mapping[str, str],
    seconds: float,
    peak_rss_bytes: int,
) -> dict[str, Any]:
    """Makes the shards in ``package`` a package, and returns its totals (JSON of ``compress``).

    Everything is read back through the store and decoded by ``executor``'s processes; the root document is
    written last. ``scratch`` is where `compress_shard` left what belongs to a shard; ``weights`` are sha256
    by name of those the profile uses; ``seconds`` is what the shards took. Raises `PackageError` when the
    store does not give back what was written, `QualityBelowFloor` rather than publish a patch below its
    floor, and `RatioOutOfReach` where the plan's target ratio cannot be reached (`fit_ratio`).
    """
    maps, overview, runtimes = _collected(plan, scratch)
    _write_overviews(plan, package, overview, checker.codecs[Rung.FINE], executor)
    write_level(package, levels_of(plan.facts.size, plan.patch)[0], plan.patch, plan.fill)
    if plan.facts.icc:
        write_icc(package, plan.facts.icc)
    draft = _Unpublished(package)
    facts = {"weights": dict(weights), "seconds": round(seconds, 3), "peak_rss_bytes": peak_rss_bytes}
    root = _Root(plan, draft, checker, facts, runtimes)
    lambda_ = plan.profile.lambda_
    if plan.target_ratio is not None:
        maps, lambda_ = fit_ratio(plan, package, scratch, maps, root.weigh)
    write_maps(package, maps)
    totals = root.write(maps, lambda_)
    if totals["violations"]:
        raise QualityBelowFloor(f"{totals['violations']} patches are below a floor of {plan.profile.id}")
    _read_back(draft, maps, checker, executor)
    package.put(ROOT_KEY, draft.root)
    return totals


def _collected(plan: CompressionPlan, scratch: Scratch) -> tuple[PatchMaps, Pixels, set[str]]:
    grid = plan.grid
    block = plan.patch // FIRST_OVERVIEW
    maps = PatchMaps.empty(grid.rows, grid.cols)
    overview = np.empty((grid.rows * block, grid.cols * block, 3), np.uint8)
    runtimes = set()
    for shard in grid.shards():
        part, pixels, runtime = read_sidecar(scratch(shard).get(sidecar_key(shard)))
        runtimes.add(runtime or CANONICAL)
        top, left = shard.row * SHARD_PATCHES, shard.col * SHARD_PATCHES
        maps.paste(top, left, part)
        y, x = top * block, left * block
        overview[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
    size = plan.facts.size.shrunk(FIRST_OVERVIEW)
    return maps, overview[: size.height, : size.width], runtimes


def _write_overviews(
    plan: CompressionPlan, package: ObjectStore, overview: Pixels, codec: RungCodec, executor: Executor
) -> None:
    for level in levels_of(plan.facts.size, plan.patch)[1:]:
        grid = PatchGrid(level.size, plan.patch)
        payloads: dict[PatchIndex, bytes] = {}
        for row in range(grid.rows):  # at once: all would be another copy of the overview
            indices = [PatchIndex(row, col) for col in range(grid.cols)]
            sources = [_padded(overview, grid.region(index), plan.patch) for index in indices]
            coded = executor.map(codec.encode, sources, repeat(OVERVIEW))
            payloads.update(zip(indices, coded, strict=True))
        write_level(package, level, plan.patch, plan.fill, payloads)
        overview = shrink(overview, OVERVIEW_STEP)


def _padded(overview: Pixels, region: Region, patch: int) -> PatchSource:
    """The patch of ``overview`` at ``region``."""
    pixels = overview[region.y : region.bottom, region.x : region.right]
    return PatchSource(pad_to(pixels, patch, patch), region.width, region.height)


@dataclass(frozen=True, slots=True)
class _Root:
    """Writes the root document of ``draft``. ``run`` are facts of the totals; ``runtimes`` ran the nets."""

    plan: CompressionPlan
    draft: _Unpublished
    checker: PatchChecker
    run: dict[str, Any]
    runtimes: set[str]

    def weigh(self, fitted: Fitted) -> int:
        """The bytes of the package with these maps, which are written; nothing else is read."""
        write_maps(self.draft.store, fitted.maps)
        totals: dict[str, Any] = self.write(fitted.maps, fitted.lambda_, NO_DIGEST)
        return int(totals["package_bytes"])

    def write(self, maps: PatchMaps, lambda_: float | None, digest: str | None = None) -> dict[str, Any]:
        """The totals, and the document that states them; ``digest`` is that of the objects unless given."""
        objects = dict(self.draft.list())
        stated = self._attributes(lambda_, digest or objects_digest(self.draft, sorted(objects)))
        # The root states the size of a package that it is part of: a first writing tells how long it is,
        # the second is padded to a length that leaves room for numbers of more digits.
        self._write(maps, stated, sum(objects.values()), 0)
        return self._write(maps, stated, sum(objects.values()), len(self.draft.root) + ROOT_SLACK)

    def _attributes(self, lambda_: float | None, digest: str) -> dict[str, Any]:
        plan, checker, facts = self.plan, self.checker, self.plan.facts
        runtime: dict[str, Any] = {name: version(name) for name in LIBRARIES}
        if self.runtimes != {CANONICAL}:
            runtime["nets"] = sorted(self.runtimes)
        return {
            "profile": plan.profile.id,
            "lambda": lambda_,
            "target_ratio": plan.target_ratio,
            "floors": asdict(plan.profile.floors),
            "barred_floors": asdict(plan.profile.promise.barred),
            "judge": checker.judge.name,
            "second_judge": checker.second.name if checker.second else None,
            "agent": plan.profile.agent,
            "mpp_origin": plan.mpp_origin,
            "source": {
                "sha256": facts.source_sha256,
                "bytes": facts.source_bytes,
                "vendor": facts.vendor,
                "objective": facts.objective,
                "tiles": asdict(facts.tiles) if facts.tiles else None,
            },
            "weights": self.run["weights"],
            "software": {"adaslide": version("adaslide")},
            "runtime": runtime,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "certificate": {"algorithm": "sha256-of-objects@1", "digest": digest},
        }

    def _write(self, maps: PatchMaps, attributes: dict[str, Any], others: int, length: int) -> dict[str, Any]:
        plan, facts = self.plan, self.plan.facts
        totals = totals_of(
            maps,
            plan.profile.promise,
            source_bytes=facts.source_bytes,
            source_tile_bytes=facts.tiles.total_bytes if facts.tiles else None,
            source_pixel_bytes=facts.size.pixels * 3,
            package_bytes=others + length,
        )
        totals |= {
            "profile": plan.profile.id,
            "lambda": attributes["lambda"],
            "target_ratio": plan.target_ratio,
            "patches_per_second": round(totals["patches"]["total"] / max(self.run["seconds"], 1e-3), 3),
            **self.run,
        }
        stated = {**attributes, "totals": totals}
        write_root(
            self.draft, size=facts.size, patch=plan.patch, mpp=plan.mpp, attributes=stated, length=length
        )
        assert length in (0, len(self.draft.root)), "the totals outgrew the room left for them"
        return totals


def objects_digest(store: ReadStore, keys: list[str]) -> str:
    """sha256 over the JSON list of [key, sha256 of the object] of ``keys``, in their order."""
    rows = [[key, hashlib.sha256(store.get(key)).hexdigest()] for key in keys]
    return hashlib.sha256(compact_json(rows)).hexdigest()


def _read_back(draft: ReadStore, maps: PatchMaps, checker: PatchChecker, executor: Executor) -> None:
    """Every patch through the store, decoded by another process: the pixels that were measured?"""
    reader = PackageReader(draft)
    for shard in reader.grid.shards():
        check_pixels(reader, maps, shard, checker, executor)


def check_pixels(
    reader: PackageReader, maps: PatchMaps, shard: ShardIndex, checker: PatchChecker, executor: Executor
) -> None:
    """Raises `ChecksumMismatch` unless the shard's patches decode to the pixels that were measured."""
    indices = list(reader.grid.patches_of(shard))
    found = executor.map(checker.crc32c, reader.payloads(indices))
    for index, crc in zip(indices, found, strict=True):
        if crc != maps.decision["pixels_crc32c"][index.row, index.col]:
            raise ChecksumMismatch(f"patch {index.row}, {index.col} is not what was measured")
