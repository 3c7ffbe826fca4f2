"""Profiles: named, versioned policies. A package names the one it was made with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite

from adaslide.domain.decision import Promise
from adaslide.domain.errors import ProfileInvalid
from adaslide.domain.fidelity import Floors
from adaslide.domain.policy import Policy
from adaslide.domain.rung import RESTORED_RUNGS, THREE_QUARTERS, Codec, RestorerKind, Rung, RungSpec, Scale

OTSU = "otsu-haematoxylin@1"
"""The judge that needs no training."""
NUCLEI_UNET = "nuclei-unet@8211c0dae8b6"
NUCLEI_LEAN = "nuclei-lean@88c6d2c0bd59"
FIE_X4 = "fie-compact-x4@92b417ce0215"
FIE_X2 = "fie-compact-x2@7e7aa466f203"
CDA = "cda-resnet18@517f21440207"
CDA_LADDER = "cda-ladder@a7ea9cced841"
CDA_LADDER_2 = "cda-ladder-2@fa1b76387cd5"
CDA_LADDER_FAST = "cda-ladder-fast@4edd18a6c14e"
CDA_LADDER_3 = "cda-ladder-3@0fd56dd3e627"
CDA_LADDER_FAST_2 = "cda-ladder-fast-2@41511e2f75ad"
CDA_LADDER_FAST_3 = "cda-ladder-fast-3@9d8301cd44ec"
CDA_LADDER_4 = "cda-ladder-4@ff8bd36cba42"
"""Weights, pinned: their name and the first twelve digits of their ONNX file's sha256. Other weights
of the same name would be another promise, and need another version of the profile."""

PAPER_TAU = 0.6
"""The paper's quality threshold on Dice below which Compress is punished (Methods, Eq. 4)."""

LOSS_PRICE = 10.0
"""Where lambda is a dial, at 1: a tenth of Dice is worth the bytes of the patch kept whole."""

SECOND_DICE = 0.70
"""The second judge's floor in `archive`: an alarm, not an aim. It is cruder than the first, and a floor as
high as the first's would leave the choice to it."""

COLOUR = 0.92
"""The floor of colour in `archive`, an alarm like `SECOND_DICE`: no square's mean colour is off by more than
eight units of CIE76, three to four times what an eye just sees."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A policy: the ladder, cheapest rung first, and the floors every lossy patch must hold.

    The last resort (exact, or lossless where the source has no usable JPEG tiles) stands in no
    ladder: it always follows the ladder's last rung. ``allow_background`` False keeps glass too.

    ``judge`` finds the nuclei that are compared; ``second_judge`` looks at what was chosen by the first,
    and can only reject it. ``restorers`` are tried beside bicubic where a rung is restored, the better is
    kept; with a ``net_reach`` only where bicubic misses a floor, and the one of Dice by no more than that.
    ``agent`` says what to measure first, that of a ladder also what next; None begins in the middle of the
    ladder. Where ``promotes`` is False, which the one-step agent heeds, nothing cheaper than its proposal
    is tried. Judges are `OTSU` or pinned weights, restorers and agent pinned weights.
    ``measurement_price`` are the bytes that a measurement must promise an agent of a ladder to save: the
    same for every patch of a slide, since it takes as long on each, and nothing else gives the fewest
    bytes for as many measurements of a slide. An agent that is told the scale takes it for that of 0.5
    micrometres per pixel.
    ``lambda_`` is the paper's weight of lost information, None where no decision knows it. Under the paper's
    reward it turns nothing; where ``is_dial``, 0 keeps the cheapest rung that holds and more of it buys
    fidelity above the floors: from bytes to Dice, see `loss_price`.
    ``policy`` says which patches nothing may restore; versions of before had none.
    """

    name: str
    version: int
    ladder: tuple[RungSpec, ...]
    floors: Floors
    allow_background: bool = True
    lambda_: float | None = None
    is_dial: bool = False
    judge: str = OTSU
    second_judge: str | None = None
    restorers: tuple[str, ...] = ()
    net_reach: float | None = None
    agent: str | None = None
    promotes: bool = True
    measurement_price: float = 500.0
    policy: Policy | None = None

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def loss_price(self) -> float:
        """What a Dice of 0 would cost, as a multiple of the bytes of the patch kept whole."""
        return LOSS_PRICE * (self.lambda_ or 0.0) if self.is_dial else 0.0

    def at(self, mpp: float) -> "Profile":
        """The profile for a slide of ``mpp`` micrometres per pixel: without the rungs that would store the
        policy's smallest object in too few pixels."""
        if self.policy is None:
            return self
        return replace(self, ladder=tuple(s for s in self.ladder if self.policy.stores(s, mpp)))

    def cautious(self) -> "Profile":
        """The profile of patches of which nothing may be restored: nor is it sure that they are stained as a
        codec takes for granted."""
        ssim = max(self.floors.ssim, self.policy.ssim if self.policy else 0.0)
        ladder = tuple(spec.plain() for spec in self.ladder if spec.rung not in RESTORED_RUNGS)
        return replace(self, ladder=ladder, floors=replace(self.floors, ssim=ssim))

    @property
    def promise(self) -> Promise:
        return Promise(self.floors, self.cautious().floors)

    def with_floors(self, *, dice: float | None = None) -> "Profile":
        """The profile with another Dice floor; raises `ProfileInvalid` outside [0, 1)."""
        if dice is None:
            return self
        if not 0.0 <= dice < 1.0:
            raise ProfileInvalid(f"the Dice floor is in [0, 1), not {dice}")
        return replace(self, floors=replace(self.floors, dice=dice))

    def with_lambda(self, lambda_: float | None) -> "Profile":
        """The profile with another lambda; raises `ProfileInvalid` outside [0, 1], and for profiles that know
        none."""
        if lambda_ is None:
            return self
        if self.lambda_ is None:
            raise ProfileInvalid(f"{self.id} knows no lambda: nothing that it decides depends on one")
        if not 0.0 <= lambda_ <= 1.0:
            raise ProfileInvalid(f"lambda is in [0, 1], not {lambda_}")
        return replace(self, lambda_=lambda_)

    def check_target(self, ratio: float | None, lambda_: float | None) -> None:
        """Raises `ProfileInvalid` for a target ``ratio`` (bytes before / bytes after) that is no positive
        number, that comes beside a ``lambda_``, which would ask for another size, or where lambda is no
        dial."""
        if ratio is None:
            return
        if not self.is_dial:
            raise ProfileInvalid(f"{self.id} cannot be turned to a target ratio: its lambda is no dial")
        if lambda_ is not None:
            raise ProfileInvalid("a target ratio and a lambda are two sizes: give one of them")
        if not (isfinite(ratio) and ratio > 0):
            raise ProfileInvalid(f"a target ratio is a number above 0, not {ratio}")


def _avif(rung: Rung, scale: Scale, quality: int, codec: Codec = Codec.AVIF) -> RungSpec:
    restorer = RestorerKind.NONE if scale == 1 else RestorerKind.BICUBIC
    return RungSpec(rung, codec, scale, quality, speed=6, restorer=restorer)


_ARCHIVE_1 = Profile(
    "archive",
    1,
    (
        *(_avif(Rung.X4, 4, q) for q in (30, 45, 60)),
        *(_avif(Rung.FINE, 1, q) for q in (12, 16, 20, 25, 30, 35, 40, 50, 60)),
    ),
    Floors(dice=0.85, dice_window_min=0.60, ssim=0.70),
)
_PAPER_1 = Profile(
    "paper",
    1,
    (
        RungSpec(Rung.PAPER_COMPRESS, Codec.PNG, 4, restorer=RestorerKind.BICUBIC),
        RungSpec(Rung.PAPER_KEEP, Codec.JPEG, 1, 75),
    ),
    Floors(dice=PAPER_TAU, margin=0.0),
    lambda_=0.5,
)
_ARCHIVE_2 = replace(
    _ARCHIVE_1,
    version=2,
    # By the mean bytes of the sample's patches; a rung that another beat there on bytes and Dice is out.
    ladder=(
        *(_avif(Rung.X4, 4, q) for q in (30, 45)),
        *(_avif(Rung.X2, 2, q) for q in (20, 30, 40)),
        _avif(Rung.FINE, 1, 16),
        _avif(Rung.X2, 2, 50),
        *(_avif(Rung.FINE, 1, q) for q in (20, 25, 30, 35, 40, 50, 60)),
    ),
    floors=replace(_ARCHIVE_1.floors, dice_second=SECOND_DICE),
    judge=NUCLEI_UNET,
    second_judge=OTSU,
    restorers=(FIE_X4, FIE_X2),
    agent=CDA,
)
_ARCHIVE_3 = replace(
    _ARCHIVE_2,
    version=3,
    ladder=(
        *(_avif(Rung.X4, 4, q) for q in (30, 45)),
        _avif(Rung.X2, 2, 20),
        _avif(Rung.X4, 4, 60),
        *(_avif(Rung.X2, 2, q) for q in (30, 40)),
        *(_avif(Rung.FINE, 1, q) for q in (8, 12, 16, 20)),
        _avif(Rung.X2, 2, 50),
        *(_avif(Rung.FINE, 1, q) for q in (25, 30)),
        _avif(Rung.X2, 2, 60),
        *(_avif(Rung.FINE, 1, q) for q in (35, 40, 50, 60, 75)),
    ),
    floors=replace(_ARCHIVE_2.floors, ssim=0.5),
    agent=CDA_LADDER,
    lambda_=0.0,
    is_dial=True,
)
_ARCHIVE_4 = replace(
    _ARCHIVE_3,
    version=4,
    ladder=(
        *(_avif(Rung.X4, 4, q) for q in (30, 45)),
        _avif(Rung.X2, 2, 20),
        _avif(Rung.X4, 4, 60),
        *(_avif(Rung.X2, 2, q) for q in (30, 40)),
        *(_avif(Rung.FINE, 1, q) for q in (12, 16)),
        *(_avif(Rung.X4_3, THREE_QUARTERS, q) for q in (25, 30)),
        _avif(Rung.FINE, 1, 20),
        _avif(Rung.X2, 2, 50),
        _avif(Rung.X4_3, THREE_QUARTERS, 35),
        _avif(Rung.FINE, 1, 25),
        _avif(Rung.X4_3, THREE_QUARTERS, 40),
        _avif(Rung.FINE, 1, 30),
        _avif(Rung.X4_3, THREE_QUARTERS, 45),
        _avif(Rung.FINE, 1, 35),
        _avif(Rung.X4_3, THREE_QUARTERS, 50),
        _avif(Rung.FINE, 1, 40),
        _avif(Rung.X4_3, THREE_QUARTERS, 60),
        *(_avif(Rung.FINE, 1, q) for q in (50, 60, 75)),
    ),
    floors=replace(_ARCHIVE_3.floors, margin=0.002),
    agent=CDA_LADDER_2,
    policy=Policy(),
)
_ARCHIVE_5 = replace(_ARCHIVE_4, version=5, net_reach=0.03)


def _without(ladder: tuple[RungSpec, ...], *names: str) -> tuple[RungSpec, ...]:
    """``ladder`` without the rungs of these ``names``; docs/adr/0025 says which are hardly taken."""
    return tuple(spec for spec in ladder if spec.name not in names)


_ARCHIVE_6 = replace(_ARCHIVE_5, version=6, ladder=_without(_ARCHIVE_5.ladder, "x4-q30", "fine-q16"))
_FAST_SPEEDS_1 = {Rung.X4: 8, Rung.X2: 8, Rung.X4_3: 8, Rung.FINE: 9}


def _stained(*rungs: tuple[Rung, Scale, int]) -> tuple[RungSpec, ...]:
    return tuple(_avif(*rung, codec=Codec.STAIN_AVIF) for rung in rungs)


_ARCHIVE_7 = replace(
    _ARCHIVE_5,
    version=7,
    agent=CDA_LADDER_3,
    # Of 45 candidates on images of training, those that an oracle needs, evened out; docs/adr/0026.
    ladder=_stained(
        (Rung.X4, 4, 15),
        (Rung.X4, 4, 25),
        (Rung.X2, 2, 10),
        (Rung.X2, 2, 14),
        (Rung.X2, 2, 18),
        (Rung.FINE, 1, 5),
        (Rung.X2, 2, 22),
        (Rung.X4_3, THREE_QUARTERS, 15),
        (Rung.X2, 2, 30),
        (Rung.FINE, 1, 12),
        (Rung.X4_3, THREE_QUARTERS, 21),
        (Rung.X2, 2, 35),
        (Rung.X4_3, THREE_QUARTERS, 24),
        (Rung.FINE, 1, 18),
        (Rung.X4_3, THREE_QUARTERS, 30),
        (Rung.FINE, 1, 24),
        (Rung.X2, 2, 46),
        (Rung.X4_3, THREE_QUARTERS, 38),
        (Rung.FINE, 1, 30),
        (Rung.FINE, 1, 34),
        (Rung.X4_3, THREE_QUARTERS, 47),
        (Rung.FINE, 1, 42),
        (Rung.X4_3, THREE_QUARTERS, 58),
        (Rung.FINE, 1, 52),
        (Rung.FINE, 1, 62),
    ),
)
_ARCHIVE_8 = replace(
    _ARCHIVE_7,
    version=8,
    floors=replace(_ARCHIVE_7.floors, colour_min=COLOUR, margin=0.001),
    agent=CDA_LADDER_4,
)
FAST_SPEEDS = {Rung.X4: 8, Rung.X2: 9, Rung.X4_3: 9, Rung.FINE: 9}
"""The encoder's effort in `archive-fast`, by what it costs (benchmarks/results/codec_settings.json, where
speed 8 takes 12 to 17 % fewer bytes for x2 and 5 to 7 % for x4-3, in three to four times the time)."""


def _fast(archive: Profile, version: int, speeds: Mapping[Rung, int]) -> Profile:
    """``archive`` by a fast encoder, and without nets that restore."""
    ladder = tuple(replace(spec, speed=speeds[spec.rung]) for spec in archive.ladder)
    return replace(archive, name="archive-fast", version=version, ladder=ladder, restorers=(), net_reach=None)


_ARCHIVE_FAST_2 = replace(_fast(_ARCHIVE_5, 2, _FAST_SPEEDS_1), judge=NUCLEI_LEAN)
_ARCHIVE_FAST_3 = replace(_fast(_ARCHIVE_5, 3, FAST_SPEEDS), judge=NUCLEI_LEAN, agent=CDA_LADDER_FAST)
_ARCHIVE_FAST_4 = replace(
    _ARCHIVE_FAST_3, version=4, ladder=_without(_ARCHIVE_FAST_3.ladder, "x4-q30", "x2-q20")
)
_ARCHIVE_FAST_5 = replace(_fast(_ARCHIVE_7, 5, FAST_SPEEDS), judge=NUCLEI_LEAN, agent=CDA_LADDER_FAST_2)
_ARCHIVE_FAST_6 = replace(_fast(_ARCHIVE_8, 6, FAST_SPEEDS), judge=NUCLEI_LEAN, agent=CDA_LADDER_FAST_2)
_ARCHIVE_FAST_7 = replace(
    _ARCHIVE_FAST_6,
    version=7,
    # Two were kept for no patch; docs/adr/0025.
    ladder=_without(_ARCHIVE_FAST_6.ladder, "x4-q15", "x2-q10"),
    agent=CDA_LADDER_FAST_3,
)


VERSIONS: tuple[Profile, ...] = (
    _ARCHIVE_1,
    _ARCHIVE_2,
    _ARCHIVE_3,
    _ARCHIVE_4,
    _ARCHIVE_5,
    _ARCHIVE_6,
    _ARCHIVE_7,
    _ARCHIVE_8,
    _fast(_ARCHIVE_4, 1, _FAST_SPEEDS_1),
    _ARCHIVE_FAST_2,
    _ARCHIVE_FAST_3,
    _ARCHIVE_FAST_4,
    _ARCHIVE_FAST_5,
    _ARCHIVE_FAST_6,
    _ARCHIVE_FAST_7,
    Profile("exact", 1, (), Floors(), allow_background=False),
    _PAPER_1,
    replace(_PAPER_1, version=2, judge=NUCLEI_UNET, restorers=(FIE_X4,), agent=CDA, promotes=False),
)
"""Every version that jobs may still name, older ones first."""

PROFILES: dict[str, Profile] = {profile.name: profile for profile in VERSIONS}
"""The present version of each profile."""


def profile_named(name: str) -> Profile:
    """The profile called ``name`` (its present version) or ``name@version``; raises `ProfileInvalid`."""
    for profile in (*PROFILES.values(), *VERSIONS):
        if name in (profile.name, profile.id):
            return profile
    raise ProfileInvalid(f"no profile {name!r}; there are {', '.join(p.id for p in VERSIONS)}")
