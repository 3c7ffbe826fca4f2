"""How fast is a worker whose nets run in torch? Patches a second, beside a worker with ONNX in the same run.

Needs the extra `gpu`. Where there is no CUDA device, torch on the CPU is measured all the same.
"""

import os
import statistics
import sys
import time
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import results_file
from adaslide.adapters.objects.memory import MemoryStore
from adaslide.domain.errors import RuntimeMismatch, Unavailable
from adaslide.ports.jobs import CompressRequest
from adaslide_worker.compute import Compute
from adaslide_worker.nets import DeviceName, net_processes

PROFILE = "archive"
ROUNDS = 3
BUSY = 0.5
"""Load before the run above which rates are told to be those of a busy machine."""


def shards_of_the_sample(compute: Compute) -> int:
    """Reads, encodes and measures the sample slide, nothing finalized; how many patches it has."""
    work = compute.plan(results_file.SAMPLE, CompressRequest(PROFILE))
    for shard in work.grid.shards():
        compute.shard(
            results_file.SAMPLE, work, shard, MemoryStore(), progress=lambda _: None, cancelled=lambda: False
        )
    return len(work.grid)


def measured(compute: Compute) -> dict[str, Any]:
    """Patches a second, of the median round. The first, in which nets are loaded, is not counted."""
    try:
        compute.start()
        patches = shards_of_the_sample(compute)
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            shards_of_the_sample(compute)
            seconds.append(time.perf_counter() - start)
    finally:
        compute.close()
    return {"patches": patches, "patches_per_second": round(patches / statistics.median(seconds), 3)}


def torch_on(device: DeviceName) -> dict[str, Any] | str:
    """As `measured`, or why it was not run."""
    try:
        return measured(Compute(None, partial(net_processes, device)))
    except Unavailable as error:
        return f"not run: {error}"
    except RuntimeMismatch as error:
        return f"refused: {error}"


def main() -> None:
    try:
        torch = version("torch")
    except PackageNotFoundError:
        sys.stdout.write("not run: torch is not installed (pip install 'adaslide[gpu]')\n")
        return
    load = os.getloadavg()[0]
    result = {
        "note": f"load {load:.1f} before the run"
        + (": the machine was busy, so that rates compare within this run only" if load > BUSY else ""),
        "torch": torch,
        "onnxruntime": version("onnxruntime"),
        "profile": PROFILE,
        "slide": "the sample; read, encoded and measured, not finalized; the worker has all cores",
        "rounds": ROUNDS,
        "onnx_cpu": measured(Compute(None)),
        "torch_cpu": torch_on("cpu"),
        "torch_cuda": torch_on("cuda"),
    }
    results_file.write("gpu_worker", result)


if __name__ == "__main__":
    main()
