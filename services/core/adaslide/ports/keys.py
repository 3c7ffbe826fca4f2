"""What a key may look like, the same for every backend."""

from adaslide.domain.errors import InputError

MAX_KEY_LENGTH = 1024
TEMPORARY_PREFIX = ".tmp-"
"""Names that a backend may use for unfinished objects: never a part of a key."""


def checked_key(key: str) -> str:
    """``key`` when it is '/'-separated, relative, without '.', '..', empty or temporary parts and
    without backslashes and control characters; else raises `InputError`. The message does not repeat it."""
    parts = key.split("/")
    if (
        len(key) > MAX_KEY_LENGTH
        or any(part in ("", ".", "..") or part.startswith(TEMPORARY_PREFIX) for part in parts)
        or any(char == "\\" or ord(char) < 32 or 127 <= ord(char) < 160 for char in key)
    ):
        raise InputError("not the key of an object")
    return key
