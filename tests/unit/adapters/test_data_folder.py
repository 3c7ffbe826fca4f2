"""The data folder is its owner's alone, and one that cannot be used says so without its path."""

import stat

import pytest

from adaslide.adapters.data_folder import DataFolder
from adaslide.domain.errors import Conflict, StoreUnavailable


def test_only_the_owner_can_look_inside(tmp_path):
    (tmp_path / "data").mkdir(mode=0o755)
    DataFolder(tmp_path / "data")
    folders = [tmp_path / "data", *(tmp_path / "data").iterdir()]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_a_file_where_the_folder_should_be_is_an_error_without_its_path(tmp_path):
    (tmp_path / "case-4711").write_text("")
    with pytest.raises(StoreUnavailable) as caught:
        DataFolder(tmp_path / "case-4711")
    assert "4711" not in str(caught.value)


def test_what_a_dead_process_began_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    first, second, swept = DataFolder(tmp_path), DataFolder(tmp_path), []
    with first.shared("uploads", lambda: swept.append(1)):
        with second.shared("exporting", lambda: swept.append(2)):
            assert swept == [1, 2]
        with second.shared("uploads", lambda: swept.append(3)):
            assert swept == [1, 2]
    with second.shared("uploads", lambda: swept.append(4)):
        assert swept == [1, 2, 4]


def test_a_folder_has_one_owner(tmp_path):
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    with first.owned(), pytest.raises(Conflict), second.owned():
        pass
    with second.owned():
        pass
