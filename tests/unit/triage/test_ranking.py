"""An order is made of rules, answers and examples, stored as a version, and can be made again exactly."""

from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from archive.custody import Actor
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import Job
from tests import cast
from tests.unit.triage import looked
from triage import examples, learning, ordering, questions, queue, ranking, replaying, review, versions
from triage.models import Analysis, Ranking, Vector
from triage.queue import Filters
from triage.replaying import Replayer, faults, stored_ranks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh():
    ranking.forget()
    versions._open.clear()


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def case(reader):
    return cast.case(owner=reader)


def numbers(case, reader, question=None, **more):
    found, after = [], ""
    while True:
        page = queue.order(case, reader, question=question, after=after, **more)
        found += [row.number for row in page.rows]
        if not (after := page.next):
            return found


def no_lot(question, reader):
    ranking.set_settings(question=question, actor=cast.signed_in(reader), audit_percent=0)


def test_what_was_answered_brings_up_what_is_like_it_and_says_so(case, reader):
    items, actor = looked.two_kinds(case, 40), cast.signed_in(reader)
    question = questions.ask(case=case, actor=actor, text="Shows the bridge")
    no_lot(question, reader)
    for item, value in zip(items[:10], ["yes", "no", "no", "no", "no"] * 2, strict=True):
        questions.answer(item=item, question=question, actor=actor, value=value, shown={})
    version = ranking.make(question)
    assert version.start == "decisions" and version.calibrated
    order = numbers(case, reader, question)
    assert set(order[:6]) == {n for n in range(11, 41) if n % 5 == 1}, "those of the first kind come first"
    assert sorted(order) == list(range(11, 41)), "nothing is hidden"
    first = queue.next_item(case, reader, question=question)
    shown = queue.shown(first, question)
    assert shown["place"] == 1 and shown["version"] == 1 and shown["came"] == "score"
    assert shown["reasons"][0]["criterion"] == "Learned" and set(shown["reasons"][0]["items"]) == {1, 6}
    assert sum(float(r["contribution"]) for r in shown["reasons"]) == pytest.approx(float(shown["score"]))
    assert Replayer().replay(question, 1) == []


def test_a_fit_with_other_last_digits_is_replayed_and_another_fit_is_not(case, reader, monkeypatch):
    """Guards the replay on another processor, where a fit may end in other last digits."""
    question, _items, _actor = answered(case, reader)
    fitted = learning.fit

    def off_by(error):
        def fit(*given):
            model = fitted(*given)
            return learning.Model(model.shares + error, model.intercept - error)

        return fit

    monkeypatch.setattr(learning, "fit", off_by(learning.FINE))
    assert Replayer().replay(question, 1) == []
    monkeypatch.setattr(learning, "fit", off_by(0.01))
    said = " ".join(Replayer().replay(question, 1))
    assert "other shares" in said and "another part by learned" in said
    monkeypatch.setattr(replaying, "LEARNER", learning.LEARNER + 1)
    assert "replay it with the release" in Replayer().replay(question, 1)[0]


def test_a_new_version_is_asked_for_after_so_many_answers(case, reader):
    items, actor = looked.two_kinds(case, 12), cast.signed_in(reader)
    ranking.make(questions.main(case))
    for n, item in enumerate(items[:6], 1):
        review.decide(item=item, actor=actor, value="relevant" if n % 5 == 1 else "not_relevant")
        assert Job.objects.filter(name="triage.rank").exists() == (n >= 5)
    assert Ranking.objects.count() == 1, "nobody waited for it"


def answered(case, reader, count=30, *, lot=0):
    """A question with so many items of two kinds, ten of them answered, and its first version."""
    items, actor = looked.two_kinds(case, count), cast.signed_in(reader)
    question = questions.ask(case=case, actor=actor, text="Shows the bridge")
    ranking.set_settings(question=question, actor=actor, audit_percent=lot)
    for item, value in zip(items[:10], ["yes", "no", "no", "no", "no"] * 2, strict=True):
        questions.answer(item=item, question=question, actor=actor, value=value, shown={})
    ranking.make(question, seed=7)
    return question, items, actor


def test_without_answers_of_both_kinds_the_order_is_by_rules_only(case, reader):
    items, actor = looked.two_kinds(case, 10), cast.signed_in(reader)
    question = questions.ask(case=case, actor=actor, text="Shows the bridge")
    no_lot(question, reader)
    assert ranking.make(question).start == "nothing" and numbers(case, reader, question) == list(range(1, 11))
    questions.answer(item=items[1], question=question, actor=actor, value="no", shown={})
    version = ranking.make(question)
    assert version.start == "nothing" and not version.calibrated and ranking.scores(question) == {}
    assert queue.shown(items[0], question)["reasons"] == []


def test_an_example_brings_up_what_is_like_it_and_is_no_answer(case, reader):
    items, actor = looked.two_kinds(case, 20), cast.signed_in(reader)
    question = questions.ask(case=case, actor=actor, text="Shows the bridge")
    no_lot(question, reader)
    example = examples.give(item=items[0], question=question, actor=actor)
    assert Job.objects.filter(name="triage.rank").exists()
    version = ranking.make(question)
    assert version.start == "examples" and version.labels == [[1, 1, example.pk, 0]]
    order = numbers(case, reader, question)
    assert set(order[:4]) == {1, 6, 11, 16}, "it still waits for its own answer"
    assert queue.shown(items[5], question)["reasons"][0]["items"] == [1]
    with pytest.raises(Conflict):
        examples.give(item=items[0], question=question, actor=actor)
    with pytest.raises(BadInput):
        examples.give(item=items[1], question=question, actor=actor, at_ms=1000)
    examples.end(example=example, actor=actor)
    assert ranking.make(question).start == "nothing" and examples.of(question) == []


def test_a_moment_of_a_video_teaches_by_its_own_frame(case, reader):
    items, actor = looked.two_kinds(case, 12), cast.signed_in(reader)
    question = questions.ask(case=case, actor=actor, text="Shows the bridge")
    video = items[1]  # of the second kind as a whole, with a moment of the first
    video.kind, video.duration_ms = "video", 10_000
    frame = Vector.objects.get(analysis__item=items[0]).values
    Vector.objects.create(analysis=Analysis.objects.get(item=video, task="embed"), at_ms=4000, values=frame)
    examples.give(item=video, question=question, actor=actor, at_ms=4200)
    no_lot(question, reader)
    assert ranking.make(question).start == "examples"
    assert set(numbers(case, reader, question)[:3]) == {1, 6, 11}
    assert Replayer().replay(question, 1) == []


def test_pages_neither_repeat_nor_skip_while_versions_change_under_them(case, reader):
    question, items, actor = answered(case, reader, lot=20)
    first = queue.order(case, reader, question=question, size=7)
    for item in items[10:14]:
        questions.answer(item=item, question=question, actor=actor, value="no", shown={})
    ranking.make(question)
    rest, after = [], first.next
    while after:
        page = queue.order(case, reader, question=question, after=after, size=7)
        rest += [row.number for row in page.rows]
        after = page.next
    seen = [row.number for row in first.rows]
    assert not set(seen) & set(rest) and set(seen) | set(rest) >= set(range(15, 31))


def test_what_came_in_since_the_version_is_in_the_queue_at_once(case, reader):
    question, _, actor = answered(case, reader)
    (later,) = looked.items(case, 1)
    order = numbers(case, reader, question)
    assert later.number in order and len(order) == 21
    assert queue.shown(later, question)["came"] == "arrival"
    scored = looked.at(*looked.items(case, 1), labels=["person"])
    assert order.index(later.number) == 20, "no model has looked at it yet: behind those that one has"
    assert numbers(case, reader, question).index(scored.number) < 20
    review.postpone(item=scored, actor=actor, reason="a translator")
    assert numbers(case, reader, question)[-1] == scored.number


def test_a_share_of_the_places_is_drawn_by_lot_and_the_seed_says_which(case, reader):
    question, items, _ = answered(case, reader, lot=50)
    came = {row.number: row.came for row in queue.order(case, reader, question=question).rows}
    assert 3 <= sum(by == "lot" for by in came.values()) <= 17
    again = ranking.make(question, seed=7)
    other = ranking.make(question, seed=8)
    first = ranking.opened(Ranking.objects.get(question=question, number=1))
    assert (first.order.places == ranking.opened(again).order.places).all()
    assert (first.order.places != ranking.opened(other).order.places).any()
    lot = next(n for n, by in came.items() if by == "lot")
    assert queue.ranked(items[lot - 1], question).number == lot


def test_those_the_learner_knows_least_about_come_first_on_request(case, reader):
    question, items, _ = answered(case, reader)
    page = queue.order(case, reader, Filters(by="uncertain"), question=question)
    away = [abs(row.chance - 0.5) for row in page.rows]
    assert away == sorted(away) and {row.came for row in page.rows} == {"uncertain"}
    chances = ranking.scores(question)
    assert len(chances) == 30 and all(0 < chance < 1 for chance in chances.values())


def test_waiting_raises_an_item_slowly_and_no_chance_with_it(case, reader):
    question, items, _ = answered(case, reader)
    before = ranking.opened(ranking.current(question))
    later = ranking.opened(ranking.make(question, at=timezone.now() + timedelta(days=25)))
    assert (later.parts.waiting - before.parts.waiting == 2500).all()
    assert (later.parts.chances() == before.parts.chances()).all()
    reasons = versions.reasons(later, case, [items[0].number])[items[0].number]
    assert next(r for r in reasons if r["criterion"] == "Waiting")["contribution"] == "2.500"


def test_rules_count_for_what_the_answers_say_they_are_worth(case, reader):
    """A point is one unit of log-odds until answers say otherwise, and never less than nothing."""
    rng = np.random.default_rng(3)
    learned, points = rng.normal(size=400), rng.integers(0, 3, 400).astype(float)
    truth = rng.random(400) < 1 / (1 + np.exp(-(learned + 0.5 * points - 1)))
    worth, _ = ordering._worth(learned, points, truth.astype(float))
    assert 0.2 < worth < 0.8
    against, _ = ordering._worth(learned, -3 * points, truth.astype(float))
    assert against == 0
    assert ordering._worth(learned, np.full(400, 2.0), truth.astype(float)) == (1.0, -2.0)
    unsure, _ = ordering._worth(learned[:4], points[:4], np.array([1.0, 0, 1, 0]))
    assert 0.2 < unsure < 2


def test_an_order_or_a_rank_that_was_changed_is_found(case, reader):
    question, items, actor = answered(case, reader)
    for item in items[10:15]:
        shown = queue.shown(item, question)
        questions.answer(item=item, question=question, actor=actor, value="no", shown=shown)
    shown = queue.shown(items[15], question) | {"place": 99}
    assert list(faults(stored_ranks(5))) == []
    questions.answer(item=items[15], question=question, actor=actor, value="no", shown=shown)
    assert [where for where, _ in faults(stored_ranks(1))] == [items[15].code]
    versions._open.clear()
    vector = Vector.objects.get(analysis__item=items[20])
    turned = np.frombuffer(vector.values, "<f2")[::-1].tobytes()
    Vector.objects.filter(pk=vector.pk).update(values=turned)
    assert "vectors" in next(fault for _, fault in faults(stored_ranks(1)))


def test_a_stranger_to_the_case_sees_no_order_of_a_question(case, reader):
    question, items, _ = answered(case, reader)
    stranger = cast.person("researcher")
    with pytest.raises(NotAllowed):
        queue.order(case, stranger, question=question)
    for act in (
        lambda: examples.give(item=items[0], question=question, actor=cast.signed_in(stranger)),
        lambda: ranking.set_settings(question=question, actor=cast.signed_in(stranger), audit_percent=1),
        lambda: examples.give(item=items[0], question=question, actor=Actor.system("worker")),
    ):
        with pytest.raises(NotAllowed):
            act()
    with pytest.raises(BadInput):
        ranking.set_settings(question=question, actor=cast.signed_in(reader), audit_percent=60)
