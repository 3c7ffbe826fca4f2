"""Do borders of patches show in what is restored, and in uniform AVIF of the same patches?

    python benchmarks/bench_seams.py [SLIDE ...]

Without slides, of the sample. ``ratio`` is 1 where a border is like any other place
(`adaslide_models.evaluate.seams`). AVIF codes the same patches, each alone, at the quality whose bytes come
nearest to those of the profile at its own floor.
"""

import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

import adaslide
import results_file
from adaslide import library, wiring
from adaslide.domain.geometry import Region
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import PROFILES
from adaslide.domain.rung import RESTORED_RUNGS, Rung
from adaslide.package.reader import PackageReader
from adaslide_models.evaluate.seams import seams

FLOORS = (0.8, 0.85, 0.9)
QUALITIES = (20, 25, 30, 35, 40, 45, 50)


def of_package(original: Pixels, package: PackageReader, floor: float) -> dict[str, Any]:
    """The row of one package."""
    height, width = original.shape[:2]
    stored = wiring.restoration(package).read(Region(0, 0, width, height)).pixels
    rungs = [Rung(int(rung)) for rung in package.maps.decision["rung"].ravel()]
    return {
        "name": package.info.attributes["profile"],
        "setting": f"floor {floor:g}",
        "payload_bytes": int(package.maps.decision["bytes"].sum()),
        "share_restored": round(float(np.mean([rung in RESTORED_RUNGS for rung in rungs])), 3),
        **told(original, stored, package.grid.patch),
    }


def of_avif(original: Pixels, patch: int, quality: int) -> dict[str, Any]:
    """The row of uniform AVIF."""
    stored, size = original.copy(), 0
    for top in range(0, original.shape[0], patch):
        for left in range(0, original.shape[1], patch):
            at = slice(top, top + patch), slice(left, left + patch)
            body = imagecodecs.avif_encode(
                np.ascontiguousarray(original[at]), level=quality, speed=6, pixelformat="444", numthreads=1
            )
            size += len(body)
            stored[at] = imagecodecs.avif_decode(body)
    row = {"name": "AVIF 4:4:4 s6", "setting": f"q{quality}", "payload_bytes": size}
    return row | told(original, stored, patch)


def told(original: Pixels, stored: Pixels, patch: int) -> dict[str, float]:
    found = seams(original, stored, patch)
    return {
        "border": round(found.border, 3),
        "within": round(found.within, 3),
        "ratio": round(found.ratio, 3),
    }


def main() -> None:
    result: dict[str, Any] = {}
    for slide in [*map(Path, sys.argv[1:])] or [results_file.SAMPLE]:
        with wiring.open_slide(slide) as reader:
            original = reader.read(Region(0, 0, reader.facts.size.width, reader.facts.size.height))
        with tempfile.TemporaryDirectory() as folder:
            rows = []
            for profile, floor in product(("archive", "archive-fast"), FLOORS):
                out = Path(folder) / f"{profile}-{floor}.zarr"
                adaslide.compress(slide, out, profile=profile, dice_floor=floor)
                package = library.open_package(out)
                rows.append(of_package(original, package, floor))
        own = next(
            row["payload_bytes"]
            for row in rows
            if row["setting"] == f"floor {PROFILES['archive'].floors.dice:g}"
        )
        uniform = [of_avif(original, package.grid.patch, quality) for quality in QUALITIES]
        peer = min(uniform, key=lambda row: abs(row["payload_bytes"] - own))
        result[slide.name] = [*rows, peer]
    results_file.write("seams", {"slides": result})


if __name__ == "__main__":
    main()
