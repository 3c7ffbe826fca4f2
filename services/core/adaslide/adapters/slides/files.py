"""The files that make up one slide: its own, and its companions.

Formats that spread a slide over several files are counted and digested as a whole: MIRAX
(``name.mrxs`` and every file in the folder ``name``), Hamamatsu VMS/VMU (the files its index
names) and DICOM (every DICOM file of the folder: a folder is one slide).
"""

import hashlib
from pathlib import Path

from adaslide.domain.errors import NotFound, SlideUnsupported

_DICOM_PREAMBLE = 128
_INDEX_BYTES = 1 << 20


def readable_file(path: Path) -> Path:
    """The file to hand to OpenSlide: ``path``, or a DICOM folder's largest file (the full level,
    never a label). Raises `NotFound`, and `SlideUnsupported` for a folder without DICOM."""
    if path.is_dir():
        files = _dicom_files(path)
        if not files:
            raise SlideUnsupported("a folder without DICOM files is no slide")
        return max(files, key=lambda file: (file.stat().st_size, file.name))
    if not path.is_file():
        raise NotFound("there is no such slide")
    return path


def slide_files(path: Path) -> list[Path]:
    """Every file of the slide at ``path``. Raises as `readable_file` does."""
    file = readable_file(path)
    if _is_dicom(file):
        return _dicom_files(file.parent)
    suffix = file.suffix.lower()
    if suffix == ".mrxs":
        companions = file.with_suffix("")
        return [file, *sorted(entry for entry in companions.rglob("*") if entry.is_file())]
    if suffix in (".vms", ".vmu"):
        return [file, *_named_in(file)]
    return [file]


def digest(files: list[Path]) -> tuple[int, str]:
    """Total bytes and a sha256 in hexadecimal.

    For one file it is the file's own sha256. For several it is the sha256 of their sha256s, as
    lower-case hexadecimal lines in sorted order, so that renaming the files changes nothing.
    """
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    total = sum(file.stat().st_size for file in files)
    if len(digests) == 1:
        return total, digests[0]
    return total, hashlib.sha256("".join(f"{line}\n" for line in sorted(digests)).encode()).hexdigest()


def _dicom_files(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_file() and _is_dicom(entry))


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(_DICOM_PREAMBLE + 4)[_DICOM_PREAMBLE:] == b"DICM"


def _named_in(index: Path) -> list[Path]:
    with index.open("rb") as stream:
        lines = stream.read(_INDEX_BYTES).decode("utf-8", "replace").splitlines()
    names = {line.partition("=")[2].strip() for line in lines if "=" in line}
    # Only plain names: an index must not make us digest files elsewhere.
    files = (index.parent / name for name in names if name and Path(name).name == name)
    return sorted(file for file in files if file.is_file() and file != index)
