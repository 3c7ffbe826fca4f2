"""The enhancer in torch. Take it from `adaslide_models.runtime.gate`, which has checked it."""

from dataclasses import dataclass

from adaslide.adapters.inference.onnx import planes_of
from adaslide.adapters.inference.weights import Weights
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.restorers.onnx import OnnxRestorer, whole, with_residual
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Scale
from adaslide_models.runtime.device import Device
from adaslide_models.runtime.model import Model, TorchModel, batches

BATCH_PATCHES = 64
BATCH_PIXELS = BATCH_PATCHES * 128 * 128
"""Low-resolution pixels at once on a CUDA device: 64 patches, 0.1 GB a layer in bfloat16."""


@dataclass(frozen=True, slots=True)
class TorchRestorer:
    """`Restorer` as `OnnxRestorer`, but run in batches: bicubic, the sum and the rounding are the same code.

    In a batch, other kernels may be chosen: the last digits of a patch then depend on how many came along.
    """

    model: Model
    scale: Scale
    multiple: int = 1

    @classmethod
    def of(cls, weights: Weights, device: Device) -> "TorchRestorer":
        """The restorer of an installed weight, unchecked. Raises `ModelError` when it is none."""
        as_onnx = OnnxRestorer.of(weights)
        return cls(TorchModel(weights, device), as_onnx.scale, as_onnx.multiple)

    @property
    def digest(self) -> bytes:
        """sha256 of the weights as ONNX: what a payload names, whatever restores it."""
        return self.model.weights.digest

    @property
    def at_once(self) -> int:
        """`SupportsBatches`: as many as fill a CUDA device; on the CPU one is as fast as several."""
        return 1 if self.model.device.name == "cpu" else BATCH_PATCHES

    def restore(self, batch: list[Pixels]) -> list[Pixels]:
        planes = [planes_of(whole(low, self.multiple)) for low in batch]
        restored = BicubicRestorer(self.scale).restore(batch)
        for group in batches(planes, self.model.device.at_once(BATCH_PIXELS)):
            residuals = self.model.run([planes[index] for index in group])
            for index, residual in zip(group, residuals, strict=True):
                restored[index] = with_residual(restored[index], residual)
        return restored
