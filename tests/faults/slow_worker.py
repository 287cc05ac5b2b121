"""A Celery application that has one slow job more than the product: `celery -A tests.faults.slow_worker worker`."""

import time
from pathlib import Path

from django.conf import settings
from django.db import transaction

from archive import jobs
from config.celery import app

__all__ = ["app", "enqueue", "unserved"]


@jobs.job("test.slow", queue="default", attempts=3, limit_s=120)
def slow(row, subject) -> None:
    """The first time it takes a minute, so that somebody can kill it meanwhile; after that no time at all."""
    marks = Path(settings.DATA_DIR) / "marks"
    with marks.open("a") as file:
        file.write(f"{row.attempts}\n")
    if row.attempts == 1:
        time.sleep(60)


def enqueue() -> str:
    """Ask for the slow job."""
    with transaction.atomic():
        return str(jobs.enqueue("test.slow").pk)


def unserved() -> list[str]:
    """What the screens would say."""
    return jobs.unserved_queues()
