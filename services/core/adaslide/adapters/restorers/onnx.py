"""The enhancer on ONNX: bicubic, plus the residual that a net predicts."""

from dataclasses import dataclass

import numpy as np

from adaslide.adapters.inference.onnx import Floats, OnnxModel, planes_of
from adaslide.adapters.inference.weights import Weights
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.domain.errors import ModelError
from adaslide.domain.pixels import Pixels, pad_to


@dataclass(frozen=True, slots=True)
class OnnxRestorer:
    """`Restorer` by a net that maps (1, 3, h, w) in 0..1 to the (1, 3, h * scale, w * scale) residual, sides
    multiples of ``fold``: images are padded by their edges.

    Images are run one by one: a restored patch then never depends on its neighbours in the batch,
    and on a CPU a larger batch is no faster.
    """

    model: OnnxModel
    scale: int
    fold: int = 1

    @classmethod
    def of(cls, weights: Weights, threads: int = 1) -> "OnnxRestorer":
        """The restorer of an installed weight. Raises `ModelError` when it is none."""
        scale, fold = weights.table.get("scale"), weights.table.get("fold", 1)
        if weights.kind != "restorer" or scale not in (2, 4) or fold not in (1, 2, 4):
            raise ModelError(f"the weights {weights.name} are no restorer")
        return cls(OnnxModel(weights.path, weights.digest, threads), scale, fold)

    @property
    def digest(self) -> bytes:
        """sha256 of the weights: what a payload names."""
        return self.model.digest

    def restore(self, batch: list[Pixels]) -> list[Pixels]:
        enlarged = BicubicRestorer(self.scale).restore(batch)
        return [
            with_residual(base, self.model.run(folded(low, self.fold))[0])
            for low, base in zip(batch, enlarged, strict=True)
        ]


def folded(low: Pixels, fold: int) -> Floats:
    """(1, 3, H, W) in 0..1 of (h, w, 3) ``low``, sides made multiples of ``fold`` by repeating its edge."""
    height, width = (-(-side // fold) * fold for side in low.shape[:2])
    return planes_of(pad_to(low, height, width))


def with_residual(base: Pixels, residual: Floats) -> Pixels:
    """(H, W, 3) ``base`` plus the first H rows and W columns of the (3, ..) ``residual`` in units
    of full scale, rounded to grey levels."""
    height, width = base.shape[:2]
    pixels = residual[:, :height, :width].transpose(1, 2, 0) * np.float32(255)
    pixels += base
    restored: Pixels = np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)
    return restored
