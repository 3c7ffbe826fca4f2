"""Pixels, or the source's tiles, out of one payload."""

from typing import Protocol

from adaslide.domain.pixels import Pixels
from adaslide.ports.slides import EncodedTile


class PayloadDecoder(Protocol):
    """The module `adaslide.codec_runtime` is one. Safe for use by several threads at once."""

    def decode_payload(self, payload: bytes, patch: int) -> Pixels:
        """(patch, patch, 3) restored pixels. Raises `PackageError`, `ModelError`."""
        ...

    def preview_payload(self, payload: bytes, patch: int, factor: int) -> Pixels:
        """(patch / factor, patch / factor, 3) pixels, factor 2 or 4, without a restorer's net."""
        ...


class SourceTileDecoder(Protocol):
    """What gives the source's bytes back: the exact rung's codec."""

    def source_tiles(self, payload: bytes) -> list[list[EncodedTile | None]]:
        """The tiles of an exact payload as they stood in the source, row by row. Raises `PackageError`."""
        ...
