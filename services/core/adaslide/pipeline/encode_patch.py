"""One patch: propose, encode, restore, measure, and keep the cheapest rung that holds every floor."""

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
from adaslide.domain.search import Dial, Search, Tried
from adaslide.package.layout import FIRST_OVERVIEW
from adaslide.pipeline.guard import Guard
from adaslide.pipeline.measure import Measured, Measurer
from adaslide.pipeline.proof import crc32c, payload_crc32c
from adaslide.pipeline.tissue import Colour, is_constant
from adaslide.ports.agent import Agent
from adaslide.ports.rungs import PatchSource, RungCodec, SupportsAlternatives, TileCodec
from adaslide.ports.segmenter import Segmenter

EXACT = RungSpec(Rung.EXACT)
LOSSLESS = RungSpec(Rung.LOSSLESS, Codec.JPEGXL)
BACKGROUND = RungSpec(Rung.BACKGROUND)
LEAST_EXACT_SHARE = 0.5
"""JPEG XL saves about a quarter: payloads below this share of the source's tiles need no comparison."""
EXACT_SHARE, LOSSLESS_SHARE = 0.75, 0.25
"""About what the last resort takes: of the source's tiles, or of the samples where it has none."""
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
        if self.source.tiles:
            return round(EXACT_SHARE * self.source_bytes)
        return round(LOSSLESS_SHARE * 3 * self.source.valid_width * self.source.valid_height)


@dataclass(frozen=True, slots=True)
class EncodedPatch:
    """The outcome, and the patch's share of the x16 overview, (p / 16, p / 16, 3), of the original."""

    outcome: PatchOutcome
    overview: Pixels


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
class PatchEncoder:
    """Encodes patches under one profile. Picklable: worker processes are sent one.

    ``runtime`` runs the nets; None is the canonical one.
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
        source = patch.source
        if source.tiles and not (patch.readable and self.exact.is_sound(source)):
            kept = replace(self._exact(source), fidelity=UNMEASURED)
            return self._result(patch, kept, PatchFlag.CORRUPT, None, 0)
        if not patch.readable:
            raise SlideCorrupt("a part of the slide can be neither read nor kept as it stands")
        valid = source.pixels[: source.valid_height, : source.valid_width]
        measurer = Measurer(valid, self.mpp, self.judge, self.second)
        if self.profile.allow_background and not patch.on_tissue and is_constant(valid, self.glass):
            return self._result(patch, self._background(source, measurer), PatchFlag.NONE, None, 0)
        barred = patch.barred | (self.guard.barred(valid) if self.guard else PatchFlag.NONE)
        encoder = replace(self, profile=self.profile.cautious()) if barred else self
        return encoder._measured(patch, measurer, barred)

    def _measured(self, patch: PatchInput, measurer: Measurer, flags: PatchFlag) -> EncodedPatch:
        source = patch.source
        valid = source.pixels[: source.valid_height, : source.valid_width]
        price = self.profile.loss_price * patch.whole_bytes
        search: Search = self.agent.search(valid, self.profile, patch.whole_bytes)
        if price > 0:
            search = Dial(search, len(self.profile.ladder), price)
        chosen, place, count = self._searched(source, measurer, search)
        kept = self._cheaper_whole(patch, chosen, price)
        if chosen is None or kept.spec is not chosen.spec:
            place = len(self.profile.ladder)
        if place != search.proposed:
            flags |= PatchFlag.DEMOTED if place > search.proposed else PatchFlag.PROMOTED
        return self._result(patch, kept, flags, search.p_compress, count)

    def _searched(
        self, source: PatchSource, measurer: Measurer, search: Search
    ) -> tuple[_Candidate | None, int, int]:
        """What the search keeps: (candidate, its place, measurements).

        Never a floor is missed, since only a measured candidate is returned. None: no rung that was
        measured holds them.
        """
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
        kept = search.kept(tried)
        return (None, len(self.profile.ladder), count) if kept is None else (measured[kept], kept, count)

    def _candidates(self, source: PatchSource, measurer: Measurer, spec: RungSpec) -> list[_Candidate]:
        """The rung's stored image, decoded and measured under every restorer that it has."""
        codec = self.codecs[spec.rung]
        payload = codec.encode(source, spec)
        payloads = codec.alternatives(payload) if isinstance(codec, SupportsAlternatives) else [payload]
        tried = []
        for one in payloads:
            pixels = codec.decode(one, self.patch)
            valid = pixels[: source.valid_height, : source.valid_width]
            tried.append(_Candidate(spec, one, pixels, measurer.against(valid)))
        return tried

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

    def _cheaper_whole(self, patch: PatchInput, chosen: _Candidate | None, price: float) -> _Kept:
        """``chosen``, or the patch kept whole where nothing was chosen or that takes no more bytes, those
        counted that what is lost of it costs."""
        source = patch.source
        cost = len(chosen.payload) + price * (1 - chosen.measured.dice) if chosen else inf
        if chosen and cost < LEAST_EXACT_SHARE * patch.source_bytes:
            return chosen.kept()
        if source.tiles:
            exact = self._exact(source)
            valid = slice(source.valid_height), slice(source.valid_width)
            # Sound tiles may still not be what the reader shows: then they are not this slide's pixels.
            shown = np.array_equal(exact.pixels[valid], source.pixels[valid])
            if shown and len(exact.payload) <= cost:
                return exact
        return chosen.kept() if chosen else self._lossless(source)

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

    def _result(
        self, patch: PatchInput, kept: _Kept, flags: PatchFlag, p_compress: float | None, count: int
    ) -> EncodedPatch:
        outcome = PatchOutcome(
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
        seen = patch.source.pixels if patch.readable else kept.pixels
        return EncodedPatch(outcome, shrink(seen, FIRST_OVERVIEW))
