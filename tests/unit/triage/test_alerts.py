"""Alerts: told once, to people who may see the item now, in few digests; and nothing else happens."""

import json
from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from archive import access, jobs
from archive.custody import Actor
from archive.errors import BadInput, LimitExceeded, NotAllowed
from archive.models import CustodyEvent, Decision, Job
from tests import cast
from triage import alerts, asking, questions, sending, telling
from triage.models import Alert, Destination, Standing, Subscription, Telling

pytestmark = pytest.mark.django_db
RULE = {"kind": "source", "weight": "1"}


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def case(reader):
    return cast.case(owner=reader)


@pytest.fixture
def actor(reader):
    return cast.signed_in(reader)


def ask(case, actor, **more) -> Subscription:
    given = {"name": "Crowds", "measure": "points", "least": "2", "question": questions.main(case)} | more
    return alerts.subscribe(case=case, actor=actor, **given)


def scored(case, points: float, count: int = 1) -> list:
    """Items that stand with so many points."""
    items = [cast.item(case) for _ in range(count)]
    from triage import standing

    standing.admit(case)
    Standing.objects.filter(item__in=items).update(
        state="scored", band=0, points=int(points * 1000), scored_at=timezone.now()
    )
    return items


def check(case) -> None:
    telling.check(None, case)


def told(kind: str) -> list[dict]:
    rows = CustodyEvent.objects.filter(type=kind).order_by("pk")
    return [json.loads(bytes(row.canonical))["payload"] for row in rows]


def destination(kind: str = "mail", person=None, address: str = "") -> Destination:
    admin = cast.signed_in(cast.person("administrator"))
    address = address or ("rania@example.org" if kind == "mail" else "https://hooks.example.org/a")
    return alerts.allow(actor=admin, kind=kind, name="Desk", address=address, person=person)


# --- telling ------------------------------------------------------------------------------------------------------


def test_an_item_that_reaches_the_score_is_told_of_once(case, reader, actor):
    low, high = scored(case, 1.999), scored(case, 2)
    one = ask(case, actor)
    check(case)
    Standing.objects.filter(item=high[0]).update(points=9000)
    check(case)
    assert [alert.item for alert in Alert.objects.all()] == high
    assert Alert.objects.get().score == "2.000"
    assert alerts.unseen(reader) == 1
    assert [(event["subscription"], event["items"]) for event in told("case.alert_told")] == [
        (str(one.pk), [high[0].number])
    ]
    assert low[0].number not in told("case.alert_told")[0]["items"]


def test_the_check_follows_a_subscription_by_itself_and_only_where_there_is_one(case, actor):
    scored(case, 5)
    asking.compare(case)
    assert not Job.objects.filter(name="triage.alerts").exists()
    ask(case, actor)
    jobs.run_waiting("triage.alerts")
    assert Alert.objects.count() == 1


def test_a_case_that_is_being_compared_is_compared_once_more(case, actor):
    ask(case, actor)
    Job.objects.filter(name="triage.alerts").update(state="running")
    asking.compare(case)
    asking.compare(case)
    assert list(Job.objects.filter(name="triage.alerts", state="queued").values_list("key", flat=True)) == [
        None
    ]


def test_time_from_ingest_to_alert_counts_what_came_in_since_only(case, reader, actor):
    scored(case, 5)
    ask(case, actor)
    scored(case, 5)
    check(case)
    assert sorted(Alert.objects.values_list("waited_ms", flat=True), key=str)[1] is None
    found = alerts.waits(alerts.mine(reader).order_by())
    assert found.count == 1 and found.median_s == found.last_s < 600


def test_many_items_make_one_digest_here_and_one_mail_in_its_time(case, reader, actor):
    ask(case, actor, mail=destination(person=reader), every_minutes=15)
    scored(case, 3, 6)
    check(case)
    jobs.run_waiting("triage.alert_mail")
    scored(case, 4, 6)
    check(case)
    jobs.run_waiting("triage.alert_mail")
    assert alerts.unseen(reader) == 1 and alerts.digests(reader).get().shown.count() == 12
    assert len(mail.outbox) == 1 and "6 items" in mail.outbox[0].subject
    Telling.objects.filter(channel="mail").update(told_at=timezone.now() - timedelta(minutes=16))
    Job.objects.filter(name="triage.alert_mail", state="queued").update(run_after=timezone.now())
    jobs.run_waiting("triage.alert_mail")
    assert len(mail.outbox) == 2 and "6 items" in mail.outbox[1].subject
    assert [event["channel"] for event in told("case.alert_told")] == ["app", "mail", "app", "mail"]


def test_what_a_person_has_decided_is_not_told_of(case, actor):
    from triage import review

    first, second = scored(case, 5, 2)
    review.decide(item=first, actor=actor, value="relevant")
    ask(case, actor)
    check(case)
    assert [alert.item for alert in Alert.objects.all()] == [second]


def test_telling_decides_moves_and_writes_nothing_about_the_item(case, actor):
    item = scored(case, 5)[0]
    before = (Standing.objects.filter(item=item).values().get(), item.custody_subject())
    ask(case, actor)
    check(case)
    assert (Standing.objects.filter(item=item).values().get(), item.custody_subject()) == before
    assert not Decision.objects.exists()
    assert not CustodyEvent.objects.filter(type__startswith="item.", canonical__contains=b"alert").exists()


# --- rules --------------------------------------------------------------------------------------------------------


def test_a_rule_is_one_criterion_and_is_checked_as_criteria_are(case, actor):
    with pytest.raises(BadInput, match="no registered model"):
        ask(case, actor, measure="rule", rule={"kind": "seen", "any_of": ["unicorn"], "weight": "1"})
    one = ask(case, actor, measure="rule", rule={**RULE, "name": "Named by the case"})
    assert "name" not in one.rule and one.least is None


def test_a_rule_tells_of_items_to_which_it_applies(case, actor):
    known = cast.source(case, reliability=80)
    items = scored(case, 0, 2)
    from archive.custody.log import recording
    from archive.models import Item

    with recording():
        Item.objects.filter(pk=items[0].pk).update(source=known)
    ask(case, actor, measure="rule", rule=RULE)
    check(case)
    assert [(alert.item, alert.score) for alert in Alert.objects.all()] == [(items[0], "0.800")]


def test_a_learned_score_is_compared_as_a_share(case, actor, monkeypatch):
    items = scored(case, 0, 3)
    scores = {items[0].pk: 0.91, items[1].pk: 0.4}
    monkeypatch.setattr("triage.ranking.scores", lambda question: scores, raising=False)
    ask(case, actor, measure="chance", least="0.9")
    check(case)
    assert [(alert.item, alert.score) for alert in Alert.objects.all()] == [(items[0], "0.910")]
    with pytest.raises(BadInput, match="from 0 to 1"):
        ask(case, actor, measure="chance", least="1.2")


# --- who ----------------------------------------------------------------------------------------------------------


def test_who_lost_access_is_told_nothing_and_the_subscription_ends_with_the_reason(case, reader):
    other = cast.person("reviewer")
    cast.share(case, other)
    one = ask(case, cast.signed_in(other), mail=destination(person=other))
    scored(case, 5)
    check(case)
    access.share(case=case, person=other, actor=Actor.operator(), permissions=())
    jobs.run_waiting("triage.alert_mail")
    one.refresh_from_db()
    assert (one.ended_because, mail.outbox) == ("access", [])
    assert [event["set"]["ended_because"] for event in told("case.alert_ended")] == ["access"]
    assert not alerts.digests(other).exists() and alerts.unseen(other) == 0
    scored(case, 6)
    check(case)
    assert Alert.objects.count() == 1


def test_observers_and_strangers_cannot_subscribe_and_others_alerts_cannot_be_ended(case, actor):
    observer = cast.person("observer")
    cast.share(case, observer)
    for person in (observer, cast.person("researcher")):
        with pytest.raises(NotAllowed):
            ask(case, cast.signed_in(person))
    one = ask(case, actor)
    other = cast.person("researcher")
    cast.share(case, other)
    with pytest.raises(NotAllowed):
        alerts.end(subscription=one, actor=cast.signed_in(other))
    with pytest.raises(NotAllowed):
        ask(case, Actor.operator())


def test_a_person_ends_their_own_and_a_closed_question_ends_all(case, actor):
    mine = ask(case, actor)
    alerts.end(subscription=mine, actor=actor)
    question = questions.ask(case=case, actor=actor, text="Does it show a clinic?")
    one = ask(case, actor, question=question)
    questions.close(question=question, actor=actor, reason="answered")
    check(case)
    assert set(Subscription.objects.values_list("pk", "ended_because")) == {
        (mine.pk, "person"),
        (one.pk, "question"),
    }


def test_there_is_a_most_to_ask_for(case, actor, monkeypatch):
    monkeypatch.setattr(alerts, "MOST_SUBSCRIPTIONS", 1)
    ask(case, actor)
    with pytest.raises(LimitExceeded):
        ask(case, actor)


# --- mail ---------------------------------------------------------------------------------------------------------


def test_a_mail_names_codes_scores_and_links_and_nothing_else(case, reader, actor, settings):
    settings.ORIGIN = "https://archive.example"
    ask(case, actor, name="Bodies at the river", mail=destination(person=reader))
    item = scored(case, 5)[0]
    check(case)
    jobs.run_waiting("triage.alert_mail")
    sent = mail.outbox[0]
    assert sent.to == ["rania@example.org"]
    assert f"{item.code}  5.000  https://archive.example/review/{item.pk}/" in sent.body
    assert "nothing was decided" in sent.body
    for secret in ("Bodies", item.file_name, reader.name, case.title):
        assert secret not in sent.body + sent.subject


def test_a_mail_that_fails_is_sent_again_as_the_same_digest(case, reader, actor, monkeypatch):
    ask(case, actor, mail=destination(person=reader))
    scored(case, 5)
    check(case)
    real = sending.mail
    monkeypatch.setattr(sending, "mail", lambda *a, **k: (_ for _ in ()).throw(OSError("refused")))
    jobs.run_waiting("triage.alert_mail")
    digest = Telling.objects.get(channel="mail")
    assert digest.told_at is None
    monkeypatch.setattr(sending, "mail", real)
    scored(case, 6)
    check(case)
    Job.objects.filter(name="triage.alert_mail").update(run_after=timezone.now())
    jobs.run_waiting("triage.alert_mail")
    assert len(mail.outbox) == 1 and "1 item of" in mail.outbox[0].subject
    assert Telling.objects.filter(channel="mail", told_at__isnull=False).get() == digest


def test_what_could_not_be_sent_is_asked_for_again_after_an_hour(case, reader, actor):
    ask(case, actor, mail=destination(person=reader))
    scored(case, 5)
    check(case)
    Job.objects.filter(name="triage.alert_mail").delete()
    telling.round_()
    jobs.run_waiting("triage.alert_mail")
    assert len(mail.outbox) == 1


def test_an_address_is_of_one_person_and_ends_when_it_is_allowed_no_more(case, reader, actor):
    place = destination(person=cast.person("reviewer"))
    with pytest.raises(BadInput, match="No administrator allows"):
        ask(case, actor, mail=place)
    own = destination(person=reader)
    ask(case, actor, mail=own)
    alerts.forbid(destination=own, actor=cast.signed_in(cast.person("administrator")))
    scored(case, 5)
    check(case)
    jobs.run_waiting("triage.alert_mail")
    assert mail.outbox == []
    for kind, address in (
        ("mail", "nobody"),
        ("webhook", "http://hooks.example.org/"),
        ("webhook", "https://u:p@h/"),
    ):
        with pytest.raises(BadInput):
            destination(kind, reader, address)


def test_only_an_administrator_allows_a_place_and_the_log_commits_to_it(case, actor, reader):
    with pytest.raises(NotAllowed):
        alerts.allow(actor=actor, kind="mail", name="Desk", address="a@example.org", person=reader)
    destination(person=reader)
    said = told("system.alert_destination_allowed")[0]["set"]
    assert set(said["address"]) == {"commitment"} and said["kind"] == "mail"


# --- screens ------------------------------------------------------------------------------------------------------


def test_screens_tell_what_was_told_and_how_long_it_took(case, reader, actor):
    browser = cast.browser(reader)
    browser.post(
        f"/cases/{case.code}/alerts/",
        {"name": "Crowds", "question": "0", "what": "points", "least": "2", "confidence": "0.40"},
    )
    item = scored(case, 5)[0]
    check(case)
    page = browser.get("/alerts/").content.decode()
    assert "1 alert to look at" in page and item.code in page and "From ingest to alert over" in page
    digest = alerts.digests(reader).get()
    assert item.code in browser.get(f"/alerts/{digest.pk}/").content.decode()
    browser.post(f"/alerts/{digest.pk}/seen")
    assert "alert to look at" not in browser.get("/alerts/").content.decode()
    one = Subscription.objects.get()
    browser.post(f"/alerts/subscriptions/{one.pk}/end")
    assert "ended by the person" in browser.get(f"/cases/{case.code}/alerts/").content.decode()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"what": "points", "least": "many"}, "The score is a number"),
        ({"what": "rule"}, "Choose the rule"),
        ({"what": "classes", "classes": "unicorn"}, "no registered model"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_place(case, reader, given, words):
    data = {"name": "A", "question": "0", "confidence": "0.40"} | given
    answer = cast.browser(reader).post(f"/cases/{case.code}/alerts/", data)
    assert answer.status_code == 422 and words in answer.content.decode()
    assert not Subscription.objects.exists()


def test_a_webhooks_secret_is_shown_once(reader):
    browser = cast.browser(cast.person("administrator"))
    given = {"kind": "webhook", "name": "Desk", "address": "https://hooks.example.org/a"}
    answer = browser.post("/alerts/destinations/", given)
    secret = sending.secret_words(Destination.objects.get().pk)
    assert answer.status_code == 201 and secret in answer.content.decode()
    assert secret not in browser.get("/alerts/destinations/").content.decode()
