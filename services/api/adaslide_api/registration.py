"""How a slide becomes known: its source checked and read once, its facts stored."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from adaslide.adapters.db.ids import is_id, new_id
from adaslide.adapters.workspace import Workspace
from adaslide.domain.errors import Conflict, InputError, NotFound
from adaslide.domain.slide import SlideFacts
from adaslide.ports.jobs import Database, SlideRecord
from adaslide.ports.uploads import UploadRecord
from adaslide.settings import Settings
from adaslide.wiring import open_slide
from adaslide_api.trail import Trail

LONGEST_ALIAS = 128
UPLOAD_SCHEME = "upload:"
_RESERVED_ENDINGS = (".dzi", "_files")


def checked_alias(alias: str) -> str:
    """Raises `InputError` for a name that cannot be told from an id or stand in a path."""
    if (
        not 0 < len(alias) <= LONGEST_ALIAS
        or not alias.isprintable()
        or alias != alias.strip(" .")
        or any(char in "/\\?#%" for char in alias)
        or alias.endswith(_RESERVED_ENDINGS)
        or is_id(alias)
    ):
        raise InputError("a slide's own name has 1 to 128 printable characters without / \\ ? # %")
    return alias


def facts_json(facts: SlideFacts) -> dict[str, Any]:
    """What callers may know of a slide."""
    tiles = facts.tiles
    return {
        "width": facts.size.width,
        "height": facts.size.height,
        "levels": [
            {"width": level.size.width, "height": level.size.height, "downsample": level.downsample}
            for level in facts.levels
        ],
        "vendor": facts.vendor,
        "mpp": facts.mpp,
        "objective": facts.objective,
        "icc": facts.icc is not None,
        "source_bytes": facts.source_bytes,
        "source_tiles": None if tiles is None else {"size": tiles.tile, "bytes": tiles.total_bytes},
    }


class Registrar:
    """Registers slides."""

    def __init__(self, settings: Settings, database: Database, workspace: Workspace) -> None:
        self._roots = settings.allowed_roots
        self._database = database
        self._files = workspace.slides
        self._uploads = workspace.uploads
        self._sources = workspace.sources

    def new_folder(self) -> tuple[str, Path]:
        """An id for a slide to come, and the folder its upload goes to."""
        slide_id = new_id()
        return slide_id, self._files.upload_folder(slide_id)

    def discard(self, slide_id: str) -> None:
        """Removes what was uploaded for a slide that was not registered."""
        self._files.discard(slide_id)

    def register_upload(
        self, slide_id: str, name: str, alias: str | None, tenant: str, trail: Trail
    ) -> tuple[SlideRecord, bool]:
        """The slide whose file is in its folder, and whether it is new."""
        path = self._files.upload_folder(slide_id) / name
        slide = _looked_at(slide_id, path, name, staged=True, alias=alias, tenant=tenant)
        slide, new = self._register(slide, trail)
        if not new:
            self.discard(slide_id)
        return slide, new

    def register_uri(
        self, uri: str, alias: str | None, tenant: str, trail: Trail
    ) -> tuple[SlideRecord, bool]:
        """The slide at a ``file://`` URI below an allowed root, or an ``s3://`` one in an allowed bucket:
        read in place and never changed. Or that of a complete upload, ``upload:ID``."""
        if uri.startswith(UPLOAD_SCHEME):
            return self._register_complete(uri.removeprefix(UPLOAD_SCHEME), alias, tenant, trail)
        slide_id = new_id()
        if not uri.startswith("s3://"):
            path = self._resolve(uri)
            slide = _looked_at(slide_id, path, str(path), staged=False, alias=alias, tenant=tenant)
            return self._register(slide, trail)
        if self._sources is None:
            raise InputError("this installation reads no buckets")
        folder = self._files.upload_folder(slide_id)
        path = folder / f"source{Path(self._sources.checked(uri)).suffix}"
        try:
            folder.mkdir(parents=True)
            self._sources.get_file(uri, path)
            slide = _looked_at(slide_id, path, uri, staged=False, alias=alias, tenant=tenant)
            return self._register(slide, trail)
        finally:
            self.discard(slide_id)

    def _register_complete(
        self, upload_id: str, alias: str | None, tenant: str, trail: Trail
    ) -> tuple[SlideRecord, bool]:
        """Asked again, the answer is the same: the first may have been lost on its way."""
        if not is_id(upload_id):
            raise NotFound("no such upload")
        with self._database.read() as unit:
            upload = unit.uploads.find(upload_id, tenant)
            if upload.slide_id is not None:
                return _of_upload(unit.slides.get(upload.slide_id), alias), False
        if not upload.complete:
            raise Conflict(f"the upload has {upload.received} of {upload.length} bytes")
        with self._uploads.whole(upload) as path:
            slide = _looked_at(upload.id, path, upload.name, staged=True, alias=alias, tenant=tenant)
        known = self._known(slide)
        try:
            self._become(upload, known or slide, trail, new=known is None)
        except Conflict:
            with self._database.read() as unit:
                upload = unit.uploads.find(upload_id, tenant)
                if upload.slide_id is None:
                    raise
                return _of_upload(unit.slides.get(upload.slide_id), alias), False
        if known is not None:
            self._uploads.remove(upload)
        return known or slide, known is None

    def _become(self, upload: UploadRecord, slide: SlideRecord, trail: Trail, *, new: bool) -> None:
        with trail.change(self._database) as unit:
            trail.note(slide=slide.id, upload=upload.id)
            if new:
                unit.slides.add(slide)
            if not unit.uploads.become(upload.id, slide.id):
                raise Conflict("the upload has ended, or is a slide already")

    def _resolve(self, uri: str) -> Path:
        try:
            parts = urlsplit(uri)
            path = Path(unquote(parts.path)).resolve()
        except ValueError:
            raise InputError("not a URI") from None
        if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise InputError("a source is a file:///... URI")
        # Before looking whether it exists: the answer must not tell what is elsewhere on the disk.
        if not any(path.is_relative_to(root) for root in self._roots):
            raise InputError("the URI is below none of the allowed roots (ADASLIDE_ALLOWED_ROOTS)")
        if not path.exists():
            raise NotFound("there is no slide at that URI")
        return path

    def _register(self, slide: SlideRecord, trail: Trail) -> tuple[SlideRecord, bool]:
        known = self._known(slide)
        if known is not None:
            return known, False
        self._add(slide, trail)
        return slide, True

    def _add(self, slide: SlideRecord, trail: Trail) -> None:
        """The file first: a row must not speak of a slide that is not there."""
        if slide.staged:
            self._files.keep(slide.id, slide.source)
        try:
            with trail.change(self._database) as unit:
                trail.note(slide=slide.id)
                unit.slides.add(slide)
        except Conflict:
            # Certain to have added nothing; of any other error that cannot be said.
            if slide.staged:
                self._files.remove(slide.id, slide.source)
            raise

    def _known(self, slide: SlideRecord) -> SlideRecord | None:
        """The slide that has the name of ``slide`` already. Raises `Conflict` when it is another one."""
        if slide.alias is None:
            return None
        try:
            with self._database.read() as unit:
                known = unit.slides.find(slide.alias, slide.tenant)
        except NotFound:
            return None
        if known.sha256 != slide.sha256:
            raise Conflict("another slide is registered under that name")
        return known


def _looked_at(
    slide_id: str, path: Path, source: str, *, staged: bool, alias: str | None, tenant: str
) -> SlideRecord:
    with open_slide(path) as reader:
        facts = reader.facts
    now = datetime.now(UTC)
    return SlideRecord(slide_id, alias, source, staged, facts_json(facts), facts.source_sha256, now, tenant)


def _of_upload(slide: SlideRecord, alias: str | None) -> SlideRecord:
    """``slide``, which an upload has become. Raises `Conflict` where it has another name."""
    if alias is not None and slide.alias != alias:
        raise Conflict("the upload is a slide of another name already")
    return slide
