"""Lambda as a dial: bytes and nuclei Dice of slides under `archive` over twelve lambdas.

    python benchmarks/bench_lambda.py [SLIDE ...]

Without slides, of the sample. Slides that state no scale are taken to have 0.5 micrometres per pixel.
``falls`` counts the patches whose bytes, or Dice, fell from one lambda to the next: none may.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import results_file
from adaslide import library
from adaslide.domain.errors import MissingMpp
from adaslide.domain.rung import LOSSLESS_RUNGS, Rung

LAMBDAS = (0.0, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.25, 0.4, 0.6, 0.8, 1.0)
MPP = 0.5


def compressed(slide: Path, lambda_: float, folder: Path) -> tuple[dict[str, Any], Any, Any]:
    """The row of one package, and its bytes and Dice by patch, without glass."""
    out = folder / f"{lambda_:g}.zarr"
    try:
        totals = library.compress(slide, out, lambda_=lambda_)
    except MissingMpp:
        totals = library.compress(slide, out, lambda_=lambda_, mpp=MPP)
    maps = library.open_package(out).maps
    judged = maps.decision["rung"] != Rung.BACKGROUND
    sizes, dice = maps.decision["bytes"][judged].astype(int), maps.quality["dice"][judged]
    row = {
        "lambda": lambda_,
        "package_bytes": totals["package_bytes"],
        "payload_bytes": int(sizes.sum()),
        "dice_mean": round(float(dice.mean()), 4),
        "share_whole": round(float(np.isin(maps.decision["rung"][judged], list(LOSSLESS_RUNGS)).mean()), 4),
        "measurements_per_patch": totals["measurements_per_patch"],
        "violations": totals["violations"],
    }
    return row, sizes, dice


def main() -> None:
    result = {}
    for slide in [*map(Path, sys.argv[1:])] or [results_file.SAMPLE]:
        rows, falls, before = [], 0, None
        with tempfile.TemporaryDirectory() as folder:
            for lambda_ in LAMBDAS:
                row, sizes, dice = compressed(slide, lambda_, Path(folder))
                if before is not None:
                    falls += int(np.sum((sizes < before[0]) | (dice < before[1])))
                rows.append(row)
                before = sizes, dice
        result[slide.name] = {"n": len(sizes), "falls": falls, "rows": rows}
    results_file.write("lambda", {"slides": result})


if __name__ == "__main__":
    main()
