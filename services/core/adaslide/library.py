"""The library's use-cases on files: what the command line does, as functions."""

import json
import os
import shutil
import time
from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from adaslide import wiring
from adaslide.domain.errors import Conflict, InputError, NotFound, RegionOutOfRange
from adaslide.domain.geometry import Region
from adaslide.domain.profile import Profile, profile_named
from adaslide.package.layout import ROOT_KEY
from adaslide.package.reader import PackageReader
from adaslide.pipeline.compress_shard import compress_shard
from adaslide.pipeline.finalize import finalize
from adaslide.pipeline.maps import render_map
from adaslide.pipeline.plan import plan
from adaslide.pipeline.protected import canonical
from adaslide.pipeline.report import render_report
from adaslide.pipeline.verify import VerifyReport, verify

MAP_PATCH_PX = 16
"""Pixels along a patch's side in a drawn map."""


def compress(
    slide: Path,
    out: Path,
    *,
    profile: str | Profile = "archive",
    lambda_: float | None = None,
    target_ratio: float | None = None,
    dice_floor: float | None = None,
    mpp: float | None = None,
    protect: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Compresses ``slide`` into the package folder ``out`` and returns its totals.

    ``target_ratio`` is what the bytes of the source's tiles (of its file, where no tiles are known) are to be
    of the package's, within 3 %; it comes in the place of ``lambda_``. ``protect`` is a GeoJSON file of
    regions of which nothing may be restored, see `pipeline.protected`.

    ``out`` appears whole or not at all. ``progress`` is told (patches done, patches in all). Raises
    `Conflict` when ``out`` exists, `RatioOutOfReach` where the floors forbid the ratio, and what `plan`,
    `compress_shard` and `finalize` raise.
    """
    regions = None if protect is None else read_regions(protect)
    named = profile_named(profile) if isinstance(profile, str) else profile
    named.check_target(target_ratio, lambda_)
    policy = named.with_floors(dice=dice_floor).with_lambda(lambda_)
    if out.exists():
        raise Conflict("the package to be written exists already")
    if not out.absolute().parent.is_dir():
        raise NotFound("there is no folder to write the package into")
    remove_dead_partials(out)
    partial = _partial(out, os.getpid())
    started = time.monotonic()
    try:
        with wiring.open_slide(slide) as reader, wiring.patch_executor(workers) as executor:
            package, scratch = (
                wiring.folder_store(partial / "package"),
                wiring.folder_store(partial / "scratch"),
            )
            work = plan(reader, policy, mpp, regions, target_ratio)
            encoder, grid, done = wiring.patch_encoder(work), work.grid, 0

            def advance(patches: int) -> None:
                nonlocal done
                done += patches
                if progress:
                    progress(done, len(grid))

            for shard in grid.shards():
                compress_shard(work, shard, reader, encoder, executor, package, scratch, progress=advance)
            totals = finalize(
                work,
                package,
                lambda _: scratch,
                wiring.plan_checker(work),
                executor,
                weights=wiring.weights_in(policy),
                seconds=time.monotonic() - started,
                peak_rss_bytes=wiring.peak_rss_bytes(),
            )
        (partial / "package").rename(out)
        return totals
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_regions(path: Path) -> str:
    """The regions of a GeoJSON file, as `canonical` writes them. Raises `NotFound`, `InputError`."""
    try:
        geojson = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound("there is no file of protected regions") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a number of thousands of digits
        raise InputError("the protected regions are no JSON") from error
    return canonical(geojson)


def _partial(out: Path, pid: int) -> Path:
    return out.parent / f".{out.name}.{pid}.partial"


def remove_dead_partials(out: Path) -> None:
    """Removes what processes that were killed while writing ``out`` left beside it."""
    for left in out.parent.glob(escape(f".{out.name}.") + "*.partial"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def open_package(path: Path) -> PackageReader:
    """The package folder at ``path``. Raises `NotFound`, `PackageError`."""
    if not (path / ROOT_KEY).is_file():
        raise NotFound("there is no package here, or it was never finished")
    return PackageReader(wiring.folder_store(path))


def verify_package(path: Path, slide: Path | None = None, workers: int | None = None) -> VerifyReport:
    """Verifies the package folder at ``path``, against its ``slide`` if given."""
    package = open_package(path)
    checker = wiring.package_checker(package)
    with wiring.patch_executor(workers) as executor:
        if slide is None:
            return verify(wiring.folder_store(path), package, checker, executor)
        with wiring.open_slide(slide) as reader:
            return verify(wiring.folder_store(path), package, checker, executor, reader)


def restore(
    path: Path, out: Path, *, region: Region | None = None, level: int = 0, original: bool = False
) -> dict[str, Any]:
    """Writes restored pixels, or with ``original`` the source's own tiles, to ``out``; see `Exporter.export`.

    ``region`` is in pixels of the slide shrunk by 2 ** ``level``.
    """
    if level < 0:
        raise RegionOutOfRange("levels count from 0, the full resolution")
    exporter = wiring.exporter(open_package(path))
    return exporter.export(out, region=region, downsample=2**level, original=original)


def draw_map(path: Path, layer: str, out: Path) -> None:
    """Writes the package's map ``layer`` as a PNG, `MAP_PATCH_PX` pixels a patch."""
    rgba = render_map(open_package(path).maps, layer, MAP_PATCH_PX)
    Image.fromarray(rgba).save(out, "PNG")


def write_report(
    path: Path,
    out: Path,
    slide: Path | None = None,
    *,
    formats: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes the page about the package; with ``slide``, patches before and after, and, where ``formats``
    is True, other formats on the same patches, which takes about as long as compressing did: ``progress`` is
    told (patches done, patches in all)."""
    package = open_package(path)
    restoration = wiring.restoration(package)
    if slide is None:
        page = render_report(package, restoration)
    else:
        with wiring.open_slide(slide) as reader:
            others = wiring.baselines(package) if formats else {}
            page = render_report(package, restoration, reader, others, progress)
    out.write_text(page, encoding="utf-8")
