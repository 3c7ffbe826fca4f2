"""Golden tiles: what a runtime must give before its output may stand for what was measured.

Beside the weights ``golden/NAME@DIGEST/`` holds inputs and what the canonical runtime (ONNX Runtime, fp32,
CPU) made of them, as PNG, listed in ``tiles.toml``::

    sha256 = "..."             # of the ONNX file
    runtime = "..."            # what made the expected files
    source = "..."             # of the inputs
    [[tile]]
    input = "0.png"
    expected = "0-expected.png"
    at = [128, 64]             # restorers: row and column of `expected` in the restored image
    mpp = 0.5                  # segmenters: micrometres per pixel of `input`

Other processors, other versions of ONNX Runtime, torch and graphics cards all round in their own way.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adaslide.adapters.inference.weights import Weights, pinned
from adaslide.adapters.restorers.onnx import OnnxRestorer
from adaslide.adapters.segmenters.unet import OnnxSegmenter
from adaslide.domain.errors import ModelError, RuntimeMismatch, WeightsMissing
from adaslide.domain.pixels import Mask, Pixels
from adaslide.ports.restorer import Restorer
from adaslide.ports.segmenter import Segmenter

FOLDER = "golden"
INDEX = "tiles.toml"
KINDS = ("restorer", "segmenter")
"""Of weights that make something to be measured or served: these have golden tiles."""

MAX_DIFFERENCE = 3
"""Grey levels, of any sample of a tile."""
MEAN_DIFFERENCE = 0.25
"""Grey levels, over a tile. The enhancer in bfloat16 gives 0.1, which moves a patch's Dice by less than 0.001
(benchmarks/results/torch_runtime.json); floors are held with a margin of 0.002 or more."""
DIFFERING_PIXELS = 1e-3
"""Share of a tile's pixels on which two masks may differ."""
DICE_LOSS = 5e-4
"""1 - Dice of the two masks of a tile, so that no Dice between two masks moves by more than 0.001. float32
elsewhere moves a pixel or two (1e-4); a judge in bfloat16 gives 8e-4 to 1e-3 on the released tiles."""


@dataclass(frozen=True, slots=True, eq=False)
class PixelTile:
    """(h, w, 3) ``low``, and the part of its restoration whose first pixel is at (row, column) ``at``."""

    low: Pixels
    expected: Pixels
    at: tuple[int, int] = (0, 0)

    def of(self, restored: Pixels) -> Pixels:
        """The part of ``restored`` that must look as expected."""
        (row, column), (height, width) = self.at, self.expected.shape[:2]
        return restored[row : row + height, column : column + width]


@dataclass(frozen=True, slots=True, eq=False)
class MaskTile:
    """The mask of ``image`` at ``mpp`` micrometres per pixel."""

    image: Pixels
    expected: Mask
    mpp: float


@dataclass(frozen=True, slots=True)
class PixelParity:
    """Grey levels, over ``tiles`` tiles: the greatest difference of a sample, the greatest mean of a tile."""

    tiles: int
    greatest: int
    mean: float

    def __str__(self) -> str:
        return f"off by {self.greatest} grey levels at most and {self.mean:.3f} on average"


@dataclass(frozen=True, slots=True)
class MaskParity:
    """Of ``tiles`` tiles, the worst each: the share of pixels that differ, and 1 - Dice."""

    tiles: int
    differing: float
    dice_loss: float

    def __str__(self) -> str:
        return f"{self.differing:.2%} of pixels differ, Dice {1 - self.dice_loss:.4f}"


def check_restorer(restorer: Restorer, tiles: Sequence[PixelTile]) -> PixelParity:
    """How near ``restorer`` comes to what is expected. Raises `RuntimeMismatch` when it is not near enough.

    All tiles go in as one batch.
    """
    restored = restorer.restore([tile.low for tile in tiles])
    errors = [_error(tile, image) for tile, image in zip(tiles, restored, strict=True)]
    if not errors:
        raise RuntimeMismatch("a restorer cannot be checked without golden tiles")
    parity = PixelParity(len(errors), max(int(e.max()) for e in errors), max(float(e.mean()) for e in errors))
    if parity.greatest > MAX_DIFFERENCE or parity.mean > MEAN_DIFFERENCE:
        raise RuntimeMismatch(f"restored golden tiles are {parity}")
    return parity


def _error(tile: PixelTile, restored: Pixels) -> Pixels:
    found = tile.of(restored)
    if found.shape != tile.expected.shape:
        raise RuntimeMismatch(f"a golden tile of {tile.low.shape} is restored to {restored.shape}")
    return np.maximum(found, tile.expected) - np.minimum(found, tile.expected)


def check_segmenter(segmenter: Segmenter, tiles: Sequence[MaskTile]) -> MaskParity:
    """How near ``segmenter`` comes to what is expected. Raises `RuntimeMismatch` when it is not near enough.

    Tiles of one scale go in as one batch.
    """
    differing, dice_loss = 0.0, 0.0
    for mpp in dict.fromkeys(tile.mpp for tile in tiles):
        batch = [tile for tile in tiles if tile.mpp == mpp]
        found = segmenter.masks([tile.image for tile in batch], mpp)
        for tile, mask in zip(batch, found, strict=True):
            if mask.shape != tile.expected.shape:
                raise RuntimeMismatch(f"the mask of a golden tile of {tile.image.shape} is {mask.shape}")
            wrong = np.count_nonzero(mask ^ tile.expected)
            total = np.count_nonzero(mask) + np.count_nonzero(tile.expected)
            differing = max(differing, wrong / mask.size)
            dice_loss = max(dice_loss, wrong / total if total else 0.0)
    if not tiles:
        raise RuntimeMismatch("a judge cannot be checked without golden tiles")
    parity = MaskParity(len(tiles), differing, dice_loss)
    if differing > DIFFERING_PIXELS or dice_loss > DICE_LOSS:
        raise RuntimeMismatch(f"masks of golden tiles are not as expected: {parity}")
    return parity


def check_canonical(weights: Weights) -> PixelParity | MaskParity:
    """What ONNX Runtime on this machine makes of the golden tiles of ``weights``.

    Raises `RuntimeMismatch`, and `ModelError` for weights that cannot be checked.
    """
    if weights.kind == "restorer":
        return check_restorer(OnnxRestorer.of(weights), pixel_tiles(weights))
    return check_segmenter(OnnxSegmenter.of(weights), mask_tiles(weights))


def folder_of(weights: Weights) -> Path:
    """Where the golden tiles of ``weights`` are: another training has others."""
    return weights.path.parent / FOLDER / pinned(weights)


def pixel_tiles(weights: Weights) -> list[PixelTile]:
    """Of a restorer. Raises `WeightsMissing` when it came without, `ModelError` when they cannot be used."""
    return [
        PixelTile(
            _pixels(folder / row["input"]), _pixels(folder / row["expected"]), (row["at"][0], row["at"][1])
        )
        for folder, row in _rows(weights, {"input", "expected", "at"})
    ]


def mask_tiles(weights: Weights) -> list[MaskTile]:
    """Of a segmenter; raises as `pixel_tiles`."""
    return [
        MaskTile(_pixels(folder / row["input"]), _pixels(folder / row["expected"])[..., 0] > 0, row["mpp"])
        for folder, row in _rows(weights, {"input", "expected", "mpp"})
    ]


def _rows(weights: Weights, keys: set[str]) -> list[tuple[Path, dict[str, Any]]]:
    folder = folder_of(weights)
    try:
        index = tomllib.loads((folder / INDEX).read_text())
        rows = [row for row in index["tile"] if keys <= row.keys()]
        whole = index["sha256"] == weights.digest.hex() and len(rows) == len(index["tile"])
    except OSError as error:
        raise WeightsMissing(f"the weights {weights.name} come without golden tiles") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the golden tiles of {weights.name} cannot be used: {error}") from error
    if not whole or not rows:
        raise ModelError(f"the golden tiles of {weights.name} are those of other weights")
    return [(folder, row) for row in rows]


def _pixels(path: Path) -> Pixels:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ModelError(f"the golden tile {path.name} cannot be read") from error


def save_tiles(weights: Weights, tiles: Sequence[PixelTile | MaskTile], *, runtime: str, source: str) -> Path:
    """Writes ``tiles`` as those of ``weights``, in place of what was there, and gives their folder.

    ``runtime`` and ``source`` are kept for readers.
    """
    folder = folder_of(weights)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f'sha256 = "{weights.digest.hex()}"', f'runtime = "{runtime}"', f'source = "{source}"']
    seen: dict[bytes, str] = {}
    for index, tile in enumerate(tiles):
        given = tile.low if isinstance(tile, PixelTile) else tile.image
        # One image may be judged at several scales.
        name = seen.setdefault(given.tobytes(), f"{index}.png")
        Image.fromarray(given).save(folder / name, "PNG", optimize=True)
        Image.fromarray(tile.expected).save(folder / f"{index}-expected.png", "PNG", optimize=True)
        lines += ["", "[[tile]]", f'input = "{name}"', f'expected = "{index}-expected.png"']
        lines += [f"at = {list(tile.at)}" if isinstance(tile, PixelTile) else f"mpp = {tile.mpp}"]
    (folder / INDEX).write_text("\n".join(lines) + "\n")
    return folder
