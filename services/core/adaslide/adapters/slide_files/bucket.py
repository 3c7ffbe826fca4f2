"""Slides in an object store, with a cache on each machine: the cluster mode."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adaslide.adapters.objects.local_file import local_file_errors
from adaslide.adapters.slide_files.cache import FileCache
from adaslide.adapters.slide_files.folder import existing
from adaslide.adapters.slide_files.sources import SCHEME
from adaslide.adapters.slide_files.uploads import Uploads
from adaslide.domain.errors import NotFound, StoreUnavailable
from adaslide.ports.jobs import SlideRecord
from adaslide.ports.objects import FileStore

_READ_BYTES = 16 * 2**20


class BucketSlideFiles:
    """A `SlideFiles` on ``store``: a slide is the object ``slides/{slide id}/{name}``.

    Uploads are spooled to ``folder``/uploads of the machine that receives them; files that were fetched
    are in ``folder``/cache, up to ``cache_bytes`` (`FileCache`). ``fetch(uri, path)`` brings slides that
    stay in another's bucket (`SourceBuckets.get_file`).
    """

    def __init__(
        self, store: FileStore, folder: Path, cache_bytes: int, fetch: Callable[[str, Path], None]
    ) -> None:
        self._store = store
        self._uploads = Uploads(folder / "uploads")
        self._cache = FileCache(folder / "cache", cache_bytes)
        self._fetch = fetch

    def upload_folder(self, slide_id: str) -> Path:
        return self._uploads.folder(slide_id)

    def keep(self, slide_id: str, name: str) -> None:
        path, key = self.upload_folder(slide_id) / name, slide_key(slide_id, name)
        if not path.is_file():
            raise NotFound("there is no such upload")
        with local_file_errors(), path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self._store.put_file(key, path)
        # The upload is the only copy until the store has shown that it has another.
        if self._stored_sha256(key) != sha256:
            self._store.delete(key)
            raise StoreUnavailable("the object store does not give back what it was given")
        self._uploads.discard(slide_id)

    def discard(self, slide_id: str) -> None:
        self._uploads.discard(slide_id)

    def remove(self, slide_id: str, name: str) -> None:
        self._store.delete(slide_key(slide_id, name))

    @contextmanager
    def local(self, slide: SlideRecord) -> Iterator[Path]:
        if not slide.staged and not slide.source.startswith(SCHEME):
            yield existing(Path(slide.source))
            return

        def fetch(path: Path) -> None:
            if slide.staged:
                self._store.get_file(slide_key(slide.id, slide.source), path)
            else:
                self._fetch(slide.source, path)

        suffix, size = Path(slide.source).suffix, int(slide.facts.get("source_bytes", 0))
        with self._cache.file(slide.id, suffix, slide.sha256, size, fetch) as path:
            yield path

    def sweep_uploads(self) -> None:
        self._uploads.sweep()

    def _stored_sha256(self, key: str) -> str:
        size = self._store.size(key)
        if size is None:
            raise StoreUnavailable("the object store has lost what it was given")
        digest = hashlib.sha256()
        for start in range(0, size, _READ_BYTES):
            digest.update(self._store.get_range(key, start, min(_READ_BYTES, size - start)))
        return digest.hexdigest()


def slide_key(slide_id: str, name: str) -> str:
    """Where a slide's file is in the store."""
    return f"slides/{slide_id}/{name}"
