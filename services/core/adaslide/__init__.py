"""AdaSlide: whole-slide images kept several times smaller, every patch measured.

>>> import adaslide
>>> totals = adaslide.compress("slide.svs", "slide.zarr", profile="archive", dice_floor=0.85)
>>> package = adaslide.open("slide.zarr")
>>> package[0][:, 0:512, 0:512]  # restored pixels, (3, 512, 512) uint8
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adaslide.package.handle import Package

__all__ = ["compress", "open"]


def open(path: str | PathLike[str]) -> "Package":
    """The package folder at ``path``. Raises `NotFound`, `PackageError`."""
    from adaslide.package.handle import open_package

    return open_package(Path(path))


def compress(
    slide: str | PathLike[str],
    out: str | PathLike[str],
    *,
    profile: str = "archive",
    dice_floor: float | None = None,
    mpp: float | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Compresses ``slide`` into the package folder ``out``; see `adaslide.library.compress`."""
    from adaslide.library import compress as run

    return run(Path(slide), Path(out), profile=profile, dice_floor=dice_floor, mpp=mpp, **options)
