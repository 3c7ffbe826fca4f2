"""The whole contest: measure, compress, compare, and say it in one document."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from adaslide import wiring
from adaslide.domain.errors import Conflict
from adaslide.domain.fidelity import Floors
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import Profile
from adaslide_models.evaluate.rate_fidelity.cells import Cell, cells_of, sources_of, write_slide
from adaslide_models.evaluate.rate_fidelity.contestants import CODECS, STAINED
from adaslide_models.evaluate.rate_fidelity.curves import (
    Indices,
    bytes_at,
    cheapest_uniform,
    gap_with_margin,
    interval,
    mean,
    oracle,
    p5,
    paper_hybrid,
    picked,
    told,
)
from adaslide_models.evaluate.rate_fidelity.measured import PAPER, CellMeter, Table, measure
from adaslide_models.evaluate.rate_fidelity.ours import Ours, Settings, compressed
from adaslide_models.evaluate.rate_fidelity.pictures import draw, draw_worst
from adaslide_models.evaluate.rate_fidelity.rows import chosen_rows, uniform_rows
from adaslide_models.evaluate.rate_fidelity.searches import (
    bisected,
    by_agent,
    by_image_alone,
    by_price,
    by_published_agent,
)

FLOORS = (0.80, 0.85, 0.90, 0.95)
"""Of Dice."""
LAMBDAS = (0.02, 0.08, 0.15, 0.3)
"""What a profile whose lambda is a dial is turned to, at its own floors."""


def contest(
    data: Path,
    split: Path | None,
    profile: Profile,
    mpp: float,
    out: Path,
    say: Callable[[str], None] = lambda _: None,
    *,
    codecs: tuple[str, ...] = CODECS,
    floors: tuple[float, ...] = FLOORS,
    lambdas: tuple[float, ...] = LAMBDAS,
) -> dict[str, Any]:
    """The document, also written to the new folder ``out`` with pictures, the slide and our packages of it.

    ``codecs`` are the uniform ones; ``floors`` of Dice, beside the profile's own; ``lambdas`` are tried at
    its own floors where they turn anything.

    Raises `Conflict` when ``out`` exists, `InputError` for images that cannot be used, and what
    `library.compress` raises.
    """
    if out.exists():
        raise Conflict("the folder to be written exists already")
    cells = cells_of(sources_of(data, split), mpp)
    (out / "packages").mkdir(parents=True)
    say(f"measuring {len(cells)} patches in every way")
    with wiring.patch_executor() as executor:
        table = measure(CellMeter(profile, mpp, codecs), [cell.pixels for cell in cells], executor)
    slide = out / "contest.tif"
    write_slide(cells, slide)
    ours = Settings(profile, mpp)
    for floor in sorted({*floors, profile.floors.dice}):
        say(f"compressing and verifying at floor {floor:g}")
        package = out / "packages" / f"{floor:g}.zarr"
        ours.by_floor.append(compressed(slide, len(cells), profile.with_floors(dice=floor), mpp, package))
    for lambda_ in lambdas if profile.is_dial else ():
        say(f"compressing and verifying at lambda {lambda_:g}")
        package = out / "packages" / f"lambda-{lambda_:g}.zarr"
        ours.by_lambda.append(compressed(slide, len(cells), profile.with_lambda(lambda_), mpp, package))
    result = document(cells, table, ours)
    result["curves"] = draw(out, cells, table, ours)
    result["worst"] = draw_worst(out, cells, ours.own)
    (out / "rate_fidelity.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


def document(cells: list[Cell], table: Table, ours: Settings) -> dict[str, Any]:
    """interfaces.md's JSON, and per floor what it is drawn from. Bytes are those of a patch."""
    profile = ours.profile
    by_floor = {f"{one.profile.floors.dice:g}": _advantages(cells, table, one, ours) for one in ours.by_floor}
    own = by_floor[f"{profile.floors.dice:g}"]
    return {
        "profile": profile.id,
        "mpp": ours.mpp,
        "floors": profile.floors.as_dict(),
        "margin": profile.floors.margin,
        "n": len(cells),
        "images": len({cell.image for cell in cells}),
        "rows": [
            *uniform_rows(table),
            *(row for one in ours.by_floor for row in chosen_rows(table, one.profile)),
            *(one.row() for one in ours.every),
        ],
        "advantage": {name: own[name] for name in ("uniform_p5", "uniform_mean", "paper_mean", "oracle_gap")},
        "intervals": own["intervals"],
        "by_floor": by_floor,
        "by_lambda": [_turned(cells, table, one) for one in ours.by_lambda],
        "by_source": ours.own.by_source(cells),
        "violations": sum(one.violations for one in ours.every),
    }


def _turned(cells: list[Cell], table: Table, one: Ours) -> dict[str, Any]:
    """What lambda buys: bytes and mean Dice, and those of the cheapest uniform codec of the same mean."""
    ratio = partial(_uniform_mean, table, one)
    return {
        "lambda": one.profile.lambda_,
        "bytes": round(one.mean_bytes()),
        "dice_mean": round(mean(one.quality["dice"]), 4),
        "uniform_mean": told(ratio(np.arange(len(cells)))),
        "uniform_mean_interval": interval([cell.image for cell in cells], ratio),
        "measurements_per_patch": round(float(one.measurements.mean()), 3),
        "violations": one.violations,
    }


def _advantages(cells: list[Cell], table: Table, one: Ours, ours: Settings) -> dict[str, Any]:
    """How many times our bytes others need at one floor, with intervals over source images."""
    floors, every = one.profile.floors, np.arange(len(cells))
    images = [cell.image for cell in cells]
    best = oracle(table, floors)
    hybrid = paper_hybrid(table, floors.dice)
    best_bytes = picked(table.bytes, best)

    def over(other: Indices) -> float:
        return round(float(best_bytes.mean() / picked(table.bytes, other).mean()), 3)

    def uniform_p5(patches: Indices, stained: bool = False) -> float:
        least, _ = cheapest_uniform(table, patches, p5, floors.dice, stained=stained)
        return least / one.mean_bytes(patches)

    def paper_mean(patches: Indices) -> float:
        wanted = mean(picked(table.metric("dice"), hybrid)[patches])
        least = min(_bytes_at_mean(curve, patches, wanted) for curve in ours.curves(floors.dice))
        return float(picked(table.bytes, hybrid)[patches].mean()) / least

    def oracle_gap(patches: Indices) -> float:
        return float(one.bytes[patches].mean() / best_bytes[patches].mean())

    ratios = {
        "uniform_p5": uniform_p5,
        "stained_p5": partial(uniform_p5, stained=True),
        "uniform_mean": partial(_uniform_mean, table, one),
        "paper_mean": paper_mean,
        "oracle_gap": oracle_gap,
    }
    codecs = {
        "uniform_p5_codec": cheapest_uniform(table, every, p5, floors.dice),
        "uniform_mean_codec": cheapest_uniform(table, every, mean, mean(one.quality["dice"])),
    }
    return {
        **{name: told(ratio(every)) for name, ratio in ratios.items()},
        "intervals": {name: interval(images, ratio) for name, ratio in ratios.items()},
        **{name: {"codec": codec, "bytes": told(found, 0)} for name, (found, codec) in codecs.items()},
        "uniform_all_floors": _uniform_at_all_floors(table, one),
        "oracle_bytes": round(float(best_bytes.mean())),
        "oracle_gap_with_margin": told(gap_with_margin(table, floors, one.bytes, one.barred)),
        "oracle_over_no_nets": over(oracle(table, floors, nets=False)),
        "oracle_over_no_restoring": over(oracle(table, floors, restored=False)),
        "oracle_uniform_p5": told(
            cheapest_uniform(table, every, p5, floors.dice)[0] / float(best_bytes.mean())
        ),
        "oracle_share_of_rungs": _shares(table, best),
        "without_floor": _without(table, floors),
        "agent": by_agent(table, one.profile, ours.mpp, (cell.pixels for cell in cells)),
        "agent_by_price": by_price(table, one.profile, ours.mpp, [cell.pixels for cell in cells]),
        "bisection": bisected(table, one.profile),
        **_unmeasured(table, one.profile, ours.mpp, [cell.pixels for cell in cells]),
        "paper_bytes": round(float(picked(table.bytes, hybrid).mean())),
        "paper_dice_mean": round(mean(picked(table.metric("dice"), hybrid)), 4),
    }


def _uniform_mean(table: Table, one: Ours, patches: Indices) -> float:
    """Bytes of the cheapest uniform codec of our mean Dice, over ours."""
    wanted = mean(one.quality["dice"][patches])
    return cheapest_uniform(table, patches, mean, wanted)[0] / one.mean_bytes(patches)


def _bytes_at_mean(curve: list[Ours], patches: Indices, wanted: float) -> float:
    """Bytes a patch, everything counted, at which settings of ours have the mean Dice ``wanted``."""
    sizes = np.array([each.mean_bytes(patches) for each in curve])
    scores = np.array([mean(each.quality["dice"][patches]) for each in curve])
    return bytes_at(sizes, scores, wanted)


def _unmeasured(table: Table, profile: Profile, mpp: float, patches: list[Pixels]) -> dict[str, Any]:
    """What agents that measure nothing would keep; the published one only where its pair was measured."""
    found = {"image_alone": by_image_alone(table, profile, mpp, patches)}
    if any(column.setting == PAPER.ladder[0].name for column in table.columns):
        found["published_agent"] = by_published_agent(table, profile, mpp, patches)
    return found


def _uniform_at_all_floors(table: Table, one: Ours) -> float | None:
    """Bytes of the cheapest uniform setting that holds every floor on 95 % of the patches, over ours."""
    share = table.held(one.profile.floors).mean(axis=0)
    enough = [
        float(table.bytes[:, i].mean())
        for i, column in enumerate(table.columns)
        if column.codec not in (None, STAINED) and share[i] >= 0.95
    ]
    return round(min(enough) / one.mean_bytes(), 3) if enough else None


def _without(table: Table, floors: Floors) -> dict[str, dict[str, float]]:
    """What each floor costs: the oracle's bytes without it over those with all, margins kept, and the share
    of the patches that would then be kept otherwise."""
    kept = picked(table.bytes, oracle(table, floors, margin=True))
    result = {}
    for name in (name for name, floor in floors.as_dict().items() if floor > 0):
        freed = picked(table.bytes, oracle(table, replace(floors, **{name: 0.0}), margin=True))
        result[name] = {
            "bytes": round(float(freed.mean() / kept.mean()), 3),
            "patches": round(float((freed != kept).mean()), 4),
        }
    return result


def _shares(table: Table, columns: Indices) -> dict[str, float]:
    used, counts = np.unique(columns, return_counts=True)
    return {
        table.columns[i].name: round(int(count) / len(columns), 4)
        for i, count in zip(used, counts, strict=True)
    }
