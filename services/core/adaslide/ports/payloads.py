"""Pixels, or the source's tiles, out of one payload."""

from typing import Protocol

from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Scale
from adaslide.ports.restorer import Restorer
from adaslide.ports.slides import EncodedTile


class PayloadDecoder(Protocol):
    """The module `adaslide.codec_runtime` is one. Safe for use by several threads at once."""

    def decode_payload(self, payload: bytes, patch: int) -> Pixels:
        """(patch, patch, 3) restored pixels. Raises `PackageError`, `ModelError`."""
        ...

    def preview_payload(self, payload: bytes, patch: int, factor: int) -> Pixels:
        """(patch / factor, patch / factor, 3) pixels, factor 2 or 4, without a restorer's net."""
        ...

    def stored_payload(self, payload: bytes, patch: int) -> Pixels:
        """(patch / scale, patch / scale, 3): the image that the net which ``payload`` names restores.

        Raises `PackageError` where it names none, `WeightsMissing` where the net is not installed.
        """
        ...

    def restorer_with(self, scale: Scale, digest: bytes) -> Restorer:
        """The net by its scale and the sha256 of its weights. Raises `WeightsMissing`."""
        ...


class SourceTileDecoder(Protocol):
    """What gives the source's bytes back: the exact rung's codec."""

    def source_tiles(self, payload: bytes) -> list[list[EncodedTile | None]]:
        """The tiles of an exact payload as they stood in the source, row by row. Raises `PackageError`."""
        ...
