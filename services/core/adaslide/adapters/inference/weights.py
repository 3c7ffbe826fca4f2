"""Which weights are installed: the package ``adaslide_weights`` and the folder ``ADASLIDE_WEIGHTS``.

Each is a folder with a ``manifest.toml`` of one table per weight::

    [fie-compact-x4]
    kind = "restorer"          # restorer, segmenter or agent
    scale = 4                  # further keys belong to the kind
    onnx = "fie-compact-x4.onnx"
    sha256 = "..."             # of the ONNX file: the identity that payloads name

Nothing here loads a net or imports torch.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adaslide.domain.errors import ModelError, WeightsMissing

PACKAGE = "adaslide_weights"
FOLDER_VARIABLE = "ADASLIDE_WEIGHTS"
"""A folder of further weights. What it holds wins over a released weight of the same name."""
MANIFEST = "manifest.toml"
PIN_DIGITS = 12
"""Hexadecimal digits of the sha256 in a pin."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One entry of a manifest. ``path`` is its ONNX file, ``digest`` that file's sha256.

    ``table`` is the whole entry: what else it holds depends on the kind.
    """

    name: str
    kind: str
    path: Path
    digest: bytes
    table: Mapping[str, Any]


def installed() -> dict[str, Weights]:
    """Every installed weight by name."""
    found: dict[str, Weights] = {}
    for origin, folder in reversed(_folders()):
        found |= read_manifest(folder, origin)
    return found


def weights_named(name: str) -> Weights:
    """Raises `WeightsMissing`."""
    try:
        return installed()[name]
    except KeyError:
        raise WeightsMissing(f"no weights {name!r} are installed") from None


def released() -> list[Weights]:
    """Every installed weight, those hidden by another of the same name too: packages may name them."""
    return [weights for origin, folder in _folders() for weights in read_manifest(folder, origin).values()]


def pinned(weights: Weights) -> str:
    """The name by which profiles and packages pin ``weights``: ``fie-compact-x4@92b417ce0215``."""
    return f"{weights.name}@{weights.digest.hex()[:PIN_DIGITS]}"


def weights_pinned(pin: str) -> Weights:
    """The weights that `pinned` gives ``pin`` for. Raises `WeightsMissing`."""
    for weights in released():
        if pinned(weights) == pin:
            return weights
    raise WeightsMissing(f"the weights {pin} are not installed")


def weights_of(digest: bytes) -> Weights:
    """The weights whose sha256 is ``digest``. Raises `WeightsMissing`."""
    for weights in released():
        if weights.digest == digest:
            return weights
    raise WeightsMissing(f"no weights with sha256 {digest.hex()[:12]} are installed")


def read_manifest(folder: Path, origin: str) -> dict[str, Weights]:
    """The weights of one folder. Raises `WeightsMissing` without, `ModelError` for a bad manifest.

    ``origin`` says in the message where the folder was named: its path may not be told.
    """
    path = folder / MANIFEST
    try:
        tables = tomllib.loads(path.read_text())
        return {
            name: Weights(name, table["kind"], folder / table["onnx"], bytes.fromhex(table["sha256"]), table)
            for name, table in tables.items()
        }
    except OSError as error:
        raise WeightsMissing(f"{origin}: the folder of weights has no {MANIFEST}") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{origin}: {MANIFEST} of the weights cannot be used: {error}") from error


def _folders() -> list[tuple[str, Path]]:
    """(what names it, where it is) of every folder with a manifest, the one that wins first."""
    own = os.environ.get(FOLDER_VARIABLE)
    folders = [(FOLDER_VARIABLE, Path(own))] if own else []
    if find_spec(PACKAGE) is not None:
        folders.append((PACKAGE, Path(str(resources.files(PACKAGE)))))
    return folders
