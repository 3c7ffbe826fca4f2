"""`adaslide evaluate rate-fidelity`: real codecs, real packages, a fresh process that verifies them."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from adaslide import library
from adaslide.domain.errors import Conflict, InputError
from adaslide.domain.profile import profile_named
from adaslide_models.evaluate.rate_fidelity.contest import contest
from adaslide_models.evaluate.rate_fidelity.contestants import CODECS, contestants
from adaslide_models.evaluate.rate_fidelity.searches import PRICES

JUDGED_BY_OTSU = replace(profile_named("archive@1"), lambda_=0.0, is_dial=True)
LAMBDA = 0.2


@pytest.fixture(scope="module")
def images(tmp_path_factory, sample_pixels):
    """Two pictures: one of two patches, and one that is smaller than a patch."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "lab").mkdir()
    Image.fromarray(sample_pixels[1000:1512, 600:1624]).save(folder / "lab" / "wide.png")
    Image.fromarray(sample_pixels[1500:1900, 900:1350]).save(folder / "small.png")
    return folder


@pytest.fixture(scope="module")
def out(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("contest") / "out"
    contest(images, None, JUDGED_BY_OTSU, 0.5, folder, codecs=CODECS[:2], floors=(0.7,), lambdas=(LAMBDA,))
    return folder


@pytest.fixture(scope="module")
def document(out):
    return json.loads((out / "rate_fidelity.json").read_text())


def test_the_document_has_what_others_read(document):
    assert (document["n"], document["images"], document["violations"]) == (3, 2, 0)
    assert set(document["advantage"]) == {"uniform_p5", "uniform_mean", "paper_mean", "oracle_gap"}
    assert set(document["by_floor"]) == {"0.7", "0.85"}
    for row in document["rows"]:
        assert {
            "name",
            "setting",
            "bytes",
            "psnr",
            "ssim",
            "delta_e",
            "colour_min",
            "dice_mean",
            "dice_p5",
        } <= set(row)
    assert {"images", "lab"} == set(document["by_source"])


def test_ours_are_whole_packages_that_hold_their_floor(document, out):
    for floor in ("0.7", "0.85"):
        totals = library.open_package(out / "packages" / f"{floor}.zarr").info.attributes["totals"]
        (row,) = (
            r for r in document["rows"] if (r["name"], r["setting"]) == (JUDGED_BY_OTSU.id, f"floor {floor}")
        )
        assert row["bytes"] == pytest.approx(totals["package_bytes"] / 3, abs=1)
        assert row["dice_min"] >= float(floor)
        assert row["share_barred"] == sum(totals["patches"]["not_restored"].values()) / 3
    assert document["by_floor"]["0.85"]["oracle_gap"] >= 1
    assert document["by_floor"]["0.85"]["oracle_gap_with_margin"] >= 1
    without = document["by_floor"]["0.85"]["without_floor"]
    assert set(without) == {name for name, floor in document["floors"].items() if floor > 0}
    assert all(0 < one["bytes"] <= 1 for one in without.values())
    for believed in ("image_alone", "published_agent"):
        assert 0 <= document["by_floor"]["0.85"][believed]["below_a_floor"] <= 1
    assert without["dice"]["patches"] > 0
    by_price = document["by_floor"]["0.85"]["agent_by_price"]
    assert [row["price"] for row in by_price] == sorted(PRICES)
    (own,) = (row for row in by_price if row["price"] == JUDGED_BY_OTSU.measurement_price)
    assert {**document["by_floor"]["0.85"]["agent"], "price": own["price"]} == own
    assert document["advantage"]["uniform_p5"] > 0


def test_lambda_buys_fidelity_at_the_same_floor(document):
    ours = {r["setting"]: r for r in document["rows"] if r["name"] == JUDGED_BY_OTSU.id}
    plain, dear = ours["floor 0.85"], ours[f"floor 0.85, lambda {LAMBDA}"]
    assert plain["bytes"] < dear["bytes"]
    assert plain["dice_mean"] < dear["dice_mean"]
    (turned,) = document["by_lambda"]
    assert (turned["lambda"], turned["violations"]) == (LAMBDA, 0)
    assert turned["uniform_mean"] > 0


def test_what_was_chosen_patch_by_patch_stands_beside_ours(document):
    bytes_of = {r["name"]: r["bytes"] for r in document["rows"] if r["setting"] == "floor 0.85"}
    assert bytes_of["oracle"] <= bytes_of["oracle without enhancers"] <= bytes_of["oracle without restoring"]
    assert bytes_of["oracle"] < bytes_of[JUDGED_BY_OTSU.id]
    assert bytes_of["published pair"] > 0
    own = document["by_floor"]["0.85"]
    assert own["oracle_over_no_restoring"] <= own["oracle_over_no_nets"] <= 1
    assert 0 < own["stained_p5"] < own["uniform_p5"]


def test_bytes_and_fidelity_of_a_uniform_codec_rise_together(document):
    rows = [r for r in document["rows"] if r["name"] == "AVIF 4:4:4 s6"]
    by_bytes = sorted(rows, key=lambda row: row["bytes"])
    assert [row["setting"] for row in by_bytes][-1] == "q80"
    assert by_bytes[0]["psnr"] < by_bytes[-1]["psnr"]
    assert by_bytes[0]["dice_mean"] < by_bytes[-1]["dice_mean"]


def test_pictures_are_written(document, out):
    for name in (*document["curves"], *(row["picture"] for row in document["worst"])):
        with Image.open(out / name) as picture:
            picture.load()
    assert [row["dice"] for row in document["worst"]] == sorted(row["dice"] for row in document["worst"])


def test_nothing_is_overwritten_and_nothing_made_of_nothing(images, out, tmp_path):
    with pytest.raises(Conflict):
        contest(images, None, JUDGED_BY_OTSU, 0.5, out)
    with pytest.raises(InputError, match="no picture"):
        contest(tmp_path, None, JUDGED_BY_OTSU, 0.5, tmp_path / "out")


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_gives_back_nearly_what_it_was_given_at_its_best(codec, sample_pixels):
    patch = sample_pixels[1000:1256, 600:856]
    settings = contestants((codec,))
    sizes = {one.name: len(one.encode(patch)) for one in settings}
    best = max(settings, key=lambda one: sizes[one.name])
    error = best.decode(best.encode(patch)).astype(float) - patch
    assert abs(error).mean() < 4
    assert max(sizes.values()) > 2 * min(sizes.values())
