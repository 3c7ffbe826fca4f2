"""What will be done to one slide: decided once, read by every shard's task."""

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from adaslide.domain.decision import PatchFlag
from adaslide.domain.errors import InputError, MissingMpp, SlideCorrupt
from adaslide.domain.fidelity import Floors
from adaslide.domain.geometry import PatchGrid, PatchIndex, Size
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import Profile, profile_named
from adaslide.domain.slide import MPP_RANGE, MppOrigin, SlideFacts, SourceLevel, TileLayout, patch_size
from adaslide.pipeline.glass import Colour
from adaslide.pipeline.guard import Guard
from adaslide.pipeline.protected import protected_patches
from adaslide.pipeline.tissue import Thumbnail, glass_colour, tissue_fraction, tissue_mask
from adaslide.ports.slides import SlideReader

THUMBNAIL_PER_PATCH = 16
"""Thumbnail px along a patch's side: tissue smaller than 1/16 of a patch is left to the texture test."""
THUMBNAIL_SIDES = (512, 4096)
SAMPLED = 12
"""Patches that are read to tell what slide this is."""


@dataclass(frozen=True, slots=True)
class CompressionPlan:
    """Everything a shard's task must know. ``tissue`` is (rows, cols) float32, the share of each
    patch that the tissue mask covers; ``glass`` is the colour of the slide's glass. ``barred`` is
    (rows, cols) uint8, the `PatchFlag` why nothing of a patch may be restored, as far as known by now.
    ``target_ratio`` is what `ratio_base` is to be of the package's bytes, None where the profile decides."""

    facts: SlideFacts
    profile: Profile
    mpp: float
    mpp_origin: MppOrigin
    patch: int
    tissue: npt.NDArray[np.float32]
    glass: Colour
    barred: npt.NDArray[np.uint8]
    target_ratio: float | None = None

    @property
    def ratio_base(self) -> int:
        """The bytes before, of which a target ratio speaks: the source's tiles, or its file where it has none
        that are known."""
        tiles = self.facts.tiles
        return tiles.total_bytes if tiles and tiles.total_bytes else self.facts.source_bytes

    @property
    def fill(self) -> int:
        """The arrays' fill value: a Zarr array has one for all channels, so the glass's grey level."""
        return round(sum(self.glass) / 3)

    @property
    def grid(self) -> PatchGrid:
        return PatchGrid(self.facts.size, self.patch)

    def to_bytes(self) -> bytes:
        facts = asdict(self.facts)
        facts["icc"] = base64.b64encode(self.facts.icc).decode() if self.facts.icc else None
        plan = {
            "facts": facts,
            "profile": self.profile.name,
            "version": self.profile.version,
            "floors": asdict(self.profile.floors),
            "lambda": self.profile.lambda_,
            "mpp": self.mpp,
            "mpp_origin": self.mpp_origin,
            "patch": self.patch,
            "glass": self.glass,
            "tissue": base64.b64encode(self.tissue.tobytes()).decode(),
            "barred": base64.b64encode(self.barred.tobytes()).decode(),
            "target_ratio": self.target_ratio,
        }
        return json.dumps(plan).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "CompressionPlan":
        plan = json.loads(data)
        facts = _facts(plan["facts"])
        profile = profile_named(f"{plan['profile']}@{plan['version']}")
        profile = replace(profile, floors=Floors(**plan["floors"]), lambda_=plan["lambda"])
        grid = PatchGrid(facts.size, plan["patch"])
        tissue = np.frombuffer(base64.b64decode(plan["tissue"]), np.float32).reshape(grid.rows, grid.cols)
        origin = MppOrigin(plan["mpp_origin"])
        glass = tuple(plan["glass"])
        # Plans of jobs that an older version began have neither a target nor anything barred.
        known = plan.get("barred")
        barred = (
            np.frombuffer(base64.b64decode(known), np.uint8) if known else np.zeros(tissue.size, np.uint8)
        )
        ratio, barred = plan.get("target_ratio"), barred.reshape(tissue.shape)
        return cls(facts, profile, plan["mpp"], origin, plan["patch"], tissue, glass, barred, ratio)


def _facts(data: dict[str, Any]) -> SlideFacts:
    levels = tuple(SourceLevel(Size(**lv["size"]), lv["downsample"]) for lv in data["levels"])
    changed = {
        "size": Size(**data["size"]),
        "levels": levels,
        "icc": base64.b64decode(data["icc"]) if data["icc"] else None,
        "tiles": TileLayout(**data["tiles"]) if data["tiles"] else None,
    }
    return SlideFacts(**(data | changed))


def plan(
    reader: SlideReader,
    profile: Profile,
    mpp: float | None = None,
    protect: str | None = None,
    target_ratio: float | None = None,
) -> CompressionPlan:
    """Facts, scale, tissue and grid of one slide, and what nothing may be restored of.

    ``mpp``, micrometres per pixel, is the caller's and wins over the slide's own; ``protect`` are regions as
    `protected.canonical` writes them. Raises `MissingMpp` when nobody knows the scale, `InputError` when the
    caller's is out of range and for regions that lie beside the slide.
    """
    facts = reader.facts
    low, high = MPP_RANGE
    if mpp is not None and not low <= mpp <= high:
        raise InputError(f"mpp is between {low} and {high} micrometres per pixel, not {mpp}")
    scale = mpp if mpp is not None else facts.mpp
    if scale is None:
        raise MissingMpp("the slide does not say its micrometres per pixel; supply mpp")
    patch = patch_size(facts)
    longest = max(facts.size.width, facts.size.height)
    side = int(np.clip(longest * THUMBNAIL_PER_PATCH // patch, *THUMBNAIL_SIDES))
    thumbnail = Thumbnail.of(reader.thumbnail(side))
    mask = tissue_mask(thumbnail)
    tissue, glass = tissue_fraction(mask, facts.size, patch), glass_colour(thumbnail, mask)
    grid, everywhere = PatchGrid(facts.size, patch), PatchFlag.NONE
    if profile.policy:
        everywhere = _barring(reader, Guard(profile.policy, scale, glass), grid, tissue)
    barred = np.full(tissue.shape, int(everywhere), np.uint8)
    if protect:
        inside = protected_patches(json.loads(protect), grid)
        if not inside.any():
            raise InputError("the protected regions touch no patch of the slide")
        barred[inside] |= np.uint8(PatchFlag.PROTECTED)
    return CompressionPlan(
        facts=facts,
        profile=profile,
        mpp=scale,
        mpp_origin=MppOrigin.PROPERTIES if mpp is None else MppOrigin.CALLER,
        patch=patch,
        tissue=tissue,
        glass=glass,
        barred=barred,
        target_ratio=target_ratio,
    )


def _barring(
    reader: SlideReader, guard: Guard, grid: PatchGrid, tissue: npt.NDArray[np.float32]
) -> PatchFlag:
    """What bars most of some patches with much tissue, and hence the slide: a patch alone may look known,
    as where a slide of another stain shows its haematoxylin only."""
    order = np.argsort(-tissue, axis=None, kind="stable")[: np.count_nonzero(tissue)]
    richest = order[: max(SAMPLED, len(order) // 2)]
    places = richest[np.linspace(0, len(richest) - 1, min(SAMPLED, len(richest)), dtype=int)]
    return guard.of_most(_read(reader, grid, places.tolist()))


def _read(reader: SlideReader, grid: PatchGrid, places: list[int]) -> Iterator[Pixels]:
    """Patches by their number, row by row; one that cannot be read says nothing."""
    for place in places:
        try:
            yield reader.read(grid.region(PatchIndex(*divmod(place, grid.cols))))
        except SlideCorrupt:
            continue
