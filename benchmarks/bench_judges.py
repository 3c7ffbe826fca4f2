"""Do two judges say the same of one loss? Every rung by bicubic, on held-out patches, measured by both.

    python benchmarks/bench_judges.py DATA SPLIT [JUDGE OTHER]

DATA is the folder of the development data, SPLIT a list of its images; without them nothing is run. JUDGE is
that of `archive-fast`, OTHER that of `archive`, which taught it. ``let_through`` is what the other says of
the patches as the judge alone would keep them: each at the cheapest rung that holds the floor.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import results_file
from adaslide import wiring
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import PROFILES, Profile
from adaslide_models.evaluate.rate_fidelity.cells import cells_of, sources_of
from adaslide_models.evaluate.rate_fidelity.measured import CellMeter, Table, Values, measure

MPP = 0.5
FLOORS = (0.80, 0.85, 0.90)


def table_of(judge: str, profile: Profile, patches: list[Pixels]) -> Table:
    """Every rung of the profile's ladder by ``judge``."""
    with wiring.patch_executor() as executor:
        return measure(
            CellMeter(replace(profile, judge=judge, restorers=()), MPP, codecs=()), patches, executor
        )


def let_through(own: Values, other: Values, sizes: Values, floor: float) -> dict[str, Any]:
    """(n, rungs) Dice by both and bytes. Where no rung holds, the patch stays exact and is left out."""
    cost = np.where(own >= floor, sizes, np.inf)
    kept = np.isfinite(cost).any(axis=1)
    rows, best = np.flatnonzero(kept), cost.argmin(axis=1)[kept]
    dice = other[rows, best]
    return {
        "floor": floor,
        "n": len(rows),
        "dice_own_mean": round(float(own[rows, best].mean()), 4),
        "dice_other_mean": round(float(dice.mean()), 4),
        "dice_other_p5": round(float(np.percentile(dice, 5)), 4),
        "dice_other_min": round(float(dice.min()), 4),
        "other_holds": round(float((dice >= floor).mean()), 3),
        "other_within_0.05": round(float((dice >= floor - 0.05).mean()), 3),
    }


def main() -> None:
    """The command line; see the module."""
    if len(sys.argv) < 3:
        sys.stdout.write("not run: name the folder of the development data and a list of it\n")
        return
    data, split = map(Path, sys.argv[1:3])
    profile = PROFILES["archive"]
    judges = sys.argv[3:5] or (PROFILES["archive-fast"].judge, profile.judge)
    cells = cells_of(sources_of(data, split), MPP)
    tables = [table_of(judge, profile, [cell.pixels for cell in cells]) for judge in judges]
    (own, other), sizes = (table.metric("dice") for table in tables), tables[0].bytes
    datasets = np.array([cell.dataset for cell in cells])
    results_file.write(
        "judges",
        {
            "judge": judges[0],
            "other": judges[1],
            "patches": len(cells),
            "images": len({cell.image for cell in cells}),
            "rungs": len(tables[0].columns),
            "difference_mean": round(float((own - other).mean()), 4),
            "difference_spread": round(float((own - other).std()), 4),
            "correlation": round(float(np.corrcoef(own.ravel(), other.ravel())[0, 1]), 4),
            "by_source": {
                name: {
                    "n": int((datasets == name).sum()),
                    "difference_mean": round(float((own - other)[datasets == name].mean()), 4),
                }
                for name in sorted(set(datasets))
            },
            "let_through": [let_through(own, other, sizes, floor) for floor in FLOORS],
            "let_through_by_other": [let_through(other, own, sizes, floor) for floor in FLOORS],
        },
    )


if __name__ == "__main__":
    main()
