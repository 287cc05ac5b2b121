"""Drawing by lot: the pool, the record, what is read and counted, and what the screens say and do not show."""

import hashlib

import pytest
from django.db import connection, transaction
from django.db.utils import DatabaseError

from archive import custody, disposal, jobs
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import CustodyEvent, Decision, Item
from tests import cast
from triage import elusion, given, questions, review
from triage.estimate import LEVEL
from triage.models import Answer, Draw

pytestmark = pytest.mark.django_db
SEED = "5eed"


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
    return [cast.item(case) for _ in range(12)]


@pytest.fixture
def main(case, items):
    return questions.main(case)


def drawn_of(question, actor, size=4):
    return elusion.draw(question=question, actor=actor, size=size, seed=lambda: SEED)


def item(case, number):
    return Item.objects.get(case=case, number=number)


def decide(item, actor, value):
    return review.decide(item=item, actor=actor, value=value, shown={})


def test_the_pool_is_all_that_nobody_decided_and_the_lot_can_be_drawn_again(case, items, main, actor):
    decide(items[0], actor, "relevant")
    decide(items[1], actor, "second_look")
    drawn = drawn_of(main, actor)
    pool = [i.number for i in items[2:]]
    assert (drawn.number, drawn.unseen, drawn.answered, drawn.found) == (1, 10, 2, 1)
    assert drawn.drawn == sorted(pool, key=lambda n: hashlib.sha256(f"{SEED}:{n}".encode()).digest())[:4]
    event = CustodyEvent.objects.get(type="case.sample_drawn")
    assert event.subject == f"case:{case.pk}"
    body = bytes(event.canonical).decode()
    assert all(part in body for part in (SEED, drawn.pool_sha256, str(drawn.drawn).replace(" ", "")))
    assert hashlib.sha256(bytes(drawn.pool)).hexdigest() == drawn.pool_sha256


def test_a_draw_is_a_persons_act_and_stays(main, actor):
    with pytest.raises(NotAllowed):
        drawn_of(main, custody.Actor.operator())
    with pytest.raises(NotAllowed):
        drawn_of(main, cast.signed_in(cast.person("researcher")))
    drawn = drawn_of(main, actor)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), custody.log.recording():
        connection.cursor().execute(
            f"UPDATE {Draw._meta.db_table} SET seed = 'x' WHERE number = {drawn.number}"
        )


@pytest.mark.parametrize("size", [0, 13])
def test_a_size_that_cannot_be_is_refused(main, actor, size):
    with pytest.raises(BadInput, match="Nothing was drawn"):
        drawn_of(main, actor, size)


def test_a_closed_question_is_not_drawn_from(case, items, actor):
    asked = questions.ask(case=case, actor=actor, text="Does it show a bridge?")
    questions.close(question=asked, actor=actor)
    with pytest.raises(Conflict):
        drawn_of(asked, actor)


def test_an_answer_by_lot_remembers_it_and_no_score(case, main, actor):
    drawn = drawn_of(main, actor)
    elusion.answer(drawn=drawn, item=item(case, drawn.drawn[1]), actor=actor, value="yes")
    decision = Decision.objects.get()
    assert (decision.value, decision.shown) == ("relevant", {"came": "lot", "sample": 1, "place": 2})
    other = next(i for i in case.items.all() if i.number not in drawn.drawn)
    with pytest.raises(BadInput, match="not drawn"):
        elusion.answer(drawn=drawn, item=other, actor=actor, value="yes")


def test_a_question_has_lots_of_its_own(case, items, actor):
    asked = questions.ask(case=case, actor=actor, text="Does it show a bridge?")
    decide(items[0], actor, "relevant")
    drawn = drawn_of(asked, actor, 12)
    assert drawn.unseen == 12
    elusion.answer(drawn=drawn, item=item(case, drawn.drawn[0]), actor=actor, value="unsure")
    assert Answer.objects.get().shown["came"] == "lot"
    look = elusion.look(drawn)
    assert (look.sampled.read, look.sampled.unsure) == (1, 1)


def test_only_the_read_part_up_to_the_first_gap_counts(case, main, actor):
    drawn = drawn_of(main, actor)
    first, second, third, _ = (item(case, n) for n in drawn.drawn)
    decide(third, actor, "relevant")  # the queue brought it up
    look = elusion.look(drawn)
    assert (look.sampled.read, look.sampled.found_in_pool, look.ahead) == (0, 1, 1)
    assert look.next().item == first.pk
    for one in (first, second):
        elusion.answer(drawn=drawn, item=one, actor=actor, value="no")
    look = elusion.look(drawn)
    assert (look.sampled.read, look.sampled.hits, look.ahead) == (3, 1, 0)


def test_a_decision_that_is_taken_back_opens_a_gap_again(case, main, actor):
    drawn = drawn_of(main, actor)
    for n in drawn.drawn:
        elusion.answer(drawn=drawn, item=item(case, n), actor=actor, value="no")
    assert elusion.look(drawn).sampled.done
    review.withdraw(decision=item(case, drawn.drawn[0]).decision, actor=actor)
    assert elusion.look(drawn).sampled.read == 0


def test_what_was_seen_before_may_be_changed_after_the_draw(case, items, main, actor):
    before = [
        decide(items[n], actor, value) for n, value in enumerate(["relevant", "relevant", "second_look"])
    ]
    drawn = drawn_of(main, actor)
    assert (elusion.look(drawn).sampled.found, elusion.look(drawn).sampled.unsettled) == (2, 1)
    review.withdraw(decision=before[0], actor=actor)
    decide(items[1], actor, "not_relevant")
    told = elusion.look(drawn).sampled
    assert (told.found, told.unsettled) == (0, 2)


def test_what_comes_in_later_is_not_spoken_of_but_said(case, main, actor):
    drawn = drawn_of(main, actor)
    decide(cast.item(case), actor, "relevant")
    look = elusion.look(drawn)
    assert (look.since, look.sampled.found_now) == (1, 0)


def test_an_item_that_was_destroyed_before_anybody_answered_is_not_told(case, main, actor):
    drawn = drawn_of(main, actor)
    lawyer = cast.person("legal")
    cast.share(case, lawyer, "manage_case")
    one = item(case, drawn.drawn[0])
    why = {"reason": "Consent ended", "authority": "Rule 4"}
    asked = disposal.request(case=case, actor=actor, items=[one.pk], **why)
    disposal.approve(disposal=asked, actor=cast.signed_in(lawyer))
    jobs.run_waiting("archive.dispose")
    look = elusion.look(drawn)
    assert (look.sampled.read, look.sampled.unsure) == (1, 1)
    assert elusion.newest(main) == drawn and drawn_of(main, actor).unseen == 11


def test_the_estimate_goes_by_the_newest_draw_alone(main, actor):
    drawn_of(main, actor)
    second = drawn_of(main, actor, 2)
    assert elusion.newest(main) == second and second.number == 2


def test_what_a_sample_buys_is_told_for_several_sizes_and_for_a_wished_width():
    now = elusion.Seen(items=1330, seen=412, found=160, refused=252)
    told = elusion.promises(now, 10)
    assert [one.drawn for one in told] == [30, 60, 120, 240, 480]
    assert all(a.low < b.low and a.width > b.width for a, b in zip(told, told[1:], strict=False))
    need = elusion.size_for(now, 10, 0.2)
    assert need.width <= 0.2 < now.sample(need.drawn - 1).promise(10).width
    with pytest.raises(BadInput, match="No sample"):
        elusion.size_for(elusion.Seen(20, 20, 20, 0), 0, 0.1)


def test_how_many_may_matter_is_guessed_by_the_best_that_there_is(case, items, main, actor, monkeypatch):
    assert elusion.expected(main, elusion.seen(main), None) is None
    decide(items[0], actor, "relevant")
    decide(items[1], actor, "not_relevant")
    now = elusion.seen(main)
    assert elusion.expected(main, now, None) == (5, "seen")
    chances = {items[0].pk: 0.9, items[2].pk: 0.2, items[3].pk: 0.4}
    monkeypatch.setattr("triage.ranking.scores", lambda question: chances)
    assert elusion.expected(main, now, None) == (pytest.approx(3), "chances")
    drawn = drawn_of(main, actor)
    elusion.answer(drawn=drawn, item=item(case, drawn.drawn[0]), actor=actor, value="no")
    assert elusion.expected(main, elusion.seen(main), elusion.look(drawn))[1] == "sample"


# --- the screens ------------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(reader):
    return cast.browser(reader)


def test_before_any_draw_the_page_says_that_nothing_can_be_said(browser, case, items, actor):
    decide(items[0], actor, "relevant")
    page = browser.get(f"/cases/{case.code}/estimate/").content.decode()
    assert "nothing can be said of what nobody has seen" in page
    assert "1 of 12" in page.replace('<bdi dir="ltr">', "").replace("</bdi>", "")


def test_drawing_reading_and_the_estimate_by_screens(browser, case, items, actor):
    decide(items[0], actor, "relevant")
    to = browser.post(f"/cases/{case.code}/estimate/draw", {"size": "3"})["Location"]
    drawn = Draw.objects.get()
    assert to == f"/samples/{drawn.pk}/"
    assert 'class="chip machine"' not in browser.get(to).content.decode()
    at = f"/samples/{drawn.pk}/{item(case, drawn.drawn[0]).pk}/"
    page = browser.get(at).content.decode()
    assert "No score and nothing that a model said is shown here" in page and "Why it is number" not in page
    for value in ("no", "unsure", "no"):
        answer = browser.post(at, {"value": value})
        at = answer["Location"]
    assert at == f"/cases/{case.code}/estimate/"
    said = browser.get(at).content.decode()
    words = said.replace('<bdi dir="ltr">', "").replace("</bdi>", "")
    told = elusion.look(drawn).sampled.recall()
    assert f"At 95\u00a0% confidence at least {int(told.low * 100)}\u00a0% of what matters is found" in words
    assert "could not be told" in words and told.level == LEVEL
    assert "stop" not in words.split('id="main"')[1].lower(), "no instruction to stop, ever"
    assert "style=" not in said and "<script>" not in said


def test_a_sample_of_more_than_there_is_is_refused_on_the_page(browser, case, items):
    answer = browser.post(f"/cases/{case.code}/estimate/draw", {"size": "13"})
    assert answer.status_code == 422 and "Nothing was drawn" in answer.content.decode()


def test_the_wished_width_is_answered_on_the_page(browser, case, items, actor):
    decide(items[0], actor, "relevant")
    decide(items[1], actor, "not_relevant")
    page = browser.get(f"/cases/{case.code}/estimate/?width=90").content.decode()
    assert "random item" in page


def test_answers_of_every_question_come_in_three_words(case, items, main, actor):
    for n, value in enumerate(["relevant", "not_relevant", "second_look"]):
        decide(items[n], actor, value)
    review.decide(item=items[3], actor=actor, value="escalate", reason="ask", shown={})
    assert [one.value for _, one in sorted(given.in_force(main).items())] == ["yes", "no", "unsure", "unsure"]
