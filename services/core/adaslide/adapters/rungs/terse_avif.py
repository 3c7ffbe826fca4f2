"""AVIF without what every file of it repeats: 275 bytes of boxes before the first byte of a picture.

That is a tenth of a small patch. The head (all up to the content of ``mdat``) is deflated against a typical
one, which leaves 15 to 25 bytes; the file comes back byte for byte, so that any AVIF decoder reads it
(docs/package-format.md section 3.3; RFC 1951; ISO/IEC 14496-12).
"""

import struct
import zlib

from adaslide.domain.errors import PackageError

TYPICAL_HEAD = bytes.fromhex(
    "00000020667479706176696600000000617669666d6966316d6961664d413141000000eb6d6574610000000000000021"
    "68646c72000000000000000070696374000000000000000000000000000000000e7069746d0000000000010000001e69"
    "6c6f63000000004400000100010000000100000113000000460000002869696e660000000000010000001a696e666502"
    "0000000001000061763031436f6c6f72000000006a697072700000004b6970636f000000146973706500000000000002"
    "0000000200000000107069786900000000030808080000000c617631438121000000000013636f6c726e636c78000200"
    "020006800000001769706d610000000000000001000104010283040000004e6d646174"
)
"""Of a 512 px picture, 8-bit RGB in 4:4:4. Part of the package format: never to be changed."""
MOST_HEAD = 4096
"""Bytes of a head; a real one has under 300."""
_BOX = struct.Struct(">I4s")


def shortened(avif: bytes) -> bytes | None:
    """The file with its head deflated: one byte L, L bytes of raw deflate, the content of ``mdat``.

    None for a file whose last box is no plain ``mdat``, or whose head does not fit.
    """
    start = 0
    while start + _BOX.size <= len(avif):
        length, kind = _BOX.unpack_from(avif, start)
        if kind == b"mdat":
            head = start + _BOX.size
            if length != len(avif) - start or head > MOST_HEAD:
                return None
            deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, TYPICAL_HEAD)
            packed = deflate.compress(avif[:head]) + deflate.flush()
            return bytes([len(packed)]) + packed + avif[head:] if len(packed) < 256 else None
        if length < _BOX.size:
            return None
        start += length
    return None


def lengthened(body: bytes) -> bytes:
    """The file that `shortened` was given. Raises `PackageError`."""
    if not body:
        raise PackageError("payload: an AVIF image without its head")
    end = 1 + body[0]
    inflate = zlib.decompressobj(-15, zdict=TYPICAL_HEAD)
    try:
        head = inflate.decompress(body[1:end], MOST_HEAD)
    except zlib.error as error:
        raise PackageError("payload: the head of an AVIF image cannot be inflated") from error
    if not inflate.eof or inflate.unused_data:
        raise PackageError("payload: the head of an AVIF image cannot be inflated")
    return head + body[end:]
