"""The enhancer on ONNX: bicubic, plus the residual that a net predicts."""

from dataclasses import dataclass

import numpy as np

from adaslide.adapters.inference.onnx import Floats, OnnxModel, planes_of
from adaslide.adapters.inference.weights import Weights
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.domain.errors import ModelError
from adaslide.domain.pixels import Pixels, pad_to
from adaslide.domain.rung import THREE_QUARTERS, Scale, scale_of

SCALES: frozenset[Scale] = frozenset({THREE_QUARTERS, 2, 4})


@dataclass(frozen=True, slots=True)
class OnnxRestorer:
    """`Restorer` by a net that maps (1, 3, h, w) in 0..1 to the (1, 3, h * scale, w * scale) residual.
    It takes sides that are multiples of ``multiple``: others have their last row and column repeated.

    Images are run one by one: a restored patch then never depends on its neighbours in the batch,
    and on a CPU a larger batch is no faster.
    """

    model: OnnxModel
    scale: Scale
    multiple: int = 1

    @classmethod
    def of(cls, weights: Weights, threads: int = 1) -> "OnnxRestorer":
        """The restorer of an installed weight. Raises `ModelError` when it is none."""
        try:
            scale, multiple = scale_of(weights.table["scale"]), int(weights.table.get("fold", 1))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the weights {weights.name} are no restorer") from error
        if weights.kind != "restorer" or scale not in SCALES or multiple < 1:
            raise ModelError(f"the weights {weights.name} are no restorer")
        return cls(OnnxModel(weights.path, weights.digest, threads), scale, multiple)

    @property
    def digest(self) -> bytes:
        """sha256 of the weights: what a payload names."""
        return self.model.digest

    def restore(self, batch: list[Pixels]) -> list[Pixels]:
        enlarged = BicubicRestorer(self.scale).restore(batch)
        return [
            with_residual(base, self.model.run(planes_of(whole(low, self.multiple)))[0])
            for low, base in zip(batch, enlarged, strict=True)
        ]


def whole(low: Pixels, multiple: int) -> Pixels:
    """``low`` with its last row and column repeated up to sides that are multiples of ``multiple``."""
    height, width = (-(-side // multiple) * multiple for side in low.shape[:2])
    return pad_to(low, height, width)


def with_residual(base: Pixels, residual: Floats) -> Pixels:
    """(H, W, 3) ``base`` plus the (3, H, W) ``residual`` in units of full scale, rounded to grey levels.

    A residual of more rows and columns is cut to ``base``.
    """
    height, width = base.shape[:2]
    pixels = residual[:, :height, :width].transpose(1, 2, 0) * np.float32(255)
    pixels += base
    restored: Pixels = np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)
    return restored
