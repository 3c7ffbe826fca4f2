"""How long each released net takes for one 512 px patch: ONNX fp32 on the CPU, as it is served."""

import time
from collections.abc import Callable

import numpy as np

import results_file
from adaslide.adapters.agents.cda import CdaAgent
from adaslide.adapters.inference.weights import Weights, installed, pinned
from adaslide.adapters.restorers.onnx import OnnxRestorer
from adaslide.adapters.segmenters.unet import OnnxSegmenter

PATCH = 512
MPP = 0.5
ROUNDS = 40


def task(weights: Weights, threads: int) -> Callable[[], object]:
    """What is timed: restoring, judging or deciding one patch."""
    pixels = np.random.default_rng(0).integers(0, 256, (PATCH, PATCH, 3), np.uint8)
    if weights.kind == "segmenter":
        judge = OnnxSegmenter.of(weights, threads)
        return lambda: judge.masks([pixels], MPP)
    if weights.kind == "agent":
        agent = CdaAgent.of(weights, threads)
        return lambda: agent.probability(pixels)
    restorer = OnnxRestorer.of(weights, threads)
    low = np.ascontiguousarray(pixels[:: restorer.scale, :: restorer.scale])
    return lambda: restorer.restore([low])


def milliseconds(run: Callable[[], object]) -> dict[str, float]:
    """Of ``ROUNDS`` patches, the first, which opens the session, not among them."""
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    ordered = sorted(times[1:])
    return {"median_ms": round(ordered[len(ordered) // 2], 1), "least_ms": round(ordered[0], 1)}


def main() -> None:
    rows = {
        pinned(weights): {f"{threads} threads": milliseconds(task(weights, threads)) for threads in (1, 2)}
        for weights in installed().values()
    }
    results_file.write("latency", {"patch_px": PATCH, "rounds": ROUNDS, "nets": rows})


if __name__ == "__main__":
    main()
