"""The enhancer on ONNX: bicubic, plus the residual that a net predicts."""

from dataclasses import dataclass

import numpy as np

from adaslide.adapters.inference.onnx import Floats, OnnxModel, planes_of
from adaslide.adapters.inference.weights import Weights
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.domain.errors import ModelError
from adaslide.domain.pixels import Pixels


@dataclass(frozen=True, slots=True)
class OnnxRestorer:
    """`Restorer` by a net that maps (1, 3, h, w) in 0..1 to the (1, 3, h * scale, w * scale) residual.

    Images are run one by one: a restored patch then never depends on its neighbours in the batch,
    and on a CPU a larger batch is no faster.
    """

    model: OnnxModel
    scale: int

    @classmethod
    def of(cls, weights: Weights, threads: int = 1) -> "OnnxRestorer":
        """The restorer of an installed weight. Raises `ModelError` when it is none."""
        scale = weights.table.get("scale")
        if weights.kind != "restorer" or scale not in (2, 4):
            raise ModelError(f"the weights {weights.name} are no restorer")
        return cls(OnnxModel(weights.path, weights.digest, threads), scale)

    @property
    def digest(self) -> bytes:
        """sha256 of the weights: what a payload names."""
        return self.model.digest

    def restore(self, batch: list[Pixels]) -> list[Pixels]:
        enlarged = BicubicRestorer(self.scale).restore(batch)
        return [
            with_residual(base, self.model.run(planes_of(low))[0])
            for low, base in zip(batch, enlarged, strict=True)
        ]


def with_residual(base: Pixels, residual: Floats) -> Pixels:
    """(H, W, 3) ``base`` plus the (3, H, W) ``residual`` in units of full scale, rounded to grey levels."""
    pixels = residual.transpose(1, 2, 0) * np.float32(255)
    pixels += base
    restored: Pixels = np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)
    return restored
