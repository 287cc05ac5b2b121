"""An order is made of rules, answers and examples, stored as a version, and can be made again exactly."""

import pytest

from archive.models import Job
from tests import cast
from tests.unit.triage import looked
from triage import questions, queue, ranking, review, versions
from triage.models import Ranking

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
    assert ranking.replay(question, 1) == []


def test_a_new_version_is_asked_for_after_so_many_answers(case, reader):
    items, actor = looked.two_kinds(case, 12), cast.signed_in(reader)
    ranking.make(questions.main(case))
    for n, item in enumerate(items[:6], 1):
        review.decide(item=item, actor=actor, value="relevant" if n % 5 == 1 else "not_relevant")
        assert Job.objects.filter(name="triage.rank").exists() == (n >= 5)
    assert Ranking.objects.count() == 1, "nobody waited for it"
