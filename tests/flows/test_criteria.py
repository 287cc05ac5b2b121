"""Reading and writing the rules that order a case's review."""

import pytest

from tests import cast
from triage import scoring, standing
from triage.models import Criteria

pytestmark = pytest.mark.django_db


def posted(client, case, **changed):
    """The page's own form, with some fields changed."""
    page = client.get(f"/cases/{case.code}/criteria/")
    rows, data = page.context["rows"], {"name": "Second", "reason": "More weight on vehicles"}
    data |= {f"row-{key}": value for key, value in rows.management_form.initial.items()}
    for row in rows:
        for field in row:
            data[field.html_name] = "" if field.value() is None else field.value()
    return client.post(f"/cases/{case.code}/criteria/", data | changed)


def test_the_rules_in_force_are_shown_and_come_back_unchanged():
    researcher = cast.person("researcher")
    case = cast.case(researcher)
    answer = posted(cast.browser(researcher), case)
    assert answer.status_code == 302, answer.content.decode()
    row = Criteria.objects.get(case=case)
    assert row.number == 1 and row.rules == scoring.DEFAULT_RULES and row.by == researcher


def test_an_edit_is_a_new_version_and_an_emptied_name_takes_a_rule_out():
    researcher = cast.person("researcher")
    case = cast.case(researcher)
    posted(cast.browser(researcher), case, **{"row-0-points": "2.5", "row-1-name": ""})
    rules = standing.rules_of(case).rules["criteria"]
    assert rules[0]["weight"] == "2.5" and len(rules) == len(scoring.DEFAULT_RULES["criteria"]) - 1


def test_a_bad_rule_is_refused_with_its_fault_and_nothing_changes():
    researcher = cast.person("researcher")
    case = cast.case(researcher)
    answer = posted(cast.browser(researcher), case, **{"row-0-classes": "dragon"})
    assert answer.status_code == 422 and "dragon" in answer.content.decode()
    assert not Criteria.objects.exists()


def test_who_may_only_look_can_read_the_rules_and_not_write_them():
    observer = cast.person("observer")
    case = cast.case(observer)
    client = cast.browser(observer)
    assert client.get(f"/cases/{case.code}/criteria/").status_code == 200
    assert posted(client, case).status_code == 404
    assert not Criteria.objects.exists()
