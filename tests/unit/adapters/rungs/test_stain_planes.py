"""The planes that nuclei are seen in: exact integers, and nearly the colours that went in."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adaslide.adapters.rungs.image_codec import ImageRung, decode_coded, encode_image, packed
from adaslide.adapters.rungs.restored import degraded
from adaslide.adapters.rungs.stain_planes import from_planes, to_planes
from adaslide.domain.rung import THREE_QUARTERS, Codec, RestorerKind, Rung, RungSpec
from adaslide.package.envelope import Envelope
from adaslide.pipeline.measure import dice
from adaslide.ports.rungs import PatchSource
from adaslide.wiring import judge_named

FORMAT = Path(__file__).parents[4] / "docs" / "package-format.md"
STAINED = RungSpec(Rung.FINE, Codec.STAIN_AVIF, 1, 24)


def image(*rows):
    return np.array([rows], np.uint8)


@given(arrays(np.uint8, (7, 5, 3)))
def test_colours_come_back_to_within_two_grey_levels(pixels):
    before = pixels.copy()
    assert np.abs(from_planes(to_planes(pixels)).astype(int) - pixels).max() <= 2
    np.testing.assert_array_equal(pixels, before)


@given(arrays(np.uint8, (3, 4, 3)))
def test_any_planes_are_pixels(planes):
    """As a codec may give them back."""
    before = planes.copy()
    v, y, u = planes.astype(float).transpose(2, 0, 1)
    green, blue = y + 1.8 * (v - 128), y + 1.9 * (u - 128)
    red = (y - 0.1 * green - 0.05 * blue) / 0.85
    wanted = np.clip(np.stack([red, green, blue], axis=-1), 0, 255)
    assert np.abs(from_planes(planes) - wanted).max() <= 0.51
    np.testing.assert_array_equal(planes, before)


@given(st.integers(0, 255))
def test_grey_is_luma_alone_and_exact(level):
    pixels = image([level] * 3)
    np.testing.assert_array_equal(to_planes(pixels), image([128, level, 128]))
    np.testing.assert_array_equal(from_planes(to_planes(pixels)), pixels)


def test_the_numbers_are_those_that_the_format_names():
    """Packages are read with them for as long as they are kept."""
    given = image([103, 60, 140], [255, 0, 0], [0, 255, 255], [200, 40, 90])
    pixels = from_planes(given)
    np.testing.assert_array_equal(pixels, image([64, 15, 83], [0, 229, 0], [255, 25, 255], [29, 170, 0]))
    text = FORMAT.read_text()
    for number in ("117965", "124518", "13878", "7325"):
        assert number in text


def test_payloads_hold_the_short_form(sample_pixels):
    pixels = np.ascontiguousarray(sample_pixels[1000:1256, 900:1156])
    payload = ImageRung().encode(PatchSource(pixels, 256, 256), STAINED)
    assert Envelope.unpack(payload).params.codec is Codec.TERSE_STAIN_AVIF
    file = encode_image(pixels, STAINED)
    assert len(payload) < len(file) - 200
    np.testing.assert_array_equal(ImageRung().decode(payload, 256), decode_coded(Codec.STAIN_AVIF, file))
    # Any AVIF decoder gives the planes.
    np.testing.assert_array_equal(
        from_planes(decode_coded(Codec.AVIF, file)), decode_coded(Codec.STAIN_AVIF, file)
    )


@pytest.mark.parametrize("scale", [2, THREE_QUARTERS, 4])
def test_what_is_stored_small_is_colour_again_before_it_is_restored(sample_pixels, scale):
    pixels = np.ascontiguousarray(sample_pixels[1000:1192, 900:1092])
    rung = {2: Rung.X2, THREE_QUARTERS: Rung.X4_3, 4: Rung.X4}[scale]
    spec = RungSpec(rung, Codec.STAIN_AVIF, scale, 80, restorer=RestorerKind.BICUBIC)
    low = degraded(pixels, spec)
    assert np.abs(low.mean(axis=(0, 1)) - pixels.mean(axis=(0, 1))).max() < 3


def test_nuclei_survive_in_fewer_bytes(sample_pixels):
    """What it is for: on this tissue, more of the nuclei for no more bytes."""
    pixels = np.ascontiguousarray(sample_pixels[1000:1512, 800:1312])
    judge = judge_named("otsu-haematoxylin@1", 0.5)

    def kept(codec, quality):
        spec = RungSpec(Rung.FINE, codec, 1, quality)
        file = encode_image(pixels, spec)
        restored = decode_coded(codec, file)
        return len(packed(pixels, spec)), dice(*judge.masks([pixels, restored], 0.5))

    plain, stained = kept(Codec.AVIF, 24), kept(Codec.STAIN_AVIF, 12)
    assert stained[0] < plain[0]
    assert stained[1] > plain[1]
