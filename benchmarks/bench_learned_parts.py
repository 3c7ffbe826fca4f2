"""What the learned parts are worth on the sample: the present `archive` against the same without its nets,
and against the version without learned parts, all measured by the present judges at the present floors.
"""

import tempfile
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import results_file
from adaslide import library, wiring
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.profile import PROFILES, Profile, profile_named
from adaslide.domain.rung import Rung
from adaslide.package.reader import PackageReader
from adaslide.pipeline.check_patch import is_by_net
from adaslide.ports.rungs import PatchSource

PRESENT = PROFILES["archive"]


def variants() -> dict[str, Profile]:
    """The profiles to be compared, by what they are."""
    return {
        PRESENT.id: PRESENT,
        "the same, bicubic alone": replace(PRESENT, restorers=()),
        "the same, no agent": replace(PRESENT, agent=None),
        "archive@4 (nets everywhere)": profile_named("archive@4"),
        "archive@2": profile_named("archive@2"),
        "archive@1 (Otsu, bicubic)": profile_named("archive@1"),
    }


def below_floors(package: PackageReader, executor: Executor) -> int:
    """Patches of ``package`` below a present floor, measured by the present judges."""
    info = package.info
    checker = wiring.patch_checker(info.patch, info.mpp, info.fill, PRESENT.judge, PRESENT.second_judge)
    places = np.argwhere(package.maps.decision["rung"] != Rung.BACKGROUND)
    indices = [PatchIndex(int(row), int(col)) for row, col in places]
    with wiring.open_slide(results_file.SAMPLE) as slide:
        pixels = [slide.read(package.grid.region(index)) for index in indices]
    sources = [PatchSource(image, image.shape[1], image.shape[0]) for image in pixels]
    found = executor.map(checker.remeasure, package.payloads(indices), sources)
    return sum(not PRESENT.floors.held_by(result.fidelity) for result in found)


def row(name: str, profile: Profile, path: Path, executor: Executor) -> dict[str, Any]:
    """One variant's numbers; its package is written to ``path``."""
    totals = library.compress(results_file.SAMPLE, path, profile=profile)
    package = library.open_package(path)
    payloads = package.payloads(list(package.grid.patches_of(next(iter(package.grid.shards())))))
    return {
        "name": name,
        "package_bytes": totals["package_bytes"],
        "share_of_tile_bytes": totals["ratio_tiles"],
        "payload_bytes": totals["payload_bytes"],
        "patches": totals["patches"]["by_rung"],
        "restored_by_a_net": sum(payload is not None and is_by_net(payload) for payload in payloads),
        "measurements_per_patch": totals["measurements_per_patch"],
        "seconds": totals["seconds"],
        "below_present_floors": below_floors(package, executor),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, wiring.patch_executor() as executor:
        rows = [
            row(name, profile, Path(folder) / f"{number}.zarr", executor)
            for number, (name, profile) in enumerate(variants().items())
        ]
    floors = PRESENT.floors.as_dict()
    results_file.write("learned_parts", {"slide": results_file.SAMPLE.name, "floors": floors, "rows": rows})


if __name__ == "__main__":
    main()
