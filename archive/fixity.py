"""Whether the bytes are still what they were: every stored file read back from the medium, decrypted and hashed.

Three answers, never two: good, bad, could not read. 'Never checked' is what nobody has asked about yet. docs/vault.md,
part 8, says when and in which order.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Min, Q, QuerySet
from django.utils import timezone

from archive import custody, jobs, vault
from archive.custody import Actor
from archive.errors import AmparoError, Damaged, KeyUnavailable, Missing
from archive.models import Blob, Item, Rendition
from archive.schedule import duty
from archive.vault import Progress, SecondCopy, Unreachable, Vault, silent

log = logging.getLogger("amparo.fixity")

GOOD, BAD, UNREAD = Blob.Fixity("good"), Blob.Fixity("bad"), Blob.Fixity("unread")
AGAIN_AFTER = timedelta(days=1)  # what could not be read is asked for again
COPY_WITHIN = timedelta(hours=1)  # a second copy is there by then, unless something is wrong
SETTLED_AFTER = timedelta(hours=1)
SLICE_S = 300.0  # how long one run of the duty goes on taking up files
EVERY = timedelta(minutes=10)
GIVE_UP_AFTER = 20  # files in a row that could not be read: then it is not the files


@dataclass(frozen=True)
class Answer:
    """What was found in one place; `fault` says it in words unless it is good."""

    fixity: Blob.Fixity
    fault: str = ""

    def told(self) -> dict[str, str]:
        """As an event tells it."""
        return {"answer": str(self.fixity)} | ({"fault": self.fault} if self.fault else {})


def look(held: Vault, sha256: str, *, progress: Progress = silent) -> Answer:
    """Read one file back in one place. Writes nothing, raises nothing that an answer can say."""
    try:
        held.check(sha256, progress=progress)
    except (Damaged, Missing) as error:
        try:
            held.identity()
        except (Damaged, OSError) as away:  # then it is the place that is gone, not the file
            return Answer(UNREAD, _words(away))
        return Answer(BAD, error.sentence)
    except (KeyUnavailable, OSError) as error:
        return Answer(UNREAD, _words(error))
    return Answer(GOOD)


def _words(error: Exception) -> str:
    return error.sentence if isinstance(error, AmparoError) else f"It could not be read: {error}."


# --- keeping what was found -------------------------------------------------------------------------------------------


def keep(
    sha256: str, answer: Answer, copy: Answer | None, *, actor: Actor, repair: bool = True, origin: str = ""
) -> None:
    """Record what a check found, in the chains of the items it concerns and on the row, and ask for repair.

    A good original leaves an event in each item's chain; a good rendition none, for it can be made again. Where good
    bytes lie again in the place of bad ones, that is told too, with their `origin`.
    """
    blob = Blob.objects.get(pk=sha256)
    healed = answer.fixity == GOOD and blob.set_aside
    origin = origin or (_origin(sha256) if healed else "")
    now = timezone.now()
    fields: dict[str, object] = {"fixity": answer.fixity, "checked_at": now}
    if copy is not None:
        fields |= {"copy_fixity": copy.fixity, "copy_checked_at": now}
        if copy.fixity == BAD and answer.fixity == GOOD:
            fields["copied_at"] = None  # made anew by the next round of `archive.copies`
    if healed:
        fields["set_aside"] = ""
    payload = {"blob": sha256, **answer.told()} | ({"second_copy": copy.told()} if copy else {})
    troubled = answer.fixity != GOOD or (copy is not None and copy.fixity != GOOD)
    with transaction.atomic(durable=True):
        Blob.objects.filter(pk=sha256).update(**fields)
        for subject in chains(sha256, originals_only=not troubled and not healed):
            if healed:
                aside = {"set_aside": blob.set_aside} if blob.set_aside != Blob.GONE else {}
                told = {"blob": sha256, "from": origin, **aside}
                custody.record(subject, event="item.restored", actor=actor, payload=told)
            custody.record(subject, event="item.fixity_checked", actor=actor, payload=payload)
        if BAD in (answer.fixity, copy.fixity if copy else None):
            custody.record("system:main", event="system.fixity_failed", actor=actor, payload=payload)
        if answer.fixity == BAD and repair:
            jobs.enqueue("archive.restore", subject=blob, once=True, payload={"sha256": sha256})


def _origin(sha256: str) -> str:
    """Where good bytes came from that nobody told of: whoever was killed after the second copy gave them, or intake."""
    second = vault.second_copy()
    try:
        return "second copy" if second is not None and second.same_seal(sha256) else "intake"
    except OSError:
        return "unknown"


def chains(sha256: str, *, originals_only: bool = False) -> list[str]:
    """Subjects of the items that have these bytes as original or rendition, in the order in which all lock them."""
    items = set(Item.objects.filter(blob_id=sha256).values_list("pk", flat=True))
    if not originals_only:
        items |= set(Rendition.objects.filter(blob_id=sha256).values_list("item_id", flat=True))
    return sorted(f"item:{pk}" for pk in items)


# --- auditing ---------------------------------------------------------------------------------------------------------


@dataclass
class Audit:
    """What an audit found so far: counts of answers in the vault and in the second copy, and what is wrong."""

    vault: Counter[str] = field(default_factory=Counter)
    copy: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def answer(self) -> Blob.Fixity:
        """The worst of all, bad before could not read."""
        seen = {name for counts in (self.vault, self.copy) for name, count in counts.items() if count}
        return BAD if BAD in seen else UNREAD if UNREAD in seen else GOOD


class Pace:
    """A progress that sleeps, so that no more than `rate` bytes are read in a second; 0 is no limit."""

    def __init__(
        self,
        rate: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._start, self._read, self._last = clock(), 0, 0

    def __call__(self, step: str, done: int, total: int | None = None) -> None:
        self._read += done - self._last if done > self._last else done
        self._last = 0 if done == total else done
        if self._rate:
            ahead = self._read / self._rate - (self._clock() - self._start)
            if ahead > 0:
                self._sleep(ahead)


def due(before: datetime, *, now: datetime | None = None) -> "QuerySet[Blob]":
    """Files not checked since `before`, and those that could not be read a day ago.

    What came in within the hour is left to be read back by its own job.
    """
    return Blob.objects.expected().filter(_is_due(before, now or timezone.now()))


def _is_due(before: datetime, now: datetime) -> Q:
    retry = Q(fixity=UNREAD, checked_at__lt=now - AGAIN_AFTER)
    never = Q(checked_at=None, stored_at__lte=max(before, now - SETTLED_AFTER))
    return never | retry | Q(checked_at__lt=before)


def oldest_first(before: datetime) -> Iterator[str]:
    """Hashes of what is due, never checked first, then the oldest check first; each once."""
    waiting = due(before).order_by(F("checked_at").asc(nulls_first=True), "stored_at", "pk")
    seen: set[str] = set()
    while page := [pk for pk in waiting.values_list("pk", flat=True)[:200] if pk not in seen]:
        seen |= set(page)
        yield from page


def audit(
    hashes: Iterator[str],
    *,
    actor: Actor,
    rate: int | None = None,
    until: Callable[[], bool] = lambda: False,
    told: Callable[[str, Answer, Answer | None], None] = lambda sha256, answer, copy: None,
) -> Audit:
    """Check these files in the vault and, where there is one, in the second copy, and record what is found.

    What is bad is read a second time before it is believed. `until` is asked before each file whether to stop. `rate` is in bytes per second, by default AMPARO_FIXITY_RATE.
    Raises KeyUnavailable, Damaged (the vault does not open), and Unreachable when nothing can be read in a place:
    then the files that were not reached keep their turn.
    """
    held, second = vault.default_vault(), vault.second_copy()
    pace = Pace(settings.FIXITY_RATE if rate is None else rate)
    found, in_a_row = Audit(), Counter[str]()
    held.identity()
    absent = away(second)
    for sha256 in hashes:
        if until():
            break
        copied = second is not None and not absent and _copied(sha256)
        answer = look(held, sha256, progress=pace)
        if answer.fixity == BAD:
            with held.storage.repairing():  # whatever is being restored now is whole again then
                again = look(held, sha256, progress=pace)
            log.warning("read back twice", extra={"blob": sha256, "answers": [answer.fixity, again.fixity]})
            answer = again
        copy = look(second.vault, sha256, progress=pace) if second is not None and copied else None
        keep(sha256, answer, copy, actor=actor)
        told(sha256, answer, copy)
        for place, part, counts in (("vault", answer, found.vault), ("second copy", copy, found.copy)):
            if part is not None:
                counts[str(part.fixity)] += 1
                in_a_row[place] = in_a_row[place] + 1 if part.fixity == UNREAD else 0
                if part.fault:
                    found.faults.append(f"{sha256} in the {place}: {part.fault}")
        if in_a_row["vault"] >= GIVE_UP_AFTER:
            raise Unreachable(
                f"{GIVE_UP_AFTER} files in a row could not be read in the vault. {answer.fault}"
            )
        if copy is not None and in_a_row["second copy"] >= GIVE_UP_AFTER:
            absent = copy.fault
    if absent:
        raise Unreachable(f"The vault was checked, its second copy could not be read. {absent}")
    return found


def away(second: SecondCopy | None) -> str:
    """Why the second copy cannot be read now; empty where it can, or there is none."""
    try:
        if second is not None:
            second.require()
    except (OSError, AmparoError) as error:
        return _words(error)
    return ""


def _copied(sha256: str) -> bool:
    return Blob.objects.filter(pk=sha256).exclude(copied_at=None).exists()


@duty("archive.fixity", every=EVERY, limit_s=24 * 3600)
def audit_due() -> None:
    """Check what is due, for some minutes; the next round goes on. Raises Unreachable so that silence is none."""
    started = time.monotonic()
    before = timezone.now() - timedelta(days=settings.FIXITY_DAYS)
    audit(
        oldest_first(before),
        actor=Actor.system("worker"),
        until=lambda: time.monotonic() - started > SLICE_S,
    )


@duty("archive.tidy", every=timedelta(hours=1))
def tidy() -> None:
    """Empty scratch of what the dead left, and the vault of their half-written files."""
    vault.empty_scratch()


# --- what people see --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """All stored files by what is known of them. Times are those of the check that is longest ago."""

    good: int
    bad: int
    could_not_read: int
    never: int
    due: int
    oldest: datetime | None
    next_due: datetime | None
    has_second_copy: bool
    without_second_copy: int
    without_second_copy_overdue: int
    copy_bad: int
    copy_could_not_read: int


def summary(now: datetime | None = None) -> Summary:
    """How the vault stands, from the rows alone."""
    now = now or timezone.now()
    interval = timedelta(days=settings.FIXITY_DAYS)
    missing = Q(copied_at=None)

    def those(which: Q) -> Count:
        return Count("pk", filter=which)

    counted = Blob.objects.expected().aggregate(  # one pass over the rows
        good=those(Q(fixity=GOOD)),
        bad=those(Q(fixity=BAD)),
        could_not_read=those(Q(fixity=UNREAD)),
        never=those(Q(fixity=Blob.Fixity.NEVER)),
        due=those(_is_due(now - interval, now)),
        oldest=Min("checked_at"),
        without_second_copy=those(missing),
        without_second_copy_overdue=those(missing & Q(stored_at__lt=now - COPY_WITHIN)),
        copy_bad=those(Q(copy_fixity=BAD)),
        copy_could_not_read=those(Q(copy_fixity=UNREAD)),
    )
    if not settings.SECOND_COPY:
        counted |= {"without_second_copy": 0, "without_second_copy_overdue": 0}
    oldest = counted["oldest"]
    return Summary(
        **counted, has_second_copy=bool(settings.SECOND_COPY), next_due=oldest and oldest + interval
    )
