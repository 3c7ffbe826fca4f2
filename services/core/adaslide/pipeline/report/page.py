"""Renders the page: evidence in, one HTML document out."""

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from adaslide.domain.errors import Conflict
from adaslide.domain.fidelity import LATER_METRICS, Floors
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.rung import Rung
from adaslide.package.reader import PackageReader
from adaslide.pipeline.inspect import inspect
from adaslide.pipeline.made_with import MadeWith, restored_by
from adaslide.pipeline.maps import AGENT_NOTE, legend, render_map
from adaslide.pipeline.report.evidence import (
    THIS_PACKAGE,
    Baseline,
    compare_baselines,
    flattened,
    histograms,
    lossy_patches,
    rung_shares,
    worst_patches,
)
from adaslide.pipeline.report.pictures import jpeg_uri, overview, png_uri
from adaslide.pipeline.report.restored import restored_patches
from adaslide.pipeline.restore import Restoration
from adaslide.ports.slides import SlideReader

HOVER_PATCHES = 3000
"""Above this many patches the maps carry no text per patch: the page would grow by megabytes."""

METRIC_NAMES = {
    "dice": "Nuclei Dice",
    "dice_window_min": "Nuclei Dice, worst 128 px window",
    "ssim": "Luma SSIM",
    "dice_second": "Nuclei Dice, second judge",
    "colour_min": "Colour, worst 32 px square",
}
SHORT_NAMES = {
    "dice": "Dice",
    "dice_window_min": "Dice of a window",
    "ssim": "SSIM",
    "dice_second": "Dice, 2nd judge",
    "colour_min": "Colour",
}
LAYERS = {
    "rung": ("Decision", "how each patch is kept"),
    "p_compress": ("Agent", f"how likely a patch can be made small: {AGENT_NOTE}"),
    "dice": ("Fidelity", METRIC_NAMES["dice"]),
    "ssim": ("Structure", METRIC_NAMES["ssim"]),
}
TRAINED_ON = {
    "nuclei-unet": "202 public images, 104 of them H&E of the breast",
    "nuclei-lean": "289 public images, 104 of them H&E of the breast; 87 as nuclei-unet sees them",
}
"""What the cards of judges say, in a line."""
NO_BASELINES: Mapping[str, Baseline] = MappingProxyType({})


def human_bytes(count: float) -> str:
    """Decimal units, three significant digits: 1 938 955 as "1.94 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5 or unit == "GB":
            break
        count /= 1000
    if unit == "bytes":
        return f"{count:.0f} bytes"
    return f"{count:.{max(0, 2 - int(np.log10(max(count, 1))))}f} {unit}"


def percent(share: float) -> str:
    """Three significant digits of a ratio as a percentage."""
    return f"{100 * share:.3g} %"


def _environment() -> Environment:
    loader = PackageLoader("adaslide.pipeline.report", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"bytes": human_bytes, "percent": percent}
    return environment


def render_report(
    package: PackageReader,
    restoration: Restoration,
    source: SlideReader | None = None,
    baselines: Mapping[str, Baseline] = NO_BASELINES,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """One HTML document that fetches nothing. Its numbers are those of `inspect`.

    ``restoration`` reads ``package``. ``source`` is the slide that it was made of: with it the worst
    patches are shown beside their originals, and ``baselines``, by name, are tried on the same patches,
    of which ``progress`` is told (done, in all).
    Raises `Conflict` when ``source`` is another slide, `PackageError` for a damaged package.
    """
    if source is not None:
        _check_same_slide(package, source)
    facts, maps, size = inspect(package), package.maps, package.info.size
    floors = {name: float(floor) for name, floor in facts["floor"].items() if floor}
    shares, restorers = rung_shares(facts), restored_by(package)
    tried, rows = compare_baselines(package, source, baselines, floors, progress) if source else (0, [])
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            facts=facts,
            size=size,
            mpp=package.info.mpp,
            patch=package.info.patch,
            grid=package.grid,
            floors=floors,
            metric_names=METRIC_NAMES,
            short_names=short_names(facts),
            shares=shares,
            slide=jpeg_uri(overview(restoration, size)),
            layers=_layers(package, {share.label for share in shares}),
            hovers=_hovers(package) if len(package.grid) <= HOVER_PATCHES else [],
            histograms=histograms(maps, floors),
            lossy=int(lossy_patches(maps).sum()),
            worst=worst_patches(package, restoration, source, floors),
            with_source=source is not None,
            tried=tried,
            baselines=rows,
            this_package=THIS_PACKAGE,
            made=MadeWith.of(package.info.attributes),
            trained_on=TRAINED_ON,
            restorers=Counter(restorers.values()).most_common(),
            shown=restored_patches(package, restoration, source, restorers) if source else [],
            provenance=_provenance(package),
        )
    )


def _check_same_slide(package: PackageReader, source: SlideReader) -> None:
    if source.facts.source_sha256 != package.info.attributes["source"]["sha256"]:
        raise Conflict("this is not the slide that the package was made of")


def short_names(facts: Mapping[str, Any]) -> dict[str, str]:
    """Names of the metrics that were measured of the package of these `inspect` facts."""
    absent = {metric for metric in LATER_METRICS if metric not in facts["fidelity"]}
    if facts["second_judge"] is None:
        absent.add("dice_second")
    return {metric: name for metric, name in SHORT_NAMES.items() if metric not in absent}


def _layers(package: PackageReader, rungs: set[str]) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """(title, what, picture, legend) of every map; the agent's only where one estimated something."""
    maps, made = package.maps, []
    for layer, (title, what) in LAYERS.items():
        if layer == "p_compress" and not np.isfinite(maps.decision[layer]).any():
            continue
        items = [item for item in legend(layer) if layer != "rung" or item[0] in rungs]
        made.append((title, what, png_uri(render_map(maps, layer)), items))
    return made


def _hovers(package: PackageReader) -> list[tuple[int, int, str]]:
    """(x, y, text) of every patch, pixels of level 0."""
    maps, found = package.maps, []
    for (row, col), rung in np.ndenumerate(maps.decision["rung"]):
        region = package.grid.region(PatchIndex(row, col))
        size = human_bytes(int(maps.decision["bytes"][row, col]))
        text = f"row {row}, column {col}: {Rung(int(rung)).label}, {size}"
        for name in Floors().as_dict():
            value = maps.quality[name][row, col]
            text += f", {name} {value:.3f}" if np.isfinite(value) else ""
        found.append((region.x, region.y, text))
    return found


def _provenance(package: PackageReader) -> list[tuple[str, str]]:
    """The package's own statement, without the checksums of its documents and the totals shown above."""
    block = package.info.attributes
    return flattened({key: value for key, value in block.items() if key not in ("checksums", "totals")})
