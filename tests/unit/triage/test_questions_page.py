"""The page of a case's questions: what is asked, what people answered, what the order rests on; who may ask and close."""

from uuid import uuid4

import pytest

from archive.models import CustodyEvent
from tests import cast
from triage import questions
from triage.models import Example, Question
from triage.questions import Tally
from triage.views.questions import what_words

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def case(reader):
    return cast.case(owner=reader)


@pytest.fixture
def browser(reader):
    return cast.browser(reader)


@pytest.fixture
def damage(case, reader):
    return questions.ask(case=case, actor=cast.signed_in(reader), text="Does it show damage?")


def page(browser, case) -> str:
    return browser.get(f"/cases/{case.code}/questions/").content.decode()


def test_every_case_has_its_first_question_and_can_be_asked_more(browser, case):
    assert "Is it relevant to the case?" in page(browser, case)
    answer = browser.post(f"/cases/{case.code}/questions/", {"text": "Is a school seen?"})
    assert answer["Location"] == f"/cases/{case.code}/questions/"
    shown = page(browser, case)
    assert "Is a school seen?" in shown
    assert (
        f"/cases/{case.code}/review/?question=1" in shown
        and f"/cases/{case.code}/criteria/?question=1" in shown
    )


def test_an_empty_question_is_refused_in_place(browser, case):
    answer = browser.post(f"/cases/{case.code}/questions/", {"text": "  "})
    assert answer.status_code == 422
    assert not Question.objects.filter(case=case, number__gt=0).exists()


def test_what_people_answered_is_counted_once_per_item(browser, case, reader, damage):
    actor = cast.signed_in(reader)
    first, second, third = (cast.item(case) for _ in range(3))
    questions.answer(item=first, question=damage, actor=actor, value="no", shown={})
    questions.answer(item=first, question=damage, actor=actor, value="yes", shown={})
    questions.answer(item=second, question=damage, actor=actor, value="unsure", shown={})
    taken_back = questions.answer(item=third, question=damage, actor=actor, value="no", shown={})
    questions.withdraw(answer=taken_back, actor=actor)
    assert questions.tally(case)[damage.number] == Tally(yes=1, no=0, unsure=1)
    assert "Likeness to 1 item that people said yes to" in page(browser, case)


def test_the_page_says_what_each_order_rests_on(browser, case, reader, damage):
    actor = cast.signed_in(reader)
    assert "Rules only" in page(browser, case)
    for value in ("yes", "no"):
        questions.answer(item=cast.item(case), question=damage, actor=actor, value=value, shown={})
    assert "Learned from 1 yes and 1 no, and rules." in page(browser, case)


def test_a_closed_question_keeps_its_answers_and_the_reason_is_in_the_log(browser, case, damage):
    browser.post(f"/cases/{case.code}/questions/{damage.number}/close", {"reason": "The commission ended"})
    damage.refresh_from_db()
    assert damage.closed_at is not None
    assert CustodyEvent.objects.filter(subject=case.custody_subject(), type="case.question_closed").exists()
    assert "Closed" in page(browser, case)


def test_the_first_question_stays_open(browser, case):
    answer = browser.post(f"/cases/{case.code}/questions/0/close", {"reason": "Done"}, follow=True)
    assert "stays open" in answer.content.decode()
    assert questions.main(case).closed_at is None


@pytest.mark.parametrize("role", ["observer", "reviewer", "legal"])
def test_who_may_not_edit_reads_and_neither_asks_nor_closes(case, damage, role):
    watcher = cast.person(role)
    cast.share(case, watcher)
    browser = cast.browser(watcher)
    shown = page(browser, case)
    assert "Does it show damage?" in shown and "Ask a further question" not in shown
    assert browser.post(f"/cases/{case.code}/questions/", {"text": "More?"}).status_code == 404
    assert browser.post(f"/cases/{case.code}/questions/1/close", {"reason": "x"}).status_code == 404


def test_a_moment_given_as_an_example_is_named_in_plain_words():
    given = Example(item_id=uuid4(), at_ms=2000)
    assert what_words(given) == "the frame at \u20660:02\u2069", (
        "a message would show markup as it is written"
    )
