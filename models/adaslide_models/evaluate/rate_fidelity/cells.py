"""What the contest is held on: patches cut from images, side by side in one slide of their own.

One slide, because a package of a single patch would be mostly index; and a slide, because ours must be
what users get: compressed, read back and verified by the code that serves.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from adaslide.domain.errors import InputError
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.pixels import Pixels
from adaslide_models.data.sources import PICTURES, Source, read_split
from adaslide_models.evaluate.fie import PATCH, patches

GLASS = 255
SCALE_TOLERANCE = 0.1
"""Images whose recorded scale differs by more than this share from the contest's are refused."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One patch, (`PATCH`, `PATCH`, 3). ``image`` names what it was cut from: patches of one image are not
    independent. Smaller images are mirrored up to a patch, for every contestant alike."""

    image: str
    dataset: str
    pixels: Pixels


def sources_of(data: Path, split: Path | None) -> list[Source]:
    """The images of ``split``, or every picture below ``data``. Raises `InputError` for none."""
    if split is not None:
        return read_split(data, split)
    found = (path for path in data.rglob("*") if path.suffix.lower() in PICTURES)
    names = sorted(path.relative_to(data).as_posix() for path in found)
    if not names:
        raise InputError("there is no picture in that folder")
    return [Source(data, name) for name in names]


def cells_of(sources: list[Source], mpp: float) -> list[Cell]:
    """The whole patches of all images that are not glass. Raises `InputError` for none, and for an image
    that records another scale than ``mpp`` (micrometres per pixel)."""
    cells = []
    for source in sources:
        for patch, own in patches(source, mpp):
            if abs(own / mpp - 1) > SCALE_TOLERANCE:
                raise InputError(f"{source.name} records {own:.3f} micrometres per pixel, not {mpp}")
            missing = [(0, PATCH - side) for side in patch.shape[:2]]
            cells.append(Cell(source.name, source.dataset, np.pad(patch, (*missing, (0, 0)), "symmetric")))
    if not cells:
        raise InputError("the images hold no patch that is not glass")
    return cells


def columns(count: int) -> int:
    """Patches in a row of the slide of ``count`` patches."""
    return math.ceil(math.sqrt(count))


def place(number: int, count: int) -> PatchIndex:
    """Where the slide of ``count`` patches holds patch ``number``."""
    return PatchIndex(*divmod(number, columns(count)))


def write_slide(cells: list[Cell], path: Path) -> None:
    """The cells as one lossless tiled TIFF, row by row; what is left of the last row is glass."""
    width = columns(len(cells))
    pixels = np.full((math.ceil(len(cells) / width) * PATCH, width * PATCH, 3), GLASS, np.uint8)
    for number, cell in enumerate(cells):
        row, column = divmod(number, width)
        pixels[row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = cell.pixels
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256), compression="zlib")
