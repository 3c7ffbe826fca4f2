"""The pages in a real browser: what is drawn, from where, without a complaint on the console.

Screenshots are kept in the folder ``SCREENSHOTS`` names, else in pytest's temporary one.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium")
NODE = shutil.which("node")
MODULES = HERE / "node_modules" / "playwright-core"
DRIVE_S = 240

MISSING = [
    what
    for what, there in (
        ("chromium (apt-get install chromium)", CHROMIUM),
        ("node", NODE),
        ("its packages (npm ci in tests/e2e/browser)", MODULES.is_dir()),
    )
    if not there
]

pytestmark = [
    pytest.mark.browser,
    # CI installs them: there a missing browser is a failure, not a skip.
    pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=f"missing: {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def seen(service, archived, sample_slide, tmp_path_factory):
    """What the browser says it drew."""
    assert not MISSING
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    base = str(service.client.base_url).rstrip("/")
    ran = subprocess.run(
        [NODE, str(HERE / "drive.mjs"), base, "sample", CHROMIUM, str(folder)],
        env=os.environ | {"UPLOAD": str(sample_slide)},
        capture_output=True,
        text=True,
        timeout=DRIVE_S,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout) | {"folder": folder}


@pytest.mark.parametrize("view", ["whole", "close", "uploaded"])
def test_the_slide_is_drawn(seen, view):
    assert seen[view]["painted"] > 0.3
    assert seen[view]["deviation"] > 15


@pytest.mark.parametrize(("view", "layer"), [("decision", "rung"), ("fidelity", "dice")])
def test_maps_lie_on_the_slide(seen, view, layer):
    overlay = seen[view]
    assert (overlay["layer"], overlay["hidden"], overlay["patches"]) == (layer, False, [5, 7])
    assert 0 < overlay["opacity"] < 1
    assert overlay["misplaced"] < 1.5


def test_the_patch_under_the_pointer_is_described(seen, service):
    _, row, _, col = seen["patch"]["place"].replace(",", "").split()
    patch = service.client.get(f"/slides/sample/patches/{row}/{col}").json()
    assert (patch["rung"], patch["provenance"]) == (seen["patch"]["rung"], seen["patch"]["provenance"])


def test_the_page_is_honest_about_restored_pixels(seen, archived):
    by_rung = archived["package"]["totals"]["patches"]["by_rung"]
    assert seen["note"].startswith(f"{by_rung['x4']} of 35 patches are restored")
    assert seen["uploadedNote"].startswith("Every pixel is the scanner's own")


def test_jobs_are_listed(seen, archived):
    listed = {job["id"]: job for job in seen["jobs"]}
    assert listed[archived["id"]]["state"] == "succeeded"
    assert "archive" in listed[archived["id"]]["text"]
    assert float(seen["saved"].rstrip(" %")) > 0


def test_nothing_is_fetched_from_elsewhere_and_nothing_complains(seen):
    assert seen["foreign"] == []
    assert seen["complaints"] == []


def test_screenshots_are_kept(seen):
    names = {path.stem for path in seen["folder"].glob("*.png")}
    assert {"viewer-restored", "viewer-decision", "viewer-fidelity", "viewer-dark", "admin"} <= names
