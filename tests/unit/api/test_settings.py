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
    with pytest.raises(InputError, match="ALLOW_REMOTE"):
        load_settings(serving={"host": host})
    assert load_settings(serving={"host": host, "allow_remote": True}).serving.host == host


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        load_settings().serving.port = 1
