"""The learned judge on ONNX: a net that knows nuclei at one scale, to which every image is brought."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from adaslide.adapters.inference.onnx import Floats, OnnxModel, planes_of
from adaslide.adapters.inference.weights import PIN_DIGITS, Weights
from adaslide.domain.errors import InputError, ModelError
from adaslide.domain.pixels import Mask, Pixels, pad_to

TOLERANCE = 0.1
"""A scale this close to the net's own, relatively, is taken as it is: resampling costs more than it gives."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a net of nuclei must be given, and back from what it gives.

    ``mpp``: micrometres per pixel that it was trained at. ``known``: the least and greatest at which images
    may come. ``multiple``: of its sides, in pixels.
    """

    mpp: float
    known: tuple[float, float]
    multiple: int

    def check(self, mpp: float) -> None:
        """Raises `InputError` for a scale at which nobody measured the net."""
        low, high = self.known
        if not low <= mpp <= high:
            raise InputError(
                f"the judge knows {low:g} to {high:g} micrometres per pixel, and the slide has {mpp:g}; "
                "the profile exact needs no judge"
            )

    def scaled(self, image: Pixels, mpp: float) -> Pixels:
        """``image`` at the net's scale. Raises `InputError` like `check`."""
        self.check(mpp)
        factor = mpp / self.mpp
        if abs(factor - 1) <= TOLERANCE:
            return image
        height, width = (max(1, round(side * factor)) for side in image.shape[:2])
        method = Image.Resampling.BILINEAR if factor < 1 else Image.Resampling.BICUBIC
        return np.asarray(Image.fromarray(image).resize((width, height), method))

    def planes(self, scaled: Pixels) -> Floats:
        """(1, 3, H, W) float32 in 0..1, the last row and column repeated up to a multiple."""
        height, width = (-(-side // self.multiple) * self.multiple for side in scaled.shape[:2])
        return planes_of(pad_to(scaled, height, width))

    def mask(self, logits: Floats, scaled: Pixels, image: Pixels) -> Mask:
        """The (H, W) logits of ``scaled`` as a mask of ``image``: enlarged as numbers, so that outlines stay
        smooth, and then cut at even odds."""
        height, width = scaled.shape[:2]
        inside = logits[:height, :width]
        if scaled.shape != image.shape:
            size = image.shape[1], image.shape[0]
            plane = Image.fromarray(np.ascontiguousarray(inside))
            inside = np.asarray(plane.resize(size, Image.Resampling.BILINEAR))
        mask: Mask = inside > 0
        return mask


@dataclass(frozen=True, slots=True)
class OnnxSegmenter:
    """`Segmenter` by a net that maps (1, 3, H, W) in 0..1 to (1, 1, H, W) logits.

    Images are run one by one: a mask then never depends on which images came along.
    """

    model: OnnxModel
    scaling: Scaling
    title: str

    @classmethod
    def of(cls, weights: Weights, threads: int = 1) -> Self:
        """The judge of an installed weight. Raises `ModelError` when it is none."""
        table = weights.table
        try:
            low, high = table["known_mpp"]
            scaling = Scaling(float(table["mpp"]), (float(low), float(high)), int(table["multiple"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the weights {weights.name} are no segmenter") from error
        if weights.kind != "segmenter":
            raise ModelError(f"the weights {weights.name} are no segmenter")
        return cls(OnnxModel(weights.path, weights.digest, threads), scaling, weights.name)

    @property
    def name(self) -> str:
        """With the digest: another training of the same net is another judge."""
        return f"{self.title}@{self.model.digest.hex()[:PIN_DIGITS]}"

    def masks(self, images: list[Pixels], mpp: float) -> list[Mask]:
        return [self._mask(image, mpp) for image in images]

    def _mask(self, image: Pixels, mpp: float) -> Mask:
        scaled = self.scaling.scaled(image, mpp)
        logits = self.model.run(self.scaling.planes(scaled))
        return self.scaling.mask(logits[0, 0], scaled, image)
