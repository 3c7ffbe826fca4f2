"""Recipes of the nuclei judge: everything but the data and the time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from adaslide.adapters.segmenters.unet import Scaling
from adaslide.domain.errors import InputError
from adaslide_models.data.nuclei_augment import Augmentation
from adaslide_models.nets.unet import CHANNELS, MULTIPLE


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """One training of `UNet`."""

    name: str
    architecture: str = "unet"
    """`UNet`, or ``lean-unet``: `LeanUNet`, which starts from its teacher's encoder."""
    channels: tuple[int, ...] = CHANNELS
    scaling: Scaling = field(default=Scaling(0.5, (0.1, 1.1), MULTIPLE))
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of every batch, how much comes from a source; a source that is not named is left out."""
    selected_on: tuple[str, ...] = ("tnbc", "nucls")
    """The validation sources whose mean Dice picks the checkpoint: those with true outlines on H&E."""
    side: int = 128
    """Of a crop, px at the net's scale."""
    teacher: str | None = None
    """An installed judge whose odds are learned too, of every pixel and as much as the labels."""
    batch: int = 16
    rate: float = 3e-3
    weight_decay: float = 1e-2
    warm_up_steps: int = 100
    ema: float = 0.998
    """Decay a step of the average of weights that is validated and kept."""
    dice_share: float = 0.5
    dice_smooth: float = 500.0
    """Pixels a batch."""
    clip: float = 1.0
    """Greatest norm of a gradient."""
    bf16: bool = True
    """Whether forward passes of training run in bfloat16. Validation and export never do."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 1


def nuclei_unet() -> SegmenterConfig:
    """The shipped judge. H&E with drawn nuclei leads; points on TCGA slides bring in many more patients and
    scanners at the net's own scale; single stains give shapes."""
    shares = {
        "tnbc": 0.32,
        "nucls": 0.22,
        "dsb2018_he": 0.07,
        "dsb2018_purple": 0.10,
        "dsb2018_smear": 0.04,
        "brca_m2c": 0.25,
    }
    return SegmenterConfig("nuclei-unet", shares=MappingProxyType(shares))


def nuclei_lean() -> SegmenterConfig:
    """The fast judge: starts from the encoder of `nuclei_unet`, and learns from the same labels and from the
    odds that that one gives, on more sources, blurs and codecs: where it is asked, it shall answer alike."""
    shares = {
        "tnbc": 0.25,
        "nucls": 0.18,
        "dsb2018_he": 0.05,
        "dsb2018_purple": 0.08,
        "dsb2018_smear": 0.03,
        "brca_m2c": 0.23,
        "ocdc": 0.06,
        "osteosarcoma": 0.06,
        "brecahad": 0.03,
        "breakhis400": 0.03,
    }
    return SegmenterConfig(
        "nuclei-lean",
        architecture="lean-unet",
        shares=MappingProxyType(shares),
        teacher="nuclei-unet",
        rate=2e-3,
        augmentation=Augmentation(blur=0.45, blur_sigma=(0.3, 1.5), avif=0.35, avif_quality=(8, 75)),
    )


def recipe_named(name: str) -> SegmenterConfig:
    """Raises `InputError` for a name that no recipe has."""
    for recipe in (nuclei_unet(), nuclei_lean()):
        if recipe.name == name:
            return recipe
    raise InputError(f"no recipe {name!r}: nuclei-unet or nuclei-lean")
