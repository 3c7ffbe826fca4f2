"""Where the time of one answer went, as ``Server-Timing`` says it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """Where an answer was found."""

    MEMORY = "memory"
    SHARED = "shared"
    UNDER_WAY = "under-way"
    """Somebody else's request was computing it."""
    MADE = "miss"


STEPS = ("queue", "decode", "restore", "encode")


@dataclass(slots=True)
class Timing:
    """Seconds by step; ``level`` says where the answer came from."""

    level: Level = Level.MADE
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))

    @contextmanager
    def spent(self, step: str) -> Iterator[None]:
        """Adds what passes inside to ``step``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] += time.perf_counter() - started

    @property
    def header(self) -> str:
        """``cache;desc="miss", queue;dur=0.1, ...`` in milliseconds; the steps only of what was made."""
        told = f'cache;desc="{self.level.value}"'
        if self.level is not Level.MADE:
            return told
        return ", ".join((told, *(f"{step};dur={1000 * self.seconds[step]:.1f}" for step in STEPS)))
