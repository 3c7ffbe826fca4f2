"""Settings: what they refuse is as important as what they say."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from adaslide.domain.errors import InputError
from adaslide.settings import load_settings


def test_everything_has_a_default_that_stays_on_this_machine():
    settings = load_settings()
    assert settings.data_dir == Path.home() / ".local/share/adaslide"
    assert (settings.serving.host, settings.serving.port) == ("127.0.0.1", 8000)
    assert settings.serving.loopback
    assert settings.allowed_roots == ()
    assert settings.database_url == f"sqlite:///{settings.data_dir}/adaslide.sqlite"


def test_groups_and_lists_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ADASLIDE_SERVING__PORT", "8123")
    monkeypatch.setenv("ADASLIDE_ALLOWED_ROOTS", f"{tmp_path}/a:{tmp_path}/b")
    settings = load_settings()
    assert settings.serving.port == 8123
    assert settings.allowed_roots == (tmp_path / "a", tmp_path / "b")


def test_what_is_given_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("ADASLIDE_SERVING__PORT", "8123")
    monkeypatch.setenv("ADASLIDE_SERVING__HOST", "::1")
    serving = load_settings(serving={"port": 1}).serving
    assert (serving.host, serving.port) == ("::1", 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ADASLIDE_SERVNG__PORT", "1"),
        ("ADASLIDE_SERVING__PROT", "1"),
        ("adaslide_data_dri", "/x"),
        ("ADASLIDE_SERVING__PORT", "many"),
        ("ADASLIDE_COMPRESSION__WORKERS", "0"),
        ("ADASLIDE_BROKER__URL", "amqp://x"),
        ("ADASLIDE_DATABASE__URL", "mysql://x"),
    ],
)
def test_misspelt_names_and_bad_values_refuse_to_start(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError):
        load_settings()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "slides.example"])
def test_listening_beyond_this_machine_has_to_be_said(host):
    with pytest.raises(InputError, match="ADASLIDE_AUTH__MODE=required"):
        load_settings(serving={"host": host})
    assert load_settings(serving={"host": host}, auth={"mode": "required"}).serving.host == host


def test_the_container_may_listen_on_its_own_network():
    """As deploy/Dockerfile sets it; the port is published on loopback."""
    image = (Path(__file__).parents[3] / "deploy" / "Dockerfile").read_text()
    assert "ADASLIDE_SERVING__ALLOW_REMOTE=true" in image
    settings = load_settings(serving={"host": "0.0.0.0", "allow_remote": True})
    assert (settings.auth.required, settings.serving.loopback) == (False, False)


OIDC = {"issuer": "https://id.example", "audience": "adaslide", "jwks_url": "https://id.example/keys"}


def test_the_identity_provider_comes_from_the_environment(monkeypatch):
    for name, value in OIDC.items():
        monkeypatch.setenv(f"ADASLIDE_AUTH__OIDC__{name.upper()}", value)
    monkeypatch.setenv("ADASLIDE_AUTH__OIDC__ALGORITHMS", "ES256")
    monkeypatch.setenv("ADASLIDE_AUTH__TOKEN_KEY", f"{'a' * 32},{'b' * 32}")
    auth = load_settings().auth
    assert (auth.oidc.jwks_url, auth.oidc.algorithms) == (OIDC["jwks_url"], ("ES256",))
    assert [key.get_secret_value()[0] for key in auth.token_key] == ["a", "b"]
    assert "aaa" not in repr(auth)


@pytest.mark.parametrize(
    "change",
    [
        {"jwks_url": "http://id.example/keys"},
        {"jwks_url": "file:///etc/passwd"},
        {"jwks_url": "http://127.0.0.1.id.example/keys"},
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"tenant": "North Wing"},
        {"audience": ""},
    ],
)
def test_a_provider_that_cannot_be_trusted_is_refused(change):
    with pytest.raises(InputError):
        load_settings(auth={"oidc": OIDC | change})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_keys_may_come_from_this_machine(host):
    url = f"http://{host}:8080/keys"
    assert load_settings(auth={"oidc": OIDC | {"jwks_url": url}}).auth.oidc.jwks_url == url


def test_a_short_token_key_is_refused():
    with pytest.raises(InputError, match="32 characters"):
        load_settings(auth={"token_key": "short"})


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        load_settings().serving.port = 1
