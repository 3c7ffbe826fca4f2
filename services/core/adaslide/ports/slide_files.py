"""Where the files of slides are, and how a worker comes by one."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from adaslide.ports.jobs import SlideRecord


class SlideFiles(Protocol):
    """Uploads become slides; slides are read as local files. Nothing here changes an original."""

    def upload_folder(self, slide_id: str) -> Path:
        """A local folder, not made yet, for an upload until its slide is registered."""
        ...

    def keep(self, slide_id: str, name: str) -> None:
        """The file ``name`` in the upload's folder has become the slide: it is kept for good, whole or not
        at all. Raises `StoreUnavailable`."""
        ...

    def discard(self, slide_id: str) -> None:
        """Removes an upload that became no slide."""
        ...

    def remove(self, slide_id: str, name: str) -> None:
        """Removes the file that `keep` kept; one that is not there is no error."""
        ...

    def local(self, slide: SlideRecord) -> AbstractContextManager[Path]:
        """The slide's file (or the folder of a DICOM one) on this machine for as long as the context lasts.

        Raises `NotFound`, `StoreUnavailable`, and `ChecksumMismatch` where what was fetched is not what was
        registered.
        """
        ...

    def sweep_uploads(self) -> None:
        """Removes uploads cut short. Only while nobody uploads to this machine's folder."""
        ...


class SourceFiles(Protocol):
    """Slides that stay where somebody else keeps them, and may be read there by URI."""

    def checked(self, uri: str) -> str:
        """``uri`` when it may be read, whether or not something is there. Raises `InputError`."""
        ...

    def get_file(self, uri: str, path: Path) -> None:
        """The slide as a local file at ``path``. Raises as `checked` and `GetFile` do."""
        ...
