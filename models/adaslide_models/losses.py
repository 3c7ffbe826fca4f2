"""Losses. Each takes predictions and targets of one shape and gives a scalar."""

import torch


def charbonnier(prediction: torch.Tensor, target: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Mean of sqrt(d² + epsilon²) - epsilon: quadratic below ``epsilon``, absolute above (Charbonnier 1994).

    ``epsilon`` is in the unit of the values.
    """
    return torch.sqrt((prediction - target).square() + epsilon**2).mean() - epsilon


def log_error(prediction: torch.Tensor, target: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Mean over the batch of ln(mean squared error + epsilon²): PSNR, up to sign and scale.

    Every image counts alike, however hard it is; ``epsilon``, in the unit of the values, keeps those
    that are nearly flat from counting for all. Both (B, ...), B at least 1.
    """
    errors = (prediction - target).square().flatten(1).mean(1)
    return torch.log(errors + epsilon**2).mean()


def counted_bce_dice(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, dice_share: float, smooth: float
) -> torch.Tensor:
    """Binary cross-entropy plus soft Dice, over pixels by ``weight`` (0: nothing is known there).

    ``target`` is 0..1. Dice is of the whole batch, smoothed by ``smooth`` pixels, so that a batch almost
    without nuclei does not pull at noise. The two are mixed by ``dice_share``.
    """
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
    probability = torch.sigmoid(logits) * weight
    both, total = (probability * target).sum(), probability.sum() + (target * weight).sum()
    dice = (2 * both + smooth) / (total + smooth)
    return (1 - dice_share) * bce / weight.sum().clamp(min=1) + dice_share * (1 - dice)


def reinforce(log_probability: torch.Tensor, advantage: torch.Tensor) -> torch.Tensor:
    """Mean of -log p(action) * advantage, each sample with its own; both (B,) (Williams 1992).

    Raises `ValueError` for any other shape: (B,) times (B, 1) would be (B, B).
    """
    if log_probability.ndim != 1 or advantage.shape != log_probability.shape:
        raise ValueError(f"(B,) each, not {tuple(log_probability.shape)} and {tuple(advantage.shape)}")
    return -(log_probability * advantage.detach()).mean()
