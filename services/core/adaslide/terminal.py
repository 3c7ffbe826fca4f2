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


def print_json(data: dict[str, Any] | list[Any]) -> None:
    """Results for machines; a number that JSON does not know is a bug, not ``NaN``."""
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")


def not_restored(totals: dict[str, Any]) -> str:
    """How many patches nothing was restored of, by why: ``2 unknown stain``; empty for none."""
    whys = totals["patches"].get("not_restored", {})  # absent from packages of before there was a policy
    return ", ".join(f"{count} {why.replace('_', ' ')}" for why, count in whys.items() if count)
