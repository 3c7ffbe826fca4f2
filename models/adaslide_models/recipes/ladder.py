"""The recipe of the sequential agent."""

from pathlib import Path

from adaslide_models.train.ladder import Ladder


def ladder(data: Path, split: tuple[Path, ...], val: tuple[Path, ...], out: Path) -> Ladder:
    """A perceptron of two layers of 192 on the ladder of ``archive``. A few minutes on one thread of a server
    CPU, after the tables of measured rungs, which take far longer."""
    return Ladder(data, split, val, out)
