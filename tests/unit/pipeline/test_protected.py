"""Regions from the caller: every patch they touch, whatever GeoJSON they come in; never a name."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.domain.errors import InputError
from adaslide.domain.geometry import PatchGrid, Size
from adaslide.pipeline.protected import MOST_POINTS, canonical, outlines_of, protected_patches

GRID = PatchGrid(Size(2000, 1500), 512)
SQUARE = [[600, 100], [700, 100], [700, 200], [600, 200], [600, 100]]
POLYGON = {"type": "Polygon", "coordinates": [SQUARE]}


def patches(geojson, grid=GRID):
    mask = protected_patches(outlines_of(geojson), grid)
    return {(row, col) for row in range(grid.rows) for col in range(grid.cols) if mask[row, col]}


@pytest.mark.parametrize(
    "geojson",
    [
        POLYGON,
        [POLYGON],
        {"type": "Feature", "geometry": POLYGON, "properties": {"name": "SMITH^JANE"}},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": POLYGON}]},
        {"type": "GeometryCollection", "geometries": [POLYGON]},
        {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
        {"type": "Polygon", "coordinates": [[[x, y, 0] for x, y in SQUARE]]},
    ],
)
def test_every_form_is_the_same_regions(geojson):
    assert patches(geojson) == {(0, 1)}
    assert canonical(geojson) == canonical(POLYGON)
    assert "SMITH" not in canonical(geojson)


def test_what_lies_across_a_border_protects_both_sides():
    across = {"type": "Polygon", "coordinates": [[[500, 10], [530, 10], [530, 20]]]}
    assert patches(across) == {(0, 0), (0, 1)}


def test_a_region_thinner_than_a_pixel_protects():
    line = {"type": "Polygon", "coordinates": [[[1100, 600], [1100, 601], [1100.5, 600]]]}
    assert (1, 2) in patches(line)


def test_what_lies_outside_the_slide_protects_nothing():
    assert not patches({"type": "Polygon", "coordinates": [[[9000, 9000], [9100, 9000], [9100, 9100]]]})


@given(st.integers(0, 1999), st.integers(0, 1499), st.integers(1, 900), st.integers(1, 900))
def test_every_patch_that_a_rectangle_touches_is_protected(x, y, width, height):
    right, bottom = min(x + width, 1999), min(y + height, 1499)
    ring = [[x, y], [right, y], [right, bottom], [x, bottom]]
    touched = {
        (row, col) for row in range(y // 512, bottom // 512 + 1) for col in range(x // 512, right // 512 + 1)
    }
    assert touched <= patches({"type": "Polygon", "coordinates": [ring]})


def ring(*points):
    return {"type": "Polygon", "coordinates": [[list(point) for point in points]]}


@given(st.integers(0, 1900), st.integers(0, 1400), st.integers(-900, 900), st.integers(-900, 900))
def test_every_patch_along_a_sliver_is_protected(x, y, across, down):
    """A region thinner than anything that is drawn, in any direction."""
    found = patches(ring((x, y), (x + across, y + down), (x + 1, y + 1)))
    for part in np.linspace(0, 1, 200):
        row, col = int((y + part * down) // 512), int((x + part * across) // 512)
        assert (row, col) in found or not (0 <= row < GRID.rows and 0 <= col < GRID.cols)


def test_a_region_larger_than_the_slide_protects_all_of_it():
    far = 9_999_999
    assert len(patches(ring((-far, -far), (far, -far), (far, far), (-far, far)))) == GRID.rows * GRID.cols
    assert len(patches(ring((-far, 700), (far, 690), (far, 710)))) == GRID.cols


def test_where_an_outline_crosses_itself_nothing_is_left_out():
    """A star by five strokes: its middle is wound twice."""
    tips = [(1000 + 700 * np.cos(a), 750 + 700 * np.sin(a)) for a in np.arange(5) * 4 * np.pi / 5]
    mask = protected_patches([tips], PatchGrid(Size(2000, 1500), 128))
    assert mask[750 // 128, 1000 // 128]


@pytest.mark.parametrize(
    "geojson",
    [
        {},
        [],
        7,
        None,
        {"type": "Point", "coordinates": [1, 2]},
        {"type": "FeatureCollection", "features": []},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]},
        {"type": "Polygon", "coordinates": [[[1, 2], [3, "x"], [5, 6]]]},
        {"type": "Polygon", "coordinates": [[[1, 2], [3, float("nan")], [5, 6]]]},
        {"type": "Polygon", "coordinates": [[[0, i] for i in range(MOST_POINTS + 1)]]},
        {"type": "Polygon", "coordinates": [[[1, 2], [3, 10**400], [5, 6]]]},
        {"type": "Polygon", "coordinates": [[[1, 2], [3, 1e300], [5, 6]]]},
        [[[[[[[[[POLYGON]]]]]]]]],
    ],
)
def test_anything_else_is_refused(geojson):
    with pytest.raises(InputError, match="protected regions"):
        outlines_of(geojson)


def test_what_is_kept_is_read_back():
    assert patches(POLYGON) == {
        (row, col)
        for row, col in zip(*protected_patches(json.loads(canonical(POLYGON)), GRID).nonzero(), strict=True)
    }
