"""Filters that stored payloads name: libraries disagree on what they call bilinear and bicubic."""

import numpy as np
from PIL import Image

from adaslide.domain.pixels import Pixels


def shrink_bilinear(pixels: Pixels, factor: int) -> Pixels:
    """The paper's degradation: bilinear (with antialiasing, Pillow's), Methods "FIE training"."""
    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((width // factor, height // factor), Image.Resampling.BILINEAR))


def enlarge_bicubic(pixels: Pixels, factor: int) -> Pixels:
    """Pillow's bicubic (a = -0.5), half-pixel centres."""
    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((width * factor, height * factor), Image.Resampling.BICUBIC))
