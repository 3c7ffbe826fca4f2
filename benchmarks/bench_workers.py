"""Do two worker processes do twice the work of one, and what does the queue cost? On real servers.

Postgres, Valkey and SeaweedFS are those of the tests; a slide of four shards of sixteen tissue patches is
compressed by one worker and by two, in turn, each worker with one process of one thread. Patches a second
are counted from the first shard's claim to the last one's end; the queue's part of a one-worker job is the
time in which nothing was worked on. Needs the development environment.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

import results_file
from adaslide import wiring
from adaslide.domain.geometry import Region
from jpeg_slide import write_jpeg_slide

TESTS = Path(__file__).parent.parent / "tests"
PATCH, SHARDS = 512, 4
SPEEDUP_TARGET, OVERHEAD_TARGET = 1.7, 0.05


def make_slide(path: Path) -> None:
    """Four shards in a row, sixteen patches of tissue each."""
    with wiring.open_slide(results_file.SAMPLE) as sample:
        tissue = sample.read(Region(0, 900, 4 * PATCH, PATCH))
    pixels = np.tile(tissue, (1, 4 * SHARDS, 1))
    write_jpeg_slide(path, pixels)


def run(cluster: Any, slide: str, floor: float) -> dict[str, float]:
    """One job; ``floor`` makes it a job that was not done before."""
    body = {"profile": "archive", "mpp": 0.5, "dice_floor": floor}
    job = cluster.client.post(f"/slides/{slide}/compress", json=body).raise_for_status().json()
    ended = cluster.job(job["id"])
    if ended["state"] != "succeeded":
        raise RuntimeError(ended)
    engine = sa.create_engine(cluster.database_url)
    with engine.connect() as connection:
        events = connection.execute(
            sa.text("SELECT at, kind, data FROM job_events WHERE job_id = :job ORDER BY id"),
            {"job": job["id"]},
        ).all()
    engine.dispose()
    at = {event.data.get("state"): event.at for event in events if event.kind == "state"}
    planned = next(event.at for event in events if event.kind == "progress")
    shards_s = (at["verifying"] - planned).total_seconds()
    whole_s = (at["succeeded"] - at["queued"]).total_seconds()
    return {
        "patches_per_second": ended["progress"]["total"] / shards_s,
        "job_seconds": whole_s,
        "worked_seconds": ended["seconds"],
    }


def main() -> None:
    """Runs and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    sys.path.insert(0, str(TESTS))
    with tempfile.TemporaryDirectory(prefix="adaslide-") as folder:
        Path(folder).chmod(0o755)  # Postgres runs as a user of its own
        result = measure(Path(folder), rounds)
    results_file.write("workers", result)


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Both clusters on the same servers; only one of them works at a time."""
    from e2e.services import Cluster
    from servers.standalone import servers

    slide = folder / "slide.tif"
    make_slide(slide)
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    quiet: dict[str, Any] = {"COMPRESSION__WORKERS": 1, "COMPRESSION__BEAT_S": 10}
    quiet |= {"COMPRESSION__LEASE_S": 60, "COMPRESSION__RECONCILE_S": 2, "ALLOWED_ROOTS": folder}
    with servers(folder) as (postgres, valkey, s3):
        clusters = {}
        for workers in runs:
            own = folder / f"cluster-{workers}"
            own.mkdir()
            clusters[workers] = Cluster(own, postgres, valkey, s3, apis=1, workers=workers, **quiet)
            clusters[workers].ready()
            clusters[workers].client.put("/slides/s", json={"uri": slide.as_uri()}).raise_for_status()
        for workers, cluster in clusters.items():
            run(cluster, "s", 0.80 + workers / 1000)  # the pool's processes start with the first job
        for turn in range(rounds):
            for workers, cluster in clusters.items():
                runs[workers].append(run(cluster, "s", 0.85 + turn / 1000))
                time.sleep(1)
        for cluster in clusters.values():
            cluster.stop()
    speeds = {n: statistics.median(r["patches_per_second"] for r in done) for n, done in runs.items()}
    idle = statistics.median(1 - r["worked_seconds"] / r["job_seconds"] for r in runs[1])
    return {
        "slide": f"{SHARDS} shards of 16 tissue patches of {PATCH} px, archive, one thread a worker",
        "patches_per_second": {str(n): round(speed, 3) for n, speed in speeds.items()},
        "speedup_of_two": round(speeds[2] / speeds[1], 3),
        "speedup_target": SPEEDUP_TARGET,
        "share_of_a_job_not_worked": round(idle, 4),
        "share_target": OVERHEAD_TARGET,
        "runs": {str(n): [{k: round(v, 3) for k, v in r.items()} for r in done] for n, done in runs.items()},
    }


if __name__ == "__main__":
    main()
