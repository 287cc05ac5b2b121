"""Reading and writing the rules that order a question's review, and seeing beforehand what a change would move."""

import pytest

from archive import annotate
from tests import cast
from tests.unit.triage import looked
from triage import preview, questions, ranking, review, rules, standing
from triage.models import Criteria
from triage.views.rule_forms import Rules, as_row

pytestmark = pytest.mark.django_db

EVERY_KIND = [
    {"name": "People", "kind": "seen", "any_of": ["person"], "weight": "1", "from_confidence": "0.40"},
    {"name": "Crowd", "kind": "count", "any_of": ["person"], "each": "0.2", "beyond": 1, "at_most": "2"},
    {"name": "Both", "kind": "together", "all_of": [["person"], ["knife", "scissors"]], "weight": "4"},
    {"name": "Convoy", "kind": "tracked", "any_of": ["truck"], "at_least": 3, "seconds": 5, "weight": "3"},
    {"name": "Fire", "kind": "tagged", "any_of": ["fire", "حريق"], "weight": "2", "by": "models"},
    {"name": "Clinic", "kind": "written", "words": ["hospital"], "weight": "3", "where": "pictures"},
    {"name": "Heron", "kind": "from_source", "sources": ["S-01"], "weight": "1"},
    {"name": "Bridge", "kind": "place", "near": ["33.5102", "36.2913"], "km": "2", "weight": "2"},
    {"name": "Valley", "kind": "place", "box": ["33.4", "36.1", "33.6", "36.4"], "weight": "1"},
    {"name": "Week", "kind": "captured", "since": "2026-05-01", "until": "2026-05-07", "weight": "1"},
    {"name": "Reliable", "kind": "source", "weight": "1"},
    {"name": "Recent", "kind": "recency", "weight": "1", "half_life_days": 90, "as_of": "2026-11-21"},
]
TAGGED = {
    "row-TOTAL_FORMS": "1",
    "row-INITIAL_FORMS": "0",
    "row-0-name": "Bridge",
    "row-0-kind": "tagged",
    "row-0-points": "5",
    "row-0-tags": "bridge",
    "name": "First",
    "reason": "The bridge matters",
}


@pytest.fixture
def researcher():
    return cast.person("researcher")


@pytest.fixture
def case(researcher):
    return cast.case(researcher)


@pytest.fixture
def client(researcher):
    return cast.browser(researcher)


def fields(rows) -> dict[str, str]:
    """What a browser would send of these rows."""
    sent = {f"row-{key}": value for key, value in rows.management_form.initial.items()}
    for row in rows:
        for field in row:
            sent[field.html_name] = "" if field.value() is None else field.value()
    return sent


def posted(client, case, **changed):
    """The page's own form, with some fields changed."""
    rows = client.get(f"/cases/{case.code}/criteria/").context["rows"]
    sent = {"name": "Second", "reason": "More weight on vehicles"} | fields(rows) | changed
    return client.post(f"/cases/{case.code}/criteria/", sent)


def test_every_kind_of_rule_comes_back_unchanged_from_its_form():
    shown = fields(Rules(initial=[as_row(rule) for rule in EVERY_KIND], prefix="row"))
    read = Rules(shown, prefix="row")
    assert read.is_valid(), read.errors
    back = [rule for row in read if (rule := row.criterion())]
    assert back == EVERY_KIND
    rules.validate({"format": rules.FORMAT, "criteria": back})


def test_the_rules_in_force_are_shown_and_come_back_unchanged(client, case, researcher):
    answer = posted(client, case)
    assert answer.status_code == 302, answer.content.decode()
    row = Criteria.objects.get(case=case)
    assert row.number == 1 and row.rules == rules.DEFAULT_RULES and row.by == researcher


def test_an_edit_is_a_new_version_and_an_emptied_name_takes_a_rule_out(client, case):
    posted(client, case, **{"row-0-points": "2.5", "row-1-name": ""})
    written = standing.rules_of(case).rules["criteria"]
    assert written[0]["weight"] == "2.5" and len(written) == len(rules.DEFAULT_RULES["criteria"]) - 1


def test_a_bad_rule_is_refused_with_its_fault_and_nothing_changes(client, case):
    answer = posted(client, case, **{"row-0-classes": "dragon"})
    assert answer.status_code == 422 and "dragon" in answer.content.decode()
    answer = posted(client, case, **{"row-0-points": ""})
    assert answer.status_code == 422 and "Needed for this kind of rule." in answer.content.decode()
    assert not Criteria.objects.exists()


def test_each_question_has_rules_of_its_own(client, case, researcher):
    questions.ask(case=case, actor=cast.signed_in(researcher), text="Is the bridge seen?")
    page = f"/cases/{case.code}/criteria/?question=1"
    assert "No rules yet" in client.get(page).content.decode()
    assert client.post(page, TAGGED)["Location"] == page
    assert standing.rules_of(case, 1).rules["criteria"][0]["name"] == "Bridge"
    assert standing.rules_of(case).number == 0


def test_the_preview_says_what_would_move_and_saves_nothing(client, case, researcher):
    first, second = cast.item(case), cast.item(case)
    annotate.tag(item=second, name="bridge", actor=cast.signed_in(researcher))
    page = client.post(f"/cases/{case.code}/criteria/preview", TAGGED)
    moves = page.context["moves"]
    assert [(m.item, m.before, m.after) for m in moves.first] == [(second, 2, 1), (first, 1, 2)]
    assert (moves.up, moves.down, moves.looked, moves.of) == (1, 1, 2, 2)
    shown = page.content.decode()
    assert "Nothing was saved." in shown and second.code in shown
    assert not Criteria.objects.exists()


def test_the_preview_leaves_what_was_learned_as_it_is(client, case, researcher):
    items, actor = looked.two_kinds(case, 8, yes_every=2), cast.signed_in(researcher)
    for item, value in zip(items[:4], ("relevant", "not_relevant") * 2, strict=True):
        review.decide(item=item, actor=actor, value=value)
    ranking.make(questions.main(case), seed=1)
    nothing = TAGGED | {"row-0-points": "0"}
    moves = client.post(f"/cases/{case.code}/criteria/preview", nothing).context["moves"]
    assert [m.item.number for m in moves.first[:2]] == [5, 7] and (moves.up, moves.down) == (0, 0)


def test_the_preview_looks_at_a_bounded_number_and_says_so(client, case, monkeypatch):
    for _ in range(7):
        cast.item(case)
    monkeypatch.setattr(preview, "MOST", 4)
    moves = client.post(f"/cases/{case.code}/criteria/preview", TAGGED).context["moves"]
    assert (moves.looked, moves.top, moves.of) == (4, 2, 7)


def test_the_preview_of_an_unfinished_rule_says_what_is_wrong(client, case):
    page = client.post(f"/cases/{case.code}/criteria/preview", TAGGED | {"row-0-points": "many"})
    assert page.status_code == 200 and page.context["moves"] is None
    assert "weight is a number" in page.context["fault"]


def test_an_earlier_version_can_be_put_in_force_again_as_a_new_one(client, case, researcher):
    posted(client, case, **{"row-0-points": "2"})
    posted(client, case, **{"row-0-points": "3"})
    client.post(f"/cases/{case.code}/criteria/1/again", {"reason": "It worked better"})
    now = standing.rules_of(case)
    assert now.number == 3 and now.rules == Criteria.objects.get(case=case, number=1).rules
    shown = client.get(f"/cases/{case.code}/criteria/").content.decode()
    assert shown.count(researcher.name) >= 3 and "in force" in shown


def test_who_may_only_look_can_read_the_rules_and_not_write_them(case):
    observer = cast.person("observer")
    cast.share(case, observer)
    client = cast.browser(observer)
    assert client.get(f"/cases/{case.code}/criteria/").status_code == 200
    assert posted(client, case).status_code == 404
    for path in ("preview", "1/again"):
        assert client.post(f"/cases/{case.code}/criteria/{path}", TAGGED).status_code == 404
    assert not Criteria.objects.exists()
