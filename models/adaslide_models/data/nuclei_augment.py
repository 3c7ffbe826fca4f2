"""Training crops for the nuclei judge: one scale, many stains, scanners and codecs.

What a judge must not react to is varied here; what it must react to (lost or invented nuclei) is not.
Densities are optical densities, -log10 of the transmitted share; stain vectors after Ruifrok & Johnston 2001.
"""

from dataclasses import dataclass

import imagecodecs
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import hed_from_rgb

from adaslide.adapters.segmenters.otsu import OPTICAL_DENSITY
from adaslide.domain.pixels import Pixels
from adaslide_models.data.nuclei import Labelled

Floats = npt.NDArray[np.float32]

STAINS_INVERSE = hed_from_rgb.astype(np.float32)
STAINS = np.linalg.inv(hed_from_rgb).astype(np.float32)
"""Rows: the densities in R, G, B of haematoxylin, eosin, DAB."""
SINGLE_STAIN = ("dsb2018_purple", "dsb2018_smear")
"""Looks with one stain, recoloured as haematoxylin beside an invented eosin."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far each thing is varied. Probabilities are 0..1, densities and grey levels as named."""

    mpp: tuple[float, float] = (0.35, 0.7)
    stain_gain: tuple[float, float] = (0.6, 1.5)
    stain_offset: float = 0.04
    mixing: float = 0.06
    """Standard deviation of the change of the stains' colours themselves."""
    light: tuple[float, float] = (0.88, 1.04)
    blur: float = 0.35
    blur_sigma: tuple[float, float] = (0.3, 1.1)
    sharpen: float = 0.15
    noise: float = 0.35
    noise_grey_levels: tuple[float, float] = (1.0, 6.0)
    jpeg: float = 0.3
    jpeg_quality: tuple[int, int] = (30, 92)
    avif: float = 0.15
    avif_quality: tuple[int, int] = (25, 75)


@dataclass(frozen=True, slots=True)
class Crop:
    """A training example, all (side, side): pixels, share of nucleus 0..1, and 1 where the share counts."""

    image: Pixels
    target: Floats
    weight: Floats


class Augmenter:
    """Makes crops of ``side`` px. All chance comes from the generator that a call is given."""

    def __init__(self, side: int, options: Augmentation) -> None:
        self._side = side
        self._options = options

    def __call__(self, example: Labelled, chance: np.random.Generator) -> Crop:
        low, high = np.log(self._options.mpp)
        crop = self._cut(example, float(np.exp(chance.uniform(low, high))), chance)
        image, target, weight = _turned((crop.image, crop.target, crop.weight), chance)
        density = OPTICAL_DENSITY[image]
        if example.entry.source in SINGLE_STAIN:
            density = _recoloured(density, chance)
        return Crop(
            self._codec(self._scanned(self._stained(density, chance), chance), chance), target, weight
        )

    def _cut(self, example: Labelled, mpp: float, chance: np.random.Generator) -> Crop:
        """A window at ``mpp``; an image smaller than the window is mirrored to fill it."""
        factor = example.mpp / mpp
        height, width = example.image.shape[:2]
        rows, cols = (min(self._side, int(side * factor)) for side in (height, width))
        top = chance.uniform(0, height - rows / factor)
        left = chance.uniform(0, width - cols / factor)
        box = left, top, min(left + cols / factor, width), min(top + rows / factor, height)

        def resized(plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
            small = Image.fromarray(plane).resize((cols, rows), Image.Resampling.BILINEAR, box)
            missing = [(0, self._side - rows), (0, self._side - cols), (0, 0)][: plane.ndim]
            return np.pad(np.asarray(small), missing, mode="symmetric")

        target = resized(example.nuclei.astype(np.uint8) * 255).astype(np.float32) / 255
        weight = (resized(example.counted.astype(np.uint8) * 255) > 250).astype(np.float32)
        return Crop(resized(example.image), target, weight)

    def _stained(self, density: Floats, chance: np.random.Generator) -> Floats:
        """Other amounts of the same stains, and slightly other stains. Returns the transmitted share."""
        options = self._options
        amounts = density @ STAINS_INVERSE
        amounts *= chance.uniform(*options.stain_gain, 3).astype(np.float32)
        amounts += chance.uniform(-options.stain_offset, options.stain_offset, 3).astype(np.float32)
        mixing = np.eye(3) + chance.normal(0, options.mixing, (3, 3))
        colours = (STAINS @ mixing).astype(np.float32)
        return np.power(np.float32(10), -np.maximum(amounts @ colours, 0))

    def _scanned(self, light: Floats, chance: np.random.Generator) -> Pixels:
        options = self._options
        light = light * (chance.uniform(*options.light) * chance.uniform(0.97, 1.03, 3)).astype(np.float32)
        if chance.random() < options.blur:
            sigma = chance.uniform(*options.blur_sigma)
            light = gaussian_filter(light, (sigma, sigma, 0))
        elif chance.random() < options.sharpen:
            light = light + chance.uniform(0.3, 1.0) * (light - gaussian_filter(light, (1, 1, 0)))
        pixels = light * 255
        if chance.random() < options.noise:
            sigma = chance.uniform(*options.noise_grey_levels)
            pixels = pixels + sigma * chance.standard_normal(pixels.shape, np.float32)
        return (pixels + 0.5).clip(0, 255).astype(np.uint8)

    def _codec(self, image: Pixels, chance: np.random.Generator) -> Pixels:
        options, draw = self._options, chance.random()
        if draw < options.jpeg:
            quality = int(chance.integers(*options.jpeg_quality))
            layout = str(chance.choice(("444", "420")))
            return simplejpeg.decode_jpeg(
                simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, colorsubsampling=layout)
            )
        if draw < options.jpeg + options.avif:
            quality = int(chance.integers(*options.avif_quality))
            data = imagecodecs.avif_encode(np.ascontiguousarray(image), level=quality, speed=10, numthreads=1)
            return imagecodecs.avif_decode(data, numthreads=1)
        return image


def _turned(planes: tuple[npt.NDArray, ...], chance: np.random.Generator) -> list[npt.NDArray]:
    """All planes by the same one of the eight turns and mirrors of a square."""
    turns, mirrored = int(chance.integers(4)), chance.random() < 0.5
    turned = [np.rot90(plane, turns) for plane in planes]
    return [np.ascontiguousarray(plane[:, ::-1] if mirrored else plane) for plane in turned]


def _recoloured(density: Floats, chance: np.random.Generator) -> Floats:
    """One stain as haematoxylin on a faint, cloudy eosin: shapes of nuclei in the colours of H&E."""
    amount = density.mean(axis=2)
    amount = np.maximum(amount - np.percentile(amount, 10), 0)
    peak = max(float(np.percentile(amount, 99)), 0.1)
    haematoxylin = amount / peak * np.float32(chance.uniform(0.25, 0.75))
    clouds = gaussian_filter(chance.standard_normal(amount.shape, np.float32), chance.uniform(2, 10))
    clouds /= float(np.abs(clouds).max())
    tissue = 1 - np.minimum(amount / peak, 1)
    eosin = np.float32(chance.uniform(0.02, 0.35)) * (1 + np.float32(0.6) * clouds) * tissue
    amounts = np.stack((haematoxylin, eosin, np.zeros_like(eosin)), axis=2)
    return amounts @ STAINS
