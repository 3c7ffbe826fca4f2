"""How well the judge finds nuclei that people drew, beside the judge that needs no training.

    python -m adaslide_models.evaluate.segmenter --data DIR --split FILE [--split FILE ...] [--json]

ONNX only: torch is not needed.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.adapters.segmenters.unet import OnnxSegmenter
from adaslide.domain.pixels import Mask, Pixels
from adaslide_models.data.nuclei import Labelled, load, read_split

WEIGHTS = "nuclei-unet"

Judge = Callable[[Pixels, float], Mask]


def overlap(found: Mask, example: Labelled) -> tuple[float, float]:
    """(Dice, Jaccard) over the counted pixels; both are 1 where neither holds a nucleus."""
    found, nuclei = found & example.counted, example.nuclei & example.counted
    both = np.count_nonzero(found & nuclei)
    total = np.count_nonzero(found) + np.count_nonzero(nuclei)
    return (2 * both / total, both / (total - both)) if total else (1.0, 1.0)


def score(examples: Iterable[Labelled], judge: Judge) -> list[dict[str, Any]]:
    """One row an image: its source, patient, Dice and Jaccard, and what Otsu's threshold reaches."""
    otsu = OtsuSegmenter()
    rows = []
    for example in examples:
        dice, jaccard = overlap(judge(example.image, example.mpp), example)
        baseline, _ = overlap(otsu.masks([example.image], example.mpp)[0], example)
        rows.append(
            {
                "image": example.entry.image,
                "source": example.entry.source,
                "patient": example.entry.patient,
                "dice": dice,
                "jaccard": jaccard,
                "dice_otsu": baseline,
            }
        )
    return rows


def by_source(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """{source: {n, dice, jaccard, dice_otsu}}: means over images."""
    table = {}
    for source in sorted({row["source"] for row in rows}):
        of_source = [row for row in rows if row["source"] == source]
        means = {
            metric: round(float(np.mean([row[metric] for row in of_source])), 4)
            for metric in ("dice", "jaccard", "dice_otsu")
        }
        table[source] = {"n": len(of_source), **means}
    return table


def judge_of(segmenter: OnnxSegmenter) -> Judge:
    """One image at a time, in whatever scale of the labels that the judge knows."""
    return lambda image, mpp: segmenter.masks([image], mpp)[0]


def coarser(example: Labelled, mpp: float) -> Labelled:
    """``example`` shrunk to ``mpp`` micrometres per pixel, as a scanner of that scale would give it."""
    factor = example.mpp / mpp
    height, width = (round(side * factor) for side in example.image.shape[:2])

    def shrunk(plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))

    nuclei, counted = (
        shrunk(mask.astype(np.uint8) * 255) > 127 for mask in (example.nuclei, example.counted)
    )
    return Labelled(example.entry, shrunk(example.image), nuclei, counted, mpp)


def evaluate_segmenter(
    data: Path, split: Path, weights: str | None = None, mpp: float | None = None
) -> dict[str, dict[str, Any]]:
    """{source: {n, dice, jaccard, dice_otsu}} of an installed judge on the images of ``split``.

    At the images' own scale, or shrunk to ``mpp`` first, those left out that are coarser already. Entries of
    points are left out: they have no outline to be compared with.
    """
    segmenter = OnnxSegmenter.of(weights_named(weights or WEIGHTS))
    examples = (load(data, entry) for entry in read_split(split) if entry.kind != "points")
    if mpp is not None:
        examples = (coarser(example, mpp) for example in examples if example.mpp <= mpp)
    return by_source(score(examples, judge_of(segmenter)))


def milliseconds(segmenter: OnnxSegmenter, side: int = 512, runs: int = 15) -> float:
    """Least wall time of one mask of ``side`` px square at the net's own scale."""
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        segmenter.masks([image], segmenter.scaling.mpp)
        times.append(time.perf_counter() - start)
    return round(1000 * min(times), 1)


def main(arguments: list[str] | None = None) -> None:
    """The command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that the splits' paths start in")
    parser.add_argument("--split", type=Path, required=True, action="append")
    parser.add_argument("--mpp", type=float, help="shrink the images to this scale first")
    parser.add_argument("--weights", default=WEIGHTS)
    parser.add_argument("--threads", type=int, default=2, help="for the time of a 512 px patch")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    given = parser.parse_args(arguments)
    weights = weights_named(given.weights)
    result = {
        "weights": weights.name,
        "sha256": weights.digest.hex(),
        "ms_per_512_patch": milliseconds(OnnxSegmenter.of(weights, given.threads)),
        "threads": given.threads,
        **{
            split.stem: evaluate_segmenter(given.data, split, given.weights, given.mpp)
            for split in given.split
        },
    }
    if given.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return
    for split in given.split:
        for source, row in result[split.stem].items():
            sys.stdout.write(
                f"{split.stem:16} {source:16} n {row['n']:3}  dice {row['dice']:.3f}  "
                f"jaccard {row['jaccard']:.3f}  otsu {row['dice_otsu']:.3f}\n"
            )


if __name__ == "__main__":
    main()
