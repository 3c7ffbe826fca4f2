"""The compose files: hardened, limited, pinned, closed, and without a default password."""

import re
import stat
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml

from adaslide.settings import load_settings

ROOT = Path(__file__).parents[3]
STACK = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
EMBEDDED = yaml.safe_load((ROOT / "deploy" / "compose.embedded.yml").read_text())
SERVICES = [
    pytest.param(name, service, id=name)
    for file in (STACK, EMBEDDED)
    for name, service in file["services"].items()
]
OWN = ("migrate", "api", "worker", "worker-gpu")
ROOT_IN_IMAGE = {"postgres", "valkey", "object-store", "prometheus", "grafana"}
"""Services whose image would start as root; ours and the proxy's do not."""


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_every_service_is_hardened_and_limited(name, service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not service.get("cap_add")
    assert not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cpus"]
    assert service["mem_limit"]
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_every_image_is_pinned_and_no_process_is_root(name, service):
    image, _, tag = service["image"].partition(":")
    assert tag
    assert tag != "latest"
    if image.startswith("adaslide/"):
        assert tag == "local"
        assert service["build"]["target"] in targets()
    elif name in ROOT_IN_IMAGE:
        assert service["user"].partition(":")[0] not in ("", "0", "root")
    else:
        assert "unprivileged" in image


def targets():
    """{target: what it is built on} of the Dockerfile."""
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    return {target: parent for parent, target in re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)}


def test_every_image_of_ours_runs_as_its_own_user():
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    parents = targets()
    for target in ("api", "worker", "worker-gpu", "embedded"):
        while target != "base":
            target = parents[target]
    base = text[text.index("AS base") :]
    assert re.search(r"^USER 10001:10001$", base, re.MULTILINE)
    assert not re.search(r"^USER (?!10001:10001)", text, re.MULTILINE)


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_every_service_that_stays_has_a_healthcheck_that_can_fail(name, service):
    if service.get("restart") == "no":
        return
    if service["image"].startswith("adaslide/"):
        stage = (ROOT / "deploy" / "Dockerfile").read_text().split(f" AS {service['build']['target']}\n")[1]
        command = stage.split("\nFROM ")[0]
        assert "HEALTHCHECK" in command
        assert "/readyz" in command
        assert ").read()" in command  # urlopen raises on every answer that is no success
    else:
        kind, command = service["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        assert "|| true" not in command
        assert "exit 0" not in command


def test_only_the_front_is_published_and_on_this_machine_unless_one_says_otherwise():
    published = {name: service["ports"] for name, service in STACK["services"].items() if "ports" in service}
    assert set(published) == {"api", "proxy", "grafana"}
    for (port,) in published.values():
        assert port.startswith(("127.0.0.1:", "${LISTEN:-127.0.0.1}:", "${TLS_LISTEN:-127.0.0.1}:"))
    assert EMBEDDED["services"]["adaslide"]["ports"][0].startswith("127.0.0.1:")
    assert STACK["networks"]["inside"]["internal"] is True
    outside = {name for name, service in STACK["services"].items() if "edge" in service["networks"]}
    assert outside == set(published)


def test_no_secret_has_a_value_in_the_repository():
    example = (ROOT / ".env.example").read_text()
    secrets = {line.partition("=")[0] for line in example.splitlines() if line.endswith("=")}
    text = (ROOT / "docker-compose.yml").read_text()
    for name in re.findall(r"\$\{([A-Z0-9_]*(?:PASSWORD|KEY)[A-Z0-9_]*)(.*?)\}", text):
        assert name[0] in secrets
        assert name[1].startswith(":?")  # without it, nothing starts
    assert not re.search(r"(PASSWORD|SECRET\w*|ACCESS_KEY): (?!\$\{)", text)


def test_every_variable_is_in_the_example():
    example = {line.partition("=")[0] for line in (ROOT / ".env.example").read_text().splitlines()}
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", (ROOT / "docker-compose.yml").read_text()))
    assert used <= example


@pytest.mark.parametrize("name", OWN)
def test_our_own_services_get_settings_that_exist(name, monkeypatch):
    environment = STACK["services"][name]["environment"]
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    in_image = dict(re.findall(r"(ADASLIDE_\w+)=(\S+)", dockerfile))
    for variable, value in {**in_image, **environment}.items():
        value = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
        monkeypatch.setenv(variable, re.sub(r"\$\{.*?\}", "0a1b" * 12, value))
    settings = load_settings()
    assert not settings.broker.embedded
    assert not settings.database.migrate
    assert settings.database_url.startswith("postgresql+psycopg://")
    assert settings.metrics.port == 9464


def test_the_worker_with_a_card_uses_it_and_no_other_does():
    wants = {name: STACK["services"][name]["environment"] for name in OWN}
    asked = {name: env.get("ADASLIDE_COMPRESSION__RUNTIME") for name, env in wants.items()}
    assert asked == {"migrate": None, "api": None, "worker": None, "worker-gpu": "torch"}
    assert wants["worker-gpu"]["ADASLIDE_COMPRESSION__DEVICE"] == "cuda"


def test_what_depends_on_a_service_waits_for_it():
    for name in ("api", "worker", "worker-gpu"):
        needs = STACK["services"][name]["depends_on"]
        assert needs["migrate"]["condition"] == "service_completed_successfully"
        for part in ("postgres", "valkey", "object-store"):
            assert needs[part]["condition"] == "service_healthy"


def test_the_object_store_does_not_phone_home():
    assert "-master.telemetry=false" in STACK["services"]["object-store"]["command"]


class TestMakeEnv:
    """`deploy/make_env.py`."""

    @pytest.fixture
    def make_env(self, tmp_path):
        """The script, in a folder of its own."""
        (tmp_path / "deploy").mkdir()
        for name in (".env.example", "deploy/make_env.py"):
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())

        def run():
            subprocess.run([sys.executable, tmp_path / "deploy" / "make_env.py"], check=True)
            return tmp_path / ".env"

        return run

    @staticmethod
    def values(path):
        lines = path.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def test_every_secret_is_its_own_and_only_the_owner_reads_it(self, make_env):
        path = make_env()
        values = self.values(path)
        made = [values[name] for name in values if name.endswith(("PASSWORD", "KEY"))]
        assert len(made) == len(set(made)) == 6
        assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in made)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_what_is_there_stays(self, make_env):
        first = make_env().read_text()
        assert make_env().read_text() == first

    def test_what_is_missing_is_added(self, make_env):
        path = make_env()
        path.write_text("POSTGRES_PASSWORD=mine\nLISTEN=0.0.0.0\n# a word of my own\n")
        values = self.values(make_env())
        assert (values["POSTGRES_PASSWORD"], values["LISTEN"], values["PORT"]) == ("mine", "0.0.0.0", "8000")
        assert len(values["VALKEY_PASSWORD"]) == 48
        assert "# a word of my own" in path.read_text()

    def test_two_installations_have_different_secrets(self):
        spec = spec_from_file_location("make_env", ROOT / "deploy" / "make_env.py")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.complete("A=\n", "") != module.complete("A=\n", "")
