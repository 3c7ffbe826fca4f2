"""AVIF files come back byte for byte, and are 250 bytes shorter meanwhile."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaslide.adapters.rungs.image_codec import ImageRung, decode_coded
from adaslide.adapters.rungs.terse_avif import MOST_HEAD, TYPICAL_HEAD, lengthened, shortened
from adaslide.domain.errors import PackageError
from adaslide.domain.rung import Codec, Rung, RungSpec
from adaslide.package.envelope import Envelope
from adaslide.ports.rungs import PatchSource

FORMAT = Path(__file__).parents[4] / "docs" / "package-format.md"


def avif(side, quality, pixelformat="444", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)
    return bytes(
        imagecodecs.avif_encode(pixels, level=quality, speed=9, pixelformat=pixelformat, numthreads=1)
    )


@pytest.mark.parametrize("pixelformat", ["444", "420"])
@pytest.mark.parametrize("side", [1, 64, 128, 256, 512, 700])
@pytest.mark.parametrize("quality", [8, 60, 90])
def test_a_file_comes_back_and_is_shorter(side, quality, pixelformat):
    file = avif(side, quality, pixelformat)
    short = shortened(file)
    assert lengthened(short) == file
    assert len(short) <= len(file) - 230


def test_the_dictionary_is_the_one_that_the_format_names():
    """Packages are read with it for as long as they are kept."""
    assert len(TYPICAL_HEAD) == 275
    text = "".join(FORMAT.read_text().split())
    assert TYPICAL_HEAD.hex() in text


def test_payloads_hold_the_short_form():
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    payload = ImageRung().encode(PatchSource(pixels, 256, 256), RungSpec(Rung.FINE, Codec.AVIF, 1, 40))
    envelope = Envelope.unpack(payload)
    assert envelope.params.codec is Codec.TERSE_AVIF
    file = lengthened(envelope.body)
    assert np.array_equal(ImageRung().decode(payload, 256), decode_coded(Codec.AVIF, file))


@pytest.mark.parametrize(
    "file", [b"", b"\0\0\0\x08ftyp", avif(64, 50) + b"more", b"\0\0\0\x00mdat", b"x" * 300]
)
def test_what_is_no_plain_file_is_left_as_it_is(file):
    assert shortened(file) is None


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_damaged_bodies_are_errors(body):
    try:
        assert len(lengthened(body)) <= MOST_HEAD + len(body)
    except PackageError:
        return


def test_a_head_that_would_swell_is_refused():
    import zlib

    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, TYPICAL_HEAD)
    packed = deflate.compress(b"\0" * (MOST_HEAD + 1)) + deflate.flush()
    assert len(packed) < 256
    with pytest.raises(PackageError, match="inflated"):
        lengthened(bytes([len(packed)]) + packed)
