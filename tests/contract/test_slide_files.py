"""What every `SlideFiles` promises, and what only a bucket with a cache can get wrong."""

import hashlib
import multiprocessing
import threading
import time
from datetime import UTC, datetime

import pytest

from adaslide.adapters.db.ids import new_id
from adaslide.adapters.objects.memory import MemoryStore
from adaslide.adapters.objects.s3 import S3Store
from adaslide.adapters.objects.s3_client import s3_client
from adaslide.adapters.slide_files.bucket import BucketSlideFiles
from adaslide.adapters.slide_files.folder import FolderSlideFiles
from adaslide.adapters.slide_files.sources import SourceBuckets
from adaslide.domain.errors import ChecksumMismatch, InputError, NotFound, StoreUnavailable
from adaslide.ports.jobs import SlideRecord
from adaslide.settings import Store

CACHE = 64 * 2**20


def record(content, source="source.svs", staged=True):
    """The row of a slide of these bytes."""
    facts = {"source_bytes": len(content)}
    digest = hashlib.sha256(content).hexdigest()
    return SlideRecord(new_id(), None, source, staged, facts, digest, datetime.now(UTC))


def bucket_files(settings, bucket, folder, cache_bytes=CACHE):
    """As a machine with this folder has it. At the module's top, for processes of their own."""
    client = s3_client(settings)
    store = S3Store(client, bucket, "service")
    fetch = SourceBuckets(client, (f"{bucket}/scans",)).get_file
    return BucketSlideFiles(store, folder, cache_bytes, fetch)


@pytest.fixture(scope="module")
def bucket(s3):
    return s3.fresh_bucket()


@pytest.fixture(params=["folder", "bucket"])
def files(request, tmp_path):
    if request.param == "folder":
        return FolderSlideFiles(tmp_path / "data")
    s3 = request.getfixturevalue("s3")
    return bucket_files(s3.settings(), request.getfixturevalue("bucket"), tmp_path / "data")


def upload(files, slide, content):
    folder = files.upload_folder(slide.id)
    folder.mkdir(parents=True)
    (folder / slide.source).write_bytes(content)


def kept(files, content, source="source.svs"):
    slide = record(content, source)
    upload(files, slide, content)
    files.keep(slide.id, slide.source)
    return slide


def test_a_real_slide_is_kept_and_read(files, sample_slide):
    # Here: the processes below import this module, and this takes its time.
    from adaslide.wiring import open_slide

    content = sample_slide.read_bytes()
    slide = kept(files, content)
    assert not files.upload_folder(slide.id).exists()
    for _ in range(2):
        with files.local(slide) as path:
            assert path.suffix == ".svs"
            assert path.read_bytes() == content
            with open_slide(path) as reader:
                assert reader.facts.source_sha256 == slide.sha256
                assert (reader.facts.size.width, reader.facts.size.height) == (2220, 2967)


@pytest.mark.parametrize("source", ["source.svs", "source.NDPI", "source"])
def test_the_suffix_is_kept(files, source):
    slide = kept(files, b"bytes", source)
    with files.local(slide) as path:
        assert path.suffix == source.removeprefix("source")


def test_an_upload_that_is_not_there_cannot_be_kept(files):
    with pytest.raises(NotFound):
        files.keep(new_id(), "source.svs")


def test_an_upload_may_be_discarded(files):
    slide = record(b"1")
    upload(files, slide, b"1")
    files.discard(slide.id)
    files.discard(slide.id)
    assert not files.upload_folder(slide.id).exists()
    with pytest.raises(NotFound), files.local(slide):
        pass


def test_discarding_does_not_touch_what_was_kept(files):
    slide = kept(files, b"kept")
    files.discard(slide.id)
    with files.local(slide) as path:
        assert path.read_bytes() == b"kept"


def test_sweeping_removes_uploads_alone(files):
    slide, cut_short = kept(files, b"kept"), record(b"half")
    upload(files, cut_short, b"half")
    files.sweep_uploads()
    assert not files.upload_folder(cut_short.id).exists()
    with files.local(slide) as path:
        assert path.read_bytes() == b"kept"


def test_a_slide_in_place_is_read_there(files, tmp_path):
    (tmp_path / "there.svs").write_bytes(b"1")
    with files.local(record(b"1", str(tmp_path / "there.svs"), staged=False)) as path:
        assert path == tmp_path / "there.svs"
    with pytest.raises(NotFound), files.local(record(b"1", str(tmp_path / "gone.svs"), staged=False)):
        pass


def test_the_folders_are_private(files, tmp_path):
    kept(files, b"1")
    folders = [path for path in (tmp_path / "data").iterdir() if path.name != "cache"]
    assert folders
    assert {path.stat().st_mode & 0o077 for path in folders} == {0}


def gets(proxy):
    return [path for method, path, _ in proxy.seen if method == "GET"]


def fetch_in_a_process(settings, bucket, folder, slide, barrier=None, answers=None):
    files = bucket_files(Store(**settings), bucket, folder)
    if barrier:
        barrier.wait(120)
    with files.local(slide) as path:
        content = path.read_bytes()
    if answers:
        answers.put(content)
    return content


class TestBucket:
    @pytest.fixture
    def through_proxy(self, s3, fault_proxy, bucket, tmp_path):
        """A machine behind the proxy, its slides those of `files`."""
        settings = s3.settings(endpoint=fault_proxy.endpoint)
        return bucket_files(settings, bucket, tmp_path / "behind the proxy")

    @pytest.fixture
    def files(self, s3, bucket, tmp_path):
        return bucket_files(s3.settings(), bucket, tmp_path / "data")

    def test_the_object_has_the_name_that_is_documented(self, s3, bucket, files):
        slide = kept(files, b"12345")
        store = S3Store(s3.client(), bucket, "service/slides")
        assert list(store.list(slide.id)) == [(f"{slide.id}/source.svs", 5)]

    def test_many_processes_fetch_it_once(self, s3, bucket, files, fault_proxy, tmp_path):
        slide = kept(files, b"content" * 1000)
        fault_proxy.fault("latency", method="GET", seconds=0.5)
        settings = {
            "endpoint": fault_proxy.endpoint,
            "access_key": s3.access_key,
            "secret_key": s3.secret_key,
        }
        context = multiprocessing.get_context("spawn")
        barrier, answers = context.Barrier(3), context.SimpleQueue()
        arguments = (settings, bucket, tmp_path / "m", slide, barrier, answers)
        processes = [context.Process(target=fetch_in_a_process, args=arguments) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert [answers.get() for _ in processes] == [b"content" * 1000] * 3
        assert len(gets(fault_proxy)) == 1

    def test_many_threads_fetch_it_once(self, files, through_proxy, fault_proxy):
        slide = kept(files, b"content")
        fault_proxy.fault("latency", method="GET", seconds=0.3)
        barrier, seen = threading.Barrier(8), []

        def read():
            barrier.wait()
            with through_proxy.local(slide) as path:
                seen.append(path.read_bytes())

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [b"content"] * 8
        assert len(gets(fault_proxy)) == 1

    def test_a_fetcher_that_dies_does_not_block_the_next(self, s3, bucket, files, fault_proxy, tmp_path):
        slide = kept(files, b"content" * 1000)
        fault_proxy.fault("latency", method="GET", seconds=30, times=1)
        settings = {
            "endpoint": fault_proxy.endpoint,
            "access_key": s3.access_key,
            "secret_key": s3.secret_key,
        }
        arguments = (settings, bucket, tmp_path / "m", slide)
        process = multiprocessing.get_context("spawn").Process(target=fetch_in_a_process, args=arguments)
        process.start()
        end = time.monotonic() + 60
        while not gets(fault_proxy):
            assert time.monotonic() < end
            time.sleep(0.02)
        process.kill()
        process.join()
        assert fetch_in_a_process(*arguments) == b"content" * 1000
        assert not list((tmp_path / "m").rglob(".tmp-*"))

    def test_other_bytes_than_registered_are_refused(self, s3, bucket, files, tmp_path):
        slide = kept(files, b"content")
        S3Store(s3.client(), bucket, "service").put(f"slides/{slide.id}/source.svs", b"changed")
        with pytest.raises(ChecksumMismatch), files.local(slide):
            pass
        assert not [path for path in (tmp_path / "data/cache/files").rglob("*") if path.is_file()]

    def test_what_was_fetched_is_whole_or_not_there(self, files, through_proxy, fault_proxy, tmp_path):
        slide = kept(files, b"content" * 1000)
        fault_proxy.fault("truncate", method="GET")
        with pytest.raises(StoreUnavailable), through_proxy.local(slide):
            pass
        assert not [path for path in (tmp_path / "behind the proxy/cache/files").rglob("*") if path.is_file()]
        fault_proxy.clear()
        with through_proxy.local(slide) as path:
            assert path.read_bytes() == b"content" * 1000

    def cached(self, folder):
        return {path.parent.name for path in (folder / "cache/files").rglob("source*")}

    def test_the_least_recently_used_gives_way(self, s3, bucket, files, tmp_path):
        slides = [kept(files, bytes([n]) * 100) for n in range(4)]
        small = bucket_files(s3.settings(), bucket, tmp_path / "small", cache_bytes=250)

        def use(slide):
            with small.local(slide) as path:
                assert len(path.read_bytes()) == 100
            time.sleep(0.02)

        for number in (0, 1, 0, 2):
            use(slides[number])
        assert self.cached(tmp_path / "small") == {slides[0].id, slides[2].id}
        use(slides[3])
        assert self.cached(tmp_path / "small") == {slides[2].id, slides[3].id}

    def test_a_file_in_use_stays(self, s3, bucket, files, tmp_path):
        first, second = kept(files, b"1" * 100), kept(files, b"2" * 100)
        small = bucket_files(s3.settings(), bucket, tmp_path / "small", cache_bytes=100)
        with small.local(first) as path:
            with small.local(second) as other:
                assert path.read_bytes() == b"1" * 100
                assert other.read_bytes() == b"2" * 100
            assert path.exists()
        assert len(self.cached(tmp_path / "small")) <= 1

    def test_a_cache_of_nothing_still_gives_the_file(self, s3, bucket, files, tmp_path):
        slide = kept(files, b"content")
        none = bucket_files(s3.settings(), bucket, tmp_path / "none", cache_bytes=0)
        for _ in range(2):
            with none.local(slide) as path:
                assert path.read_bytes() == b"content"
            assert self.cached(tmp_path / "none") == set()

    def test_an_upload_that_the_store_did_not_take_stays(self, through_proxy, fault_proxy):
        slide = record(b"content" * 1000)
        upload(through_proxy, slide, b"content" * 1000)
        for kind, method in (("500", "PUT"), ("truncate", "GET")):
            fault_proxy.fault(kind, method=method)
            with pytest.raises(StoreUnavailable):
                through_proxy.keep(slide.id, slide.source)
            assert (through_proxy.upload_folder(slide.id) / slide.source).read_bytes() == b"content" * 1000
            fault_proxy.clear()
        through_proxy.keep(slide.id, slide.source)
        with through_proxy.local(slide) as path:
            assert path.read_bytes() == b"content" * 1000

    def test_a_store_that_gives_back_other_bytes_keeps_nothing(self, tmp_path):
        class Forgetful(MemoryStore):
            def get_range(self, key, start, length):
                return b"x" + super().get_range(key, start, length)[1:]

        store = Forgetful()
        files = BucketSlideFiles(store, tmp_path, CACHE, SourceBuckets(None, ()).get_file)
        slide = record(b"content")
        upload(files, slide, b"content")
        with pytest.raises(StoreUnavailable):
            files.keep(slide.id, slide.source)
        assert list(store.list()) == []
        assert (files.upload_folder(slide.id) / slide.source).read_bytes() == b"content"

    def test_a_slide_in_an_allowed_bucket_is_fetched_and_left_there(self, s3, bucket, files, sample_slide):
        scans = S3Store(s3.client(), bucket)
        scans.put_file("scans/2024/one.svs", sample_slide)
        content = sample_slide.read_bytes()
        slide = record(content, f"s3://{bucket}/scans/2024/one.svs", staged=False)
        with files.local(slide) as path:
            assert path.name == "source.svs"
            assert path.read_bytes() == content
        assert scans.size("scans/2024/one.svs") == len(content)

    def test_a_bucket_that_is_no_longer_allowed_is_not_read(self, s3, bucket, files):
        S3Store(s3.client(), bucket).put("elsewhere/one.svs", b"1")
        slide = record(b"1", f"s3://{bucket}/elsewhere/one.svs", staged=False)
        with pytest.raises(InputError), files.local(slide):
            pass

    def test_the_cache_is_private(self, files, tmp_path):
        with files.local(kept(files, b"1")):
            pass
        folders = [tmp_path / "data/cache/files", tmp_path / "data/cache/locks"]
        assert {path.stat().st_mode & 0o077 for path in folders} == {0}


def test_a_folder_that_cannot_be_made_is_told_without_its_path(tmp_path):
    (tmp_path / "in the way").write_bytes(b"")
    with pytest.raises(StoreUnavailable) as caught:
        FolderSlideFiles(tmp_path / "in the way")
    assert str(tmp_path) not in caught.value.message
