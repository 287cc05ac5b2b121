"""The door, cases, sharing, sources, people, custody, lists and jobs, as a person does them in a browser."""

import csv
import datetime as dt
import hashlib
import io
import re

import pytest
from django.test import Client
from django.utils import timezone

from archive import access, cases, jobs, people
from archive.custody import Actor
from archive.models import CaseGrant, CustodyEvent, Item, Job, Source, User
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def rania():
    return cast.person("researcher")


@pytest.fixture
def case(rania):
    made = cast.case(owner=rania, code="RIVER-1")
    cast.share(made, rania, *access.GRANTABLE[1:])
    return made


@pytest.fixture
def web(rania) -> Client:
    return cast.browser(rania)


@pytest.fixture
def admin() -> User:
    return cast.person("administrator")


def events(kind: str) -> int:
    return CustodyEvent.objects.filter(type=kind).count()


# --- the door ---------------------------------------------------------------------------------------------------


def test_password_signs_in_and_is_recorded(rania):
    client = Client()
    answer = client.post("/signin/", {"username": rania.username.upper(), "password": cast.PASSWORD})
    assert answer.status_code == 302
    assert client.get("/").status_code == 200
    assert events("system.signed_in") == 1
    client.post("/signout/")
    assert events("system.signed_out") == 1
    assert client.get("/").status_code == 302


def test_wrong_passwords_close_the_door_for_a_while(rania, settings):
    client = Client()
    for _ in range(settings.AXES_FAILURE_LIMIT):
        client.post("/signin/", {"username": rania.username, "password": "wrong"})
    shut = client.post("/signin/", {"username": rania.username, "password": cast.PASSWORD})
    assert shut.status_code in (403, 429)
    assert b"Too many attempts" in shut.content
    assert events("system.signed_in") == 0


def test_link_is_not_used_up_by_a_preview_and_works_once(rania, admin):
    token = people.make_sign_in_link(person=rania, actor=cast.signed_in(admin))
    assert Client().get(f"/signin/once/{token}").status_code == 200
    client = Client()
    assert client.post(f"/signin/once/{token}").status_code == 302
    assert client.get("/account/").status_code == 200
    assert events("system.signed_in") == 1
    assert Client().post(f"/signin/once/{token}").status_code == 404


def test_link_lets_a_person_choose_a_password_without_the_old_one(rania, admin):
    token = people.make_sign_in_link(person=rania, actor=cast.signed_in(admin))
    client = Client()
    client.post(f"/signin/once/{token}")
    new = {"new_password1": "another long phrase 9", "new_password2": "another long phrase 9"}
    assert client.post("/account/", new).status_code == 302
    assert client.get("/").status_code == 200
    rania.refresh_from_db()
    assert rania.check_password(new["new_password1"])


def test_own_password_needs_the_present_one(web, rania):
    new = {"new_password1": "another long phrase 9", "new_password2": "another long phrase 9"}
    assert web.post("/account/", new | {"old_password": "wrong"}).status_code == 422
    assert web.post("/account/", new | {"old_password": cast.PASSWORD}).status_code == 302


def test_password_that_somebody_else_chose_is_changed_first(rania, admin):
    people.set_password(person=rania, password="given by an administrator", actor=cast.signed_in(admin))
    client = cast.browser(User.objects.get(pk=rania.pk))
    assert client.get("/cases/").headers["Location"] == "/account/"
    assert client.get("/api/cases/").status_code == 403
    own = {"new_password1": "another long phrase 9", "new_password2": "another long phrase 9"}
    client.post("/account/", own | {"old_password": "given by an administrator"})
    assert client.get("/cases/").status_code == 200


# --- cases ------------------------------------------------------------------------------------------------------


def test_opening_a_case_shares_it_with_its_opener_only(web, rania, admin):
    told = {"code": "NEW-1", "title": "A new case", "sensitivity": "sensitive"}
    assert web.post("/cases/new", told).headers["Location"] == "/cases/NEW-1/"
    assert b"A new case" in web.get("/").content
    assert b"A new case" not in cast.browser(admin).get("/").content
    assert web.post("/cases/new", told).status_code == 422


def test_overview_counts_what_is_there(web, case):
    page = web.get("/cases/RIVER-1/").content.decode()
    assert "This case is empty" in page
    cast.item(case)
    cast.item(case)
    page = web.get("/cases/RIVER-1/").content.decode()
    assert re.search(r"2</bdi></strong><a[^>]*>not decided yet", page)
    assert "2</bdi> originals not yet read back" in page


def test_changing_a_case_is_recorded_and_nothing_changed_is_nothing(web, case):
    told = {"title": case.title, "status": "open", "sensitivity": case.sensitivity}
    web.post("/cases/RIVER-1/edit", told)
    assert events("case.changed") == 0
    web.post("/cases/RIVER-1/edit", told | {"title": "Renamed", "reason": "A better name"})
    case.refresh_from_db()
    assert (case.title, events("case.changed")) == ("Renamed", 1)


def test_sharing_with_an_end_and_ending_it_at_once(web, case):
    guest = cast.person("observer")
    assert cast.browser(guest).get("/cases/RIVER-1/").status_code == 404
    day = timezone.localdate() + dt.timedelta(days=3)
    told = {"username": guest.username, "permissions": ["view_case"], "ends_on": day.isoformat()}
    assert web.post("/cases/RIVER-1/people/", told).status_code == 302
    assert cast.browser(guest).get("/cases/RIVER-1/").status_code == 200
    assert CaseGrant.objects.get(user=guest).ends_at.date() == day + dt.timedelta(days=1)
    web.post(f"/cases/RIVER-1/people/{guest.pk}/end")
    assert cast.browser(guest).get("/cases/RIVER-1/").status_code == 404


def test_sharing_refuses_a_past_end_and_an_unknown_person(web, case):
    guest = cast.person("observer")
    past = {"username": guest.username, "permissions": ["view_case"], "ends_on": "2020-01-01"}
    assert web.post("/cases/RIVER-1/people/", past).status_code == 422
    assert web.post("/cases/RIVER-1/people/", {"username": "nobody-here"}).status_code == 422


# --- sources ----------------------------------------------------------------------------------------------------


def test_source_is_recorded_and_changed(web, case):
    told = {
        "code": "S-1",
        "pseudonym": "Cedar",
        "kind": "witness",
        "consent_informed": "yes",
        "may_be_public": "no",
        "may_go_to_courts": "unknown",
    }
    assert web.post("/cases/RIVER-1/sources/new", told).status_code == 302
    web.post("/cases/RIVER-1/sources/S-1/", told | {"pseudonym": "Oak", "reason": "Their wish"})
    assert Source.objects.get().pseudonym == "Oak"
    assert (events("source.recorded"), events("source.changed")) == (1, 1)


def test_identity_is_sealed_and_seen_on_a_stated_reason_only(web, case):
    cast.source(case, code="S-1")
    web.post("/cases/RIVER-1/sources/S-1/identity", {"identity": "Hala Sabbagh, 555-0199"})
    assert b"Sabbagh" not in web.get("/cases/RIVER-1/sources/S-1/").content
    assert web.post("/cases/RIVER-1/sources/S-1/identity/see", {"reason": " "}).status_code == 422
    assert events("source.identity_seen") == 0
    seen = web.post("/cases/RIVER-1/sources/S-1/identity/see", {"reason": "To ask for consent"})
    assert b"Hala Sabbagh" in seen.content
    assert "no-store" in seen["Cache-Control"]
    assert events("source.identity_seen") == 1


def test_identity_needs_its_own_permission(case):
    other = cast.person("researcher")
    cast.share(case, other)
    cast.source(case, code="S-1")
    web = cast.browser(other)
    web.post("/cases/RIVER-1/sources/S-1/identity", {"identity": "Hala Sabbagh"})
    assert web.post("/cases/RIVER-1/sources/S-1/identity/see", {"reason": "Curious"}).status_code == 404
    assert events("source.identity_seen") == 0


# --- people -----------------------------------------------------------------------------------------------------


def test_administrator_adds_a_person_who_enters_by_link(admin):
    web = cast.browser(admin)
    made = web.post("/people/new", {"username": "noor", "name": "Noor", "roles": ["reviewer"]})
    assert made.status_code == 201
    path = re.search(r'data-copy="http://[^/]+(/signin/once/[^"]+)"', made.content.decode())[1]
    assert Client().post(path).headers["Location"] == "/account/"
    assert User.objects.get(username="noor").roles() == {"reviewer"}


def test_closing_an_account_ends_everything_but_ones_own(admin, rania, case):
    web, hers = cast.browser(admin), cast.browser(rania)
    web.post(f"/people/{rania.pk}/active", {"active": "no"})
    assert hers.get("/cases/RIVER-1/").status_code in (302, 404)
    web.post(f"/people/{admin.pk}/active", {"active": "no"})
    assert User.objects.get(pk=admin.pk).is_active


def test_roles_are_set(admin, rania):
    cast.browser(admin).post(f"/people/{rania.pk}/roles", {"roles": ["legal", "observer"]})
    assert User.objects.get(pk=rania.pk).roles() == {"legal", "observer"}


# --- custody, lists, jobs ---------------------------------------------------------------------------------------


def test_custody_is_told_in_words_and_checked(web, case):
    item = cast.item(case)
    assert "Case opened" in web.get("/cases/RIVER-1/custody/").content.decode()
    page = web.get(f"/items/{item.pk}/custody/").content.decode()
    assert "Stored in the vault" in page
    assert "Recorded" in page
    checked = web.post("/cases/RIVER-1/custody/check", follow=True).content.decode()
    assert "Checked now" in checked
    assert events("case.custody_checked") == 1
    assert "Checked now" in web.post(f"/items/{item.pk}/custody/check", follow=True).content.decode()


def test_altered_row_is_found_by_the_check(web, case):
    from archive.custody.log import recording

    item = cast.item(case)
    with recording():
        Item.objects.filter(pk=item.pk).update(size=item.size + 1)
    assert "check failed" in web.post("/cases/RIVER-1/custody/check", follow=True).content.decode()


def test_list_export_is_recorded_with_its_hash_and_runs_no_formula(web, case):
    cast.item(case, name="=cmd|'/C calc'!A0.jpg")
    cast.item(case, name='plain "quoted", name.jpg')
    answer = web.post("/cases/RIVER-1/items.csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [r["file_name"] for r in rows] == ["'=cmd|'/C calc'!A0.jpg", 'plain "quoted", name.jpg']
    assert all(len(r["sha256"]) == 64 for r in rows)
    event = CustodyEvent.objects.get(type="case.list_exported")
    assert hashlib.sha256(answer.content).hexdigest().encode() in bytes(event.canonical)


def test_list_export_needs_the_permission(case):
    other = cast.person("researcher")
    cast.share(case, other)
    assert cast.browser(other).post("/cases/RIVER-1/items.csv").status_code == 404
    assert events("case.list_exported") == 0


def test_stopped_job_shows_its_error_and_is_tried_again(web, case):
    cast.item(case)
    job = Job.objects.filter(case=case).first()
    Job.objects.filter(pk=job.pk).update(
        state="failed", attempts=3, error="the decoder died", finished_at=timezone.now()
    )
    page = web.get("/cases/RIVER-1/jobs/").content.decode()
    assert "the decoder died" in page
    web.post(f"/jobs/{job.pk}/retry", {"next": "/cases/RIVER-1/jobs/"})
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("queued", 0)


def test_jobs_of_other_cases_are_not_shown_even_to_administrators(admin, case):
    item = cast.item(case)
    assert item.code not in cast.browser(admin).get("/jobs/").content.decode()


def test_unserved_queue_is_said_on_every_screen(web, case):
    assert "No worker does this kind of work now" in web.get("/").content.decode()
    jobs.beat_worker("w1", ",".join(jobs.QUEUES))
    assert "No worker does this kind of work now" not in web.get("/").content.decode()


def test_search_finds_within_shared_cases_only(web, case, rania):
    mine = cast.item(case, name="bridge-mine.jpg")
    elsewhere = cast.case(code="SECRET-9")
    cast.item(elsewhere, name="bridge-theirs.jpg")
    page = web.get("/search/?q=bridge").content.decode()
    assert mine.code in page
    assert "SECRET-9" not in page
    assert "bridge-theirs" not in page


def test_title_of_200_characters_and_another_script_are_shown(web, rania):
    cases.open_case(code="LONG-1", title="م" * 200, actor=Actor.operator(), owner=rania)
    assert ("م" * 200) in web.get("/cases/LONG-1/").content.decode()
