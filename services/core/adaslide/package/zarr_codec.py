"""The Zarr v3 codec ``adaslide.patch``: what lets any zarr-python read a package.

Zarr finds it through the entry point ``zarr.codecs`` and builds it without arguments; hence the
one place below the top that reaches up to `adaslide.codec_runtime`.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer

from adaslide.codec_runtime import decode_payload
from adaslide.domain.errors import Conflict, PackageError

CODEC_NAME = "adaslide.patch"


@dataclass(frozen=True)
class PatchCodec(ArrayBytesCodec):
    """Decodes one payload into a (3, p, p) uint8 chunk. It does not encode: a rung is decided
    and measured when a slide is compressed, which an assignment to an array element is not."""

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        if data.get("name") != CODEC_NAME or data.get("configuration"):
            raise PackageError(f"codec {CODEC_NAME}: a configuration this build does not know")
        return cls()

    def to_dict(self) -> dict[str, Any]:
        return {"name": CODEC_NAME}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError("the size of a payload is known only once it is encoded")

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        channels, height, width = chunk_spec.shape
        if channels != 3 or height != width:
            raise PackageError(f"codec {CODEC_NAME}: chunks are (3, p, p), not {chunk_spec.shape}")
        # Off the event loop: decoding takes milliseconds and releases the GIL.
        pixels = await asyncio.to_thread(decode_payload, chunk_bytes.to_bytes(), height)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(np.moveaxis(pixels, 2, 0))

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        raise Conflict("a package is not written through Zarr: compress a slide with `adaslide compress`")
