"""The restorer that needs no training. Libraries disagree on what they call bicubic: this is Pillow's."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Scale


@dataclass(frozen=True, slots=True)
class BicubicRestorer:
    """Bicubic with a = -0.5 and half-pixel centres; `Restorer`."""

    scale: Scale

    def restore(self, batch: list[Pixels]) -> list[Pixels]:
        return [self._enlarged(image) for image in batch]

    def _enlarged(self, image: Pixels) -> Pixels:
        height, width = image.shape[:2]
        size = int(width * self.scale), int(height * self.scale)
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
