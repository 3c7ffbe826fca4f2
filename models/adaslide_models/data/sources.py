"""Lists of images (splits), and the images they name.

A split is a tab-separated file; its first column is the path of an image below the data folder,
further columns (mask, label) belong to whoever asks for them.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from adaslide import wiring
from adaslide.domain.errors import InputError
from adaslide.domain.geometry import Region
from adaslide.domain.pixels import Pixels

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
"""What Pillow opens; anything else is a slide."""


@dataclass(frozen=True, slots=True)
class Source:
    """One image of a split. ``name`` is its path as the split writes it."""

    data: Path
    name: str

    @property
    def path(self) -> Path:
        return self.data / self.name

    @property
    def dataset(self) -> str:
        """The second folder of its name (brca_m2c in ``nuclei/brca_m2c/images/x.png``), or the only one."""
        folders = PurePosixPath(self.name).parts[:-1]
        return folders[min(1, len(folders) - 1)] if folders else "images"

    @property
    def is_slide(self) -> bool:
        return self.path.suffix.lower() not in PICTURES

    def read(self) -> tuple[Pixels, float | None]:
        """All (h, w, 3) pixels at full resolution, and micrometres per pixel where the file tells."""
        if not self.path.is_file():
            raise InputError(f"the split names {self.name}, which the data folder does not hold")
        if not self.is_slide:
            with Image.open(self.path) as image:
                return np.asarray(image.convert("RGB")), None
        with wiring.open_slide(self.path) as slide:
            size = slide.facts.size
            return slide.read(Region(0, 0, size.width, size.height)), slide.facts.mpp


def read_split(data: Path, split: Path) -> list[Source]:
    """The images of ``split`` in its order. Raises `InputError` for none."""
    if not split.is_file():
        raise InputError(f"there is no split {split.name}")
    names = (line.split("\t")[0].strip() for line in split.read_text().splitlines())
    sources = [Source(data, name) for name in names if name]
    if not sources:
        raise InputError(f"the split {split.name} names no image")
    return sources


def by_dataset(sources: list[Source]) -> Iterator[tuple[str, list[Source]]]:
    """The sources of each data set, data sets in alphabetical order."""
    for name in sorted({source.dataset for source in sources}):
        yield name, [source for source in sources if source.dataset == name]


def check_known(images: list[str], sources: list[Source], table: str) -> None:
    """Raises `InputError` when ``table`` holds images that no split named: they may be another split's."""
    if not set(images) <= {source.name for source in sources}:
        raise InputError(f"{table} holds images that the split does not name")


def list_digest(names: list[str]) -> str:
    """sha256 of a list of images, in whatever order: what a weight states of its training."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
