"""Opaque ids that sort by time: 48 bits of milliseconds, 80 random bits (the layout of a ULID)."""

import re
import secrets
import time

ID_CHARACTERS = 26
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PATTERN = re.compile(f"[0-7][{_ALPHABET}]{{25}}")


def new_id() -> str:
    """26 lower-case characters of Crockford's base 32. Says nothing but when it was made."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def is_id(text: str) -> bool:
    """Whether ``text`` has the form of `new_id`."""
    return _PATTERN.fullmatch(text) is not None
