"""Results as files: what was measured, with the command and the machine that measured it."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
SAMPLE = Path(__file__).parent.parent / "samples" / "CMU-1-Small-Region.svs"


def write(name: str, result: dict[str, Any]) -> None:
    """Writes ``benchmarks/results/NAME.json`` and prints it."""
    document = {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "adaslide": version("adaslide"),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        **result,
    }
    text = json.dumps(document, indent=2) + "\n"
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(text)
    sys.stdout.write(text)
