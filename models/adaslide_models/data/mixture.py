"""How the data sets are brought to one scale, and how much each counts, where crops are drawn from all."""

import math
from dataclasses import dataclass

import numpy as np

SHRINK = {
    "brca_m2c": (1.0, 1.25),
    "ocdc": (1.0, 1.25),
    "osteosarcoma": (1.0, 1.6),
    "brecahad": (1.8, 3.4),
    "breakhis400": (2.5, 5.0),
}
"""Area-shrink factors that bring a data set to 0.25 - 0.5 micrometres per pixel, and its camera's
softness or its JPEG noise out of the way. Others stay as they are."""

SHARE = {"brca_m2c": 5.0, "ocdc": 1.2, "osteosarcoma": 1.4, "brecahad": 2.0, "breakhis400": 1.0}
"""Weights among the crops: the 20x scanner counts most, the 10x one (1 micrometre, JPEG 75) less."""


@dataclass(frozen=True, slots=True)
class Own:
    """Images at scales of their own, micrometres per pixel: that of the files, and the least and greatest
    that crops are shrunk to. ``share`` is their weight among such crops."""

    mpp: float
    crops: tuple[float, float]
    share: float

    def drawn(self, random: np.random.Generator) -> float:
        """Of a crop: every octave alike."""
        return math.exp(random.uniform(*map(math.log, self.crops)))


OWN = {
    "brecahad": Own(0.15, (0.15, 0.30), 6.0),
    "breakhis400": Own(0.1, (0.1, 0.1), 2.0),
    "osteosarcoma": Own(1.0, (1.0, 1.0), 1.5),
}
"""The data sets of another scale than the 20x scanner's: 40x to 80x, and 10x. A field of breakhis400 is no
larger than a patch, and stays as it is."""
