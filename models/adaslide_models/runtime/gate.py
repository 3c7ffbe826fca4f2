"""The way to torch implementations of the ports: none is handed out that fails the golden tiles."""

import logging

from adaslide.adapters.inference.golden import check_restorer, check_segmenter, mask_tiles, pixel_tiles
from adaslide.adapters.inference.weights import Weights
from adaslide.domain.errors import RuntimeMismatch
from adaslide_models.runtime.device import Device, Precision, choose
from adaslide_models.runtime.restorer import TorchRestorer
from adaslide_models.runtime.segmenter import TorchSegmenter

COPIES = 8
"""Of every tile in the second check: a batch may be computed by other kernels than a single image."""

log = logging.getLogger(__name__)


def open_restorer(weights: Weights, device: Device | None = None) -> TorchRestorer:
    """The restorer of ``weights`` on ``device``, else on the best there is, checked against golden tiles.

    Where bfloat16 fails the check, float32 is taken. Raises `RuntimeMismatch` when that fails too, and
    `ModelError` for weights that cannot be run or checked.
    """
    device = device or choose()
    restorer = TorchRestorer.of(weights, device)
    try:
        return gated_restorer(restorer)
    except RuntimeMismatch as error:
        if device.precision is Precision.FP32:
            raise
        log.warning("%s on %s: %s; float32 is taken", weights.name, device, error)
    return gated_restorer(TorchRestorer.of(weights, device.in_fp32()))


def open_segmenter(weights: Weights, device: Device | None = None) -> TorchSegmenter:
    """The judge of ``weights``, in float32, as `open_restorer`."""
    return gated_segmenter(TorchSegmenter.of(weights, device or choose()))


def gated_restorer(restorer: TorchRestorer) -> TorchRestorer:
    """``restorer`` itself. Raises `RuntimeMismatch`, and `ModelError` when it cannot be run or checked."""
    tiles = pixel_tiles(restorer.model.weights)
    log.info("%s: %s", restorer.model.device, check_restorer(restorer, tiles))
    check_restorer(restorer, tiles * COPIES)
    return restorer


def gated_segmenter(segmenter: TorchSegmenter) -> TorchSegmenter:
    """``segmenter`` itself; raises as `gated_restorer`."""
    tiles = mask_tiles(segmenter.model.weights)
    log.info("%s: %s", segmenter.model.device, check_segmenter(segmenter, tiles))
    check_segmenter(segmenter, tiles * COPIES)
    return segmenter
