"""The viewer in a real browser, of a service that asks for credentials."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from adaslide.domain.access import Role

BROWSER = Path(__file__).parents[2] / "e2e" / "browser"
CHROMIUM, NODE = shutil.which("chromium"), shutil.which("node")
READY = bool(CHROMIUM and NODE) and (BROWSER / "node_modules" / "playwright-core").is_dir()

pytestmark = [
    pytest.mark.browser,
    # CI installs them: there a missing browser is a failure, not a skip.
    pytest.mark.skipif(not READY and not os.environ.get("CI"), reason="missing: chromium, node or npm ci"),
]


@pytest.fixture
def look(holding):
    """What the browser sees of a package."""

    def look(package):
        key = holding.api_key(Role.VIEWER)[0]
        command = [NODE, BROWSER / "secured.mjs", str(holding.client.base_url).rstrip("/"), holding.slide]
        ran = subprocess.run(
            [*command, holding.packages[package], key, CHROMIUM], capture_output=True, text=True, timeout=200
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return look


def test_restored_pixels_are_marked_while_they_are_on_screen(look):
    seen = look("paper")
    assert (seen["close"], seen["far"], seen["again"]) == (True, False, True)
    assert seen["complaints"] == []
    assert seen["images"]["withToken"] > 3
    assert seen["images"]["refused"] == 0
    assert set(seen["renewed"]) == {200}


def test_exact_pixels_are_not(look):
    seen = look("exact")
    assert (seen["close"], seen["far"], seen["again"]) == (False, False, False)
    assert seen["images"]["refused"] == 0
