"""What a package says of its makers, on a package of tissue that a net restored."""

import numpy as np
import pytest

from adaslide import library
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.profile import OTSU, PROFILES
from adaslide.domain.rung import RESTORED_RUNGS, RestorerKind
from adaslide.package.envelope import Envelope
from adaslide.pipeline.made_with import BICUBIC, MadeWith, restored_by, restorer_of

PAPER = PROFILES["paper"]


@pytest.fixture(scope="module")
def package(restored_package):
    return library.open_package(restored_package[1])


def test_judges_and_restorers_are_told_apart(package):
    made = MadeWith.of(package.info.attributes)
    assert (made.profile, made.judge, made.second_judge, made.agent) == (
        PAPER.id,
        PAPER.judge,
        None,
        PAPER.agent,
    )
    assert made.restorers == PAPER.restorers
    assert made.nets == {PAPER.judge, PAPER.agent, *PAPER.restorers}


def test_the_first_packages_name_a_judge_alone():
    made = MadeWith.of({"profile": "archive@1", "judge": OTSU})
    assert (made.second_judge, made.agent, made.restorers, made.nets) == (None, None, (), frozenset())


def test_an_agent_is_no_restorer():
    block = {"profile": "p@1", "judge": OTSU, "agent": "cda@" + "a" * 12, "weights": {"cda": "a" * 64}}
    made = MadeWith.of(block)
    assert (made.agent, made.restorers) == ("cda@aaaaaaaaaaaa", ())


def test_every_restored_patch_names_what_its_header_says(package):
    found = restored_by(package)
    places = np.argwhere(np.isin(package.maps.decision["rung"], sorted(RESTORED_RUNGS)))
    assert set(found) == {PatchIndex(int(row), int(col)) for row, col in places}
    assert PAPER.restorers[0] in found.values()
    for index, name in found.items():
        kind = Envelope.unpack(package.payloads([index])[0]).params.restorer
        assert kind is (RestorerKind.BICUBIC if name == BICUBIC else RestorerKind.WEIGHTS)


def test_weights_that_the_root_does_not_name_have_their_digest(package):
    index = next(index for index, name in restored_by(package).items() if name != BICUBIC)
    digest = PAPER.restorers[0].partition("@")[2]
    assert restorer_of(Envelope.unpack(package.payloads([index])[0]), {}) == f"unnamed@{digest}"
