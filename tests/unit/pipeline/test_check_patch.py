"""Verifying raises what serving raises: never a bare error of Python's own."""

import numpy as np
import pytest

from adaslide import wiring
from adaslide.domain.errors import PackageError, UnsupportedVersion
from adaslide.domain.rung import Codec, RestorerKind, Rung
from adaslide.package.envelope import Envelope, ImageParams


@pytest.fixture
def checker():
    return wiring.patch_checker(64, 0.5, 240)


def test_an_absent_chunk_is_glass(checker):
    assert np.array_equal(checker.pixels(None), np.full((64, 64, 3), 240, np.uint8))


def test_a_rung_without_codec_is_a_version_too_new(checker):
    params = ImageParams(Codec.AVIF, 1, 40, RestorerKind.NONE, 64, 64)
    with pytest.raises(UnsupportedVersion, match="latent"):
        checker.crc32c(Envelope(Rung.LATENT, params, b"codes").pack())


def test_garbage_is_a_package_error(checker):
    with pytest.raises(PackageError):
        checker.crc32c(b"AP garbage")
