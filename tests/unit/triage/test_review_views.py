"""The review screens: order, decisions with what was shown, undo, postponing, and who may."""

import re

import pytest
from django.utils import translation

from archive.models import Decision, Postponement
from tests import cast
from tests.unit.triage import looked
from triage import questions, queue, ranking, review
from triage.models import Answer, Example
from triage.queue import Filters

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def case(reader):
    return cast.case(owner=reader)


@pytest.fixture
def items(case):
    return [cast.item(case) for _ in range(3)]


@pytest.fixture
def browser(reader):
    return cast.browser(reader)


def shown_of(response) -> str:
    return re.search(r'name="shown" value="([^"]+)"', response.content.decode())[1]


def test_the_queue_states_its_order_and_how_many_there_are(browser, case, items):
    page = browser.get(f"/cases/{case.code}/review/").content.decode()
    assert "A low score hides nothing." in page
    assert "3 items" in page
    assert [page.index(f"/review/{item.pk}/") for item in items] == sorted(
        page.index(f"/review/{i.pk}/") for i in items
    )


def test_a_decision_keeps_what_the_screen_showed_and_leads_to_the_next_item(browser, reader, items):
    page = browser.get(f"/review/{items[0].pk}/")
    answer = browser.post(f"/review/{items[0].pk}/decide", {"value": "relevant", "shown": shown_of(page)})
    assert answer["Location"] == f"/review/{items[1].pk}/"
    decision = Decision.objects.get(item=items[0])
    assert (decision.value, decision.by, decision.shown["place"]) == ("relevant", reader, 1)


def test_what_was_shown_cannot_be_made_up_or_taken_from_another_item(browser, items):
    other = shown_of(browser.get(f"/review/{items[2].pk}/"))
    browser.post(f"/review/{items[0].pk}/decide", {"value": "relevant", "shown": other})
    assert Decision.objects.get(item=items[0]).shown["place"] == 1


def test_all_decisions_look_equal_and_none_is_the_default(browser, items):
    page = browser.get(f"/review/{items[0].pk}/").content.decode()
    form = page[page.index('class="decide"') :]
    buttons = re.findall(r'<button class="([^"]*)" name="value" value="(\w+)"', form)
    assert [value for _, value in buttons] == ["relevant", "not_relevant", "second_look", "escalate"]
    assert len({css for css, _ in buttons}) == 1
    assert re.search(r"<button[^>]*>", form)[0] == '<button type="submit" disabled hidden>'


@pytest.mark.parametrize("act", ["decide", "postpone"])
def test_escalating_and_postponing_ask_for_a_reason_in_place(browser, items, act):
    answer = browser.post(f"/review/{items[0].pk}/{act}", {"value": "escalate", "reason": "  "})
    assert answer.status_code == 422
    assert "Nothing was saved." in answer.content.decode()
    assert not Decision.objects.exists() and not Postponement.objects.exists()


def test_a_postponed_item_goes_behind_the_others(browser, reader, case, items):
    browser.post(f"/review/{items[0].pk}/postpone", {"reason": "needs a translator"})
    order = [row.pk for row in queue.order(case, reader).rows]
    assert order == [items[1].pk, items[2].pk, items[0].pk]


def test_undo_takes_back_the_last_decision_and_shows_its_item_again(browser, case, items):
    browser.post(f"/review/{items[0].pk}/decide", {"value": "not_relevant"})
    answer = browser.post(f"/cases/{case.code}/review/undo")
    assert answer["Location"] == f"/review/{items[0].pk}/"
    assert list(Decision.objects.order_by("at").values_list("value", flat=True)) == [
        "not_relevant",
        "withdrawn",
    ]
    items[0].refresh_from_db()
    assert items[0].decision is None
    page = browser.get(answer["Location"]).content.decode()
    assert "Both stay in the history." in page


def test_filters_stay_on_from_item_to_item(browser, items):
    answer = browser.post(f"/review/{items[0].pk}/decide?kind=unknown", {"value": "relevant"})
    assert answer["Location"] == f"/review/{items[1].pk}/?kind=unknown"


def test_an_unknown_filter_is_refused_in_words(browser, case, items):
    assert browser.get(f"/cases/{case.code}/review/?kind=smell").status_code == 422


@pytest.mark.parametrize("role", ["observer", "reviewer", "legal", "data_scientist"])
def test_who_may_only_look_gets_no_buttons_and_no_decision(case, items, role):
    watcher = cast.person(role)
    cast.share(case, watcher)
    browser = cast.browser(watcher)
    assert 'name="value"' not in browser.get(f"/review/{items[0].pk}/").content.decode()
    assert browser.post(f"/review/{items[0].pk}/decide", {"value": "relevant"}).status_code == 404
    assert not Decision.objects.exists()


@pytest.mark.parametrize("path", ["/cases/{code}/review/", "/review/{item}/"])
def test_a_stranger_to_the_case_finds_nothing(case, items, path):
    stranger = cast.browser(cast.person("administrator"))
    assert stranger.get(path.format(code=case.code, item=items[0].pk)).status_code == 404


def test_the_last_item_leads_back_to_the_queue(browser, case, items):
    for item in items:
        answer = browser.post(f"/review/{item.pk}/decide", {"value": "relevant"})
    assert answer["Location"] == f"/cases/{case.code}/review/"
    assert queue.number(case, case.items.first().decision.by, Filters()) == (0, False)


def test_in_arabic_the_page_runs_right_to_left_and_codes_do_not(browser, items):
    browser.cookies["django_language"] = "ar"
    page = browser.get(f"/review/{items[0].pk}/").content.decode()
    translation.activate("en")
    assert '<html lang="ar" dir="rtl"' in page
    assert f'<bdi dir="ltr">{items[0].code}</bdi>' in page


def test_no_page_carries_inline_style_or_script(browser, case, items):
    for path in (f"/review/{items[0].pk}/", f"/cases/{case.code}/review/", f"/cases/{case.code}/library/"):
        page = browser.get(path).content.decode()
        assert " style=" not in page
        assert not re.search(r"\son\w+=", page)
        for tag in re.findall(r"<script[^>]*>", page):
            assert "src=" in tag or 'type="application/json"' in tag


# --- questions ------------------------------------------------------------------------------------------------------


@pytest.fixture
def damage(case, reader):
    return questions.ask(case=case, actor=cast.signed_in(reader), text="Does it show damage?")


def test_a_question_is_answered_by_the_same_keys_and_keeps_what_was_shown(browser, reader, items, damage):
    page = browser.get(f"/review/{items[0].pk}/?question=1")
    shown = page.content.decode()
    assert "Does it show damage?" in shown
    buttons = re.findall(r'name="value" value="(\w+)" data-key="(\w+)"', shown)
    assert buttons == [("yes", "relevant"), ("no", "not_relevant"), ("unsure", "second_look")]
    sent = {"value": "yes", "shown": shown_of(page)}
    answer = browser.post(f"/review/{items[0].pk}/decide?question=1", sent)
    assert answer["Location"] == f"/review/{items[1].pk}/?question=1"
    given = Answer.objects.get(item=items[0], question=damage)
    assert (given.value, given.by, given.shown["place"], given.shown["question"]) == ("yes", reader, 1, 1)
    assert not Decision.objects.exists()


def test_undo_takes_back_the_answer_to_this_question_only(browser, case, items, damage):
    browser.post(f"/review/{items[0].pk}/decide", {"value": "relevant"})
    browser.post(f"/review/{items[1].pk}/decide?question=1", {"value": "no"})
    answer = browser.post(f"/cases/{case.code}/review/undo?question=1")
    assert answer["Location"] == f"/review/{items[1].pk}/?question=1"
    assert questions.in_force(damage) == {} and Decision.objects.get().value == "relevant"


def test_what_was_shown_for_one_question_does_not_count_for_another(browser, items, damage):
    other = shown_of(browser.get(f"/review/{items[0].pk}/"))
    browser.post(f"/review/{items[0].pk}/decide?question=1", {"value": "no", "shown": other})
    assert Answer.objects.get().shown["question"] == 1


def test_one_key_leads_to_the_next_question_about_the_same_item(browser, items, damage):
    page = browser.get(f"/review/{items[0].pk}/").content.decode()
    assert re.search(rf'href="/review/{items[0].pk}/\?question=1" data-key="question"', page)
    page = browser.get(f"/review/{items[0].pk}/?question=1").content.decode()
    assert re.search(rf'href="/review/{items[0].pk}/" data-key="question"', page)


def test_a_closed_question_is_read_and_not_answered(browser, reader, items, damage):
    questions.close(question=damage, actor=cast.signed_in(reader), reason="Done")
    page = browser.get(f"/review/{items[0].pk}/?question=1").content.decode()
    assert "This question is closed." in page and 'name="value"' not in page
    assert browser.post(f"/review/{items[0].pk}/decide?question=1", {"value": "yes"}).status_code == 422


@pytest.mark.parametrize(
    ("query", "status"), [("?question=9", 404), ("?question=-1", 422), ("?by=luck", 422)]
)
def test_an_unknown_question_or_order_is_refused(browser, case, query, status):
    assert browser.get(f"/cases/{case.code}/review/{query}").status_code == status


def test_the_queue_says_what_its_order_rests_on_and_names_what_no_model_has_read(browser, case, items):
    page = browser.get(f"/cases/{case.code}/review/").content.decode()
    assert "By rules only" in page and "5 places in 100 go to items drawn by lot" in page
    assert re.search(r"No model has read <bdi[^>]*>3</bdi> items", page)
    assert page.index("No model has read") < page.rindex(f"/review/{items[0].pk}/")
    assert f"/cases/{case.code}/review/?status=waiting" in page
    assert "Scores are points, not calibrated." in page


def test_a_version_of_the_order_is_named_with_its_reasons(browser, case, items):
    made = ranking.make(questions.main(case), seed=1)
    page = browser.get(f"/review/{items[0].pk}/").content.decode()
    assert f"Version {made.number} of the order, built-in rules" in page
    assert "Nothing is known of what it shows" in page


def test_an_example_is_given_from_the_review_and_taken_away_again(browser, case, damage):
    (item,) = looked.items(case, 1)
    answer = browser.post(f"/review/{item.pk}/example?question=1", {"box": "0.1,0.1,0.5,0.5", "at_ms": ""})
    assert answer["Location"] == f"/review/{item.pk}/?question=1"
    given = Example.objects.get(question=damage)
    assert given.box == (0.1, 0.1, 0.5, 0.5) and not Answer.objects.exists()
    page = browser.get(f"/cases/{case.code}/questions/").content.decode()
    assert "1 example" in page and "a box in it" in page
    browser.post(f"/review/{item.pk}/example/{given.pk}/end")
    given.refresh_from_db()
    assert given.ended_at is not None


@pytest.mark.parametrize("sent", [{"box": "0.1,0.1"}, {"box": "a,b,c,d"}, {"at_ms": "5"}])
def test_an_example_that_is_none_is_refused_in_words(browser, case, sent):
    (item,) = looked.items(case, 1)
    answer = browser.post(f"/review/{item.pk}/example", sent, follow=True)
    assert "sentence bad" in answer.content.decode()
    assert not Example.objects.exists()


def test_a_learned_reason_leads_to_the_items_that_it_looks_like(browser, case, reader):
    items = looked.two_kinds(case, 8, yes_every=2)
    actor = cast.signed_in(reader)
    for item, value in zip(items[:4], ("relevant", "not_relevant") * 2, strict=True):
        review.decide(item=item, actor=actor, value=value)
    ranking.make(questions.main(case), seed=1)
    page = browser.get(f"/review/{items[4].pk}/").content.decode()
    links = re.search(r"looks like (.+?), to which people said yes", page)[1]
    assert set(re.findall(r"/items/([^/]+)/", links)) == {str(items[0].pk), str(items[2].pk)}
    listed = browser.get(f"/cases/{case.code}/review/").content.decode()
    assert "2 yes and 2 no" in listed and re.search("by (score|lot)", listed)
