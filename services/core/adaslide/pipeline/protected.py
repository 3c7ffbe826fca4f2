"""Regions of a slide that the caller protects, given as GeoJSON (RFC 7946) in pixels of level 0.

As QuPath exports them: a geometry, a feature, a collection of either, or a plain list. Only the outlines are
kept; names and properties may tell of a patient, and are never looked at.
"""

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from adaslide.domain.errors import InputError
from adaslide.domain.geometry import PatchGrid

Outline = list[tuple[float, float]]
Points = npt.NDArray[np.float64]

CELLS = 8
"""Along a patch's side, in which outlines are drawn; a patch is protected from the first cell touched."""
MOST_POINTS = 10_000
MOST_PIXELS = 10**7
"""Of a coordinate, either side of the slide's corner: no slide is larger."""
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
    touched = np.zeros((grid.rows * CELLS, grid.cols * CELLS), np.bool_)
    for outline in outlines:
        points = np.array(outline) * (CELLS / grid.patch)
        _fill(touched, points)
        _trace(touched, points)
    # A cell's neighbours count: what is drawn is rounded to cells.
    touched = ndimage.binary_dilation(touched, np.ones((3, 3)))
    protected: npt.NDArray[np.bool_] = touched.reshape(grid.rows, CELLS, grid.cols, CELLS).any(axis=(1, 3))
    return protected


def _fill(touched: npt.NDArray[np.bool_], points: Points) -> None:
    """Marks what lies inside the closed line through (n, 2) ``points``, (x, y), wherever it winds: row by
    row, between the edges that cross the middle of it."""
    (x, y), (next_x, next_y) = points.T, np.roll(points, -1, axis=0).T
    first, last = max(0, math.floor(y.min())), min(len(touched) - 1, math.ceil(y.max()))
    for row in range(first, last + 1):
        middle = row + 0.5
        up, down = (y <= middle) & (next_y > middle), (next_y <= middle) & (y > middle)
        cross = np.flatnonzero(up | down)
        at = x[cross] + (middle - y[cross]) * (next_x[cross] - x[cross]) / (next_y[cross] - y[cross])
        order = np.argsort(at)
        winding = np.cumsum(np.where(up[cross], 1, -1)[order])
        ends = np.clip(at[order], 0, touched.shape[1])
        for left, right, turns in zip(ends[:-1], ends[1:], winding, strict=False):
            if turns:
                touched[row, math.floor(left) : math.ceil(right)] = True


def _trace(touched: npt.NDArray[np.bool_], points: Points) -> None:
    """Marks the cells along the closed line through ``points``: a region may be thinner than any row."""
    height, width = touched.shape
    box = np.array([width, height], float)
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        # Only the part in the slide's box, however far away the points are (Liang and Barsky 1984).
        step = end - start
        moves = step != 0
        if not moves.any() or ((start < 0) | (start >= box))[~moves].any():
            continue
        bounds = np.sort(np.array([-start, box - start])[:, moves] / step[moves], axis=0)
        enter, leave = max(0.0, float(bounds[0].max())), min(1.0, float(bounds[1].min()))
        if enter > leave:
            continue
        count = math.ceil(2 * float(np.abs(step).max()) * (leave - enter)) + 2
        along = start + np.linspace(enter, leave, count)[:, None] * step
        cells = np.clip(along.astype(int), 0, (width - 1, height - 1))
        touched[cells[:, 1], cells[:, 0]] = True


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
    except (OverflowError, TypeError, ValueError) as error:
        raise InputError("the protected regions hold a point that is not two numbers") from error
    if not all(abs(x) <= MOST_PIXELS and abs(y) <= MOST_PIXELS for x, y in ring):
        raise InputError("the protected regions hold a point that lies on no slide")
    if len(ring) < 3:
        raise InputError("the protected regions hold an outline of fewer than three points")
    return ring
