"""The facts of a package's patches as arrays: what stands in ``decision/`` and ``quality/``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from adaslide.domain.decision import PatchOutcome
from adaslide.domain.fidelity import LATER_METRICS, METRICS, Fidelity
from adaslide.domain.geometry import PatchIndex

Map = npt.NDArray[Any]

DECISION_DTYPES: dict[str, np.dtype[Any]] = {
    "rung": np.dtype("u1"),
    "codec_quality": np.dtype("u1"),
    "flags": np.dtype("u1"),
    "p_compress": np.dtype("f4"),
    "bytes": np.dtype("u4"),
    "source_bytes": np.dtype("u4"),
    "measurements": np.dtype("u1"),
    "pixels_crc32c": np.dtype("u4"),
}
"""(grid rows, grid cols) each; ``p_compress`` is NaN where no agent estimated it."""


@dataclass(frozen=True, slots=True)
class PatchMaps:
    """One value per patch: ``decision[name]`` and ``quality[metric]``, (rows, cols) arrays."""

    decision: dict[str, Map] = field(default_factory=dict)
    quality: dict[str, Map] = field(default_factory=dict)

    @classmethod
    def empty(cls, rows: int, cols: int) -> Self:
        decision = {name: np.zeros((rows, cols), dtype) for name, dtype in DECISION_DTYPES.items()}
        quality = {name: np.full((rows, cols), np.nan, np.float32) for name in METRICS}
        return cls(decision, quality)

    @classmethod
    def of(cls, arrays: Mapping[str, Map]) -> Self:
        """From ``arrays`` by name. What an older version of this program had no measure for is NaN."""
        decision = {name: arrays[name] for name in DECISION_DTYPES}
        unknown = np.full_like(decision["p_compress"], np.nan)
        quality = {
            name: arrays[name] if name in arrays or name not in LATER_METRICS else unknown.copy()
            for name in METRICS
        }
        return cls(decision, quality)

    def record(self, row: int, col: int, outcome: PatchOutcome) -> None:
        at = row, col
        self.decision["rung"][at] = outcome.rung
        self.decision["codec_quality"][at] = outcome.quality
        self.decision["flags"][at] = outcome.flags
        self.decision["p_compress"][at] = outcome.p_compress
        self.decision["bytes"][at] = len(outcome.payload)
        self.decision["source_bytes"][at] = outcome.source_bytes
        self.decision["measurements"][at] = outcome.measurements
        self.decision["pixels_crc32c"][at] = outcome.pixels_crc32c
        for metric, value in outcome.fidelity.as_dict().items():
            self.quality[metric][at] = value

    def corner(self, rows: int, cols: int) -> Self:
        """The first ``rows`` x ``cols`` values of every map."""
        return type(self)(
            {name: values[:rows, :cols] for name, values in self.decision.items()},
            {name: values[:rows, :cols] for name, values in self.quality.items()},
        )

    def paste(self, top: int, left: int, part: Self) -> None:
        """Lays ``part`` over this one, its first value at (top, left)."""
        for mine, theirs in ((self.decision, part.decision), (self.quality, part.quality)):
            for name, values in theirs.items():
                mine[name][top : top + values.shape[0], left : left + values.shape[1]] = values

    def fidelity(self, index: PatchIndex) -> Fidelity:
        return Fidelity(**{m: float(self.quality[m][index.row, index.col]) for m in METRICS})
