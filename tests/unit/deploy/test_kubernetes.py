"""The manifests: what is named is there, nothing runs as root or without bounds."""

import re
from pathlib import Path

import pytest
import yaml

from adaslide.settings import load_settings

FOLDER = Path(__file__).parents[3] / "deploy" / "kubernetes"
OVERLAYS = ("base", "gpu")
SECRET_KEYS = {
    "ADASLIDE_DATABASE__URL": "postgresql+psycopg://u:p@db/adaslide",
    "ADASLIDE_BROKER__URL": "rediss://:p@queue:6379/0",
    "ADASLIDE_STORE__ACCESS_KEY": "a",
    "ADASLIDE_STORE__SECRET_KEY": "b",
}


def kustomization(name):
    return yaml.safe_load((FOLDER / name / "kustomization.yaml").read_text())


def documents():
    return [
        (overlay, document)
        for overlay in OVERLAYS
        for resource in kustomization(overlay)["resources"]
        if resource.endswith(".yaml")
        for document in yaml.safe_load_all((FOLDER / overlay / resource).read_text())
    ]


DOCUMENTS = documents()
PODS = [
    pytest.param(overlay, document, document["spec"]["template"]["spec"], id=document["metadata"]["name"])
    for overlay, document in DOCUMENTS
    if document["kind"] in ("Deployment", "Job")
]


def of_kind(kind):
    return {document["metadata"]["name"]: document for _, document in DOCUMENTS if document["kind"] == kind}


def test_every_manifest_belongs_to_a_kustomization():
    for overlay in OVERLAYS:
        named = {name for name in kustomization(overlay)["resources"] if name.endswith(".yaml")}
        there = {path.name for path in (FOLDER / overlay).glob("*.yaml")} - {"kustomization.yaml"}
        assert named == there


def test_the_pods_are_the_ones_meant():
    assert [param.id for param in PODS] == [
        "adaslide-migrate",
        "adaslide-api",
        "adaslide-worker",
        "adaslide-worker-gpu",
    ]


@pytest.mark.parametrize(("overlay", "document", "pod"), PODS)
def test_no_pod_is_root_or_speaks_to_the_cluster(overlay, document, pod):
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == 10001
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize(("overlay", "document", "pod"), PODS)
def test_every_container_is_bounded_and_pinned(overlay, document, pod):
    tags = {image["name"]: image["newTag"] for image in kustomization(overlay)["images"]}
    for container in pod["containers"]:
        assert re.fullmatch(r"\d+\.\d+\.\d+", tags[container["image"]])
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][bound].keys()
    assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"])


@pytest.mark.parametrize(
    ("overlay", "document", "pod"), [param for param in PODS if param.id != "adaslide-migrate"]
)
def test_probes_look_where_an_answer_is(overlay, document, pod):
    (container,) = pod["containers"]
    ports = {port["name"] for port in container["ports"]}
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[name]["httpGet"]
        assert probe["port"] in ports
        assert probe["path"].partition("?")[0] == ("/healthz" if name == "livenessProbe" else "/readyz")
    labels = document["spec"]["template"]["metadata"]["labels"]
    assert document["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_what_scales_names_what_is_there():
    deployments = of_kind("Deployment")
    for kind in ("HorizontalPodAutoscaler", "ScaledObject"):
        for document in of_kind(kind).values():
            target = deployments[document["spec"]["scaleTargetRef"]["name"]]
            assert "replicas" not in target["spec"]  # two owners of one number would fight
    scaled = of_kind("ScaledObject")["adaslide-worker"]["spec"]
    assert scaled["minReplicaCount"] >= 1
    (trigger,) = scaled["triggers"]
    assert "adaslide_queue_age_seconds" in trigger["metadata"]["query"]


def test_services_and_budgets_select_pods_that_are_there():
    labels = [
        document["spec"]["template"]["metadata"]["labels"] for document in of_kind("Deployment").values()
    ]
    for document in of_kind("Service").values():
        assert any(document["spec"]["selector"].items() <= found.items() for found in labels)
    for document in of_kind("PodDisruptionBudget").values():
        assert any(document["spec"]["selector"]["matchLabels"].items() <= found.items() for found in labels)


def test_everything_is_closed_but_for_what_is_named():
    policies = of_kind("NetworkPolicy")
    closed = policies["adaslide-nothing"]["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in policies.values():
        for rule in (*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])):
            assert rule["ports"]
            assert rule.get("from") or rule.get("to")


def test_the_worker_with_a_card_uses_it_and_no_other_does(monkeypatch):
    given = {
        name: {one["name"]: one["value"] for one in container.get("env", [])}
        for name, deployment in of_kind("Deployment").items()
        for container in deployment["spec"]["template"]["spec"]["containers"]
    }
    on_card = given.pop("adaslide-worker-gpu")
    assert not any("ADASLIDE_COMPRESSION__RUNTIME" in others for others in given.values())
    for name, value in on_card.items():
        monkeypatch.setenv(name, value)
    rules = load_settings().compression
    assert (rules.runtime, rules.device) == ("torch", "cuda")


def test_settings_exist_and_secrets_stay_out(monkeypatch):
    config = of_kind("ConfigMap")["adaslide"]["data"]
    assert not SECRET_KEYS.keys() & config.keys()
    assert not of_kind("Secret")
    for name, value in {**config, **SECRET_KEYS}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.store.secret_key.get_secret_value() == "b"
    assert not settings.broker.embedded
