"""Work of one step that takes long: told how far it is, asked whether it is to go on."""

import time
from threading import Event

from adaslide.domain.job import JobState
from adaslide.ports.jobs import Database
from adaslide.settings import Compression
from adaslide_worker.keeper import Keeper


class Interrupted(Exception):
    """The work is not ours any more, or is not to go on."""


class Watch:
    """Over a job's step under the lease ``name`` and its ``token``. One transaction a beat, at most."""

    def __init__(
        self,
        database: Database,
        job_id: str,
        lease: tuple[str, int],
        keeper: Keeper,
        stopping: Event,
        rules: Compression,
    ) -> None:
        self._database = database
        self._job_id = job_id
        self._name, self._token = lease
        self._keeper = keeper
        self._stopping = stopping
        self._rules = rules
        self._looked = time.monotonic()
        self._noted = self._told = (0, 0)

    @property
    def total(self) -> int:
        """Patches in all, as far as was told."""
        return self._told[1]

    def progress(self, done: int, total: int) -> None:
        """``done`` of ``total`` patches. What goes back is not told."""
        self._told = max(self._told, (done, total))

    def goes_on(self) -> None:
        """Called often; notes the progress now and then. Raises `Interrupted`."""
        if self._keeper.lost.is_set() or self._stopping.is_set():
            raise Interrupted
        if time.monotonic() - self._looked < self._rules.beat_s:
            return
        self._looked = time.monotonic()
        if self._told != self._noted:
            self._note()
        with self._database.read() as unit:
            if unit.jobs.get(self._job_id).state is JobState.CANCELLING:
                raise Interrupted

    def _note(self) -> None:
        done, total = self._told
        with self._database.write() as unit:
            if not unit.work.beat(self._name, self._token, self._rules.lease_s):
                raise Interrupted
            unit.jobs.set_progress(self._job_id, done, total)
        self._noted = self._told
