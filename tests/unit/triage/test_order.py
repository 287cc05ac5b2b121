"""The order of review: by score, then arrival; what has no score stands behind and is counted; nothing is hidden."""

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from archive import cases, jobs
from archive.custody import Actor
from archive.custody.verify import verify
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import CustodyEvent, Item, Job
from tests import cast
from triage import pipeline, queue, review, scoring, standing
from triage.models import Criteria, Seen, Standing
from triage.queue import Filters

pytestmark = pytest.mark.django_db
State, Band = Standing.State, Standing.Band


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def case(reader):
    return cast.case(owner=reader)


def put(item: Item, people: int = 0, state: str = State.SCORED, note: str = "", **more: int) -> Item:
    """Place an item as if a model had suggested so many people (and other classes) in its only frame."""
    labels = {"person": people, **more}
    frames = {0: {label: (Decimal("0.9000"),) * n for label, n in labels.items() if n}}
    standing.place(item, scoring.Facts(frames), state=state, note=note)
    return item


def numbers(case, reader, filters=None, size=50) -> list[int]:
    """The order, page by page."""
    found, after = [], ""
    while True:
        page = queue.order(case, reader, filters, after=after, size=size)
        found += [row.number for row in page.rows]
        if not (after := page.next):
            return found


def test_higher_scores_come_first_and_equal_ones_by_arrival(case, reader):
    items = [cast.item(case) for _ in range(5)]
    for item, people in zip(items, [1, 3, 0, 3, 2], strict=True):
        put(item, people)
    assert numbers(case, reader) == [2, 4, 5, 1, 3]
    assert numbers(case, reader, size=1) == [2, 4, 5, 1, 3], "pages neither repeat nor skip"


def test_what_has_no_score_stands_behind_and_is_counted_by_reason(case, reader):
    waiting, broken, text, failed, scored = [cast.item(case) for _ in range(5)]
    put(broken, state=State.UNREADABLE, note="cannot decode: no picture")
    put(text, state=State.NOT_PICTURES)
    put(failed, state=State.FAILED)
    put(scored, 0)
    assert numbers(case, reader) == [5, 1, 2, 3, 4]
    counts = queue.counts(case)
    assert (counts.scored, counts.waiting, counts.unreadable, counts.not_pictures, counts.failed) == (
        1,
        1,
        1,
        1,
        1,
    )
    assert counts.undecided == 5 and counts.unscored == 4
    assert queue.stands(broken).why_unscored == "cannot decode: no picture"
    assert "No model has looked" in queue.stands(waiting).why_unscored


def test_a_negative_score_hides_nothing(case, reader):
    rules = {"format": 1, "criteria": [{"name": "pets", "kind": "seen", "any_of": ["cat"], "weight": "-100"}]}
    pipeline.set_criteria(case=case, actor=cast.signed_in(reader), name="No pets", rules=rules)
    put(cast.item(case), cat=1)
    put(cast.item(case), 1)
    assert numbers(case, reader) == [2, 1]


def test_an_item_that_arrives_while_others_are_placed_is_never_left_out(case, reader):
    first = cast.item(case)
    assert numbers(case, reader) == [1]
    second = cast.item(case)
    third = put(cast.item(case), 1)
    assert numbers(case, reader) == [third.number, first.number, second.number]


def test_filters_show_a_part_and_say_how_many(case, reader):
    items = [cast.item(case) for _ in range(4)]
    for item, kind in zip(items, ["image", "video", "image", "video"], strict=True):
        item.kind = kind
        put(item, 1, car=item.number % 2)
    assert numbers(case, reader, Filters(kind="video")) == [2, 4]
    assert numbers(case, reader, Filters(label="car")) == [1, 3]
    assert numbers(case, reader, Filters(kind="video", label="car")) == []
    assert queue.number(case, reader, Filters(label="car")) == (2, False)
    assert queue.number(case, reader, Filters(), most=3) == (3, True)
    assert queue.classes(case) == [("person", 4), ("car", 2)]
    with pytest.raises(BadInput):
        Filters(status="hidden")
    with pytest.raises(BadInput):
        queue.order(case, reader, after="not-a-cursor")


def test_a_stranger_to_the_case_sees_no_order_of_it(case):
    cast.item(case)
    with pytest.raises(NotAllowed):
        queue.order(case, cast.person("researcher"))
    with pytest.raises(NotAllowed):
        queue.next_item(case, cast.person("administrator"))


def test_the_place_is_the_place_in_the_order(case, reader):
    items = {item.number: put(item, item.number % 3) for item in [cast.item(case) for _ in range(7)]}
    for place, number in enumerate(numbers(case, reader), 1):
        assert queue.place(items[number]) == place


def test_the_next_item_follows_and_then_comes_from_the_top(case, reader):
    one, two, three = [put(cast.item(case), people) for people in (3, 2, 1)]
    assert queue.next_item(case, reader) == one
    assert queue.next_item(case, reader, after=one) == two
    assert queue.next_item(case, reader, after=three) == one
    actor = cast.signed_in(reader)
    review.decide(item=one, actor=actor, value="relevant")
    review.decide(item=two, actor=actor, value="not_relevant")
    assert queue.next_item(case, reader, after=two) == three
    review.decide(item=three, actor=actor, value="second_look")
    assert queue.next_item(case, reader, after=three) is None


def test_the_order_is_read_from_its_index(case, reader):
    cast.item(case)
    with CaptureQueriesContext(connection) as queries:
        queue.order(case, reader)
    sql = next(q["sql"] for q in queries if "triage_standing" in q["sql"] and "ORDER BY" in q["sql"])
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = " ".join(str(row) for row in cursor.fetchall())
        assert "order_of_review" in plan


# --- people ---------------------------------------------------------------------------------------------------


def test_a_decision_keeps_what_the_person_was_shown(case, reader):
    put(cast.item(case), 3)
    item = put(cast.item(case), 1)
    decision = review.decide(item=item, actor=cast.signed_in(reader), value="relevant", reason="the bridge")
    shown = decision.shown
    assert shown["place"] == 2 and shown["score"] == "1.000"
    assert shown["reasons"][0] == {
        "criterion": "People seen",
        "contribution": "1.000",
        "why": "person 0.90",
        "machine": True,
    }
    assert shown["ranking"] == standing.rules_of(case).ranking and "criteria 0" in shown["ranking"]
    assert "OpenCV" in shown["notice"]
    item.refresh_from_db()
    assert item.decision == decision
    assert [e.type for e in CustodyEvent.objects.filter(subject=item.custody_subject()).order_by("number")][
        -2:
    ] == [
        "item.decided",
        "item.decision_in_force",
    ]


def test_taking_back_is_a_new_event_and_brings_back_what_was_in_force(case, reader):
    item, actor = put(cast.item(case), 1), cast.signed_in(reader)
    first = review.decide(item=item, actor=actor, value="relevant")
    second = review.decide(item=item, actor=actor, value="not_relevant")
    assert review.last_by(actor, case.pk) == second
    review.withdraw(decision=second, actor=actor)
    item.refresh_from_db()
    assert item.decision == first and queue.stands(item).band == Band.DECIDED
    review.withdraw(decision=first, actor=actor, reason="wrong item")
    item.refresh_from_db()
    assert item.decision is None and queue.stands(item).band == Band.SCORED
    assert item.decisions.count() == 4, "nothing was erased"
    with pytest.raises(Conflict):
        review.withdraw(decision=first, actor=actor)


def test_only_the_person_who_decided_takes_it_back(case, reader):
    other = cast.person("researcher")
    cast.share(case, other)
    decision = review.decide(item=put(cast.item(case)), actor=cast.signed_in(reader), value="relevant")
    with pytest.raises(NotAllowed):
        review.withdraw(decision=decision, actor=cast.signed_in(other))


def test_two_people_at_once_do_not_overwrite_each_other(case, reader):
    item = put(cast.item(case))
    stale = Item.objects.select_related("case").get(pk=item.pk)
    review.decide(item=item, actor=cast.signed_in(reader), value="relevant")
    with pytest.raises(Conflict):
        review.decide(item=stale, actor=cast.signed_in(reader), value="not_relevant")
    item.refresh_from_db()
    assert item.decision.value == "relevant" and item.decisions.count() == 1


def test_postponed_items_wait_behind_the_others_until_decided(case, reader):
    actor = cast.signed_in(reader)
    one, two = put(cast.item(case), 3), put(cast.item(case), 1)
    waiting = cast.item(case)
    review.postpone(item=one, actor=actor, reason="needs a translator")
    assert numbers(case, reader) == [two.number, waiting.number, one.number]
    assert numbers(case, reader, Filters(status="postponed")) == [one.number]
    put(one, 5)
    assert queue.stands(one).band == Band.POSTPONED, "a new score does not undo what a person did"
    review.withdraw(decision=review.decide(item=one, actor=actor, value="relevant"), actor=actor)
    assert numbers(case, reader)[0] == one.number, "whoever took it up again ended its postponement"
    with pytest.raises(BadInput):
        review.postpone(item=two, actor=actor, reason="  ")


@pytest.mark.parametrize("act", ["decide", "postpone", "withdraw"])
@pytest.mark.parametrize("who", ["worker", "operator", "observer", "reviewer", "stranger"])
def test_nobody_but_a_signed_in_person_with_the_right_decides(case, reader, act, who):
    item = put(cast.item(case))
    decision = review.decide(item=item, actor=cast.signed_in(reader), value="relevant")
    actors = {
        "worker": lambda: Actor.system("worker"),
        "operator": Actor.operator,
        "stranger": lambda: cast.signed_in(cast.person("researcher")),
    }
    if who in actors:
        actor = actors[who]()
    else:
        person = cast.person(who)
        cast.share(case, person)
        actor = cast.signed_in(person)
    events = CustodyEvent.objects.count()
    with pytest.raises(NotAllowed):
        {
            "decide": lambda: review.decide(item=item, actor=actor, value="relevant"),
            "postpone": lambda: review.postpone(item=item, actor=actor, reason="x"),
            "withdraw": lambda: review.withdraw(decision=decision, actor=actor),
        }[act]()
    assert CustodyEvent.objects.count() == events


@pytest.mark.parametrize(
    ("value", "reason"), [("withdrawn", "x"), ("maybe", "x"), ("", "x"), ("escalate", " ")]
)
def test_what_is_no_decision_is_refused(case, reader, value, reason):
    with pytest.raises(BadInput):
        review.decide(item=put(cast.item(case)), actor=cast.signed_in(reader), value=value, reason=reason)


# --- criteria -------------------------------------------------------------------------------------------------

CARS = {"format": 1, "criteria": [{"name": "Cars", "kind": "seen", "any_of": ["car"], "weight": "3"}]}


def test_new_criteria_are_a_new_version_and_the_items_are_scored_again(case, reader, monkeypatch):
    people, car = put(cast.item(case), 2), put(cast.item(case), car=1)
    facts = {
        people.pk: scoring.Facts({0: {"person": (Decimal("0.9"),)}}),
        car.pk: scoring.Facts({0: {"car": (Decimal("0.9"),)}}),
    }
    monkeypatch.setattr(standing.known_facts, "read", lambda kept, suggested=None: facts)
    actor = cast.signed_in(reader)
    pipeline.set_criteria(case=case, actor=actor, name="Cars first", rules=CARS, reason="convoy")
    assert Job.objects.filter(name="triage.rescore", case=case, state="queued").exists()
    assert standing.rescore(case) == 2
    assert numbers(case, reader) == [2, 1]
    assert queue.stands(car).criteria == 1 and queue.stands(car).reasons[0]["criterion"] == "Cars"
    pipeline.set_criteria(case=case, actor=actor, name="Cars first, again", rules=CARS)
    assert list(Criteria.objects.filter(case=case).values_list("number", flat=True)) == [2, 1]
    assert (
        CustodyEvent.objects.filter(subject=case.custody_subject(), type="case.criteria_changed").count() == 2
    )


def test_bad_criteria_leave_those_in_force(case, reader):
    with pytest.raises(BadInput, match="'gun'"):
        pipeline.set_criteria(
            case=case,
            actor=cast.signed_in(reader),
            name="x",
            rules={
                "format": 1,
                "criteria": [{"name": "g", "kind": "seen", "any_of": ["gun"], "weight": "1"}],
            },
        )
    with pytest.raises(BadInput, match="name"):
        pipeline.set_criteria(case=case, actor=cast.signed_in(reader), name=" ", rules=CARS)
    assert not Criteria.objects.exists() and not Job.objects.filter(name="triage.rescore").exists()


def test_an_observer_edits_no_criteria(case):
    observer = cast.person("observer")
    cast.share(case, observer)
    with pytest.raises(NotAllowed):
        pipeline.set_criteria(case=case, actor=cast.signed_in(observer), name="x", rules=CARS)


def test_the_order_can_be_made_again_from_what_it_is_derived_from(case, reader):
    actor = cast.signed_in(reader)
    items = [cast.item(case) for _ in range(4)]
    put(items[1], state=State.UNREADABLE, note="cannot decode")
    review.decide(item=items[2], actor=actor, value="relevant")
    review.postpone(item=items[3], actor=actor, reason="later")
    before = list(
        Standing.objects.filter(case=case)
        .order_by("number")
        .values_list("number", "band", "state", "postponed")
    )
    Standing.objects.filter(case=case).exclude(item=items[1]).update(band=Band.SCORED, postponed=False)
    Seen.objects.filter(case=case).delete()
    assert standing.rebuild(case) == 4
    after = list(
        Standing.objects.filter(case=case)
        .order_by("number")
        .values_list("number", "band", "state", "postponed")
    )
    assert after == before


def test_rules_and_reasons_are_committed_to_and_never_stand_open_in_an_event(case, reader):
    """Guards: they name places, dates, tags and words of notes, which a bundle may withhold, and an event is for ever."""
    from archive import annotate

    actor = cast.signed_in(reader)
    item = put(cast.item(case), people=1)
    annotate.tag(item=item, name="Tete clinic", actor=actor)
    rules = {
        "format": 1,
        "criteria": [{"name": "The clinic", "kind": "tagged", "any_of": ["Tete clinic"], "weight": "1"}],
    }
    pipeline.set_criteria(case=case, actor=actor, name="Clinics of Tete", rules=rules)
    standing.rescore(case, 0)
    shown = queue.shown(item)
    assert "Tete clinic" in shown["reasons"][0]["why"]
    assert review.decide(item=item, actor=actor, value="relevant", shown=shown).shown == shown
    assert not any(
        b"Tete" in bytes(body) for body in CustodyEvent.objects.values_list("canonical", flat=True)
    )
    assert not verify().faults


def test_a_changed_reliability_of_a_source_scores_its_items_again(case, reader):
    heron, other = cast.source(case, reliability=20), cast.source(case, reliability=50)
    items = [
        cast.acquire(case, cast.jpeg(seed=n), source=of).item for n, of in enumerate((heron, heron, other))
    ]
    for item in items:
        standing.place(item)
    scored = Standing.objects.get(item=items[2]).scored_at
    changes = ({"reliability": 90}, 900), ({"reliability": None}, 0), ({"pseudonym": "Heron"}, 0)
    for change, points in changes:
        cases.change_source(source=heron, actor=cast.signed_in(reader), **change)
        assert jobs.run_waiting("triage.know_source") == 1
        assert [Standing.objects.get(item=item).points for item in items] == [points, points, 500]
    assert Standing.objects.get(item=items[2]).scored_at == scored, "those of others stay as they are"
