"""Every rung: what goes in comes out within what the rung promises, and damage raises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaslide import codec_runtime
from adaslide.adapters.rungs.restored import RestoredRung
from adaslide.domain.errors import PackageError, WeightsMissing
from adaslide.domain.pixels import shrink
from adaslide.domain.profile import PROFILES
from adaslide.domain.rung import Codec, RestorerKind, Rung, RungSpec
from adaslide.package.envelope import Envelope, ImageParams
from adaslide.ports.rungs import PatchSource

SPECS = list({spec.name: spec for profile in PROFILES.values() for spec in profile.ladder}.values())
LOSSLESS = RungSpec(Rung.LOSSLESS, Codec.JPEGXL)


@pytest.fixture(scope="module")
def source(sample_pixels):
    return PatchSource(np.ascontiguousarray(sample_pixels[1000:1256, 900:1156]), 256, 256)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_lossy_rungs_come_back_close_and_whole(source, spec):
    payload = codec_runtime.codec_for(spec.rung).encode(source, spec)
    restored = codec_runtime.decode_payload(payload, 256)
    assert restored.shape == (256, 256, 3)
    error = np.abs(restored.astype(int) - source.pixels).mean()
    assert 0 < error < 32
    assert len(payload) < source.pixels.nbytes / 5


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("factor", [2, 4])
def test_previews_are_the_shrunk_patch(source, spec, factor):
    payload = codec_runtime.codec_for(spec.rung).encode(source, spec)
    preview = codec_runtime.preview_payload(payload, 256, factor)
    assert preview.shape == (256 // factor, 256 // factor, 3)
    wanted = shrink(source.pixels, factor).astype(int)
    error = np.abs(preview - wanted).mean()
    assert error < 32
    for axis in (0, 1):  # and it lies where it should: a shifted one fits worse
        assert error < np.abs(np.roll(preview, 1, axis) - wanted).mean()


def test_lossless_is(source):
    payload = codec_runtime.codec_for(Rung.LOSSLESS).encode(source, LOSSLESS)
    assert np.array_equal(codec_runtime.decode_payload(payload, 256), source.pixels)


def test_encoding_is_deterministic(source):
    for spec in SPECS:
        codec = codec_runtime.codec_for(spec.rung)
        assert codec.encode(source, spec) == codec.encode(source, spec), spec.name


def test_background_keeps_the_colour_of_the_valid_pixels_alone():
    pixels = np.full((64, 64, 3), (200, 0, 0), np.uint8)
    pixels[:16, :32] = (231, 228, 235)
    payload = codec_runtime.codec_for(Rung.BACKGROUND).encode(
        PatchSource(pixels, valid_width=32, valid_height=16), RungSpec(Rung.BACKGROUND)
    )
    assert (codec_runtime.decode_payload(payload, 64) == (231, 228, 235)).all()
    assert len(payload) < 20


def test_unknown_weights_are_named_and_never_replaced(source):
    digest = bytes(range(32))
    low = RestoredRung().encode(source, PROFILES["archive"].ladder[0])
    envelope = Envelope.unpack(low)
    params = envelope.params
    foreign = ImageParams(
        params.codec, 4, params.quality, RestorerKind.WEIGHTS, params.width, params.height, digest
    )
    payload = Envelope(Rung.X4, foreign, envelope.body).pack()
    with pytest.raises(WeightsMissing, match=digest.hex()[:12]):
        codec_runtime.decode_payload(payload, 256)
    assert codec_runtime.preview_payload(payload, 256, 4).shape == (64, 64, 3)


def test_a_payload_of_another_patch_size_is_refused(source):
    for spec in SPECS:
        payload = codec_runtime.codec_for(spec.rung).encode(source, spec)
        with pytest.raises(PackageError):
            codec_runtime.decode_payload(payload, 512)


@settings(max_examples=60)
@given(data=st.data())
def test_cut_payloads_raise(source, data):
    spec = data.draw(st.sampled_from([*SPECS, LOSSLESS]))
    payload = codec_runtime.codec_for(spec.rung).encode(source, spec)
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(PackageError):
        codec_runtime.decode_payload(payload[:cut], 256)
