"""Real packages of the contest's slide: made, closed, and verified against it by another process."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adaslide import library
from adaslide.domain.decision import BARRED
from adaslide.domain.errors import PackageError
from adaslide.domain.profile import Profile
from adaslide.domain.rung import RESTORED_RUNGS, Rung
from adaslide.package.records import PatchMaps
from adaslide_models.evaluate.rate_fidelity.cells import Cell, place
from adaslide_models.evaluate.rate_fidelity.curves import Indices, p5, told
from adaslide_models.evaluate.rate_fidelity.measured import Values

VERIFY = "import sys; from adaslide.cli import main; sys.argv = ['adaslide', *sys.argv[1:]]; main()"
SHOWN = ("dice", "dice_second", "ssim", "psnr", "delta_e")


@dataclass(frozen=True, slots=True)
class Ours:
    """What became of the patches under ``profile``, each array (n,) in the order of the cells.

    ``bytes`` are those of the payloads, ``overhead`` all else that the package holds: shard indexes,
    checksums, overviews, maps and metadata. ``barred`` are the patches of which the profile's policy lets
    nothing restore. ``violations`` were counted by a fresh process.
    """

    profile: Profile
    package: Path
    bytes: Values
    overhead: float
    quality: dict[str, Values]
    rungs: tuple[str, ...]
    restored: Values
    measurements: Values
    barred: npt.NDArray[np.bool_]
    violations: int
    seconds: float

    def mean_bytes(self, patches: Indices | None = None) -> float:
        """A patch, everything counted."""
        chosen = self.bytes if patches is None else self.bytes[patches]
        return float(chosen.mean()) + self.overhead / len(self.bytes)

    @property
    def setting(self) -> str:
        """What the profile was told: the floor of Dice, and lambda where it is turned up."""
        lambda_ = f", lambda {self.profile.lambda_:g}" if self.profile.lambda_ else ""
        return f"floor {self.profile.floors.dice:g}{lambda_}"

    def row(self) -> dict[str, Any]:
        """As the document shows it."""
        shares = {rung: self.rungs.count(rung) / len(self.rungs) for rung in sorted(set(self.rungs))}
        return {
            "name": self.profile.id,
            "setting": self.setting,
            "bytes": round(self.mean_bytes()),
            **{name: round(float(np.mean(self.quality[name])), 4) for name in ("psnr", "ssim", "delta_e")},
            "dice_mean": round(float(self.quality["dice"].mean()), 4),
            "dice_p5": round(p5(self.quality["dice"]), 4),
            "dice_min": round(float(self.quality["dice"].min()), 4),
            "colour_mean": round(float(self.quality["colour_min"].mean()), 4),
            "colour_min": round(float(self.quality["colour_min"].min()), 4),
            "payload_bytes": round(float(self.bytes.mean())),
            "share_of_rungs": {rung: round(share, 4) for rung, share in shares.items()},
            "share_restored": round(float(self.restored.mean()), 4),
            "share_barred": round(float(self.barred.mean()), 4),
            "measurements_per_patch": round(float(self.measurements.mean()), 3),
            "violations": self.violations,
            "patches_per_second": round(len(self.bytes) / self.seconds, 3),
        }

    def by_source(self, cells: list[Cell]) -> dict[str, dict[str, Any]]:
        """Per data set: n, bytes of the payloads, the judges' Dice (mean and least) and its rungs."""
        result = {}
        for name in sorted({cell.dataset for cell in cells}):
            own = np.array([cell.dataset == name for cell in cells])
            rungs = [rung for rung, mine in zip(self.rungs, own, strict=True) if mine]
            result[name] = {
                "n": int(own.sum()),
                "payload_bytes": round(float(self.bytes[own].mean())),
                **{metric: told(self.quality[metric][own].mean(), 4) for metric in SHOWN},
                "dice_min": told(self.quality["dice"][own].min(), 4),
                "colour_min": told(self.quality["colour_min"][own].min(), 4),
                "dice_second_min": told(self.quality["dice_second"][own].min(), 4),
                "rungs": {rung: rungs.count(rung) for rung in sorted(set(rungs))},
            }
        return result


@dataclass(frozen=True, slots=True)
class Settings:
    """Packages under ``profile``, of patches of ``mpp`` micrometres per pixel: with floors of Dice from low
    to high, and as it is with lambda from low to high."""

    profile: Profile
    mpp: float
    by_floor: list[Ours] = field(default_factory=list)
    by_lambda: list[Ours] = field(default_factory=list)

    @property
    def every(self) -> list[Ours]:
        return [*self.by_floor, *self.by_lambda]

    @property
    def own(self) -> Ours:
        """At the profile's own floors."""
        return next(one for one in self.by_floor if one.profile.floors.dice == self.profile.floors.dice)

    def curves(self, floor: float) -> list[list[Ours]]:
        """Settings that hold ``floor``, each list from few bytes to many: by higher floors, and by lambda."""
        curves = [[one for one in self.by_floor if one.profile.floors.dice >= floor]]
        if self.by_lambda and self.profile.floors.dice >= floor:
            curves.append([self.own, *self.by_lambda])
        return curves


def compressed(slide: Path, count: int, profile: Profile, mpp: float, out: Path) -> Ours:
    """The package of the slide's first ``count`` patches under ``profile``, written to ``out``.

    Raises `PackageError` when the fresh process finds anything but patches below a floor.
    """
    totals = library.compress(slide, out, profile=profile, mpp=mpp)
    maps = library.open_package(out).maps
    places = [place(i, count) for i in range(count)]
    rows, cols = np.array([(index.row, index.col) for index in places]).T
    rungs, qualities = maps.decision["rung"][rows, cols], maps.decision["codec_quality"][rows, cols]
    sizes = maps.decision["bytes"][rows, cols].astype(float)
    return Ours(
        profile,
        out,
        sizes,
        float(totals["package_bytes"] - sizes.sum()),
        {name: values[rows, cols].astype(float) for name, values in maps.quality.items()},
        tuple(_label(int(r), int(q)) for r, q in zip(rungs, qualities, strict=True)),
        _by_net(maps, rows, cols),
        maps.decision["measurements"][rows, cols].astype(float),
        (maps.decision["flags"][rows, cols] & BARRED) != 0,
        _violations(out, slide),
        float(totals["seconds"]),
    )


def _label(rung: int, quality: int) -> str:
    return f"{Rung(rung).label}-q{quality}" if quality else Rung(rung).label


def _by_net(maps: PatchMaps, rows: Any, cols: Any) -> Values:
    return np.isin(maps.decision["rung"][rows, cols], list(RESTORED_RUNGS)).astype(float)


def _violations(package: Path, slide: Path) -> int:
    """Patches below a floor, remeasured by another process that knows only the package and the slide."""
    command = [sys.executable, "-c", VERIFY, "verify", str(package), "--against", str(slide), "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        report = json.loads(answer.stdout)
    except ValueError:
        raise PackageError(f"verify did not answer: {answer.stderr[-500:]}") from None
    if report["problems"]:
        raise PackageError("; ".join(report["problems"][:3]))
    return int(report["violations"])
