"""The REST API: what is shared is given, what is not looks absent; writes go through the verbs."""

import json

import pytest
from django.core.management import call_command

from archive import access, cases
from archive.custody.canonical import event_hash
from archive.models import CustodyEvent, ItemTag, Note
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def rania():
    return cast.person("researcher")


@pytest.fixture
def case(rania):
    return cast.case(owner=rania, code="RIVER-1")


@pytest.fixture
def web(rania):
    return cast.browser(rania)


def test_schema_is_valid_and_without_warnings(tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))
    assert "/api/items/{item_id}/" in (tmp_path / "schema.yml").read_text()


def test_description_page_keeps_the_content_policy(web):
    page = web.get("/api/docs/")
    assert page.status_code == 200
    assert b"<style" not in page.content
    assert "unsafe" not in page["Content-Security-Policy"]
    assert web.get("/api/schema/").status_code == 200


def test_cases_are_those_that_were_shared(web, case):
    cast.case(code="OTHER-1")
    assert [c["code"] for c in web.get("/api/cases/").json()["results"]] == ["RIVER-1"]
    assert web.get("/api/cases/RIVER-1/").json()["title"] == case.title
    hidden, absent = web.get("/api/cases/OTHER-1/"), web.get("/api/cases/NONE/")
    assert (
        (hidden.status_code, hidden.content) == (absent.status_code, absent.content) == (404, absent.content)
    )


def test_items_page_by_key_and_filter(web, case):
    made = [cast.item(case, name=f"{i}.jpg") for i in range(5)]
    first = web.get("/api/cases/RIVER-1/items/?limit=2").json()
    assert [i["number"] for i in first["results"]] == [1, 2]
    second = web.get(first["next"]).json()
    assert [i["number"] for i in second["results"]] == [3, 4]
    assert web.get("/api/cases/RIVER-1/items/?kind=video").json()["results"] == []
    found = web.get(f"/api/cases/RIVER-1/items/?q={made[2].sha256}").json()["results"]
    assert [i["id"] for i in found] == [str(made[2].pk)]


def test_item_carries_all_that_is_recorded(web, case):
    item = cast.item(case, name="bridge.jpg")
    told = web.get(f"/api/items/{item.pk}/").json()
    assert (told["code"], told["sha256"], told["decision"]) == (item.code, item.sha256, None)
    assert told["acquisitions"][0]["file_name"] == "bridge.jpg"
    assert told["claims"] == told["findings"] == told["decisions"] == []


def test_events_are_given_byte_for_byte(web, case):
    item = cast.item(case)
    events = web.get(f"/api/items/{item.pk}/events/").json()["results"]
    assert [e["number"] for e in events] == list(range(1, len(events) + 1))
    for event in events:
        assert event_hash(event["canonical"].encode()).hex() == event["hash"]
        assert json.loads(event["canonical"])["subject"] == f"item:{item.pk}"


def test_tag_and_note_go_through_the_log(web, case):
    item = cast.item(case)
    url = f"/api/items/{item.pk}"
    assert web.post(f"{url}/tags/", {"name": "bridge"}, "application/json").status_code == 201
    assert web.post(f"{url}/notes/", {"text": "Look at the left"}, "application/json").status_code == 201
    assert web.post(f"{url}/notes/", {"text": ""}, "application/json").status_code == 400
    assert web.delete(f"{url}/tags/bridge/").status_code == 204
    assert (ItemTag.objects.count(), Note.objects.count()) == (0, 1)
    kinds = set(CustodyEvent.objects.filter(subject=f"item:{item.pk}").values_list("type", flat=True))
    assert {"item.tagged", "item.untagged", "item.noted"} <= kinds


def test_observer_reads_and_writes_nothing(case):
    seer = cast.person("observer")
    cast.share(case, seer)
    item, web = cast.item(case), cast.browser(seer)
    assert web.get(f"/api/items/{item.pk}/").status_code == 200
    refused = web.post(f"/api/items/{item.pk}/tags/", {"name": "x"}, "application/json")
    assert refused.status_code == 404
    assert refused.json()["code"] == "not-found"


def test_identities_are_never_given_out(web, case, rania):
    cast.share(case, rania, access.IDENTITY, access.MANAGE)
    source = cast.source(case, code="S-1", pseudonym="Cedar")
    cases.set_identity(source=source, identity="Hala Sabbagh", actor=cast.signed_in(rania))
    answer = web.get("/api/cases/RIVER-1/sources/")
    assert answer.json()["results"][0]["pseudonym"] == "Cedar"
    assert b"identity" not in answer.content
    assert b"Sabbagh" not in answer.content


def test_jobs_are_told_with_their_state(web, case):
    cast.item(case)
    states = {j["state"] for j in web.get("/api/cases/RIVER-1/jobs/").json()["results"]}
    assert states == {"queued"}
    assert web.get("/api/cases/RIVER-1/jobs/?state=failed").json()["results"] == []


def test_writes_need_the_security_mark(case, rania):
    from django.test import Client

    item = cast.item(case)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(rania, backend="django.contrib.auth.backends.ModelBackend")
    assert strict.post(f"/api/items/{item.pk}/notes/", {"text": "x"}, "application/json").status_code == 403
