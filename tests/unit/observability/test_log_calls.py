"""What our own code logs: a fixed template, and values that cannot name a patient."""

import ast
import re
from pathlib import Path

import pytest

SERVICES = Path(__file__).parents[3] / "services"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
NAMING = re.compile(
    r"\b(alias|path|paths|source|uri|url|filename|key|title|label|properties|body|query)\b|^error$|message"
)
"""What a value that may name a patient is called in this code, and the text of an error."""


def calls(source):
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and ast.unparse(node.func.value) in ("logger", "logging")
        ):
            yield node


def wrong(call):
    """Why ``call`` may log a patient's name, or None."""
    template, *values = call.args
    if not (isinstance(template, ast.Constant) and isinstance(template.value, str)):
        return "its template is put together"
    named = [ast.unparse(value) for value in values if NAMING.search(ast.unparse(value))]
    return f"it logs {named}" if named else None


FOUND = [
    pytest.param(call, id=f"{path.relative_to(SERVICES)}:{call.lineno}")
    for path in sorted(SERVICES.rglob("*.py"))
    for call in calls(path.read_bytes())
]


def test_the_calls_are_found():
    assert len(FOUND) > 4


@pytest.mark.parametrize("call", FOUND)
def test_no_call_logs_what_may_name_a_patient(call):
    assert wrong(call) is None


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("logger.info('job %s', job_id)", False),
        ("logger.info('failed: %s', type(error).__name__)", False),
        ("logger.info(f'slide {slide.alias}')", True),
        ("logger.info('slide %s', slide.alias)", True),
        ("logger.warning('cannot read %s', path)", True),
        ("logger.warning('failed: %s', error)", True),
        ("logging.error('%s', error.message)", True),
        ("logger.info('GET %s', scope['path'])", True),
    ],
)
def test_what_is_refused(source, refused):
    (call,) = calls(source)
    assert bool(wrong(call)) is refused
