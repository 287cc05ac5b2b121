"""A duty is asked for when its time has come, once by all workers together, and one that did not run is seen."""

from datetime import timedelta

import pytest
from django.utils import timezone

from archive import jobs, schedule
from archive.models import Duty, Job

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def hourly(monkeypatch):
    """Declare one duty for a test; others are not known meanwhile."""
    monkeypatch.setattr(jobs, "KINDS", {})
    monkeypatch.setattr(jobs, "wake", lambda name: None)
    monkeypatch.setattr(schedule, "DUTIES", {})

    def declare(function=lambda: None):
        schedule.duty("test.hourly", every=HOUR, attempts=1)(function)

    return declare


def standing(now=None):
    return schedule.standings(now)[0]


def test_a_duty_is_asked_for_once_in_its_time(hourly):
    hourly()
    now = timezone.now()
    assert schedule.tick(now) == ["test.hourly"]
    assert schedule.tick(now + HOUR / 2) == []
    assert Job.objects.count() == 1
    assert jobs.run_waiting("test.hourly") == 1
    assert schedule.tick(now + HOUR) == ["test.hourly"]


def test_of_two_workers_that_look_at_once_one_asks(hourly, monkeypatch):
    hourly()
    schedule.tick()
    seen = Duty.objects.get()
    Duty.objects.update(asked_at=timezone.now())
    later = timezone.now() + 2 * HOUR
    monkeypatch.setattr(Duty.objects, "filter", _stale(Duty.objects.filter, seen))
    assert schedule.tick(later) == [], "the other had asked since this one looked"


def _stale(real, row):
    """A first look that shows what was there before the other worker asked."""
    looks = iter([[row]])

    def look(**conditions):
        return next(looks, None) or real(**conditions)

    return look


def test_one_that_did_not_run_is_seen(hourly):
    hourly()
    assert standing().done_at is None and not standing().overdue
    now = timezone.now()
    schedule.tick(now)
    assert not standing(now + HOUR).overdue
    assert standing(now + 2 * HOUR + timedelta(minutes=1)).overdue
    (held,) = jobs.claim("test.hourly")
    later = held.lease_until - timedelta(seconds=1)
    Duty.objects.update(known_since=later - 3 * HOUR)
    assert not standing(later).overdue, "a worker is at it"
    assert standing(held.lease_until + HOUR).overdue, "it died"
    jobs.fail(held, "died")
    Job.objects.update(state="queued")
    jobs.run_waiting("test.hourly")
    assert standing().done_at is not None and not standing(now + HOUR).overdue


def test_one_that_failed_says_why_and_is_overdue_in_the_end(hourly):
    def broken() -> None:
        raise OSError("the disk does not answer")

    hourly(broken)
    now = timezone.now()
    schedule.tick(now)
    jobs.run_waiting("test.hourly")
    assert standing().failed_at and "does not answer" in standing().error
    assert Job.objects.get().state == Job.State.FAILED
    assert schedule.tick(now + HOUR) == ["test.hourly"], "asked for again"
    assert standing(now + 3 * HOUR).overdue
