"""Tile tokens: one slide, for minutes, to look at."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from adaslide.adapters.db.ids import new_id
from adaslide.domain.access import Role
from adaslide.domain.errors import Unauthenticated
from adaslide.settings import load_settings
from adaslide_api.tile_tokens import TileTokens

from .secured import TENANT, TOKEN_KEYS, calls

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def tokens(*keys, seconds=300):
    return TileTokens(load_settings(auth={"token_key": ",".join(keys), "token_s": seconds}).auth)


def grant(signer, package=None):
    principal = type("P", (), {"tenant": TENANT, "id": "user-1"})
    return signer.grant(principal, "slide", package, NOW)


def test_a_token_says_what_it_was_given_for():
    signer = tokens(TOKEN_KEYS[0])
    given = grant(signer, "package")
    assert signer.read(signer.sign(given), NOW) == given
    assert timedelta(seconds=300) <= given.expires_at - NOW < timedelta(seconds=360)
    assert (given.viewer.tenant, given.viewer.id, given.viewer.roles) == (TENANT, "user-1", {Role.VIEWER})


def test_a_token_ends():
    signer = tokens(TOKEN_KEYS[0])
    given = grant(signer)
    text = signer.sign(given)
    signer.read(text, given.expires_at - timedelta(seconds=1))
    with pytest.raises(Unauthenticated):
        signer.read(text, given.expires_at)


def test_keys_are_rotated_without_a_gap():
    old, both, new = tokens(TOKEN_KEYS[0]), tokens(TOKEN_KEYS[1], TOKEN_KEYS[0]), tokens(TOKEN_KEYS[1])
    given = grant(old)
    assert both.read(old.sign(given), NOW) == new.read(both.sign(given), NOW) == given
    with pytest.raises(Unauthenticated):
        new.read(old.sign(given), NOW)


def test_without_a_key_no_other_process_signs():
    one, other = TileTokens(load_settings().auth), TileTokens(load_settings().auth)
    with pytest.raises(Unauthenticated):
        other.read(one.sign(grant(one)), NOW)


@pytest.mark.parametrize("place", range(0, 250, 7))
def test_no_character_of_a_token_can_be_changed(place):
    signer = tokens(TOKEN_KEYS[0])
    text = signer.sign(grant(signer))
    place %= len(text)
    wrong = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
    with pytest.raises(Unauthenticated):
        signer.read(wrong, NOW)


@pytest.mark.parametrize("text", ["", ".", "a.b", "é.é", "a" * 2000, "e30.", "===.==="])
def test_what_is_no_token(text):
    with pytest.raises(Unauthenticated):
        tokens(TOKEN_KEYS[0]).read(text, NOW)


@pytest.fixture
def token(holding):
    """Makes a token by its route."""

    def make(**query):
        answer = holding.client.post(
            f"/slides/{holding.slide}/tile-token", params=query, headers=holding.bearer(Role.VIEWER)
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    return make


def test_a_token_opens_the_images_of_its_slide_and_nothing_else(holding, token):
    made = token()
    assert (made["slide"], made["package"]) == (holding.slide, "*")
    for call in calls(holding):
        if call.public:
            continue
        url = f"{call.url}{'&' if '?' in call.url else '?'}token={made['token']}"
        answer = holding.client.request(call.method, url)
        expected = 200 if call.requirement.tile_token else 401
        assert answer.status_code == expected, (call.method, call.path)
    opened = {(call.method, call.path) for call in calls(holding) if call.requirement.tile_token}
    assert {method for method, _ in opened} == {"GET"}
    assert {path for _, path in opened} == {
        "/slides/{key}.dzi",
        "/slides/{key}_files/{level}/{name}",
        "/slides/{key}/region",
        "/slides/{key}/maps/{layer}.png",
        "/slides/{key}/patches/{row}/{col}",
        "/viewer/{key}",
    }


def test_a_token_is_for_one_slide_by_its_id(holding, token):
    text = token()["token"]
    for key in (new_id(), "Jane Doe"):
        assert holding.client.get(f"/slides/{key}.dzi?token={text}").status_code == 403


def test_a_token_of_a_package_is_for_that_package(holding, token):
    exact, paper = holding.packages["exact"], holding.packages["paper"]
    text = token(package=exact)["token"]
    dzi = f"/slides/{holding.slide}.dzi?token={text}"
    assert holding.client.get(f"{dzi}&package={exact}").status_code == 200
    assert holding.client.get(f"{dzi}&package={paper}").status_code == 403
    assert holding.client.get(dzi).status_code == 403


def test_a_broken_token_is_not_helped_by_a_good_credential(holding):
    url = f"/slides/{holding.slide}.dzi?token=a.b"
    assert holding.client.get(url, headers=holding.bearer(Role.VIEWER)).status_code == 401


def test_who_may_not_look_gets_no_token(holding):
    url = f"/slides/{holding.slide}/tile-token"
    assert holding.client.post(url, headers=holding.bearer(Role.OPERATOR)).status_code == 403
    there = holding.bearer(Role.VIEWER)
    assert holding.client.post(f"/slides/{new_id()}/tile-token", headers=there).status_code == 404
    assert holding.client.post(f"{url}?package={new_id()}", headers=there).status_code == 404


def test_a_token_changes_no_tag_and_no_age(holding, token):
    url = f"/slides/{holding.slide}_files/10/0_0.png?package={holding.packages['exact']}"
    with_token = holding.client.get(f"{url}&token={token()['token']}")
    with_header = holding.client.get(url, headers=holding.bearer(Role.VIEWER))
    for name in ("etag", "cache-control", "vary"):
        assert with_token.headers[name] == with_header.headers[name]
    tag = {"If-None-Match": with_token.headers["etag"]}
    assert holding.client.get(f"{url}&token={token()['token']}", headers=tag).status_code == 304


def test_tokens_stand_in_no_log_and_in_no_record(holding, token, caplog):
    caplog.set_level(logging.DEBUG)
    text = token()["token"]
    holding.client.get(f"/slides/{holding.slide}.dzi?token={text}")
    holding.client.get(f"/slides/{new_id()}.dzi?token={text}")
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert any(record.name == "adaslide_api.access" for record in ours)
    assert not [record for record in ours if text in record.getMessage()]
    assert text not in str(holding.audit())


def test_the_viewers_page_brings_a_token_for_its_images(holding):
    page = f"/viewer/{holding.slide}?package={holding.packages['paper']}"
    text = holding.client.get(page, headers=holding.bearer(Role.VIEWER)).text
    found = text.split('"token": "')[1].split('"')[0]
    dzi = f"/slides/{holding.slide}.dzi?package={holding.packages['paper']}&token={found}"
    assert holding.client.get(dzi).status_code == 200
