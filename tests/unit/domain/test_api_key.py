"""The text of an API key."""

import pytest

from adaslide.adapters.db.ids import new_id
from adaslide.domain.api_key import ApiKey


@pytest.fixture
def key():
    return ApiKey.new(new_id())


def test_a_key_is_read_back(key):
    assert key.text.startswith(f"ads_{key.id}_")
    assert ApiKey.parse(key.text) == key
    assert len(bytes.fromhex(key.secret)) == 32
    assert ApiKey.new(key.id).secret != key.secret


def test_a_key_matches_its_own_digest_only(key):
    assert key.matches(key.digest)
    assert not key.matches(ApiKey.new(key.id).digest)
    assert key.secret not in key.digest


def test_a_secret_is_not_shown(key):
    assert key.secret not in repr(key)


@pytest.mark.parametrize("place", [4, 31, 40, 94, -1])
def test_a_mistyped_key_is_told(key, place):
    wrong = list(key.text)
    wrong[place] = "1" if wrong[place] != "1" else "2"
    assert ApiKey.parse("".join(wrong)) is None


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "\n", str.upper, lambda t: t[4:], lambda t: ""]
)
def test_what_is_no_key(key, change):
    assert ApiKey.parse(change(key.text)) is None
