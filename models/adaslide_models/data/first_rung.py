"""Which rung of a ladder a patch ends on, by the search that serves. Needs no torch."""

from adaslide.adapters.agents.bisection import BisectionAgent
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.rungs.exact import ExactRung
from adaslide.adapters.rungs.restored import BICUBIC, RestoredRung
from adaslide.codec_runtime import rung_codecs
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import Profile, profile_named
from adaslide.domain.rung import LOSSLESS_RUNGS, RESTORED_RUNGS
from adaslide.pipeline.encode_patch import PatchEncoder, PatchInput
from adaslide.ports.agent import Agent
from adaslide.ports.rungs import PatchSource
from adaslide_models.data.paper_compress import SCALE, PaperCompress

SEARCHED = "archive"
"""The profile whose ladder is searched."""


def encoder(profile: Profile, patch: int, mpp: float, agent: Agent, paper: PaperCompress) -> PatchEncoder:
    """What encodes patches of ``patch`` px with the judge and the enhancer of ``paper``."""
    low = RestoredRung(
        {(SCALE, BICUBIC): BicubicRestorer(SCALE), (SCALE, paper.restorer.digest): paper.restorer}
    )
    return PatchEncoder(
        profile=profile,
        patch=patch,
        mpp=mpp,
        glass=(255, 255, 255),
        fill=255,
        codecs=rung_codecs() | dict.fromkeys(RESTORED_RUNGS & rung_codecs().keys(), low),
        exact=ExactRung(),
        judge=paper.judge,
        agent=agent,
    )


def searched(
    patch: Pixels, mpp: float, profile: Profile, agent: Agent, paper: PaperCompress
) -> tuple[int, int]:
    """(place in the ladder that a square ``patch`` ends on, measurements it took from the agent's proposal).

    The ladder's length stands for the last resort.
    """
    side = len(patch)
    source = PatchSource(patch, side, side)
    given = PatchInput(PatchIndex(0, 0), source, readable=True, on_tissue=True, source_bytes=0)
    outcome = encoder(profile, side, mpp, agent, paper).encode(given).outcome
    if outcome.rung in LOSSLESS_RUNGS:
        return len(profile.ladder), outcome.measurements
    kept = outcome.rung, outcome.quality
    places = [(spec.rung, spec.quality) for spec in profile.ladder]
    return places.index(kept), outcome.measurements


def place_of(patch: Pixels, mpp: float, profile: str, paper: PaperCompress) -> int:
    """The place alone, by plain bisection."""
    return searched(patch, mpp, profile_named(profile), BisectionAgent(), paper)[0]
