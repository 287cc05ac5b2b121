"""The row is the job: taken once, given back when its worker dies, stopped when it is poison."""

import multiprocessing
import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from archive import jobs, tasks
from archive.custody import is_unattended
from archive.errors import Conflict, MediaError
from archive.models import Job, WorkerBeat
from tests import cast

pytestmark = pytest.mark.django_db
LATER = timedelta(hours=1)


@pytest.fixture
def woken(monkeypatch) -> list[str]:
    """Names for which a message was sent; no broker hears them."""
    names: list[str] = []
    monkeypatch.setattr(tasks.work, "apply_async", lambda args, **_: names.append(args[0]))
    monkeypatch.setattr(jobs, "_broker_away_until", 0.0)
    return names


@pytest.fixture
def kind(monkeypatch, woken):
    """Declare a kind of job for one test."""
    monkeypatch.setattr(jobs, "KINDS", dict(jobs.KINDS))

    def declare(run, **options):
        jobs.job("test.kind", **options)(run)
        return "test.kind"

    return declare


def enqueue(name="test.kind", **options) -> Job | None:
    with transaction.atomic():
        return jobs.enqueue(name, **options)


def due() -> None:
    """Let the pause after a failure be over."""
    Job.objects.filter(state="queued").update(run_after=timezone.now())


# --- asking -------------------------------------------------------------------------------------------------------


def test_a_job_is_a_row_of_the_transaction_that_asks_for_it(kind):
    name = kind(lambda row, subject: None, queue="media")
    with pytest.raises(RuntimeError), transaction.atomic():
        jobs.enqueue(name)
        raise RuntimeError
    assert not Job.objects.exists()
    assert enqueue().queue == "media"


def test_with_once_an_unfinished_job_for_the_same_subject_is_enough(kind):
    kind(lambda row, subject: None)
    one, two = cast.case(), cast.case()
    assert enqueue(subject=one, once=True) and enqueue(subject=two, once=True)
    assert enqueue(subject=one, once=True) is None
    assert enqueue(subject=one) is not None  # who does not say once gets another
    jobs.run_waiting("test.kind")
    assert enqueue(subject=one, once=True) is not None


def test_jobs_declared_after_an_event_are_queued_with_it():
    item = cast.item()
    assert set(item.jobs.values_list("name", flat=True)) >= {"archive.read_back", "archive.examine"}
    cast.acquire(item.case, b"other bytes")
    assert item.jobs.count() == item.jobs.values("name").distinct().count()


def test_an_unknown_queue_is_refused_when_it_is_declared(kind):
    with pytest.raises(ValueError, match="default, media, analyse"):
        kind(lambda row, subject: None, queue="elsewhere")


@pytest.mark.django_db(transaction=True)
def test_workers_are_woken_after_the_commit_and_once_for_each_name(kind, woken):
    kind(lambda row, subject: None)
    with transaction.atomic():
        for _ in range(5):
            jobs.enqueue("test.kind")
        assert woken == []
    assert woken == ["test.kind"]


@pytest.mark.django_db(transaction=True)
def test_a_wake_that_was_rolled_back_with_its_savepoint_does_not_swallow_the_next(kind, woken):
    kind(lambda row, subject: None)
    with transaction.atomic():
        with pytest.raises(RuntimeError), transaction.atomic():
            jobs.enqueue("test.kind")
            raise RuntimeError
        jobs.enqueue("test.kind")
    assert woken == ["test.kind"]


@pytest.mark.parametrize("error", [OSError("no route"), OperationalError("connection refused")])
@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_costs_time_and_never_the_change(kind, monkeypatch, error):
    kind(lambda row, subject: None)
    tries = []

    def refuse(*_, **__):
        tries.append(1)
        raise error

    monkeypatch.setattr(tasks.work, "apply_async", refuse)
    for _ in range(3):
        enqueue()
    assert Job.objects.count() == 3
    assert len(tries) == 1, "not every change waits for a broker that is away"


# --- doing --------------------------------------------------------------------------------------------------------


def test_a_job_runs_with_its_subject_unattended_and_is_done(kind):
    seen = []
    kind(lambda row, subject: seen.append((row.attempts, subject, is_unattended())))
    case = cast.case()
    enqueue(subject=case)
    assert jobs.run_waiting("test.kind") == 1
    assert seen == [(1, case, True)]
    row = Job.objects.get(name="test.kind")
    assert (row.state, row.error, row.lease_until) == ("done", "", None) and row.finished_at >= row.started_at
    assert jobs.run_waiting("test.kind") == 0


def test_oldest_first(kind):
    ran = []
    kind(lambda row, subject: ran.append(row.payload["n"]))
    for number in range(3):
        enqueue(payload={"n": number})
    jobs.run_waiting("test.kind")
    assert ran == [0, 1, 2]


def test_poison_is_tried_as_often_as_declared_and_stops_with_its_error_on_the_row(kind):
    def poison(row, subject):
        raise ZeroDivisionError("three of them")

    kind(poison, attempts=3)
    enqueue()
    for attempt in (1, 2, 3):
        assert jobs.run_waiting("test.kind") == 1
        row = Job.objects.get(name="test.kind")
        assert row.attempts == attempt and row.error == "ZeroDivisionError: three of them"
        if attempt < 3:
            assert row.state == "queued"
            assert timezone.now() + timedelta(seconds=2**attempt + 1) > row.run_after > timezone.now()
            assert jobs.run_waiting("test.kind") == 0, "it waits a while"
        due()
    assert row.state == "failed" and row.finished_at
    jobs.sweep()
    assert jobs.run_waiting("test.kind") == 0


def test_an_error_that_trying_again_cannot_mend_stops_at_once(kind):
    def hopeless(row, subject):
        raise MediaError("It cannot be decoded.")

    kind(hopeless, attempts=5)
    enqueue()
    jobs.run_waiting("test.kind")
    assert Job.objects.get(name="test.kind").state == "failed"
    assert Job.objects.get(name="test.kind").error == "It cannot be decoded."


def test_an_error_that_passes_is_tried_again(kind):
    tries = []

    def first_time_unlucky(row, subject):
        tries.append(1)
        if len(tries) == 1:
            raise Conflict("Somebody else was first.")

    kind(first_time_unlucky)
    enqueue()
    jobs.run_waiting("test.kind")
    due()
    jobs.run_waiting("test.kind")
    row = Job.objects.get(name="test.kind")
    assert (row.state, row.attempts, row.error) == ("done", 2, "")


def test_a_stopped_job_can_be_queued_again_by_hand(kind):
    poisoned = [True]

    def until_mended(row, subject):
        if poisoned:
            raise ValueError("bad")

    kind(until_mended, attempts=1)
    case = cast.case()
    enqueue(subject=case, once=True)
    jobs.run_waiting("test.kind")
    row = Job.objects.get(name="test.kind")
    poisoned.clear()
    assert jobs.retry(row) is True
    assert jobs.retry(row) is False, "it waits already"
    jobs.run_waiting("test.kind")
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("done", 1)


def test_a_stopped_job_is_not_queued_again_beside_its_successor(kind):
    def poison(row, subject):
        raise ValueError("bad")

    kind(poison, attempts=1)
    case = cast.case()
    enqueue(subject=case, once=True)
    jobs.run_waiting("test.kind")
    stopped = Job.objects.get(name="test.kind")
    enqueue(subject=case, once=True)
    assert jobs.retry(stopped) is False


def test_a_batch_finishes_each_of_its_jobs_by_itself(kind):
    sizes = []

    def together(rows):
        sizes.append(len(rows))
        for row in rows:
            if row.payload["n"] % 2:
                jobs.finish(row)

    kind(together, batch=3, attempts=1)
    for number in range(4):
        enqueue(payload={"n": number})
    assert jobs.run_waiting("test.kind") == 4
    assert sizes == [3, 1]
    states = dict(Job.objects.filter(name="test.kind").values_list("payload__n", "state"))
    assert states == {0: "failed", 1: "done", 2: "failed", 3: "done"}
    assert "without a word" in Job.objects.filter(name="test.kind", state="failed").first().error


def test_a_batch_that_breaks_fails_those_it_had_not_finished(kind):
    def breaks(rows):
        jobs.finish(rows[0])
        raise OSError("the process died")

    kind(breaks, batch=3, attempts=1)
    for _ in range(3):
        enqueue()
    jobs.run_waiting("test.kind")
    assert sorted(Job.objects.filter(name="test.kind").values_list("state", flat=True)) == [
        "done",
        "failed",
        "failed",
    ]


def test_a_message_runs_a_few_and_wakes_another_worker_for_the_rest(kind, woken):
    kind(lambda row, subject: None)
    for _ in range(6):
        enqueue()
    woken.clear()
    assert tasks.work("test.kind") == 4 and woken == ["test.kind"]
    assert tasks.work("test.kind") == 2 and woken == ["test.kind"] * 2
    assert tasks.work("test.kind") == 0 and woken == ["test.kind"] * 2


# --- leases -------------------------------------------------------------------------------------------------------


def test_what_a_dead_worker_held_is_given_back_once_its_lease_ends(kind):
    kind(lambda row, subject: None)
    enqueue()
    (row,) = jobs.claim("test.kind")
    assert jobs.sweep()["given_back"] == 0
    assert jobs.sweep(timezone.now() + jobs.LEASE + timedelta(seconds=1))["given_back"] == 1
    row.refresh_from_db()
    assert row.state == "queued" and "worker died" in row.error
    due()
    assert jobs.run_waiting("test.kind") == 1


def test_a_job_whose_workers_keep_dying_stops_after_its_attempts(kind):
    kind(lambda row, subject: None, attempts=2)
    enqueue()
    for _ in range(2):
        assert len(jobs.claim("test.kind")) == 1
        jobs.sweep(timezone.now() + LATER)
        due()
    assert jobs.claim("test.kind") == []
    assert Job.objects.get(name="test.kind").state == "failed"


def test_who_lost_the_lease_cannot_finish_or_fail_the_job_of_another(kind):
    kind(lambda row, subject: None)
    enqueue()
    (late,) = jobs.claim("test.kind")
    jobs.sweep(timezone.now() + LATER)
    due()
    (current,) = jobs.claim("test.kind")
    assert jobs.finish(late) is False
    jobs.fail(late, "too late", last=True)
    current.refresh_from_db()
    assert (current.state, current.attempts) == ("running", 2)
    assert jobs.finish_all([late]) == 0
    assert jobs.finish_all([late, current]) == 1
    current.refresh_from_db()
    assert (current.state, current.lease_until) == ("done", None)


def test_a_renewed_lease_is_not_swept(kind):
    kind(lambda row, subject: None)
    enqueue()
    (row,) = jobs.claim("test.kind")
    Job.objects.filter(pk=row.pk).update(lease_until=timezone.now() + LATER)
    assert jobs.sweep(timezone.now() + jobs.LEASE * 2)["given_back"] == 0


def test_a_job_of_a_kind_that_nobody_knows_any_more_does_not_stop_the_sweeper(kind):
    kind(lambda row, subject: None)
    enqueue()
    enqueue()
    jobs.claim("test.kind")
    del jobs.KINDS["test.kind"]
    assert jobs.sweep(timezone.now() + LATER)["given_back"] == 1
    assert sorted(Job.objects.filter(name="test.kind").values_list("state", flat=True)) == [
        "failed",
        "queued",
    ]


@pytest.mark.django_db(transaction=True)
def test_a_long_job_keeps_its_lease_by_its_heartbeat(kind, monkeypatch):
    monkeypatch.setattr(jobs, "BEAT", timedelta(seconds=0.05))
    leases = []

    def long(row, subject):
        for _ in range(2):
            time.sleep(0.4)
            leases.append(Job.objects.get(pk=row.pk).lease_until)

    kind(long)
    enqueue()
    jobs.run_waiting("test.kind")
    assert leases[1] > leases[0]


@pytest.mark.django_db(transaction=True)
def test_who_runs_over_the_limit_loses_the_lease(kind, monkeypatch):
    monkeypatch.setattr(jobs, "BEAT", timedelta(seconds=0.02))
    leases = []

    def endless(row, subject):
        for _ in range(2):
            time.sleep(0.4)
            leases.append(Job.objects.get(pk=row.pk).lease_until)

    kind(endless, limit_s=0.2)
    enqueue()
    jobs.run_waiting("test.kind")
    assert leases[1] == leases[0]


# --- claimed once -------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_threads_at_once_take_each_job_once(kind):
    ran, lock, start = [], threading.Lock(), threading.Barrier(4)

    def note(row, subject):
        with lock:
            ran.append(row.pk)

    kind(note)
    for _ in range(40):
        enqueue()

    def worker() -> None:
        start.wait()
        jobs.run_waiting("test.kind")
        connection.close()

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) == len(set(ran)) == 40
    assert set(Job.objects.filter(name="test.kind").values_list("state", "attempts")) == {("done", 1)}


def _claim_all(pipe) -> None:
    connection.connect()
    pipe.send("ready")
    pipe.recv()
    taken = []
    while rows := jobs.claim("archive.read_back", 2):
        taken += [str(row.pk) for row in rows]
    pipe.send(taken)
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_processes_at_once_take_each_job_once():
    for _ in range(20):
        enqueue("archive.read_back")
    connection.close()
    context = multiprocessing.get_context("fork")
    pipes, workers = [], []
    for _ in range(3):
        ours, theirs = context.Pipe()
        pipes.append(ours)
        workers.append(context.Process(target=_claim_all, args=(theirs,)))
        workers[-1].start()
    for pipe in pipes:
        assert pipe.recv() == "ready"
    for pipe in pipes:
        pipe.send("go")
    taken = [pk for pipe in pipes for pk in pipe.recv()]
    for worker in workers:
        worker.join()
    assert len(taken) == len(set(taken)) == 20


# --- the sweeper and the queues -----------------------------------------------------------------------------------


def test_the_sweeper_wakes_what_nobody_heard_and_then_lets_it_sleep(kind, woken):
    kind(lambda row, subject: None)
    enqueue()
    woken.clear()
    assert jobs.sweep()["woken"] == 0, "a fresh one was woken already"
    later = timezone.now() + jobs.WAKE_AGAIN_AFTER + timedelta(seconds=1)
    assert jobs.sweep(later)["woken"] == 1 and woken == ["test.kind"]
    assert jobs.sweep(later)["woken"] == 0


def test_a_queue_that_no_living_worker_serves_is_named():
    assert jobs.unserved_queues() == ["default", "media", "analyse"]
    jobs.beat_worker("a", "default,media")
    assert jobs.unserved_queues() == ["analyse"]
    jobs.beat_worker("b", "analyse")
    assert jobs.unserved_queues() == []
    WorkerBeat.objects.filter(name="b").update(beat_at=timezone.now() - jobs.UNSERVED_AFTER * 2)
    assert jobs.unserved_queues() == ["analyse"]
    jobs.beat_worker("b", "analyse")
    jobs.forget_worker("b")
    assert jobs.unserved_queues() == ["analyse"]


def test_what_waits_is_counted_by_queue(kind):
    kind(lambda row, subject: None, queue="media")
    enqueue()
    enqueue()
    jobs.claim("test.kind")
    assert jobs.waiting_counts() == {"media": 2}
