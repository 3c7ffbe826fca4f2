"""A package of the size that was asked for, of the real slide: by the library and by a stumbling worker."""

import json

import numpy as np
import pytest

from adaslide import library
from adaslide.domain.errors import ProfileInvalid, RatioOutOfReach, StoreUnavailable
from adaslide.domain.job import JobState
from adaslide.package.layout import shard_key
from adaslide.package.reader import PackageReader
from adaslide.ports.jobs import CompressRequest
from adaslide_worker.compute import Compute
from jpeg_slide import write_jpeg_slide
from unit.worker.bench import Bench

RATIO = 5.5


@pytest.fixture(scope="module")
def aimed(sample_slide, tmp_path_factory):
    """{ratio: (path, totals)} of the sample, by the fast profile: a survey measures every rung."""
    folder = tmp_path_factory.mktemp("aimed")
    made = {}
    for ratio in (4.0, RATIO):
        path = folder / f"{ratio}.zarr"
        made[ratio] = path, library.compress(sample_slide, path, profile="archive-fast", target_ratio=ratio)
    return made


@pytest.mark.parametrize("ratio", [4.0, RATIO])
def test_the_package_has_the_ratio_and_holds_its_floors(aimed, sample_slide, ratio):
    path, totals = aimed[ratio]
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert totals["package_bytes"] == size
    assert totals["source_tile_bytes"] / size == pytest.approx(ratio, rel=0.03)
    block = json.loads((path / "zarr.json").read_text())["attributes"]["adaslide"]
    assert block["target_ratio"] == block["totals"]["target_ratio"] == totals["target_ratio"] == ratio
    assert block["lambda"] == totals["lambda"] > 0
    report = library.verify_package(path, sample_slide)
    assert (report.ok, report.remeasured) == (True, 35)


def test_a_smaller_ratio_takes_bytes_and_dice_of_no_patch(aimed):
    maps = [library.open_package(aimed[ratio][0]).maps for ratio in (RATIO, 4.0)]
    assert (np.diff([one.decision["bytes"].astype(int) for one in maps], axis=0) >= 0).all()
    assert (np.diff(np.nan_to_num([one.quality["dice"] for one in maps]), axis=0) >= 0).all()
    assert aimed[4.0][1]["lambda"] > aimed[RATIO][1]["lambda"]


def test_a_ratio_that_the_floors_forbid_leaves_nothing(sample_pixels, tmp_path):
    slide = tmp_path / "slide.tif"
    pixels = sample_pixels[900:1412, :1024]
    write_jpeg_slide(slide, pixels)
    with pytest.raises(
        RatioOutOfReach, match=r"found under the floors is [\d.]+, not 90; \w+ 0\.\d+ decides on"
    ):
        library.compress(slide, tmp_path / "x.zarr", target_ratio=90, mpp=0.499, workers=1)
    assert list(tmp_path.iterdir()) == [slide]


@pytest.mark.parametrize(
    "options", [{"lambda_": 0.1}, {"profile": "exact"}, {"profile": "paper"}, {"profile": "archive@2"}]
)
def test_a_target_beside_a_lambda_or_without_a_dial_is_refused(sample_slide, tmp_path, options):
    with pytest.raises(ProfileInvalid):
        library.compress(sample_slide, tmp_path / "x.zarr", target_ratio=5, **options)
    assert list(tmp_path.iterdir()) == []


class Stumbling(Compute):
    """Loses the store once the first package is complete, before anybody knows of it."""

    def __init__(self):
        super().__init__(2)
        self.finished = 0

    def finalize(self, *arguments, **named):
        totals = super().finalize(*arguments, **named)
        self.finished += 1
        if self.finished == 1:
            raise StoreUnavailable("gone for a moment")
        return totals


def test_a_worker_chooses_as_the_library_does_and_again_when_it_tries_again(sample_pixels, tmp_path):
    slide, path = tmp_path / "part.tif", tmp_path / "part.zarr"
    write_jpeg_slide(slide, sample_pixels[900:2436, :1536])
    totals = library.compress(slide, path, target_ratio=RATIO, mpp=0.499)
    compute = Stumbling()
    bench = Bench(
        tmp_path,
        compute=compute,
        request=CompressRequest("archive", mpp=0.499, target_ratio=RATIO),
        slide=slide.read_bytes(),
    )
    try:
        job = bench.run()
    finally:
        compute.close()
    assert (job.state, job.problem, compute.finished) == (JobState.SUCCEEDED, None, 2)
    with bench.database.read() as unit:
        made = unit.packages.get(job.package_id)
    bench.database.close()
    same = ("payload_bytes", "lambda", "target_ratio", "patches", "fidelity")
    assert {name: made.totals[name] for name in same} == {name: totals[name] for name in same}
    store, ours = bench.workspace.package(made.location), library.open_package(path)
    for shard in ours.grid.shards():
        assert store.get(shard_key(0, shard)) == (path / shard_key(0, shard)).read_bytes()
    maps = PackageReader(store).maps
    for name, values in ours.maps.decision.items():
        assert np.array_equal(values, maps.decision[name], equal_nan=values.dtype.kind == "f")
    assert not list((tmp_path / "scratch").rglob("*.bin"))
