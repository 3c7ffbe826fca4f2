"""Logs: their form, and that nothing of a patient is in them."""

import asyncio
import io
import json
import logging
from pathlib import Path

import pytest

from adaslide.domain.errors import StoreUnavailable
from adaslide.observability.logs import WITHHELD, about, setup_logs
from adaslide.settings import Telemetry

SECRET = "Doe^Jane-1961"


@pytest.fixture(autouse=True)
def _loggers_as_before():
    root = logging.getLogger()
    names = ("", "adaslide", "adaslide_api", "adaslide_worker", "adaslide_api.access")
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def stream():
    stream = io.StringIO()
    setup_logs(Telemetry(log_format="json"), stream)
    return stream


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_json_object(stream):
    with about(job="01J8", shard="0.1"):
        logging.getLogger("adaslide_worker.runner").info("job %s: %d patches\nand a second line", "01J8", 3)
    (line,) = lines(stream)
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "adaslide_worker.runner",
        "message": "job 01J8: 3 patches\nand a second line",
        "job": "01J8",
        "shard": "0.1",
    }


def test_what_is_about_one_job_ends_with_it(stream):
    logger = logging.getLogger("adaslide.x")
    with about(job="a"), about(shard="1.2"):
        logger.info("in")
    logger.info("out", extra={"job": "b"})
    inside, outside = lines(stream)
    assert (inside["job"], inside["shard"], outside["job"]) == ("a", "1.2", "b")
    assert "shard" not in outside


@pytest.mark.parametrize("value", [SECRET, "a/path.svs", "with space", "x" * 65, ""])
def test_a_field_that_is_no_opaque_id_is_withheld(stream, value):
    with about(slide=value):
        logging.getLogger("adaslide.x").info("said")
    assert lines(stream)[0]["slide"] == WITHHELD


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("logger", ["adaslide_worker.runner", "asyncio", "urllib3"])
def test_an_exceptions_text_is_never_written_but_its_place_is(form, logger):
    stream = io.StringIO()
    setup_logs(Telemetry(log_format=form), stream)
    try:
        Path(f"/nowhere/{SECRET}.svs").read_bytes()
    except FileNotFoundError:
        logging.getLogger(logger).exception("it failed")
    assert SECRET not in stream.getvalue()
    assert "FileNotFoundError" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()


def test_an_error_of_ours_shows_its_code(stream):
    def fail():
        raise StoreUnavailable("the store does not answer")

    try:
        fail()
    except StoreUnavailable:
        logging.getLogger("adaslide.x").exception("it failed")
    assert lines(stream)[0]["error"]["code"] == "store-unavailable"


def test_arguments_of_other_libraries_are_not_written(stream):
    logging.getLogger("botocore.hooks").warning("Cannot read %s", f"/slides/{SECRET}.svs")
    logging.getLogger("PIL.Image").warning(f"Cannot identify '/slides/{SECRET}.svs'")
    logging.getLogger("some.lib").warning(SECRET.replace("-", "="))
    assert SECRET not in stream.getvalue()
    assert [line["message"] for line in lines(stream)[:2]] == ["Cannot read %s", "Cannot identify"]


def test_a_forgotten_tasks_exception_is_not_written(stream):
    async def forget():
        async def fail():
            raise OSError(f"/slides/{SECRET}.svs")

        task = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task

    asyncio.run(forget())
    assert SECRET not in stream.getvalue()
    assert [line["error"]["type"] for line in lines(stream)] == ["OSError"]


def test_other_libraries_speak_from_warnings_on_and_ours_from_what_is_set():
    stream = io.StringIO()
    setup_logs(Telemetry(log_format="json", log_level="WARNING"), stream)
    for name in ("adaslide.x", "botocore"):
        logging.getLogger(name).info("not heard")
        logging.getLogger(name).warning("heard")
    assert [line["message"] for line in lines(stream)] == ["heard", "heard"]


def test_a_terminal_gets_text():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    setup_logs(Telemetry(), stream)
    with about(job="01J8"):
        logging.getLogger("adaslide.x").info("ready")
    logging.getLogger("adaslide_api.access").info("GET / 200 1 ms")
    assert stream.getvalue().endswith("INFO adaslide.x: ready job=01J8\n")
