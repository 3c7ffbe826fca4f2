"""The adaptive package against one AVIF setting for every patch, at the same floors of the same judge.

The uniform codec is given the package's own advantages: glass costs it nothing, and neither index,
overviews, maps nor metadata are counted for it. The package is counted whole.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import results_file
from adaslide import library, wiring
from adaslide.domain.fidelity import Fidelity
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import PROFILES
from adaslide.domain.rung import Codec, Rung
from adaslide.pipeline.check_patch import PatchChecker

QUALITIES = range(20, 61)
"""Tried upwards until one holds every floor on every patch."""


def judged_patches(package_path: Path) -> list[Pixels]:
    """The original pixels of the package's patches that are not glass."""
    package = library.open_package(package_path)
    places = np.argwhere(package.maps.decision["rung"] != Rung.BACKGROUND)
    with wiring.open_slide(results_file.SAMPLE) as slide:
        return [slide.read(package.grid.region(PatchIndex(int(r), int(c)))) for r, c in places]


def tried(quality: int, checker: PatchChecker, patches: list[Pixels]) -> list[tuple[int, Fidelity]]:
    """(bytes, fidelity) of every patch at one quality, the profile's encoder speed, by its judges."""
    baseline = wiring.UniformBaseline(Codec.AVIF, quality, checker.mpp, checker.judge, checker.second)
    with ThreadPoolExecutor() as executor:
        return list(executor.map(baseline, patches))


def main() -> None:
    floors = PROFILES["archive"].floors
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.zarr"
        totals = library.compress(results_file.SAMPLE, path)
        patches = judged_patches(path)
        checker = wiring.package_checker(library.open_package(path))
    for quality in QUALITIES:
        results = tried(quality, checker, patches)
        rows.append(
            {
                "quality": quality,
                "bytes": sum(size for size, _ in results),
                "below_a_floor": sum(not floors.held_by(fidelity) for _, fidelity in results),
                "dice_min": round(min(fidelity.dice for _, fidelity in results), 4),
            }
        )
        if not rows[-1]["below_a_floor"]:
            break
    uniform = rows[-1]
    results_file.write(
        "uniform_avif",
        {
            "slide": results_file.SAMPLE.name,
            "n_patches": len(patches),
            "floors": floors.as_dict(),
            "package_bytes": totals["package_bytes"],
            "package_share_of_tile_bytes": totals["ratio_tiles"],
            "package_violations": totals["violations"],
            "uniform": uniform if not uniform["below_a_floor"] else None,
            "package_over_uniform": round(totals["package_bytes"] / uniform["bytes"], 4),
            "tried": rows,
        },
    )


if __name__ == "__main__":
    main()
