"""Can this installation do its work? Each check runs the real thing."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np

from adaslide import codec_runtime, wiring
from adaslide.adapters.inference import golden
from adaslide.adapters.inference.weights import Weights, pinned, released
from adaslide.domain.errors import ModelError, RuntimeMismatch
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import PROFILES, VERSIONS
from adaslide.domain.rung import RungSpec
from adaslide.ports.rungs import PatchSource

FREE_BYTES = 1 << 30
"""Less free space than this in the temporary folder is called out."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must work, and what was seen."""

    name: str
    ok: bool
    detail: str


def diagnose() -> list[Check]:
    """Every check, none skipped because another failed."""
    return [
        _check("reads slides (OpenSlide)", _openslide),
        *(_check(f"encodes and decodes {spec.name}", partial(_round_trip, spec)) for spec in _specs()),
        _check("Zarr finds the codec", _zarr_codec),
        *_nets(),
        _check("worker processes", _workers),
        _check("free space for temporary files", _free_space),
    ]


def _check(name: str, run: Callable[[], str]) -> Check:
    try:
        return Check(name, True, run())
    except Exception as error:  # whatever is broken here is the finding
        return Check(name, False, f"{type(error).__name__}: {error}")


def _specs() -> list[RungSpec]:
    """One entry per (rung, codec) of the shipped profiles."""
    specs = (spec for profile in PROFILES.values() for spec in profile.ladder)
    return list({(spec.rung, spec.codec): spec for spec in specs}.values())


PICTURE_MPP = 0.5
"""Micrometres per pixel that the test picture is taken to have."""


def _picture() -> Pixels:
    y, x = np.mgrid[0:64, 0:64]
    return np.stack([200 + x // 8, 120 + y, 180 + (x + y) // 8], axis=-1).astype(np.uint8)


def _round_trip(spec: RungSpec) -> str:
    source = PatchSource(_picture(), 64, 64)
    payload = codec_runtime.codec_for(spec.rung).encode(source, spec)
    error = np.abs(codec_runtime.decode_payload(payload, 64).astype(int) - source.pixels).mean()
    if error > 8:
        raise RuntimeError(f"off by {error:.1f} grey levels on average")
    return f"{len(payload)} bytes, off by {error:.1f} grey levels on average"


def _nets() -> list[Check]:
    """One check for every net. Those whose output is measured or served run on their golden tiles."""
    try:
        # In the order of the search: of two copies of one net the first is the one that runs.
        found = {one.digest: one for one in reversed(released())}.values()
    except ModelError as error:
        return [Check("weights", False, f"{type(error).__name__}: {error}")]
    measured = [one for one in found if one.kind in golden.KINDS]
    agents = [one for one in found if one.kind == "agent"]
    return [
        *(_check(f"runs {pinned(one)} as it was measured", partial(_golden, one)) for one in measured),
        *(_check(f"asks {pinned(one)}", partial(_agent, one)) for one in agents),
    ]


def _golden(weights: Weights) -> str:
    import onnxruntime

    return f"{golden.check_canonical(weights)} (ONNX Runtime {onnxruntime.__version__})"


def _agent(weights: Weights) -> str:
    """Its estimate only chooses what is tried: it need be no more than one, and the same twice."""
    agent, asked_by = wiring.agent_of(weights), (p for p in VERSIONS if p.agent == pinned(weights))
    profile = next(asked_by, PROFILES["archive"])
    picture = _picture()
    first, second = (agent.search(picture, PICTURE_MPP, profile, picture.size).p_compress for _ in range(2))
    if first is None or not 0 <= first <= 1:
        raise RuntimeMismatch(f"{first} is no probability")
    if first != second:
        raise RuntimeMismatch(f"gives {first} and then {second} for one picture")
    return f"p {first:.3f} for the test picture, twice"


def _openslide() -> str:
    import openslide

    return f"OpenSlide {openslide.__library_version__}"


def _zarr_codec() -> str:
    found = [point.value for point in entry_points(group="zarr.codecs", name="adaslide.patch")]
    if not found:
        raise RuntimeError("the entry point adaslide.patch is not installed")
    return found[0]


def _workers() -> str:
    with wiring.patch_executor(1) as executor:
        executor.submit(os.getpid).result(timeout=60)
    return f"{len(os.sched_getaffinity(0))} cores"


def _free_space() -> str:
    free = shutil.disk_usage(Path(tempfile.gettempdir())).free
    if free < FREE_BYTES:
        raise RuntimeError(f"{free:,} bytes")
    return f"{free:,} bytes"
