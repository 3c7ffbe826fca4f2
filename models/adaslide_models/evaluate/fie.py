"""What an enhancer is worth on images it has not seen: against bicubic, per data set. Needs no torch."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.restorers.onnx import OnnxRestorer
from adaslide.adapters.rungs.restored import degraded
from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.domain.fidelity import Fidelity
from adaslide.domain.pixels import Pixels, pad_to
from adaslide.domain.rung import THREE_QUARTERS, Codec, RungSpec, Scale
from adaslide.pipeline.glass import is_constant
from adaslide.pipeline.measure import Measurer
from adaslide_models.data.patches import RUNGS
from adaslide_models.data.sources import Source, by_dataset, read_split

PATCH = 512
DEFAULT_WEIGHTS = "fie-compact-x4"
ASSUMED_MPP = 0.5
"""Micrometres per pixel of images that record none; the judge's smoothing depends on it."""
QUALITIES: Mapping[Scale, tuple[int, ...]] = {4: (45, 60), 2: (45, 60), THREE_QUARTERS: (30, 45)}
"""Of AVIF, as packages store what is restored by that scale."""
METRICS = ("psnr", "ssim", "dice")


def evaluate(data: Path, split: Path, weights: str = DEFAULT_WEIGHTS, threads: int = 1) -> dict[str, Any]:
    """Per data set: n patches, then means over them of PSNR (dB), SSIM of luma and the Otsu judge's Dice,
    restored by ``weights`` and (``_bicubic``) by bicubic, from lossless low resolution.

    ``stored`` holds the same from low resolution as packages store it, by AVIF quality.
    ``dice_not_worse`` is the share of patches that the net restores no worse than bicubic in Dice.
    """
    restorer = OnnxRestorer.of(weights_named(weights), threads)
    specs = _specs(restorer.scale)
    result: dict[str, Any] = {}
    for name, sources in by_dataset(read_split(data, split)):
        rows = [_measured(patch, mpp, restorer, specs) for s in sources for patch, mpp in patches(s)]
        if rows:
            summaries = [_summary(np.array(version)) for version in zip(*rows, strict=True)]
            stored = {f"q{spec.quality}": summary for spec, summary in zip(specs, summaries, strict=True)}
            result[name] = {"n": len(rows), **stored.pop("q0"), "stored": stored}
    return result


def _specs(scale: Scale) -> list[RungSpec]:
    rung = RUNGS[scale]
    stored = (RungSpec(rung, Codec.AVIF, scale, q) for q in QUALITIES[scale])
    return [RungSpec(rung, Codec.PNG, scale), *stored]


def patches(source: Source, assumed_mpp: float = ASSUMED_MPP) -> Iterator[tuple[Pixels, float]]:
    """The whole patches of an image, row by row, with its micrometres per pixel (``assumed_mpp`` where it
    records none); an image smaller than a patch is one. Glass is left out: no package restores it."""
    pixels, mpp = source.read()
    height, width = pixels.shape[:2]
    for y in range(0, max(height - PATCH, 0) + 1, PATCH):
        for x in range(0, max(width - PATCH, 0) + 1, PATCH):
            patch = pixels[y : y + PATCH, x : x + PATCH]
            red, green, blue = (round(float(mean)) for mean in patch.mean(axis=(0, 1)))
            if not is_constant(patch, (red, green, blue)):
                yield patch, mpp or assumed_mpp


def _measured(
    patch: Pixels, mpp: float, restorer: OnnxRestorer, specs: list[RungSpec]
) -> list[tuple[Fidelity, Fidelity]]:
    """(net, bicubic) for each version of the low resolution. As in a package, a patch that is not whole
    has its edge repeated, and its valid pixels alone are measured."""
    height, width = patch.shape[:2]
    whole = pad_to(patch, PATCH, PATCH)
    measurer = Measurer(patch, mpp, OtsuSegmenter())
    rows = []
    for spec in specs:
        low = degraded(whole, spec)
        net, bicubic = (
            measurer.measure(each.restore([low])[0][:height, :width])
            for each in (restorer, BicubicRestorer(restorer.scale))
        )
        rows.append((net, bicubic))
    return rows


def _summary(pairs: npt.NDArray[np.object_]) -> dict[str, float]:
    """``pairs`` is (n, 2) of `Fidelity`."""
    summary: dict[str, float] = {}
    for metric in METRICS:
        values = np.array([[getattr(fidelity, metric) for fidelity in pair] for pair in pairs])
        net, bicubic = values.mean(axis=0)
        summary |= {metric: round(float(net), 4), f"{metric}_bicubic": round(float(bicubic), 4)}
    summary["dice_not_worse"] = round(float((values[:, 0] >= values[:, 1]).mean()), 4)
    return summary
