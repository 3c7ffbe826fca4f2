"""The nets of a process that encodes patches: each loaded once, checked, and shared by its threads.

They measure, and so run in float32: what a package promises is compared with what ONNX makes of it later.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock

import torch

from adaslide.adapters.inference.weights import weights_of, weights_pinned
from adaslide.domain.errors import ModelError, Unavailable
from adaslide.domain.pixels import Mask, Pixels
from adaslide_models.runtime import restorer, segmenter
from adaslide_models.runtime.device import Device, Precision, choose
from adaslide_models.runtime.gate import open_restorer, open_segmenter
from adaslide_models.runtime.gathered import Gathered
from adaslide_models.runtime.restorer import TorchRestorer
from adaslide_models.runtime.segmenter import TorchSegmenter

log = logging.getLogger(__name__)


class ProcessNets:
    """Judges and restorers on one device, for any number of threads. A net that fails the golden tiles is
    given to none."""

    def __init__(self, device: Device) -> None:
        self.device = device.in_fp32()
        self._lock = Lock()
        self._segmenters: dict[str, TorchSegmenter] = {}
        self._restorers: dict[bytes, TorchRestorer] = {}

    @property
    def name(self) -> str:
        """``torch 2.13.0 on cuda (NVIDIA H100) in fp32``; stands in packages."""
        place = self.device.name
        if place != "cpu":
            place = f"{place} ({torch.cuda.get_device_name(place)})"
        return f"torch {torch.__version__.partition('+')[0]} on {place} in {self.device.precision}"

    def segmenter(self, pin: str) -> TorchSegmenter:
        """The judge of the weights that ``pin`` names. Raises `ModelError`, `RuntimeMismatch` among them."""
        with self._lock:
            if pin not in self._segmenters:
                made = open_segmenter(weights_pinned(pin), self.device)
                shared = Gathered(made.model, self.device.at_once(segmenter.BATCH_PIXELS))
                self._segmenters[pin] = replace(made, model=shared)
            return self._segmenters[pin]

    def restorer(self, digest: bytes) -> TorchRestorer:
        """The restorer of the weights with that sha256; raises as `segmenter`."""
        with self._lock:
            if digest not in self._restorers:
                made = open_restorer(weights_of(digest), self.device)
                shared = Gathered(made.model, self.device.at_once(restorer.BATCH_PIXELS))
                self._restorers[digest] = replace(made, model=shared)
            return self._restorers[digest]

    def load(self, pins: list[str]) -> None:
        """Those of ``pins`` that are judges or restorers, now. Raises as `segmenter`."""
        for pin in pins:
            weights = weights_pinned(pin)
            if weights.kind == "segmenter":
                self.segmenter(pin)
            elif weights.kind == "restorer":
                self.restorer(weights.digest)


_here: ProcessNets | None = None


def start(device: str | None, pins: list[str]) -> ProcessNets:
    """Loads and checks the nets of this process, on ``device`` or on the best there is.

    Raises `RuntimeMismatch` where one fails the golden tiles, other `ModelError` where it cannot be run or
    checked, and `Unavailable` without the device.
    """
    global _here
    chosen = choose(device, Precision.FP32)
    if chosen.name == "cpu":
        torch.set_num_threads(1)  # processes are the parallelism there
    nets = ProcessNets(chosen)
    nets.load(pins)
    log.info("nets run by %s", nets.name)
    _here = nets
    return nets


def masks(pin: str, images: list[Pixels], mpp: float) -> list[Mask]:
    """`Segmenter.masks` of the judge that ``pin`` names, in this process.

    Raises `ModelError`, and `Unavailable` when the device has no memory left.
    """
    with _on_the_device() as nets:
        return nets.segmenter(pin).masks(images, mpp)


def restore(digest: bytes, batch: list[Pixels]) -> list[Pixels]:
    """`Restorer.restore` of the weights with that sha256, in this process; raises as `masks`."""
    with _on_the_device() as nets:
        return nets.restorer(digest).restore(batch)


@contextmanager
def _on_the_device() -> Iterator[ProcessNets]:
    if _here is None:
        raise ModelError("the nets of this process were not started")
    try:
        yield _here
    except torch.OutOfMemoryError as error:
        raise Unavailable("the device has no memory left") from error
    except torch.AcceleratorError:
        # Nothing runs on a device again in a process that it failed: whoever waits takes another process.
        log.critical("%s failed; this process ends", _here.device, exc_info=True)
        os._exit(1)
