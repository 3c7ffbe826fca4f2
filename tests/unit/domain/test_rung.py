"""Rungs and their scales."""

import pytest

from adaslide.domain.rung import THREE_QUARTERS, scale_of


def test_whole_scales_are_whole_numbers():
    """What is shrunk by whole numbers has blocks of pixels to take the mean of."""
    assert all(isinstance(scale_of(text), int) for text in ("1", 2, "4", "8/2"))
    assert scale_of("4/3") == THREE_QUARTERS


@pytest.mark.parametrize("text", ["", "x", "1/0", None, [2]])
def test_what_is_no_scale_is_refused(text):
    with pytest.raises(ValueError):
        scale_of(text)
