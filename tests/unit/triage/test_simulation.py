"""The replay finds what the oracle knows, sooner than chance, and gives the same figures again."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from tests.unit.triage.test_learning import pool
from triage import simulation
from triage.learning import joined
from triage.management import peers, simulating

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def told():
    blocks, labels = pool(240, 30)
    return simulation.run(blocks, labels, seeds=2, examples=1)


def test_it_finds_sooner_than_chance_and_states_what_stands_beside(told):
    own, by_lot, *plain, random = told["orders"]
    assert [own["name"], by_lot["name"], *(p["name"] for p in plain), random["name"]] == [
        "amparo",
        "amparo, 5 % by lot",
        "logistic regression on wide",
        "logistic regression on narrow",
        "random order",
    ]
    assert own["wss95"]["mean"] > 0.6 and abs(random["wss95"]["mean"]) < 0.1
    assert abs(own["wss95"]["mean"] - by_lot["wss95"]["mean"]) < 0.1
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
    orders = simulation.orders_of(own, labels, seeds=2, examples=1)
    assert simulation.judged("amparo", orders, labels) == told["orders"][0]
    assert json.loads(simulating.as_json(told)) == told


def test_examples_are_not_counted_and_every_other_item_comes_up_once():
    blocks, labels = pool(120, 10)
    own = simulation.learners(blocks)[0]
    order, _ = simulation.review(own, labels, seed=1, examples=2)
    assert len(order) == len(set(order)) == 118 and labels[order].sum() == 8
    cold, _ = simulation.review(own, labels, seed=1, examples=0)
    assert len(set(cold)) == 120


def test_the_page_says_the_figures_in_words(told):
    page = simulating.text({**told, "unread": 2, "videos": 3, "absent": {"ASReview": "not installed here"}})
    assert "30 relevant of 240 items" in page and "random order" in page
    assert "2 files could not be read" in page and "3 videos are left out" in page
    assert re.search("ASReview +not installed here", page)
    assert "recall 0.95, sample 20%: covered" in page


@pytest.mark.parametrize("positives", [0, 1, 5])
def test_a_task_without_anything_to_find_or_to_leave_is_refused(positives):
    blocks = {"a": np.random.default_rng(0).normal(size=(5, 3))}
    with pytest.raises(ValueError, match="more relevant items than examples"):
        simulation.run(blocks, np.arange(5) < positives, seeds=1, examples=1)


@pytest.mark.parametrize(("items", "relevant", "examples"), [(3, 2, 1), (2, 1, 0), (4, 3, 1), (6, 2, 0)])
def test_the_smallest_tasks_are_replayed(items, relevant, examples):
    blocks, labels = {"a": np.random.default_rng(1).normal(size=(items, 3))}, np.arange(items) < relevant
    told = simulation.run(blocks, labels, seeds=2, examples=examples)
    assert told["items"] == items and all(row["coverage"] >= 0.95 for row in told["intervals"])
    assert simulating.text({**told, "unread": 0, "videos": 0, "absent": {}})


def test_a_start_gives_examples_and_leaves_all_others_in_the_queue():
    labels = np.arange(20) % 4 == 0
    given, lot = simulation.start(labels, seed=3, examples=2)
    assert labels[given].all() and sorted([*given, *lot.tolist()]) == list(range(20))
    given, lot = simulation.start(labels, seed=3, examples=1, pool=np.arange(1, 9))
    assert given[0] in (4, 8) and sorted([*given, *lot.tolist()]) == list(range(1, 9))


def test_a_peer_that_is_absent_or_fails_is_said(monkeypatch):
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    blocks, labels = pool(30, 5)
    peer = peers.asreview(joined(blocks), labels, seeds=1, examples=1)
    assert peer.orders == [] and "not installed here" in peer.absent
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(peers.sys, "executable", "/bin/false")
    assert peers.asreview(joined(blocks), labels, seeds=1, examples=1).absent == "failed: no message"


@pytest.mark.parametrize(
    ("path", "positive", "within"),
    [
        ("fire/a.jpg", "fire", True),
        ("train/fire/deep/a.jpg", "fire", True),
        ("train/fire/a.jpg", "train/fire", True),
        ("test/fire/a.jpg", "train/fire", False),
        ("normal/fire.jpg", "fire", False),
        ("normal/fire", "fire", False),
        ("fire place/a.jpg", "fire", False),
        ("fire/a.jpg", "", False),
    ],
)
def test_the_class_is_a_folder_at_any_depth(path, positive, within):
    assert simulating._within(Path(path), positive) is within


def test_the_command_says_what_is_missing(settings, tmp_path: Path):
    settings.MODELS_DIR = tmp_path / "none"
    (tmp_path / "set" / "fire").mkdir(parents=True)
    (tmp_path / "set" / "fire" / ".hidden").touch()
    with pytest.raises(CommandError, match="no folder 'fire' with files in it"):
        call_command("triage", "simulate", dataset=tmp_path / "set", positive="fire")
    (tmp_path / "set" / "fire" / "a.jpg").touch()
    with pytest.raises(CommandError, match="models pull mobilenet-v1-embedding"):
        call_command("triage", "simulate", dataset=tmp_path / "set", positive="fire")
    with pytest.raises(CommandError, match="has no folder 'smoke'"):
        call_command("triage", "simulate", dataset=tmp_path / "set", positive="smoke")
    with pytest.raises(CommandError, match="There is no folder"):
        call_command("triage", "simulate", dataset=tmp_path / "other", positive="smoke")
