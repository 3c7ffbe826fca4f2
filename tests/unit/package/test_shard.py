import asyncio

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from adaslide.domain.errors import ChecksumMismatch, PackageError
from adaslide.package.shard import INDEX_BYTES, ShardIndexTable, build_shard, checked, crc32c

PLACES = st.tuples(st.integers(0, 15), st.integers(0, 15))
PAYLOADS = st.dictionaries(PLACES, st.binary(min_size=1, max_size=40), max_size=20)


def table_of(shard: bytes) -> ShardIndexTable:
    return ShardIndexTable.parse(shard[-INDEX_BYTES:], len(shard))


def chunks_of(shard: bytes) -> dict[tuple[int, int], bytes]:
    table = table_of(shard)
    spans = {(row, col): table.span(row, col) for row in range(16) for col in range(16)}
    return {place: checked(shard[s.offset : s.end], "chunk") for place, s in spans.items() if s}


def test_crc32c_is_castagnoli():
    # The check value of CRC-32C (RFC 3720, appendix B.4 gives the polynomial; catalogue value e3069283).
    assert crc32c(b"123456789") == bytes.fromhex("839206e3")


@given(PAYLOADS)
def test_what_was_built_is_found(payloads):
    shard = build_shard(payloads)
    assert chunks_of(shard) == payloads


def test_an_empty_payload_is_no_chunk():
    shard = build_shard({(0, 0): b"", (3, 4): b"x"})
    assert set(chunks_of(shard)) == {(3, 4)}


def test_a_shard_without_payloads_is_its_index():
    shard = build_shard({})
    assert len(shard) == INDEX_BYTES
    assert chunks_of(shard) == {}


@pytest.mark.parametrize("place", [(16, 0), (0, 16), (-1, 0)])
def test_chunks_outside_a_shard_are_refused(place):
    with pytest.raises(IndexError):
        build_shard({place: b"x"})


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(PLACES, st.integers(1, 255), max_size=30))
def test_zarrs_own_sharding_codec_reads_it(values):
    """Chunks of one byte under Zarr's `bytes` codec: the layout is the specification's, not only ours."""
    store = MemoryStore()
    array = zarr.create_array(
        store,
        name="a",
        shape=(1, 16, 16),
        dtype="uint8",
        chunks=(1, 16, 16),
        serializer=ShardingCodec(chunk_shape=(1, 1, 1), codecs=[BytesCodec(), Crc32cCodec()]),
        compressors=None,
        fill_value=0,
    )
    shard = build_shard({place: bytes([value]) for place, value in values.items()})
    buffer = default_buffer_prototype().buffer.from_bytes(shard)
    asyncio.run(store.set("a/c/0/0/0", buffer))
    expected = np.zeros((16, 16), np.uint8)
    for place, value in values.items():
        expected[place] = value
    assert np.array_equal(array[0], expected)
    for place, value in values.items():
        assert array[0, place[0], place[1]] == value


@given(PAYLOADS, st.data())
def test_any_flipped_bit_is_noticed(payloads, data):
    shard = bytearray(build_shard(payloads))
    at = data.draw(st.integers(0, len(shard) - 1))
    shard[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ChecksumMismatch):
        chunks_of(bytes(shard))


@given(PAYLOADS, st.data())
def test_any_truncation_is_noticed(payloads, data):
    shard = build_shard(payloads)
    with pytest.raises(PackageError):
        table_of(shard[: data.draw(st.integers(0, len(shard) - 1))])


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 11), (1, 10), (2**64 - 2, 4), (2**64 - 5, 10), (0, 2**64 - 1), (2**64 - 1, 5), (0, 4), (0, 0)],
)
def test_an_index_that_points_outside_is_refused_even_with_a_good_checksum(offset, length):
    table = np.full((16, 16, 2), 2**64 - 1, "<u8")
    table[0, 0] = offset, length
    index = table.tobytes()
    with pytest.raises(PackageError):
        ShardIndexTable.parse(index + crc32c(index), 10 + INDEX_BYTES)


def test_nothing_is_too_short_to_be_checked():
    for size in range(4):
        with pytest.raises(ChecksumMismatch):
            checked(bytes(size), "chunk")
