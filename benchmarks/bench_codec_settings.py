"""Which AVIF speed and planes should the rungs use? Bytes at equal nuclei Dice against encode time.

    python benchmarks/bench_codec_settings.py [--quick] [--data DIR --split FILE] [--patches N] [--seed N]

Patches of the sample slide, or of the images that a split names, in which the judge of the profile finds
nuclei: elsewhere Dice tells nothing. At full, three quarters, half and a quarter of the resolution, all but
the first restored by bicubic, at seven qualities. Times are processor time of one thread, and compare with
the peer's (speed 6, stain planes) in the same run. SSIM sees no colour: ``delta_e`` tells what a setting
costs it, and ``colour_min`` by how much squares are shifted. ``dice_second`` is by the judge that chooses
nothing.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product, zip_longest
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import results_file
from adaslide import wiring
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.rungs.image_codec import IDENTITY, decode_coded
from adaslide.adapters.rungs.restored import low_resolution
from adaslide.adapters.rungs.stain_planes import to_planes
from adaslide.domain.fidelity import Fidelity
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import PROFILES
from adaslide.domain.rung import THREE_QUARTERS, Codec, Rung, RungSpec, Scale
from adaslide.pipeline.measure import NUCLEI_SHARE, Measurer
from adaslide.ports.segmenter import Segmenter
from adaslide_models.data.sources import Source, read_split
from adaslide_models.evaluate.fie import ASSUMED_MPP, patches
from codec_curves import PEER, STAIN, Curve, Setting, levels, lines, table

PROFILE = PROFILES["archive"]
SETTINGS = [
    *(Setting(speed, STAIN) for speed in range(4, 11)),
    *(Setting(speed, "4:4:4") for speed in (6, 8, 9)),
    Setting(6, "4:2:0"),
]
QUALITIES = {
    Rung.FINE: (8, 15, 22, 30, 40, 55, 75),
    Rung.X4_3: (15, 25, 35, 45, 55, 65, 75),
    Rung.X2: (15, 25, 35, 45, 55, 65, 75),
    Rung.X4: (15, 25, 35, 45, 55, 65, 75),
}
"""Somewhat beyond those of the profile, upwards."""
SCALES: dict[Rung, Scale] = {Rung.FINE: 1, Rung.X4_3: THREE_QUARTERS, Rung.X2: 2, Rung.X4: 4}
BLOCK = 4
"""Of a patch's sides, px: all scales divide it."""
SHORT, ROUNDS = 0.03, 3
"""An encode of fewer seconds is timed so many times, and the median is kept."""
QUICK_PATCHES, QUICK_STEP = 3, 2
"""``--quick``: so many patches, and every other quality."""
WIDTH = 140
"""Of the tables where they go to no terminal."""

Cell = tuple[float, ...]
"""Of one patch, setting and quality, in the order of `Curve`."""
Judges = Sequence[Segmenter]
"""The first, and the one that chooses nothing."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One patch, with the name of its image and its micrometres per pixel. An image smaller than a patch is
    coded as it is: repeated edges would cost time and hardly a byte."""

    image: str
    pixels: Pixels
    mpp: float


def subjects(sources: list[Source], judge: Segmenter, count: int, seed: int) -> list[Subject]:
    """``count`` patches with nuclei, drawn by ``seed``: one of each image, then a second, and so on."""
    random = np.random.default_rng(seed)
    by_image: list[list[Subject]] = []
    for index in random.permutation(len(sources)):
        if len(by_image) == count:
            break
        source = sources[index]
        found = [
            Subject(source.name, whole_blocks(pixels), mpp)
            for pixels, mpp in patches(source)
            if judge.masks([pixels], mpp)[0].mean() >= NUCLEI_SHARE
        ]
        if found:
            by_image.append([found[i] for i in random.permutation(len(found))])
    spread = [subject for tier in zip_longest(*by_image) for subject in tier if subject]
    return spread[:count]


def whole_blocks(pixels: Pixels) -> Pixels:
    """(h, w, 3) ``pixels`` without the rows and columns that no scale divides."""
    height, width = (side - side % BLOCK for side in pixels.shape[:2])
    return pixels[:height, :width]


def encoded(low: Pixels, setting: Setting, quality: int) -> tuple[bytes, float]:
    """As the product encodes, and the seconds it took, those of making the planes not among them."""
    pixels, matrix, chroma = low, None, setting.planes.replace(":", "")
    if setting.planes == STAIN:
        pixels, matrix, chroma = to_planes(low), IDENTITY, "444"
    times: list[float] = []
    while not times or (times[0] < SHORT and len(times) < ROUNDS):
        start = time.process_time()
        body = imagecodecs.avif_encode(
            pixels, level=quality, speed=setting.speed, pixelformat=chroma, matrix=matrix, numthreads=1
        )
        times.append(time.process_time() - start)
    return bytes(body), statistics.median(times)


def measured(subject: Subject, spec: RungSpec, judges: Judges, qualities: tuple[int, ...]) -> Iterator[Cell]:
    """By setting, then quality. All are encoded before the first is judged: nothing else runs meanwhile."""
    height, width = subject.pixels.shape[:2]
    low = low_resolution(subject.pixels, spec)
    coded = [(setting, *encoded(low, setting, quality)) for setting, quality in product(SETTINGS, qualities)]
    measurer = Measurer(subject.pixels, subject.mpp, *judges)
    restorer = BicubicRestorer(spec.scale)
    known: dict[bytes, Fidelity] = {}
    for setting, body, seconds in coded:
        if body not in known:
            codec = Codec.STAIN_AVIF if setting.planes == STAIN else Codec.AVIF
            restored = restorer.restore([decode_coded(codec, body)])[0]
            known[body] = measurer.measure(restored[:height, :width])
        fidelity = known[body]
        told = (fidelity.dice, fidelity.ssim, fidelity.delta_e, fidelity.dice_second, fidelity.colour_min)
        yield len(body), seconds, *told


def curves(
    found: list[Subject], judges: Judges, qualities: dict[Rung, tuple[int, ...]], console: Console
) -> dict[Rung, dict[Setting, Curve]]:
    """By rung and setting."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    result = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        total = len(found) * len(SETTINGS) * sum(map(len, qualities.values()))
        task = progress.add_task("measuring", total=total)
        for rung, tried in qualities.items():
            spec = RungSpec(rung, Codec.AVIF, SCALES[rung])
            cells = []
            for subject in found:
                for cell in measured(subject, spec, judges, tried):
                    cells.append(cell)
                    progress.advance(task)
            values = np.array(cells).reshape(len(found), len(SETTINGS), len(tried), -1)
            result[rung] = {
                setting: Curve(*np.moveaxis(values[:, i], -1, 0)) for i, setting in enumerate(SETTINGS)
            }
    return result


def section(of: dict[Setting, Curve], qualities: tuple[int, ...], images: list[str]) -> dict[str, Any]:
    """What the results say of one rung. ``curves`` are means, of ``ms`` medians, by quality."""
    return {
        "qualities": qualities,
        "settings": table(of, images),
        "curves": {
            setting.name: {
                "bytes": curve.size.mean(axis=0).round().astype(int).tolist(),
                "ms": (1000 * np.median(curve.seconds, axis=0)).round(2).tolist(),
                "dice": curve.dice.mean(axis=0).round(4).tolist(),
                "ssim": curve.ssim.mean(axis=0).round(4).tolist(),
                "delta_e": curve.delta_e.mean(axis=0).round(3).tolist(),
                "dice_second": curve.second.mean(axis=0).round(4).tolist(),
                "colour_min": curve.colour.mean(axis=0).round(4).tolist(),
            }
            for setting, curve in of.items()
        },
    }


def shown(rung: Rung, of: dict[Setting, Curve], rows: list[dict[str, Any]]) -> Table:
    """The table of one rung: at each Dice bytes over the peer's with their interval, time and colour."""
    drawn = Table(title=f"{rung.label}, against {PEER.name}")
    drawn.add_column("speed")
    drawn.add_column("planes")
    for dice in levels(of):
        for heading in (f"bytes x\nDice {dice:.2f}", "90 %", "time x", "ms", "delta E"):
            drawn.add_column(heading, justify="right", no_wrap=True)
    for cells in lines(rows):
        drawn.add_row(*cells)
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the folder that the split's names are below"
    )
    parser.add_argument("--split", type=Path, metavar="FILE", help="a list of images, with --data")
    parser.add_argument("--patches", type=int, default=12, metavar="N", help="spread over the images")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of patches")
    parser.add_argument("--quick", action="store_true", help="few patches and qualities; writes no result")
    given = parser.parse_args()
    if (given.data is None) != (given.split is None):
        parser.error("--data and --split come together")

    load = os.getloadavg()[0]
    sample = Source(results_file.SAMPLE.parent, results_file.SAMPLE.name)
    sources = read_split(given.data, given.split) if given.split else [sample]
    names = [name for name in (PROFILE.judge, PROFILE.second_judge) if name]
    judges = [wiring.judge_named(name, ASSUMED_MPP) for name in names]
    found = subjects(sources, judges[0], QUICK_PATCHES if given.quick else given.patches, given.seed)
    if not found:
        parser.error("no patch of these images holds nuclei")
    images = [subject.image for subject in found]
    resampled = "images" if len(set(images)) > 1 else "patches of the one image"
    step = QUICK_STEP if given.quick else 1
    qualities = {rung: tried[::step] for rung, tried in QUALITIES.items()}

    console = Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH)
    by_rung = curves(found, judges, qualities, console)
    sections = {rung: section(of, qualities[rung], images) for rung, of in by_rung.items()}
    for rung, of in by_rung.items():
        console.print(shown(rung, of, sections[rung]["settings"]))
    if given.quick:
        return
    results_file.write(
        "codec_settings",
        {
            "note": f"load {load:.1f} before it",
            "encoder": imagecodecs.avif_version(),
            "images": given.split.name if given.split else sample.name,
            "n_images": len(set(images)),
            "n_patches": len(found),
            "interval": f"90 %, resampling {resampled}",
            "judge": PROFILE.judge,
            "second_judge": PROFILE.second_judge,
            "peer": PEER.name,
            "rungs": {rung.label: part for rung, part in sections.items()},
        },
    )


if __name__ == "__main__":
    main()
