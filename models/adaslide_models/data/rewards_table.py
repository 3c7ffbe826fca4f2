"""What compressing would cost each of many patches, measured once before the agent is trained.

    python -m adaslide_models.data.rewards_table --data DIR --split FILE [--split FILE ...] --out FILE.npz
        [--count N] [--searched N] [--plain] [--seed N]

The agent is rewarded by the Dice between the judge's masks of a patch and of its restoration
(`adaslide_models.data.paper_compress`), which costs a third of a second: too much for every step. The table
holds the Dice and the thumbnail (the patch shrunk by 4) of each. It is bound to the weights it was made
with. Needs no torch.
"""

import argparse
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.progress import track

from adaslide.domain.errors import DigestMismatch, InputError
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.profile import profile_named
from adaslide_models.data.first_rung import SEARCHED, place_of
from adaslide_models.data.paper_compress import MPP, SCALE, PaperCompress
from adaslide_models.data.patches import NONE, Variety, varied
from adaslide_models.data.sources import Source, by_dataset, read_split

SIDES = (512, 256, 192, 128)
"""px: a patch is the largest of these that its image, shrunk to the chosen scale, still fills."""
FINEST_MPP, COARSEST_MPP = 0.25, 1.1
"""Micrometres per pixel of the patches. The judge knows none coarser; Compress fails at the coarse end."""
SHARES = {"brca_m2c": 4.0, "osteosarcoma": 3.0, "oral_224": 3.0, "brecahad": 1.5, "ocdc": 0.6}
"""Weights of data sets among the patches; 1 for others."""
LEAST_SEARCHED_SIDE = 256
"""px: patches smaller than this tell nothing about the bytes of patches of 512."""
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class TableSettings:
    """Which patches a table holds. ``searched``: of how many the first rung that holds is looked for too."""

    count: int = 1500
    searched: int = 0
    variety: Variety = NONE
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RewardsTable:
    """n patches. ``thumbnails`` is (n, 128, 128, 3) uint8, each in its upper left corner, ``sides`` (n,) px.

    ``images`` (n,) name what each was cut from; ``mpp`` (n,) micrometres per pixel; ``dice`` (n,) of
    Compress; ``places`` (n,) in the ladder of `SEARCHED`, its length for the last resort, `UNKNOWN` where
    nobody searched. ``judge`` and ``restorer`` are hexadecimal sha256, ``profile`` is the version searched.
    """

    thumbnails: npt.NDArray[np.uint8]
    sides: npt.NDArray[np.int32]
    images: npt.NDArray[np.str_]
    mpp: npt.NDArray[np.float32]
    dice: npt.NDArray[np.float32]
    places: npt.NDArray[np.int32]
    judge: str
    restorer: str
    profile: str

    def __len__(self) -> int:
        return len(self.dice)

    def thumbnail(self, index: int) -> Pixels:
        """(side, side, 3): what the agent is shown of the patch."""
        side = self.sides[index]
        shown: Pixels = self.thumbnails[index, :side, :side]
        return shown

    def save(self, path: Path) -> None:
        np.savez_compressed(path, **{field.name: getattr(self, field.name) for field in fields(self)})


def load_table(path: Path) -> RewardsTable:
    """What was saved. Raises `InputError` without it, and `DigestMismatch` when it was made with another
    judge or enhancer than the installed ones."""
    if not path.is_file():
        raise InputError(f"there is no table {path.name}")
    with np.load(path, allow_pickle=False) as stored:
        values = {field.name: stored[field.name] for field in fields(RewardsTable)}
    values |= {name: str(values[name]) for name in ("judge", "restorer", "profile")}
    table = RewardsTable(**values)
    if (table.judge, table.restorer) != PaperCompress.installed().digests:
        raise DigestMismatch(f"{path.name} was made with another judge or enhancer: make it anew")
    return table


@dataclass(frozen=True, slots=True)
class _Job:
    number: int
    source: Source
    is_searched: bool


@dataclass(frozen=True, slots=True)
class _Row:
    thumbnail: Pixels
    image: str
    mpp: float
    dice: float
    place: int


def make_table(sources: list[Source], settings: TableSettings, processes: int = 1) -> RewardsTable:
    """The table of patches of ``sources``: the same for every number of processes."""
    paper = PaperCompress.installed()
    jobs = _jobs(sources, settings)
    row = partial(_row, settings=settings, paper=paper)
    console = Console(stderr=True)
    shown = track(
        _mapped(row, jobs, processes),
        "measuring",
        len(jobs),
        console=console,
        disable=not console.is_terminal,
    )
    rows = list(shown)
    most = SIDES[0] // SCALE
    thumbnails = np.zeros((len(rows), most, most, 3), np.uint8)
    for index, each in enumerate(rows):
        side = len(each.thumbnail)
        thumbnails[index, :side, :side] = each.thumbnail
    judge, restorer = paper.digests
    return RewardsTable(
        thumbnails,
        np.array([len(each.thumbnail) for each in rows], np.int32),
        np.array([each.image for each in rows]),
        np.array([each.mpp for each in rows], np.float32),
        np.array([each.dice for each in rows], np.float32),
        np.array([each.place for each in rows], np.int32),
        judge,
        restorer,
        profile_named(SEARCHED).id,
    )


def _mapped(row: "partial[_Row]", jobs: list[_Job], processes: int) -> Iterator[_Row]:
    if processes == 1:
        yield from map(row, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
        yield from executor.map(row, jobs, chunksize=4)


def _jobs(sources: list[Source], settings: TableSettings) -> list[_Job]:
    """Data sets by their share, the images of each in turn."""
    random = np.random.default_rng(settings.seed)
    groups = dict(by_dataset(sources))
    if unknown := sorted(set(groups) - set(MPP)):
        raise InputError(f"nobody gave the scale of {', '.join(unknown)}")
    total = sum(SHARES.get(name, 1.0) for name in groups)
    chosen: list[Source] = []
    for name, group in groups.items():
        order = [group[i] for i in random.permutation(len(group))]
        count = max(1, round(settings.count * SHARES.get(name, 1.0) / total))
        chosen += [order[i % len(order)] for i in range(count)]
    searched = set(random.permutation(len(chosen))[: settings.searched].tolist())
    return [_Job(i, source, i in searched) for i, source in enumerate(chosen)]


def _row(job: _Job, settings: TableSettings, paper: PaperCompress) -> _Row:
    random = np.random.default_rng([settings.seed, job.number])
    pixels, _ = job.source.read()
    patch, mpp = cut(pixels, MPP[job.source.dataset], random)
    patch = varied(patch, settings.variety, random)
    place = UNKNOWN
    if job.is_searched and len(patch) >= LEAST_SEARCHED_SIDE:
        place = place_of(patch, mpp, SEARCHED)
    return _Row(shrink(patch, SCALE), job.source.name, mpp, paper.dice(patch, mpp), place)


def cut(pixels: Pixels, mpp: float, random: np.random.Generator) -> tuple[Pixels, float]:
    """A random square of ``pixels``, area-shrunk to a random scale, with its micrometres per pixel.

    Raises `InputError` for an image smaller than the smallest patch.
    """
    least = min(pixels.shape[:2])
    if least < SIDES[-1]:
        raise InputError(f"an image of {least} px is smaller than a patch")
    finest = max(mpp, FINEST_MPP)
    coarsest = max(min(COARSEST_MPP, mpp * least / SIDES[-1]), mpp)
    target = math.exp(random.uniform(math.log(min(finest, coarsest)), math.log(coarsest)))
    factor = target / mpp
    side = next(side for side in SIDES if side * factor < least + 1)
    wide = min(round(side * factor), least)
    y, x = (int(random.integers(length - wide + 1)) for length in pixels.shape[:2])
    window = Image.fromarray(pixels[y : y + wide, x : x + wide])
    return np.asarray(window.resize((side, side), Image.Resampling.BOX)), target


def main() -> None:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True, action="append")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1500, help="patches")
    parser.add_argument("--searched", type=int, default=0, help="of how many the first rung is looked for")
    parser.add_argument("--plain", action="store_true", help="patches as they are: for validation")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sources = [source for split in given.split for source in read_split(given.data, split)]
    variety = NONE if given.plain else Variety()
    settings = TableSettings(given.count, given.searched, variety, given.seed)
    make_table(sources, settings, given.processes).save(given.out)


if __name__ == "__main__":
    main()
