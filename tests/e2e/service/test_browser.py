"""The pages in a real browser: what is drawn, from where, without a complaint on the console.

Screenshots are kept in the folder ``SCREENSHOTS`` names, else in pytest's temporary one.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from adaslide.domain.profile import PROFILES

BROWSER = Path(__file__).parents[1] / "browser"
CHROMIUM = shutil.which("chromium")
NODE = shutil.which("node")
MODULES = BROWSER / "node_modules" / "playwright-core"
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
        [NODE, str(BROWSER / "drive.mjs"), base, "sample", CHROMIUM, str(folder)],
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


@pytest.mark.parametrize(
    ("view", "layer"), [("decision", "rung"), ("fidelity", "dice"), ("second", "dice_second")]
)
def test_maps_lie_on_the_slide(seen, view, layer):
    overlay = seen[view]
    assert (overlay["layer"], overlay["hidden"], overlay["patches"]) == (layer, False, [5, 7])
    assert 0 < overlay["opacity"] < 1
    assert overlay["misplaced"] < 1.5


def test_the_patch_under_the_pointer_is_described(seen, service):
    _, row, _, col = seen["patch"]["place"].replace(",", "").split()
    patch = service.client.get(f"/slides/sample/patches/{row}/{col}").json()
    shown = seen["patch"]
    assert (patch["rung"], patch["provenance"]) == (shown["rung"], shown["provenance"])
    assert patch["restorer"] == shown["restorer"]
    assert f"{patch['quality']['dice_window_min']:.3f}" == shown["window"]
    assert f"{patch['quality']['dice_second']:.3f}" == shown["second"]
    assert (shown["agent"] is None) is (patch["p_compress"] is None)
    assert shown["search"] == ", ".join([*patch["flags"], f"{patch['measurements']} tried"])


def test_the_panel_says_what_the_package_was_made_with(seen):
    profile = PROFILES["archive"]
    made = [profile.id, profile.judge, profile.second_judge, profile.agent, *profile.restorers, "bicubic"]
    assert seen["made"] == [name for name in made if name]
    assert "dice_second" in seen["measures"]
    assert "dice_second" not in seen["uploadedMeasures"]


def test_the_page_fits_a_phone(seen):
    assert seen["phoneOverflow"] <= 0


def test_the_page_is_honest_about_restored_pixels(seen, archived):
    by_rung = archived["package"]["totals"]["patches"]["by_rung"]
    restored = sum(count for rung, count in by_rung.items() if rung in ("x4-3", "x2", "x4"))
    assert seen["note"].startswith(f"{restored} of 35 patches are restored")
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


def test_what_a_job_was_asked_for_is_shown(seen):
    assert "1 protected" in seen["uploadedRow"]


def test_regions_that_are_no_geojson_are_told_before_anything_is_sent(seen, service):
    assert seen["refused"] == "the protected regions are no JSON"
    assert len(service.client.get("/slides").json()["items"]) == 2
