"""The line with the learned parts: real weights, real tissue, and judges that say what a test needs."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from adaslide import codec_runtime, wiring
from adaslide.adapters.inference.weights import installed, pinned, weights_pinned
from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.domain.decision import PatchFlag
from adaslide.domain.errors import InputError, ModelError, WeightsMissing
from adaslide.domain.geometry import PatchIndex, Size
from adaslide.domain.profile import OTSU, PROFILES, VERSIONS, profile_named
from adaslide.domain.rung import RestorerKind, Rung
from adaslide.domain.search import Bisection
from adaslide.domain.slide import MppOrigin, SlideFacts, SourceLevel
from adaslide.package.envelope import Envelope
from adaslide.pipeline.encode_patch import PatchInput
from adaslide.pipeline.plan import CompressionPlan
from adaslide.pipeline.proof import crc32c, payload_crc32c
from adaslide.pipeline.verify import agree
from adaslide.ports.rungs import PatchSource

PATCH = 256
ARCHIVE = PROFILES["archive"]
MPP = 0.499
(X4,) = (spec for spec in profile_named("archive@6").ladder if spec.name == "x4-q45")
"""As the enhancers were taught."""
fresh_codecs = codec_runtime.rung_codecs.__wrapped__
"""As in a process of its own: nothing looked up before."""


def planned(profile=ARCHIVE, mpp=MPP):
    size = Size(PATCH, PATCH)
    facts = SlideFacts(size, (SourceLevel(size, 1.0),), "test", mpp, 20.0, None, None, 1000, "00" * 32)
    tissue = np.ones((1, 1), np.float32)
    barred = np.zeros((1, 1), np.uint8)
    return CompressionPlan(facts, profile, mpp, MppOrigin.PROPERTIES, PATCH, tissue, (243, 243, 243), barred)


@pytest.fixture(scope="module")
def tissue(sample_pixels):
    pixels = np.ascontiguousarray(sample_pixels[1000 : 1000 + PATCH, 900 : 900 + PATCH])
    return PatchInput(PatchIndex(0, 0), PatchSource(pixels, PATCH, PATCH), True, True, 0)


@pytest.fixture(scope="module")
def kept(tissue):
    return wiring.patch_encoder(planned()).encode(tissue).outcome


@pytest.mark.parametrize("profile", VERSIONS, ids=lambda profile: profile.id)
def test_the_weights_that_profiles_pin_are_those_installed(profile):
    named = wiring.weights_in(profile)
    assert all(installed()[name].digest.hex() == sha256 for name, sha256 in named.items())
    assert bool(named) is (profile.judge != OTSU or bool(profile.restorers))


def test_weights_of_the_same_name_that_are_others_are_missing():
    with pytest.raises(WeightsMissing, match="nuclei-unet@000000000000"):
        wiring.judge_named("nuclei-unet@000000000000", MPP)
    assert (
        pinned(weights_pinned(ARCHIVE.judge)) == ARCHIVE.judge == wiring.judge_named(ARCHIVE.judge, MPP).name
    )


@pytest.mark.parametrize("mpp", [0.05, 2.0])
def test_a_scale_the_judge_does_not_know_is_refused_before_anything_is_read(mpp):
    with pytest.raises(InputError, match="the profile exact needs no judge"):
        wiring.patch_encoder(planned(mpp=mpp))
    assert wiring.patch_encoder(planned(PROFILES["exact"], mpp)).judge.name == OTSU


def test_encoder_and_checker_can_be_sent_to_other_processes(tissue, kept):
    work = planned()
    encoder, checker = pickle.loads(pickle.dumps((wiring.patch_encoder(work), wiring.plan_checker(work))))
    assert encoder.encode(tissue).outcome == kept
    assert checker.crc32c(kept.payload) == kept.pixels_crc32c


def test_both_judges_measured_what_is_kept(tissue, kept):
    assert ARCHIVE.floors.held_by(kept.fidelity, margin=True)
    again = wiring.plan_checker(planned()).remeasure(kept.payload, tissue.source)
    assert again.fidelity == kept.fidelity
    assert 0 < kept.fidelity.dice_second < 1


class Verdict:
    """A second judge that finds the same in all images, or other nuclei in all but the first."""

    name = "verdict"

    def __init__(self, *, agrees):
        self.agrees, self.calls = agrees, 0

    def masks(self, images, mpp):
        self.calls += 1
        row = int(self.calls > 1 and not self.agrees)
        masks = [np.zeros(image.shape[:2], bool) for image in images]
        for mask in masks:
            mask[row::2] = True
        return masks


def test_the_second_judge_can_only_demote(tissue, kept):
    encoder = wiring.patch_encoder(planned())
    floors = replace(ARCHIVE.floors, dice_second=0.0)
    alone = replace(encoder, second=None, profile=replace(ARCHIVE, floors=floors))
    chosen = alone.encode(tissue).outcome
    assert np.isnan(chosen.fidelity.dice_second)
    assert len(chosen.payload) <= len(kept.payload)
    agreeing = replace(encoder, second=Verdict(agrees=True)).encode(tissue).outcome
    assert agreeing.payload == chosen.payload
    assert replace(encoder, second=Verdict(agrees=False)).encode(tissue).outcome.rung is Rung.LOSSLESS


def test_without_the_second_judge_its_floor_is_held_by_nothing(tissue):
    forgotten = replace(wiring.patch_encoder(planned()), second=None)
    assert forgotten.encode(tissue).outcome.rung is Rung.LOSSLESS


@pytest.fixture(scope="module")
def restored(tissue):
    """A payload that the enhancer restores, its codec, and its pixels."""
    digest = weights_pinned(ARCHIVE.restorers[0]).digest
    codec = codec_runtime.rung_codecs((digest,))[Rung.X4]
    _, by_net = codec.alternatives(codec.encode(tissue.source, X4))
    assert Envelope.unpack(by_net).params.restorer is RestorerKind.WEIGHTS
    return by_net, codec, codec_runtime.decode_payload(by_net, PATCH)


def test_a_net_is_proved_by_what_it_is_given(restored):
    payload, codec, pixels = restored
    low = codec.before_net(payload, PATCH)
    assert low.shape == (PATCH // 4, PATCH // 4, 3)
    assert payload_crc32c(codec, payload, PATCH) == crc32c(low) != crc32c(pixels)
    bicubic = codec.encode(PatchSource(pixels, PATCH, PATCH), X4)
    assert codec.before_net(bicubic, PATCH) is None
    assert payload_crc32c(codec, bicubic, PATCH) == crc32c(codec.decode(bicubic, PATCH))


def test_the_enhancer_restores_better_than_bicubic(tissue, restored):
    _, codec, pixels = restored
    bicubic = codec.decode(codec.encode(tissue.source, X4), PATCH)
    original = tissue.source.pixels.astype(float)
    assert np.square(pixels - original).mean() < 0.9 * np.square(bicubic - original).mean()


def test_decoding_knows_every_installed_restorer_and_encoding_those_of_the_profile(tissue):
    plain = wiring.patch_encoder(planned(profile_named("archive@1"))).codecs[Rung.X4]
    payload = plain.encode(tissue.source, X4)
    assert plain.alternatives(payload) == [payload]
    assert set(plain.restorers) == set(wiring.patch_encoder(planned()).codecs[Rung.X4].restorers)


@pytest.fixture
def bad_folder(tmp_path, monkeypatch):
    """A folder of weights whose manifest cannot be used, and nothing looked up before."""
    (tmp_path / "manifest.toml").write_text("[")
    monkeypatch.setenv("ADASLIDE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(codec_runtime, "rung_codecs", fresh_codecs)


@pytest.mark.parametrize("profile", ["exact", "archive@1", "paper@1"])
def test_a_bad_folder_of_weights_stops_no_profile_that_needs_no_net(bad_folder, tissue, profile):
    plan = planned(profile_named(profile))
    encoder = pickle.loads(pickle.dumps(wiring.patch_encoder(plan)))
    outcome = encoder.encode(tissue).outcome
    assert wiring.plan_checker(plan).crc32c(outcome.payload) == outcome.pixels_crc32c
    assert wiring.weights_in(plan.profile) == {}


def test_what_names_no_net_is_decoded_beside_a_bad_folder_of_weights(bad_folder, tissue):
    for spec in ARCHIVE.ladder:
        payload = codec_runtime.codec_for(spec.rung).encode(tissue.source, spec)
        assert codec_runtime.decode_payload(payload, PATCH).shape == (PATCH, PATCH, 3)


def test_what_needs_a_net_names_the_setting_of_the_bad_folder(restored, bad_folder):
    with pytest.raises(ModelError, match="ADASLIDE_WEIGHTS"):
        codec_runtime.decode_payload(restored[0], PATCH)
    with pytest.raises(ModelError, match="ADASLIDE_WEIGHTS"):
        wiring.patch_encoder(planned())


def test_archive_1_is_still_what_it_was():
    encoder = wiring.patch_encoder(planned(profile_named("archive@1")))
    assert isinstance(encoder.judge, OtsuSegmenter)
    assert encoder.second is None


@pytest.mark.parametrize(
    ("metric", "told", "found", "by_net", "same"),
    [
        ("dice", 0.9, 0.9005, False, True),
        ("dice", 0.9, 0.902, True, False),
        ("max_error", 80, 83, True, True),
        ("max_error", 80, 84, True, False),
        ("max_error", 80, 81, False, False),
        ("psnr", 30.0, 30.02, True, True),
    ],
)
def test_what_may_differ_between_machines(metric, told, found, by_net, same):
    assert agree(metric, told, found, by_net=by_net) is same


def test_the_agent_proposes_and_is_recorded(tissue, kept):
    encoder = wiring.patch_encoder(planned())
    search = encoder.agent.search(tissue.source.pixels, MPP, ARCHIVE, 40_000)
    assert kept.p_compress == search.p_compress
    assert 0 < search.p_compress < 1
    assert 0 <= search.proposed < len(ARCHIVE.ladder)


class Says:
    """An agent of one opinion."""

    def __init__(self, place):
        self.place = place

    def search(self, image, mpp, profile, whole_bytes):
        return Bisection(len(profile.ladder), self.place, 0.5, lowest=self.place)


def test_under_the_papers_profile_the_agents_keep_is_kept(tissue):
    encoder = wiring.patch_encoder(planned(PROFILES["paper"]))
    keep = replace(encoder, agent=Says(1)).encode(tissue).outcome
    assert (keep.rung, keep.measurements) == (Rung.PAPER_KEEP, 1)
    compress = replace(encoder, agent=Says(0)).encode(tissue).outcome
    assert compress.rung is Rung.PAPER_COMPRESS
    assert len(compress.payload) < len(keep.payload)


def test_under_the_papers_profile_a_compress_below_tau_is_demoted(tissue):
    encoder = wiring.patch_encoder(planned(PROFILES["paper"].with_floors(dice=0.97)))
    outcome = replace(encoder, agent=Says(0)).encode(tissue).outcome
    assert outcome.rung is not Rung.PAPER_COMPRESS
    assert outcome.flags == PatchFlag.DEMOTED


@pytest.mark.parametrize("weights", installed().values(), ids=lambda weights: weights.name)
def test_the_card_of_a_weight_names_its_files(weights):
    card = (weights.path.parent / weights.table["card"]).read_text()
    assert weights.digest.hex() in card
    assert weights.table["safetensors_sha256"] in card


def test_of_two_copies_of_a_net_the_first_runs(tmp_path, monkeypatch):
    net = weights_pinned(ARCHIVE.restorers[0])
    for name in (net.path.name, "manifest.toml"):
        (tmp_path / name).write_bytes((net.path.parent / name).read_bytes())
    monkeypatch.setenv("ADASLIDE_WEIGHTS", str(tmp_path))
    restorer = fresh_codecs()[Rung.X4].restorers[4, net.digest]
    assert restorer.model.path.parent == weights_pinned(ARCHIVE.restorers[0]).path.parent == tmp_path
