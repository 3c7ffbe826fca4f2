import hashlib

import pytest

from adaslide.adapters.slides.files import digest, readable_file, slide_files
from adaslide.domain.errors import NotFound, SlideUnsupported


def dicom(path, body: bytes):
    path.write_bytes(bytes(128) + b"DICM" + body)
    return path


def test_one_file_has_its_own_digest(tmp_path):
    file = tmp_path / "a.svs"
    file.write_bytes(b"pixels")
    assert slide_files(file) == [file]
    assert digest([file]) == (6, hashlib.sha256(b"pixels").hexdigest())


def test_mirax_counts_its_folder(tmp_path):
    index = tmp_path / "a.mrxs"
    index.write_bytes(b"i")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Data0001.dat").write_bytes(b"dd")
    (tmp_path / "other.dat").write_bytes(b"no")
    total, several = digest(slide_files(index))
    assert total == 3
    lines = sorted(hashlib.sha256(part).hexdigest() for part in (b"i", b"dd"))
    assert several == hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()


def test_vms_counts_the_files_it_names_and_none_elsewhere(tmp_path):
    (tmp_path / "one.jpg").write_bytes(b"1")
    (tmp_path.parent / "outside.jpg").write_bytes(b"x")
    index = tmp_path / "a.vms"
    index.write_text("[Virtual Microscope Specimen]\nImageFile=one.jpg\nMapFile=../outside.jpg\nNoLayers=1\n")
    assert slide_files(index) == [index, tmp_path / "one.jpg"]


def test_a_dicom_folder_is_one_slide_whatever_its_names(tmp_path):
    small, large = dicom(tmp_path / "b.dcm", b"s"), dicom(tmp_path / "a.dcm", b"large")
    (tmp_path / "LICENSE.txt").write_text("not a part of it")
    assert readable_file(tmp_path) == large
    assert slide_files(tmp_path) == slide_files(small) == [large, small]
    before = digest(slide_files(tmp_path))
    large.rename(tmp_path / "z.dcm")
    assert digest(slide_files(tmp_path)) == before


def test_what_is_not_there(tmp_path):
    with pytest.raises(NotFound):
        readable_file(tmp_path / "missing.svs")
    with pytest.raises(SlideUnsupported):
        readable_file(tmp_path)
