"""Load for `bench_serving`: servers as processes, and requests that leave at their time, answered or not."""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

START_S = 120
ANSWER_S = 60


@contextmanager
def process(command: Sequence[str], log: Path, **environment: str) -> Iterator[tuple[int, str]]:
    """(process id, base URL) of a server that says ``... listens at URL`` once it does."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ADASLIDE_")}
    with log.open("ab") as errors:
        server = subprocess.Popen(
            [sys.executable, *command],
            env=clean | environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        if "listens at" not in line:
            raise RuntimeError(f"a server did not start:\n{log.read_text()}")
        yield server.pid, line.split()[-1].rstrip("/")
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()


@dataclass
class Answers:
    """Milliseconds of the 200s, and how many answers had which status. ``bad``: neither 200 nor a 503
    with Retry-After."""

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)
    bad: int = 0

    def add(self, answer: httpx.Response, seconds: float) -> None:
        self.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            self.milliseconds.append(1000 * seconds)
            timing = answer.headers.get("server-timing", "")
            self.levels[timing.partition('desc="')[2].partition('"')[0] or "-"] += 1
        elif answer.status_code != 503 or "retry-after" not in answer.headers:
            self.bad += 1

    def summary(self) -> dict[str, Any]:
        """p50, p95 and p99 in milliseconds, and the counts."""
        ordered = sorted(self.milliseconds)
        percentiles = {
            f"p{share}_ms": round(ordered[min(len(ordered) - 1, share * len(ordered) // 100)], 1)
            for share in (50, 95, 99)
            if ordered
        }
        statuses = {str(status): count for status, count in sorted(self.statuses.items())}
        return {**percentiles, "statuses": statuses, "from": dict(self.levels), "bad": self.bad}


async def open_loop(base: str, paths: Sequence[str], rate: float, address: str | None = None) -> Answers:
    """One request every 1 / ``rate`` seconds however long the answers take (``rate`` 0: all at once);
    the time of an answer counts from when it was due. ``address``: of this machine, to ask from."""
    answers = Answers()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=limits)
    async with httpx.AsyncClient(base_url=base, timeout=ANSWER_S, transport=transport) as client:
        start = time.perf_counter()

        async def ask(number: int, path: str) -> None:
            due = start + number / rate if rate else start
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            answer = await client.get(path)
            answers.add(answer, time.perf_counter() - due)

        await asyncio.gather(*(ask(number, path) for number, path in enumerate(paths)))
    return answers
