"""What an integrator does, over HTTP, to the real service."""

import io
import json
import subprocess
import sys
import time
from hashlib import sha256

import httpx
import numpy as np
import pytest
import simplejpeg
import zarr
from markupsafe import escape
from PIL import Image

from adaslide.addressing.deepzoom import DeepZoom
from adaslide.domain.geometry import Size
from adaslide.domain.profile import PROFILES
from adaslide.package.zarr_codec import PatchCodec  # noqa: F401 - registers the codec
from adaslide.pipeline.maps import AGENT_NOTE
from adaslide.wiring import folder_store
from e2e.services import problem

SIZE = Size(2220, 2967)


@pytest.fixture(scope="module")
def client(service, archived):
    return service.client


@pytest.fixture(scope="module")
def package_path(service, archived):
    return service.package_folder(archived["package"]["id"])


@pytest.fixture(scope="module")
def restored(package_path):
    """(h, w, 3) uint8: the package as plain zarr-python reads it."""
    return np.moveaxis(zarr.open_group(package_path, mode="r")["0"][...], 0, -1)


class TestJobs:
    def test_the_job_says_what_came_of_it(self, archived):
        assert archived["progress"] == {"done": 35, "total": 35, "unit": "patches"}
        totals = archived["package"]["totals"]
        assert totals["package_bytes"] < 0.35 * totals["source_tile_bytes"]
        assert totals["violations"] == 0

    def test_the_same_work_again_is_the_package(self, client, archived):
        answer = client.post("/slides/sample/compress", json={"profile": "archive"})
        assert answer.status_code == 200
        assert answer.json()["id"] == archived["package"]["id"]

    def test_events_can_be_taken_up_where_they_were_left(self, client, archived):
        def events(after=None):
            headers = {"Last-Event-ID": str(after)} if after else {}
            found = []
            with client.stream("GET", f"/jobs/{archived['id']}/events", headers=headers) as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                for line in stream.iter_lines():
                    if line.startswith("id: "):
                        found.append(int(line[4:]))
                    if line.startswith("data: "):
                        last = json.loads(line[6:])
            return found, last

        every, last = events()
        assert last["state"] == "succeeded"
        assert every == sorted(every)
        assert events(every[1])[0] == every[2:]

    def test_patches_are_seen_to_advance_before_their_shard_is_finished(self, service, client, sample_slide):
        client.put("/slides/to follow", json={"uri": sample_slide.as_uri()}).raise_for_status()
        job = client.post("/slides/to follow/compress", json={"dice_floor": 0.91}).json()
        between, event = [], {}
        with client.stream("GET", job["links"]["events"]) as stream:
            for line in stream.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                    continue
                if event.get("event") == "progress" and "id" not in event:
                    between.append(json.loads(event["data"])["done"])
                    if len(between) == 2:
                        break
                event = {}
        assert 0 < between[0] < between[1] < 35
        client.delete(f"/jobs/{job['id']}")
        assert service.job(job["id"])["state"] == "cancelled"

    def test_cancelling_a_job_under_way_leaves_nothing(self, service, client, sample_slide):
        client.put("/slides/to cancel", json={"uri": sample_slide.as_uri()}).raise_for_status()
        before = service.package_ids()
        job = client.post("/slides/to cancel/compress", json={"profile": "archive", "dice_floor": 0.9}).json()
        service.wait(lambda: client.get(f"/jobs/{job['id']}").json()["progress"]["done"] > 0)
        answer = client.delete(f"/jobs/{job['id']}")
        assert answer.status_code == 202
        assert answer.json()["state"] == "cancelling"
        assert service.job(job["id"])["state"] == "cancelled"
        service.wait(lambda: not service.scratch())
        assert client.get("/slides/to cancel").json()["packages"] == []
        assert service.package_ids() == before
        assert client.delete(f"/jobs/{job['id']}").status_code == 202

    def test_a_finished_job_cannot_be_cancelled(self, client, archived):
        problem(client.delete(f"/jobs/{archived['id']}"), 409, "conflict")

    def test_one_request_is_enough_and_an_idempotency_key_makes_it_safe(self, service, client, sample_slide):
        body = {"profile": "exact", "source": {"uri": sample_slide.as_uri()}}
        headers = {"Idempotency-Key": "order-1"}
        url = "/slides/one request/compress"
        first = client.post(url, json=body, headers=headers)
        assert first.status_code == 202
        assert first.headers["location"] == f"/jobs/{first.json()['id']}"
        assert int(first.headers["retry-after"]) > 0
        again = client.post(url, json=body, headers=headers).json()
        assert first.json()["id"] in (again["id"], again.get("job"))  # the job, or its package if it is done
        other = client.post(url, json={**body, "profile": "paper"}, headers=headers)
        problem(other, 409, "conflict")
        # Without the key as well: the same work is not queued twice.
        once_more = client.post(url, json=body).json()
        assert first.json()["id"] in (once_more["id"], once_more.get("job"))
        assert service.job(first.json()["id"])["state"] == "succeeded"

    def test_a_slide_that_fails_says_why(self, client, tmp_path):
        upload = {"file": ("name.svs", b"not a slide at all" * 100)}
        body = problem(client.post("/slides", files=upload), 415, "unsupported-format")
        assert "name" not in body["detail"]


class TestPixels:
    def test_the_package_over_http_is_the_package(self, client, package_path):
        store = folder_store(package_path)
        for key, size in store.list():
            answer = client.get(f"/slides/sample/package/{key}")
            # Not compared as bytes: telling where megabytes differ takes minutes.
            assert sha256(answer.content).digest() == sha256(store.get(key)).digest(), key
            assert int(answer.headers["content-length"]) == size

    @pytest.mark.parametrize(
        ("header", "expected"),
        [("bytes=10-19", (10, 20)), ("bytes=-8", (-8, None)), ("bytes=100-", (100, None))],
    )
    def test_ranges(self, client, package_path, header, expected):
        data = (package_path / "0/c/0/0/0").read_bytes()
        answer = client.get("/slides/sample/package/0/c/0/0/0", headers={"Range": header})
        assert answer.status_code == 206
        assert answer.content == data[slice(*expected)]
        assert answer.headers["content-range"].endswith(f"/{len(data)}")

    def test_a_range_behind_the_end(self, client):
        answer = client.get("/slides/sample/package/zarr.json", headers={"Range": "bytes=9999999-"})
        problem(answer, 416, "range-not-satisfiable")

    @pytest.mark.parametrize(
        "key", ["../../adaslide.sqlite", "..%2F..%2Flock", "%2e%2e/lock", "0/c/0/0/9", "0"]
    )
    def test_nothing_but_the_package_is_served(self, client, key):
        answer = httpx.get(f"{client.base_url}slides/sample/package/{key}")
        assert answer.status_code == 404

    def test_region_equals_plain_zarr(self, client, restored):
        x, y, w, h = 431, 902, 700, 531
        query = {"x": x, "y": y, "w": w, "h": h}
        expected = restored[y : y + h, x : x + w]
        npy = client.get("/slides/sample/region", params={**query, "format": "npy"})
        assert np.array_equal(np.load(io.BytesIO(npy.content)), expected)
        png = client.get("/slides/sample/region", params=query)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(png.content))), expected)
        jpeg = client.get("/slides/sample/region", params={**query, "x": 0, "format": "jpeg", "level": 1})
        assert Image.open(io.BytesIO(jpeg.content)).size == (w, h)

    @pytest.mark.parametrize(
        ("query", "status", "code"),
        [
            ("x=2200&y=0&w=100&h=10", 422, "region-out-of-range"),
            ("x=0&y=0&w=0&h=10", 422, "invalid-input"),
            ("x=-1&y=0&w=5&h=10", 422, "invalid-input"),
            ("x=0&y=0&w=100000&h=100000", 413, "slide-too-large"),
            ("x=0&y=0&w=9&h=9&format=gif", 422, "invalid-input"),
            ("x=0&y=0&w=1&h=1&level=30", 422, "region-out-of-range"),
        ],
    )
    def test_regions_have_bounds(self, client, query, status, code):
        problem(client.get(f"/slides/sample/region?{query}"), status, code)

    def test_tiles_at_full_resolution_are_the_pixels(self, client, restored):
        pyramid = DeepZoom(SIZE, 480)
        level = pyramid.max_level
        for col, row in ((0, 0), (2, 3), (4, 6)):
            region = pyramid.address(level, col, row).region
            expected = restored[region.y : region.bottom, region.x : region.right]
            answer = client.get(f"/slides/sample_files/{level}/{col}_{row}.png")
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), expected)
            assert answer.headers["x-adaslide-provenance"] in {"lossy", "restored", "background"}
            jpeg = simplejpeg.decode_jpeg(client.get(f"/slides/sample_files/{level}/{col}_{row}.jpg").content)
            assert np.abs(jpeg.astype(int) - expected).mean() < 4

    def test_every_level_has_its_tiles(self, client):
        descriptor = client.get("/slides/sample.dzi")
        assert 'TileSize="480"' in descriptor.text
        assert 'Width="2220" Height="2967"' in descriptor.text
        pyramid = DeepZoom(SIZE, 480)
        for level in range(pyramid.max_level + 1):
            for suffix in ("jpg", "webp", "avif"):
                answer = client.get(f"/slides/sample_files/{level}/0_0.{suffix}")
                assert answer.status_code == 200
                region = pyramid.address(level, 0, 0).region
                assert Image.open(io.BytesIO(answer.content)).size == (region.width, region.height)

    def test_tiles_can_be_kept(self, client, archived):
        url = "/slides/sample_files/12/4_4.webp"
        first = client.get(url)
        assert first.headers["etag"].startswith('"')
        assert {"private", "immutable"} <= set(first.headers["cache-control"].split(", "))
        assert "dur=" in first.headers["server-timing"]
        tag = first.headers["etag"]
        again = client.get(url, headers={"If-None-Match": f'"x", {tag}'})
        assert (again.status_code, again.content) == (304, b"")
        named = client.get(url, params={"package": archived["package"]["id"]})
        assert (named.headers["etag"], named.content) == (tag, first.content)

    @pytest.mark.parametrize("tile", ["12/9_0.jpg", "13/0_0.jpg", "12/0_0.gif", "12/x.jpg", "12/-1_0.jpg"])
    def test_tiles_that_are_not_there(self, client, tile):
        problem(client.get(f"/slides/sample_files/{tile}"), 404, "not-found")

    def test_tiles_name_the_nets_that_synthesised_their_pixels(self, client, archived):
        patches = [client.get(f"/slides/sample/patches/{row}/{col}").json() for row, col in np.ndindex(7, 5)]
        by_rung = archived["package"]["totals"]["patches"]["by_rung"]
        restored = [patch for patch in patches if patch["provenance"] == "restored"]
        assert len(restored) == sum(count for rung, count in by_rung.items() if rung in ("x4-3", "x2", "x4"))
        for patch in patches:
            answer = client.get(f"/slides/sample_files/12/{patch['col']}_{patch['row']}.webp")
            said = answer.headers.get("x-adaslide-weights")
            assert answer.headers["x-adaslide-provenance"] == patch["provenance"]
            assert said == (patch["restorer"] if patch["restorer"] != "bicubic" else None)
            assert (patch["restorer"] is None) is (patch["provenance"] != "restored")
        whole = client.get("/slides/sample/region?x=0&y=0&w=2220&h=2967&format=jpeg")
        nets = {patch["restorer"] for patch in restored} - {"bicubic"}
        assert whole.headers.get("x-adaslide-weights", "") == ", ".join(sorted(nets))
        small = client.get("/slides/sample/region?x=0&y=0&w=100&h=100&level=2")
        assert "x-adaslide-weights" not in small.headers

    @pytest.mark.parametrize("layer", ["rung", "p_compress", "dice", "dice_second", "ssim"])
    def test_maps(self, client, layer):
        answer = client.get(f"/slides/sample/maps/{layer}.png?scale=3")
        assert np.asarray(Image.open(io.BytesIO(answer.content))).shape == (7 * 3, 5 * 3, 4)

    def test_a_patch_says_how_it_is_kept(self, client):
        patch = client.get("/slides/sample/patches/3/2").json()
        assert patch["quality"]["dice"] >= 0.85
        assert patch["quality"]["dice_second"] >= 0.70
        assert patch["measurements"] > 0
        assert set(patch["flags"]) <= {"proposed", "demoted", "promoted"}
        assert 0 < patch["bytes"] < patch["source_bytes"]
        problem(client.get("/slides/sample/patches/99/0"), 422, "region-out-of-range")


class TestManners:
    @pytest.mark.parametrize("path", ["/", "/admin", "/viewer/sample", "/problems/missing-mpp"])
    def test_pages_are_self_contained(self, client, path):
        answer = client.get(path, follow_redirects=True)
        assert answer.status_code == 200
        assert "//" not in answer.text.replace("<!doctype html>", "").replace("http://www.w3.org", "")
        assert "script-src 'self'" in answer.headers["content-security-policy"]

    def test_the_viewer_says_what_the_package_was_made_with(self, client, archived):
        text = client.get("/viewer/sample").text
        assert str(escape(AGENT_NOTE)) in text
        profile = PROFILES["archive"]
        for name in (profile.id, profile.judge, profile.second_judge, *profile.restorers, profile.agent):
            assert (name or "bicubic") in text
        assert '<option value="dice_second">' in text

    def test_a_slide_without_package_has_a_page_that_says_so(self, client):
        answer = client.get("/viewer/nobody")
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")

    def test_another_host_name_is_refused(self, client):
        problem(client.get("/slides", headers={"Host": "slides.example:80"}), 421, "wrong-host")

    def test_another_sites_page_changes_nothing(self, client):
        answer = client.post("/slides/sample/compress", headers={"Origin": "https://evil.example"})
        problem(answer, 403, "wrong-origin")
        same = client.post("/slides/sample/compress", headers={"Origin": str(client.base_url).rstrip("/")})
        assert same.status_code == 200

    def test_names_of_slides_are_in_no_log(self, client, service):
        client.get("/slides/Jane%20Doe")
        client.get("/slides/sample")
        assert "Jane" not in service.log_text()

    def test_one_service_per_data_folder(self, embedded):
        """Of a cluster each process has a folder of its own, and none is another's."""
        serve = [sys.executable, "-c", "from adaslide.cli import main; main()", "serve", "--port", "0"]
        environment = {"ADASLIDE_DATA_DIR": str(embedded.data), "PATH": ""}
        second = subprocess.run(serve, env=environment, capture_output=True, text=True, timeout=60)
        assert second.returncode != 0
        assert "another service uses this data folder" in second.stdout + second.stderr

    def test_it_stops_in_time_while_somebody_follows_a_job(self, service, client, sample_slide):
        client.put("/slides/to stop", json={"uri": sample_slide.as_uri()}).raise_for_status()
        job = client.post("/slides/to stop/compress", json={"dice_floor": 0.89}).json()
        api = service.apis[0]
        with httpx.stream("GET", f"{api.url}/jobs/{job['id']}/events", timeout=60) as stream:
            next(stream.iter_lines())
            started = time.monotonic()
            assert api.stop() == 0
        assert time.monotonic() - started < 15
        service.start_again()
        client.delete(f"/jobs/{job['id']}")
        assert service.job(job["id"])["state"] == "cancelled"
