"""Answers that the others contradict are pointed out with the reason, and changed by people alone."""

import numpy as np
import pytest

from archive import jobs
from archive.models import CustodyEvent, Decision, Job
from tests import cast
from tests.unit.triage import looked
from triage import doubtful, questions, review
from triage.models import Doubt, Vector

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def actor(reader):
    return cast.signed_in(reader)


@pytest.fixture
def case(reader):
    return cast.case(owner=reader)


@pytest.fixture
def items(case):
    """Ten items of two kinds by their vectors."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(2, 8), 5, axis=0) + rng.normal(size=(10, 8)) * 0.1
    return [looked.at(cast.item(case), vector) for vector in vectors]


@pytest.fixture
def main(case, items, actor):
    """The first kind was answered yes but for the third item, the second kind no; nobody answered the last."""
    for n, item in enumerate(items[:9]):
        value = "relevant" if n < 5 and n != 2 else "not_relevant"
        review.decide(item=item, actor=actor, value=value, shown={})
    return questions.main(case)


def test_the_odd_answer_is_found_by_a_job_that_changes_nothing(case, items, main, actor):
    questions.ask(case=case, actor=actor, text="Which nobody has answered yet")
    doubtful.search(case=case, actor=actor)
    before = Decision.objects.count()
    jobs.run_waiting("triage.doubtful")
    assert not Job.objects.filter(name="triage.doubtful").exclude(state="done").exists()
    row = doubtful.listed(main)[0]
    assert row.item == items[2] and (row.value, row.other, row.among) == ("no", "yes", 9)
    assert set(row.like["numbers"]) <= {1, 2, 4, 5} and row.like["models"] == [
        "mobilenet-v1 (mobilenet-v1 1)"
    ]
    assert Decision.objects.count() == before


def test_without_vectors_nothing_is_in_doubt(main):
    Vector.objects.all().delete()
    assert doubtful.rebuild(main) == []


def test_a_look_that_leaves_the_answer_is_recorded_and_ends_the_hint(items, main, actor):
    doubtful.rebuild(main)
    doubtful.leave(question=main, item=items[2], actor=actor, reason="An odd picture")
    assert items[2] not in [row.item for row in doubtful.listed(main)]
    assert CustodyEvent.objects.filter(type="item.looked_again", subject=f"item:{items[2].pk}").exists()
    doubtful.rebuild(main)
    assert items[2] not in [row.item for row in doubtful.listed(main)], "not pointed out again"


def test_an_answer_that_was_given_anew_is_in_doubt_no_more(items, main, actor):
    doubtful.rebuild(main)
    items[2].refresh_from_db()
    doubtful.change(question=main, item=items[2], actor=actor, value="yes")
    assert Doubt.objects.filter(item=items[2]).exists()
    assert items[2] not in [row.item for row in doubtful.listed(main)]
    assert Decision.objects.filter(item=items[2]).last().shown == {"came": "second look"}


def test_the_screens_give_the_reason_and_the_model_and_record_the_look(reader, case, items, main):
    doubtful.rebuild(main)
    browser = cast.browser(reader)
    page = browser.get(f"/cases/{case.code}/doubtful/").content.decode()
    at = f"/cases/{case.code}/doubtful/0/{items[2].pk}/"
    assert (
        at in page and "Learned from the other answers it would be yes" in page and "mobilenet-v1 (" in page
    )
    looked = browser.get(at).content.decode()
    assert "Machine suggestion:" in looked and 'value="leave"' in looked
    assert browser.post(at, {"value": "leave"})["Location"] == f"/cases/{case.code}/doubtful/"
    assert at not in browser.get(f"/cases/{case.code}/doubtful/").content.decode()
    assert browser.post(f"/cases/{case.code}/doubtful/search").status_code == 302
