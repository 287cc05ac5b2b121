"""The second copy kept up to date, and damaged files given back from it.

copy_item   a job in the transaction that stored the item
copy_due    a duty: everything that has no second copy yet
restore     a damaged file: set aside, replaced from the second copy, read back; each step can be killed and repeated
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from archive import custody, fixity, jobs, vault
from archive.custody import Actor
from archive.errors import BadInput, Damaged, Missing, NotFound, StorageFull
from archive.jobs import job
from archive.models import Blob, Item, Job
from archive.schedule import duty
from archive.vault import Progress, SecondCopy, Unreachable, Vault, silent

log = logging.getLogger("amparo.copies")
NONE_CONFIGURED = "No second copy is configured. Nothing was done: set AMPARO_SECOND_COPY, and restart."
ROUND = 2000  # files that one round of the duty copies at most


# --- writing the second copy ------------------------------------------------------------------------------------------


def bring(sha256: str, second: SecondCopy, *, actor: Actor, progress: Progress = silent) -> bool:
    """Copy one file, read the copy back, and record it; False where a good copy lay there already.

    Raises Unreachable, StorageFull, KeyUnavailable; Damaged and Missing where the vault's own bytes are not good:
    then the file is checked before all others.
    """
    try:
        written = second.bring(sha256, progress=progress)
    except (Damaged, Missing):
        Blob.objects.filter(pk=sha256).update(checked_at=None)
        raise
    now = timezone.now()
    with transaction.atomic(durable=True):
        Blob.objects.select_for_update().get(pk=sha256)
        if not Blob.objects.expected().filter(pk=sha256).exists():  # a disposal came between
            second.vault.destroy(sha256)
            return False
        known = Blob.objects.filter(pk=sha256, copied_at=None)
        if known.update(copied_at=now, copy_fixity=fixity.GOOD, copy_checked_at=now):
            for subject in fixity.chains(sha256, originals_only=True):
                payload = {"blob": sha256, "where": second.where}
                custody.record(subject, event="item.copied", actor=actor, payload=payload)
    return written


@job(
    "archive.copy",
    attempts=3,
    limit_s=24 * 3600,
    after="item.stored" if settings.SECOND_COPY else "",
)
def copy_item(row: Job, item: Item) -> None:
    """Write the second copy of an original that has just come in."""
    second = vault.second_copy()
    if second is None or Blob.objects.filter(pk=item.sha256).exclude(copied_at=None).exists():
        return
    try:
        bring(item.sha256, second, actor=Actor.system("worker"))
    except (OSError, StorageFull) as error:
        # The row goes on saying that there is no copy; the duty goes on trying, and is seen to fail.
        log.warning("no second copy yet", extra={"item": str(item.pk), "error_type": type(error).__name__})


def set_up(*, anew: bool = False) -> SecondCopy:
    """The second copy, its place made ready for the first file; with `anew` a place that has none of the files yet.

    Without it a place that has files by our rows and is empty is one that is not connected. Raises BadInput where none
    is configured, Unreachable, Conflict.
    """
    second = vault.second_copy()
    if second is None:
        raise BadInput(NONE_CONFIGURED)
    copied = Blob.objects.exclude(copied_at=None)
    if anew or not copied.exists():
        second.prepare()
    second.require()
    if anew:
        copied.update(copied_at=None, copy_fixity="", copy_checked_at=None)
    return second


@dataclass
class Copied:
    """What a round came to. `faults` names files that could not be copied, and why."""

    written: int
    already: int
    faults: list[str]


def copy_missing(
    *,
    actor: Actor,
    most: int | None = None,
    progress: Progress = silent,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Copied:
    """Copy every file that has no second copy yet, what waits longest first.

    Raises BadInput where none is configured, Unreachable, StorageFull, KeyUnavailable; what was copied until then is
    kept.
    """
    second = vault.second_copy()
    if second is None:
        raise BadInput(NONE_CONFIGURED)
    second.require()
    missing = Blob.objects.expected().filter(copied_at=None).order_by("stored_at", "pk")
    hashes = list(missing.values_list("pk", flat=True)[:most])
    came = Copied(0, 0, [])
    for number, sha256 in enumerate(hashes, 1):
        try:
            written = bring(sha256, second, actor=actor, progress=progress)
        except (Damaged, Missing) as error:
            came.faults.append(f"{sha256}: {error.sentence}")
        else:
            came.written += written
            came.already += not written
        told(number, len(hashes))
    return came


@duty("archive.copies", every=timedelta(minutes=10), limit_s=24 * 3600)
def copy_due() -> None:
    """Copy what has no second copy. Raises Damaged with the first file that cannot be copied."""
    if vault.second_copy() is None:
        return
    faults = copy_missing(actor=Actor.system("worker"), most=ROUND).faults
    if faults:
        raise Damaged(f"{len(faults)} files could not be copied, the first is {faults[0]}")


# --- quarantine and restore -------------------------------------------------------------------------------------------


class Outcome(StrEnum):
    """What became of a file that was to be restored."""

    GOOD = "good"
    RESTORED = "restored"
    NO_GOOD_COPY = "no good copy"
    UNREAD = "could not read"


@dataclass(frozen=True)
class Restored:
    """The outcome, and what to know or do next."""

    outcome: Outcome
    sentence: str


def restore(sha256: str, *, actor: Actor, progress: Progress = silent) -> Restored:
    """Set a damaged file aside and put the second copy's in its place. docs/vault.md, part 9, numbers the steps.

    Killed at any step and run again, it goes on where it was. One repair at a time. Raises NotFound for a file that no
    row names, StorageFull, KeyUnavailable.
    """
    blob = Blob.objects.expected().filter(pk=sha256).first()
    if blob is None:
        raise NotFound("The archive knows no file with this SHA-256. Nothing was changed.")
    held = vault.default_vault()
    held.storage.prepare()
    with held.storage.repairing():
        found = fixity.look(held, sha256, progress=progress)  # 1
        if found.fixity == fixity.UNREAD:
            return Restored(Outcome.UNREAD, f"{found.fault} {_UNREAD}")
        if found.fixity == fixity.GOOD:
            fixity.keep(sha256, found, None, actor=actor)
            return Restored(Outcome.GOOD, "The file is good. Nothing was changed.")
        if blob.fixity != fixity.BAD:
            fixity.keep(sha256, found, None, actor=actor, repair=False)
        _quarantine(sha256, held, found.fault, actor)  # 2, 3
        second = vault.second_copy()
        if second is None:
            return Restored(Outcome.NO_GOOD_COPY, f"{found.fault} There is no second copy. {_ADVICE}")
        if away := fixity.away(second):
            return Restored(Outcome.UNREAD, f"{away} {_LATER}")
        copy = fixity.look(second.vault, sha256, progress=progress)  # 4
        if copy.fixity == fixity.UNREAD:
            return Restored(Outcome.UNREAD, f"{copy.fault} {_LATER}")
        if copy.fixity == fixity.BAD:
            fixity.keep(sha256, found, copy, actor=actor, repair=False)
            return Restored(
                Outcome.NO_GOOD_COPY, f"The second copy is not good either: {copy.fault} {_ADVICE}"
            )
        second.give_back(sha256, progress=progress)  # 5, 6, 7
        fixity.keep(sha256, copy, copy, actor=actor, origin="second copy")  # 8
        return Restored(Outcome.RESTORED, f"Restored from {second.where}, and read back.")


_ADVICE = (
    "What was damaged is kept in the vault's folder quarantine/. Take the same file in again from whoever has it, or put "
    "it and the .key file beside it back from a backup, and run: vault audit"
)
_LATER = (
    "What was damaged is kept in quarantine/. Run `vault restore` again when the second copy can be read."
)
_UNREAD = (
    "Nothing was changed. Make the disk readable and run this again; if it never answers for this one file, move that "
    "file out of the vault's folder by hand first."
)


def _quarantine(sha256: str, held: Vault, fault: str, actor: Actor) -> None:
    """First the event with the name that the file will have, then the move: a kill in between is made good later."""
    name, storage = held.name_of(sha256), held.storage
    blobs = Blob.objects.filter(pk=sha256)
    aside = blobs.values_list("set_aside", flat=True).get()
    if not storage.holds(name):
        if not aside:
            blobs.update(set_aside=Blob.GONE)
        return
    free = storage.free_aside(name)
    if aside != free:
        payload = {"blob": sha256, "set_aside": free, "fault": fault}
        with transaction.atomic(durable=True):
            blobs.update(set_aside=free)
            for subject in fixity.chains(sha256):
                custody.record(subject, event="item.quarantined", actor=actor, payload=payload)
    storage.set_aside(name, free)


@job("archive.restore", attempts=3, limit_s=24 * 3600)
def restore_one(row: Job, subject: None) -> None:
    """Restore the file that the job names. Raises Damaged, with what to do, where there are no good bytes."""
    came = restore(row.payload["sha256"], actor=Actor.system("worker"))
    if came.outcome == Outcome.NO_GOOD_COPY:
        raise Damaged(came.sentence)
    if came.outcome == Outcome.UNREAD:
        raise Unreachable(came.sentence)


@duty("archive.restore_bad", every=timedelta(days=1))
def restore_bad() -> None:
    """Ask again for the repair of what is bad and has a second copy that may be good."""
    if vault.second_copy() is None:
        return
    bad = Blob.objects.expected().filter(fixity=fixity.BAD).exclude(copied_at=None)
    for blob in bad.exclude(copy_fixity=fixity.BAD).iterator():
        with transaction.atomic(durable=True):
            jobs.enqueue("archive.restore", subject=blob, once=True, payload={"sha256": blob.pk})
