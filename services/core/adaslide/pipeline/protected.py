"""Regions of a slide that the caller protects, given as GeoJSON (RFC 7946) in pixels of level 0.

As QuPath exports them: a geometry, a feature, a collection of either, or a plain list. Only the outlines are
kept; names and properties may tell of a patient, and are never looked at.
"""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from adaslide.domain.errors import InputError
from adaslide.domain.geometry import PatchGrid

Outline = list[tuple[float, float]]

CELLS = 8
"""Along a patch's side, in which outlines are drawn; a patch is protected from the first cell touched."""
MOST_POINTS = 100_000
DEEPEST = 6


def outlines_of(geojson: Any) -> list[Outline]:
    """The outer rings, [(x, y), ...], of every polygon in ``geojson``, parsed JSON. Holes are protected too.

    Raises `InputError` for anything that is no polygon, for none, and for more than `MOST_POINTS` points.
    """
    found = list(_rings(geojson, 0))
    if not found:
        raise InputError("the protected regions hold no polygon")
    if sum(map(len, found)) > MOST_POINTS:
        raise InputError(f"the protected regions have more than {MOST_POINTS} points")
    return found


def canonical(geojson: Any) -> str:
    """`outlines_of` as compact JSON: the same regions are the same text, whoever exported them.

    Raises as `outlines_of`.
    """
    rounded = [[[round(x), round(y)] for x, y in outline] for outline in outlines_of(geojson)]
    return json.dumps(rounded, separators=(",", ":"))


def protected_patches(outlines: list[Outline], grid: PatchGrid) -> npt.NDArray[np.bool_]:
    """(rows, cols): every patch that one of ``outlines`` touches."""
    side = grid.patch / CELLS
    canvas = Image.new("1", (grid.cols * CELLS, grid.rows * CELLS))
    draw = ImageDraw.Draw(canvas)
    for outline in outlines:
        points = [(x / side, y / side) for x, y in outline]
        draw.polygon(points, fill=1, outline=1)
    # A cell's neighbours count: what is drawn is rounded to cells.
    touched = ndimage.binary_dilation(np.asarray(canvas), np.ones((3, 3)))
    protected: npt.NDArray[np.bool_] = touched.reshape(grid.rows, CELLS, grid.cols, CELLS).any(axis=(1, 3))
    return protected


def _rings(node: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise InputError("the protected regions are nested too deep")
    if isinstance(node, list):
        for one in node:
            yield from _rings(one, depth + 1)
        return
    match node:
        case {"type": "FeatureCollection", "features": list(features)}:
            yield from _rings(features, depth + 1)
        case {"type": "Feature", "geometry": dict(geometry)}:
            yield from _rings(geometry, depth + 1)
        case {"type": "GeometryCollection", "geometries": list(geometries)}:
            yield from _rings(geometries, depth + 1)
        case {"type": "Polygon", "coordinates": [outer, *_]}:
            yield _ring(outer)
        case {"type": "MultiPolygon", "coordinates": list(polygons)}:
            for polygon in polygons:
                yield from _rings({"type": "Polygon", "coordinates": polygon}, depth + 1)
        case _:
            raise InputError("the protected regions are no GeoJSON polygons")


def _ring(points: Any) -> Outline:
    try:
        ring = [(float(x), float(y)) for x, y, *_ in points]
    except (TypeError, ValueError) as error:
        raise InputError("the protected regions hold a point that is not two numbers") from error
    if len(ring) < 3 or not np.isfinite(ring).all():
        raise InputError("the protected regions hold an outline of fewer than three points")
    return ring
