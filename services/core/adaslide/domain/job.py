"""A job's life, as one table of transitions. The database owns the state (ADR 4)."""

from enum import IntEnum, StrEnum


class JobKind(StrEnum):
    """What a job makes."""

    COMPRESS = "compress"
    """A package of a slide."""
    RESTORE = "restore"
    """A file of a package, for programs that read no package."""


class JobState(StrEnum):
    """Where a job stands; `TRANSITIONS` says what may follow."""

    QUEUED = "queued"
    RUNNING = "running"
    VERIFYING = "verifying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Nothing happens by itself any more. A failed job is a dead letter: an operator may replay it."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLING, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.VERIFYING, JobState.FAILED, JobState.CANCELLING}),
    JobState.VERIFYING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLING}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.FAILED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset(),
}


class Urgency(IntEnum):
    """Which job's shards go first; within one urgency, tenants take turns."""

    STAT = 0
    ROUTINE = 1
    BULK = 2
