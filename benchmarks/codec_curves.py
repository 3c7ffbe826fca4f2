"""Rate and fidelity of encoder settings, and what one setting costs beside another at equal fidelity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

DICE = (0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90)
"""Mean Dice at which settings may be compared; see `levels`."""
LEVELS = 2
RESAMPLES, INTERVAL = 500, (5, 95)


@dataclass(frozen=True, slots=True)
class Setting:
    """Of the AVIF encoder. ``planes`` are `STAIN`, or the picture's own with chroma 4:4:4 or 4:2:0; ``speed``
    is from 0, slow, to 10."""

    speed: int
    planes: str

    @property
    def name(self) -> str:
        return f"speed {self.speed} {self.planes}"


STAIN = "stain"
PEER = Setting(6, STAIN)
"""What the profiles use."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What one setting did, each (patches, qualities), qualities upwards. ``seconds`` is processor time,
    ``second`` the Dice of the second judge, ``colour`` as `Fidelity.colour_min`."""

    size: Floats
    seconds: Floats
    dice: Floats
    ssim: Floats
    delta_e: Floats
    second: Floats
    colour: Floats


@dataclass(frozen=True, slots=True)
class Point:
    """Of a curve, between two qualities: means over patches, of ``seconds`` the median."""

    size: float
    seconds: float
    ssim: float
    delta_e: float
    second: float
    colour: float


def at_dice(curve: Curve, dice: float, patches: Indices | None = None) -> Point | None:
    """Where the mean Dice (of ``patches``, all unless given) first reaches ``dice``.

    Bytes and seconds are interpolated in their logarithms. None where no quality reaches it, or the lowest
    does.
    """
    chosen = np.arange(len(curve.dice)) if patches is None else patches
    means = curve.dice[chosen].mean(axis=0)
    reached = np.flatnonzero(means >= dice)
    if not reached.size or reached[0] == 0:
        return None
    after = int(reached[0])
    before = after - 1
    part = (dice - means[before]) / (means[after] - means[before])

    def between(values: Floats) -> float:
        return float(values[before] + part * (values[after] - values[before]))

    return Point(
        np.exp(between(np.log(curve.size[chosen].mean(axis=0)))),
        np.exp(between(np.log(np.median(curve.seconds[chosen], axis=0)))),
        *(
            between(each[chosen].mean(axis=0))
            for each in (curve.ssim, curve.delta_e, curve.second, curve.colour)
        ),
    )


def resamples(images: Sequence[str], seed: int = 0) -> list[Indices]:
    """Indices of patches, images drawn whole with replacement; where there is one image, its patches."""
    names = np.array(images if len(set(images)) > 1 else range(len(images)))
    groups = [np.flatnonzero(names == name) for name in np.unique(names)]
    random = np.random.default_rng(seed)
    draws = random.integers(len(groups), size=(RESAMPLES, len(groups)))
    return [np.concatenate([groups[i] for i in draw]) for draw in draws]


def bytes_interval(curve: Curve, peer: Curve, dice: float, drawn: list[Indices]) -> list[float] | None:
    """90 % of the bytes over the peer's; None where fewer than half of ``drawn`` reach ``dice`` in both."""
    ratios = []
    for patches in drawn:
        point, beside = at_dice(curve, dice, patches), at_dice(peer, dice, patches)
        if point and beside:
            ratios.append(point.size / beside.size)
    if 2 * len(ratios) < len(drawn):
        return None
    return [round(float(bound), 4) for bound in np.percentile(ratios, INTERVAL)]


def levels(curves: dict[Setting, Curve]) -> list[float]:
    """The Dice at which settings are compared, upwards: the highest that every curve crosses, or, where
    there are none, that `PEER` crosses."""
    by_peer = [dice for dice in DICE if at_dice(curves[PEER], dice)]
    by_all = [dice for dice in by_peer if all(at_dice(curve, dice) for curve in curves.values())]
    return (by_all or by_peer)[-LEVELS:]


def table(curves: dict[Setting, Curve], images: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each setting: at each level its bytes and time over those of `PEER` (``_x``), and what
    they are there; None where its curve does not cross the level. ``images`` names each patch's."""
    peer, drawn, compared = curves[PEER], resamples(images), levels(curves)
    return [
        {
            "speed": setting.speed,
            "planes": setting.planes,
            "at_dice": {
                f"{dice:.2f}": _beside(curve, peer, dice, None if setting == PEER else drawn)
                for dice in compared
            },
        }
        for setting, curve in curves.items()
    ]


def _beside(curve: Curve, peer: Curve, dice: float, drawn: list[Indices] | None) -> dict[str, Any] | None:
    point, beside = at_dice(curve, dice), at_dice(peer, dice)
    if point is None or beside is None:
        return None
    return {
        "bytes_x": round(point.size / beside.size, 4),
        "bytes_x_90": bytes_interval(curve, peer, dice, drawn) if drawn else None,
        "time_x": round(point.seconds / beside.seconds, 4),
        "bytes": round(point.size),
        "ms": round(1000 * point.seconds, 2),
        "ssim": round(point.ssim, 4),
        "delta_e": round(point.delta_e, 3),
        "dice_second": round(point.second, 4),
        "colour_min": round(point.colour, 4),
    }


def lines(rows: list[dict[str, Any]]) -> Iterator[list[str]]:
    """``rows`` as text: speed, planes, then for each level bytes x, its interval, time x, ms and delta E."""
    for row in rows:
        cells = [str(row["speed"]), row["planes"]]
        for found in row["at_dice"].values():
            if found is None:
                cells += ["-"] * 5
                continue
            bounds = found["bytes_x_90"]
            span = f"{bounds[0]:.3f}-{bounds[1]:.3f}" if bounds else "-"
            cells += [f"{found['bytes_x']:.3f}", span, f"{found['time_x']:.2f}", f"{found['ms']:.1f}"]
            cells.append(f"{found['delta_e']:.2f}")
        yield cells
