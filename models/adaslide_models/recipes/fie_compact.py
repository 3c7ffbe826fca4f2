"""The recipes of the released enhancers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from adaslide.domain.errors import InputError
from adaslide.domain.rung import THREE_QUARTERS, Scale
from adaslide_models.data.mixture import SHARE, SHRINK
from adaslide_models.data.patches import Variety
from adaslide_models.train.fie_compact import FieCompact

FOLDED: Mapping[Scale, Mapping[str, Any]] = {
    2: {"fold": 2, "crop": 96, "qualities": (20, 30, 40, 50)},
    THREE_QUARTERS: {"fold": 3, "crop": 144, "qualities": (25, 30, 35, 40, 50)},
}
"""What differs between the nets that work at a quarter of the patch's side, by scale."""


def fie_compact(data: Path, split: Path, val: Path, out: Path, scale: Scale = 4) -> FieCompact:
    """48 features x 12 convolutions, at a quarter of the patch's side whatever is restored.

    x4: 24 minutes on one idle thread of a server CPU; the released net went on from there in two further
    runs: its card has their commands. The others: 5 to 7 minutes on a GPU that they share; without one, days.
    The qualities are those of the profiles' ladder, and no others: capacity is small. Raises `InputError`
    for another scale.
    """
    run = FieCompact(data, split, val, out, shrink=SHRINK, share=SHARE, variety=Variety())
    if scale == 4:
        return replace(run, crops=5000, qualities=(30, 45, 60))
    if scale not in FOLDED:
        raise InputError(f"enhancers restore by 4/3, 2 or 4, not by {scale}")
    return replace(run, scale=scale, crops=3300, batch=64, warmup=300, budget_minutes=7.0, **FOLDED[scale])
