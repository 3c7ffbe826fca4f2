"""Does it pay to restore several patches in one call of a net, on the CPU, and are the pixels the same?

ONNX Runtime in fp32 as it is served, batches of 1 to 8 low-resolution patches of the archive's size, one
thread and two.
"""

import time
from typing import Any

import numpy as np
import onnxruntime

import results_file
from adaslide.adapters.inference.onnx import Floats
from adaslide.adapters.inference.weights import Weights, installed, pinned

PATCH, IMAGES, ROUNDS = 480, 8, 6
BATCHES = (1, 2, 4, 8)


def session(weights: Weights, threads: int) -> Any:
    """As `adaslide.adapters.inference.onnx` opens it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(weights.path.read_bytes(), options, ["CPUExecutionProvider"])


def restored(net: Any, images: Floats, batch: int) -> Floats:
    name = net.get_inputs()[0].name
    parts = [net.run(None, {name: images[n : n + batch]})[0] for n in range(0, len(images), batch)]
    return np.concatenate(parts)


def row(net: Any, images: Floats) -> dict[str, Any]:
    """Milliseconds a patch by size of the batch (the sizes by turns, so that all meet the same machine),
    and how far the largest batch is from single patches, in grey levels."""
    single = restored(net, images, 1)
    times: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for _ in range(ROUNDS):
        for batch in BATCHES:
            started = time.perf_counter()
            together = restored(net, images, batch)
            times[batch].append(1000 * (time.perf_counter() - started) / IMAGES)
    return {
        "ms_per_patch": {str(batch): round(sorted(t)[len(t) // 2], 1) for batch, t in times.items()},
        "greatest_difference": round(255 * float(np.abs(together - single).max()), 4),
    }


def main() -> None:
    rng = np.random.default_rng(0)
    rows = {}
    for weights in installed().values():
        if weights.kind == "restorer":
            side = PATCH // weights.table["scale"]
            images = rng.random((IMAGES, 3, side, side), np.float32)
            rows[pinned(weights)] = {f"{n} threads": row(session(weights, n), images) for n in (1, 2)}
    results_file.write("net_batches", {"patch_px": PATCH, "rounds": ROUNDS, "nets": rows})


if __name__ == "__main__":
    main()
