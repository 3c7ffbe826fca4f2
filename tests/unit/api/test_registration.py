"""What may be registered, and from where."""

import pytest

from adaslide.adapters.db.ids import new_id
from adaslide.adapters.workspace import Workspace
from adaslide.domain.errors import InputError, NotFound
from adaslide.settings import load_settings
from adaslide_api.registration import Registrar, checked_alias
from adaslide_api.upload import source_name


@pytest.fixture
def registrar(tmp_path):
    root = tmp_path / "allowed"
    root.mkdir()
    (root / "slide one.svs").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"x")
    (root / "link").symlink_to(tmp_path / "secret")
    # Resolving looks at the disk alone: no database is asked.
    workspace = Workspace(None, None, None)
    return Registrar(load_settings(data_dir=tmp_path / "data", allowed_roots=(root,)), None, workspace)


def test_a_slide_below_an_allowed_root(registrar, tmp_path):
    uri = (tmp_path / "allowed" / "slide one.svs").as_uri()
    assert registrar._resolve(uri) == tmp_path / "allowed" / "slide one.svs"


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "file://{root}/../secret",
        "file://{root}/%2e%2e/secret",
        "file://{root}/link",
        "file://elsewhere{root}/slide.svs",
        "http://{root}/slide.svs",
        "{root}/slide.svs",
        "file://{root}/a%00b",
        "file://[",
    ],
)
def test_anything_else_is_refused(registrar, tmp_path, uri):
    with pytest.raises(InputError) as refusal:
        registrar._resolve(uri.format(root=tmp_path / "allowed"))
    assert str(tmp_path) not in refusal.value.message


def test_a_slide_that_is_not_there(registrar, tmp_path):
    with pytest.raises(NotFound):
        registrar._resolve((tmp_path / "allowed" / "other.svs").as_uri())


@pytest.mark.parametrize("alias", ["case-7", "S23-1234;A", "Fall 7", "a.b", "ÄÖ"])
def test_names_a_caller_may_use(alias):
    assert checked_alias(alias) == alias


@pytest.mark.parametrize(
    "alias", ["", "a/b", "a\\b", "..", " x", "x.dzi", "x_files", "a\nb", "x" * 129, "a?b"]
)
def test_names_that_would_be_mistaken(alias):
    with pytest.raises(InputError):
        checked_alias(alias)


def test_an_id_is_no_name():
    with pytest.raises(InputError):
        checked_alias(new_id())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Doe^Jane 1950.SVS", "source.svs"),
        ("x.ome.tiff", "source.tiff"),
        ("../../etc/passwd", "source"),
        ("x.a/b", "source"),
        ("x.sv\u0000s", "source"),
        ("", "source"),
    ],
)
def test_only_the_suffix_of_an_uploads_name_is_kept(given, kept):
    assert source_name(given) == kept
