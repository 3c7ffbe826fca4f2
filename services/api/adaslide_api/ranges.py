"""HTTP byte ranges (RFC 9110 section 14): one range of one object."""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


class Unsatisfiable(ValueError):
    """No byte of the object is in the range: 416."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """``length`` bytes from ``start``."""

    start: int
    length: int


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """What ``Range`` asks of an object of ``size`` bytes; None is the whole object.

    A header that is malformed or asks for several ranges is ignored, as the RFC allows. Raises
    `Unsatisfiable`.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size or end <= start:
        raise Unsatisfiable
    return ByteRange(start, end - start)
