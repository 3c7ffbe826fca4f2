"""The package states its own size, whatever the numbers: once that was a loop that did not always end."""

import json
from dataclasses import replace

import numpy as np
import pytest

from adaslide import codec_runtime, wiring
from adaslide.adapters.objects.memory import MemoryStore
from adaslide.domain.decision import PatchFlag, PatchOutcome
from adaslide.domain.errors import ChecksumMismatch, NotFound, QualityBelowFloor
from adaslide.domain.fidelity import Fidelity
from adaslide.domain.geometry import SHARD_PATCHES, Size
from adaslide.domain.profile import profile_named
from adaslide.domain.rung import Rung
from adaslide.domain.slide import MppOrigin, SlideFacts, SourceLevel
from adaslide.package.reader import PackageReader
from adaslide.package.records import PatchMaps
from adaslide.package.writer import write_shard
from adaslide.pipeline.compress_shard import read_sidecar, sidecar, sidecar_key
from adaslide.pipeline.finalize import finalize
from adaslide.pipeline.inspect import inspect
from adaslide.pipeline.plan import CompressionPlan
from adaslide.ports.rungs import PatchSource

PATCH = 64
ARCHIVE = profile_named("archive@1")


class Inline:
    """An executor that runs where it stands."""

    def map(self, call, *arguments):
        return map(call, *arguments)


def made(source_bytes=1000, dice=0.9, crc_off=0, runtimes=(None,)):
    """(plan, package, scratch) ready to be finalized: a row of one shard for each of ``runtimes``."""
    cols = SHARD_PATCHES * (len(runtimes) - 1) + 1
    size = Size(PATCH * cols - 14, 40)
    facts = SlideFacts(
        size, (SourceLevel(size, 1.0),), "test", 0.5, 20.0, None, None, source_bytes, "00" * 32
    )
    plan = CompressionPlan(
        facts,
        ARCHIVE,
        0.5,
        MppOrigin.PROPERTIES,
        PATCH,
        np.ones((1, cols), np.float32),
        (242, 242, 242),
        np.zeros((1, cols), np.uint8),
    )
    pixels = np.full((PATCH, PATCH, 3), 120, np.uint8)
    spec = ARCHIVE.ladder[-1]
    payload = codec_runtime.codec_for(Rung.FINE).encode(PatchSource(pixels, 50, 40), spec)
    crc = wiring.patch_checker(PATCH, 0.5, 242).crc32c(payload)
    fidelity = Fidelity(dice, 0.9, 0.9, 40.0, 1.0, 5.0)
    package, scratch = MemoryStore(), MemoryStore()
    for shard, runtime in zip(plan.grid.shards(), runtimes, strict=True):
        indices = list(plan.grid.patches_of(shard))
        maps = PatchMaps.empty(1, len(indices))
        for place, index in enumerate(indices):
            outcome = PatchOutcome(
                index, Rung.FINE, 60, 0.5, PatchFlag.NONE, fidelity, payload, crc + crc_off, 3, 0
            )
            maps.record(0, place, outcome)
        write_shard(package, 0, shard, dict.fromkeys(indices, payload))
        overview = np.full((4, 4 * len(indices), 3), 120, np.uint8)
        scratch.put(sidecar_key(shard), sidecar(maps, overview, runtime))
    return plan, package, scratch


def finalized(plan, package, scratch, seconds=1.0):
    checker = wiring.patch_checker(PATCH, 0.5, 242)
    run = {"seconds": seconds, "peak_rss_bytes": 123}
    return finalize(
        plan,
        package,
        lambda _: scratch,
        checker,
        Inline(),
        weights={"judge": "ab" * 32},
        **run,
    )


@pytest.mark.parametrize("source_bytes", [1, 7, 999, 12_345, 99_999, 1_000_000, 7_654_321, 10**12])
@pytest.mark.parametrize("seconds", [0.001, 3.0, 1 / 3])
def test_the_root_states_the_size_of_the_package_it_is_part_of(source_bytes, seconds):
    plan, package, scratch = made(source_bytes)
    totals = finalized(plan, package, scratch, seconds)
    size = sum(length for _, length in package.list())
    assert totals["package_bytes"] == size
    assert totals["ratio_source"] == round(size / source_bytes, 5)
    assert inspect(PackageReader(package)) | totals == inspect(PackageReader(package))
    assert json.loads(package.get("zarr.json"))["zarr_format"] == 3


@pytest.mark.parametrize(
    ("profile", "told"), [(ARCHIVE, None), (profile_named("paper@1").with_lambda(0.25), 0.25)]
)
def test_lambda_is_told_where_the_profile_knows_it(profile, told):
    plan, package, scratch = made()
    totals = finalized(replace(plan, profile=profile), package, scratch)
    block = PackageReader(package).info.attributes
    assert totals["lambda"] == block["lambda"] == block["totals"]["lambda"] == told


def test_a_patch_below_its_floor_is_never_published():
    plan, package, scratch = made(dice=0.8)
    with pytest.raises(QualityBelowFloor):
        finalized(plan, package, scratch)
    with pytest.raises(NotFound):
        package.get("zarr.json")


def test_pixels_that_are_not_those_measured_are_never_published():
    plan, package, scratch = made(crc_off=1)
    with pytest.raises(ChecksumMismatch):
        finalized(plan, package, scratch)
    assert package.size("zarr.json") is None


def test_finalizing_twice_gives_the_same_package():
    plan, package, scratch = made()
    first = finalized(plan, package, scratch)
    assert finalized(plan, package, scratch) == first


TORCH = "torch 2.13.0 on cpu in fp32"


@pytest.mark.parametrize(
    ("runtimes", "told"),
    [((None, None), None), ((TORCH, TORCH), [TORCH]), ((TORCH, None), ["onnxruntime", TORCH])],
)
def test_the_root_tells_what_ran_the_nets_unless_it_is_the_canonical_runtime_alone(runtimes, told):
    plan, package, scratch = made(runtimes=runtimes)
    finalized(plan, package, scratch)
    block = PackageReader(package).info.attributes["runtime"]
    assert block["onnxruntime"]
    assert block.get("nets") == told


def test_what_an_older_version_left_of_a_job_has_no_measure_of_colour():
    maps = PatchMaps.empty(1, 1)
    older = replace(maps, quality={k: v for k, v in maps.quality.items() if k != "colour_min"})
    read, _, _ = read_sidecar(sidecar(older, np.zeros((4, 4, 3), np.uint8)))
    assert np.isnan(read.quality["colour_min"]).all()
