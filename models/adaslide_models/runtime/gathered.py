"""One net for the threads of a process: what they want at the same time is one batch."""

from collections.abc import Sequence
from concurrent.futures import Future
from threading import Lock

import numpy as np

from adaslide.adapters.inference.onnx import Floats
from adaslide.adapters.inference.weights import Weights
from adaslide_models.runtime.device import Device
from adaslide_models.runtime.model import Model, batches


class Gathered:
    """`Model` for threads: whoever's turn it is runs what all of them wait for, ``pixels`` at most at once.

    Nobody waits for others to come: a batch is what gathered while the one before it ran.
    """

    def __init__(self, model: Model, pixels: int) -> None:
        self._model = model
        self._pixels = pixels
        self._turn = Lock()
        self._lock = Lock()
        self._waiting: list[tuple[Floats, Future[Floats]]] = []

    @property
    def weights(self) -> Weights:
        return self._model.weights

    @property
    def device(self) -> Device:
        return self._model.device

    def run(self, images: Sequence[Floats]) -> Floats:
        """As the model. An error of a batch is raised to each who had an image in it."""
        mine: list[Future[Floats]] = [Future() for _ in images]
        with self._lock:
            self._waiting += zip(images, mine, strict=True)
        with self._turn:
            if not all(future.done() for future in mine):
                self._run_all()
        return np.concatenate([future.result() for future in mine])

    def _run_all(self) -> None:
        with self._lock:
            gathered, self._waiting = self._waiting, []
        images = [image for image, _ in gathered]
        for group in batches(images, self._pixels):
            try:
                outputs = self._model.run([images[index] for index in group])
            except Exception as error:
                for index in group:
                    gathered[index][1].set_exception(error)
            else:
                for position, index in enumerate(group):
                    gathered[index][1].set_result(outputs[position : position + 1])
