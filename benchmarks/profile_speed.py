"""Verified tissue patches a second, bytes and memory of each profile, in one run.

Of the sample, of the sample nine times side by side with a pyramid, and of ``SLIDE``s. Slides that state no
scale are taken to have 0.5 micrometres per pixel. As many processes as there are cores encode, measure and
read back; starting them, overviews and reading back count.
``judge_calls_per_patch`` is the same with the machine divided out: the time of all cores for a patch, in
calls of the judge on one, timed between the packages.
"""

import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import adaslide
import results_file
from adaslide import wiring
from adaslide.domain.geometry import Region
from adaslide.domain.profile import PROFILES as PRESENT
from jpeg_slide import write_jpeg_slide

PROFILES = ("archive", "archive-fast")
MPP = 0.5
ROUNDS = 3
"""In each of which the profiles take turns; the best of each counts: the first also loads nets from disk, and
others may work on the machine."""
COPIES = 3
"""Of the sample along each side of the larger slide: what is done once for a slide weighs less there."""
PYRAMID = (4, 16)
"""Its further levels, as a scanner writes them."""


def judge_seconds(calls: int = 8) -> float:
    """Of the judge on a patch of the sample, one thread: the median."""
    judge = wiring.judge_named(PRESENT["archive"].judge, MPP)
    with wiring.open_slide(results_file.SAMPLE) as reader:
        patch = reader.read(Region(1000, 1000, 512, 512))
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        judge.masks([patch], MPP)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def larger(folder: Path) -> Path:
    """The sample, `COPIES` times along each side, in JPEG tiles, with its pyramid."""
    with wiring.open_slide(results_file.SAMPLE) as reader:
        size = reader.facts.size
        pixels = reader.read(Region(0, 0, size.width, size.height))
    path = folder / f"sample x{COPIES**2}.tif"
    return write_jpeg_slide(path, np.tile(pixels, (COPIES, COPIES, 1)), tile=240, level=90, shrunk=PYRAMID)


def compressed(slide: Path, profile: str, out: Path) -> dict[str, Any]:
    """The row of one package."""
    with wiring.open_slide(slide) as reader:
        mpp = MPP if reader.facts.mpp is None else None
    start = time.monotonic()
    totals = adaslide.compress(slide, out, profile=profile, mpp=mpp)
    seconds = time.monotonic() - start
    tissue = totals["patches"]["total"] - totals["patches"]["background"]
    return {
        "profile": totals["profile"],
        "tissue_patches_per_second": round(tissue / seconds, 2),
        "seconds": round(seconds, 2),
        "tissue_patches": tissue,
        "package_bytes": totals["package_bytes"],
        "measurements_per_patch": totals["measurements_per_patch"],
        "dice_mean": round(totals["fidelity"]["dice"]["mean"], 4),
        "violations": totals["violations"],
        "peak_rss_mb": round(totals["peak_rss_bytes"] / 1e6),
    }


def measured(slide: Path, profile: str, folder: Path) -> dict[str, Any]:
    """The same with what it is in calls of the judge."""
    out = folder / "one.zarr"
    judge = judge_seconds()
    row = compressed(slide, profile, out)
    shutil.rmtree(out)
    judge = (judge + judge_seconds()) / 2
    each = os.cpu_count() * row["seconds"] / row["tissue_patches"]
    return row | {"judge_ms": round(1000 * judge, 1), "judge_calls_per_patch": round(each / judge, 2)}


def main() -> None:
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        # Its memory must not count as that of compressing.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            large = other.submit(larger, Path(folder)).result()
        for slide in (results_file.SAMPLE, large, *map(Path, sys.argv[1:])):
            rounds = [[measured(slide, name, Path(folder)) for name in PROFILES] for _ in range(ROUNDS)]
            rows = [
                max(turns, key=lambda row: row["tissue_patches_per_second"])
                for turns in zip(*rounds, strict=True)
            ]
            peer = rows[0]
            for row in rows:
                row["speed_x"] = round(
                    row["tissue_patches_per_second"] / peer["tissue_patches_per_second"], 3
                )
                row["bytes_x"] = round(row["package_bytes"] / peer["package_bytes"], 3)
            result[slide.name] = rows
    results_file.write("profiles", {"slides": result})
