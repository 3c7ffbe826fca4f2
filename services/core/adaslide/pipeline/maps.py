"""Maps of a package as pictures: one colour per patch.

Rungs are categories. Their colours are those of Okabe and Ito (2008), which stay apart for the
common forms of colour blindness; cold colours are pixels the scanner measured, warm ones pixels a
restorer synthesised. Measures are a scale: anchors of matplotlib's viridis (CC0), dark is the bad
end. The ends are fixed by metric, not taken from the slide, so that two slides can be compared.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaslide.domain.errors import InputError, UnsupportedVersion
from adaslide.domain.fidelity import METRICS
from adaslide.domain.rung import Rung
from adaslide.package.records import Map, PatchMaps

Rgba = npt.NDArray[np.uint8]
"""(height, width, 4) uint8, straight alpha."""

RUNG_COLOURS: dict[Rung, str] = {
    Rung.BACKGROUND: "#d5d8dc",
    Rung.EXACT: "#0072b2",
    Rung.LOSSLESS: "#56b4e9",
    Rung.FINE: "#009e73",
    Rung.X4_3: "#d9f0a3",
    Rung.X2: "#f0e442",
    Rung.X4: "#e69f00",
    Rung.LATENT: "#d55e00",
    Rung.PAPER_KEEP: "#332288",
    Rung.PAPER_COMPRESS: "#cc79a7",
}
"""CSS colours by rung, in the order of legends: the only such table."""


@dataclass(frozen=True, slots=True)
class MetricScale:
    """The ends of a measure's colour scale; ``worst`` may be the greater number (an error)."""

    worst: float
    best: float
    digits: int

    def position(self, values: Map) -> npt.NDArray[np.float64]:
        """0 at ``worst``, 1 at ``best``, clipped; NaN stays NaN."""
        raw = (np.asarray(values, np.float64) - self.worst) / (self.best - self.worst)
        return np.clip(raw, 0.0, 1.0)


METRIC_SCALES: dict[str, MetricScale] = {
    "p_compress": MetricScale(0.0, 1.0, 2),
    "dice": MetricScale(0.6, 1.0, 2),
    "dice_window_min": MetricScale(0.4, 1.0, 2),
    "dice_second": MetricScale(0.6, 1.0, 2),
    "ssim": MetricScale(0.5, 1.0, 2),
    "colour_min": MetricScale(0.9, 1.0, 3),
    "psnr": MetricScale(20.0, 40.0, 0),
    "delta_e": MetricScale(10.0, 0.0, 1),
    "max_error": MetricScale(128.0, 0.0, 0),
}

LAYERS = ("rung", *METRIC_SCALES)
"""Every layer that can be drawn."""

AGENT_NOTE = "the agent's estimate, made before anything was measured; not a map of quality"
"""What stands beside the layer ``p_compress``, for its colours are those of measures."""

_VIRIDIS = np.array(
    [
        (68, 1, 84), (72, 36, 117), (65, 68, 135), (53, 95, 141), (42, 120, 142), (33, 145, 140),
        (34, 168, 132), (68, 191, 112), (122, 209, 81), (189, 223, 38), (253, 231, 37),
    ],
    np.float64,
)  # fmt: skip
_LEGEND_STOPS = 5


def metric_colour(position: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """(..., 3) uint8 RGB for places in [0, 1] on the scale."""
    anchors = np.linspace(0.0, 1.0, len(_VIRIDIS))
    channels = [np.interp(position, anchors, _VIRIDIS[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def _hex(rgb: npt.NDArray[np.uint8]) -> str:
    return "#" + bytes(int(sample) for sample in rgb).hex()


def _check_layer(layer: str) -> None:
    if layer not in LAYERS:
        raise InputError(f"no layer {layer!r}; there are {', '.join(LAYERS)}")


def _rung_image(rungs: Map) -> Rgba:
    table = np.zeros((256, 4), np.uint8)
    for rung, colour in RUNG_COLOURS.items():
        table[rung] = (*bytes.fromhex(colour[1:]), 255)
    image: Rgba = table[np.asarray(rungs, np.uint8)]
    if not image[..., 3].all():
        raise UnsupportedVersion("the map names a rung that this build does not know")
    return image


def _metric_image(values: Map, scale: MetricScale) -> Rgba:
    position = scale.position(values)
    known = ~np.isnan(position)
    image = np.zeros((*position.shape, 4), np.uint8)
    image[..., :3] = metric_colour(np.where(known, position, 0.0)) * known[..., None]
    image[..., 3] = known * np.uint8(255)
    return image


def render_map(maps: PatchMaps, layer: str, scale: int = 1) -> Rgba:
    """``layer`` as (rows * scale, cols * scale, 4) RGBA; transparent where nothing was measured.

    Layers are `LAYERS`. Raises `InputError` for another one or a scale below 1, and
    `UnsupportedVersion` for a rung of a newer build.
    """
    _check_layer(layer)
    if scale < 1:
        raise InputError(f"the scale of a map is at least 1, not {scale}")
    if layer == "rung":
        image = _rung_image(maps.decision["rung"])
    else:
        values = (maps.quality if layer in METRICS else maps.decision)[layer]
        image = _metric_image(values, METRIC_SCALES[layer])
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def legend(layer: str) -> list[tuple[str, str]]:
    """(label, CSS colour) pairs: every rung, or stops from the worst value to the best.

    Raises `InputError` for an unknown layer.
    """
    _check_layer(layer)
    if layer == "rung":
        return [(rung.label, colour) for rung, colour in RUNG_COLOURS.items()]
    scale = METRIC_SCALES[layer]
    stops = np.linspace(0.0, 1.0, _LEGEND_STOPS)
    values = scale.worst + stops * (scale.best - scale.worst)
    return [
        (f"{value:.{scale.digits}f}", _hex(colour))
        for value, colour in zip(values, metric_colour(stops), strict=True)
    ]
