"""The enhancer's losses against what they say they are."""

import math

import numpy as np
import pytest

pytest.importorskip("torch")

from adaslide_models.losses import charbonnier, log_error

torch = pytest.importorskip("torch")


def images(seed, count=5):
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.random((count, 3, 8, 6), np.float32))


def psnr(prediction, target):
    errors = ((prediction - target).numpy().astype(float) ** 2).reshape(len(target), -1).mean(axis=1)
    return 10 * np.log10(1 / errors)


def test_log_error_is_minus_mean_psnr_in_nepers():
    prediction, target = images(1), images(2)
    loss = log_error(prediction, target, 0.0)
    assert loss.shape == ()
    assert float(loss) == pytest.approx(-math.log(10) / 10 * psnr(prediction, target).mean(), rel=1e-5)


def test_log_error_counts_every_image_alike():
    """Halving the error of an easy image is worth what halving that of a hard one is."""
    target = images(1, 2)
    errors = torch.tensor([0.01, 0.5]).reshape(2, 1, 1, 1)

    def loss(*factors):
        return float(log_error(target + errors * torch.tensor(factors).reshape(2, 1, 1, 1), target, 0.0))

    assert loss(0.5, 1) == pytest.approx(loss(1, 0.5), abs=1e-4)
    assert loss(1, 1) - loss(0.5, 1) == pytest.approx(math.log(4) / 2, abs=1e-4)


def test_epsilon_bounds_the_loss_and_the_pull_of_what_is_already_right():
    target = images(1)
    assert float(log_error(target, target, 0.01)) == pytest.approx(math.log(0.01**2), rel=1e-5)
    assert float(log_error(target + 0.01, target, 0.01)) == pytest.approx(math.log(2 * 0.01**2), rel=1e-4)
    prediction = target.clone().requires_grad_()
    log_error(prediction, target, 0.01).backward()
    assert not prediction.grad.any()


def test_charbonnier_is_quadratic_below_epsilon_and_absolute_above():
    target = images(1).double()
    assert float(charbonnier(target, target, 0.02)) == pytest.approx(0, abs=1e-12)
    assert float(charbonnier(target + 1e-4, target, 0.02)) == pytest.approx(1e-8 / 0.04, rel=1e-3)
    assert float(charbonnier(target + 10, target, 0.02)) == pytest.approx(10 - 0.02, rel=1e-4)
