"""Which patches does the guard bar: haematoxylin and eosin, the same out of focus, and what is neither?

    python benchmarks/bench_guard.py DATA

DATA is the folder of the development data; without it nothing is run. Of every image the first 512 px.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image
from scipy.ndimage import gaussian_filter

import results_file
from adaslide.domain.pixels import Pixels
from adaslide.domain.policy import Policy
from adaslide.pipeline.glass import DEFAULT_GLASS
from adaslide.pipeline.guard import Guard

STAINED = {
    "brca_m2c": ("nuclei/brca_m2c/images/*", 0.5),
    "ocdc": ("sr/ocdc/images/*", 0.5),
    "osteosarcoma": ("sr/osteosarcoma/*/*", 1.0),
    "camelyon16": ("sr/camelyon16/*", 0.24),
    "tnbc": ("nuclei/tnbc/images/*", 0.2),
    "nucls": ("nuclei/nucls/images/*", 0.2),
    "crc_val_he": ("classification/crc_val_he/*/*", 0.5),
    "brecahad": ("sr/brecahad/*", 0.15),
    "breakhis400": ("sr/breakhis400/*/*", 0.1),
}
"""Where the images of haematoxylin and eosin lie, and their micrometres per pixel."""
PURPLE = "nuclei/dsb2018/images/*_purple*"
FOREIGN = (
    *("ihc.png", "retina.jpg", "coffee.png", "astronaut.png", "chelsea.png"),
    *("page.png", "text.png", "brick.png", "hubble_deep_field.jpg", "cell.png"),
)
"""Of scikit-image."""
BLUR_UM, BLURRED = 1.25, 20
SIDE = 512


def images(paths: list[Path]) -> list[Pixels]:
    pictures = [path for path in paths if path.suffix.lower() in (".png", ".jpg", ".jpeg")]
    return [np.asarray(Image.open(path).convert("RGB"))[:SIDE, :SIDE] for path in sorted(pictures)]


def barred(found: list[Pixels], mpp: float) -> dict[str, int]:
    guard = Guard(Policy(), mpp, DEFAULT_GLASS)
    flags = Counter(guard.barred(pixels).name or "NONE" for pixels in found)
    return {"n": len(found), "barred": len(found) - flags["NONE"], **dict(sorted(flags.items()))}


def blurred(pixels: Pixels, mpp: float) -> Pixels:
    sigma = BLUR_UM / mpp
    soft: Pixels = np.rint(gaussian_filter(pixels.astype(float), (sigma, sigma, 0))).astype(np.uint8)
    return soft


def main() -> None:
    if len(sys.argv) < 2:
        sys.stdout.write("not run: name the folder of the development data\n")
        return
    data = Path(sys.argv[1])
    result: dict[str, Any] = {"stained": {}, "out_of_focus": {}}
    for name, (pattern, mpp) in STAINED.items():
        found = images(list(data.glob(pattern)))
        result["stained"][name] = barred(found, mpp)
        result["out_of_focus"][name] = barred([blurred(one, mpp) for one in found[:BLURRED]], mpp)
    result["purple_single_stain"] = barred(images(list(data.glob(PURPLE))), 0.5)
    result["foreign"] = barred(
        images([Path(skimage.__file__).parent / "data" / name for name in FOREIGN]), 0.5
    )
    results_file.write("guard", {"blur_um": BLUR_UM, **result})


if __name__ == "__main__":
    main()
