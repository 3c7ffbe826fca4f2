"""How near to a target ratio does a package come, in what time, and what is refused?

    python benchmarks/bench_target_ratio.py [--profile NAME] [SLIDE ...]

Without slides, of the sample. What is asked for are shares of the ratio that the profile reaches by itself,
one of them more than its floors allow.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import results_file
from adaslide import library
from adaslide.domain.errors import RatioOutOfReach
from adaslide.domain.profile import profile_named

SHARES = (0.94, 0.74, 0.54, 0.12, 1.2)


def made(slide: Path, profile: str, ratio: float | None, out: Path) -> dict[str, Any]:
    """The row of one target; None is the profile's own size."""
    try:
        totals = library.compress(slide, out, profile=profile, target_ratio=ratio)
    except RatioOutOfReach as error:
        return {"asked": ratio, "refused": error.message}
    row = {
        "asked": ratio,
        "tissue_patches": totals["patches"]["total"] - totals["patches"]["background"],
        "reached": round(totals["source_tile_bytes"] / totals["package_bytes"], 3),
        "package_bytes": totals["package_bytes"],
        "lambda": totals["lambda"],
        "dice_mean": round(totals["fidelity"]["dice"]["mean"], 4),
        "dice_p5": round(totals["fidelity"]["dice"]["p5"], 4),
        "violations": totals["violations"],
        "measurements_per_patch": totals["measurements_per_patch"],
        "seconds": totals["seconds"],
        "peak_rss_mb": round(totals["peak_rss_bytes"] / 1e6),
    }
    shutil.rmtree(out)
    return row


def rows_of(slide: Path, profile: str, out: Path) -> list[dict[str, Any]]:
    """Of one slide: its own size, and what is asked for."""
    own = made(slide, profile, None, out)
    return [own, *(made(slide, profile, round(share * own["reached"], 2), out) for share in SHARES)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", type=Path, nargs="*", default=[results_file.SAMPLE])
    parser.add_argument("--profile", default="archive")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "one.zarr"
        slides = {slide.name: rows_of(slide, given.profile, out) for slide in given.slides}
    results_file.write("target_ratio", {"profile": profile_named(given.profile).id, "slides": slides})


if __name__ == "__main__":
    main()
