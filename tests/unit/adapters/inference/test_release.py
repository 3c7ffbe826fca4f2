"""A release is one set: weights, manifest, cards, what the agent was measured with, and published results."""

import hashlib
import json
from pathlib import Path

import pytest

from adaslide.adapters.inference.weights import installed, weights_named

RESULTS = Path(__file__).parents[4] / "benchmarks" / "results"
NAMES = sorted(installed())


@pytest.mark.parametrize("name", NAMES)
def test_what_was_trained_lies_beside_what_is_served(name):
    weights = weights_named(name)
    trained = weights.path.with_name(weights.table["safetensors"]).read_bytes()
    assert hashlib.sha256(trained).hexdigest() == weights.table["safetensors_sha256"]


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_of_the_weights_beside_it(name):
    weights = weights_named(name)
    card = (weights.path.parent / weights.table["card"]).read_text()
    assert weights.digest.hex() in card
    assert weights.table["safetensors_sha256"] in card


def test_the_agent_was_kept_by_rewards_of_the_released_judge_and_enhancer():
    table = weights_named("cda-resnet18").table
    assert table["judge_sha256"] == weights_named("nuclei-unet").digest.hex()
    assert table["restorer_sha256"] == weights_named("fie-compact-x4").digest.hex()
    judges = dict.fromkeys(("cda-ladder-fast", "cda-ladder-fast-2", "cda-ladder-fast-3"), "nuclei-lean")
    for agent in ("cda-ladder", "cda-ladder-2", "cda-ladder-3", "cda-ladder-4", *judges):
        judge = weights_named(judges.get(agent, "nuclei-unet"))
        assert weights_named(agent).table["judge_sha256"] == judge.digest.hex()


def test_published_results_are_of_the_released_weights():
    results = [json.loads(path.read_text()) for path in RESULTS.glob("*.json")]
    of_one = {result["weights"]: result for result in results if isinstance(result.get("weights"), str)}
    assert set(of_one) >= {"fie-compact-x4", "fie-compact-x2", "cda-resnet18"}
    for name, result in of_one.items():
        assert result["sha256"] == weights_named(name).digest.hex(), name
    agent = weights_named("cda-resnet18").table
    for key in ("judge_sha256", "restorer_sha256"):
        assert of_one["cda-resnet18"][key] == agent[key]
    (torch,) = (result["weights"] for result in results if isinstance(result.get("weights"), dict))
    assert torch == {name: weights_named(name).digest.hex() for name in torch}
