"""The recipes of the released enhancers."""

from dataclasses import replace
from pathlib import Path

from adaslide.domain.errors import InputError
from adaslide_models.data.patches import Variety
from adaslide_models.train.fie_compact import FieCompact

SHRINK = {
    "brca_m2c": (1.0, 1.25),
    "ocdc": (1.0, 1.25),
    "osteosarcoma": (1.0, 1.6),
    "brecahad": (1.8, 3.4),
    "breakhis400": (2.5, 5.0),
}
"""Area-shrink factors that bring a data set to 0.25 - 0.5 micrometres per pixel, and its camera's
softness or its JPEG noise out of the way. Others stay as they are."""

SHARE = {"brca_m2c": 5.0, "ocdc": 1.2, "osteosarcoma": 1.4, "brecahad": 2.0, "breakhis400": 1.0}
"""Weights among the crops: the 20x scanner counts most, the 10x one (1 micrometre, JPEG 75) less."""


def fie_compact(data: Path, split: Path, val: Path, out: Path, scale: int = 4) -> FieCompact:
    """x4: 48 features x 12 convolutions, 24 minutes on one idle thread of a server CPU; x2: 64 x 12 on
    blocks of 2 x 2 px, 30.

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
            features=64,
            fold=2,
            crops=3200,
            crop=64,
            qualities=(20, 30, 40, 50, 60),
            budget_minutes=30.0,
        )
    raise InputError(f"enhancers restore by 2 or 4, not by {scale}")
