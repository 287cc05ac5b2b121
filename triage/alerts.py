"""Telling people that an item reached what they asked for: 'please look', and nothing else happens.

This module holds what people do: subscribe, end, allow a destination, say that a digest was seen; and what screens read.
What follows by itself, comparing items and sending digests, is triage/telling.py.
"""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from statistics import median
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from archive import access, custody
from archive.custody import Actor
from archive.errors import BadInput, LimitExceeded, NotAllowed
from archive.models import Case, Item, User
from triage import asking, rules, sending, telling
from triage.models import Alert, Destination, Question, Subscription, Telling

Measure, Ended, Kind = Subscription.Measure, Subscription.Ended, Destination.Kind
MOST_SUBSCRIPTIONS = 20  # of one person in one case
PACES = (15, 60, 24 * 60)  # minutes between two digests by mail or webhook
COUNTED = 99  # unseen digests, for the bar
WAITS_KEPT = 1000  # the newest, for the median


# --- subscribing ------------------------------------------------------------------------------------------------


def subscribe(
    *,
    case: Case,
    question: Question,
    actor: Actor,
    name: str,
    measure: str,
    least: str = "",
    rule: dict[str, Any] | None = None,
    mail: Destination | None = None,
    webhook: Destination | None = None,
    every_minutes: int = 60,
) -> Subscription:
    """Ask to be told of items that score `least` or more, or to which a rule applies (one criterion of triage.rules).

    What the items score already is compared at once. Raises NotAllowed, BadInput, LimitExceeded; then nothing was saved.
    """
    user = _person(actor)
    access.require(actor, "subscribe", case)
    name = " ".join(name.split())
    if not 1 <= len(name) <= 120:
        raise BadInput("Give the alert a name of 1 to 120 characters. Nothing was saved.")
    if measure not in Measure.values or every_minutes not in PACES:
        raise BadInput("This is not something that alerts can be asked for. Nothing was saved.")
    if question.case_id != case.pk or question.closed_at is not None:
        raise BadInput("This question is not an open one of the case. Nothing was saved.")
    _require_allowed(user, mail, Kind.MAIL)
    _require_allowed(user, webhook, Kind.WEBHOOK)
    asked = Subscription(
        case=case,
        by=user,
        name=name,
        question=question,
        measure=measure,
        least=None if measure == Measure.RULE else _score(measure, least),
        rule=_rule(rule, name) if measure == Measure.RULE else {},
        mail=mail,
        webhook=webhook,
        every_minutes=every_minutes,
        at=timezone.now(),
    )
    with transaction.atomic(durable=True):
        if Subscription.objects.filter(case=case, by=user, ended_at=None).count() >= MOST_SUBSCRIPTIONS:
            raise LimitExceeded(
                f"You have {MOST_SUBSCRIPTIONS} alerts in this case: end one first. Nothing was saved."
            )
        custody.write(asked, event="case.alert_subscribed", actor=actor)
        asking.compare(case)
    return asked


def end(*, subscription: Subscription, actor: Actor) -> None:
    """End one's own subscription. Raises NotAllowed, Conflict when it has ended."""
    if subscription.by_id != _person(actor).pk:
        raise NotAllowed("Only who asked for an alert can end it.")
    access.require(actor, "subscribe", subscription.case)
    with transaction.atomic(durable=True):
        telling.end(subscription, because=Ended.PERSON, actor=actor)


def seen(*, digest: Telling, actor: Actor) -> None:
    """Take a digest off the count. Not an act on any item. Raises NotAllowed for another person's."""
    if digest.subscription.by_id != _person(actor).pk:
        raise NotAllowed("Only who was told can say that they have seen it.")
    Telling.objects.filter(pk=digest.pk, channel=Telling.Channel.APP, seen_at=None).update(
        seen_at=timezone.now()
    )


def _person(actor: Actor) -> User:
    if not actor.signed_in or actor.user is None:
        raise NotAllowed("Only a signed-in person can do this.")
    return actor.user


def _score(measure: str, least: str) -> Decimal:
    """The score as a number. Raises BadInput."""
    low, high = (0, 1) if measure == Measure.CHANCE else (-1000, 1000)
    try:
        number = Decimal(least.strip())
        fits = number.is_finite() and low <= number <= high and number == number.quantize(rules.STEP)
    except InvalidOperation:
        fits = False
    if not fits:
        raise BadInput(
            f"The score is a number from {low} to {high} with at most three decimals. Nothing was saved."
        )
    return number.quantize(rules.STEP)


def _rule(rule: dict[str, Any] | None, name: str) -> dict[str, Any]:
    """The criterion without its name, if it is a good one. Raises BadInput that names every fault."""
    told = {key: value for key, value in (rule or {}).items() if key != "name"}
    rules.validate(telling.rules_of(told, name))
    return told


# --- destinations -----------------------------------------------------------------------------------------------


def allow(*, actor: Actor, kind: str, name: str, address: str, person: User | None = None) -> Destination:
    """Let alerts be sent to a mail address (of one person) or a webhook: an administrator's act, recorded.

    Raises NotAllowed, BadInput.
    """
    user = _person(actor)
    access.require(actor, "allow_destinations")
    address = address.strip()
    if kind == Kind.MAIL:
        sending.require_mail(address)
        if person is None:
            raise BadInput("Say whose mail address it is: nobody else can choose it. Nothing was saved.")
    elif kind == Kind.WEBHOOK:
        sending.require_url(address)
    else:
        raise BadInput("Alerts go to a mail address or a webhook. Nothing was saved.")
    row = Destination(
        kind=kind, name=" ".join(name.split()), address=address, person=person, by=user, at=timezone.now()
    )
    try:
        with transaction.atomic(durable=True):
            return custody.write(row, event="system.alert_destination_allowed", actor=actor)
    except ValidationError as error:
        raise BadInput("A destination has a name of 1 to 120 characters. Nothing was saved.") from error


def forbid(*, destination: Destination, actor: Actor) -> None:
    """Let nothing more be sent there. Raises NotAllowed, Conflict when that is so already."""
    _person(actor)
    access.require(actor, "allow_destinations")
    with transaction.atomic(durable=True):
        custody.change(
            destination,
            event="system.alert_destination_ended",
            actor=actor,
            expect={"ended_at": None},
            ended_at=timezone.now(),
        )


def destinations_for(user: User, kind: str) -> QuerySet[Destination]:
    """Those that a person may choose now."""
    mine = Q(person=None) | Q(person=user)
    return Destination.objects.filter(mine, kind=kind, ended_at=None)


def _require_allowed(user: User, chosen: Destination | None, kind: str) -> None:
    if chosen is not None and not destinations_for(user, kind).filter(pk=chosen.pk).exists():
        raise BadInput("No administrator allows this destination for you. Nothing was saved.")


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Waits:
    """Seconds from ingest to alert of items that came in after the subscription: how many, median and last."""

    count: int
    median_s: float | None
    last_s: float | None


def waits(subscriptions: QuerySet[Subscription]) -> Waits:
    """How long it took, over the newest 1,000 alerts of these subscriptions."""
    rows = Alert.objects.filter(subscription__in=subscriptions, waited_ms__isnull=False)
    newest = list(rows.order_by("-at", "-pk").values_list("waited_ms", flat=True)[:WAITS_KEPT])
    if not newest:
        return Waits(0, None, None)
    return Waits(len(newest), median(newest) / 1000, newest[0] / 1000)


def mine(user: User, case: Case | None = None) -> QuerySet[Subscription]:
    """A person's subscriptions in the cases that they see now, those in force first."""
    rows = Subscription.objects.filter(by=user, case__in=access.shared_case_ids(user))
    rows = rows.filter(case=case) if case else rows
    in_force = models.Case(models.When(ended_at=None, then=0), default=1)
    return rows.select_related("case", "question", "mail", "webhook").order_by(in_force, "-at")


def digests(user: User) -> QuerySet[Telling]:
    """What a person was told here, of the cases that they see now, the unseen first."""
    rows = Telling.objects.filter(
        channel=Telling.Channel.APP,
        subscription__by=user,
        subscription__case__in=access.shared_case_ids(user),
    )
    unseen_first = models.Case(models.When(seen_at=None, then=0), default=1)
    return rows.select_related("subscription__case", "subscription__question").order_by(
        unseen_first, "-told_at", "pk"
    )


def unseen(user: User) -> int:
    """How many digests wait to be seen, counted up to one hundred: a small query, for every page."""
    return len(digests(user).filter(seen_at=None).order_by().values_list("pk", flat=True)[: COUNTED + 1])


def items_of(digest: Telling) -> QuerySet[Alert]:
    """The alerts of a digest whose items are still there, the highest score first as it was then."""
    rows = Alert.objects.filter(shown_in=digest, item__in=Item.objects.held())
    return rows.select_related("item__case", "item__decision").order_by("pk")


def told_of(subscription: Subscription) -> int:
    """Of how many items a subscription has told."""
    return Alert.objects.filter(subscription=subscription).count()


def webhooks_on() -> bool:
    """Whether the settings let alerts leave by webhook at all."""
    return settings.WEBHOOKS
