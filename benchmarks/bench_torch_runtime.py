"""How fast are the nets in torch, and how far from ONNX? Patches a second and parity, ONNX CPU beside them.

Needs the extra `gpu`. Where there is no CUDA device, torch on the CPU is measured all the same.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Any

import numpy as np
import openslide

import results_file
from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.restorers.onnx import OnnxRestorer
from adaslide.adapters.rungs.restored import degraded
from adaslide.adapters.segmenters.unet import OnnxSegmenter
from adaslide.domain.errors import ModelError, Unavailable
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Codec, Rung, RungSpec
from adaslide.pipeline.measure import dice
from adaslide.ports.restorer import Restorer
from adaslide.ports.segmenter import Segmenter

FIE, JUDGE = "fie-compact-x4", "nuclei-unet"
SIDE = 512
MPP = 0.499
QUALITY = 45
TISSUE_STD = 15
"""Grey levels: patches that vary less are glass."""
THREADS = 1
"""Of both runtimes on the CPU: processes are the parallelism there."""
BATCHES = (1, 8, 32)
ROUNDS = {1: 5, 8: 3, 32: 3}


def tissue() -> list[Pixels]:
    """The 512 px patches of the sample slide that hold tissue, valid pixels alone."""
    with openslide.OpenSlide(results_file.SAMPLE) as slide:
        pixels = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    corners = product(range(0, pixels.shape[0] - SIDE, SIDE), range(0, pixels.shape[1] - SIDE, SIDE))
    patches = [pixels[y : y + SIDE, x : x + SIDE] for y, x in corners]
    return [patch for patch in patches if patch.std() > TISSUE_STD]


def rates(run: Callable[[int], object], batches: tuple[int, ...] = BATCHES) -> dict[str, float]:
    """Patches a second by batch, from the median round; the first, which loads the net, is not counted."""
    found = {}
    for batch in batches:
        run(batch)
        times = []
        for _ in range(ROUNDS[batch]):
            start = time.perf_counter()
            run(batch)
            times.append(time.perf_counter() - start)
        found[str(batch)] = round(batch / statistics.median(times), 2)
    return found


class Bench:
    """The patches, and what ONNX makes of them."""

    def __init__(self) -> None:
        self.patches = tissue()
        spec = RungSpec(Rung.X4, Codec.AVIF, 4, QUALITY)
        self.lows = [degraded(patch, spec) for patch in self.patches]
        self.restorer = OnnxRestorer.of(weights_named(FIE), THREADS)
        self.judge = OnnxSegmenter.of(weights_named(JUDGE), THREADS)
        self.restored = self.restorer.restore(self.lows)
        self.masks = self.judge.masks(self.patches, MPP)
        self.dice = self.scores(self.restored)

    def scores(self, restored: list[Pixels]) -> list[float]:
        """Dice by the canonical judge, as a package would record it."""
        found = self.judge.masks(restored, MPP)
        return [dice(a, b) for a, b in zip(self.masks, found, strict=True)]

    def speed(self, restorer: Restorer, judge: Segmenter | None, batches: tuple[int, ...]) -> dict[str, Any]:
        """Whole calls: bicubic, copies to the device and back, rounding."""

        def of(images: list[Pixels], count: int) -> list[Pixels]:
            return [images[index % len(images)] for index in range(count)]

        result = {"restorer": rates(lambda n: restorer.restore(of(self.lows, n)), batches)}
        if judge is not None:
            result["judge"] = rates(lambda n: judge.masks(of(self.patches, n), MPP), batches)
        return result

    def restorer_parity(self, restorer: Restorer) -> dict[str, Any]:
        """In grey levels over all patches, in one batch; and how far the recorded Dice would move."""
        found = restorer.restore(self.lows)
        errors = [np.abs(a.astype(np.int16) - b) for a, b in zip(self.restored, found, strict=True)]
        moved = [abs(a - b) for a, b in zip(self.dice, self.scores(found), strict=True)]
        return {
            "n": len(errors),
            "max_difference": max(int(error.max()) for error in errors),
            "mean_difference": round(statistics.mean(float(error.mean()) for error in errors), 5),
            "greatest_mean_of_a_patch": round(max(float(error.mean()) for error in errors), 5),
            "dice_moves_at_most": round(max(moved), 6),
        }

    def judge_parity(self, judge: Segmenter) -> dict[str, Any]:
        """Of the masks of the originals, in one batch."""
        found = judge.masks(self.patches, MPP)
        return {
            "n": len(found),
            "pixels_that_differ": sum(int((a != b).sum()) for a, b in zip(self.masks, found, strict=True)),
            "of_pixels": sum(mask.size for mask in found),
            "least_dice": round(min(dice(a, b) for a, b in zip(self.masks, found, strict=True)), 6),
        }


def torch_sections(bench: Bench) -> dict[str, Any]:
    """By device and precision: what passed the gate, its parity and its speed."""
    from adaslide_models.runtime.device import Device, Precision, choose
    from adaslide_models.runtime.gate import open_restorer, open_segmenter

    def section(device: Device) -> dict[str, Any]:
        restorer = open_restorer(weights_named(FIE), device)
        judge = open_segmenter(weights_named(JUDGE), device)
        return {
            "restorer_runs": str(restorer.model.device),
            "judge_runs": str(judge.model.device),
            "parity": {"restorer": bench.restorer_parity(restorer), "judge": bench.judge_parity(judge)},
            "patches_per_second_by_batch": bench.speed(restorer, judge, BATCHES),
        }

    def bfloat16_on_the_cpu() -> dict[str, Any]:
        restorer = open_restorer(weights_named(FIE), Device("cpu", Precision.BF16))
        return {
            "restorer_runs": str(restorer.model.device),
            "parity": {"restorer": bench.restorer_parity(restorer)},
            "patches_per_second_by_batch": bench.speed(restorer, None, BATCHES),
        }

    found: dict[str, Any] = {
        "torch_cpu_fp32": section(Device("cpu")),
        "torch_cpu_bf16": bfloat16_on_the_cpu(),
    }
    try:
        cuda = choose("cuda")
    except Unavailable:
        return found | {"torch_cuda": "not run: no CUDA device"}
    try:
        return found | {"torch_cuda": section(cuda)}
    except ModelError as error:
        return found | {"torch_cuda": f"refused: {error}"}


def note(load: float) -> str:
    """What ``load``, the machine's before the run, means for the rates."""
    busy = (
        "the machine was busy, so that rates compare within this run only" if load > 0.5 else "idle machine"
    )
    return f"{busy} (load {load:.1f} before it, {len(os.sched_getaffinity(0))} cores)"


def main() -> None:
    try:
        torch = version("torch")
    except PackageNotFoundError:
        sys.stdout.write("not run: torch is not installed (pip install 'adaslide[gpu]')\n")
        return
    os.environ["OMP_NUM_THREADS"] = str(THREADS)  # torch reads it when it is imported
    before = note(os.getloadavg()[0])
    bench = Bench()
    result = {
        "note": before,
        "torch": torch,
        "onnxruntime": version("onnxruntime"),
        "threads": THREADS,
        "weights": {name: weights_named(name).digest.hex() for name in (FIE, JUDGE)},
        "patches": f"the {len(bench.patches)} of {SIDE} px with tissue of the sample slide; AVIF q{QUALITY}",
        "onnx_cpu": {"patches_per_second_by_batch": bench.speed(bench.restorer, bench.judge, (1, 8))},
        **torch_sections(bench),
    }
    results_file.write("torch_runtime", result)


if __name__ == "__main__":
    main()
