"""What the log does by itself: publish every few minutes, verify every day. What fails becomes an alarm."""

import time
from datetime import timedelta

from django.conf import settings
from django.db import transaction

from archive.custody.actor import Actor
from archive.custody.log import record
from archive.custody.publish import publish
from archive.custody.verify import Report, verify
from archive.schedule import duty

MOST_FAULTS = 20


@duty("custody.publish", every=timedelta(minutes=settings.PUBLISH_MINUTES), limit_s=1800)
def publish_news() -> None:
    """Publish if anything happened since."""
    publish(actor=Actor.system("publisher"))


@duty("custody.verify", every=timedelta(days=1), attempts=2, limit_s=12 * 3600)
def verify_daily() -> None:
    """Verify the whole log, and record the answer."""
    start = time.monotonic()
    report = verify()
    record_verified(report, actor=Actor.system("verifier"), seconds=int(time.monotonic() - start))


def record_verified(report: Report, *, actor: Actor, seconds: int) -> None:
    """Write what a verification found as an event: the first fault of each kind, in words."""
    faults = [f"{fault.kind}: {fault.place}: {fault.sentence}" for fault in report.faults[:MOST_FAULTS]]
    with transaction.atomic(durable=True):
        record(
            "system:main",
            event="system.custody_verified",
            actor=actor,
            payload={
                "answer": report.answer,
                "events": report.events,
                "seconds": seconds,
                "first": (faults or report.unchecked or [""])[0],
                "faults": faults,
                "could_not_check": report.unchecked[:MOST_FAULTS],
            },
        )
