"""How near to a target ratio does a package come, in what time, and what is refused? On the sample.

python benchmarks/bench_target_ratio.py
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import results_file
from adaslide import library
from adaslide.domain.errors import RatioOutOfReach

RATIOS = (7.0, 5.5, 4.0, 0.9, 9.0)


def made(ratio: float | None, out: Path) -> dict[str, Any]:
    """The row of one target; None is the profile's own size."""
    try:
        totals = library.compress(results_file.SAMPLE, out, target_ratio=ratio)
    except RatioOutOfReach as error:
        return {"asked": ratio, "refused": error.message}
    row = {
        "asked": ratio,
        "reached": round(totals["source_tile_bytes"] / totals["package_bytes"], 3),
        "package_bytes": totals["package_bytes"],
        "lambda": totals["lambda"],
        "dice_mean": round(totals["fidelity"]["dice"]["mean"], 4),
        "dice_p5": round(totals["fidelity"]["dice"]["p5"], 4),
        "violations": totals["violations"],
        "measurements_per_patch": totals["measurements_per_patch"],
        "seconds": totals["seconds"],
    }
    shutil.rmtree(out)
    return row


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [made(ratio, Path(folder) / "one.zarr") for ratio in (None, *RATIOS)]
    results_file.write("target_ratio", {"profile": "archive@4", "rows": rows})


if __name__ == "__main__":
    main()
