"""Duties that come round: what, how often, and when each was last done.

A duty is a job (archive/jobs.py) that the clocks of any worker ask for when its time has come, one worker at a time.
Its row remembers when it was asked for, done and failed: so one that did not run can be seen and told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from archive import jobs
from archive.models import Duty, Job

GRACE = timedelta(minutes=10)


@dataclass(frozen=True)
class Standing:
    """How one duty stands. `overdue`: it should have been done by now, was not, and no worker is at it."""

    name: str
    every: timedelta
    done_at: datetime | None
    failed_at: datetime | None
    error: str
    overdue: bool


DUTIES: dict[str, timedelta] = {}


def duty(
    name: str, *, every: timedelta, queue: str = "default", attempts: int = 3, limit_s: int = 600
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Declare a function as the work of the duty `name`: tried as a job is, asked for again after `every`."""

    def declare(function: Callable[[], None]) -> Callable[[], None]:
        def run(row: Job, subject: None) -> None:
            known = Duty.objects.filter(name=name)
            Job.objects.filter(name=name, state=Job.State.DONE).delete()  # the duty's row is what remembers
            try:
                function()
            except Exception as error:
                known.update(failed_at=timezone.now(), error=jobs.in_words(error))
                raise
            known.update(done_at=timezone.now(), error="")
            Job.objects.filter(name=name, state=Job.State.DONE).delete()  # the row above tells of them

        jobs.job(name, queue=queue, attempts=attempts, limit_s=limit_s)(run)
        DUTIES[name] = every
        return function

    return declare


def tick(now: datetime | None = None) -> list[str]:
    """Ask for every duty whose time has come; return their names. Safe to call anywhere, any number of times."""
    now = now or timezone.now()
    rows = {row.name: row for row in Duty.objects.filter(name__in=DUTIES)}
    missing = [Duty(name=name, known_since=now) for name in DUTIES if name not in rows]
    if missing:
        Duty.objects.bulk_create(missing, ignore_conflicts=True)
        rows |= {row.name: row for row in missing}
    asked = []
    for name, every in DUTIES.items():
        seen = rows[name].asked_at
        if seen is not None and seen + every > now:
            continue
        with transaction.atomic(durable=True):
            if Duty.objects.filter(name=name, asked_at=seen).update(asked_at=now):  # else another worker did
                jobs.enqueue(name, once=True)
                asked.append(name)
    return asked


def ask(name: str) -> None:
    """Ask for a duty now, whenever it was last done."""
    with transaction.atomic(durable=True):
        jobs.enqueue(name, once=True)


def standings(now: datetime | None = None) -> list[Standing]:
    """How each duty stands, in the order in which they were declared."""
    now = now or timezone.now()
    rows = {row.name: row for row in Duty.objects.filter(name__in=DUTIES)}
    held = Job.objects.filter(name__in=DUTIES, state=Job.State.RUNNING, lease_until__gt=now)
    at_it = set(held.values_list("name", flat=True))
    return [_standing(name, every, rows.get(name), now, name in at_it) for name, every in DUTIES.items()]


def _standing(name: str, every: timedelta, row: Duty | None, now: datetime, at_it: bool) -> Standing:
    if row is None:  # no worker has started since this duty exists
        return Standing(name, every, None, None, "", overdue=False)
    late = now - (row.done_at or row.known_since) > every + max(every, GRACE)
    overdue = late and not at_it  # one that takes long is still being done
    return Standing(name, every, row.done_at, row.failed_at, row.error, overdue)
