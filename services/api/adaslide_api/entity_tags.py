"""Entity tags: what an answer is, without naming whose it is; also the key under which tiles are kept."""

import hashlib
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import Request

from adaslide_api.packages import OpenPackage
from adaslide_api.policy import USE_HEADER

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "As If-None-Match has it"}}
"""``responses=`` of a route that knows entity tags."""
BYTES = {"type": "string", "format": "binary"}
YEAR_S, MINUTE_S = 31_536_000, 60


def cache_headers(request: Request, tag: str) -> dict[str, str]:
    """A package never changes. A URL that does not name one may mean another package soon."""
    age = YEAR_S if "package" in request.query_params else MINUTE_S
    return {"ETag": tag, "Cache-Control": f"private, max-age={age}, immutable", "Vary": USE_HEADER}


@cache
def _software() -> tuple[str, ...]:
    """Versions of what turns payloads into pixels and pixels into bytes: another one, another entity."""
    names = ("adaslide", "imagecodecs", "onnxruntime", "pillow", "simplejpeg")
    return tuple(version(name) for name in names)


def make_tag(package: OpenPackage, *parts: object) -> str:
    """A strong entity tag: the same package, address and software give the same bytes."""
    text = "/".join(map(str, (package.record.id, *_software(), *parts)))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def tile_tag(
    package: OpenPackage, level: int, col: int, row: int, suffix: str, *, preview: bool = False
) -> str:
    """Of the DeepZoom tile at that address, or of what stands in for its restored pixels."""
    return make_tag(package, "tile", level, col, row, suffix, *(["preview"] if preview else []))


def not_modified(request: Request, tag: str) -> bool:
    """Whether ``If-None-Match`` holds the tag."""
    given = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    return tag in given or "*" in given
