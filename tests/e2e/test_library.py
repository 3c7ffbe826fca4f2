"""The straight line on the real slide: what the product promises, held against the source itself.

Of the library and its commands, with no service in between: the same in every mode.
"""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import openslide
import pytest
import tifffile
import zarr
from PIL import Image

import adaslide
from adaslide import library, wiring
from adaslide.adapters.rungs.exact import ExactRung
from adaslide.domain.errors import Conflict
from adaslide.domain.geometry import PatchIndex, ShardIndex
from adaslide.domain.profile import PROFILES
from adaslide.domain.rung import Codec, RestorerKind
from adaslide.package.envelope import Envelope
from adaslide.package.layout import shard_key
from adaslide.pipeline.check_patch import is_by_net
from adaslide.ports.rungs import PatchSource
from jpeg_slide import write_jpeg_slide

TILE_BYTES = 1_275_934


def cli(*arguments):
    """(exit code, stdout, stderr) of the command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "adaslide.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def folder_bytes(path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_archive_is_far_smaller_than_the_tiles(archive_package):
    path, totals = archive_package
    assert totals["source_tile_bytes"] == TILE_BYTES
    assert totals["package_bytes"] == folder_bytes(path)
    assert totals["package_bytes"] < 0.18 * TILE_BYTES
    assert totals["ratio_tiles"] == pytest.approx(folder_bytes(path) / TILE_BYTES, abs=1e-5)


def test_no_patch_is_below_a_floor_says_a_fresh_process_with_the_slide(archive_package, sample_slide):
    code, out, _ = cli("verify", archive_package[0], "--against", sample_slide, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["ok"]
    assert report["violations"] == 0
    assert report["remeasured"] == report["patches"] == 35


def test_archive_needs_no_more_bytes_than_uniform_avif(archive_package, sample_pixels):
    """The cheapest quality of the report's grid that holds the same floors on every patch but glass.

    `benchmarks/bench_uniform_avif.py` looks at every quality.
    """
    package = library.open_package(archive_package[0])
    floors, checker = PROFILES["archive"].floors, wiring.package_checker(package)
    judged = [PatchIndex(int(r), int(c)) for r, c in np.argwhere(package.maps.decision["rung"] != 0)]
    for quality in (30, 40, 50):
        uniform = wiring.UniformBaseline(Codec.AVIF, quality, checker.mpp, checker.judge, checker.second)
        total, held = 0, True
        for index in judged:
            region = package.grid.region(index)
            pixels = np.ascontiguousarray(sample_pixels[region.y : region.bottom, region.x : region.right])
            size, fidelity = uniform(pixels)
            total += size
            held = held and floors.held_by(fidelity)
            if not held:
                break
        if held:
            assert archive_package[1]["package_bytes"] <= total
            return
    pytest.fail("no uniform setting of the grid holds the floors")


def test_the_restorer_that_was_chosen_is_never_worse_in_dice_than_bicubic(net_package, sample_pixels):
    package = library.open_package(net_package[0])
    checker = wiring.package_checker(package)
    indices = list(package.grid.patches_of(ShardIndex(0, 0)))
    by_net = 0
    for index, payload in zip(indices, package.payloads(indices), strict=True):
        if payload is None or not is_by_net(payload):
            continue
        by_net += 1
        envelope = Envelope.unpack(payload)
        plain = replace(envelope.params, restorer=RestorerKind.BICUBIC, restorer_digest=b"")
        region = package.grid.region(index)
        pixels = np.ascontiguousarray(sample_pixels[region.y : region.bottom, region.x : region.right])
        source = PatchSource(pixels, region.width, region.height)
        chosen, bicubic = (
            checker.remeasure(each, source).fidelity.dice
            for each in (payload, replace(envelope, params=plain).pack())
        )
        assert chosen >= bicubic
    assert by_net > 0


def test_exact_is_smaller_and_gives_every_tile_back(exact_package, sample_slide):
    path, totals = exact_package
    assert (path / shard_key(0, ShardIndex(0, 0))).stat().st_size < 0.76 * TILE_BYTES
    assert folder_bytes(path) < 0.80 * TILE_BYTES
    package = library.open_package(path)
    indices = [PatchIndex(row, col) for row in range(7) for col in range(5)]
    kept = {}
    for index, payload in zip(indices, package.payloads(indices), strict=True):
        for dy, line in enumerate(ExactRung().source_tiles(payload)):
            for dx, tile in enumerate(line):
                if tile is not None:
                    kept[index.row * 2 + dy, index.col * 2 + dx] = tile.data
    with tifffile.TiffFile(sample_slide) as tiff:
        page = tiff.pages[0]
        for number, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
            tiff.filehandle.seek(offset)
            assert kept.pop(divmod(number, 10)) == tiff.filehandle.read(count)
    assert not kept
    assert totals["patches"]["by_rung"] == {"exact": 35}


def test_exact_pixels_are_openslides(exact_package, sample_pixels):
    pixels = zarr.open_group(exact_package[0], mode="r")["0"][...]
    assert np.array_equal(np.moveaxis(pixels, 0, 2), sample_pixels)


def test_every_way_to_the_pixels_gives_the_same(archive_package, tmp_path):
    path, _ = archive_package
    through_zarr = np.moveaxis(zarr.open_group(path, mode="r")["0"][...], 0, 2)
    code, out, _ = cli("restore", path, "--out", tmp_path / "all.png", "--json")
    assert code == 0
    assert json.loads(out)["format"] == "png"
    with Image.open(tmp_path / "all.png") as image:
        assert np.array_equal(np.asarray(image), through_zarr)
    code, _, _ = cli("restore", path, "--out", tmp_path / "part.npy", "--region", "470,950,600,500")
    assert code == 0
    assert np.array_equal(np.load(tmp_path / "part.npy"), through_zarr[950:1450, 470:1070])
    package = adaslide.open(path)
    assert np.array_equal(
        package[0][:, 950:1450, 470:1070], np.moveaxis(through_zarr, 2, 0)[:, 950:1450, 470:1070]
    )
    assert package.quality["dice"].shape == package.rung.shape == (7, 5)


def test_restored_pixels_look_like_the_slide(archive_package, sample_pixels):
    restored = np.moveaxis(zarr.open_group(archive_package[0], mode="r")["0"][...], 0, 2)
    assert np.abs(restored.astype(int) - sample_pixels).mean() < 8


def test_tiff_opens_in_openslide_with_the_same_scale(archive_package, tmp_path):
    code, out, _ = cli("restore", archive_package[0], "--out", tmp_path / "slide.tif", "--json")
    assert code == 0
    said = json.loads(out)["reencoded"]
    with openslide.OpenSlide(tmp_path / "slide.tif") as slide:
        assert slide.dimensions == (2220, 2967)
        assert slide.level_count > 1
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.499, abs=1e-3)
        shown = np.asarray(slide.read_region((480, 960), 0, (480, 480)).convert("RGB"))
    restored = np.moveaxis(zarr.open_group(archive_package[0], mode="r")["0"][:, 960:1440, 480:960], 0, 2)
    error = np.abs(shown.astype(int) - restored)
    assert error.max() <= said["max_error"]
    assert said["psnr_min"] > 30


def test_the_original_comes_back_out_of_exact_and_not_out_of_archive(
    exact_package, archive_package, sample_slide, tmp_path
):
    library.restore(exact_package[0], tmp_path / "original.tif", original=True)
    with tifffile.TiffFile(tmp_path / "original.tif") as ours, tifffile.TiffFile(sample_slide) as theirs:
        assert list(ours.pages[0].databytecounts) == list(theirs.pages[0].databytecounts)
    with openslide.OpenSlide(tmp_path / "original.tif") as ours, openslide.OpenSlide(sample_slide) as theirs:
        size = theirs.dimensions
        assert ours.read_region((0, 0), 0, size).tobytes() == theirs.read_region((0, 0), 0, size).tobytes()
    code, _, err = cli("restore", archive_package[0], "--out", tmp_path / "no.tif", "--original")
    assert code == 3
    assert "conflict" in err
    assert not (tmp_path / "no.tif").exists()


def test_inspect_repeats_what_compress_said(archive_package):
    code, out, _ = cli("inspect", archive_package[0], "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts | archive_package[1] == facts
    assert facts["mpp"] == pytest.approx(0.499)
    assert facts["mpp_origin"] == "properties"


def test_paper_profile_makes_the_papers_pair(sample_slide, tmp_path):
    totals = library.compress(sample_slide, tmp_path / "paper.zarr", profile="paper")
    assert set(totals["patches"]["by_rung"]) <= {"background", "paper-compress", "paper-keep", "exact"}
    assert totals["patches"]["by_rung"]["paper-compress"] > 0
    assert totals["fidelity"]["dice"]["min"] >= 0.6


def test_a_stricter_floor_is_held_and_costs_bytes(sample_pixels, tmp_path):
    slide, pixels = tmp_path / "tissue.tif", sample_pixels[900:1924, :1024]
    write_jpeg_slide(slide, pixels)
    usual = library.compress(slide, tmp_path / "usual.zarr", mpp=0.499)
    totals = library.compress(slide, tmp_path / "strict.zarr", mpp=0.499, dice_floor=0.95)
    assert usual["fidelity"]["dice"]["min"] < 0.95
    assert totals["fidelity"]["dice"]["min"] >= 0.95
    assert totals["floor"]["dice"] == 0.95
    assert totals["package_bytes"] == folder_bytes(tmp_path / "strict.zarr")
    assert totals["package_bytes"] > usual["package_bytes"]


def test_archive_fast_holds_the_same_floors_and_needs_no_net_to_be_read(sample_pixels, tmp_path):
    slide, out = tmp_path / "tissue.tif", tmp_path / "fast.zarr"
    pixels = sample_pixels[900:1924, :1024]
    write_jpeg_slide(slide, pixels)
    totals = library.compress(slide, out, profile="archive-fast", mpp=0.499)
    assert (totals["violations"], totals["floor"]["dice"]) == (0, 0.85)
    assert {name.partition("-")[0] for name in totals["weights"]} == {"nuclei", "cda"}
    assert totals["package_bytes"] < totals["source_tile_bytes"] / 2
    assert library.verify_package(out, slide).ok


def test_lambda_buys_fidelity_and_never_takes_any(sample_pixels, tmp_path):
    slide = tmp_path / "slide.tif"
    pixels = sample_pixels[900:1412, :1024]
    write_jpeg_slide(slide, pixels)
    sizes, dice = [], []
    for lambda_ in (0.0, 0.1, 0.3, 1.0):
        totals = library.compress(slide, tmp_path / f"{lambda_}.zarr", lambda_=lambda_, mpp=0.499, workers=1)
        assert (totals["lambda"], totals["violations"]) == (lambda_, 0)
        maps = library.open_package(tmp_path / f"{lambda_}.zarr").maps
        sizes.append(maps.decision["bytes"].astype(int))
        dice.append(maps.quality["dice"])
    assert (np.diff(sizes, axis=0) >= 0).all()
    assert (np.diff(dice, axis=0) >= 0).all()
    assert (sizes[1] > sizes[0]).any()
    assert (sizes[3] > sizes[1]).any()


def test_an_existing_package_is_never_overwritten(archive_package, sample_slide):
    before = folder_bytes(archive_package[0])
    with pytest.raises(Conflict):
        library.compress(sample_slide, archive_package[0])
    assert folder_bytes(archive_package[0]) == before


def test_map_and_report_are_written(archive_package, sample_slide, tmp_path):
    for layer in ("rung", "dice", "ssim", "p_compress"):
        assert cli("map", archive_package[0], "--layer", layer, "--out", tmp_path / f"{layer}.png")[0] == 0
        with Image.open(tmp_path / f"{layer}.png") as image:
            assert image.size == (5 * 16, 7 * 16)
    code, _, _ = cli("report", archive_package[0], "--out", tmp_path / "r.html")
    assert code == 0
    page = (tmp_path / "r.html").read_text()
    assert "<html" in page
    assert 'src="http' not in page


def test_profiles_and_inspect_name_what_judges_restores_and_proposes(archive_package):
    profile = PROFILES["archive"]
    row = json.loads(cli("profiles", "--json")[1])[profile.id]
    assert row["judge"] == profile.judge
    assert row["second_judge"] == profile.second_judge
    assert row["agent"] == profile.agent
    assert row["restorers"] == list(profile.restorers)
    assert row["measurement_price"] == profile.measurement_price
    facts = json.loads(cli("inspect", archive_package[0], "--json")[1])
    assert facts["restorers"] == list(profile.restorers)
    assert facts["weights"] == wiring.weights_in(profile)
    for command in (["profiles"], ["inspect", archive_package[0]]):
        code, out, _ = cli(*command)
        assert code == 0
        for name in (profile.judge, profile.second_judge, *profile.restorers, "dice_second", "colour_min"):
            assert name in out


def test_no_second_judge_is_claimed_where_there_was_none(exact_package):
    code, out, _ = cli("inspect", exact_package[0])
    assert code == 0
    assert "dice_second" not in out


@pytest.mark.parametrize("command", ["profiles", "doctor"])
def test_profiles_and_doctor_answer(command):
    code, out, _ = cli(command, "--json")
    assert code == 0
    assert json.loads(out)


def test_another_slide_is_no_witness(archive_package, sample_slide, tmp_path):
    other = tmp_path / "other.svs"
    other.write_bytes(sample_slide.read_bytes() + b"\0")
    code, _, err = cli("verify", archive_package[0], "--against", other)
    assert code == 3
    assert "not the slide" in err


@pytest.mark.parametrize("key", ["zarr.json", "0/zarr.json", "0/c/0/0/0", "1/c/0/0/0", "quality/dice/c/0/0"])
def test_verify_finds_a_flipped_byte_in_any_object(archive_package, tmp_path, key):
    from shutil import copytree

    copy = copytree(archive_package[0], tmp_path / "copy.zarr")
    data = bytearray((copy / key).read_bytes())
    data[len(data) // 3] ^= 0x10
    (copy / key).write_bytes(data)
    assert cli("verify", copy)[0] == 4
