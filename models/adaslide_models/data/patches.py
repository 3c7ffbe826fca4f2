"""Pairs to learn restoration from: a patch, and the low resolution that its package would keep of it.

The low resolution comes from `adaslide.adapters.rungs.restored.degraded`, the code that serves. It
costs an AVIF encoding each, so that all pairs are made once, before training, by processes.
"""

import io
import math
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from adaslide.adapters.rungs.restored import degraded
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import THREE_QUARTERS, Codec, Rung, RungSpec, Scale
from adaslide_models.data.sources import Source, by_dataset

PixelBatch = npt.NDArray[np.uint8]

FLAT = 6.0
"""A crop whose luma deviates less than this (grey levels) is glass: it teaches nothing."""
TRIES = 6
RUNGS: Mapping[Scale, Rung] = {4: Rung.X4, 2: Rung.X2, THREE_QUARTERS: Rung.X4_3}
"""What stores an image so much smaller than its patch."""

# Optical density of haematoxylin, eosin and the rest (Ruifrok & Johnston 2001), rows normalised.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32)
_UNMIX = np.linalg.inv(_STAINS)


@dataclass(frozen=True, slots=True)
class Variety:
    """How often a crop is made to look like another scanner's: probabilities, and the widest setting."""

    stain: float = 0.5
    stain_spread: float = 0.12
    """Each stain's density is multiplied by 1 ± this."""
    blur: float = 0.35
    blur_sigma: float = 1.3
    """px of the full resolution: a soft scanner's patch must not be sharpened into another one."""
    sharpen: float = 0.2
    sharpen_amount: float = 0.8
    noise: float = 0.15
    noise_sigma: float = 3.0
    """Grey levels."""
    jpeg: float = 0.25
    jpeg_quality: tuple[int, int] = (40, 92)
    """Slides arrive as JPEG: its blocks are part of what an original looks like."""
    glass: float = 0.0
    """Patches at the border of tissue are mostly glass; most training images hold none."""


NONE = Variety(stain=0, blur=0, sharpen=0, noise=0, jpeg=0)


@dataclass(frozen=True, slots=True)
class PairSettings:
    """What the pairs are. ``shrink`` gives the range of area-shrink factors that brings a data set to
    0.25 - 0.5 micrometres per pixel, ``share`` its weight among the crops; both default to 1."""

    count: int
    scale: Scale = 4
    side: int = 256
    """px of a full-resolution crop, which ``scale`` divides."""
    qualities: tuple[int, ...] = (30, 45, 60, 75)
    """AVIF qualities of the low resolution; a lossless version is always added, as the last."""
    speed: int = 6
    shrink: Mapping[str, tuple[float, float]] | None = None
    share: Mapping[str, float] | None = None
    variety: Variety = NONE
    seed: int = 0

    @property
    def specs(self) -> tuple[RungSpec, ...]:
        """How each version of the low resolution is stored."""
        rung = RUNGS[self.scale]
        lossy = (RungSpec(rung, Codec.AVIF, self.scale, q, self.speed) for q in self.qualities)
        return (*lossy, RungSpec(rung, Codec.PNG, self.scale))


@dataclass(frozen=True, slots=True)
class Pairs:
    """``high`` is (n, side, side, 3), ``low`` (n, versions, side / scale, side / scale, 3), both uint8."""

    high: PixelBatch
    low: PixelBatch


def make_pairs(sources: list[Source], settings: PairSettings, processes: int = 2) -> Pairs:
    """Pairs of ``sources``: the same for every number of processes."""
    jobs = crop_jobs(sources, settings)
    cut = partial(_pairs_of, settings=settings)
    if processes == 1:
        parts = list(map(cut, jobs))
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
            parts = list(executor.map(cut, jobs, chunksize=4))
    return Pairs(np.concatenate([high for high, _ in parts]), np.concatenate([low for _, low in parts]))


def crop_jobs(sources: list[Source], settings: PairSettings) -> list[tuple[int, Source, int]]:
    """(seed, image, number of crops): data sets by their share, the images of each alike."""
    share = settings.share or {}
    groups = dict(by_dataset(sources))
    total = sum(share.get(name, 1.0) for name in groups)
    jobs: list[tuple[int, Source, int]] = []
    for name, group in groups.items():
        each = settings.count * share.get(name, 1.0) / total / len(group)
        jobs += [(len(jobs) + i, source, max(1, round(each))) for i, source in enumerate(group)]
    return jobs


def _pairs_of(job: tuple[int, Source, int], settings: PairSettings) -> tuple[PixelBatch, PixelBatch]:
    """(n, side, side, 3) crops of one image and their low-resolution versions."""
    number, source, count = job
    random = np.random.default_rng([settings.seed, number])
    pixels, _ = source.read()
    factors = (settings.shrink or {}).get(source.dataset, (1.0, 1.0))
    high = [
        varied(crop(pixels, settings.side, factors, random), settings.variety, random) for _ in range(count)
    ]
    low = [[degraded(patch, spec) for spec in settings.specs] for patch in high]
    return np.array(high), np.array(low)


def crop(pixels: Pixels, side: int, factors: tuple[float, float], random: np.random.Generator) -> Pixels:
    """A (side, side, 3) crop, area-shrunk by a random factor; one that is not flat, if one is found."""
    most = min(pixels.shape[:2]) / side
    crop = pixels[:side, :side]
    for _ in range(TRIES):
        factor = min(math.exp(random.uniform(math.log(factors[0]), math.log(factors[1]))), most)
        wide = min(round(side * factor), *pixels.shape[:2])
        y, x = (int(random.integers(length - wide + 1)) for length in pixels.shape[:2])
        # Area where it shrinks; an image smaller than a crop must be enlarged.
        filter_ = Image.Resampling.BOX if factor >= 1 else Image.Resampling.BICUBIC
        window = Image.fromarray(pixels[y : y + wide, x : x + wide])
        crop = np.asarray(window.resize((side, side), filter_))
        if crop.mean(axis=2).std() > FLAT:
            break
    return crop


def varied(pixels: Pixels, variety: Variety, random: np.random.Generator) -> Pixels:
    """(h, w, 3) ``pixels`` as another stain, optics, sensor and encoder might have given them."""
    values = pixels.astype(np.float32)
    if variety.glass and random.random() < variety.glass:
        values = _beside_glass(values, random)
    if random.random() < variety.stain:
        values = _restained(values, variety.stain_spread, random)
    if random.random() < variety.blur:
        sigma = random.uniform(0.3, variety.blur_sigma)
        values = gaussian_filter(values, (sigma, sigma, 0))
    if random.random() < variety.sharpen:
        soft = gaussian_filter(values, (1.0, 1.0, 0))
        values = values + random.uniform(0, variety.sharpen_amount) * (values - soft)
    if random.random() < variety.noise:
        sigma = random.uniform(0, variety.noise_sigma)
        values = values + sigma * random.standard_normal(values.shape, np.float32)
    result = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    if random.random() < variety.jpeg:
        buffer = io.BytesIO()
        Image.fromarray(result).save(buffer, "JPEG", quality=int(random.integers(*variety.jpeg_quality)))
        result = np.asarray(Image.open(buffer))
    return result


def _restained(
    values: npt.NDArray[np.float32], spread: float, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Each stain's density scaled, and a little added to it (after Tellez et al. 2018)."""
    density = -np.log10((values + 1) / 256) @ _UNMIX
    density = density * random.uniform(1 - spread, 1 + spread, 3) + random.uniform(-0.02, 0.02, 3)
    restained: npt.NDArray[np.float32] = (256 * 10 ** -(density @ _STAINS) - 1).astype(np.float32)
    return restained


def _beside_glass(values: npt.NDArray[np.float32], random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Half of the patch or more, in blobs with soft edges, as a scanner sees glass."""
    height, width = values.shape[:2]
    blobs = gaussian_filter(random.standard_normal((height, width)), height / random.uniform(4, 12))
    outside = (blobs < np.quantile(blobs, random.uniform(0.5, 1.0))).astype(np.float32)
    share = gaussian_filter(outside, random.uniform(1, 4))[..., None]
    level = random.uniform(226, 246) + random.uniform(-3, 3, 3)
    uneven = gaussian_filter(random.standard_normal((height, width, 1)), (height / 8, height / 8, 0))
    glass = level + 2 * uneven / uneven.std() + random.standard_normal(values.shape) * random.uniform(0.3, 2)
    mixed: npt.NDArray[np.float32] = (values * (1 - share) + glass * share).astype(np.float32)
    return mixed
