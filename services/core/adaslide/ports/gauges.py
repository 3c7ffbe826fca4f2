"""What the database knows of the work that waits: read anew at every scrape, never counted in a process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from adaslide.domain.job import JobState


class ShardState(StrEnum):
    """Where an unfinished shard stands."""

    CLAIMABLE = "claimable"
    """A worker may take it now."""
    DELAYED = "delayed"
    """It failed and waits for its next attempt."""
    LEASED = "leased"
    """A worker has it."""


@dataclass(frozen=True, slots=True)
class WorkGauges:
    """One reading, over all tenants."""

    oldest_claimable_s: float = 0.0
    """Seconds for which the oldest claimable shard has been claimable; 0 where nothing waits."""
    shards: Mapping[ShardState, int] = field(default_factory=dict)
    """Of unfinished jobs; a state that is absent has none."""
    jobs: Mapping[JobState, int] = field(default_factory=dict)
    canary_age_s: float | None = None
    """Seconds since a worker last consumed a message; None where none ever did."""


class JobGauges(Protocol):
    """Where the readings come from."""

    def read(self) -> WorkGauges:
        """The present state. Cheap enough for every scrape. Raises `StoreUnavailable`."""
        ...
