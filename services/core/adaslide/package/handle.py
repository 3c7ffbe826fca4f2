"""A package in the hands of a Python user: plain Zarr arrays under their own names."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from adaslide.domain.errors import NotFound, PackageError
from adaslide.package.layout import ROOT_KEY, package_attributes
from adaslide.package.records import Map


class Maps(Mapping[str, Map]):
    """The (rows, cols) arrays of one group by name, each read when first asked for."""

    def __init__(self, group: zarr.Group) -> None:
        self._group = group
        self._read: dict[str, Map] = {}

    def __getitem__(self, name: str) -> Map:
        if name not in self._read:
            array = self._group[name]
            if not isinstance(array, zarr.Array):
                raise KeyError(name)
            try:
                self._read[name] = np.asarray(array[...])
            except Exception as error:  # Zarr has no base class for what damaged bytes may raise.
                raise PackageError(f"map {name}: cannot be decoded") from error
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._group.array_keys()))

    def __len__(self) -> int:
        return len(list(self._group.array_keys()))


class Package:
    """``package[0][:, y0:y1, x0:x1]`` are restored pixels, (3, h, w) uint8; ``package[1]`` .. the overviews.

    Made by `open_package`. Arrays are zarr-python's: what they raise for damaged bytes is `PackageError`
    from the payload's codec and `ValueError` from Zarr's own checksum.
    """

    def __init__(self, group: zarr.Group, attributes: Mapping[str, Any]) -> None:
        self.group = group
        self.attributes = attributes
        """The root's ``adaslide`` block: profile, source digest, totals, ..."""

    def __getitem__(self, level: int) -> zarr.Array[Any]:
        if not 0 <= level < len(self):
            raise IndexError(f"there are levels 0 to {len(self) - 1}, not {level}")
        return cast("zarr.Array[Any]", self.group[str(level)])

    def __len__(self) -> int:
        """How many levels there are: level 0 and its overviews."""
        return sum(name.isdigit() for name in self.group.array_keys())

    @property
    def mpp(self) -> float:
        """Micrometres per pixel of level 0."""
        return float(self.attributes["mpp"])

    @cached_property
    def decision(self) -> Maps:
        """``decision["rung"]``, ``["p_compress"]``, ``["flags"]``, ..."""
        return Maps(cast("zarr.Group", self.group["decision"]))

    @cached_property
    def quality(self) -> Maps:
        """``quality["dice"]``, ``["ssim"]``, ..., measured when the slide was compressed."""
        return Maps(cast("zarr.Group", self.group["quality"]))

    @property
    def rung(self) -> npt.NDArray[np.uint8]:
        """(rows, cols) ids of `adaslide.domain.rung.Rung`."""
        return self.decision["rung"]


def open_package(path: Path) -> Package:
    """The package folder at ``path``. Raises `NotFound`, `PackageError`."""
    try:
        root = (path / ROOT_KEY).read_bytes()
    except OSError:
        raise NotFound("there is no package in that folder") from None
    attributes = package_attributes(root)
    return Package(zarr.open_group(path, mode="r"), attributes)
