"""The heavy part of a job, bound to this machine: the slide's reader and the pool of processes."""

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from adaslide import wiring
from adaslide.domain.errors import Conflict, Unavailable
from adaslide.domain.geometry import ShardIndex
from adaslide.pipeline.compress_shard import compress_shard
from adaslide.pipeline.finalize import finalize
from adaslide.pipeline.plan import CompressionPlan, plan
from adaslide.ports.jobs import CompressRequest
from adaslide.ports.objects import ObjectStore


class Compute:
    """Plans, compresses and finalizes. The pool starts with the first shard and stays."""

    def __init__(self, workers: int | None) -> None:
        self._workers = workers
        self._stack = ExitStack()
        self._executor: Executor | None = None

    def close(self) -> None:
        """Ends the processes."""
        self._executor = None
        self._stack.close()

    @contextmanager
    def _pool(self) -> Iterator[Executor]:
        if self._executor is None:
            self._executor = self._stack.enter_context(wiring.patch_executor(self._workers))
        try:
            yield self._executor
        except BrokenExecutor as error:
            self.close()
            raise Unavailable("a process that encodes patches was lost") from error

    def plan(self, slide: Path, request: CompressRequest) -> CompressionPlan:
        with wiring.open_slide(slide) as reader:
            work = plan(reader, request.policy(), request.mpp)
        wiring.patch_encoder(work)  # what no shard could do is refused before the first
        return work

    def shard(
        self,
        slide: Path,
        work: CompressionPlan,
        shard: ShardIndex,
        staged: ObjectStore,
        *,
        progress: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> bool:
        """Writes the shard and its sidecar into ``staged``. False when ``cancelled`` said so; ``progress``
        is told how many more patches are done."""
        with self._pool() as executor, wiring.open_slide(slide) as reader:
            encoder = wiring.patch_encoder(work)
            return compress_shard(
                work,
                shard,
                reader,
                encoder,
                executor,
                staged,
                staged,
                progress=progress,
                cancelled=cancelled,
            )

    def finalize(
        self,
        work: CompressionPlan,
        package: ObjectStore,
        sidecar: Callable[[ShardIndex], bytes],
        *,
        seconds: float,
    ) -> dict[str, Any]:
        """The totals of the package, which is then complete in its store."""
        checker = wiring.plan_checker(work)
        with self._pool() as executor:
            return finalize(
                work,
                package,
                sidecar,
                checker,
                executor,
                weights=wiring.weights_in(work.profile),
                seconds=seconds,
                peak_rss_bytes=wiring.peak_rss_bytes(),
            )

    def check_unchanged(self, slide: Path, work: CompressionPlan) -> None:
        """Raises `Conflict` when the slide is not the one that was planned: it is read in place."""
        with wiring.open_slide(slide) as reader:
            if reader.facts.source_sha256 != work.facts.source_sha256:
                raise Conflict("the slide's file changed while it was compressed")
