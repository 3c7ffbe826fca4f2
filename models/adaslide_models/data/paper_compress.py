"""What the published Compress does to a patch, by the code that serves: the agent's question and its answer.

Needs no torch.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.restorers.onnx import OnnxRestorer
from adaslide.adapters.rungs.restored import degraded
from adaslide.adapters.segmenters.unet import OnnxSegmenter
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Codec, Rung, RungSpec
from adaslide.pipeline.measure import dice

JUDGE = "nuclei-unet"
RESTORER = "fie-compact-x4"
SCALE = 4
COMPRESS = RungSpec(Rung.PAPER_COMPRESS, Codec.PNG, SCALE)

Floats = npt.NDArray[np.float32]

MPP = {
    "brca_m2c": 0.5, "ocdc": 0.5, "camelyon16": 0.24, "osteosarcoma": 1.0, "brecahad": 0.15,
    "breakhis400": 0.1, "crc_val_he": 0.5, "oral_224": 0.9, "tnbc": 0.2, "nucls": 0.2,
}  # fmt: skip
"""Micrometres per pixel of data sets whose files record none; brca_m2c, nucls and crc_val_he are known, the
others estimated from their magnification."""


@dataclass(frozen=True, slots=True)
class PaperCompress:
    """Compresses patches as the publication does, and judges them. Picklable."""

    judge: OnnxSegmenter
    restorer: OnnxRestorer

    @classmethod
    def installed(cls, threads: int = 1) -> "PaperCompress":
        """With the installed judge and enhancer. Raises `WeightsMissing`."""
        return cls(
            OnnxSegmenter.of(weights_named(JUDGE), threads), OnnxRestorer.of(weights_named(RESTORER), threads)
        )

    @property
    def digests(self) -> tuple[str, str]:
        """Hexadecimal sha256 of the judge and of the enhancer: another of either gives other numbers."""
        return self.judge.model.digest.hex(), self.restorer.digest.hex()

    def dice(self, patch: Pixels, mpp: float) -> float:
        """Dice of the judge's masks of ``patch`` and of what comes back of it.

        (h, w, 3), both multiples of 4. Raises `InputError` for a scale that the judge does not know.
        """
        restored = self.restorer.restore([degraded(patch, COMPRESS)])[0]
        original, other = self.judge.masks([patch, restored], mpp)
        return dice(original, other)
