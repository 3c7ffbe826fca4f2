"""``--set key=value``: a recipe with other values."""

import json
from dataclasses import fields, replace
from typing import Any, TypeVar

from adaslide.domain.errors import InputError

Config = TypeVar("Config", bound=Any)


def overridden(config: Config, assignments: list[str]) -> Config:
    """``config``, a frozen dataclass, with ``key=value`` assignments; values are JSON, lists become tuples.

    Raises `InputError` for a key that the recipe does not have and a value that is no JSON.
    """
    known = {field.name for field in fields(config)}
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, _, text = assignment.partition("=")
        if key not in known:
            raise InputError(f"the recipe has no setting {key!r}; it has {', '.join(sorted(known))}")
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{assignment!r}: the value must be JSON") from error
        changes[key] = tuple(value) if isinstance(value, list) else value
    return replace(config, **changes)
