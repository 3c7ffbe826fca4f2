"""Nothing that claims are made on is trained on: by file, by content, and by patient where a name tells."""

import hashlib
import os
import re
from pathlib import Path

import pytest

from adaslide.adapters.inference.weights import weights_named
from adaslide_models.data.sources import list_digest

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("ADASLIDE_DATA", ROOT.parent / "shared" / "data"))
HELD = ("heldout_20x.txt", "sr_val.txt", "sr_test.txt")
TRAINED = {
    "fie-compact-x4": ("sr_train.txt",),
    "cda-ladder": ("sr_train.txt",),
    "cda-ladder-2": ("sr_train.txt",),
    "cda-ladder-fast": ("sr_train.txt",),
    "cda-ladder-3": ("sr_train.txt",),
    "cda-ladder-4": ("sr_train.txt",),
    "cda-ladder-fast-2": ("sr_train.txt",),
    "cda-ladder-fast-3": ("sr_train.txt",),
    "cda-resnet18": ("sr_train.txt", "cls_oral_train.txt", "cls_crc_train.txt"),
}
CHOOSES_OR_TESTS = {
    "fie-compact-x4": HELD,
    "cda-ladder": HELD,
    "cda-ladder-2": HELD,
    "cda-ladder-fast": HELD,
    "cda-ladder-3": HELD,
    "cda-ladder-4": HELD,
    "cda-ladder-fast-2": HELD,
    "cda-ladder-fast-3": HELD,
    "cda-resnet18": (*HELD, "cls_oral_val.txt", "cls_oral_test.txt"),
}

pytestmark = pytest.mark.skipif(
    not (DATA / "splits").is_dir(), reason="the development data are not here (ADASLIDE_DATA)"
)

PATIENT = {
    "brca_m2c": re.compile(r"TCGA-\w\w-(\w{4})-"),
    "breakhis400": re.compile(r"SOB_[BM]_\w+-(\d+-\d+)\w*-400-"),
    "osteosarcoma": re.compile(r"/(Case-\d+|P\d+)-"),
}
"""Where a name tells whose tissue it is."""
ONE_SLIDE = {"ocdc"}
"""All ten images are from one slide, five of them held out: numbers on it are of an unseen place in a
seen slide. The model card says so."""


def listed(name):
    lines = (DATA / "splits" / name).read_text().splitlines()
    return {line.split("\t")[0] for line in lines if line.strip()}


def patients(names):
    return {
        (source, match[1])
        for name in names
        for source, pattern in PATIENT.items()
        if f"/{source}/" in name and (match := pattern.search(name))
    }


def united(names):
    return set().union(*(listed(name) for name in names))


@pytest.fixture(scope="module")
def trained():
    return listed("sr_train.txt")


@pytest.mark.parametrize("weights", sorted(TRAINED))
def test_no_held_out_image_is_trained_on(weights):
    trained, held = united(TRAINED[weights]), united(CHOOSES_OR_TESTS[weights])
    assert trained
    assert not trained & held


@pytest.mark.parametrize("weights", sorted(TRAINED))
def test_no_held_out_patient_is_trained_on(weights):
    assert not patients(united(TRAINED[weights])) & patients(united(CHOOSES_OR_TESTS[weights]))


@pytest.mark.parametrize("source", sorted(PATIENT))
def test_every_name_tells_its_patient(trained, source):
    names = {name for name in trained | listed("sr_test.txt") if f"/{source}/" in name}
    assert names
    assert all(PATIENT[source].search(name) for name in names)


@pytest.mark.parametrize("weights", sorted(TRAINED))
def test_no_held_out_pixels_are_trained_on_under_another_name(weights):
    def digests(names):
        return {hashlib.sha256((DATA / name).read_bytes()).digest() for name in names}

    assert not digests(united(TRAINED[weights])) & digests(united(CHOOSES_OR_TESTS[weights]))


@pytest.mark.parametrize("weights", sorted(TRAINED))
def test_the_released_weights_were_trained_on_those_lists(weights):
    stated = weights_named(weights).table["train_list_sha256"]
    assert list_digest(sorted(united(TRAINED[weights]))) == stated


def test_held_out_sources_of_the_claims():
    """The sample slide and all of camelyon16 appear in no list that trains or selects."""
    for name in ("sr_train.txt", "sr_val.txt", *TRAINED["cda-resnet18"], "cls_oral_val.txt"):
        assert not [line for line in listed(name) if line.startswith("wsi/") or "camelyon16" in line]


def test_patients_are_read_from_names():
    names = {
        "nuclei/brca_m2c/images/TCGA-A7-A2KD-01Z-00-DX1_91000_26001_1001_1000_0.9824.png",
        "sr/breakhis400/benign/SOB_B_A-14-22549AB-400-007.png",
        "sr/osteosarcoma/Non-Tumor/P9-B12-15791-34183_103.jpg",
    }
    assert patients(names) == {
        ("brca_m2c", "A2KD"),
        ("breakhis400", "14-22549"),
        ("osteosarcoma", "P9"),
    }
