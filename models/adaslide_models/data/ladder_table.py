"""Every rung of a ladder, measured on many patches once: what the sequential agent learns from.

    python -m adaslide_models.data.ladder_table --data DIR --split FILE --out FILE.npz
        [--profile NAME] [--count N] [--own N] [--plain | --glass SHARE] [--processes N] [--seed N]

A step of the agent costs a quarter of a second to measure, and a run takes millions: they are looked up
here. The table is bound to the profile it was made for. Needs no torch.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from adaslide.adapters.agents.ladder import TYPICAL_MPP, looks_at
from adaslide.domain.errors import InputError
from adaslide.domain.fidelity import METRICS
from adaslide.domain.profile import Profile, profile_named
from adaslide_models.data.mixture import OWN, SHARE, SHRINK
from adaslide_models.data.patches import NONE, PairSettings, Variety, crop, crop_jobs, varied
from adaslide_models.data.sources import Source, read_split
from adaslide_models.evaluate.rate_fidelity.measured import CellMeter, Values, ladder_of, tabled

SIDE = 512
GLASS = 0.2
"""Share of the patches, by default, that are made to lie beside glass."""
GATED = ("dice", "dice_window_min", "ssim", "dice_second", "colour_min")
"""Measures that have floors, in the order in which they are asked for."""


@dataclass(frozen=True, slots=True)
class LadderTable:
    """n patches. ``looks`` is (n, looks), what the agent is told of each and its scale, ``bytes`` (n, rungs),
    ``fidelity`` (n, rungs, metrics) of the better restorer of each rung, ``images`` (n,) what each was cut
    from.
    ``rungs`` are the names of the ladder, ``profile`` the version with its judges and restorers."""

    looks: npt.NDArray[np.float32]
    bytes: Values
    fidelity: Values
    images: npt.NDArray[np.str_]
    rungs: npt.NDArray[np.str_]
    profile: str

    def __len__(self) -> int:
        return len(self.bytes)

    @property
    def is_own(self) -> npt.NDArray[np.bool_]:
        """(n,): which patches have a scale of their own."""
        return self.looks[:, -1] != 0

    def only(self, rows: npt.NDArray[np.bool_]) -> Self:
        """Those of (n,) ``rows``."""
        each = {name: getattr(self, name)[rows] for name in ("looks", "bytes", "fidelity", "images")}
        return replace(self, **each)

    def metric(self, name: str) -> Values:
        """(n, rungs)."""
        return self.fidelity[:, :, METRICS.index(name)]

    def save(self, path: Path) -> None:
        np.savez_compressed(path, **{field.name: getattr(self, field.name) for field in fields(self)})


def load_table(path: Path) -> LadderTable:
    """What was saved. Raises `InputError` without it."""
    if not path.is_file():
        raise InputError(f"there is no table {path.name}")
    with np.load(path, allow_pickle=False) as stored:
        values = {field.name: stored[field.name] for field in fields(LadderTable)}
    return LadderTable(**(values | {"profile": str(values["profile"])}))


@dataclass(frozen=True, slots=True)
class Counts:
    """Patches of a table: brought to one scale (`SHRINK`), told as `TYPICAL_MPP`, and at scales of their own
    (`OWN`)."""

    alike: int
    own: int


class _Job(NamedTuple):
    number: int
    source: Source
    count: int
    is_own: bool


def make_table(
    sources: list[Source], profile: Profile, counts: Counts, variety: Variety, seed: int, processes: int = 1
) -> LadderTable:
    """The table of about ``counts`` crops of ``sources``: the same for every number of processes."""
    alike = crop_jobs(sources, PairSettings(counts.alike, share=SHARE))
    jobs = [_Job(*job, is_own=False) for job in alike]
    if counts.own:
        others = [source for source in sources if source.dataset in OWN]
        share = {name: own.share for name, own in OWN.items()}
        jobs += [_Job(*job, is_own=True) for job in crop_jobs(others, PairSettings(counts.own, share=share))]
    row = partial(_rows, variety=variety, seed=seed, profile=profile)
    console = Console(stderr=True)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
        found = executor.map(row, jobs)
        rows = [each for part in track(found, "measuring", len(jobs), console=console) for each in part]
    return LadderTable(
        np.array([one[1] for one in rows]),
        np.array([one[2] for one in rows]),
        np.array([one[3] for one in rows]),
        np.array([one[0] for one in rows]),
        np.array([spec.name for spec in profile.ladder]),
        profile.id,
    )


_Row = tuple[str, npt.NDArray[np.float32], Values, Values]


def _rows(job: _Job, variety: Variety, seed: int, profile: Profile) -> list[_Row]:
    random = np.random.default_rng([seed, job.number, *([1] if job.is_own else [])])
    pixels, _ = job.source.read()
    rows = []
    for _ in range(job.count):
        mpp, factors = TYPICAL_MPP, SHRINK.get(job.source.dataset, (1.0, 1.0))
        if job.is_own:
            own = OWN[job.source.dataset]
            mpp = own.drawn(random)
            factors = (mpp / own.mpp, mpp / own.mpp)
        patch = varied(crop(pixels, SIDE, factors, random), variety, random)
        measured = tabled([CellMeter(profile, mpp, codecs=())(patch)])
        sizes, values = ladder_of(measured, profile)
        rows.append((job.source.name, looks_at(patch, mpp), sizes[0], values[0]))
    return rows


def main() -> None:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True, action="append")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--profile", default="archive")
    parser.add_argument("--count", type=int, default=320, help="patches that are brought to one scale")
    parser.add_argument("--own", type=int, default=160, help="further patches at their images' own scales")
    parser.add_argument("--plain", action="store_true", help="patches as they are: for validation")
    parser.add_argument("--glass", type=float, default=GLASS, help="share of patches beside glass")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sources = [source for split in given.split for source in read_split(given.data, split)]
    variety = NONE if given.plain else Variety(glass=given.glass)
    profile = profile_named(given.profile)
    counts = Counts(given.count, given.own)
    make_table(sources, profile, counts, variety, given.seed, given.processes).save(given.out)


if __name__ == "__main__":
    main()
