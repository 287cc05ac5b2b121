"""The replay finds what the oracle knows, sooner than chance, and gives the same figures again."""

import json
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from tests.unit.triage.test_learning import pool
from triage import simulation
from triage.management import simulating


@pytest.fixture(scope="module")
def told():
    blocks, labels = pool(240, 30)
    return simulation.run(blocks, labels, seeds=2, examples=1)


def test_it_finds_sooner_than_chance_and_states_what_stands_beside(told):
    own, *plain = told["orders"]
    assert own["name"] == "amparo" and [p["name"] for p in plain] == [
        "logistic regression on wide",
        "logistic regression on narrow",
    ]
    assert own["wss95"]["mean"] > 0.6 and abs(told["random"]["mean"]) < 0.1
    assert own["recall"]["0.5"]["mean"] == 1.0 and told["calibration"]["seeds"] == 2
    assert told["calibration"]["ece"]["mean"] < 0.15 and told["calibration"]["skill"]["mean"] > 0.5


def test_the_interval_covers_and_a_larger_sample_narrows_it(told):
    assert len(told["intervals"]) == 9 and all(row["coverage"] >= 0.9 for row in told["intervals"])
    for at in (0, 3, 6):
        widths = [row["width"] for row in told["intervals"][at : at + 3]]
        assert widths == sorted(widths, reverse=True)


def test_the_same_task_gives_the_same_figures(told):
    blocks, labels = pool(240, 30)
    own = simulation.learners(blocks)[0]
    again = simulation.replay_order(own, labels, seeds=2, examples=1)
    assert again == told["orders"][0] and json.loads(simulating.as_json(told)) == told


def test_examples_are_not_counted_and_every_other_item_comes_up_once():
    blocks, labels = pool(120, 10)
    own = simulation.learners(blocks)[0]
    order, _ = simulation.review(own, labels, seed=1, examples=2)
    assert len(order) == len(set(order)) == 118 and labels[order].sum() == 8
    cold, _ = simulation.review(own, labels, seed=1, examples=0)
    assert len(set(cold)) == 120


def test_the_page_says_the_figures_in_words(told):
    page = simulating.text({**told, "unread": 2})
    assert (
        "30 relevant of 240 items" in page and "random order" in page and "2 files could not be read" in page
    )
    assert "recall 0.95, sample 20%: covered" in page


@pytest.mark.parametrize("positives", [0, 1, 5])
def test_a_task_without_anything_to_find_or_to_leave_is_refused(positives):
    blocks = {"a": np.random.default_rng(0).normal(size=(5, 3))}
    with pytest.raises(ValueError, match="more relevant items than examples"):
        simulation.run(blocks, np.arange(5) < positives, seeds=1, examples=1)


def test_the_command_says_what_is_missing(settings, tmp_path: Path):
    settings.MODELS_DIR = tmp_path / "none"
    (tmp_path / "set" / "fire").mkdir(parents=True)
    with pytest.raises(CommandError, match="models pull mobilenet-v1-embedding"):
        call_command("triage", "simulate", dataset=tmp_path / "set", positive="fire")
    with pytest.raises(CommandError, match="no folder 'smoke'|has no folder"):
        call_command("triage", "simulate", dataset=tmp_path / "set", positive="smoke")
