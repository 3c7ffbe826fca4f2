"""Which `s3://` URIs may be read."""

import pytest

from adaslide.adapters.slide_files.sources import SourceBuckets
from adaslide.domain.errors import InputError, SlideUnsupported

SOURCES = SourceBuckets(None, ("scans", "lab/archive/", "lab.of-one/a b"))


@pytest.mark.parametrize(
    "uri",
    [
        "s3://scans/one.svs",
        "s3://scans/2024/ä ö/one+two%20.svs",
        "s3://lab/archive/one.svs",
        "s3://lab.of-one/a b/one.tiff",
    ],
)
def test_what_is_below_an_allowed_prefix(uri):
    assert SOURCES.checked(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "s3://",
        "s3://scans",
        "s3://scans/",
        "s3:///one.svs",
        "s3://scans-of-others/one.svs",
        "s3://lab/one.svs",
        "s3://lab/archive",
        "s3://lab/archive-2/one.svs",
        "s3://lab/archive/../one.svs",
        "s3://lab/archive/./one.svs",
        "s3://lab/archive//one.svs",
        "s3://scans/one.svs?versionId=1",
        "s3://scans/one.svs?",
        "s3://scans/one.svs#part",
        "s3://user:password@scans/one.svs",
        "s3://scans:443/one.svs",
        "s3://[scans/one.svs",
        "S3://scans/one.svs",
        "s3://Scans/one.svs",
        "s3://scans/one\n.svs",
        "s3://scans/one\\two.svs",
        "https://scans/one.svs",
        "file:///scans/one.svs",
        "scans/one.svs",
    ],
)
def test_everything_else_is_refused_without_being_repeated(uri):
    with pytest.raises(InputError) as caught:
        SOURCES.checked(uri)
    assert "one.svs" not in caught.value.message


@pytest.mark.parametrize("name", ["one.mrxs", "one.VMS", "one.vmu"])
def test_a_slide_of_several_files_is_not_supported(name):
    with pytest.raises(SlideUnsupported):
        SOURCES.checked(f"s3://scans/{name}")


def test_nothing_is_allowed_by_default():
    with pytest.raises(InputError, match="ADASLIDE_STORE__READ_BUCKETS"):
        SourceBuckets(None, ()).checked("s3://scans/one.svs")
