"""What alerts do by themselves: compare items with what people asked for, and send digests. They decide nothing.

check   (job triage.alerts, a case)   items that newly reached a subscription; each is told of once
mail, webhook   (jobs, a subscription)   what was not sent yet, as one digest, at most one in `every_minutes`
round   (duty, every five minutes)   what no job was asked for, and what could not be sent

Who has no access to the case any more is told nothing: that is looked up at the moment of telling and of sending, and
the subscription ends with that reason.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from archive import access, custody, jobs
from archive.custody import Actor
from archive.errors import Conflict
from archive.jobs import job
from archive.models import Case, Item, Job
from archive.schedule import duty
from triage import asking, questions, ranking, rules, scoring, sending, standing, unusual
from triage.models import Alert, Destination, Question, Standing, Subscription, Telling

Measure, Ended, Channel = Subscription.Measure, Subscription.Ended, Telling.Channel
# A score is stored a little after the moment that it bears: what bears one up to so long ago is compared again.
OVERLAP = timedelta(minutes=2)
CHUNK = 500
IN_ONE_EVENT = 5000  # item numbers
IN_A_MAIL, IN_A_CALL = 20, 100  # items named; the others are counted
STUCK = timedelta(hours=1)
ACTOR = Actor.system("alerts")


def rules_of(rule: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A subscription's rule as rules that triage.scoring applies."""
    return {"format": rules.FORMAT, "criteria": [{**rule, "name": name}]}


def end(subscription: Subscription, *, because: str, actor: Actor) -> None:
    """End a subscription in the caller's transaction. Raises Conflict when it has ended."""
    custody.change(
        subscription,
        event="case.alert_ended",
        actor=actor,
        expect={"ended_at": None},
        ended_at=timezone.now(),
        ended_because=because,
    )


# --- comparing --------------------------------------------------------------------------------------------------


@job("triage.alerts", attempts=3, limit_s=3600)
def check(row: Job, case: Case) -> None:
    """Compare the case's items with every subscription in force."""
    asked = list(
        Subscription.objects.filter(case=case, ended_at=None).select_related("case", "question", "by")
    )
    asked = [one for one in asked if not _ended_by_itself(one)]
    by_rule = [one for one in asked if one.measure == Measure.RULE]
    for one in asked:
        if one.measure != Measure.RULE:
            _tell(one, _scored(one))
    if by_rule:
        found: dict[UUID, dict[UUID, str]] = {one.pk: {} for one in by_rule}
        for subscription, item, points in _ruled(case, by_rule):
            found[subscription][item] = points
        for one in by_rule:
            _tell(one, found[one.pk])


def _ended_by_itself(one: Subscription) -> bool:
    """Whether this subscription has ended: by now, because the person lost their access or the question was closed."""
    because = ""
    if not access.can(one.by, "subscribe", one.case):
        because = Ended.ACCESS
    elif Question.objects.filter(pk=one.question_id, closed_at__isnull=False).exists():
        because = Ended.QUESTION
    if because:
        try:
            with transaction.atomic(durable=True):
                end(one, because=because, actor=ACTOR)
        except Conflict:  # ended by the person, or by another worker, in this moment
            return True
    return bool(because) or Subscription.objects.filter(pk=one.pk, ended_at__isnull=False).exists()


def _scored(one: Subscription) -> dict[UUID, str]:
    """Items that nobody has answered the question for and that score enough, and their scores as text."""
    if one.measure == Measure.CHANCE:
        least = float(one.least)
        told = {
            item: f"{score:.3f}" for item, score in ranking.scores(one.question).items() if score >= least
        }
    else:
        rows = Standing.objects.filter(
            case=one.case_id, question=one.question.number, state=Standing.State.SCORED
        )
        if scoring.unusual_criteria(standing.rules_of(one.case, one.question.number).rules):
            stood = unusual.counted(rows.defer("note"))
        else:
            stood = list(rows.filter(points__gte=int(one.least.scaleb(3))).only("item_id", "points", "state"))
        told = {row.item_id: str(row.value) for row in stood if row.value >= one.least}
    answered = questions.in_force(one.question)
    return {item: score for item, score in told.items() if item not in answered}


def _ruled(case: Case, asked: list[Subscription]) -> Iterator[tuple[UUID, UUID, str]]:
    """Subscription, item and points, for every rule that applies to an item that was scored since it was compared."""
    rows = Standing.objects.filter(case=case, question=Question.MAIN, state=Standing.State.SCORED)
    done = Job.objects.filter(name="triage.alerts", case=case, state=Job.State.DONE)
    last = done.order_by("-started_at").first()
    compared = unusual.newest(case)
    since = max([one.at for one in asked] + ([compared.finished_at] if compared else []))
    if last and since < last.started_at:  # else all, as something is new that any item may match
        rows = rows.filter(scored_at__gte=last.started_at - OVERLAP)
    ids = list(rows.order_by("number").values_list("item_id", flat=True))
    answered = {one.question_id: questions.in_force(one.question) for one in asked}
    for some in _some(ids, CHUNK):
        items = Item.objects.filter(pk__in=some).select_related("case", "source").order_by("number")
        tenths = unusual.shares(case, np.array([item.number for item in items], np.int64))
        told = {item.pk: int(one) for item, one in zip(items, tenths, strict=True)}
        for item, known in standing.facts_of(items).items():
            facts = scoring.with_unusual(known, told[item])
            for one in asked:
                if item in answered[one.question_id]:
                    continue
                points, reasons = scoring.score(rules_of(one.rule, one.name), facts)
                if any(reason.contribution for reason in reasons):
                    yield one.pk, item, str(points)


def _tell(one: Subscription, reached: Mapping[UUID, str]) -> None:
    """Note those items that were not told of before, in the digest on the person's screen; ask for mail and webhook."""
    known = set(Alert.objects.filter(subscription=one).values_list("item_id", flat=True))
    if not reached.keys() - known:
        return
    with transaction.atomic(durable=True):
        held = Subscription.objects.select_for_update().filter(pk=one.pk, ended_at=None).first()
        if held is None or not access.can(one.by, "subscribe", one.case):
            return  # the next check says why
        known = set(Alert.objects.filter(subscription=one).values_list("item_id", flat=True))
        fresh = [
            item
            for some in _some(list(reached.keys() - known), CHUNK)
            for item in Item.objects.held().filter(pk__in=some).only("number", "received_at")
        ]
        ranked = sorted(fresh, key=lambda item: (-float(reached[item.pk]), item.number))
        if not ranked:
            return
        now = timezone.now()
        digest, _new = Telling.objects.get_or_create(
            subscription=one, channel=Channel.APP, seen_at=None, defaults={"prepared_at": now, "told_at": now}
        )
        Telling.objects.filter(pk=digest.pk).update(told_at=now)
        Alert.objects.bulk_create(
            [
                Alert(
                    subscription=one,
                    item=item,
                    at=now,
                    score=reached[item.pk],
                    waited_ms=_milliseconds(now - item.received_at) if item.received_at >= one.at else None,
                    shown_in=digest,
                )
                for item in ranked
            ],
            batch_size=1000,
        )
        _record(digest, [item.number for item in ranked])
        for channel in CHANNELS:
            _ask_to_send(held, channel)


def _some(rows: list[Any], size: int) -> Iterator[list[Any]]:
    """A long list in parts."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _milliseconds(span: timedelta) -> int:
    return max(0, round(span / timedelta(milliseconds=1)))


def _record(digest: Telling, numbers: list[int]) -> None:
    """Who was told of which items, over which channel: in the case's own chain, by ids and numbers."""
    one = digest.subscription
    where = one.mail_id if digest.channel == Channel.MAIL else one.webhook_id
    for some in _some(sorted(numbers), IN_ONE_EVENT):
        told = {
            "subscription": str(one.pk),
            "person": str(one.by_id),
            "channel": digest.channel,
            "digest": str(digest.pk),
            "items": some,
        }
        if digest.channel != Channel.APP:
            told["destination"] = str(where)
        custody.record(one.case, event="case.alert_told", actor=ACTOR, payload=told)


# --- sending ----------------------------------------------------------------------------------------------------

# channel: the subscription's destination, the alert's digest
CHANNELS = {Channel.MAIL: ("mail", "mailed_in"), Channel.WEBHOOK: ("webhook", "posted_in")}


def _ask_to_send(one: Subscription, channel: str) -> None:
    """A job for what was not sent yet, when the next digest is due. In the caller's transaction."""
    if getattr(one, f"{CHANNELS[channel][0]}_id") is not None:
        jobs.enqueue(
            f"triage.alert_{channel}",
            subject=one,
            once=True,
            payload={"subscription": str(one.pk)},
            not_before=_due(one, channel),
        )


def _due(one: Subscription, channel: str) -> datetime | None:
    """When the next digest may be sent; none: now."""
    last = one.tellings.filter(channel=channel, told_at__isnull=False).order_by("-told_at").first()
    return last and last.told_at + timedelta(minutes=one.every_minutes)


@job("triage.alert_mail", attempts=6, limit_s=120)
def mail(row: Job, subject: Any) -> None:
    """Send one digest by mail."""
    _send(row, Channel.MAIL)


@job("triage.alert_webhook", attempts=6, limit_s=120)
def webhook(row: Job, subject: Any) -> None:
    """Send one digest to a webhook."""
    _send(row, Channel.WEBHOOK)


def _send(row: Job, channel: str) -> None:
    """Prepare the digest, or take the one that could not be sent; send it; record it. Raises what makes it be tried
    again. Where the process ends between sending and recording, it is sent again, with the same id."""
    one = Subscription.objects.select_related("case", "question", "by", "mail", "webhook").get(
        pk=row.payload["subscription"]
    )
    if one.ended_at is not None or _ended_by_itself(one):
        return
    name, told_in = CHANNELS[channel]
    to: Destination | None = getattr(one, name)
    if to is None or to.ended_at is not None or to.person_id not in (None, one.by_id):
        return
    digest = _prepared(one, channel, told_in)
    if digest is None:
        return
    alerts = Alert.objects.filter(**{told_in: digest}, item__in=Item.objects.held())
    told = list(alerts.select_related("item__case").order_by("pk"))
    if told:
        _over(channel, to, digest, told)
    with transaction.atomic(durable=True):
        if Telling.objects.filter(pk=digest.pk, told_at=None).update(told_at=timezone.now()) and told:
            _record(digest, [alert.item.number for alert in told])


def _prepared(one: Subscription, channel: str, told_in: str) -> Telling | None:
    """The digest to send now: the one on its way, or a new one of all that was not sent; None where nothing is due."""
    with transaction.atomic(durable=True):
        Subscription.objects.select_for_update().get(pk=one.pk)
        digest = Telling.objects.filter(subscription=one, channel=channel, told_at=None).first()
        if digest is None:
            due, now = _due(one, channel), timezone.now()
            unsent = Alert.objects.filter(subscription=one, **{told_in: None})
            if (due and due > now) or not unsent.exists():
                return None
            digest = Telling.objects.create(subscription=one, channel=channel, prepared_at=now)
            unsent.update(**{told_in: digest})
    digest.subscription = one
    return digest


def _over(channel: str, to: Destination, digest: Telling, told: list[Alert]) -> None:
    """Send it. What leaves: codes of the items and of the case, the question's number, scores, links."""
    if channel == Channel.WEBHOOK:
        body, now = as_json(digest, told), timezone.now()
        headers = sending.sign(sending.secret_of(to.pk), digest=digest.pk, at=now, body=body)
        sending.post(to.address, body, headers)
        return
    with translation.override(digest.subscription.by.language or settings.LANGUAGE_CODE):
        subject, body = as_mail(digest, told)
    sending.mail(to.address, subject=subject, body=body)


def as_json(digest: Telling, told: list[Alert]) -> bytes:
    """The body of a webhook's call."""
    one = digest.subscription
    data = {
        "case": one.case.code,
        "question": one.question.number,
        "count": len(told),
        "items": [
            {"item": alert.item.code, "score": alert.score, "link": link(alert)} for alert in told[:IN_A_CALL]
        ],
    }
    body = {"type": "amparo.alert", "timestamp": digest.prepared_at.isoformat(), "data": data}
    return json.dumps(body, separators=(",", ":")).encode()


def as_mail(digest: Telling, told: list[Alert]) -> tuple[str, str]:
    """Subject and body of a mail."""
    one, number = digest.subscription, len(told)
    words = ngettext(
        "%(n)d item of %(case)s reached your alert: please look",
        "%(n)d items of %(case)s reached your alert: please look",
        number,
    ) % {"n": number, "case": one.case.code}
    lines = [f"{alert.item.code}  {alert.score}  {link(alert)}" for alert in told[:IN_A_MAIL]]
    more = [] if number <= IN_A_MAIL else [_("and %(n)d more") % {"n": number - IN_A_MAIL}]
    ends = [
        _("Question %(number)d. The score is a machine suggestion; nothing was decided.")
        % {"number": one.question.number},
        _("You asked to be told. Change it here: %(url)s")
        % {"url": settings.ORIGIN + reverse("alerts-of-case", args=[one.case.code])},
    ]
    return f"Amparo: {words}", "\n".join([f"{words}.", "", *lines, *more, "", *ends, ""])


def link(alert: Alert) -> str:
    """Where the item is looked at; complete where the settings name the archive's address."""
    return settings.ORIGIN + reverse("review-item", args=[alert.item_id])


# --- what nobody asked for --------------------------------------------------------------------------------------


@duty("triage.alert_round", every=timedelta(minutes=5))
def round_() -> None:
    """Compare what no job was asked for, and ask again for what could not be sent for an hour."""
    in_force = Subscription.objects.filter(ended_at=None)
    for case in Case.objects.filter(pk__in=in_force.values("case")):
        with transaction.atomic(durable=True):
            asking.compare(case)
    stuck = timezone.now() - STUCK
    for one in in_force.select_related("case"):
        for channel, (_name, told_in) in CHANNELS.items():
            unsent = Alert.objects.filter(subscription=one, **{told_in: None})
            on_its_way = one.tellings.filter(channel=channel, told_at=None).first()
            again = on_its_way.prepared_at < stuck if on_its_way else unsent.exists()
            if again:
                with transaction.atomic(durable=True):
                    if on_its_way:
                        Telling.objects.filter(pk=on_its_way.pk).update(prepared_at=timezone.now())
                    _ask_to_send(one, channel)
