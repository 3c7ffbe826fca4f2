"""Images with nuclei drawn or pointed at: reading splits, scales, patients, and what must not be scored.

A split is a text file: image, label and kind a line, tab-separated, paths relative to the data folder.
Kinds: ``binary`` (mask, nuclei not 0), ``instance`` (label map, 0 is background), ``points`` (text, a line
"Y X class" a nucleus), and ``none``, where a teacher alone knows. The folder above an image's own names its
source.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_dilation, distance_transform_edt, label

from adaslide.domain.pixels import Mask, Pixels

MPP = {
    "tnbc": 0.2,
    "nucls": 0.2,
    "brca_m2c": 0.5,
    "ocdc": 0.5,
    "osteosarcoma": 1.0,
    "brecahad": 0.15,
    "breakhis400": 0.1,
}
"""Micrometres per pixel by source, as the data's README gives it."""
NUCLEUS_UM2 = 25.0
"""Median area of a nucleus in `tnbc` and `nucls`: how a source without a recorded scale is brought to one."""
ESTIMATED_MPP = (0.1, 0.5)
"""Scales estimated from nuclei are kept inside these."""

TNBC_LAST_IMAGES = (7, 10, 15, 23, 27, 30, 33, 37, 43, 47, 50)
"""The last image of each of the 11 patients of the TNBC data set, whose 50 images are numbered in the order
of patients (7 of the first, then 3, 5, 8, 4, 3, 3, 4, 6, 4 and 3)."""

POINT_CORE_UM = 1.25
"""Within this distance of a point is nucleus, micrometres."""
POINT_CLEAR_UM = 9.0
"""Beyond this distance of every point is none; in between nobody said, and nothing is learned."""

FILL_SPREAD = 3
"""Grey levels by which JPEG lets a flat fill vary."""
FILL_SHARE = 0.001
"""A fill smaller than this share of the image is a chance patch of equal pixels."""
BLACK = 8
"""No tissue is darker than this in every channel: such a corner is a fill, flat or not."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a split. Paths are relative to the data folder, with slashes."""

    image: str
    label: str
    kind: str

    @property
    def source(self) -> str:
        """The data set, and for `dsb2018` the look that ends the name: ``dsb2018_purple``."""
        path = Path(self.image)
        if self.kind == "none":
            return path.parts[1]
        folder = path.parts[-3] if len(path.parts) > 2 else path.parts[0]
        return f"{folder}_{path.stem.rpartition('_')[2]}" if folder == "dsb2018" else folder

    @property
    def patient(self) -> str:
        """Whose tissue it is as far as the name tells, with the source; else the image's own name.

        TCGA barcodes name the patient with their first three fields. Names of `nucls` tell nothing.
        """
        stem = Path(self.image).stem
        if barcode := re.match(r"TCGA-\w{2}-\w{4}", stem):
            return barcode[0]
        if self.source == "tnbc":
            number = int(stem.rpartition("_")[2]) - 1000
            return f"tnbc patient {1 + sum(number > last for last in TNBC_LAST_IMAGES)}"
        return f"{self.source} {stem}"


@dataclass(frozen=True)
class Labelled:
    """An image and what is known of it, all (h, w).

    ``counted`` is True where the label is to be believed: not in the fill around a rotated image, and with
    points neither near nor far from one.
    """

    entry: Entry
    image: Pixels
    nuclei: Mask
    counted: Mask
    mpp: float

    @cached_property
    def share(self) -> float:
        """Of the counted pixels, how many are nuclei."""
        return float(self.nuclei[self.counted].mean())


def read_split(split: Path) -> list[Entry]:
    """The lines of a split file."""
    return [Entry(*line.split("\t")) for line in split.read_text().splitlines() if line.strip()]


def read_unlabelled(split: Path) -> list[Entry]:
    """The images of a list, one a line, as entries without labels."""
    return [Entry(line.split("\t")[0], "", "none") for line in split.read_text().splitlines() if line.strip()]


def fill(image: Pixels) -> Mask:
    """Where a rotated or warped image was filled with one colour: flat areas that hold a corner.

    A corner of bare glass is left alone: the scanner's noise makes it far less flat.
    """
    found = np.zeros(image.shape[:2], bool)
    for row, col in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        near = (np.abs(image.astype(np.int16) - image[row, col]) <= FILL_SPREAD).all(axis=2)
        regions, _ = label(near)
        area = regions == regions[row, col]
        black = int(image[row, col].max()) < BLACK
        if area.mean() >= FILL_SHARE and (black or _is_flat(image, area)):
            found |= area
    return binary_dilation(found, iterations=4) if found.any() else found


def _is_flat(image: Pixels, area: Mask) -> bool:
    """Whether most neighbours in ``area`` are equal, as in an encoded fill and never on a sensor."""
    inner = area[:, 1:] & area[:, :-1]
    equal = (image[:, 1:] == image[:, :-1]).all(axis=2)
    return bool(equal[inner].mean() > 0.9)


def estimated_mpp(instances: npt.NDArray[np.integer]) -> float:
    """The scale at which the median nucleus of a label map has the usual area."""
    areas = np.bincount(instances.ravel())[1:]
    areas = areas[areas > 0]
    low, high = ESTIMATED_MPP
    return float(np.clip(np.sqrt(NUCLEUS_UM2 / np.median(areas)), low, high)) if areas.size else high


def _points(path: Path, shape: tuple[int, int], mpp: float) -> tuple[Mask, Mask]:
    """(nuclei, counted) of a text of points."""
    free = np.ones(shape, bool)
    for line in path.read_text().splitlines():
        row, col = (round(float(number)) for number in line.split()[:2])
        free[min(row, shape[0] - 1), min(col, shape[1] - 1)] = False
    distance = distance_transform_edt(free) * mpp if not free.all() else np.full(shape, np.inf)
    nuclei = distance <= POINT_CORE_UM
    return nuclei, nuclei | (distance > POINT_CLEAR_UM)


def load(data: Path, entry: Entry) -> Labelled:
    """Reads an entry. Raises `ValueError` for a kind it does not know or a scale nobody gave."""
    image = np.asarray(Image.open(data / entry.image).convert("RGB"))
    folder = entry.source.partition("_")[0] if entry.source.startswith("dsb2018") else entry.source
    mpp = MPP.get(folder)
    if entry.kind == "points":
        if mpp is None:
            raise ValueError(f"points need a known scale, and {entry.source} has none")
        return Labelled(entry, image, *_points(data / entry.label, image.shape[:2], mpp), mpp)
    if entry.kind == "none" and mpp is not None:
        nothing = np.zeros(image.shape[:2], bool)
        return Labelled(entry, image, nothing, nothing, mpp)
    labels = np.asarray(Image.open(data / entry.label))
    if entry.kind == "instance":
        mpp = mpp or estimated_mpp(labels)
    elif entry.kind != "binary":
        raise ValueError(f"unknown kind of label {entry.kind!r}")
    if mpp is None:
        raise ValueError(f"nobody gave the scale of {entry.source}")
    return Labelled(entry, image, labels > 0, ~fill(image), mpp)


def folds(entries: list[Entry], count: int) -> list[list[Entry]]:
    """``entries`` in ``count`` parts of about equal size by source, no patient in two of them.

    The same for the same entries in any order.
    """
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.image):
        groups.setdefault((entry.source, entry.patient), []).append(entry)
    parts: list[list[Entry]] = [[] for _ in range(count)]
    for (source, _), group in sorted(
        groups.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1])
    ):
        # The part that holds fewest of this source, then fewest of all.
        smallest = min(parts, key=lambda part: (sum(e.source == source for e in part), len(part)))
        smallest.extend(group)
    return parts
