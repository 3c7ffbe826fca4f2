"""How fast are tiles served: from memory, decoded, restored by a net, and under a burst of requests?

The real service (`adaslide serve`, a process of its own, loopback) with the sample compressed by the profile
archive, and in the same run a plain OpenSlide DeepZoom server as the peer, asked for the same tiles at the
same rate. Open loop: requests leave at their time, whether or not the earlier ones were answered. The client
runs on the same cores as the servers.

``--soak MINUTES`` instead asks for a mix of everything and watches the service's resident memory. Exits
with 1 if an answer was neither 200 nor a 503 that says when to come back; a soak also when memory grew.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

import results_file
from adaslide.addressing.deepzoom import DeepZoom
from adaslide.domain.geometry import PatchIndex, Region
from adaslide.domain.rung import Rung
from adaslide.package.reader import PackageReader
from adaslide.pipeline.made_with import BICUBIC, restored_by
from adaslide.wiring import folder_store
from serving_load import Answers, open_loop, process

SERVE = (
    "import os, sys; from adaslide.adapters.child import exit_with_parent; exit_with_parent(os.getppid()); "
    "from adaslide.cli import main; sys.argv = ['adaslide', 'serve', '--port', '0']; main()"
)
"""In a process that ends with this one however this one ends."""
PEER = Path(__file__).parent / "serving_peer.py"

CACHED_RATE, DECODED_RATE, RESTORED_RATE, SOAK_RATE = 20.0, 10.0, 2.0, 10.0
"""Requests a second."""
BURST, BURST_PX, MODEST_RATE = 600, 200, 2.0
"""Regions at once by one client, and their side in px; requests a second of another client meanwhile."""
OTHER_CLIENT = "127.0.0.2"
TARGETS_MS = {"cached": 15, "decoded": 60, "restored": 300}
"""At most, of the 95th percentile on an idle machine of two cores."""
SOAK_GROWTH = 1.05
"""Resident memory of the last third of a soak over that of the middle third, at most."""
NO_CACHES = {"ADASLIDE_LIMITS__TILE_CACHE_BYTES": "0", "ADASLIDE_LIMITS__PATCH_CACHE_BYTES": "0"}


@dataclass(frozen=True)
class Subject:
    """The package that is served: its patches by what showing them takes."""

    level: int
    plain: list[PatchIndex]
    by_net: list[PatchIndex]
    regions: list[Region]

    @classmethod
    def of(cls, folder: Path) -> "Subject":
        reader = PackageReader(folder_store(folder))
        by_net = [index for index, name in restored_by(reader).items() if name != BICUBIC]
        rungs = reader.maps.decision["rung"]
        tissue = [
            PatchIndex(row, col)
            for row in range(reader.grid.rows)
            for col in range(reader.grid.cols)
            if rungs[row, col] != Rung.BACKGROUND
        ]
        plain = [index for index in tissue if index not in by_net]
        pyramid = DeepZoom(reader.info.size, reader.info.patch)
        regions = [reader.grid.region(index) for index in by_net]
        roomy = [region for region in regions if min(region.width, region.height) >= BURST_PX + 40]
        return cls(pyramid.max_level, plain, by_net, roomy)

    def ours(self, patches: Sequence[PatchIndex], count: int, suffix: str = "jpg") -> list[str]:
        return [f"/slides/sample_files/{self.level}/{p.col}_{p.row}.{suffix}" for p in cycled(patches, count)]

    def peers(self, patches: Sequence[PatchIndex], count: int) -> list[str]:
        return [f"/slide_files/{self.level}/{p.col}_{p.row}.jpg" for p in cycled(patches, count)]

    def burst(self, count: int) -> list[str]:
        """Regions inside patches that nets restore. No two are alike, so that none is the answer to another;
        those of one patch share the net's work while it lasts, as between two viewers of one place."""
        side = BURST_PX
        return [
            f"/slides/sample/region?x={r.x + n % 40}&y={r.y + n // 40}&w={side}&h={side}&format=jpeg"
            for n, r in enumerate(cycled(self.regions, count))
        ]


def cycled(items: Sequence[Any], count: int) -> list[Any]:
    return [items[number % len(items)] for number in range(count)]


@contextmanager
def service(data: Path, **settings: str) -> Iterator[tuple[int, str]]:
    """(process id, base URL) of the real service on ``data``."""
    environment = {
        "ADASLIDE_DATA_DIR": str(data),
        "ADASLIDE_ALLOWED_ROOTS": str(results_file.SAMPLE.resolve().parent),
        **settings,
    }
    with process(["-c", SERVE], data.parent / "service.log", **environment) as (pid, base):
        yield pid, base


def compress(base: str, data: Path) -> Subject:
    """The sample as the slide ``sample``, compressed by the service itself."""
    with httpx.Client(base_url=base, timeout=60) as client:
        uri = {"uri": results_file.SAMPLE.resolve().as_uri()}
        client.put("/slides/sample", json=uri).raise_for_status()
        job = client.post("/slides/sample/compress", json={"profile": "archive"}).json()
        while job["state"] not in ("succeeded", "failed", "cancelled"):
            time.sleep(0.5)
            job = client.get(f"/jobs/{job['id']}").json()
    if job["state"] != "succeeded":
        raise RuntimeError(f"the sample was not compressed: {job['problem']}")
    (folder,) = (data / "packages").glob(f"{job['package']['id']}-*.zarr")
    return Subject.of(folder)


def ask(base: str, paths: Sequence[str], rate: float, client: str | None = None) -> Answers:
    return asyncio.run(open_loop(base, paths, rate, client))


def compared(ours: Answers, peer: Answers, target: int | None = None) -> dict[str, Any]:
    """Both, their ratio, and whether the target is met."""
    own, other = ours.summary(), peer.summary()
    ratios = {
        f"p{share}": round(own[f"p{share}_ms"] / other[f"p{share}_ms"], 2)
        for share in (50, 95, 99)
        if f"p{share}_ms" in own and f"p{share}_ms" in other
    }
    row = {"adaslide": own, "peer": other, "ratio_to_peer": ratios}
    return row if target is None else {**row, "target_p95_ms": target, "met": own["p95_ms"] < target}


def cached(base: str, peer: str, subject: Subject, seconds: float) -> dict[str, Any]:
    every, count = subject.plain + subject.by_net, int(CACHED_RATE * seconds)
    ask(base, subject.ours(every, len(every)), CACHED_RATE)
    ours = ask(base, subject.ours(every, count), CACHED_RATE)
    return compared(ours, ask(peer, subject.peers(every, count), CACHED_RATE), TARGETS_MS["cached"])


def uncached(
    base: str, peer: str, subject: Subject, patches: list[PatchIndex], rate: float, seconds: float
) -> tuple[Answers, Answers]:
    count = max(2, int(rate * seconds))
    ask(base, subject.ours(patches, 2), 1)  # opens packages, nets and libraries
    ask(peer, subject.peers(patches, 2), 1)
    return ask(base, subject.ours(patches, count), rate), ask(peer, subject.peers(patches, count), rate)


def overload(base: str, peer: str, subject: Subject) -> dict[str, Any]:
    """A burst of one client, and what another client with a few requests sees of it."""

    async def burst(modest_seconds: float) -> tuple[Answers, Answers]:
        greedy = asyncio.create_task(open_loop(base, subject.burst(BURST), 0))
        await asyncio.sleep(0.2)
        paths = subject.ours(subject.plain, int(MODEST_RATE * modest_seconds))
        modest = await open_loop(base, paths, MODEST_RATE, OTHER_CLIENT)
        return await greedy, modest

    greedy, modest = asyncio.run(burst(5.0))
    row = compared(greedy, ask(peer, subject.peers(subject.by_net, BURST), 0))
    return {**row, "requests_at_once": BURST, "another_client": modest.summary()}


def measure(seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data = Path(folder) / "data"
        sample = str(results_file.SAMPLE.resolve())
        _, peer = stack.enter_context(process([str(PEER), sample], Path(folder) / "peer.log"))
        with service(data) as (_, base):
            subject = compress(base, data)
            rows = {"cached": cached(base, peer, subject, seconds)}
        # Without memory every tile is made afresh, so that a small sample gives many of them.
        with service(data, **NO_CACHES) as (_, base):
            for name, patches, rate in (
                ("decoded", subject.plain, DECODED_RATE),
                ("restored", subject.by_net, RESTORED_RATE),
            ):
                ours, other = uncached(base, peer, subject, patches, rate, seconds)
                rows[name] = {**compared(ours, other, TARGETS_MS[name]), "requests_per_s": rate}
            rows["overload"] = overload(base, peer, subject)
    kinds = {"no_net": len(subject.plain), "by_net": len(subject.by_net)}
    return {"seconds": seconds, "tile_px": 480, "patches": kinds, "phases": rows}


def soak(minutes: float) -> dict[str, Any]:
    """A mix of tiles, formats and regions; resident memory by thirds of the time."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        # The worker's own memory is not the question: the package is made by a service of its own.
        with service(data) as (_, base):
            subject = compress(base, data)
        small = {
            "ADASLIDE_LIMITS__TILE_CACHE_BYTES": "8000000",
            "ADASLIDE_LIMITS__PATCH_CACHE_BYTES": "8000000",
        }
        with service(data, **small) as (pid, base):
            answers, sizes = asyncio.run(_soaked(base, pid, subject, 60 * minutes))
    third = len(sizes) // 3
    thirds = [statistics.mean(sizes[n * third : (n + 1) * third]) for n in range(3)]
    growth = thirds[2] / thirds[1]
    return {
        "minutes": minutes,
        "requests_per_s": SOAK_RATE,
        **answers.summary(),
        "rss_bytes_by_third": [round(size) for size in thirds],
        "last_over_middle": round(growth, 4),
        "bounded": growth <= SOAK_GROWTH,
    }


async def _soaked(base: str, pid: int, subject: Subject, seconds: float) -> tuple[Answers, list[int]]:
    rng, count = random.Random(0), int(SOAK_RATE * seconds)
    every = subject.plain + subject.by_net
    pool = [path for suffix in ("jpg", "webp", "png") for path in subject.ours(every, len(every), suffix)]
    regions = subject.burst(1600)
    paths = [rng.choice(pool) if rng.random() < 0.7 else rng.choice(regions) for _ in range(count)]
    server, sizes = psutil.Process(pid), []

    async def watch() -> None:
        while True:
            sizes.append(int(server.memory_info().rss))
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    try:
        return await open_loop(base, paths, SOAK_RATE), sizes
    finally:
        watching.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="of each phase")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="watch the memory instead")
    given = parser.parse_args()
    if given.soak:
        result = soak(given.soak)
        results_file.write("serving_soak", result)
        sys.exit(not result["bounded"] or result["bad"] > 0)
    result = measure(given.seconds)
    results_file.write("serving", result)
    sys.exit(any(phase["adaslide"]["bad"] for phase in result["phases"].values()))


if __name__ == "__main__":
    main()
