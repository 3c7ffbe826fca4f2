"""Writes ``.env`` for docker-compose.yml from ``.env.example``, with secrets of its own. Needs Python alone.

What stands in an existing ``.env`` is kept: a password that a volume was made with must not change.
"""

import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BYTES = 24


def complete(example: str, present: str) -> str:
    """``present`` with every line of ``example`` that it lacks; empty values become secrets."""
    known = {line.partition("=")[0] for line in present.splitlines() if "=" in line and line[0] != "#"}
    added = []
    for line in example.splitlines():
        name, equals, value = line.partition("=")
        if line.startswith("#") or not equals:
            if not present:
                added.append(line)
        elif name not in known:
            added.append(f"{name}={value or secrets.token_hex(BYTES)}")
    lines = [*present.splitlines(), *added]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Completes ``.env`` beside the compose file; only its owner may read it."""
    path = ROOT / ".env"
    present = path.read_text() if path.exists() else ""
    text = complete((ROOT / ".env.example").read_text(), present)
    if text != present:
        unfinished = path.with_name(".env.new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        unfinished.replace(path)
        sys.stdout.write("wrote .env\n")


if __name__ == "__main__":
    main()
