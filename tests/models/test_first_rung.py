"""Where the search starts: counted as the search counts, and never chosen worse than the middle."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest

from adaslide import codec_runtime
from adaslide.adapters.rungs.exact import ExactRung
from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.domain.fidelity import IDENTICAL, Floors
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.profile import profile_named
from adaslide.domain.search import Bisection
from adaslide.pipeline.encode_patch import PatchEncoder, PatchInput
from adaslide.ports.rungs import PatchSource
from adaslide_models.data.first_rung import SEARCHED
from adaslide_models.first_rung import FirstRung, calibrated, costs_of, measurements

ARCHIVE = profile_named(SEARCHED)
COSTS = (2, 2, 2, 1, 1, 1, 1, 1)


@dataclass
class Starts:
    place: int

    def search(self, image, mpp, profile, whole_bytes):
        return Bisection(len(profile.ladder), self.place)


@dataclass
class Steps:
    """A made-up rung: its payload names the place, and stands for a patch that holds from ``first`` on."""

    ladder: tuple
    first: int

    def encode(self, source, spec):
        return bytes([self.ladder.index(spec)])

    def decode(self, payload, patch):
        grey = 128 if payload[0] >= self.first else 255
        return np.full((patch, patch, 3), grey, np.uint8)


@pytest.mark.parametrize("first", [0, 1, 4, 5])
def test_measurements_are_counted_as_the_search_counts_them(first):
    ladder = ARCHIVE.ladder[-5:]
    profile = replace(ARCHIVE, ladder=ladder, floors=Floors(ssim=0.9))
    steps = Steps(ladder, first)
    codecs = codec_runtime.rung_codecs() | {spec.rung: steps for spec in ladder}
    source = PatchSource(np.full((32, 32, 3), 128, np.uint8), 32, 32)
    patch = PatchInput(PatchIndex(0, 0), source, readable=True, on_tissue=True, source_bytes=0)
    for start in range(len(ladder) + 1):
        encoder = PatchEncoder(
            profile, 32, 0.5, (243, 243, 243), 243, codecs, ExactRung(), OtsuSegmenter(), Starts(start)
        )
        outcome = encoder.encode(patch).outcome
        assert outcome.measurements == measurements(start, first, costs_of(profile))
        assert outcome.fidelity == IDENTICAL


def test_restored_rungs_cost_two_measurements():
    assert costs_of(ARCHIVE) == tuple(2 if spec.scale > 1 else 1 for spec in ARCHIVE.ladder)
    assert set(costs_of(profile_named("archive@1"))) == {1}
    assert measurements(0, 0, COSTS) == 2
    assert measurements(7, 8, COSTS) == 2


def test_a_probability_that_tells_the_place_saves_measurements():
    random = np.random.default_rng(0)
    places = random.integers(0, 9, 400)
    probability = 1 - places / 10 + random.normal(0, 0.02, 400)
    table = calibrated(probability, places, COSTS)
    assert table.shares[0] > table.shares[-1]

    def spent(starts):
        return sum(measurements(s, int(p), COSTS) for s, p in zip(starts, places, strict=True))

    own = [round(table.shares[i] * 8) for i in np.searchsorted(table.thresholds, probability, "right")]
    assert spent(own) < 0.9 * spent([4] * 400)


def test_the_table_is_the_best_of_all_monotone_ones():
    random = np.random.default_rng(1)
    costs = (2, 1, 1, 1)
    for _ in range(20):
        places, probability = random.integers(0, 5, 12), np.linspace(0, 1, 12)
        table = calibrated(probability, places, costs, bins=3)

        def spent(starts, places=places):
            return sum(
                measurements(s, int(p), costs) for s, p in zip(np.repeat(starts, 4), places, strict=True)
            )

        best = min(
            spent(starts) for starts in product(range(4), repeat=3) if list(starts) == sorted(starts)[::-1]
        )
        parts = np.searchsorted(table.thresholds, probability, "right")[::4]
        assert spent([round(table.shares[part] * 4) for part in parts]) == best


def test_a_probability_that_tells_nothing_gives_one_start():
    places = np.array([8] * 50 + [0] * 50)
    table = calibrated(np.full(100, 0.5), places, COSTS)
    assert table.thresholds == ()
    assert len(table.shares) == 1
    assert FirstRung((), (0.5,)).as_table() == {"thresholds": [], "share": [0.5]}
