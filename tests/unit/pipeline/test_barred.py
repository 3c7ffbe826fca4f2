"""What nothing may be restored of ends fine or whole, says why, and keeps more than others must."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from adaslide import codec_runtime
from adaslide.adapters.agents.bisection import BisectionAgent
from adaslide.adapters.rungs.exact import ExactRung
from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.domain.decision import PatchFlag
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.policy import Policy
from adaslide.domain.profile import VERSIONS, profile_named
from adaslide.domain.rung import RESTORED_RUNGS, Rung
from adaslide.pipeline.encode_patch import PatchEncoder, PatchInput
from adaslide.pipeline.guard import Guard
from adaslide.ports.rungs import PatchSource

PATCH = 256
GLASS = (243, 243, 243)
# Floors that the smallest rung holds: what is barred then ends elsewhere for no other reason.
EASY = replace(profile_named("archive@1"), policy=Policy()).with_floors(dice=0.05)
EASY = replace(EASY, floors=replace(EASY.floors, dice_window_min=0.0, ssim=0.1))


def encoded(pixels, barred=PatchFlag.NONE, profile=EASY):
    encoder = PatchEncoder(
        profile,
        PATCH,
        0.499,
        GLASS,
        243,
        codec_runtime.rung_codecs(),
        ExactRung(),
        OtsuSegmenter(),
        BisectionAgent(),
        guard=Guard(profile.policy, 0.499, GLASS),
    )
    source = PatchSource(pixels, PATCH, PATCH)
    return encoder.encode(PatchInput(PatchIndex(0, 0), source, True, True, 0, barred)).outcome


@pytest.fixture(scope="module")
def tissue(sample_pixels):
    return sample_pixels[1000 : 1000 + PATCH, 900 : 900 + PATCH]


def test_what_is_known_may_be_restored(tissue):
    outcome = encoded(tissue)
    assert outcome.rung is Rung.X4
    assert not outcome.flags & PatchFlag.UNKNOWN_STAIN


@pytest.mark.parametrize("why", [PatchFlag.PROTECTED, PatchFlag.UNKNOWN_STAIN, PatchFlag.UNKNOWN_FOCUS])
def test_what_is_barred_beforehand_is_not_restored(tissue, why):
    outcome = encoded(tissue, why)
    assert outcome.rung not in RESTORED_RUNGS
    assert outcome.flags & why
    assert outcome.fidelity.ssim >= EASY.policy.ssim


def test_what_looks_strange_is_not_restored():
    ihc = np.asarray(Image.open(Path(skimage.__file__).parent / "data" / "ihc.png").convert("RGB"))
    outcome = encoded(np.ascontiguousarray(ihc[:PATCH, :PATCH]))
    assert outcome.rung not in RESTORED_RUNGS
    assert outcome.flags & PatchFlag.UNKNOWN_STAIN
    assert outcome.fidelity.ssim >= EASY.policy.ssim


@pytest.mark.parametrize("profile", VERSIONS, ids=lambda profile: profile.id)
def test_every_profile_can_be_cautious(profile):
    cautious = profile.cautious()
    assert not {spec.rung for spec in cautious.ladder} & RESTORED_RUNGS
    assert cautious.promise.floors == profile.promise.barred
    assert profile.promise.barred.ssim >= profile.floors.ssim
    assert profile.promise.of(PatchFlag.DEMOTED | PatchFlag.CORRUPT) == profile.floors
    assert profile.promise.of(PatchFlag.PROTECTED | PatchFlag.DEMOTED) == cautious.floors


def test_small_objects_are_stored_in_enough_pixels():
    archive = replace(profile_named("archive@3"), policy=Policy(object_um=4.0))
    scales = {mpp: {spec.scale for spec in archive.at(mpp).ladder} for mpp in (0.25, 0.5, 0.75, 1.0, 1.1)}
    assert scales == {0.25: {1, 2, 4}, 0.5: {1, 2, 4}, 0.75: {1, 2}, 1.0: {1, 2}, 1.1: {1}}
    fine = replace(archive, policy=Policy(object_um=1.5)).at(0.5)
    assert {spec.scale for spec in fine.ladder} == {1}
    assert profile_named("archive@3").at(1.1) == profile_named("archive@3")
