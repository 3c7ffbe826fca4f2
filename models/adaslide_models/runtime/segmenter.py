"""The learned judge in torch. Take it from `adaslide_models.runtime.gate`, which has checked it."""

from dataclasses import dataclass
from typing import Self

from adaslide.adapters.inference.weights import Weights
from adaslide.adapters.segmenters.unet import OnnxSegmenter
from adaslide.domain.pixels import Mask, Pixels
from adaslide_models.runtime.device import Device
from adaslide_models.runtime.model import Model, TorchModel, batches

BATCH_PIXELS = 32 * 512 * 512
"""Pixels at the net's scale at once on a CUDA device: 32 patches, 0.13 GB a layer."""


@dataclass(frozen=True, slots=True)
class TorchSegmenter:
    """`Segmenter` as the ``canonical`` one, whose scaling and name it has; in float32 always, in batches."""

    model: Model
    canonical: OnnxSegmenter

    @classmethod
    def of(cls, weights: Weights, device: Device) -> Self:
        """The judge of an installed weight, unchecked. Raises `ModelError` when it is none.

        Its products are float32 whatever ``device`` says: in bfloat16 it would be another judge.
        """
        return cls(TorchModel(weights, device.in_fp32()), OnnxSegmenter.of(weights))

    @property
    def name(self) -> str:
        """The canonical judge's: what both measure is the same promise."""
        return self.canonical.name

    def masks(self, images: list[Pixels], mpp: float) -> list[Mask]:
        scaling = self.canonical.scaling
        scaled = [scaling.scaled(image, mpp) for image in images]
        planes = [scaling.planes(image) for image in scaled]
        masks: dict[int, Mask] = {}
        for group in batches(planes, self.model.device.at_once(BATCH_PIXELS)):
            logits = self.model.run([planes[index] for index in group])
            for index, plane in zip(group, logits[:, 0], strict=True):
                masks[index] = scaling.mask(plane, scaled[index], images[index])
        return [masks[index] for index in range(len(images))]
