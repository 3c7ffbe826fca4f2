"""One way to keep a patch: bytes out of pixels, and pixels out of bytes."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import RungSpec
from adaslide.ports.payloads import SourceTileDecoder
from adaslide.ports.slides import EncodedTile


@dataclass(frozen=True, slots=True)
class PatchSource:
    """All that an encoder may look at.

    ``pixels`` is (p, p, 3), the patch with its edge replicated beyond the slide; the first
    ``valid_height`` rows and ``valid_width`` columns are real. ``tiles`` are the source's own
    JPEG tiles under the patch, row by row, ``tile_size`` px square each, None where absent;
    empty when the source has none to keep.
    """

    pixels: Pixels
    valid_width: int
    valid_height: int
    tiles: tuple[tuple[EncodedTile | None, ...], ...] = ()
    tile_size: int = 0


class RungCodec(Protocol):
    """Encodes and decodes one rung. Stateless and picklable."""

    def encode(self, source: PatchSource, spec: RungSpec) -> bytes:
        """The payload (docs/package-format.md section 3): self-describing, decodable alone."""
        ...

    def decode(self, payload: bytes, patch: int) -> Pixels:
        """(patch, patch, 3) pixels at full resolution. Raises `PackageError`, never returns garbage."""
        ...

    def preview(self, payload: bytes, patch: int, factor: int) -> Pixels:
        """(patch / factor, patch / factor, 3) for factor 2 or 4, without any restorer's net."""
        ...


@runtime_checkable
class SupportsAlternatives(Protocol):
    """The optional ability of a rung whose stored image can be restored in several ways."""

    def alternatives(self, payload: bytes) -> list[bytes]:
        """The same stored image under every restorer that this rung tries, ``payload``'s own first."""
        ...


@runtime_checkable
class SupportsNets(Protocol):
    """The optional ability of a rung whose pixels may come from a net.

    Image codecs and bicubic give the same pixels everywhere; a net in floating point gives almost the
    same ones on another processor. What proves a payload unchanged is therefore the image before it.
    """

    def before_net(self, payload: bytes, patch: int) -> Pixels | None:
        """The image that a net restores, as stored; None where none does. Raises `PackageError`, and
        `WeightsMissing` where the net is not installed."""
        ...


class TileCodec(RungCodec, SourceTileDecoder, Protocol):
    """The exact rung: it also knows whether the source's tiles are sound, and gives them back."""

    def is_sound(self, source: PatchSource) -> bool:
        """Whether every tile of ``source`` decodes without a single warning."""
        ...
