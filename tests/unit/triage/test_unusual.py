"""Items that are least like the rest of their case: found, stored, shown, counted by rules, and made again to the digit."""

from decimal import Decimal

import numpy as np
import pytest
from django.utils import timezone

from archive import jobs
from archive.custody.log import recording
from archive.models import CustodyEvent, Item, Job
from tests import cast
from tests.unit.triage import looked
from triage import (
    alerts,
    asking,
    forest,
    pipeline,
    questions,
    queue,
    ranking,
    review,
    scoring,
    suggesting,
    unusual,
    versions,
)
from triage.models import Alert, CaseAnalysis, Vector
from triage.preview import of as preview
from triage.replaying import Replayer, faults

pytestmark = pytest.mark.django_db
STRANGE = (7, 23, 41)


@pytest.fixture(autouse=True)
def fresh():
    ranking.forget()
    versions._open.clear()
    unusual._open.clear()


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def case(reader):
    """A case of 60 alike, three of which point into directions of their own."""
    case, rng = cast.case(owner=reader), np.random.default_rng(5)
    middle = rng.normal(size=24)
    vectors = [middle + 0.2 * rng.normal(size=24) for _ in range(60)]
    for number in STRANGE:
        vectors[number - 1] = 3 * rng.normal(size=24)
    looked.with_vectors(case, vectors)
    return case


def least_alike(case, count):
    every = np.arange(1, 61)
    tenths = unusual.shares(case, every)
    return set(every[np.argsort(tenths, kind="stable")][:count].tolist())


def test_what_points_elsewhere_comes_first_and_is_recorded_and_made_again_to_the_digit(case):
    stored = unusual.make(case, seed=3)
    assert least_alike(case, 3) == set(STRANGE)
    event = CustodyEvent.objects.get(type="case.analysed")
    assert (
        stored.items == 60 and stored.number == 1 and stored.result_sha256.encode() in bytes(event.canonical)
    )
    assert stored.model.startswith("scikit-learn ")
    assert (stored.parameters["seed"], stored.parameters["trees"]) == (3, 100)
    assert list(unusual.faults(stored)) == []
    first = Vector.objects.get(analysis__item__case=case, analysis__item__number=1)
    Vector.objects.filter(pk=first.pk).update(values=np.full(24, 0.2, "<f2").tobytes())
    assert "the vectors are not those" in " ".join(unusual.faults(stored))
    first.delete()
    assert "missing" in " ".join(unusual.faults(stored))


def test_what_is_said_of_an_item_and_that_nothing_is_said_of_one_that_is_gone(case):
    assert unusual.share(case.items.get(number=7)) is None
    stored = unusual.make(case, seed=3)
    item = case.items.get(number=7)
    said = unusual.share(item)
    assert said.by == stored and said.share <= 5 and said.beyond == 100 - said.share
    full = suggesting.Offer().full(item)
    assert f"than {said.beyond} %" in full.unusual and any(
        "IsolationForest" in model.name for model in full.models
    )
    assert any("IsolationForest" in model for model in queue.shown(item)["models"])
    late = looked.at(looked.items(case, 1)[0], np.ones(24))
    assert unusual.share(late) is None and suggesting.Offer().full(late).unusual == ""
    with recording():
        Item.objects.filter(pk=item.pk).update(disposed_at=timezone.now())
    assert unusual.share(case.items.get(number=7)) is None
    again = unusual.make(case, seed=3)
    assert again.number == 2 and again.items == 60 and again.with_vectors == 61


def test_it_is_asked_for_with_enough_items_then_with_a_tenth_more_or_other_embedders(case):
    def asked(number, recipes):
        Job.objects.all().delete()
        unusual.ask(case, with_vectors=number, recipes=recipes)
        return Job.objects.filter(name="triage.unusual").count() == 1

    stored = None
    assert not asked(49, {}) and asked(50, {})
    stored = unusual.make(case)
    assert not asked(65, stored.recipes) and asked(66, stored.recipes) and asked(60, {"other": "0"})


def test_a_new_order_asks_for_it_and_too_few_items_give_nothing(case, reader):
    row = Job(payload={})
    ranking.rank(row, case)
    assert Job.objects.filter(name="triage.unusual", case=case, queue="analyse").count() == 1
    small = cast.case(owner=reader)
    looked.two_kinds(small, 49)
    assert unusual.make(small) is None and not CaseAnalysis.objects.filter(case=small).exists()


def test_a_rule_counts_it_in_the_order_with_its_reason_and_is_replayed(case, reader):
    actor = cast.signed_in(reader)
    question = questions.ask(case=case, actor=actor, text="Shows the bridge")
    ranking.set_settings(question=question, actor=actor, audit_percent=0)
    rules = {
        "format": 1,
        "criteria": [{"name": "Odd", "kind": "unusual", "percent": "5", "weight": "2"}],
    }
    pipeline.set_criteria(case=case, question=question, actor=actor, name="One", rules=rules, reason="r")
    ranking.make(question)
    assert queue.shown(case.items.get(number=7), question)["score"] == "0.000"
    assert {move.item.number for move in preview(question=question, rules=rules).first} == set(range(1, 11))
    Job.objects.all().delete()
    unusual.make(case, seed=3)
    moves = preview(question=question, rules=rules)
    assert {move.item.number for move in moves.first} >= set(STRANGE)
    unusual.compare(Job(), case)
    assert Job.objects.filter(name="triage.rank").exists(), "its order follows"
    ranking.make(question)
    shown = queue.shown(case.items.get(number=7), question)
    assert shown["score"] == "2.000" and shown["place"] <= 3
    assert shown["reasons"][0]["why"].startswith("among the ") and shown["reasons"][0]["machine"]
    assert preview(question=question, rules=rules).same == 60
    (row,) = unusual.counted([queue.stands(case.items.get(number=7), question)])
    assert row.value == 2 and row.reasons[0]["criterion"] == "Odd", "screens without an order count it too"
    alerts.subscribe(
        case=case, question=question, actor=actor, name="Odd", measure="points", least="2", rule=None
    )
    jobs.run_waiting("triage.alerts")
    assert {alert.item.number for alert in Alert.objects.all()} == set(STRANGE)
    review.decide(item=case.items.get(number=7), actor=actor, value="relevant")
    unusual.make(case, seed=4)
    for version in (1, 2):
        assert Replayer().replay(question, version) == []


def test_an_alert_by_this_rule_looks_at_all_items_again_after_a_comparison(case, reader):
    rule = {"kind": "unusual", "percent": "5", "weight": "1"}
    alerts.subscribe(
        case=case,
        question=questions.main(case),
        actor=cast.signed_in(reader),
        name="Odd",
        measure="rule",
        rule=rule,
    )
    jobs.run_waiting("triage.alerts")
    assert not Alert.objects.exists(), "nothing was compared yet"
    unusual.make(case, seed=3)
    asking.compare(case)
    jobs.run_waiting("triage.alerts")
    assert {alert.item.number for alert in Alert.objects.all()} == set(STRANGE)


def test_the_queue_begins_with_them_on_request_and_hides_nothing(case, reader):
    question = questions.main(case)
    ranking.make(question)
    unusual.make(case, seed=3)
    page = queue.order(case, reader, queue.Filters(by="unusual"), question=question, size=100)
    numbers = [row.number for row in page.rows]
    assert set(numbers[:3]) == set(STRANGE) and sorted(numbers) == list(range(1, 61))
    assert {row.came for row in page.rows} == {"unusual"}
    first = queue.next_item(case, reader, queue.Filters(by="unusual"), question=question)
    shown = queue.shown(first, question, came="unusual")
    decision = review.decide(item=first, actor=cast.signed_in(reader), value="relevant", shown=shown)
    assert list(faults([decision])) == []


def test_points_are_those_of_the_rule_one_by_one():
    rules = {
        "criteria": [
            {"name": "a", "kind": "unusual", "percent": "1", "weight": "2"},
            {"name": "b", "kind": "unusual", "percent": "2.5", "weight": "-0.5"},
            {"name": "c", "kind": "source", "weight": "1"},
        ]
    }
    told = scoring.unusual_points(rules, np.array([0, 1, 10, 11, 25, 26, 1000]))
    assert told.tolist() == [0, 1500, 1500, -500, -500, 0, 0]
    facts = scoring.with_unusual(scoring.Facts(), 25)
    assert facts.unusual == Decimal("2.5")
    assert scoring.score(rules, facts)[1][0].why == "among the 2.5 % least like the rest"


def test_shares_are_the_smallest_that_an_item_is_among_and_equal_ones_share_theirs():
    assert forest.tenths([5, 9, 9, 1]).tolist() == [750, 500, 500, 1000]
    assert forest.number_of_trees(16) == 100 and forest.number_of_trees(2560) == 1000


def test_an_embedder_that_has_not_looked_at_an_item_makes_it_no_stranger():
    rng = np.random.default_rng(0)
    rows = np.array(1 + 0.1 * rng.normal(size=(80, 20)), np.float32)
    rows[:5, 10:] = np.nan
    rows[79] = 3 * rng.normal(size=20)
    places = np.argsort(-forest.grow(rows, seed=1).scores(rows), kind="stable")
    assert places[0] == 79 and not set(places[:20].tolist()) & set(range(5))
