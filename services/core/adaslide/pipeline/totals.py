"""A package's numbers: the JSON of ``compress`` and ``inspect`` (interfaces.md)."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from adaslide.domain.decision import BARRED, PatchFlag, Promise
from adaslide.domain.fidelity import METRICS
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.rung import LOSSLESS_RUNGS, RESTORED_RUNGS, Rung
from adaslide.package.records import PatchMaps

WHY_NOT_RESTORED = {
    "protected": PatchFlag.PROTECTED,
    "unknown_stain": PatchFlag.UNKNOWN_STAIN,
    "unknown_focus": PatchFlag.UNKNOWN_FOCUS,
}
"""The words for what bars a patch from being restored."""


def summary(values: npt.NDArray[Any]) -> dict[str, float | int | None]:
    """{n, mean, p5, min, max} of the values that were measured (not NaN)."""
    measured = values[np.isfinite(values)].astype(np.float64)
    if measured.size == 0:
        return {"n": 0, "mean": None, "p5": None, "min": None, "max": None}
    low, mean, p5, high = measured.min(), measured.mean(), np.percentile(measured, 5), measured.max()
    return {
        "n": int(measured.size),
        "mean": round(float(mean), 6),
        "p5": round(float(p5), 6),
        "min": round(float(low), 6),
        "max": round(float(high), 6),
    }


def by_rung(maps: PatchMaps) -> dict[str, dict[str, int]]:
    """{rung: {"patches", "bytes"}} for the rungs in use, by id; bytes are those of the payloads."""
    rungs, sizes = maps.decision["rung"], maps.decision["bytes"]
    return {
        Rung(rung).label: {"patches": count, "bytes": int(sizes[rungs == rung].sum())}
        for rung, count in sorted(Counter(rungs.ravel().tolist()).items())
    }


def violations(maps: PatchMaps, promise: Promise) -> list[PatchIndex]:
    """Patches below a floor. Lossless ones cannot be; glass and damaged patches have nothing to judge."""
    kept = np.isin(maps.decision["rung"], [*LOSSLESS_RUNGS, Rung.BACKGROUND])
    lossy = [PatchIndex(int(row), int(col)) for row, col in np.argwhere(~kept)]
    flags = maps.decision["flags"]
    return [i for i in lossy if promise.of(int(flags[i.row, i.col])).violated_by(maps.fidelity(i))]


def restored_though_barred(maps: PatchMaps) -> list[PatchIndex]:
    """Patches that were restored although their flags forbid it: there can be none."""
    barred = (maps.decision["flags"] & BARRED) != 0
    found = np.argwhere(barred & np.isin(maps.decision["rung"], list(RESTORED_RUNGS)))
    return [PatchIndex(int(row), int(col)) for row, col in found]


def totals_of(
    maps: PatchMaps,
    promise: Promise,
    *,
    source_bytes: int,
    source_tile_bytes: int | None,
    source_pixel_bytes: int,
    package_bytes: int,
) -> dict[str, Any]:
    """Bytes, ratios (after / before: smaller is better), patches and fidelity of one package."""
    rungs = maps.decision["rung"]
    judged = rungs != Rung.BACKGROUND
    flags = maps.decision["flags"]
    under_tissue = int(maps.decision["source_bytes"][judged].sum()) if source_tile_bytes else 0
    n_judged = int(judged.sum())
    used = by_rung(maps)
    return {
        "source_bytes": source_bytes,
        "source_tile_bytes": source_tile_bytes,
        "source_pixel_bytes": source_pixel_bytes,
        "payload_bytes": int(maps.decision["bytes"].sum()),
        "package_bytes": package_bytes,
        "ratio_source": _ratio(package_bytes, source_bytes),
        "ratio_tiles": _ratio(package_bytes, source_tile_bytes),
        "ratio_tissue": _ratio(package_bytes, under_tissue),
        "ratio_pixels": _ratio(package_bytes, source_pixel_bytes),
        "patches": {
            "total": int(rungs.size),
            "background": int(rungs.size) - n_judged,
            "by_rung": {name: row["patches"] for name, row in used.items()},
            "bytes_by_rung": {name: row["bytes"] for name, row in used.items()},
            "corrupt": int(np.count_nonzero(flags & PatchFlag.CORRUPT)),
            "not_restored": {
                word: int(np.count_nonzero(flags & flag)) for word, flag in WHY_NOT_RESTORED.items()
            },
        },
        "fidelity": {metric: summary(maps.quality[metric][judged]) for metric in METRICS},
        "floor": promise.floors.as_dict(),
        "violations": len(violations(maps, promise)),
        "demoted": int(np.count_nonzero(flags & PatchFlag.DEMOTED)),
        "promoted": int(np.count_nonzero(flags & PatchFlag.PROMOTED)),
        "measurements_per_patch": round(float(maps.decision["measurements"].sum()) / max(1, n_judged), 3),
        "share_compressed": round(float(np.isin(rungs, list(RESTORED_RUNGS)).sum()) / max(1, n_judged), 4),
    }


def _ratio(after: int, before: int | None) -> float | None:
    return round(after / before, 5) if before else None
