"""Makes the golden tiles of installed weights (`adaslide.adapters.inference.golden`), with ONNX Runtime.

    python -m adaslide_models.make_golden_tiles [NAME ...] [--slide SLIDE]

Once for every new training, on a processor that the canonical runtime is trusted on. Without a name: of all
restorers and segmenters. torch is not needed.
"""

import argparse
import sys
from pathlib import Path

import onnxruntime

from adaslide import wiring
from adaslide.adapters.inference.golden import (
    KINDS,
    MaskTile,
    PixelTile,
    check_canonical,
    save_tiles,
)
from adaslide.adapters.inference.weights import Weights, released, weights_named
from adaslide.adapters.restorers.onnx import OnnxRestorer
from adaslide.adapters.rungs.restored import degraded
from adaslide.adapters.segmenters.unet import OnnxSegmenter
from adaslide.domain.geometry import Region
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Codec, RungSpec
from adaslide.ports.slides import SlideReader
from adaslide_models.data.patches import RUNGS

SAMPLE = Path(__file__).parents[2] / "samples" / "CMU-1-Small-Region.svs"

CROP = 128
"""Side of what is expected of a whole patch, px: a file of the whole would be half a megabyte."""
RESTORED = (
    (Region(960, 960, 512, 512), 45, (192, 192)),
    (Region(1200, 480, 512, 512), 75, (384, 0)),
    (Region(1100, 1500, 116, 148), 30, (0, 0)),
)
"""Place on the sample slide, AVIF quality, and where the crop is: epithelium as patches of the served size,
a corner among the crops (borders are padded), and a small one of odd sides."""
JUDGED = ((Region(1000, 1000, 208, 208), (0.25, 0.5, 1.0)),)
"""Place on the sample slide, and the scales to take it at: enlarging, as it stands, and shrinking."""


def restored_tiles(weights: Weights, slide: SlideReader) -> list[PixelTile]:
    """Stored low resolution of several qualities, and what ONNX makes of it."""
    restorer = OnnxRestorer.of(weights)
    rung = RUNGS[restorer.scale]
    tiles = []
    for place, quality, at in RESTORED:
        # As placed for x4. Of x2 half the region, so that the stored image is no larger.
        width, height, row, column = (
            int(number * restorer.scale // 4) for number in (place.width, place.height, *at)
        )
        region = Region(place.x, place.y, width, height)
        low = degraded(slide.read(region), RungSpec(rung, Codec.AVIF, restorer.scale, quality))
        (restored,) = restorer.restore([low])
        tiles.append(PixelTile(low, restored[row : row + CROP, column : column + CROP], (row, column)))
    return tiles


def judged_tiles(weights: Weights, slide: SlideReader) -> list[MaskTile]:
    """Tissue, and the masks that ONNX makes of it."""
    judge = OnnxSegmenter.of(weights)
    images: list[tuple[Pixels, float]] = [
        (slide.read(region), mpp) for region, scales in JUDGED for mpp in scales
    ]
    return [MaskTile(image, judge.masks([image], mpp)[0], mpp) for image, mpp in images]


def main(arguments: list[str]) -> None:
    """The command in the module's docstring."""
    parser = argparse.ArgumentParser(prog="make_golden_tiles", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--slide", type=Path, default=SAMPLE)
    options = parser.parse_args(arguments)
    chosen = [weights_named(name) for name in options.names] or [
        weights for weights in released() if weights.kind in KINDS
    ]
    runtime = f"ONNX Runtime {onnxruntime.__version__}, fp32, CPU"
    with wiring.open_slide(options.slide) as slide:
        for weights in chosen:
            tiles = (restored_tiles if weights.kind == "restorer" else judged_tiles)(weights, slide)
            folder = save_tiles(weights, tiles, runtime=runtime, source=options.slide.name)
            size = sum(path.stat().st_size for path in folder.iterdir())
            sys.stdout.write(f"{folder.name}: {size:,} bytes, {check_canonical(weights)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
