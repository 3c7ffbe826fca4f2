"""``make demo ONCE=1``: the real service in its own process, and nothing left behind.

Never a cluster: a demo needs no server.
"""

import subprocess
import sys
import time

import psutil
import pytest

from adaslide.domain.errors import Conflict
from adaslide.domain.profile import PROFILES
from adaslide_api.demo import demo


def left_behind(folder):
    """Processes that were started with ``folder`` as the service's data folder."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("ADASLIDE_DATA_DIR") == str(folder) and process.is_running():
                yield process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def test_demo_shows_the_sample_and_stops(sample_slide, tmp_path):
    command = [sys.executable, "-m", "adaslide_api.demo", "--once"]
    command += ["--slide", str(sample_slide), "--data", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for promised in (
        "1,938,955 became",
        "35: ",
        "floor 0.85",
        "0 patches",
        "DeepZoom tiles",
        "/viewer/CMU-1",
        "/admin",
        "restored by",
        PROFILES["archive"].judge,
        f"{PROFILES['archive'].second_judge}, which can only reject",
    ):
        assert promised in done.stdout
    report = tmp_path / "data" / "report.html"
    assert str(report) in done.stdout.replace("\n", "")
    assert "Restored patches beside their originals" in report.read_text()
    deadline = time.monotonic() + 10
    while (left := list(left_behind(tmp_path / "data"))) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def test_demo_removes_nothing_but_a_former_demo(sample_slide, tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    with pytest.raises(Conflict):
        demo(sample_slide, tmp_path, once=True)
    assert precious.read_text() == "mine"


def test_a_missing_slide_is_an_error_without_a_trace(tmp_path):
    command = [sys.executable, "-m", "adaslide_api.demo", "--once", "--slide", str(tmp_path / "none.svs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "invalid-input" in done.stdout
    assert "Traceback" not in done.stderr
