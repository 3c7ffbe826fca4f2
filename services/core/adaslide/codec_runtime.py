"""The one lazy resolver that a Zarr codec can reach: Zarr builds codecs itself, without injection.

Everything else is handed what it needs by a ``wiring`` module.
"""

from functools import cache

from adaslide.domain.errors import PackageError, UnsupportedVersion
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Rung, Scale
from adaslide.package.envelope import Envelope
from adaslide.ports.restorer import Restorer
from adaslide.ports.rungs import RungCodec, SupportsNets


@cache
def rung_codecs(tried: tuple[bytes, ...] = ()) -> dict[Rung, RungCodec]:
    """The rungs this installation can encode and decode. Imports the image libraries once.

    ``tried``: sha256 of the weights that compete with bicubic where a patch is encoded; decoding knows
    all that are installed. A folder of weights that cannot be used stops only what names a net.
    """
    from adaslide.adapters.restorers.installed import InstalledRestorers
    from adaslide.adapters.rungs import background, exact, image_codec, restored

    image, low = image_codec.ImageRung(), restored.RestoredRung(InstalledRestorers(), tried)
    return {
        Rung.BACKGROUND: background.BackgroundRung(),
        Rung.EXACT: exact.ExactRung(),
        Rung.LOSSLESS: image,
        Rung.FINE: image,
        Rung.X4_3: low,
        Rung.X2: low,
        Rung.X4: low,
        Rung.PAPER_KEEP: image,
        Rung.PAPER_COMPRESS: low,
    }


def codec_for(rung: Rung) -> RungCodec:
    """Raises `UnsupportedVersion` for a rung this build cannot decode."""
    try:
        return rung_codecs()[rung]
    except KeyError:
        raise UnsupportedVersion(f"this build cannot decode rung {rung.label!r}") from None


def decode_payload(payload: bytes, patch: int) -> Pixels:
    """(patch, patch, 3) pixels of one payload, restored. Raises `PackageError`."""
    return codec_for(Envelope.unpack(payload).rung).decode(payload, patch)


def preview_payload(payload: bytes, patch: int, factor: int) -> Pixels:
    """(patch / factor, patch / factor, 3) pixels, factor 2 or 4, without a restorer's net."""
    return codec_for(Envelope.unpack(payload).rung).preview(payload, patch, factor)


def stored_payload(payload: bytes, patch: int) -> Pixels:
    """(patch / scale, patch / scale, 3): the image that the net which ``payload`` names restores.

    Raises `PackageError` where it names none, `WeightsMissing` where the net is not installed.
    """
    codec = codec_for(Envelope.unpack(payload).rung)
    image = codec.before_net(payload, patch) if isinstance(codec, SupportsNets) else None
    if image is None:
        raise PackageError("payload: no net restores it")
    return image


def restorer_with(scale: Scale, digest: bytes) -> Restorer:
    """The net by its scale and the sha256 of its weights. Raises `WeightsMissing`."""
    from adaslide.adapters.rungs.restored import RestoredRung

    rung = codec_for(Rung.X4)
    assert isinstance(rung, RestoredRung)
    return rung.restorer(scale, digest)
