"""The report page, made of a real package of a part of the sample slide."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest

from adaslide import codec_runtime, library, wiring
from adaslide.adapters.inference.weights import weights_named
from adaslide.domain.errors import Conflict
from adaslide.domain.fidelity import IDENTICAL
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.profile import PROFILES
from adaslide.domain.rung import Rung
from adaslide.pipeline.inspect import inspect
from adaslide.pipeline.made_with import BICUBIC, restored_by
from adaslide.pipeline.maps import AGENT_NOTE
from adaslide.pipeline.report import render_report
from adaslide.pipeline.report.evidence import headroom, histograms
from adaslide.pipeline.report.page import TRAINED_ON, human_bytes
from adaslide.pipeline.report.restored import SHOWN, restored_patches, spread, textured_window
from adaslide.pipeline.restore import Restoration
from jpeg_slide import write_jpeg_slide

SAMPLE = Path(__file__).parents[3] / "samples" / "CMU-1-Small-Region.svs"
VOID = {"meta", "img", "br", "image", "use", "rect", "line", "link"}


def write_slide(path, x, y):
    """A JPEG-tiled TIFF of 900 x 800 px of the sample: tissue and glass, ragged edges."""
    with openslide.OpenSlide(str(SAMPLE)) as sample:
        pixels = np.asarray(sample.read_region((x, y), 0, (900, 800)).convert("RGB"))
    return write_jpeg_slide(path, pixels)


def compressed(slide, profile):
    package = slide.with_name(f"{profile}.zarr")
    library.compress(slide, package, profile=profile, mpp=0.499, workers=1)
    return library.open_package(package)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slide") / "part.tif", 300, 500)


@pytest.fixture(scope="module")
def package(slide):
    return compressed(slide, "archive")


def as_jpeg(pixels):
    return len(imagecodecs.jpeg_encode(pixels, level=75)), IDENTICAL


@pytest.fixture(scope="module")
def page(package, slide):
    with wiring.open_slide(slide) as reader:
        return render_report(
            package, Restoration(package, codec_runtime), reader, {"JPEG quality 75": as_jpeg}
        )


@pytest.fixture(scope="module")
def page_alone(package):
    return render_report(package, Restoration(package, codec_runtime))


class Page(HTMLParser):
    """Collects tags and attributes; fails on a tag that is closed out of order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("which", ["page", "page_alone"])
def test_page_is_well_formed_and_fetches_nothing(which, request):
    text = request.getfixturevalue(which)
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.found}
    for _, attributes in page.found:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith(("data:image/", "#", "data:"))
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text


def test_numbers_are_those_of_inspect(package, page):
    facts, text = inspect(package), Page(page).text
    assert human_bytes(facts["source_bytes"]) in text
    assert human_bytes(facts["package_bytes"]) in text
    for metric, floor in facts["floor"].items():
        seen = facts["fidelity"][metric]
        assert f"worst {seen['min']:.3f} ≥ floor {floor:.2f}" in text
        assert f"mean {seen['mean']:.3f} · 5th percentile {seen['p5']:.3f} · {seen['n']} patches" in text
    for rung, count in facts["patches"]["by_rung"].items():
        size = human_bytes(facts["patches"]["bytes_by_rung"][rung])
        assert re.search(rf"{rung} {count} [\d.]+ % {re.escape(size)} ", text)
    for name in ("profile", "judge", "created"):
        assert facts[name] in text
    assert facts["source"]["sha256"] in text
    assert facts["certificate"]["digest"] in text


def test_with_the_slide_patches_stand_beside_their_originals(package, page):
    found = [attributes for tag, attributes in Page(page).found if tag == "img"]
    pictures = [attributes["alt"] for attributes in found if "width" not in attributes]
    lossy = np.isfinite(headroom(package.maps, {"ssim": 0.7})).sum()
    assert sum(alt.startswith("Original") for alt in pictures) == lossy > 0
    assert sum(alt.startswith("Restored") for alt in pictures) == lossy
    assert "JPEG quality 75" in page


@pytest.fixture(scope="module")
def restored_page(restored_package):
    slide, path = restored_package
    package = library.open_package(path)
    with wiring.open_slide(slide) as reader:
        return Page(render_report(package, Restoration(package, codec_runtime), reader))


def test_restored_patches_are_shown_close_and_say_who_restored_them(restored_package, restored_page):
    package = library.open_package(restored_package[1])
    restorers = restored_by(package)
    assert PROFILES["paper"].restorers[0] in restorers.values()
    close = [attributes for tag, attributes in restored_page.found if tag == "img" and "width" in attributes]
    assert len(close) == 2 * len(restorers)
    for before, after in zip(close[::2], close[1::2], strict=True):
        assert before["alt"].startswith("Original, 256 by 256 px at ")
        assert after["alt"].startswith("Restored by ")
        assert before["alt"].partition(" at ")[2] == after["alt"].partition(" at ")[2]
        pictures = [
            imagecodecs.jpeg_decode(base64.b64decode(part["src"].partition(",")[2]))
            for part in (before, after)
        ]
        assert [picture.shape for picture in pictures] == [(256, 256, 3)] * 2
        assert 0 < np.abs(pictures[0].astype(int) - pictures[1]).mean() < 40
    for index, name in restorers.items():
        size = human_bytes(int(package.maps.decision["bytes"][index.row, index.col]))
        expected = f"Row {index.row}, column {index.col} · restored by {name} from {size}"
        assert expected in restored_page.text


def test_without_the_slide_no_restored_patch_is_shown(restored_package):
    package = library.open_package(restored_package[1])
    text = Page(render_report(package, Restoration(package, codec_runtime))).text
    assert "Restored patches beside their originals" not in text
    assert "the net fie-compact-x4@" in text


def test_a_ratio_that_was_asked_for_is_told_beside_what_was_reached(slide):
    path = slide.with_name("aimed.zarr")
    totals = library.compress(slide, path, target_ratio=0.5, mpp=0.499, workers=1)
    aimed = library.open_package(path)
    page = render_report(aimed, wiring.restoration(aimed))
    reached = totals["source_tile_bytes"] / totals["package_bytes"]
    assert f"A ratio of 0.5 was asked for: the source over the package is {reached:.3f}." in page
    assert inspect(aimed)["target_ratio"] == 0.5


def test_the_limits_name_the_judges_and_the_net(page, restored_page):
    archive, paper = PROFILES["archive"], PROFILES["paper"]
    text = Page(page).text
    assert f"both made by the automatic judge {archive.judge} ." in text
    assert f"A second judge, {archive.second_judge} , looked at the same pixels" in text
    assert "202 public images, 104 of them H&E of the breast" in text
    assert "No second judge looked" in restored_page.text
    assert f"the net {paper.restorers[0]} drew it" in restored_page.text


def test_what_is_said_of_the_training_is_what_the_card_says():
    for name, said in TRAINED_ON.items():
        card = weights_named(name).path.parent / weights_named(name).table["card"]
        assert f"{said.split()[0]} images" in card.read_text()


def test_the_agents_map_is_shown_where_an_agent_estimated_something(restored_package):
    package = library.open_package(restored_package[1])
    shown = []
    for value in (np.nan, 0.25):
        package.maps.decision["p_compress"] = np.full_like(package.maps.decision["p_compress"], value)
        page = Page(render_report(package, Restoration(package, codec_runtime)))
        assert (AGENT_NOTE in page.text) is bool(np.isfinite(value))
        labels = [attributes["aria-label"] for tag, attributes in page.found if "aria-label" in attributes]
        shown.append(sum(label.startswith("Agent map") for label in labels))
    assert shown == [0, 1]


def test_a_package_without_second_judge_has_no_column_for_it(slide):
    package, told = compressed(slide, "archive@1"), []
    with wiring.open_slide(slide) as reader:
        page = render_report(
            package,
            Restoration(package, codec_runtime),
            reader,
            {"JPEG": as_jpeg},
            progress=lambda done, total: told.append((done, total)),
        )
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)] != []
    assert "2nd judge" not in page
    assert "second judge" not in page.replace("No second judge", "")
    assert not re.search(r"\bnan\b", Page(page).text)


def test_the_window_with_most_to_see_is_found():
    pixels = np.full((480, 480, 3), 240, np.uint8)
    pixels[300:420, 40:200] = np.random.default_rng(1).integers(0, 255, (120, 160, 3))
    y, x = textured_window(pixels)
    assert y <= 300
    assert y + 256 >= 420
    assert x <= 40
    assert textured_window(pixels[:120, :300]) == (0, 0)


def test_every_restorer_of_every_scale_is_shown(sample_slide, net_package):
    package = library.open_package(net_package[0])
    restorers = restored_by(package)
    with wiring.open_slide(sample_slide) as reader:
        cards = restored_patches(package, Restoration(package, codec_runtime), reader, restorers)
    rungs = package.maps.decision["rung"]
    occur = {(name, Rung(int(rungs[index.row, index.col])).label) for index, name in restorers.items()}
    assert len(occur) > 1
    assert {(card.restorer, card.rung) for card in cards} == occur
    assert len(occur) <= len(cards) <= SHOWN
    assert [card.restorer == BICUBIC for card in cards] == sorted(card.restorer == BICUBIC for card in cards)


def test_patches_of_glass_give_their_places_to_others(sample_slide, archive_package):
    package = library.open_package(archive_package[0])
    decision = package.maps.decision
    glass = [PatchIndex(int(row), int(col)) for row, col in np.argwhere(decision["rung"] == Rung.BACKGROUND)]
    tissue = sorted(restored_by(package), key=lambda index: decision["source_bytes"][index.row, index.col])
    tissue = tissue[-SHOWN:]
    for index in glass:  # as if it had most to see
        decision["rung"][index.row, index.col] = Rung.X2
        decision["source_bytes"][index.row, index.col] = decision["source_bytes"].max() + 1
    with wiring.open_slide(sample_slide) as reader:
        restoration = Restoration(package, codec_runtime)
        mixed = dict.fromkeys([*glass, *tissue], BICUBIC)
        cards = restored_patches(package, restoration, reader, mixed)
        none = restored_patches(package, restoration, reader, dict.fromkeys(glass, BICUBIC))
    assert glass
    assert {(card.row, card.col) for card in cards} == {(index.row, index.col) for index in tissue}
    assert none == []


def test_the_first_of_a_spread_lie_all_over_the_slide(archive_package):
    package = library.open_package(archive_package[0])
    rows, cols = package.maps.decision["rung"].shape
    indices = [PatchIndex(row, col) for row in range(rows) for col in range(cols)]
    order = spread(package, indices)
    assert sorted(order, key=lambda i: (i.row, i.col)) == indices
    places = [indices.index(index) / len(indices) for index in order[:4]]
    assert [int(4 * place) for place in places] == [0, 2, 1, 3]


def test_without_the_slide_it_says_so(page_alone):
    page = Page(page_alone)
    pictures = [attributes["alt"] for tag, attributes in page.found if tag == "img"]
    assert pictures
    assert all(alt.startswith("Restored") for alt in pictures)
    assert "the slide itself was not given" in page.text


def test_another_slide_is_refused(package, tmp_path):
    other = write_slide(tmp_path / "other.tif", 300, 700)
    with wiring.open_slide(other) as reader, pytest.raises(Conflict):
        render_report(package, Restoration(package, codec_runtime), reader)


def test_an_exact_package_claims_no_loss(slide):
    package = compressed(slide, "exact")
    text = Page(render_report(package, Restoration(package, codec_runtime))).text
    assert "This profile sets no floors. No patch was changed" in text
    assert "nearest to a floor" not in text
    assert "synthesised" not in text


def test_headroom_ranks_the_patch_nearest_to_any_floor_first(package):
    floors = {"dice": 0.85, "ssim": 0.5}
    distance, maps = headroom(package.maps, floors), package.maps
    row, col = np.unravel_index(distance.argmin(), distance.shape)
    assert distance[row, col] == pytest.approx(
        min(maps.quality["dice"][row, col] - 0.85, maps.quality["ssim"][row, col] - 0.5)
    )
    lossy = np.isfinite(distance)
    assert (distance[lossy] >= 0).all()
    for histogram in histograms(maps, floors):
        assert sum(histogram.counts) == np.isfinite(maps.quality[histogram.metric][lossy]).sum()


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.00 kB"), (174841, "175 kB"), (1938955, "1.94 MB"),
     (19760220, "19.8 MB"), (999_600, "1.00 MB"), (4_200_000_000_000, "4200 GB")],
)  # fmt: skip
def test_human_bytes(count, text):
    assert human_bytes(count) == text
