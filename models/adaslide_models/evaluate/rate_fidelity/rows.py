"""The rows of the document's table: bytes a patch, and what they kept."""

from typing import Any

import numpy as np

from adaslide.domain.profile import Profile
from adaslide_models.evaluate.rate_fidelity.curves import Indices, mean, oracle, p5, paper_hybrid, picked
from adaslide_models.evaluate.rate_fidelity.measured import Table

Row = dict[str, Any]


def uniform_rows(table: Table) -> list[Row]:
    """Uniform settings, and every rung as if it were one."""
    rows = []
    for index, column in enumerate(table.columns):
        name = column.codec or f"rung {column.rung.label if column.rung is not None else ''}"
        setting = column.setting if column.codec else column.name
        rows.append(_row(table, name, setting, np.full(len(table.bytes), index)))
    return rows


def chosen_rows(table: Table, profile: Profile) -> list[Row]:
    """What was chosen patch by patch at the floors of ``profile``, payloads alone: by an oracle that knows
    every rung, one without nets, one that restores nothing, and of the published pair."""
    floors, setting = profile.floors, f"floor {profile.floors.dice:g}"
    chosen = {
        "oracle": oracle(table, floors),
        "oracle without enhancers": oracle(table, floors, nets=False),
        "oracle without restoring": oracle(table, floors, restored=False),
        "published pair": paper_hybrid(table, floors.dice),
    }
    return [_row(table, name, setting, columns) for name, columns in chosen.items()]


def _row(table: Table, name: str, setting: str, columns: Indices) -> Row:
    """Of each patch under its own column."""
    dice, ssim, psnr, delta_e, colour = (
        picked(table.metric(metric), columns) for metric in ("dice", "ssim", "psnr", "delta_e", "colour_min")
    )
    return {
        "name": name,
        "setting": setting,
        "bytes": round(float(picked(table.bytes, columns).mean())),
        "psnr": round(mean(psnr), 3),
        "ssim": round(mean(ssim), 4),
        "delta_e": round(mean(delta_e), 3),
        "colour_mean": round(mean(colour), 4),
        "colour_min": round(float(colour.min()), 4),
        "dice_mean": round(mean(dice), 4),
        "dice_p5": round(p5(dice), 4),
    }
