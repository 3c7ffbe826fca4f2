"""The recipes of the released enhancers."""

from dataclasses import replace
from pathlib import Path

from adaslide.domain.errors import InputError
from adaslide_models.data.mixture import SHARE, SHRINK
from adaslide_models.data.patches import Variety
from adaslide_models.train.fie_compact import FieCompact


def fie_compact(data: Path, split: Path, val: Path, out: Path, scale: int = 4) -> FieCompact:
    """x4: 48 features x 12 convolutions, 24 minutes on one idle thread of a server CPU; x2: 32 x 8, 11.

    The released x4 went on from there in two further runs: its card has their commands.
    The qualities are those of the profiles' ladder, and no others: capacity is small. Raises `InputError`
    for another scale.
    """
    run = FieCompact(data, split, val, out, shrink=SHRINK, share=SHARE, variety=Variety())
    if scale == 4:
        return replace(run, crops=5000, qualities=(30, 45, 60))
    if scale == 2:
        return replace(
            run,
            scale=2,
            features=32,
            convolutions=8,
            crops=3000,
            crop=48,
            qualities=(20, 30, 40, 50),
            budget_minutes=11.0,
        )
    raise InputError(f"enhancers restore by 2 or 4, not by {scale}")
