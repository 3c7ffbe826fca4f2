"""The decision on one patch: the cheapest that holds, never below the floor, nothing lost when damaged."""

from dataclasses import replace

import numpy as np
import pytest

from adaslide import codec_runtime
from adaslide.adapters.agents.bisection import BisectionAgent
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.rungs.exact import ExactRung
from adaslide.adapters.rungs.restored import RestoredRung
from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.domain.decision import PatchFlag
from adaslide.domain.errors import SlideCorrupt
from adaslide.domain.fidelity import IDENTICAL, Floors
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.profile import PROFILES, profile_named
from adaslide.domain.rung import RestorerKind, Rung
from adaslide.domain.search import Bisection
from adaslide.package.envelope import Envelope
from adaslide.pipeline.check_patch import PatchChecker
from adaslide.pipeline.encode_patch import PatchEncoder, PatchInput
from adaslide.ports.rungs import PatchSource
from adaslide.ports.slides import EncodedTile

PATCH = 256
ARCHIVE = profile_named("archive@1")


class FixedAgent:
    """Proposes one place for every patch."""

    def __init__(self, place, p_compress=None):
        self.place, self.p_compress = place, p_compress

    def search(self, image, mpp, profile, whole_bytes):
        lowest = 0 if profile.promotes else self.place
        return Bisection(len(profile.ladder), self.place, self.p_compress, lowest=lowest)


def encoder(profile=ARCHIVE, agent=None, glass=(243, 243, 243)):
    return PatchEncoder(
        profile,
        PATCH,
        0.499,
        glass,
        243,
        codec_runtime.rung_codecs(),
        ExactRung(),
        OtsuSegmenter(),
        agent or BisectionAgent(),
    )


def patch(pixels, *, on_tissue=True, readable=True, tiles=()):
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, PATCH - height), (0, PATCH - width), (0, 0)), mode="edge")
    source = PatchSource(padded, width, height, tiles, PATCH // len(tiles) if tiles else 0)
    size = sum(len(tile.data) for row in tiles for tile in row)
    return PatchInput(PatchIndex(3, 5), source, readable, on_tissue, size)


@pytest.fixture(scope="module")
def tissue(sample_pixels):
    return sample_pixels[1000 : 1000 + PATCH, 900 : 900 + PATCH]


def glass():
    return np.random.default_rng(1).normal(243, 0.6, (PATCH, PATCH, 3)).round().astype(np.uint8)


class Sharper:
    """A restorer whose weights are named: bicubic, and ``error`` grey levels off."""

    def __init__(self, error):
        self.scale, self.error = 4, error

    def restore(self, batch):
        exact = BicubicRestorer(4).restore(batch)
        return [np.clip(image.astype(int) + self.error, 0, 255).astype(np.uint8) for image in exact]


@pytest.mark.parametrize("error", [0, 60])
def test_a_restorer_that_is_no_better_is_not_taken(tissue, error):
    digest = bytes(range(32))
    rung = RestoredRung({(4, b""): BicubicRestorer(4), (4, digest): Sharper(error)}, (digest,))
    easy = replace(ARCHIVE, ladder=ARCHIVE.ladder[:1], floors=Floors(dice=0.01))
    both = replace(encoder(easy), codecs={**codec_runtime.rung_codecs(), Rung.X4: rung})
    outcome = both.encode(patch(tissue)).outcome
    assert outcome.measurements == 2
    assert Envelope.unpack(outcome.payload).params.restorer is RestorerKind.BICUBIC


def test_a_better_restorer_wins_and_is_named(tissue):
    digest = bytes(range(32))
    rung = RestoredRung({(4, b""): Sharper(60), (4, digest): BicubicRestorer(4)}, (digest,))
    easy = replace(ARCHIVE, ladder=ARCHIVE.ladder[:1], floors=Floors(dice=0.01))
    both = replace(encoder(easy), codecs={**codec_runtime.rung_codecs(), Rung.X4: rung})
    params = Envelope.unpack(both.encode(patch(tissue)).outcome.payload).params
    assert (params.restorer, params.restorer_digest) == (RestorerKind.WEIGHTS, digest)


@pytest.mark.parametrize(
    ("floor", "reach", "asked"),
    [(0.01, 1.0, False), (0.9, 1.0, True), (0.9, 0.0, False), (0.9, None, True), (0.01, None, True)],
)
def test_nets_are_asked_only_where_they_could_make_a_rung_hold(tissue, floor, reach, asked):
    digest = bytes(range(32))
    rung = RestoredRung({(4, b""): Sharper(60), (4, digest): BicubicRestorer(4)}, (digest,))
    one = replace(ARCHIVE, ladder=ARCHIVE.ladder[:1], floors=Floors(dice=floor), net_reach=reach)
    outcome = replace(encoder(one), codecs={**codec_runtime.rung_codecs(), Rung.X4: rung}).encode(
        patch(tissue)
    )
    assert outcome.outcome.measurements == 1 + asked


def remeasured(outcome, source):
    checker = PatchChecker(PATCH, 0.499, 243, codec_runtime.rung_codecs(), ExactRung(), OtsuSegmenter())
    return checker.remeasure(outcome.payload or None, source)


def test_what_is_stored_is_what_was_measured_and_holds_the_floors(tissue):
    given = patch(tissue)
    outcome = encoder().encode(given).outcome
    again = remeasured(outcome, given.source)
    assert again.fidelity == outcome.fidelity
    assert again.pixels_crc32c == outcome.pixels_crc32c
    assert ARCHIVE.floors.held_by(outcome.fidelity, margin=True)
    assert outcome.index == PatchIndex(3, 5)


@pytest.mark.parametrize("proposed", range(len(ARCHIVE.ladder) + 1))
def test_every_proposal_ends_at_a_rung_that_holds(tissue, proposed):
    outcome = encoder(agent=FixedAgent(proposed, 0.25)).encode(patch(tissue)).outcome
    assert ARCHIVE.floors.held_by(outcome.fidelity, margin=True)
    assert outcome.p_compress == 0.25
    assert outcome.measurements < len(ARCHIVE.ladder)


def test_the_neighbour_below_the_chosen_rung_does_not_hold(tissue):
    outcome = encoder().encode(patch(tissue)).outcome
    names = [(spec.rung, spec.quality) for spec in ARCHIVE.ladder]
    place = names.index((outcome.rung, outcome.quality))
    assert place > 0
    cheaper = replace(ARCHIVE, ladder=ARCHIVE.ladder[place - 1 : place])
    assert encoder(cheaper).encode(patch(tissue)).outcome.rung is Rung.LOSSLESS


def test_proposals_that_moved_are_flagged(tissue):
    safer = encoder(agent=FixedAgent(0)).encode(patch(tissue)).outcome
    cheaper = encoder(agent=FixedAgent(len(ARCHIVE.ladder) - 1)).encode(patch(tissue)).outcome
    assert safer.flags == PatchFlag.DEMOTED
    assert cheaper.flags == PatchFlag.PROMOTED


def test_floors_nobody_holds_end_lossless_without_tiles(tissue):
    strict = replace(ARCHIVE, floors=Floors(dice=0.99999, ssim=0.99999))
    given = patch(tissue)
    outcome = encoder(strict).encode(given).outcome
    assert outcome.rung is Rung.LOSSLESS
    assert outcome.fidelity == IDENTICAL
    assert remeasured(outcome, given.source).fidelity == IDENTICAL


def jpeg_tiles(pixels, quality=30):
    """One JPEG tile over the patch, and the pixels it decodes to."""
    import simplejpeg

    data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, colorsubsampling="444")
    return ((EncodedTile(data, b"", rgb=False),),), simplejpeg.decode_jpeg(data, colorspace="RGB")


def test_floors_nobody_holds_end_exact_with_tiles(tissue):
    tiles, pixels = jpeg_tiles(tissue)
    strict = replace(ARCHIVE, floors=Floors(dice=0.99999, ssim=0.99999))
    outcome = encoder(strict).encode(patch(pixels, tiles=tiles)).outcome
    assert outcome.rung is Rung.EXACT
    assert ExactRung().source_tiles(outcome.payload) == [list(row) for row in tiles]
    assert outcome.source_bytes == len(tiles[0][0].data)


def test_exact_wins_where_it_is_the_smallest(tissue):
    tiles, pixels = jpeg_tiles(tissue, quality=1)
    dear = replace(ARCHIVE, ladder=ARCHIVE.ladder[-1:])
    assert encoder(dear).encode(patch(pixels, tiles=tiles)).outcome.rung is Rung.EXACT


def test_tiles_that_are_sound_but_not_what_the_reader_shows_are_not_called_original(tissue):
    tiles, pixels = jpeg_tiles(tissue)
    shown = pixels.copy()
    shown[0, 0] ^= 8
    outcome = encoder(PROFILES["exact"]).encode(patch(shown, tiles=tiles)).outcome
    assert outcome.rung is Rung.LOSSLESS
    assert outcome.flags == PatchFlag.NONE


def damaged(tiles):
    data = bytearray(tiles[0][0].data)
    data[len(data) // 2 : len(data) // 2 + 30] = b"\xff" * 30
    return ((EncodedTile(bytes(data), b"", rgb=False),),)


@pytest.mark.parametrize("readable", [True, False])
def test_damaged_tiles_are_kept_as_they_stand_and_marked(tissue, readable):
    tiles, pixels = jpeg_tiles(tissue)
    broken = damaged(tiles)
    outcome = encoder().encode(patch(pixels, tiles=broken, readable=readable, on_tissue=False)).outcome
    assert outcome.rung is Rung.EXACT
    assert outcome.flags == PatchFlag.CORRUPT
    assert ExactRung().source_tiles(outcome.payload) == [list(row) for row in broken]
    assert np.isnan(outcome.fidelity.dice)


def test_a_damaged_patch_is_still_protected(tissue):
    tiles, pixels = jpeg_tiles(tissue)
    protected = replace(patch(pixels, tiles=damaged(tiles)), barred=PatchFlag.PROTECTED)
    assert encoder().encode(protected).outcome.flags == PatchFlag.CORRUPT | PatchFlag.PROTECTED


def test_without_tiles_it_is_the_samples_that_would_be_kept_whole(tissue):
    given = patch(tissue)
    absent = replace(given, source=replace(given.source, tiles=((None,),), tile_size=PATCH))
    assert given.whole_bytes == absent.whole_bytes == round(0.25 * tissue.size)


def test_an_unreadable_patch_without_tiles_is_refused_not_whitened(tissue):
    with pytest.raises(SlideCorrupt):
        encoder().encode(patch(tissue, readable=False))


def test_glass_becomes_nothing():
    outcome = encoder().encode(patch(glass(), on_tissue=False)).outcome
    assert (outcome.rung, outcome.payload, outcome.measurements) == (Rung.BACKGROUND, b"", 0)
    assert outcome.fidelity.max_error < 8
    assert np.isnan(outcome.fidelity.dice)


def test_tinted_glass_keeps_its_colour():
    tinted = (glass().astype(int) - (0, 14, 4)).astype(np.uint8)
    given = patch(tinted, on_tissue=False)
    outcome = encoder(glass=(243, 229, 239)).encode(given).outcome
    assert outcome.rung is Rung.BACKGROUND
    assert 0 < len(outcome.payload) < 20
    assert remeasured(outcome, given.source).fidelity.delta_e < 1.5


def test_a_flat_patch_of_another_colour_than_the_glass_is_kept():
    tinted = (glass().astype(int) - (0, 14, 4)).astype(np.uint8)
    assert encoder().encode(patch(tinted, on_tissue=False)).outcome.rung is not Rung.BACKGROUND


def test_what_looks_like_glass_inside_the_tissue_is_kept():
    assert encoder().encode(patch(glass(), on_tissue=True)).outcome.rung is not Rung.BACKGROUND


def test_the_profile_exact_keeps_glass_too():
    assert encoder(PROFILES["exact"]).encode(patch(glass(), on_tissue=False)).outcome.rung is Rung.LOSSLESS


def test_ragged_patches_are_measured_on_their_valid_pixels(tissue):
    given = patch(tissue[:40, :90])
    outcome = encoder().encode(given).outcome
    assert remeasured(outcome, given.source).fidelity == outcome.fidelity


def test_the_overview_is_of_the_original(tissue):
    overview = encoder().encode(patch(tissue)).overview
    assert overview.shape == (PATCH // 16, PATCH // 16, 3)
    assert abs(overview.mean() - tissue.mean()) < 0.5


DIALLED = replace(ARCHIVE, is_dial=True, lambda_=0.0)


def test_a_survey_begins_at_what_would_be_kept_and_ends_with_the_patch_whole(tissue):
    given = patch(tissue)
    usual, surveyed = encoder(DIALLED).encode(given), encoder(DIALLED).survey(given)
    steps = surveyed.survey.steps
    assert surveyed.outcome is steps[0]
    assert (steps[0].payload, steps[0].fidelity) == (usual.outcome.payload, usual.outcome.fidelity)
    assert (steps[-1].rung, steps[-1].fidelity) == (Rung.LOSSLESS, IDENTICAL)
    assert np.array_equal(surveyed.overview, usual.overview)
    sizes, dice = [len(step.payload) for step in steps], [step.fidelity.dice for step in steps]
    assert len(steps) > 2
    assert (np.diff(sizes) > 0).all()
    assert (np.diff(dice) > 0).all()
    for step in steps:
        assert DIALLED.floors.held_by(step.fidelity, margin=True)
        again = remeasured(step, given.source)
        assert (again.fidelity, again.pixels_crc32c) == (step.fidelity, step.pixels_crc32c)
    assert surveyed.survey.floor == "dice"
    assert surveyed.survey.whole_bytes == given.whole_bytes


def test_a_survey_ends_where_the_dial_does(tissue):
    given = patch(tissue)
    steps = encoder(DIALLED).survey(given).survey.steps
    assert encoder(replace(DIALLED, lambda_=1e6)).encode(given).outcome.payload == steps[-1].payload
    dear = encoder(replace(DIALLED, lambda_=0.5)).encode(given).outcome.payload
    assert dear in [step.payload for step in steps[1:-1]]


def test_where_nothing_holds_or_nothing_is_to_choose_a_survey_has_one_step(tissue):
    strict = replace(DIALLED, floors=Floors(dice=0.9999))
    whole = encoder(strict).survey(patch(tissue)).survey
    assert [step.rung for step in whole.steps] == [Rung.LOSSLESS]
    assert whole.floor == "dice"
    clear = encoder(DIALLED).survey(patch(glass(), on_tissue=False)).survey
    assert [step.rung for step in clear.steps] == [Rung.BACKGROUND]
    assert (clear.whole_bytes, clear.floor) == (0, "")
