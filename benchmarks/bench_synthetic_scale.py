"""Does cost grow with the tissue and memory not with the slide? 20,000 px square against 5,000 px square.

Both slides are drawn by `SyntheticSlide` from the sample's texture, written as tiled JPEG TIFFs and
compressed as any slide is. The small one runs before and after the large one, so that a machine that
slows down in between shows; processor time stands beside wall time, which others on the machine stretch.
"""

import argparse
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import results_file
from adaslide import library, wiring
from adaslide.adapters.slides.synthetic import SyntheticSlide
from adaslide.adapters.slides.tiled_tiff import write_tiled_tiff
from adaslide.domain.geometry import Region, Size

MEMORY_TARGET = 2 * 1000**3
TIME_TARGET = 1.2


class PeakMemory:
    """The greatest sum of the unique and shared-out memory (PSS) of this process and its children."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._stop.wait(0.2):
            total = 0
            for process in (own, *own.children(recursive=True)):
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak_bytes = max(self.peak_bytes, total)


def make_slide(path: Path, side: int, seed: int) -> None:
    """A synthetic slide of ``side`` px as a tiled JPEG TIFF."""
    with wiring.open_slide(results_file.SAMPLE) as sample:
        size = sample.facts.size
        texture = sample.read(Region(0, 0, size.width, size.height))
    write_tiled_tiff(SyntheticSlide(Size(side, side), seed, texture), path)


def processor_seconds() -> float:
    """Processor time so far of this process and of its children that have ended."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def run(path: Path, out: Path) -> dict[str, Any]:
    """Compresses one slide; seconds a patch that is not glass, and the peak memory of all processes."""
    started, worked = time.monotonic(), processor_seconds()
    with PeakMemory() as memory:
        totals = library.compress(path, out)
    seconds, work = time.monotonic() - started, processor_seconds() - worked
    tissue = totals["patches"]["total"] - totals["patches"]["background"]
    return {
        "seconds": round(seconds, 1),
        "patches": totals["patches"]["total"],
        "tissue_patches": tissue,
        "seconds_per_tissue_patch": round(seconds / tissue, 4),
        "processor_seconds_per_tissue_patch": round(work / tissue, 4),
        "peak_pss_bytes": memory.peak_bytes,
        "ratio_source": totals["ratio_source"],
        "violations": totals["violations"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=5_000, metavar="PX")
    parser.add_argument("--large", type=int, default=20_000, metavar="PX")
    sides = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.tif", Path(folder) / "large.tif"
        make_slide(small, sides.small, seed=1)
        make_slide(large, sides.large, seed=1)
        runs = [run(path, path.with_suffix(f".{n}.zarr")) for n, path in enumerate((small, large, small))]
    before, big, after = runs
    ratio, work_ratio = (
        big[name] / float(np.mean([before[name], after[name]]))
        for name in ("seconds_per_tissue_patch", "processor_seconds_per_tissue_patch")
    )
    results_file.write(
        "synthetic_scale",
        {
            "small_before": before,
            "large": big,
            "small_after": after,
            "time_ratio": round(ratio, 3),
            "processor_time_ratio": round(work_ratio, 3),
            "time_ratio_target": TIME_TARGET,
            "time_ratio_met": ratio <= TIME_TARGET,
            "memory_target_bytes": MEMORY_TARGET,
            "memory_met": big["peak_pss_bytes"] < MEMORY_TARGET,
        },
    )


if __name__ == "__main__":
    main()
