"""Alerts and the dashboard speak of metrics that exist; every alert is explained and fires when it must."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from adaslide.observability.metrics import Metrics
from adaslide.ports.gauges import WorkGauges

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]


class Gauges:
    def read(self):
        return WorkGauges(canary_age_s=1.0)


@pytest.fixture(scope="module")
def known(tmp_path_factory, exact_package):
    """{metric family: its label names} of everything the code exposes."""
    metrics = Metrics()
    metrics.watch(Gauges())
    metrics.watch_disk(tmp_path_factory.mktemp("disk"))
    metrics.package_finished(exact_package[1])
    metrics.tile(1.0, cached=True)
    metrics.restored(1.0)
    metrics.request("GET", "/jobs", 200, 1.0)
    metrics.retried("adaslide.plan_job")
    with pytest.raises(OSError), metrics.store_call("get"):
        raise OSError
    found = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions():
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"]
    (scaling,) = (ROOT / "deploy" / "kubernetes").rglob("scaling.yaml")
    for document in yaml.safe_load_all(scaling.read_text()):
        for trigger in document["spec"].get("triggers", []):
            yield "scaling", trigger["metadata"]["query"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_and_label_exists(known, where, expression):
    named = re.findall(r"\b(adaslide_\w+|up)(?:\{(.*?)\})?", expression)
    assert named
    used = set()
    for metric, selector in named:
        if metric != "up":
            assert metric in known, metric
            labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector))
            assert labels <= known[metric]
            used |= known[metric]
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        assert set(re.split(r",\s*", grouped)) <= used | {"instance"}


def test_labels_have_few_values(known):
    few = {"task", "what", "cache", "method", "route", "status", "operation", "code", "state", "why", "le"}
    assert set().union(*known.values()) == few


def test_every_metric_is_on_the_dashboard_or_in_an_alert(known):
    text = " ".join(expression for _, expression in expressions())
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in known}
    assert {family for family in families if family not in text} == set()


def test_every_alert_is_explained_in_the_runbook():
    runbook = (ROOT / "docs" / "operations.md").read_text()
    for rule in RULES:
        assert f"### {rule['alert']}\n" in runbook
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")


def test_every_alert_is_tested_both_ways():
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    fires, quiet = set(), set()
    for case in cases:
        for check in case["alert_rule_test"]:
            (fires if check.get("exp_alerts") else quiet).add(check["alertname"])
    assert fires == quiet == {rule["alert"] for rule in RULES}


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is absent; on Debian: apt-get install prometheus"
)
def test_promtool_is_content():
    for command in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ):
        done = subprocess.run(
            ["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_scrape_names_services_of_the_stack():
    stack = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    scrapes = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    named = {name for scrape in scrapes for found in scrape["dns_sd_configs"] for name in found["names"]}
    assert named == {"api", "worker", "worker-gpu"}
    assert named <= stack.keys()
    assert {found["port"] for scrape in scrapes for found in scrape["dns_sd_configs"]} == {9464}


def test_the_dashboard_finds_its_source():
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
