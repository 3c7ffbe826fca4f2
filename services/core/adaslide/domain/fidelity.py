"""What was measured of a patch, and the floors it must hold."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from math import isnan, nan
from typing import Protocol

METRICS = ("dice", "dice_window_min", "ssim", "psnr", "delta_e", "max_error", "dice_second", "colour_min")
"""Names of the arrays in ``quality/``, in the order of `Fidelity`."""

LATER_METRICS = frozenset({"dice_second", "colour_min"})
"""Those that the first packages do not have."""

PSNR_IDENTICAL = 99.0
"""Stored for identical pixels: infinity has no JSON."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Restored pixels against the original's, over the patch's valid pixels.

    ``dice``: smoothed Dice of the judge's two nuclei masks; ``dice_window_min``: the same in the
    worst 128 px window that holds nuclei; ``ssim``: of luma; ``psnr``: dB; ``delta_e``: mean CIE76;
    ``max_error``: greatest difference of a sample, grey levels; ``dice_second``: Dice by the second
    judge, which chose nothing; ``colour_min``: 1 - CIE76 / 100 of the mean colours of the worst 32 px
    square. NaN is what was not measured.
    """

    dice: float
    dice_window_min: float
    ssim: float
    psnr: float
    delta_e: float
    max_error: float
    dice_second: float = nan
    colour_min: float = nan

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


class Measurable(Protocol):
    """What floors ask for; a `Fidelity`, or something that measures each metric when it is asked for."""

    @property
    def dice(self) -> float: ...
    @property
    def dice_window_min(self) -> float: ...
    @property
    def ssim(self) -> float: ...
    @property
    def dice_second(self) -> float: ...
    @property
    def colour_min(self) -> float: ...


IDENTICAL = Fidelity(1.0, 1.0, 1.0, PSNR_IDENTICAL, 0.0, 0.0, 1.0, 1.0)
UNMEASURED = Fidelity(*(nan,) * len(METRICS))


@dataclass(frozen=True, slots=True)
class Floors:
    """The least a lossy patch must reach. ``margin`` is added while searching, so that another
    runtime's last digits cannot carry a patch below the promise."""

    dice: float = 0.0
    dice_window_min: float = 0.0
    ssim: float = 0.0
    dice_second: float = 0.0
    colour_min: float = 0.0
    margin: float = 0.005

    def held_by(self, fidelity: Measurable, *, margin: bool = False) -> bool:
        """Whether no floor is violated. Nothing is asked of ``fidelity`` after the first that is."""
        return self.first_violated(fidelity, margin=margin) is None

    def slack(self, fidelity: Measurable) -> float:
        """How far ``fidelity`` is above the floors with their margin: at the first that is violated, else
        at the nearest. Positive or 0 where all are held, -1 at what was not measured; nothing is asked for
        after the first violated."""
        least = 1.0
        for name, floor in self.as_dict().items():
            if floor > 0:
                over = getattr(fidelity, name) - min(floor + self.margin, 1.0)
                if not over >= 0:
                    return -1.0 if isnan(over) else float(over)
                least = min(least, over)
        return float(least)

    def first_violated(self, fidelity: Measurable, *, margin: bool = False) -> str | None:
        """The first floor that ``fidelity`` is below, None where there is none. It is asked nothing after."""
        return next(self._violated(fidelity, margin), None)

    def violated_by(self, fidelity: Measurable, *, margin: bool = False) -> tuple[str, ...]:
        """Names of the floors that ``fidelity`` is below. What was not measured holds no floor."""
        return tuple(self._violated(fidelity, margin))

    def _violated(self, fidelity: Measurable, margin: bool) -> Iterator[str]:
        extra = self.margin if margin else 0.0
        for name, floor in self.as_dict().items():
            if floor > 0 and not getattr(fidelity, name) >= min(floor + extra, 1.0):
                yield name

    def as_dict(self) -> dict[str, float]:
        """The floors by metric, without the margin."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "margin"}
