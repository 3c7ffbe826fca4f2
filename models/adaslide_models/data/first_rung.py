"""Which rung of a ladder a patch ends on, by the search that serves. Needs no torch."""

from adaslide import wiring
from adaslide.adapters.agents.bisection import BisectionAgent
from adaslide.adapters.inference.weights import weights_pinned
from adaslide.adapters.rungs.exact import ExactRung
from adaslide.codec_runtime import rung_codecs
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import Profile, profile_named
from adaslide.domain.rung import LOSSLESS_RUNGS
from adaslide.pipeline.encode_patch import PatchEncoder, PatchInput
from adaslide.ports.agent import Agent
from adaslide.ports.rungs import PatchSource

SEARCHED = "archive@2"
"""The profile whose ladder is searched."""


def encoder(profile: Profile, patch: int, mpp: float, agent: Agent) -> PatchEncoder:
    """What encodes patches of ``patch`` px under ``profile``, but for ``agent``."""
    return PatchEncoder(
        profile=profile,
        patch=patch,
        mpp=mpp,
        glass=(255, 255, 255),
        fill=255,
        codecs=rung_codecs(tuple(weights_pinned(pin).digest for pin in profile.restorers)),
        exact=ExactRung(),
        judge=wiring.judge_named(profile.judge, mpp),
        agent=agent,
        second=wiring.judge_named(profile.second_judge, mpp) if profile.second_judge else None,
    )


def searched(patch: Pixels, mpp: float, profile: Profile, agent: Agent) -> tuple[int, int]:
    """(place in the ladder that a square ``patch`` ends on, measurements it took from the agent's proposal).

    The ladder's length stands for the last resort.
    """
    side = len(patch)
    source = PatchSource(patch, side, side)
    given = PatchInput(PatchIndex(0, 0), source, readable=True, on_tissue=True, source_bytes=0)
    outcome = encoder(profile, side, mpp, agent).encode(given).outcome
    if outcome.rung in LOSSLESS_RUNGS:
        return len(profile.ladder), outcome.measurements
    places = [(spec.rung, spec.quality) for spec in profile.ladder]
    return places.index((outcome.rung, outcome.quality)), outcome.measurements


def place_of(patch: Pixels, mpp: float, profile: str) -> int:
    """The place alone, from the middle of the ladder."""
    return searched(patch, mpp, profile_named(profile), BisectionAgent())[0]
