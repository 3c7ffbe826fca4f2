"""The learned agent as served: where it starts, that it travels, and what it refuses."""

import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from adaslide.adapters.agents.cda import CdaAgent, place_at, thumbnail_planes
from adaslide.adapters.inference.weights import Weights, weights_named
from adaslide.domain.errors import ModelError
from adaslide.domain.pixels import shrink
from adaslide.domain.profile import PROFILES

ARCHIVE, EXACT, PAPER = (PROFILES[name] for name in ("archive", "exact", "paper"))
TABLE = {"first_rung": {"thresholds": [0.2, 0.8], "share": [0.75, 0.5, 0.0]}}


def varint(value):
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def message(*fields):
    """A protocol buffer of (number, value): ONNX without its package, which only training installs."""
    data = b""
    for number, value in fields:
        if isinstance(value, int):
            data += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            data += varint(number << 3 | 2) + varint(len(value)) + value
    return data


def tensor(name, values, data_type):
    array = np.asarray(values)
    dims = [(1, side) for side in array.shape]
    return message(*dims, (2, data_type), (8, name), (9, array.tobytes()))


def typed(name, *dims):
    shape = message(*((1, message((1, d) if isinstance(d, int) else (2, d))) for d in dims))
    return message((1, name), (2, message((1, message((1, 1), (2, shape))))))


def brightness_net(gain=20.0, middle=0.5):
    """ONNX of odds = gain * (mean of x - middle): bright patches are worth compressing."""
    reduce = message(
        (1, "x"), (1, "axes"), (2, "mean"), (4, "ReduceMean"),
        (5, message((1, "keepdims"), (3, 0), (20, 2))),
    )  # fmt: skip
    subtract = message((1, "mean"), (1, "middle"), (2, "above"), (4, "Sub"))
    multiply = message((1, "above"), (1, "gain"), (2, "y"), (4, "Mul"))
    constants = (
        tensor("axes", np.array([1, 2, 3], np.int64), 7),
        tensor("middle", np.float32(middle), 1),
        tensor("gain", np.float32(gain), 1),
    )
    graph = message(
        *((1, node) for node in (reduce, subtract, multiply)),
        (2, "brightness"),
        *((5, constant) for constant in constants),
        (11, typed("x", "batch", 3, "rows", "columns")),
        (12, typed("y", "batch")),
    )
    return message((1, 8), (7, graph), (8, message((1, ""), (2, 18))))


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "brightness.onnx"
    path.write_bytes(brightness_net())
    return Weights("brightness", "agent", path, hashlib.sha256(path.read_bytes()).digest(), TABLE)


def flat(grey, side=256):
    return np.full((side, side, 3), grey, np.uint8)


def test_probabilities_are_the_net_s(weights):
    agent = CdaAgent.of(weights)
    for grey in (0, 100, 128, 255):
        odds = 20 * (grey / 255 - 0.5)
        assert agent.probability(flat(grey)) == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-4)


def test_extreme_odds_neither_overflow_nor_leave_the_interval(weights):
    weights.path.write_bytes(brightness_net(gain=1e5))
    agent = CdaAgent.of(replace(weights, digest=hashlib.sha256(weights.path.read_bytes()).digest()))
    assert [agent.probability(flat(grey)) for grey in (0, 255)] == [0.0, 1.0]


def test_it_sees_the_thumbnail(weights, sample_pixels):
    patch = sample_pixels[1000:1512, 800:1312]
    odds = 20 * (shrink(patch, 4).astype(np.float64).mean() / 255 - 0.5)
    assert CdaAgent.of(weights).probability(patch) == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-4)


def test_the_published_ladder_takes_the_more_probable_action(weights):
    dark, bright = (CdaAgent.of(weights).search(flat(grey), 0.5, PAPER, 40_000) for grey in (120, 135))
    assert (dark.proposed, bright.proposed) == (1, 0)
    assert dark.p_compress < 0.5 < bright.p_compress
    assert dark.next({}) == 1


def test_other_ladders_start_where_calibrated(weights):
    agent = CdaAgent.of(weights)
    greys = 60, 128, 240
    ladder = len(ARCHIVE.ladder)
    places = [agent.search(flat(grey), 0.5, ARCHIVE, 40_000).proposed for grey in greys]
    assert places == [place_at(0.75, ladder), place_at(0.5, ladder), 0]
    assert place_at(0.75, 12) == 9
    half = replace(ARCHIVE, ladder=ARCHIVE.ladder[:5])
    assert [agent.search(flat(grey), 0.5, half, 40_000).proposed for grey in greys] == [4, 3, 0]


def test_a_start_is_always_a_rung_of_the_ladder(weights):
    agent = replace(CdaAgent.of(weights), shares=(1.0, 1.0, 1.0))
    assert agent.search(flat(90), 0.5, ARCHIVE, 40_000).proposed == len(ARCHIVE.ladder) - 1
    assert agent.search(flat(90), 0.5, EXACT, 40_000).next({}) is None


def test_strips_are_mirrored_up_to_the_size_that_was_learned():
    strip = np.random.default_rng(0).integers(0, 256, (3, 200, 3), np.uint8)
    planes = thumbnail_planes(strip)
    assert planes.shape == (1, 3, 128, 200)
    np.testing.assert_array_equal(planes[0, :, 3], planes[0, :, 2])
    np.testing.assert_array_equal(planes[0, :, 6:9], planes[0, :, :3])
    np.testing.assert_allclose(planes[0, :, :3].transpose(1, 2, 0) * 255, strip, atol=1e-4)


def test_it_travels(weights):
    agent = CdaAgent.of(weights)
    there = pickle.loads(pickle.dumps(agent))
    assert there == agent
    one, other = (each.search(flat(200), 0.5, PAPER, 40_000) for each in (agent, there))
    assert one.p_compress == other.p_compress


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"first_rung": {"thresholds": [0.5]}},
        {"first_rung": {"thresholds": [0.5], "share": [0.5]}},
        {"first_rung": {"thresholds": [0.5], "share": [0.2, 0.4]}},
        {"first_rung": {"thresholds": [0.5, 0.4], "share": [0.4, 0.2, 0.1]}},
        {"first_rung": {"thresholds": [], "share": [1.5]}},
        {"first_rung": {"thresholds": [], "share": []}},
        {"first_rung": {"thresholds": ["a"], "share": [0.4, 0.2]}},
    ],
)
def test_tables_that_cannot_be_used_are_refused(weights, table):
    with pytest.raises(ModelError):
        CdaAgent.of(replace(weights, table=table))


def test_other_kinds_of_weights_are_refused(weights):
    with pytest.raises(ModelError):
        CdaAgent.of(replace(weights, kind="restorer"))
    with pytest.raises(ModelError):
        CdaAgent.of(weights_named("fie-compact-x4"))
