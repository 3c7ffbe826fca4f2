"""Where the library's parts meet: the one place, beside `codec_runtime`, that names concrete adapters."""

import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from glob import escape as _glob_escape
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from adaslide.adapters.agents.bisection import BisectionAgent
from adaslide.adapters.child import exit_with_parent
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.rungs.exact import ExactRung
from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.adapters.slides.openslide import ChildSlideReader, ReaderLimits
from adaslide.codec_runtime import rung_codecs
from adaslide.domain.errors import Conflict
from adaslide.domain.profile import profile_named
from adaslide.package.reader import PackageReader
from adaslide.pipeline.check_patch import PatchChecker
from adaslide.pipeline.compress_shard import compress_shard
from adaslide.pipeline.encode_patch import PatchEncoder
from adaslide.pipeline.finalize import finalize
from adaslide.pipeline.plan import CompressionPlan, plan
from adaslide.pipeline.verify import VerifyReport, verify
from adaslide.ports.objects import ObjectStore
from adaslide.ports.slides import SlideReader


def open_slide(path: Path, limits: ReaderLimits | None = None) -> SlideReader:
    """The slide at ``path``, read in a child process within ``limits``."""
    return ChildSlideReader(path, limits or ReaderLimits())


def folder_store(root: Path) -> ObjectStore:
    """The objects below ``root``, made when the first is put."""
    return FilesystemStore(root)


def patch_encoder(plan: CompressionPlan) -> PatchEncoder:
    """What encodes the patches of ``plan``. Picklable."""
    return PatchEncoder(
        profile=plan.profile,
        patch=plan.patch,
        mpp=plan.mpp,
        fill=plan.fill,
        codecs=rung_codecs(),
        exact=ExactRung(),
        judge=OtsuSegmenter(),
        agent=BisectionAgent(),
    )


def patch_checker(patch: int, mpp: float, fill: int) -> PatchChecker:
    """What decodes and remeasures patches of that size, scale (micrometres per pixel) and fill. Picklable."""
    return PatchChecker(patch, mpp, fill, rung_codecs(), ExactRung(), OtsuSegmenter())


@contextmanager
def patch_executor(workers: int | None = None) -> Iterator[Executor]:
    """A pool of ``workers`` processes, as many as the process may use cores unless given.

    They are started afresh, never forked from a process with threads, and end with their parent.
    """
    count = workers or len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(),)
    ) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(parent: int) -> None:
    exit_with_parent(parent)


def peak_rss_bytes() -> int:
    """The greatest resident size so far of this process, and of its greatest ended child."""
    own, children = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return 1024 * max(own, children)


def compress(
    slide: Path,
    out: Path,
    *,
    profile: str = "archive",
    lambda_: float | None = None,
    dice_floor: float | None = None,
    mpp: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Compresses ``slide`` into the package folder ``out`` and returns its totals.

    ``out`` appears whole or not at all. ``progress`` is told (patches done, patches in all). Raises
    `Conflict` when ``out`` exists, and what `plan`, `compress_shard` and `finalize` raise.
    """
    policy = profile_named(profile).with_floors(dice=dice_floor).with_lambda(lambda_)
    if out.exists():
        raise Conflict("the package to be written exists already")
    remove_dead_partials(out)
    partial = _partial(out, os.getpid())
    started = time.monotonic()
    try:
        with open_slide(slide) as reader, patch_executor(workers) as executor:
            package, scratch = folder_store(partial / "package"), folder_store(partial / "scratch")
            work = plan(reader, policy, mpp)
            encoder, grid, done = patch_encoder(work), work.grid, 0

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
                scratch,
                patch_checker(work.patch, work.mpp, work.fill),
                executor,
                seconds=time.monotonic() - started,
                peak_rss_bytes=peak_rss_bytes(),
            )
        (partial / "package").rename(out)
        return totals
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(out: Path, pid: int) -> Path:
    return out.parent / f".{out.name}.{pid}.partial"


def remove_dead_partials(out: Path) -> None:
    """Removes what processes that were killed while writing ``out`` left beside it."""
    for left in out.parent.glob(_glob_escape(f".{out.name}.") + "*.partial"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def open_package(path: Path) -> PackageReader:
    """The package folder at ``path``. Raises `NotFound`, `PackageError`."""
    return PackageReader(folder_store(path))


def verify_package(path: Path, slide: Path | None = None, workers: int | None = None) -> VerifyReport:
    """Verifies the package folder at ``path``, against its ``slide`` if given."""
    package = open_package(path)
    info = package.info
    checker = patch_checker(info.patch, info.mpp, info.fill)
    with patch_executor(workers) as executor:
        if slide is None:
            return verify(folder_store(path), package, checker, executor)
        with open_slide(slide) as reader:
            return verify(folder_store(path), package, checker, executor, reader)
