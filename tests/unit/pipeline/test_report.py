"""The report page, made of a real package of a part of the sample slide."""

import re
from html.parser import HTMLParser
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile

from adaslide import codec_runtime, library, wiring
from adaslide.domain.errors import Conflict
from adaslide.domain.fidelity import IDENTICAL
from adaslide.pipeline.inspect import inspect
from adaslide.pipeline.report import render_report
from adaslide.pipeline.report.evidence import headroom, histograms
from adaslide.pipeline.report.page import human_bytes
from adaslide.pipeline.restore import Restoration

SAMPLE = Path(__file__).parents[3] / "samples" / "CMU-1-Small-Region.svs"
VOID = {"meta", "img", "br", "image", "use", "rect", "line", "link"}


def write_slide(path, x, y):
    """A JPEG-tiled TIFF of 900 x 800 px of the sample: tissue and glass, ragged edges."""
    with openslide.OpenSlide(str(SAMPLE)) as sample:
        pixels = np.asarray(sample.read_region((x, y), 0, (900, 800)).convert("RGB"))
    tifffile.imwrite(path, pixels, photometric="ycbcr", tile=(256, 256), compression="jpeg")
    return path


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
    pictures = [attributes["alt"] for tag, attributes in Page(page).found if tag == "img"]
    lossy = np.isfinite(headroom(package.maps, {"ssim": 0.7})).sum()
    assert sum(alt.startswith("Original") for alt in pictures) == lossy > 0
    assert sum(alt.startswith("Restored") for alt in pictures) == lossy
    assert "JPEG quality 75" in page


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
    floors = {"dice": 0.85, "ssim": 0.7}
    distance, maps = headroom(package.maps, floors), package.maps
    row, col = np.unravel_index(distance.argmin(), distance.shape)
    assert distance[row, col] == pytest.approx(
        min(maps.quality["dice"][row, col] - 0.85, maps.quality["ssim"][row, col] - 0.7)
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
