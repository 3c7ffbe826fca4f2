"""How long the enhancer takes for one patch, 128 px to 512 px: ONNX fp32 on the CPU, bicubic included."""

import time

import numpy as np

import results_file
from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.restorers.onnx import OnnxRestorer

WEIGHTS = "fie-compact-x4"
ROUNDS = 40


def milliseconds(threads: int) -> list[float]:
    """Sorted times of ``ROUNDS`` patches, the first, which opens the session, not among them."""
    restorer = OnnxRestorer.of(weights_named(WEIGHTS), threads)
    low = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        restorer.restore([low])
        times.append(1000 * (time.perf_counter() - start))
    return sorted(times[1:])


def main() -> None:
    rows = {}
    for threads in (1, 2):
        times = milliseconds(threads)
        rows[f"{threads} threads"] = {
            "median_ms": round(times[len(times) // 2], 1),
            "least_ms": round(times[0], 1),
        }
    digest = weights_named(WEIGHTS).digest.hex()
    results_file.write("fie_latency", {"weights": WEIGHTS, "sha256": digest, "rounds": ROUNDS, **rows})


if __name__ == "__main__":
    main()
