"""What judges of nuclei make of a restored image: a loss, so that enhancers keep what is looked for.

A perceptual loss after Johnson et al. 2016, with nets that find nuclei instead of one that names objects. The
judges are trained apart for this: the one that measures packages takes no part, or it would praise its own
reflection.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from adaslide_models.nets.unet import UNet

SMOOTH = 500.0
"""Pixels of an image by which Dice is smoothed."""
AT_ONCE = 16


def load_judges(paths: tuple[Path, ...], device: str) -> tuple[UNet, ...]:
    """Trained `UNet` of any width, frozen."""
    return tuple(_frozen(load_file(path)).to(device, memory_format=torch.channels_last) for path in paths)


def _frozen(state: dict[str, Tensor]) -> UNet:
    first = sorted(key for key in state if key.startswith("down.") and key.endswith(".0.weight"))
    net = UNet([len(state[key]) for key in first])
    net.load_state_dict(state)
    net.eval().requires_grad_(requires_grad=False)
    return net


@torch.no_grad()
def seen_in(images_BHWC: Tensor, judges: tuple[UNet, ...]) -> Tensor:
    """(B, judges, H, W) uint8: the probability of a nucleus that each judge gives (B, H, W, 3) uint8
    originals, in 255ths. Sides multiples of `nets.unet.MULTIPLE`."""
    parts = []
    for part in images_BHWC.split(AT_ONCE):
        planes = part.permute(0, 3, 1, 2).float() / 255
        chances = [torch.sigmoid(judge(planes)[:, 0].float()) for judge in judges]
        parts.append((torch.stack(chances, dim=1) * 255).round().to(torch.uint8))
    return torch.cat(parts)


def judged(restored: Tensor, seen: Tensor, judge: UNet) -> Tensor:
    """How far what ``judge`` finds in ``restored`` is from what it saw in the original: cross-entropy, and
    1 - Dice of each image.

    (B, 3, H, W) in 0..1 at the judge's own scale, and its (B, 1, H, W) probabilities of before. Fidelity is
    meant: whether the judge is right is not asked.
    """
    logits = judge(restored).float()
    surprise = functional.binary_cross_entropy_with_logits(logits, seen)
    return surprise + 1 - _dice(torch.sigmoid(logits), (seen > 0.5).float()).mean()


def _dice(found: Tensor, true: Tensor) -> Tensor:
    """(B,) smoothed Dice of (B, 1, H, W) masks or probabilities."""
    both, total = (found * true).flatten(1).sum(1), (found + true).flatten(1).sum(1)
    return (2 * both + SMOOTH) / (total + SMOOTH)


@torch.no_grad()
def agreement(restored: Tensor, original: Tensor, judges: tuple[UNet, ...]) -> float:
    """Mean over images and judges of the Dice between masks of ``restored`` and of ``original``."""
    masks = [[(judge(image) > 0).float() for image in (restored, original)] for judge in judges]
    return float(torch.stack([_dice(found, true).mean() for found, true in masks]).mean())
