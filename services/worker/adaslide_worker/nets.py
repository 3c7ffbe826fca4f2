"""Nets in torch, in processes of their own. Their names travel there: this process never imports torch."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from adaslide.adapters.restorers.installed import BICUBIC, InstalledRestorers
from adaslide.domain.errors import InputError
from adaslide.domain.pixels import Mask, Pixels
from adaslide.domain.profile import OTSU, PROFILES
from adaslide.domain.rung import Scale
from adaslide.ports.nets import Nets
from adaslide.ports.restorer import Restorer
from adaslide.ports.segmenter import Segmenter
from adaslide_worker.pool import ThreadedProcess, ThreadedProcesses

DeviceName = Literal["auto", "cpu", "cuda"]
EXTRA = ("torch", "safetensors")
"""What the extra `gpu` brings."""


@dataclass(frozen=True, slots=True)
class PooledSegmenter:
    """`Segmenter` by the pin of its weights: it runs in a process that `start_nets` was called in."""

    name: str

    def masks(self, images: list[Pixels], mpp: float) -> list[Mask]:
        from adaslide_models.runtime import process

        found: list[Mask] = process.masks(self.name, images, mpp)
        return found


@dataclass(frozen=True, slots=True)
class PooledRestorer:
    """`Restorer` by the sha256 of its weights; runs as `PooledSegmenter`."""

    scale: Scale
    digest: bytes

    def restore(self, batch: list[Pixels]) -> list[Pixels]:
        from adaslide_models.runtime import process

        restored: list[Pixels] = process.restore(self.digest, batch)
        return restored


class PooledRestorers(InstalledRestorers):
    """The same keys; bicubic is the same, and nets are run by the process that they are asked in."""

    def __getitem__(self, key: tuple[Scale, bytes]) -> Restorer:
        canonical = super().__getitem__(key)
        return canonical if key[1] == BICUBIC else PooledRestorer(*key)


@dataclass(frozen=True, slots=True)
class PooledNets:
    """`Nets`."""

    runtime: str

    def segmenter(self, pin: str) -> Segmenter:
        return PooledSegmenter(pin)

    @property
    def restorers(self) -> Mapping[tuple[Scale, bytes], Restorer]:
        return PooledRestorers()


@dataclass(frozen=True, slots=True)
class Started:
    """What a process says once its nets are loaded and checked: where they run, and its name for packages."""

    device: str
    runtime: str


def start_nets(device: str | None, pins: list[str]) -> Started:
    """Loads and checks the nets of this process; see `adaslide_models.runtime.process.start`."""
    from adaslide_models.runtime import process

    nets = process.start(device, pins)
    return Started(nets.device.name, nets.name)


def check_extra() -> None:
    """Raises `InputError` without the extra `gpu`. Imports nothing of it."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise InputError(
            f"ADASLIDE_COMPRESSION__RUNTIME=torch needs {' and '.join(missing)}: pip install 'adaslide[gpu]'"
        )


def profile_nets() -> list[str]:
    """Pins of the judges and restorers of all present profiles: what a job may want next."""
    pins = (pin for p in PROFILES.values() for pin in (p.judge, p.second_judge, *p.restorers))
    return sorted({pin for pin in pins if pin and pin != OTSU})


@contextmanager
def net_processes(device: DeviceName, processes: int | None) -> Iterator[tuple[Executor, Nets]]:
    """Processes whose nets have passed the golden tiles, and these nets.

    Unless given, there is one on a graphics card, fed by as many threads as there are cores, and else one for
    every core. Raises `RuntimeMismatch` and other `ModelError`, `Unavailable` without the device, and
    `BrokenExecutor` when a process does not start.
    """
    cores = len(os.sched_getaffinity(0))
    named = None if device == "auto" else device
    with ExitStack() as stack:

        def another() -> tuple[ThreadedProcess, Started]:
            process = ThreadedProcess()
            stack.callback(process.close)
            return process, process.call(start_nets, named, profile_nets())

        first, started = another()
        on_card = started.device != "cpu"
        count = processes or (1 if on_card else cores)
        pool = [first, *(another()[0] for _ in range(count - 1))]
        executor = ThreadedProcesses(pool, max(1, cores // count) if on_card else 1)
        stack.callback(executor.shutdown, cancel_futures=True)
        yield executor, PooledNets(started.runtime)
