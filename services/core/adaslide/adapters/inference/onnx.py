"""Nets as ONNX on the CPU in fp32: the canonical runtime, so that what was measured is what is served."""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from adaslide.domain.errors import DigestMismatch, WeightsMissing
from adaslide.domain.pixels import Pixels

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = npt.NDArray[np.float32]

QUIET = 3
"""ONNX Runtime's log level for errors only: its warnings are about its own optimiser."""


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A net with one input and one output, named by its file and that file's sha256.

    Picklable: the session is no part of it, but is opened at the first `run` of each process.
    ``threads`` is per call; 1 where processes are the parallelism.
    """

    path: Path
    digest: bytes
    threads: int = 1

    def run(self, batch: Floats) -> Floats:
        """The net's output for ``batch``, both float32. Raises `WeightsMissing` and `DigestMismatch`."""
        session = _session(self.path, self.digest, self.threads, os.getpid())
        output: Floats = session.run(None, {session.get_inputs()[0].name: batch})[0]
        return output


def planes_of(image: Pixels) -> Floats:
    """(h, w, 3) pixels as the (1, 3, h, w) float32 in 0..1 that nets take."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)
    planes /= np.float32(255)
    return planes


@lru_cache(maxsize=16)
def _session(path: Path, digest: bytes, threads: int, process: int) -> "InferenceSession":
    """``process`` keeps a forked child from a session whose threads stayed behind in its parent."""
    # Only here: a reader that meets no net's patch need not load the runtime.
    import onnxruntime

    graph = verified(path, digest)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = QUIET
    # Idle threads would spin on cores that other processes are working on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def verified(path: Path, digest: bytes) -> bytes:
    """The bytes of ``path``. Raises `WeightsMissing`, and `DigestMismatch` before anyone parses them."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsMissing(f"the weights {path.name} cannot be read") from error
    found = hashlib.sha256(data).digest()
    if found != digest:
        raise DigestMismatch(f"{path.name} has sha256 {found.hex()[:12]}, not {digest.hex()[:12]} as named")
    return data
