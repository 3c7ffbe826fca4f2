"""What the commands share: where they write, how, and what they exit with."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

EXIT_INPUT, EXIT_INTEGRITY, EXIT_UNAVAILABLE = 3, 4, 5

console = Console(stderr=True)
"""For people: progress, notes and errors. Results go to the standard output."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def print_json(data: dict[str, Any]) -> None:
    """Results for machines; a number that JSON does not know is a bug, not ``NaN``."""
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")
