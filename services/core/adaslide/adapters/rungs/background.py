"""Glass: one colour. At the array's fill value it is no chunk at all."""

import numpy as np

from adaslide.domain.errors import PackageError
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Rung, RungSpec
from adaslide.package.envelope import ConstantParams, Envelope
from adaslide.ports.rungs import PatchSource


class BackgroundRung:
    """See the module; `RungCodec`."""

    def encode(self, source: PatchSource, spec: RungSpec) -> bytes:
        """The mean colour of the valid pixels."""
        valid = source.pixels[: source.valid_height, : source.valid_width]
        red, green, blue = (int(v) for v in np.rint(valid.mean(axis=(0, 1))))
        return Envelope(Rung.BACKGROUND, ConstantParams(red, green, blue), b"").pack()

    def decode(self, payload: bytes, patch: int) -> Pixels:
        params = Envelope.unpack(payload).params
        if not isinstance(params, ConstantParams):
            raise PackageError("payload: not a colour")
        return np.full((patch, patch, 3), (params.red, params.green, params.blue), np.uint8)

    def preview(self, payload: bytes, patch: int, factor: int) -> Pixels:
        return self.decode(payload, patch // factor)
