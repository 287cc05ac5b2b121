"""A second, blind reading: who reads what, what it is compared with, and that people alone settle."""

import pytest
from django.db import DatabaseError, connection, transaction

from archive import custody
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import CustodyEvent, Decision
from tests import cast
from triage import questions, review, second_reading
from triage.models import SecondReading

pytestmark = pytest.mark.django_db


@pytest.fixture
def first():
    return cast.person("researcher")


@pytest.fixture
def case(first):
    return cast.case(owner=first)


@pytest.fixture
def second(case):
    person = cast.person("researcher")
    cast.share(case, person)
    return person


@pytest.fixture
def items(case):
    return [cast.item(case) for _ in range(6)]


@pytest.fixture
def main(case, items):
    return questions.main(case)


def decide(item, person, value):
    item.refresh_from_db()
    return review.decide(item=item, actor=cast.signed_in(person), value=value, shown={})


def share(question, person, percent=100):
    return second_reading.set_share(
        question=question, actor=cast.signed_in(person), percent=percent, seed=lambda: "5eed"
    )


def read(question, item, person, value):
    return second_reading.read_again(question=question, item=item, actor=cast.signed_in(person), value=value)


def test_it_is_off_until_somebody_sets_a_share(main, items, first, second):
    decide(items[0], first, "relevant")
    assert second_reading.waiting(main, second) == []
    share(main, first)
    assert [one.item for one in second_reading.waiting(main, second)] == [items[0].pk]
    assert second_reading.waiting(main, first) == [], "nobody reads their own again"
    share(main, first, 0)
    assert second_reading.waiting(main, second) == []


def test_a_larger_share_takes_in_a_smaller_one_and_is_about_as_large_as_it_says(main, first):
    small, large = share(main, first, 20), share(main, first, 40)
    numbers = range(1, 3001)
    inside = {n for n in numbers if second_reading.is_in(small, n)}
    assert inside < {n for n in numbers if second_reading.is_in(large, n)}
    assert 0.17 < len(inside) / 3000 < 0.23
    assert not second_reading.is_in(None, 1) and all(
        second_reading.is_in(share(main, first), n) for n in (1, 2)
    )
    with pytest.raises(BadInput):
        share(main, first, 101)


def test_a_second_reading_replaces_nothing(main, items, first, second):
    share(main, first)
    decision = decide(items[0], first, "relevant")
    row = read(main, items[0], second, "no")
    items[0].refresh_from_db()
    assert items[0].decision_id == decision.pk and Decision.objects.count() == 1
    assert (row.first, row.first_value, row.value) == (decision.pk, "yes", "no")
    assert CustodyEvent.objects.filter(type="item.read_again", subject=f"item:{items[0].pk}").exists()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), custody.log.recording():
        connection.cursor().execute("UPDATE triage_secondreading SET value = 'yes'")


def test_one_item_has_one_second_reading_by_another_person(main, items, first, second):
    share(main, first)
    with pytest.raises(BadInput, match="does not wait"):
        read(main, items[0], second, "no")
    decide(items[0], first, "relevant")
    with pytest.raises(BadInput, match="does not wait"):
        read(main, items[0], first, "no")
    read(main, items[0], second, "yes")
    with pytest.raises(Conflict):
        read(main, items[0], second, "no")
    watcher = cast.person("observer")
    cast.share(main.case, watcher)
    with pytest.raises(NotAllowed):
        read(main, items[0], watcher, "no")


def test_agreement_is_counted_by_what_was_said_then(main, items, first, second):
    share(main, first)
    for item, one, other in zip(
        items,
        ["relevant", "relevant", "not_relevant", "not_relevant", "relevant", "second_look"],
        ["yes", "yes", "no", "no", "no", "yes"],
        strict=True,
    ):
        decide(item, first, one)
        read(main, item, second, other)
    told = second_reading.agreement(main)
    assert (told.items, told.told) == (6, 5) and told.same == pytest.approx(4 / 6)
    assert told.kappa.guess == pytest.approx((0.8 - 0.48) / 0.52)
    assert told.kappa.low < told.kappa.guess < told.kappa.high
    assert [row.item for row in second_reading.disagreements(main)] == [items[4], items[5]]
    decide(items[4], second, "not_relevant")
    assert second_reading.agreement(main) == told, "settling does not make readers agree"
    assert [row.item for row in second_reading.disagreements(main)] == [items[5]]


def test_no_reading_yet_has_no_kappa(main):
    assert second_reading.agreement(main).kappa is None


def test_who_settles_may_confirm_the_first_answer_and_it_is_remembered_why(main, items, first, second):
    share(main, first)
    decide(items[0], first, "relevant")
    row = read(main, items[0], second, "no")
    second_reading.settle(reading=row, actor=cast.signed_in(first), value="yes")
    assert second_reading.disagreements(main) == []
    assert Decision.objects.last().shown == {"came": "second reading", "reading": str(row.pk)}


def test_the_second_readers_screens_show_neither_answer_nor_score(case, main, items, first, second):
    share(main, first)
    decide(items[0], first, "relevant")
    decide(items[1], first, "relevant")
    browser = cast.browser(second)
    listed = browser.get(f"/cases/{case.code}/second/").content.decode()
    assert "2</bdi> items wait for a reading of yours" in listed
    at = f"/cases/{case.code}/second/0/{items[0].pk}/"
    page = browser.get(at).content.decode()
    assert 'aria-pressed="true"' not in page and "chip human" not in page and "chip machine" not in page
    assert browser.post(at, {"value": "no"})["Location"] == f"/cases/{case.code}/second/0/{items[1].pk}/"
    assert browser.post(at, {"value": "no"}).status_code in (409, 422)
    assert SecondReading.objects.count() == 1
    listed = browser.get(f"/cases/{case.code}/second/").content.decode()
    assert "and agree on" in listed and "kappa" in listed
    row = SecondReading.objects.get()
    settle = browser.get(f"/second/{row.pk}/").content.decode()
    assert "First reader" in settle and "Second reader" in settle
    assert browser.post(f"/second/{row.pk}/", {"value": "no"})["Location"] == f"/cases/{case.code}/second/"
    assert Decision.objects.filter(item=items[0]).last().value == "not_relevant"


def test_the_share_is_set_on_the_page_by_those_who_order(case, main, first):
    browser = cast.browser(first)
    assert browser.post(f"/cases/{case.code}/second/share", {"percent": "10"}).status_code == 302
    assert second_reading.share_of(main).percent == 10
    assert browser.post(f"/cases/{case.code}/second/share", {"percent": "101"}).status_code == 422
