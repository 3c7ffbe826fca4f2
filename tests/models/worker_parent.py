"""A worker's work without its queue, as a process: ``python worker_parent.py SLIDE FOLDER PROFILE``.

Takes the settings of its environment, leaves FOLDER/slide.zarr, and prints its totals and which heavy modules
it imported, as JSON.
"""

import json
import sys
from pathlib import Path

from adaslide import wiring
from adaslide.pipeline.compress_shard import sidecar_key
from adaslide.ports.jobs import CompressRequest
from adaslide.settings import load_settings
from adaslide_worker.wiring import build_compute

HEAVY = ("torch", "adaslide_models", "safetensors")


def main(slide, folder, profile):
    package, scratch = wiring.folder_store(folder / "slide.zarr"), wiring.folder_store(folder / "scratch")
    compute = build_compute(load_settings())
    compute.start()
    work = compute.plan(slide, CompressRequest(profile, mpp=0.499))
    for shard in work.grid.shards():
        staged = wiring.folder_store(folder / "staged")
        assert compute.shard(slide, work, shard, staged, progress=lambda _: None, cancelled=lambda: False)
        for key, _ in list(staged.list()):
            (scratch if key == sidecar_key(shard) else package).put(key, staged.get(key))
    totals = compute.finalize(work, package, lambda _: scratch, seconds=1.0)
    compute.close()
    print(json.dumps({"totals": totals, "imported": [name for name in HEAVY if name in sys.modules]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
