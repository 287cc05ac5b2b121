"""Screens of holds and disposal, and what people did recorded item by item, reading included."""

import ast
import json
from pathlib import Path

import pytest
from django.urls import reverse

from archive import access, disposal, holds, jobs
from archive.custody.verify import verify
from archive.models import CustodyEvent, Disposal, Hold, Item
from archive.views import reading
from tests import cast
from tests.superuser import superuser

ROOT = Path(__file__).parents[3]
WHY = {"reason": "Consent ended", "authority": "Rule 4"}


@pytest.fixture
def scene(db):
    """A case with three items, a researcher and a lawyer, each in a browser."""
    from types import SimpleNamespace

    asker, lawyer = cast.person("researcher"), cast.person("legal")
    case = cast.case(owner=asker)
    for person in (asker, lawyer):
        cast.share(case, person, access.MANAGE, access.EXPORT)
    items = [cast.item(case, name=f"photo-{i}.jpg") for i in range(3)]
    return SimpleNamespace(
        case=case,
        items=items,
        asking=cast.browser(asker),
        answering=cast.browser(lawyer),
        asker=cast.signed_in(asker),
        lawyer=cast.signed_in(lawyer),
    )


def types(row) -> list[str]:
    events = CustodyEvent.objects.filter(subject=row.custody_subject()).order_by("number")
    return list(events.values_list("type", flat=True))


# --- screens ----------------------------------------------------------------------------------------------------


def test_from_the_request_on_the_items_page_to_the_certificate(scene):
    item = scene.items[0]
    answer = scene.asking.post(reverse("item-dispose", args=[item.pk]), WHY, follow=True)
    found = Disposal.objects.get()
    assert b"You asked for this, so you cannot answer it." in answer.content
    assert b"waits for another person" in scene.answering.get(reverse("item", args=[item.pk])).content
    assert b"wait" in scene.answering.get(reverse("case", args=[scene.case.code])).content
    scene.answering.post(reverse("disposal-approve", args=[found.pk]))
    jobs.run_waiting("archive.dispose")
    page = scene.answering.get(reverse("item", args=[item.pk])).content.decode()
    certificate = reverse("disposal-certificate", args=[found.pk])
    assert "Disposed of:" in page and certificate in page and "Download the original" not in page
    sheet = scene.answering.get(certificate).content.decode()
    event = CustodyEvent.objects.get(type="item.disposed")
    for told in (item.sha256, event.hash, WHY["authority"], "(legal)", item.code):
        assert told in sheet
    for address in ("item-original", "item-reveal"):
        assert scene.answering.post(reverse(address, args=[item.pk])).status_code == 410


@pytest.mark.parametrize(
    ("given", "chosen"),
    [({"items": "1, 3"}, {1, 3}), ({"items": "1-2"}, {1, 2}), ({"everything": "on"}, {1, 2, 3})],
)
def test_items_are_asked_for_by_number_or_all_by_name(scene, given, chosen):
    scene.asking.post(reverse("disposal-ask", args=[scene.case.code]), WHY | given)
    assert set(Disposal.objects.get().entries.values_list("item__number", flat=True)) == chosen


@pytest.mark.parametrize("given", [{}, {"items": "1", "everything": "on"}, {"items": "x"}, {"items": "9"}])
def test_an_empty_field_asks_for_nothing(scene, given):
    answer = scene.asking.post(reverse("disposal-ask", args=[scene.case.code]), WHY | given)
    assert answer.status_code == 422 and not Disposal.objects.exists()


def test_a_hold_is_placed_and_lifted_and_shown_on_case_and_item(scene):
    scene.answering.post(
        reverse("hold-place", args=[scene.case.code]), {"reason": "Court order 12", "identities": "on"}
    )
    for address, key in (("case", scene.case.code), ("item", scene.items[1].pk)):
        assert "Court order 12" in scene.asking.get(reverse(address, args=[key])).content.decode()
    page = scene.asking.get(reverse("retention", args=[scene.case.code])).content.decode()
    assert "A legal hold stands on case" in page and "Lift this hold" not in page
    scene.answering.post(reverse("hold-lift", args=[Hold.objects.get().pk]), {"reason": "Over"})
    assert "Court order 12" not in scene.asking.get(reverse("case", args=[scene.case.code])).content.decode()


def test_what_was_refused_is_said_in_its_place(scene):
    found = disposal.request(case=scene.case, actor=scene.asker, items=[scene.items[0].pk], **WHY)
    holds.place(case=scene.case, actor=scene.lawyer, reason="Court order 12")
    answer = scene.answering.post(reverse("disposal-approve", args=[found.pk]), {"answer": "Yes"})
    assert answer.status_code == 422 and "A legal hold stands" in answer.content.decode()
    answer = scene.answering.post(reverse("disposal-decline", args=[found.pk]), {"answer": " "})
    assert answer.status_code == 422 and "Say why it is declined" in answer.content.decode()


# --- item by item -----------------------------------------------------------------------------------------------


def test_a_list_names_each_item_in_its_own_chain(scene):
    scene.asking.post(reverse("items-csv", args=[scene.case.code]))
    whole = json.loads(bytes(CustodyEvent.objects.get(type="case.list_exported").canonical))["payload"]
    for item in scene.items:
        told = CustodyEvent.objects.get(type="item.listed", subject=item.custody_subject())
        assert json.loads(bytes(told.canonical))["payload"]["sha256"] == whole["sha256"]
    assert not verify().faults


def test_a_failed_check_is_an_event_of_the_item_that_failed(scene):
    bad = scene.items[1]
    with superuser() as hand:
        pk = CustodyEvent.objects.get(subject=bad.custody_subject(), number=1).pk
        hand.sql("UPDATE archive_custodyevent SET type = 'item.viewed' WHERE id = %s", pk)
    scene.asking.post(reverse("custody-check", args=[scene.case.code]))
    told = CustodyEvent.objects.get(type="item.custody_checked")
    assert told.subject == bad.custody_subject()
    assert json.loads(bytes(told.canonical))["payload"]["answer"] == "bad"


@pytest.mark.parametrize("by", ["page", "api"])
def test_reading_the_log_is_recorded_once_an_hour_for_each_session(scene, by, monkeypatch):
    item = scene.items[0]
    name = "item-custody" if by == "page" else "api-events"
    for _ in range(3):
        assert scene.asking.get(reverse(name, args=[item.pk])).status_code == 200
    assert types(item).count("item.log_read") == 1
    scene.answering.get(reverse(name, args=[item.pk]))
    assert types(item).count("item.log_read") == 2
    later = reading.time.time() + reading.HOLDS_S
    monkeypatch.setattr(reading.time, "time", lambda: later)
    scene.asking.get(reverse(name, args=[item.pk]))
    assert types(item).count("item.log_read") == 3


def test_reading_a_case_and_a_source_is_recorded_on_them(scene):
    source = cast.source(scene.case, code="S-1")
    scene.asking.get(reverse("custody", args=[scene.case.code]))
    scene.asking.get(reverse("source-custody", args=[scene.case.code, "S-1"]))
    assert types(scene.case)[-1] == "case.log_read" and types(source)[-1] == "source.log_read"


@pytest.mark.parametrize("role", ["reviewer", "data_scientist", "observer"])
def test_others_of_the_case_see_that_the_chain_holds_and_no_more(scene, role):
    person = cast.person(role)
    cast.share(scene.case, person)
    seen, item = cast.browser(person), scene.items[0]
    page = seen.get(reverse("item", args=[item.pk])).content.decode()
    assert "Verified" in page and reverse("item-custody", args=[item.pk]) not in page
    assert seen.get(reverse("item-custody", args=[item.pk])).status_code == 404
    assert "item.log_read" not in types(item)


# --- the log never expires --------------------------------------------------------------------------------------

SOURCES = [
    path
    for app in ("archive", "triage", "evidence", "config")
    for path in sorted((ROOT / app).rglob("*.py"))
    if "migrations" not in path.parts
]
LOG = {"CustodyEvent", "CustodyOpening", "CustodyErasure", "CustodyPosition", "Checkpoint"}
DOORS = {("archive/custody/erasure.py", "CustodyOpening")}  # under a certificate: docs/retention.md


def test_no_code_deletes_from_the_log():
    """Neither by the ORM nor by SQL; the one door is named here."""
    found = set()
    for path in SOURCES:
        relative = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("delete", "_raw_delete"):
                    named = {n.id for n in ast.walk(node.func) if isinstance(n, ast.Name)} & LOG
                    found |= {(relative, name) for name in named}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = " ".join(node.value.lower().replace('"', "").split())
                for name in LOG:
                    if (
                        f"delete from archive_{name.lower()}" in words
                        or f"truncate archive_{name.lower()}" in words
                    ):
                        found.add((relative, name))
    assert found == DOORS


def test_no_row_takes_events_with_it_when_it_goes():
    """No foreign key to an event cascades."""
    from django.db.models import PROTECT

    for relation in CustodyEvent._meta.related_objects:
        assert relation.on_delete is PROTECT, relation.related_model
    assert not [f for f in Item._meta.related_objects if f.related_model is CustodyEvent]
