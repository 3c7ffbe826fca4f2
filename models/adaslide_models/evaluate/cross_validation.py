"""The folds of a cross-validation as one result: every image scored by a net that knew none of its patient.

python -m adaslide_models.evaluate.cross_validation FOLD/result.json [FOLD/result.json ...]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adaslide_models.evaluate.segmenter import by_source

RESAMPLES = 10_000
LEVEL = 90
"""Percent of the resampled means that an interval holds."""


def interval(values: npt.NDArray[np.float64], groups: Sequence[str]) -> list[float]:
    """[low, high] of the mean of ``values``, resampling ``groups`` whole: images of a patient are alike."""
    names = sorted(set(groups))
    of_group = np.array([[group == name for group in groups] for name in names], np.float64)
    sums, counts = of_group @ values, of_group.sum(axis=1)
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (100 - LEVEL) / 2
    return [round(float(bound), 4) for bound in np.percentile(means, [tail, 100 - tail])]


def pooled(results: list[dict[str, Any]]) -> dict[str, Any]:
    """What the ``result.json`` of folds say together. Raises `ValueError` if folds share an image."""
    rows = [row for result in results for row in result["scored"]]
    if len({row["image"] for row in rows}) != len(rows):
        raise ValueError("an image is in two folds")
    patients = [row["patient"] for row in rows]
    table: dict[str, Any] = {"n": len(rows), "patients": len(set(patients)), "folds": len(results)}
    for metric in ("dice", "dice_otsu"):
        values = np.array([row[metric] for row in rows])
        table[metric] = round(float(values.mean()), 4)
        table[f"{metric}_interval"] = interval(values, patients)
    return {"all": table, "by_source": by_source(rows), "seconds": [result["seconds"] for result in results]}


def main(arguments: list[str] | None = None) -> None:
    """The command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--without", help="leave out images whose name holds this text")
    given = parser.parse_args(arguments)
    results = [json.loads(path.read_text()) for path in given.results]
    if given.without:
        for each in results:
            each["scored"] = [row for row in each["scored"] if given.without not in row["image"]]
    result = pooled(results)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
