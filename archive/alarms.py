"""What is wrong with this archive, said to the people who can do something about it: on screen, by mail, in metrics.

A source of alarms yields what is wrong now. `review` compares that with what is known: new alarms are recorded in the
custody log and mailed, past ones end. A duty does so every minute; that it does not run is itself seen, since pages and
metrics ask for overdue duties each time they are drawn.
"""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from archive import custody, schedule
from archive.custody import Actor
from archive.custody.publish import stages
from archive.models import Alarm, CustodyEvent
from archive.schedule import duty

log = logging.getLogger("amparo.alarms")

UNSEQUENCED = timedelta(minutes=2)


@dataclass(frozen=True)
class Kind:
    """What is wrong, and what to do: `{about}` stands for the thing that it is about."""

    words: str | Promise
    next_step: str | Promise
    grave: bool = False


KINDS: dict[str, Kind] = {
    "custody-bad": Kind(
        _("The custody log does not verify: {about}."),
        _(
            "Change nothing. Copy the database as it is, and compare with a checkpoint that is kept elsewhere."
        ),
        grave=True,
    ),
    "custody-unchecked": Kind(
        _("Part of the custody log could not be checked: {about}."),
        _("Mend the cause, then run: manage.py custody verify"),
    ),
    "duty-overdue": Kind(
        _("This did not run when it should have: {about}."),
        _("See whether a worker runs, and whether its last run failed."),
    ),
    "fixity-bad": Kind(
        _("Stored files failed their fixity check: {about}."),
        _("Run: manage.py vault restore --all. It takes them from the second copy, if there is one."),
        grave=True,
    ),
    "fixity-unread": Kind(
        _("Stored files could not be read for their fixity check: {about}."),
        _("See whether the disk or the store is there, then run: manage.py vault audit"),
    ),
    "second-copy": Kind(
        _("Stored files have no second copy yet: {about}."),
        _("See whether the second store can be reached, then run: manage.py vault copy"),
    ),
    "not-integrated": Kind(
        _("Events wait for their place in the log since {about}."),
        _("See whether a worker runs, then run: manage.py custody sequence"),
    ),
    "not-published": Kind(
        _("No checkpoint covers what happened since {about}."),
        _("See whether the signing key and the map key are there, then run: manage.py custody checkpoint"),
    ),
    "anchor": Kind(
        _("This outside party does not confirm the log: {about}."),
        _(
            "See whether it can be reached from here. Until it confirms, it cannot vouch for the newest events."
        ),
    ),
}


@dataclass(frozen=True)
class Condition:
    """Something that is wrong now."""

    kind: str
    about: str = ""

    @property
    def sentence(self) -> str:
        """What is wrong."""
        return str(KINDS[self.kind].words).format(about=self.about)

    @property
    def next_step(self) -> str:
        """What to do."""
        return str(KINDS[self.kind].next_step)

    @property
    def grave(self) -> bool:
        """Whether evidence may be harmed."""
        return KINDS[self.kind].grave


Source = Callable[[], Iterator[Condition]]


def conditions() -> list[Condition]:
    """All that is wrong now."""
    found = [condition for source in SOURCES for condition in source()]
    return sorted(set(found), key=lambda c: (not c.grave, c.kind, c.about))


def _custody() -> Iterator[Condition]:
    last = CustodyEvent.objects.filter(type="system.custody_verified").order_by("-pk").first()
    if last is None:
        return
    told = json.loads(bytes(last.canonical))["payload"]
    if told["answer"] == "bad":
        yield Condition("custody-bad", _short(told.get("first", "")))
    elif told["answer"] != "good":
        yield Condition("custody-unchecked", _short(told.get("first", "")))


def overdue_duties() -> Iterator[Condition]:
    """Duties that did not run in their time: asked of the database alone, so that pages see it without any worker."""
    for standing in schedule.standings():
        if standing.overdue:
            yield Condition("duty-overdue", standing.name)


def _fixity() -> Iterator[Condition]:
    from archive import fixity

    summary = fixity.summary()
    if summary.bad:
        yield Condition("fixity-bad", f"{summary.bad}")
    if summary.could_not_read:
        yield Condition("fixity-unread", f"{summary.could_not_read}")
    if summary.without_second_copy_overdue:
        yield Condition("second-copy", f"{summary.without_second_copy_overdue}")


def _stages() -> Iterator[Condition]:
    slow = {
        "integrated": ("not-integrated", UNSEQUENCED),
        "published": ("not-published", timedelta(minutes=3 * settings.PUBLISH_MINUTES)),
    }
    for stage in stages():
        if stage.name in slow and stage.waiting_since:
            kind, most = slow[stage.name]
            if timedelta(seconds=stage.lag_s) > most:
                yield Condition(kind, f"{stage.waiting_since:%Y-%m-%d %H:%M} UTC")


def _anchors() -> Iterator[Condition]:
    from archive.custody import anchors

    for party in anchors.status():
        if party.error:
            yield Condition("anchor", party.name)


SOURCES: tuple[Source, ...] = (_custody, overdue_duties, _fixity, _stages, _anchors)


def _short(text: str) -> str:
    return text[:300]


# --- what is known ------------------------------------------------------------------------------------------------


@duty("alarms", every=timedelta(minutes=1))
def review() -> None:
    """Raise what is new, end what is past, send what was not sent yet. A mail that fails is tried again each time."""
    now, present = timezone.now(), {(c.kind, c.about): c for c in conditions()}
    for row in Alarm.objects.filter(ended_at=None):
        if present.pop((row.kind, row.about), None) is None:
            with transaction.atomic(durable=True):
                if Alarm.objects.filter(pk=row.pk, ended_at=None).update(ended_at=now):
                    _record("system.alarm_ended", row)
    for condition in present.values():
        with transaction.atomic(durable=True):
            row, new = Alarm.objects.get_or_create(
                kind=condition.kind, about=condition.about, ended_at=None, defaults={"raised_at": now}
            )
            if new:
                _record("system.alarm_raised", row)
                log.error("alarm", extra={"alarm": condition.kind})
    _send()


def _record(event: str, row: Alarm) -> None:
    custody.record(
        "system:main",
        event=event,
        actor=Actor.system("alarms"),
        payload={"kind": row.kind, "about": row.about},
    )


def _send() -> None:
    if not settings.ALARM_RECIPIENTS:
        return
    waiting = list(Alarm.objects.filter(mailed_at=None, ended_at=None))
    if not waiting:
        return
    told = [Condition(row.kind, row.about) for row in waiting]
    body = "\n\n".join(f"{condition.sentence}\n{condition.next_step}" for condition in told)
    EmailMessage(
        subject=f"Amparo {settings.NAME_IN_LOG}: {len(told)} new alarm(s)",
        body=f"{body}\n\nThis archive: {settings.ORIGIN or settings.NAME_IN_LOG}\n",
        to=settings.ALARM_RECIPIENTS,
    ).send()
    Alarm.objects.filter(pk__in=[row.pk for row in waiting]).update(mailed_at=timezone.now())


def open_now() -> list[Condition]:
    """Alarms that last, and duties that are overdue this moment: two small queries, for every page."""
    known = {Condition(row.kind, row.about) for row in Alarm.objects.filter(ended_at=None)}
    return sorted(known | set(overdue_duties()), key=lambda c: (not c.grave, c.kind, c.about))
