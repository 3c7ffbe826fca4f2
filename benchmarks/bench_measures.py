"""The measures of a candidate against scikit-image's, in one run: how much faster, how far off.

    python benchmarks/bench_measures.py

Patches of the sample against what AVIF gives back of them. Start it with OPENBLAS_NUM_THREADS=1: so are the
processes that encode. What the original needs once is not counted, here or there.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from skimage.color import rgb2lab
from skimage.filters import threshold_otsu
from skimage.metrics import structural_similarity

import results_file
from adaslide import wiring
from adaslide.adapters.rungs.image_codec import decode_coded, encode_image
from adaslide.domain.geometry import Region
from adaslide.domain.otsu import otsu_threshold
from adaslide.domain.pixels import LUMA, Pixels
from adaslide.domain.rung import Codec, Rung, RungSpec
from adaslide.pipeline.colour import cube_roots, mean_difference
from adaslide.pipeline.ssim import Structure

SIDE, WINDOW, PATCHES, ROUNDS = 512, 7, 12, 7
CODED = RungSpec(Rung.FINE, Codec.AVIF, 1, 25, speed=8)

Measure = Callable[[], float]


def pairs() -> Iterator[tuple[Pixels, Pixels]]:
    """(512, 512, 3) originals and what their payload gives back."""
    with wiring.open_slide(results_file.SAMPLE) as reader:
        columns, rows = reader.facts.size.width // SIDE, reader.facts.size.height // SIDE
        places = [(x * SIDE, y * SIDE) for y in range(rows) for x in range(columns)]
        for x, y in places[:: max(1, len(places) // PATCHES)][:PATCHES]:
            original = reader.read(Region(x, y, SIDE, SIDE))
            yield original, decode_coded(Codec.AVIF, encode_image(original, CODED))


def ways(original: Pixels, restored: Pixels) -> dict[str, tuple[Measure, Measure]]:
    """Ours and the library's, by measure."""
    structure, roots = Structure(original, WINDOW), cube_roots(original)
    luma, lab = original @ LUMA, rgb2lab(original.astype(np.float32) / 255)

    def ssim() -> float:
        return float(structural_similarity(luma, restored @ LUMA, win_size=WINDOW, data_range=255.0))

    def colour() -> float:
        other = rgb2lab(restored.astype(np.float32) / 255)
        return float(np.sqrt(np.square(other - lab).sum(axis=-1)).mean())

    return {
        "ssim": (lambda: structure.similarity(restored), ssim),
        "delta_e": (lambda: mean_difference(roots, restored), colour),
        "otsu": (lambda: otsu_threshold(luma), lambda: float(threshold_otsu(luma))),
    }


def timed(measure: Measure) -> tuple[float, float]:
    """Its value, and the least processor time of some rounds, s."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        value = measure()
        times.append(time.process_time() - start)
    return value, min(times)


def main() -> None:
    found: dict[str, list[tuple[float, float, float]]] = {}
    for original, restored in pairs():
        for name, both in ways(original, restored).items():
            (ours, our_time), (theirs, their_time) = map(timed, both)
            found.setdefault(name, []).append((abs(ours - theirs), our_time, their_time))
    result: dict[str, Any] = {"patches": len(found["ssim"])}
    for name, rows in found.items():
        off, ours_s, theirs_s = np.array(rows).T
        result[name] = {
            "most_off": float(f"{off.max():.1e}"),
            "ms": round(1000 * float(np.median(ours_s)), 2),
            "library_ms": round(1000 * float(np.median(theirs_s)), 2),
            "time_x": round(float(np.median(ours_s / theirs_s)), 3),
        }
    results_file.write("measures", result)


if __name__ == "__main__":
    main()
