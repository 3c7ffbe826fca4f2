"""Where torch computes, and in how many bits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Lock
from typing import Self

import torch

from adaslide.domain.errors import Unavailable

CPU_PART = 16
"""On the CPU a few patches at once are as fast as one; more no longer fit the caches, and are slower."""

_TURN = Lock()


class Precision(StrEnum):
    """Of a net's products and of what passes between its layers; weights stay float32."""

    FP32 = "fp32"
    BF16 = "bf16"


@dataclass(frozen=True, slots=True)
class Device:
    """``name`` is torch's: ``cpu``, ``cuda`` or ``cuda:1``. On the CPU as many threads as torch has."""

    name: str
    precision: Precision = Precision.FP32

    def in_fp32(self) -> Self:
        """The same place without rounding to bfloat16: the judge's, always."""
        return replace(self, precision=Precision.FP32)

    def at_once(self, pixels: int) -> int:
        """Of the ``pixels`` that fill a CUDA device, how many to run at once here."""
        return pixels // CPU_PART if self.name == "cpu" else pixels

    def __str__(self) -> str:
        return f"{self.name} in {self.precision}"


def choose(name: str | None = None, precision: Precision | None = None) -> Device:
    """The device ``name``, else CUDA where there is any, else the CPU. Raises `Unavailable` without it.

    Unless given, the precision is bfloat16 on CUDA devices that have it and float32 elsewhere.
    """
    cuda = torch.cuda.is_available()
    name = name or ("cuda" if cuda else "cpu")
    if name != "cpu" and not (cuda and name.startswith("cuda")):
        raise Unavailable(f"there is no device {name!r} here")
    if precision is None:
        fast = name != "cpu" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = Precision.BF16 if fast else Precision.FP32
    return Device(name, precision)


@contextmanager
def computing(device: Device) -> Iterator[None]:
    """No gradients, the precision of ``device``, and kernels that repeat their results.

    float32 means float32: cuDNN's default for convolutions, TF32, keeps 10 bits of 23. These flags belong to
    the process and not to a thread: one thread at a time is in here, or the first to leave would bring TF32
    back under the others.
    """
    kind = torch.device(device.name).type
    with (
        _TURN,
        torch.inference_mode(),
        torch.autocast(kind, torch.bfloat16, enabled=device.precision is Precision.BF16),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        yield
