"""Durable work. The row is the job and the truth; a Celery message only wakes a worker and may be lost.

Life of a job: enqueue (in the transaction of the change that causes it) -> wake (after COMMIT) -> claim (an UPDATE
that names the state it expects) -> run, with the lease renewed by a heartbeat -> done, or queued again with the
error, or failed after its last attempt. The sweeper re-queues what a killed worker left and wakes what nobody heard.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.models import F, Q
from django.utils import timezone
from kombu.exceptions import KombuError

from archive.errors import AmparoError

log = logging.getLogger("amparo.jobs")

QUEUES = ("default", "media", "analyse")
LEASE = timedelta(seconds=60)
BEAT = timedelta(seconds=15)
UNSERVED_AFTER = timedelta(seconds=45)
WAKE_AGAIN_AFTER = timedelta(seconds=30)
BROKER_PAUSE_S = 5.0
MAX_ERROR = 2000


@dataclass(frozen=True)
class Kind:
    """How jobs of one name are run. `run` takes (job, subject); `batch` takes a list of (job, subject) pairs."""

    name: str
    queue: str
    attempts: int
    limit_s: int
    after: tuple[str, ...]
    run: Callable[..., None]
    batch: int


KINDS: dict[str, Kind] = {}


def job(
    name: str,
    *,
    queue: str = "default",
    attempts: int = 3,
    limit_s: int = 600,
    after: str | tuple[str, ...] = (),
    batch: int = 1,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare a function as the work of jobs called `name`.

    `after` names event types: whenever one is written for an item or a source, a job is queued in the same transaction.
    `limit_s` bounds one attempt; who runs longer loses its lease and counts as failed. With `batch` > 1 the function
    gets a `Batch` and finishes each job by itself.
    """

    def declare(function: Callable[..., None]) -> Callable[..., None]:
        if queue not in QUEUES:
            raise ValueError(f"Unknown queue {queue!r}: use one of {', '.join(QUEUES)}")
        events = (after,) if isinstance(after, str) else after
        KINDS[name] = Kind(name, queue, attempts, limit_s, events, function, batch)
        return function

    return declare


# --- asking for work --------------------------------------------------------------------------------------------


def enqueue(
    name: str,
    *,
    subject: Any = None,
    once: bool = False,
    payload: dict | None = None,
    not_before: datetime | None = None,
) -> Any:
    """Add a job in the caller's transaction. With `once`, an unfinished job for the same subject is enough.

    Returns the job, or None when one was already there.
    """
    from archive.models import Job

    kind = KINDS[name]
    row = _row(kind, subject, timezone.now(), once=once, payload=payload)
    row.run_after = max(row.run_after, not_before) if not_before else row.run_after
    if once:
        Job.objects.bulk_create([row], ignore_conflicts=True)
        row = Job.objects.filter(pk=row.pk).first()
    else:
        row.save(force_insert=True)
    if row is not None:
        _wake_after_commit(kind.name)
    return row


def _row(kind: Kind, subject: Any, now: datetime, *, once: bool, payload: dict | None = None) -> Any:
    from archive.models import Case, Item, Job

    return Job(
        name=kind.name,
        queue=kind.queue,
        item=subject if isinstance(subject, Item) else None,
        case=subject if isinstance(subject, Case) else getattr(subject, "case", None),
        payload=payload or {},
        key=f"{kind.name}:{subject.pk if subject is not None else ''}" if once else None,
        run_after=now,
        created_at=now,
        woken_at=now,
    )


def follow(event: str, subject: Any) -> None:
    """Queue the jobs that are declared `after` this event. Called by the custody log in the same transaction."""
    follow_all([(event, subject)])


def follow_all(told: list[tuple[str, Any]]) -> None:
    """As `follow`, for many events at once."""
    following = [(kind, subject) for event, subject in told for kind in KINDS.values() if event in kind.after]
    if not following:  # as after most events
        return
    from archive.models import Item, Job, Source

    now, rows = timezone.now(), dict[Any, Any]()
    for kind, subject in following:
        item = subject if isinstance(subject, Item) else getattr(subject, "item", None)
        if item is not None:
            row = _row(kind, item, now, once=True)
            rows[row.key] = row
        elif isinstance(subject, Source):  # not once: the job that runs may have read it before this change
            row = _row(kind, subject, now, once=False, payload={"source": str(subject.pk)})
            rows[kind.name, subject.pk] = row
    if rows:
        Job.objects.bulk_create(rows.values(), ignore_conflicts=True)
    for name in {row.name for row in rows.values()}:
        _wake_after_commit(name)


class _Wake:
    """What runs after COMMIT: one message for all jobs of a name that one transaction made."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> None:
        wake(self.name)


def _wake_after_commit(name: str) -> None:
    here = set(connection.savepoint_ids)
    for savepoints, function, _ in connection.run_on_commit:
        if isinstance(function, _Wake) and function.name == name and set(savepoints) <= here:
            return  # it stands or falls with savepoints that are all still open
    transaction.on_commit(_Wake(name))


def wake(name: str) -> None:
    """Tell some worker that there is work of this name. A lost message costs time, never the job."""
    global _broker_away_until
    from archive.tasks import work

    if time.monotonic() < _broker_away_until:
        return
    try:
        work.apply_async((name,), queue=KINDS[name].queue, ignore_result=True, retry=False)
    except (OSError, KombuError) as error:
        _broker_away_until = time.monotonic() + BROKER_PAUSE_S  # do not let every change wait for it
        log.warning(
            "broker unreachable; the sweeper will wake the job",
            extra={"job": name, "error_type": type(error).__name__},
        )


_broker_away_until = 0.0


# --- doing work -------------------------------------------------------------------------------------------------


def worker_name() -> str:
    """This process, for a lease: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def claim(name: str, count: int = 1) -> list:
    """Take up to `count` waiting jobs, oldest first. Each is taken by exactly one worker."""
    from archive.models import Job

    now, kind = timezone.now(), KINDS[name]
    waiting = Job.objects.filter(state=Job.State.QUEUED, name=name, run_after__lte=now)
    if not waiting.exists():
        return []  # without the lock that a transaction takes on SQLite
    with transaction.atomic(durable=True):
        rows = waiting.order_by("run_after", "created_at")
        if connection.features.has_select_for_update_skip_locked:
            rows = rows.select_for_update(skip_locked=True)
        ids = list(rows.values_list("pk", flat=True)[:count])
        Job.objects.filter(pk__in=ids, state=Job.State.QUEUED).update(
            state=Job.State.RUNNING,
            attempts=F("attempts") + 1,
            worker=worker_name(),
            lease_until=now + LEASE,
            started_at=now,
        )
        taken = list(
            Job.objects.filter(pk__in=ids)
            .select_related("item__case", "item__source", "case")
            .order_by("created_at")
        )
    log.debug("claimed", extra={"job": kind.name, "count": len(taken)})
    return taken


def pass_on(name: str) -> None:
    """Wake a further worker if more waits than the one that asks will take in one go."""
    from archive.models import Job

    waiting = Job.objects.filter(state=Job.State.QUEUED, name=name, run_after__lte=timezone.now())
    if waiting.order_by()[: KINDS[name].batch + 1].count() > KINDS[name].batch:
        wake(name)


def finish(row: Any) -> bool:
    """Mark a job that this worker holds as done. False when the lease was lost meanwhile (another may redo it)."""
    return _end(row, state="done", error="", finished_at=timezone.now())


def finish_all(rows: Iterable[Any]) -> int:
    """As `finish`, for many jobs in one statement or few. Returns how many of them this worker still held."""
    hit, ended = 0, {"state": "done", "error": "", "finished_at": timezone.now(), "lease_until": None}
    for (worker, attempts), some in groupby(sorted(rows, key=_hold), key=_hold):
        held = _held(pk__in=[row.pk for row in some], worker=worker, attempts=attempts)
        hit += held.update(**ended)
    return hit


def fail(row: Any, error: BaseException | str, *, last: bool = False) -> None:
    """Give a job back with its error: to be tried again later, or stopped after its last attempt."""
    kind, words = KINDS.get(row.name), in_words(error)
    if last or kind is None or row.attempts >= kind.attempts:
        _end(row, state="failed", error=words[:MAX_ERROR], finished_at=timezone.now())
        log.error(
            "job stopped", extra={"job": row.name, "id": str(row.pk), "error_type": type(error).__name__}
        )
    else:
        pause = timedelta(seconds=2**row.attempts)
        _end(row, state="queued", error=words[:MAX_ERROR], run_after=timezone.now() + pause)
        log.warning(
            "job to be tried again", extra={"job": row.name, "id": str(row.pk), "attempt": row.attempts}
        )


def in_words(error: BaseException | str) -> str:
    """What a person reads about a failure."""
    if isinstance(error, str):
        return error
    return error.sentence if isinstance(error, AmparoError) else f"{type(error).__name__}: {error}"


def _end(row: Any, **fields: Any) -> bool:
    held = _held(pk=row.pk, worker=row.worker, attempts=row.attempts)
    return held.update(lease_until=None, **fields) == 1


def _held(**which: Any) -> Any:
    from archive.models import Job

    return Job.objects.filter(state=Job.State.RUNNING, **which)


def _hold(row: Any) -> tuple[str, int]:
    return row.worker, row.attempts


def run_waiting(name: str, *, most: int = 1000) -> int:
    """Claim and run waiting jobs of a name until none is left or `most` were run. Returns how many."""
    from archive import custody

    kind, done = KINDS[name], 0
    with custody.unattended():
        while done < most and (taken := claim(name, kind.batch)):
            done += len(taken)
            with heartbeat(taken, limit_s=kind.limit_s * len(taken)):
                if kind.batch > 1:
                    _run_batch(kind, taken)
                else:
                    _run_one(kind, taken[0])
    return done


def _run_one(kind: Kind, row: Any) -> None:
    try:
        kind.run(row, row.item if row.item_id else row.case)
    except Exception as error:  # noqa: BLE001 - whatever it was is written on the row and shown
        log.info("attempt failed", exc_info=error, extra={"job": row.name, "id": str(row.pk)})
        fail(row, error, last=isinstance(error, AmparoError) and not error.retry)
    else:
        finish(row)


def _run_batch(kind: Kind, rows: list) -> None:
    """A batch function finishes or fails each of its jobs; what it left over failed with it."""
    try:
        kind.run(rows)
    except Exception as error:  # noqa: BLE001 - as above
        log.info("batch failed", exc_info=error, extra={"job": kind.name})
        for row in _still_held(rows):
            fail(row, error)
    else:
        for row in _still_held(rows):
            fail(row, "the batch ended without a word about this job")


def _still_held(rows: list) -> list:
    """Those of a batch that are neither finished nor failed, nor another worker's by now."""
    from archive.models import Job

    left = Job.objects.filter(pk__in=[row.pk for row in rows], state=Job.State.RUNNING, worker=worker_name())
    ids = set(left.values_list("pk", flat=True))
    return [row for row in rows if row.pk in ids]


@contextlib.contextmanager
def heartbeat(rows: list, *, limit_s: float) -> Iterator[None]:
    """Renew the leases of jobs that run here, until `limit_s`; after that they are anybody's."""
    ended, deadline = threading.Event(), timezone.now() + timedelta(seconds=limit_s)

    def beat() -> None:
        from archive.models import Job

        while not ended.wait(BEAT.total_seconds()) and timezone.now() < deadline:
            held = Job.objects.filter(pk__in=[r.pk for r in rows], state="running", worker=worker_name())
            try:
                held.update(lease_until=timezone.now() + LEASE)
            except DatabaseError:  # the lease outlives three beats that fail
                log.warning("lease not renewed", exc_info=True, extra={"count": len(rows)})
                connection.close()
        connection.close()

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)


# --- keeping it going -------------------------------------------------------------------------------------------


def sweep(now: datetime | None = None) -> dict[str, int]:
    """Give back what dead workers held, wake what nobody heard. Safe to run anywhere, any number of times."""
    from archive.models import Job

    now = now or timezone.now()
    given_back = 0
    for row in Job.objects.filter(state=Job.State.RUNNING, lease_until__lt=now):
        if Job.objects.filter(pk=row.pk, lease_until__lt=now).exists():  # not renewed meanwhile
            fail(row, "The worker died or ran over its time limit. Nothing of the original was lost.")
            given_back += 1
    waiting = Job.objects.filter(state=Job.State.QUEUED, run_after__lte=now, name__in=KINDS)
    unheard = waiting.filter(Q(woken_at=None) | Q(woken_at__lt=now - WAKE_AGAIN_AFTER) | Q(attempts__gt=0))
    names = list(unheard.values_list("name", flat=True).distinct().order_by())
    if names:
        unheard.filter(name__in=names).update(woken_at=now)
    for name in names:
        wake(name)
    return {"given_back": given_back, "woken": len(names)}


def retry(row: Any) -> bool:
    """Queue a stopped job again, from its first attempt."""
    from archive.models import Job

    try:
        with transaction.atomic():
            hit = Job.objects.filter(pk=row.pk, state=Job.State.FAILED).update(
                state=Job.State.QUEUED,
                attempts=0,
                run_after=timezone.now(),
                finished_at=None,
                woken_at=timezone.now(),
            )
    except IntegrityError:
        return False
    if hit:
        wake(row.name)
    return hit == 1


def beat_worker(name: str, queues: str) -> None:
    """Note that a worker process is alive."""
    from archive.models import WorkerBeat

    WorkerBeat.objects.update_or_create(name=name, defaults={"queues": queues, "beat_at": timezone.now()})


def forget_worker(name: str) -> None:
    """Note that a worker process has ended, and drop those that were last seen a day ago."""
    from archive.models import WorkerBeat

    old = Q(name=name) | Q(beat_at__lt=timezone.now() - timedelta(days=1))
    WorkerBeat.objects.filter(old).delete()


def unserved_queues() -> list[str]:
    """Queues that no living worker serves."""
    from archive.models import WorkerBeat

    alive = WorkerBeat.objects.filter(beat_at__gte=timezone.now() - UNSERVED_AFTER)
    served = {queue for row in alive for queue in row.queues.split(",")}
    return [queue for queue in QUEUES if queue not in served]


def waiting_counts() -> dict[str, int]:
    """How many jobs wait or run, by queue."""
    from archive.models import Job

    rows = Job.objects.filter(state__in=["queued", "running"]).values("queue").order_by()
    return {row["queue"]: row["n"] for row in rows.annotate(n=models.Count("pk"))}
