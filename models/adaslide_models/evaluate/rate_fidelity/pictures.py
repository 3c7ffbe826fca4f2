"""The contest as pictures: curves, and the patches that lost most."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from adaslide import library, wiring
from adaslide.domain.pixels import Pixels
from adaslide_models.evaluate.rate_fidelity.cells import Cell, place
from adaslide_models.evaluate.rate_fidelity.curves import Statistic, mean, p5, told
from adaslide_models.evaluate.rate_fidelity.measured import Table
from adaslide_models.evaluate.rate_fidelity.ours import Ours, Settings

WORST = 12
DPI = 110
CURVES: tuple[tuple[str, str, Statistic, str], ...] = (
    ("dice_p5", "dice", p5, "nuclei Dice, 5th percentile"),
    ("dice_mean", "dice", mean, "nuclei Dice, mean"),
    ("ssim_mean", "ssim", mean, "SSIM of luma, mean"),
    ("delta_e_mean", "delta_e", mean, "colour difference (CIE76), mean"),
)


def draw(out: Path, cells: list[Cell], table: Table, ours: Settings) -> list[str]:
    """Writes the curves as PNG into ``out`` and gives their names."""
    names = []
    for name, metric, statistic, label in CURVES:
        figure = Figure(figsize=(7.5, 5), dpi=DPI, layout="constrained")
        axes = figure.subplots()
        _curves(axes, table, ours, metric, statistic)
        axes.set(xscale="log", xlabel=f"bytes per 512 px patch (n = {len(cells)})", ylabel=label)
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
        FigureCanvasAgg(figure).print_png(out / f"{name}.png")
        names.append(f"{name}.png")
    return names


def _curves(axes: Axes, table: Table, ours: Settings, metric: str, statistic: Statistic) -> None:
    values = table.metric(metric)
    for codec in dict.fromkeys(column.codec for column in table.columns if column.codec):
        own = [i for i, column in enumerate(table.columns) if column.codec == codec]
        own.sort(key=lambda i: table.bytes[:, i].mean())
        sizes = [table.bytes[:, i].mean() for i in own]
        axes.plot(sizes, [statistic(values[:, i]) for i in own], ".-", lw=1, ms=4, alpha=0.7, label=codec)
    turned = {"ks-": (ours.by_floor, "floor"), "rd--": (ours.by_lambda, "lambda")}
    for line, (settings, name) in turned.items():
        points = [(one.mean_bytes(), statistic(one.quality[metric])) for one in settings]
        if points:
            axes.plot(*zip(*points, strict=True), line, ms=5, label=f"{ours.profile.id} by {name} (packages)")


def draw_worst(out: Path, cells: list[Cell], ours: Ours) -> list[dict[str, Any]]:
    """Writes the patches of least Dice into ``out``, original beside stored, and says what became of each."""
    package = library.open_package(ours.package)
    restoration = wiring.restoration(package)
    rows = []
    for rank, number in enumerate(np.argsort(ours.quality["dice"])[:WORST]):
        cell = cells[int(number)]
        region = package.grid.region(place(int(number), len(cells)))
        name = f"worst-{rank + 1:02}.png"
        _beside(cell.pixels, restoration.read(region).pixels).save(out / name)
        rows.append(
            {
                "picture": name,
                "image": cell.image,
                "rung": ours.rungs[number],
                "bytes": int(ours.bytes[number]),
                **{m: told(ours.quality[m][number], 4) for m in ("dice", "dice_second", "ssim")},
            }
        )
    return rows


def _beside(original: Pixels, stored: Pixels) -> Image.Image:
    """Both in one picture, with a white line between."""
    line = np.full((len(original), 4, 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([original, line, stored], axis=1))
