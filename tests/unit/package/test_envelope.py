from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.domain.errors import PackageError, UnsupportedVersion
from adaslide.domain.rung import THREE_QUARTERS, Codec, RestorerKind, Rung
from adaslide.package.envelope import ConstantParams, Envelope, ImageParams, TileParams, TilePart

IMAGE = st.builds(
    ImageParams,
    st.sampled_from(Codec),
    st.sampled_from([1, THREE_QUARTERS, 2, 4]),
    st.integers(0, 100),
    st.sampled_from([RestorerKind.NONE, RestorerKind.BICUBIC]),
    st.integers(1, 65535),
    st.integers(1, 65535),
)
NAMED = st.builds(
    ImageParams,
    st.sampled_from(Codec),
    st.sampled_from([THREE_QUARTERS, 2, 4]),
    st.integers(0, 100),
    st.just(RestorerKind.WEIGHTS),
    st.integers(1, 512),
    st.integers(1, 512),
    st.binary(min_size=32, max_size=32),
)
TILES = st.builds(
    lambda cols, rows, part: TileParams(240, cols, rows, (part,) * (cols * rows)),
    st.integers(1, 4),
    st.integers(1, 4),
    st.builds(
        TilePart, st.sampled_from([0, 1, 2, 0x81, 0x82]), st.integers(0, 65535), st.integers(0, 2**32 - 1)
    ),
)
COLOUR = st.builds(ConstantParams, *[st.integers(0, 255)] * 3)
IMAGE_RUNGS = sorted(set(Rung) - {Rung.BACKGROUND, Rung.EXACT})
ENVELOPES = st.one_of(
    st.builds(Envelope, st.sampled_from(IMAGE_RUNGS), IMAGE | NAMED, st.binary(max_size=50)),
    st.builds(Envelope, st.just(Rung.EXACT), TILES, st.binary(max_size=50)),
    st.builds(Envelope, st.just(Rung.BACKGROUND), COLOUR, st.just(b"")),
)


@given(ENVELOPES)
def test_a_packed_envelope_unpacks(envelope):
    assert Envelope.unpack(envelope.pack()) == envelope


def test_the_byte_map_is_the_specifications():
    packed = Envelope(Rung.X4, ImageParams(Codec.AVIF, 4, 60, RestorerKind.BICUBIC, 120, 128), b"body").pack()
    assert packed.hex(" ") == "41 50 01 04 08 00 04 00 00 00 01 04 3c 01 78 00 80 00 62 6f 64 79"


def test_three_quarters_have_a_byte_of_their_own():
    params = ImageParams(Codec.AVIF, THREE_QUARTERS, 60, RestorerKind.BICUBIC, 384, 384)
    assert params.pack()[1] == 3
    assert ImageParams.unpack(params.pack()).scale == Fraction(4, 3)
    for unknown in (0, 5, 255):
        with pytest.raises(PackageError):
            ImageParams.unpack(params.pack()[:1] + bytes([unknown]) + params.pack()[2:])


@given(ENVELOPES, st.data())
def test_every_truncation_is_an_error(envelope, data):
    packed = envelope.pack()
    with pytest.raises(PackageError):
        Envelope.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@given(ENVELOPES, st.binary(min_size=1, max_size=9))
def test_bytes_behind_the_body_are_an_error(envelope, extra):
    with pytest.raises(PackageError):
        Envelope.unpack(envelope.pack() + extra)


@given(st.binary(max_size=200))
def test_noise_is_an_error(noise):
    with pytest.raises(PackageError):
        Envelope.unpack(noise)


@given(ENVELOPES, st.data())
def test_a_changed_header_never_raises_anything_untyped(envelope, data):
    packed = bytearray(envelope.pack())
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(PackageError):
        Envelope.unpack(bytes(packed))


@pytest.mark.parametrize("version", [0, 2, 255])
def test_other_versions_are_refused_by_name(version):
    packed = bytearray(Envelope(Rung.BACKGROUND, ConstantParams(1, 2, 3), b"").pack())
    packed[2] = version
    with pytest.raises(UnsupportedVersion):
        Envelope.unpack(bytes(packed))


def test_an_unknown_rung_is_a_newer_version():
    packed = bytearray(Envelope(Rung.BACKGROUND, ConstantParams(1, 2, 3), b"").pack())
    packed[3] = 200
    with pytest.raises(UnsupportedVersion):
        Envelope.unpack(bytes(packed))
