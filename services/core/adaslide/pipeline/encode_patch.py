"""One patch: propose, encode, restore, measure, and keep the cheapest measured rung that holds every floor,
or all that might be kept where the slide's size decides."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, nan

import numpy as np

from adaslide.domain.decision import PatchFlag, PatchOutcome
from adaslide.domain.errors import SlideCorrupt
from adaslide.domain.fidelity import IDENTICAL, UNMEASURED, Fidelity, Measurable
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.profile import Profile
from adaslide.domain.rung import Codec, Rung, RungSpec
from adaslide.domain.search import Dial, Ground, Search, Tried
from adaslide.domain.steps import hull
from adaslide.package.levels import FIRST_OVERVIEW
from adaslide.pipeline.glass import Colour, is_constant
from adaslide.pipeline.guard import Guard
from adaslide.pipeline.measure import Measured, Measurer
from adaslide.pipeline.proof import crc32c, payload_crc32c
from adaslide.pipeline.survey import PatchSurvey
from adaslide.ports.agent import Agent
from adaslide.ports.rungs import PatchSource, RungCodec, SupportsAlternatives, TileCodec
from adaslide.ports.segmenter import Segmenter

EXACT = RungSpec(Rung.EXACT)
LOSSLESS = RungSpec(Rung.LOSSLESS, Codec.JPEGXL)
BACKGROUND = RungSpec(Rung.BACKGROUND)
EXACT_SHARE, LOSSLESS_SHARE = 0.75, 0.25
"""About what the last resort takes: of the source's tiles, or of the samples where it has none."""
LEAST_WHOLE_SHARE = 2 / 3
"""Payloads below this share of what the last resort takes about need no comparison with it."""
FILL_TOLERANCE = 3
"""Glass within this many grey levels of the array's fill value is no chunk at all."""


@dataclass(frozen=True, slots=True)
class PatchInput:
    """One patch as read. Where it is not ``readable``, ``source.pixels`` mean nothing."""

    index: PatchIndex
    source: PatchSource
    readable: bool
    on_tissue: bool
    source_bytes: int
    barred: PatchFlag = PatchFlag.NONE
    """Why nothing of it may be restored, as far as that is known before it is read."""

    @property
    def whole_bytes(self) -> int:
        """About what it will take if it is kept whole."""
        if self.source_bytes:
            return round(EXACT_SHARE * self.source_bytes)
        return round(LOSSLESS_SHARE * 3 * self.source.valid_width * self.source.valid_height)


@dataclass(frozen=True, slots=True)
class EncodedPatch:
    """The outcome, and the patch's share of the x16 overview, (p / 16, p / 16, 3), of the original.

    ``survey`` is what might be kept in the outcome's place, which is the first of its steps; None where
    nothing was to be surveyed.
    """

    outcome: PatchOutcome
    overview: Pixels
    survey: PatchSurvey | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    spec: RungSpec
    payload: bytes
    pixels: Pixels
    fidelity: Fidelity


@dataclass(frozen=True, slots=True)
class _Candidate:
    spec: RungSpec
    payload: bytes
    pixels: Pixels
    measured: Measured

    def kept(self) -> _Kept:
        return _Kept(self.spec, self.payload, self.pixels, self.measured.fidelity)


@dataclass(frozen=True, slots=True)
class _Searched:
    """All that a search measured, by place in the ladder; ``kept`` is its choice, None where none holds."""

    measured: Mapping[int, _Candidate]
    tried: Mapping[int, Tried]
    kept: int | None
    count: int


@dataclass(frozen=True, slots=True)
class PatchEncoder:
    """Encodes patches under one profile. Picklable: worker processes are sent one.

    ``runtime`` is the name of what runs the nets; None is the canonical one.
    """

    profile: Profile
    patch: int
    mpp: float
    glass: Colour
    fill: int
    codecs: Mapping[Rung, RungCodec]
    exact: TileCodec
    judge: Segmenter
    agent: Agent
    second: Segmenter | None = None
    runtime: str | None = None
    guard: Guard | None = None

    def encode(self, patch: PatchInput) -> EncodedPatch:
        """Raises `SlideCorrupt` when the patch can neither be read nor kept as it stands."""
        measurer = self._measurer(patch)
        settled = self._settled(patch, measurer)
        if settled:
            return settled
        encoder, patch = self._under_policy(patch, measurer)
        return encoder._chosen(patch, measurer)

    def _chosen(self, patch: PatchInput, measurer: Measurer) -> EncodedPatch:
        price = self.profile.loss_price * patch.whole_bytes
        search: Search = self.agent.search(measurer.original, self.mpp, self.profile, patch.whole_bytes)
        dial = Dial(search, len(self.profile.ladder), price) if price > 0 else None
        found = self._searched(patch.source, measurer, dial or search)
        chosen = None if found.kept is None else found.measured[found.kept]
        cost = len(chosen.payload) if chosen else inf
        if dial:
            cost = dial.cost(found.tried)
        kept = self._cheaper_whole(patch, chosen, cost)
        place = found.kept
        if chosen is None or kept.spec is not chosen.spec:
            place = None
        outcome = self._outcome(patch, kept, place, search, found.count)
        return EncodedPatch(outcome, shrink(patch.source.pixels, FIRST_OVERVIEW))

    def survey(self, patch: PatchInput) -> EncodedPatch:
        """All that might be kept of the patch: `Dial`'s steps at any price below the bytes of the patch kept
        whole, and that; those left out that no price would keep. The cheapest is the outcome, and a rung
        below it is known to fail (`Ground`). Raises like `encode`."""
        measurer = self._measurer(patch)
        settled = self._settled(patch, measurer)
        if settled:
            return replace(settled, survey=PatchSurvey((settled.outcome,)))
        encoder, patch = self._under_policy(patch, measurer)
        return encoder._surveyed(patch, measurer)

    def _surveyed(self, patch: PatchInput, measurer: Measurer) -> EncodedPatch:
        length = len(self.profile.ladder)
        first = self.agent.search(measurer.original, self.mpp, self.profile, patch.whole_bytes)
        search = Dial(Ground(first, length), length, inf)
        found = self._searched(patch.source, measurer, search)
        whole = self._whole(patch.source)
        climbed = [place for place in search.steps if found.tried[place].bytes < len(whole.payload)]
        # As the maps will hold it: what is chosen by must be what is written down.
        points = [(found.tried[p].bytes, float(np.float32(found.measured[p].measured.dice))) for p in climbed]
        points.append((len(whole.payload), whole.fidelity.dice))
        steps = []
        for step in hull(points):
            place = climbed[step] if step < len(climbed) else None
            kept = whole if place is None else found.measured[place].kept()
            steps.append(self._outcome(patch, kept, place, search, found.count))
        floor = self._deciding(found.tried, search.steps[0] if search.steps else length)
        survey = PatchSurvey(tuple(steps), patch.whole_bytes, floor)
        return EncodedPatch(steps[0], shrink(patch.source.pixels, FIRST_OVERVIEW), survey)

    def _deciding(self, tried: Mapping[int, Tried], place: int) -> str:
        """The floor that the next rung below ``place`` of those that failed violates first: it is why nothing
        cheaper is kept. Empty where the ladder ends."""
        failed = [below for below, one in tried.items() if below < place and not one.held]
        if not failed:
            return ""
        return self.profile.floors.first_violated(tried[max(failed)].fidelity, margin=True) or ""

    def _under_policy(self, patch: PatchInput, measurer: Measurer) -> "tuple[PatchEncoder, PatchInput]":
        """What encodes the patch, and the patch with all that bars it: of such a one nothing is restored."""
        barred = patch.barred | (self.guard.barred(measurer.original) if self.guard else PatchFlag.NONE)
        encoder = replace(self, profile=self.profile.cautious()) if barred else self
        return encoder, replace(patch, barred=barred)

    def _measurer(self, patch: PatchInput) -> Measurer:
        source = patch.source
        valid = source.pixels[: source.valid_height, : source.valid_width]
        return Measurer(valid, self.mpp, self.judge, self.second)

    def _settled(self, patch: PatchInput, measurer: Measurer) -> EncodedPatch | None:
        """The patch where there is but one way to keep it: damaged in the source, or glass."""
        source = patch.source
        if source.tiles and not (patch.readable and self.exact.is_sound(source)):
            kept = replace(self._exact(source), fidelity=UNMEASURED)
            seen = source.pixels if patch.readable else kept.pixels
            outcome = self._result(patch, kept, PatchFlag.CORRUPT | patch.barred)
            return EncodedPatch(outcome, shrink(seen, FIRST_OVERVIEW))
        if not patch.readable:
            raise SlideCorrupt("a part of the slide can be neither read nor kept as it stands")
        may_be_glass = self.profile.allow_background and not patch.on_tissue
        may_be_glass &= PatchFlag.PROTECTED not in patch.barred
        if may_be_glass and is_constant(measurer.original, self.glass):
            outcome = self._result(patch, self._background(source, measurer), PatchFlag.NONE)
            return EncodedPatch(outcome, shrink(source.pixels, FIRST_OVERVIEW))
        return None

    def _searched(self, source: PatchSource, measurer: Measurer, search: Search) -> _Searched:
        """What the search measures and keeps: never a floor is missed, since it keeps what it measured."""
        measured: dict[int, _Candidate] = {}
        tried: dict[int, Tried] = {}
        count = 0
        while (place := search.next(tried)) is not None:
            candidates = self._candidates(source, measurer, self.profile.ladder[place])
            count += len(candidates)
            # The first is the restorer without weights: a net that loses nuclei against it is no candidate.
            least = candidates[0].measured.dice
            best = max((one for one in candidates if one.measured.dice >= least), key=self._rank)
            measured[place] = best
            tried[place] = Tried(len(best.payload), best.measured, self._holds(best.measured))
        return _Searched(measured, tried, search.kept(tried), count)

    def _candidates(self, source: PatchSource, measurer: Measurer, spec: RungSpec) -> list[_Candidate]:
        """The rung's stored image, decoded and measured under every restorer that is worth asking."""
        codec = self.codecs[spec.rung]
        payload = codec.encode(source, spec)
        payloads = codec.alternatives(payload) if isinstance(codec, SupportsAlternatives) else [payload]
        tried: list[_Candidate] = []
        for one in payloads:
            if tried and not self._asks_nets(tried[0].measured):
                break
            pixels = codec.decode(one, self.patch)
            valid = pixels[: source.valid_height, : source.valid_width]
            tried.append(_Candidate(spec, one, pixels, measurer.against(valid)))
        return tried

    def _asks_nets(self, plain: Measurable) -> bool:
        """Whether a net could make a rung hold that was ``plain`` without one."""
        reach = self.profile.net_reach
        if reach is None:
            return True
        return not self._holds(plain) and plain.dice >= self.profile.floors.dice - reach

    def _holds(self, measured: Measurable) -> bool:
        return self.profile.floors.held_by(measured, margin=True)

    def _rank(self, candidate: _Candidate) -> tuple[bool, float, float]:
        """Better first where the same bytes can be restored in several ways: floors, then Dice, then SSIM."""
        measured = candidate.measured
        held = self._holds(measured)
        return held, measured.dice, measured.ssim if held else 0.0

    def _background(self, source: PatchSource, measurer: Measurer) -> _Kept:
        """Glass holds no nuclei to judge and no structure to compare: only the colour is measured."""
        codec = self.codecs[Rung.BACKGROUND]
        payload = codec.encode(source, BACKGROUND)
        pixels = codec.decode(payload, self.patch)
        if np.abs(pixels[0, 0].astype(int) - self.fill).max() <= FILL_TOLERANCE:
            payload, pixels = b"", np.full_like(pixels, self.fill)
        colour = measurer.measure_colour(pixels[: source.valid_height, : source.valid_width])
        return _Kept(BACKGROUND, payload, pixels, Fidelity(nan, nan, nan, *colour))

    def _cheaper_whole(self, patch: PatchInput, chosen: _Candidate | None, cost: float) -> _Kept:
        """``chosen``, or the patch kept whole where nothing was or that takes no more bytes than ``cost``."""
        if chosen and cost < LEAST_WHOLE_SHARE * patch.whole_bytes:
            return chosen.kept()
        whole = self._whole(patch.source)
        return chosen.kept() if chosen and len(whole.payload) > cost else whole

    def _whole(self, source: PatchSource) -> _Kept:
        return self._shown_exact(source) or self._lossless(source)

    def _shown_exact(self, source: PatchSource) -> _Kept | None:
        """The source's own tiles, None where it has none. Sound ones may still not be what the reader shows:
        then they are not this slide's pixels, and None as well."""
        if not source.tiles:
            return None
        exact = self._exact(source)
        valid = slice(source.valid_height), slice(source.valid_width)
        return exact if np.array_equal(exact.pixels[valid], source.pixels[valid]) else None

    def _exact(self, source: PatchSource) -> _Kept:
        payload = self.exact.encode(source, EXACT)
        return _Kept(EXACT, payload, self.exact.decode(payload, self.patch), IDENTICAL)

    def _lossless(self, source: PatchSource) -> _Kept:
        payload = self.codecs[Rung.LOSSLESS].encode(source, LOSSLESS)
        return _Kept(LOSSLESS, payload, source.pixels, IDENTICAL)

    def _proof(self, kept: _Kept) -> int:
        if not kept.payload:
            return crc32c(kept.pixels)
        return payload_crc32c(self.codecs[kept.spec.rung], kept.payload, self.patch, kept.pixels)

    def _outcome(
        self, patch: PatchInput, kept: _Kept, place: int | None, search: Search, count: int
    ) -> PatchOutcome:
        """``kept`` stands at ``place`` in the ladder, None for the patch kept whole."""
        at = len(self.profile.ladder) if place is None else place
        flags = patch.barred
        if at != search.proposed:
            flags |= PatchFlag.DEMOTED if at > search.proposed else PatchFlag.PROMOTED
        return self._result(patch, kept, flags, search.p_compress, count)

    def _result(
        self,
        patch: PatchInput,
        kept: _Kept,
        flags: PatchFlag,
        p_compress: float | None = None,
        count: int = 0,
    ) -> PatchOutcome:
        return PatchOutcome(
            index=patch.index,
            rung=kept.spec.rung,
            quality=kept.spec.quality,
            p_compress=nan if p_compress is None else p_compress,
            flags=flags,
            fidelity=kept.fidelity,
            payload=kept.payload,
            pixels_crc32c=self._proof(kept),
            measurements=count,
            source_bytes=patch.source_bytes,
        )
