"""Alarms: raised once, mailed once, ended when what was wrong is mended; a duty that does not run is one too."""

import json
from datetime import timedelta

import pytest
from django.core import mail
from django.db import transaction
from django.utils import timezone

from archive import alarms, custody, schedule
from archive.alarms import Condition
from archive.custody import Actor
from archive.custody.duties import publish_news, verify_daily
from archive.models import Alarm, Checkpoint, CustodyEvent, Duty, Job
from tests import cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wrong(monkeypatch):
    """What is wrong, as the test says."""
    found: list[Condition] = []
    monkeypatch.setattr(alarms, "SOURCES", (lambda: iter(found),))
    return found


@pytest.fixture
def recipients(settings):
    settings.ALARM_RECIPIENTS = ["duty@example.org"]


def told(event: str) -> list[dict]:
    rows = CustodyEvent.objects.filter(type=event).order_by("pk")
    return [json.loads(bytes(row.canonical))["payload"] for row in rows]


def test_an_alarm_is_raised_recorded_and_mailed_once_and_ends_when_it_is_over(wrong, recipients):
    wrong.append(Condition("fixity-bad", "2"))
    for _ in range(3):
        alarms.review()
    assert [a.kind for a in Alarm.objects.all()] == ["fixity-bad"]
    assert told("system.alarm_raised") == [{"kind": "fixity-bad", "about": "2"}]
    assert len(mail.outbox) == 1 and "vault restore --all" in mail.outbox[0].body
    wrong.clear()
    alarms.review()
    assert told("system.alarm_ended") == [{"kind": "fixity-bad", "about": "2"}]
    assert not Alarm.objects.filter(ended_at=None).exists() and alarms.open_now() == []


def test_a_mail_that_could_not_be_sent_is_sent_later(wrong, recipients, settings):
    wrong.append(Condition("custody-bad", "altered event"))
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    with pytest.raises(OSError):
        alarms.review()
    assert Alarm.objects.get().mailed_at is None, "the alarm stands all the same"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    alarms.review()
    assert len(mail.outbox) == 1 and Alarm.objects.get().mailed_at


def test_every_kind_says_what_is_wrong_and_what_to_do():
    for kind in alarms.KINDS:
        condition = Condition(kind, "X")
        assert condition.sentence and condition.next_step


def test_a_duty_that_did_not_run_is_seen_without_any_worker():
    schedule.tick()
    assert list(alarms.overdue_duties()) == []
    Duty.objects.filter(name="custody.verify").update(known_since=timezone.now() - timedelta(days=3))
    assert Condition("duty-overdue", "custody.verify") in alarms.open_now()


def test_the_daily_verification_says_what_it_found_and_a_lie_becomes_an_alarm():
    with transaction.atomic():
        custody.record("item:a", event="item.hashed", actor=Actor.system("test"), payload={})
    publish_news()
    assert Checkpoint.objects.count() == 1
    verify_daily()
    assert told("system.custody_verified")[-1]["answer"] == "good"
    assert "custody-bad" not in {c.kind for c in alarms.conditions()}
    from tests.superuser import superuser

    with superuser() as hand:
        pk = CustodyEvent.objects.get(subject="item:a").pk
        hand.put_body(pk, b"{}", rehash=False)
    verify_daily()
    found = told("system.custody_verified")[-1]
    assert found["answer"] == "bad" and found["first"].startswith("altered event")
    assert "custody-bad" in {c.kind for c in alarms.conditions()}


def test_the_screen_and_the_banner_say_it(wrong):
    admin, researcher = cast.person("administrator"), cast.person("researcher")
    Alarm.objects.create(kind="custody-bad", about="event 3", raised_at=timezone.now())
    Alarm.objects.create(kind="second-copy", about="4", raised_at=timezone.now())
    page = cast.browser(admin).get("/system/").content.decode()
    assert "The custody log does not verify: event 3." in page and "vault copy" in page
    home = cast.browser(researcher).get("/").content.decode()
    assert "The custody log does not verify" in home and "second copy" not in home


def test_a_person_asks_for_verification_and_a_worker_does_it():
    client = cast.browser(cast.person("administrator"))
    assert client.post("/system/verify").status_code == 302
    assert client.post("/system/verify").status_code == 302
    assert Job.objects.filter(name="custody.verify").count() == 1
    assert client.post("/system/publish").status_code == 302
    assert Checkpoint.objects.count() == 1


def test_metrics_are_given_to_the_token_alone(client, settings):
    Alarm.objects.create(kind="custody-bad", about="event 3", raised_at=timezone.now())
    assert client.get("/metrics").status_code == 404
    settings.METRICS_TOKEN = "s3cret"
    assert client.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 404
    answer = client.get("/metrics", headers={"authorization": "Bearer s3cret"})
    lines = answer.content.decode().splitlines()
    assert 'amparo_alarms{kind="custody-bad"} 1.0' in lines
    assert any(line.startswith('amparo_event_lag_seconds{stage="integrated"}') for line in lines)
    assert 'amparo_duty_overdue{duty="custody.verify"} 0.0' in lines
