"""What every `UploadFiles` and every `UploadRepository` promise."""

import hashlib
import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adaslide.adapters.db.ids import new_id
from adaslide.adapters.objects.s3 import S3Store
from adaslide.adapters.objects.s3_client import s3_client
from adaslide.adapters.slide_files import growing, parts
from adaslide.adapters.slide_files.bucket import BucketSlideFiles
from adaslide.adapters.slide_files.folder import FolderSlideFiles
from adaslide.adapters.slide_files.growing import GrowingFiles
from adaslide.adapters.slide_files.parts import PartedFiles
from adaslide.adapters.slide_files.sources import SourceBuckets
from adaslide.domain.errors import ChecksumMismatch, NotFound, StoreUnavailable
from adaslide.ports.jobs import SlideRecord
from adaslide.ports.uploads import UploadRecord
from contract.records import opened, slide_record

STEP = 5 * 2**20
"""The smallest part that S3 takes."""
NAME = "source.svs"


@pytest.fixture(scope="module")
def bucket(s3):
    return s3.fresh_bucket()


@pytest.fixture
def store(s3, bucket):
    return S3Store(s3.client(), bucket, "service")


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", STEP)
    monkeypatch.setattr(growing, "STEP_BYTES", STEP)


@pytest.fixture(params=["folder", "bucket"])
def machines(request, tmp_path):
    """Makes (uploads, slides) as each of several processes has them."""
    if request.param == "folder":
        return lambda _name="a": (GrowingFiles(tmp_path / "data"), FolderSlideFiles(tmp_path / "data"))
    store = request.getfixturevalue("store")

    def machine(name="a"):
        fetch = SourceBuckets(None, ()).get_file
        return PartedFiles(store, tmp_path / name), BucketSlideFiles(store, tmp_path / name, 2**30, fetch)

    return machine


@pytest.fixture
def files(machines):
    return machines()[0]


def begun(files, length, name=NAME):
    now = datetime.now(UTC)
    upload_id = new_id()
    place = files.begin(upload_id, name, length)
    return UploadRecord(upload_id, "default", name, length, place, now, now + timedelta(hours=1))


def appended(files, upload, data):
    """The upload after ``data``, given in pieces that `step` allows."""
    while data:
        piece, data = data[: files.step(upload)], data[files.step(upload) :]
        with files.turn(upload):
            files.append(upload, piece)
        upload = replace(upload, received=upload.received + len(piece))
    return upload


def content_of(files, upload):
    with files.whole(upload) as path:
        assert path.suffix == ".svs"
        return path.read_bytes()


@pytest.mark.parametrize("length", [1, STEP - 1, STEP, STEP + 1, 2 * STEP, 2 * STEP + 17])
def test_what_was_appended_is_the_file(files, length):
    content = os.urandom(length)
    upload = appended(files, begun(files, length), content)
    assert upload.complete
    assert files.step(upload) == 0
    assert content_of(files, upload) == content


@pytest.mark.parametrize("cuts", [[1], [STEP + 1], [7, STEP - 7, STEP + 3], [3] * 5 + [STEP] * 2 + [1]])
def test_it_goes_on_in_another_process_wherever_it_was_cut(machines, cuts):
    content = os.urandom(3 * STEP + 11)
    upload, start = begun(machines()[0], len(content)), 0
    for number, length in enumerate(cuts):
        upload = appended(machines(f"m{number}")[0], upload, content[start : start + length])
        start += length
    upload = appended(machines("last")[0], upload, content[start:])
    assert content_of(machines("reader")[0], upload) == content


def test_a_complete_upload_is_the_file_of_its_slide(machines, sample_slide):
    content = sample_slide.read_bytes()
    uploads, _ = machines()
    upload = appended(uploads, begun(uploads, len(content)), content)
    for _ in range(2):  # the first answer may have been lost
        assert content_of(uploads, upload) == content
    slide = SlideRecord(
        upload.id, None, NAME, True, {"source_bytes": len(content)},
        hashlib.sha256(content).hexdigest(), datetime.now(UTC),
    )  # fmt: skip
    with machines("worker")[1].local(slide) as path:
        assert path.read_bytes() == content


@pytest.mark.parametrize("kept", [100, STEP])
def test_bytes_that_were_kept_but_not_noted_are_written_again(files, kept):
    """The process died between the two."""
    content = os.urandom(STEP + 200)
    upload = begun(files, len(content))
    appended(files, upload, content[:kept])
    assert content_of(files, appended(files, upload, content)) == content


def test_an_incomplete_upload_is_no_file(files):
    upload = appended(files, begun(files, STEP + 10), os.urandom(STEP))
    with pytest.raises(ChecksumMismatch), files.whole(replace(upload, received=STEP + 10)):
        pass


def test_what_was_removed_does_not_come_back(files):
    content = os.urandom(STEP + 100)
    upload = appended(files, begun(files, len(content)), content[: STEP + 50])
    files.remove(upload)
    files.remove(upload)
    with pytest.raises(NotFound):
        appended(files, upload, content[STEP + 50 :])
    with pytest.raises((NotFound, ChecksumMismatch)), files.whole(replace(upload, received=len(content))):
        pass


def test_sweeping_the_slides_uploads_leaves_these(machines):
    uploads, slides = machines()
    content = os.urandom(STEP + 5)
    upload = appended(uploads, begun(uploads, len(content)), content[:5])
    slides.sweep_uploads()
    assert content_of(uploads, appended(uploads, upload, content[5:])) == content


class TestFolder:
    @pytest.fixture
    def files(self, tmp_path):
        return GrowingFiles(tmp_path)

    def test_only_one_at_a_time_appends(self, files):
        upload, order = begun(files, 10), []

        def second():
            with files.turn(upload):
                order.append("second")

        with files.turn(upload):
            thread = threading.Thread(target=second)
            thread.start()
            time.sleep(0.2)
            order.append("first")
        thread.join(30)
        assert order == ["first", "second"]

    def test_a_full_disk_is_told_without_the_path(self, files, tmp_path):
        upload = begun(files, 10)
        path = tmp_path / "slides" / upload.id / NAME
        path.unlink()
        path.symlink_to("/dev/full")
        with pytest.raises(StoreUnavailable) as caught:
            files.append(upload, b"1")
        assert str(tmp_path) not in caught.value.message


class TestBucket:
    @pytest.fixture
    def files(self, store, tmp_path):
        return PartedFiles(store, tmp_path)

    def keys(self, store, upload):
        found = [key for key, _ in store.list() if upload.id in key]
        return [key.replace(upload.id, "ID") for key in found]

    def test_what_lies_in_the_bucket_has_the_names_that_are_documented(self, files, store, tmp_path):
        content = os.urandom(2 * STEP + 9)
        upload = appended(files, begun(files, len(content)), content[:7])
        assert self.keys(store, upload) == ["uploads/ID/7"]
        upload = appended(files, upload, content[7:20])
        upload = appended(files, upload, content[20 : STEP + 9])
        assert f"uploads/ID/{STEP + 9}" in self.keys(store, upload)
        upload = appended(files, upload, content[STEP + 9 :])
        with files.whole(upload):
            assert self.keys(store, upload) == ["slides/ID/source.svs"]
        assert list((tmp_path / "uploads").iterdir()) == []

    def test_bytes_aside_do_not_pile_up(self, files, store):
        upload = begun(files, 100)
        for _ in range(20):
            upload = appended(files, upload, b"x")
        assert len(self.keys(store, upload)) <= 2

    def test_nothing_is_left_of_what_was_removed(self, files, store, s3, bucket):
        upload = appended(files, begun(files, 2 * STEP), os.urandom(STEP + 1))
        files.remove(upload)
        assert self.keys(store, upload) == []
        under_way = s3.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        assert not [entry for entry in under_way if upload.id in entry["Key"]]

    def test_an_answer_that_was_lost_does_no_harm(self, s3, bucket, fault_proxy, tmp_path):
        client = s3_client(s3.settings(endpoint=fault_proxy.endpoint))
        files = PartedFiles(S3Store(client, bucket, "service"), tmp_path)
        content = os.urandom(STEP + 100)
        upload = begun(files, len(content))
        fault_proxy.fault("lost", method="PUT", times=1)
        with suppress(StoreUnavailable):
            files.append(upload, content[:STEP])
        fault_proxy.clear()
        upload = appended(files, upload, content)
        fault_proxy.fault("lost", method="POST", times=1)
        with suppress(StoreUnavailable), files.whole(upload):
            pass
        fault_proxy.clear()
        assert content_of(files, upload) == content


class UploadRepositoryContract:
    """The promises of the rows."""

    @pytest.fixture
    def upload(self, database):
        now = datetime.now(UTC)
        upload = UploadRecord(new_id(), "north", NAME, 2**40, {"parts": "x"}, now, now + timedelta(hours=1))
        with database.write() as unit:
            unit.uploads.add(upload)
        return upload

    def find(self, database, upload, tenant="north"):
        with database.read() as unit:
            return unit.uploads.find(upload.id, tenant)

    def test_it_is_found_as_it_was_added(self, database, upload):
        assert self.find(database, upload) == upload

    def test_another_tenants_does_not_exist(self, database, upload):
        with pytest.raises(NotFound):
            self.find(database, upload, "south")

    def test_of_two_that_go_on_one_does(self, database, upload):
        later = upload.expires_at + timedelta(hours=1)
        with database.write() as unit:
            assert unit.uploads.advance(upload.id, 0, 2**33, later)
        with database.write() as unit:
            assert not unit.uploads.advance(upload.id, 0, 5, later)
        assert self.find(database, upload) == replace(upload, received=2**33, expires_at=later)

    def test_what_has_become_a_slide_changes_no_more(self, database, upload):
        slide = slide_record("case 7", id=upload.id, tenant="north")
        with database.write() as unit:
            unit.slides.add(slide)
            assert unit.uploads.become(upload.id, slide.id)
        with database.write() as unit:
            assert not unit.uploads.become(upload.id, slide.id)
            assert not unit.uploads.end(upload.id)
            assert not unit.uploads.advance(upload.id, 0, 1, upload.expires_at)
        assert self.find(database, upload).slide_id == slide.id

    def test_what_has_ended_is_gone_for_callers_and_told_to_the_sweeper(self, database, upload):
        with database.write() as unit:
            assert unit.uploads.end(upload.id)
        with pytest.raises(NotFound):
            self.find(database, upload)
        with database.write() as unit:
            assert not unit.uploads.become(upload.id, new_id())
            assert [found.id for found in unit.uploads.ended()] == [upload.id]
            unit.uploads.forget(upload.id)
            assert unit.uploads.ended() == []

    def expired(self, database, upload, slide_id=None):
        """Its time over; ``slide_id`` is the slide it became before."""
        with database.write() as unit:
            if slide_id is not None:
                unit.slides.add(slide_record(id=slide_id, tenant="north"))
            soon = datetime.now(UTC) + timedelta(seconds=0.3)
            assert unit.uploads.advance(upload.id, 0, 1, soon)
            assert slide_id is None or unit.uploads.become(upload.id, slide_id)
        with database.write() as unit:
            unit.uploads.expire()
            assert unit.uploads.ended() == []
        time.sleep(0.35)
        with pytest.raises(NotFound):
            self.find(database, upload)
        with database.write() as unit:
            unit.uploads.expire()
        with database.read() as unit:
            return [found.id for found in unit.uploads.ended()]

    def test_what_was_abandoned_expires(self, database, upload):
        assert self.expired(database, upload) == [upload.id]

    def test_the_bytes_of_a_slide_are_not_swept(self, database, upload):
        assert self.expired(database, upload, slide_id=upload.id) == []

    def test_the_bytes_of_an_upload_that_was_known_already_are(self, database, upload):
        assert self.expired(database, upload, slide_id=new_id()) == [upload.id]


class TestSqlite(UploadRepositoryContract):
    @pytest.fixture
    def database(self, tmp_path):
        yield from opened(f"sqlite:///{tmp_path / 'db.sqlite'}", None)


class TestPostgres(UploadRepositoryContract):
    @pytest.fixture
    def database(self, postgres, migrated):
        yield from opened(postgres.fresh_database(migrated), None, migrated=True)
