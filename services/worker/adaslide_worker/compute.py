"""The heavy part of a job, bound to this machine: the slide's reader and the pool of processes."""

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from adaslide import wiring
from adaslide.domain.errors import Conflict, Unavailable
from adaslide.domain.geometry import ShardIndex
from adaslide.pipeline.compress_shard import compress_shard
from adaslide.pipeline.finalize import finalize
from adaslide.pipeline.plan import CompressionPlan, plan
from adaslide.ports.jobs import CompressRequest
from adaslide.ports.nets import Nets
from adaslide.ports.objects import ObjectStore

NetProcesses = Callable[[int | None], AbstractContextManager[tuple[Executor, Nets]]]
"""Opens that many processes, None for as many as suit the machine, and tells which nets run in them."""


class Compute:
    """Plans, compresses and finalizes. The pool starts with `start` or the first shard, and stays.

    With ``net_processes`` its nets run there, else under the canonical runtime.
    """

    def __init__(self, workers: int | None, net_processes: NetProcesses | None = None) -> None:
        self._workers = workers
        self._net_processes = net_processes
        self._stack = ExitStack()
        self._started: tuple[Executor, Nets | None] | None = None

    def start(self) -> None:
        """Starts processes whose nets have to be checked, so that no job is begun under nets that fail.

        Raises `ModelError` and `Unavailable`; nothing is started where the canonical runtime runs the nets.
        """
        if self._net_processes:
            with self._pool():
                pass

    def close(self) -> None:
        """Ends the processes."""
        self._started = None
        self._stack.close()

    def _opened(self) -> tuple[Executor, Nets | None]:
        if self._net_processes:
            return self._stack.enter_context(self._net_processes(self._workers))
        return self._stack.enter_context(wiring.patch_executor(self._workers)), None

    @contextmanager
    def _pool(self) -> Iterator[tuple[Executor, Nets | None]]:
        try:
            if self._started is None:
                self._started = self._opened()
            yield self._started
        except BrokenExecutor as error:
            self.close()
            raise Unavailable("a process that encodes patches was lost") from error

    def plan(self, slide: Path, request: CompressRequest) -> CompressionPlan:
        with wiring.open_slide(slide) as reader:
            work = plan(reader, request.policy(), request.mpp, request.protect, request.target_ratio)
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
        with self._pool() as (executor, nets), wiring.open_slide(slide) as reader:
            encoder = wiring.patch_encoder(work, nets)
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
        scratch: Callable[[ShardIndex], ObjectStore],
        *,
        seconds: float,
    ) -> dict[str, Any]:
        """The totals of the package, which is then complete in its store; ``scratch`` is where each shard and
        what belongs to it was staged. No net runs here: reading back proves what nets are given."""
        checker = wiring.plan_checker(work)
        with self._pool() as (executor, _):
            return finalize(
                work,
                package,
                scratch,
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
