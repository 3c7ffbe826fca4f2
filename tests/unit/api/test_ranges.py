"""Byte ranges, by the RFC's own cases."""

import pytest

from adaslide_api.ranges import ByteRange, Unsatisfiable, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=0-99", ByteRange(0, 10)),
        ("bytes=4-", ByteRange(4, 6)),
        ("bytes=-3", ByteRange(7, 3)),
        ("bytes=-30", ByteRange(0, 10)),
        (" bytes=9-9 ", ByteRange(9, 1)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=²-", None),
    ],
)
def test_ranges_of_ten_bytes(header, expected):
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_ranges_without_a_byte(header):
    with pytest.raises(Unsatisfiable):
        parse_range(header, 10)
