"""Evidence bundles: ask for one, build it, take it out. docs/bundle.md says what is in one.

request   a person's (or the shell operator's) act: row, event, and the job that builds
build     in a worker: into the vault, as encrypted .zip or .zip.age; nothing in plain text rests on disk but in scratch
export    at the shell: request and build in one, into a folder or file where the operator says; goes on after a kill
cancel    a person stops one that is not finished; what was written of it is removed
download  a person takes a built bundle out: events, the disclosure record, then the bytes
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from archive import access, custody, jobs, vault
from archive.custody import Actor
from archive.custody.batch import record_each
from archive.errors import AmparoError, BadInput, Conflict, Disposed, NotFound, StorageFull
from archive.jobs import job
from archive.models import Blob, Case, Item, Job
from archive.vault import Progress, silent
from evidence import bag, consent, making, recipients, register
from evidence.draft import Draft
from evidence.making import VERIFIER, Volume, fingerprint
from evidence.models import Bundle, BundleItem, BundleVolume, ConsentOverride, DisclosureRecord, Redaction
from evidence.terms import Terms
from evidence.work import UNFINISHED, Stopped, Work

__all__ = ["VERIFIER", "build", "cancel", "download", "export", "fingerprint", "request", "resume"]

log = logging.getLogger("amparo.evidence")

ATTEMPTS = 3
BATCH = 500


# --- asking -------------------------------------------------------------------------------------------------


def request(
    *, case: Case, actor: Actor, items: Iterable[UUID] | None = None, reason: str = "", **terms: Any
) -> Bundle:
    """Ask for a bundle of these items (None: all of the case); a worker builds it into the vault.

    `terms` are those of evidence.terms.Terms. Raises NotAllowed without the export permission, BadInput for items that
    are not the case's or none at all, ConsentConflict, KeyUnavailable without a signing key.
    """
    return _request(case, actor, items, reason, Terms(**terms), Bundle.Kept.VAULT)


def _request(
    case: Case, actor: Actor, items: Iterable[UUID] | None, reason: str, terms: Terms, kept: Bundle.Kept
) -> Bundle:
    access.require(actor, "export", case)
    chosen = _choose(case, items)
    if terms.files == Bundle.Files.REDACTED:
        _require_redacted(case, chosen)
    looked = consent.look(chosen, terms.destination)
    if looked.conflicts and not terms.override.strip():
        raise consent.ConsentConflict(looked)
    now, listed = timezone.now(), hashlib.sha256()
    for pk in chosen:
        listed.update(f"{pk}\n".encode())
    bundle = Bundle(
        case=case,
        item_count=len(chosen),
        items_sha256=listed.hexdigest(),
        disclosed=list(terms.disclosed),
        destination=terms.destination,
        files=terms.files,
        pictures=terms.pictures,
        recipient=terms.recipient.strip(),
        basis=terms.basis.strip(),
        approved_by=terms.approved_by.strip(),
        recipient_keys=[key for _, key in terms.keys],
        recipient_names="\n".join(name for name, _ in terms.keys),
        volume_size=terms.volume_size,
        key=fingerprint(),
        kept=kept,
        requested_by=actor.user,
        requested_at=now,
    )
    facts = {
        "sources": looked.sources,
        "conflicts": len(looked.conflicts),
        "no_source": looked.without_source,
    }
    with transaction.atomic(durable=True):
        custody.write(
            bundle, event="bundle.requested", actor=actor, reason=reason.strip(), also={"consent": facts}
        )
        for conflict in looked.conflicts:
            row = ConsentOverride(
                bundle=bundle,
                source=conflict.source,
                destination=terms.destination,
                conflicts=list(conflict.rules),
                reason=terms.override.strip()[:1000],
                by=actor.user,
                at=now,
            )
            custody.write(row, event="source.consent_overridden", actor=actor, reason=row.reason)
        for start in range(0, len(chosen), BATCH):
            BundleItem.objects.bulk_create(
                BundleItem(bundle=bundle, item_id=pk) for pk in chosen[start : start + BATCH]
            )
        if kept == Bundle.Kept.VAULT:
            jobs.enqueue("evidence.build", subject=bundle, once=True, payload={"bundle": str(bundle.pk)})
    return bundle


def _choose(case: Case, items: Iterable[UUID] | None) -> list[UUID]:
    held = set(Item.objects.filter(case=case).values_list("pk", flat=True))
    chosen = held if items is None else set(items)
    if chosen - held:
        raise BadInput(
            f"{len(chosen - held)} of these items are not in case {case.code}. Nothing was exported."
        )
    if not chosen:
        raise BadInput("There is no item to export: choose at least one.")
    return sorted(chosen)


def _require_redacted(case: Case, chosen: list[UUID]) -> None:
    approved = Redaction.objects.filter(item__case=case, state=Redaction.State.APPROVED)
    lacking = set(chosen) - set(approved.values_list("item_id", flat=True))
    if lacking:
        first = (
            Item.objects.filter(pk__in=sorted(lacking)[:BATCH]).select_related("case").order_by("number")[:10]
        )
        raise BadInput(
            f"{len(lacking)} of these items have no approved redaction ({', '.join(item.code for item in first)}"
            f"{' ...' if len(lacking) > 10 else ''}), and this bundle holds redacted files only. Nothing was exported: "
            "redact them, or leave them out."
        )


# --- building -----------------------------------------------------------------------------------------------


@job("evidence.build", queue="default", attempts=ATTEMPTS, limit_s=7 * 24 * 3600)
def build(row: Job, case: Case) -> None:
    """Build a requested bundle into the vault. A further run goes on with the first volume that is not there yet."""
    bundle = Bundle.objects.select_related("case").get(pk=row.payload["bundle"])
    if bundle.state not in UNFINISHED:
        return
    actor = Actor.system("worker")
    try:
        work = Work(bundle)
        for volume in _volumes(bundle, work, actor):
            with making.entries(volume, work) as entries:
                pieces = bag.zip_pieces(entries, volume.name, bundle.requested_at)
                if bundle.recipient_keys:
                    stored = recipients.encrypted(pieces, bundle.recipient_keys, vault.put)
                else:
                    stored = vault.put(bag.Stream(pieces))
            _record_volume(volume, actor, stored.size, stored)
        _record_items(bundle, actor)
        _finish(bundle, actor)
    except Stopped:
        _remove_volumes(bundle)
    except Exception as error:
        if row.attempts >= ATTEMPTS or isinstance(error, AmparoError) and not error.retry:
            _fail(bundle, actor, error)
        raise


def _volumes(bundle: Bundle, work: Work, actor: Actor) -> Iterator[Volume]:
    """The volumes that are not finished yet, in order, all cut at the same checkpoint."""
    consent.require(bundle)
    of = _plan(bundle)
    checkpoint = work.checkpoint(actor)
    done = set(bundle.volumes.values_list("number", flat=True))
    for number in range(1, of + 1):
        if number not in done:
            work.volume(number, of)
            yield Volume(bundle, number, of, checkpoint)


def _plan(bundle: Bundle) -> int:
    """Put each item into a volume, where an earlier attempt has not; return how many volumes there are."""
    waiting = BundleItem.objects.filter(bundle=bundle, volume=0)
    if waiting.exists():
        if not bundle.volume_size:
            waiting.update(volume=1)
            return 1
        redacted = dict(
            Redaction.objects.filter(item__bundle_entries__bundle=bundle, state=Redaction.State.APPROVED)
            .values_list("item_id")
            .annotate(octets=Sum("rendition__blob__size"))
            if bundle.files != Bundle.Files.ORIGINALS
            else ()
        )
        volume, held = 1, 0
        batch: list[int] = []
        with transaction.atomic(durable=True):
            rows = waiting.order_by("item__number").values_list("pk", "item_id", "item__size")
            for pk, item, size in rows.iterator(chunk_size=2000):
                size = (0 if bundle.files == Bundle.Files.REDACTED else size) + redacted.get(item, 0)
                if held and held + size > bundle.volume_size:
                    _put(batch, volume)
                    volume, held = volume + 1, 0
                held += size
                batch.append(pk)
                if len(batch) == BATCH:
                    _put(batch, volume)
            _put(batch, volume)
    return BundleItem.objects.filter(bundle=bundle).order_by("-volume").values_list("volume", flat=True)[0]


def _put(batch: list[int], volume: int) -> None:
    BundleItem.objects.filter(pk__in=batch).update(volume=volume)
    batch.clear()


# --- at the shell -------------------------------------------------------------------------------------------


def export(
    *,
    case: Case,
    out: Path,
    actor: Actor,
    items: Iterable[UUID] | None = None,
    reason: str = "",
    as_zip: bool = False,
    progress: Progress = silent,
    **terms: Any,
) -> Bundle:
    """Write a bundle to a path that does not exist yet: all of it or, when this raises, nothing.

    With recipients it is one .zip.age; with a volume size a folder of one or more volumes. The items' events are recorded before the
    bundle appears under its name. What a killed export left for the same path is removed first. Raises as `request`,
    and BadInput when the path exists or cannot be written, StorageFull, Damaged, NotWitnessed, Stopped when somebody
    cancelled it.
    """
    out = out.absolute()
    if os.path.lexists(out) or not out.parent.is_dir():
        raise BadInput(
            f"{out} exists already, or its folder does not. Nothing was exported: name another path."
        )
    for left in Draft.left(out):
        _give_up(left, actor)
    bundle = _request(case, actor, items, reason, Terms(**terms), Bundle.Kept.SHELL)
    with _failing(bundle, actor):
        draft = Draft.begin(out, bundle)
    return _write(bundle, draft, actor, as_zip, progress)


def resume(*, out: Path, actor: Actor, as_zip: bool = False, progress: Progress = silent) -> Bundle:
    """Go on with the export to this path that was killed. Raises NotFound where there is none, and as `export`."""
    drafts = Draft.left(out.absolute())
    for draft in drafts:
        bundle = (
            Bundle.objects.select_related("case").filter(pk=draft.bundle(), kept=Bundle.Kept.SHELL).first()
        )
        if bundle is not None and bundle.state == Bundle.State.BUILT:
            draft.publish()
            return bundle
        if bundle is not None and bundle.state == Bundle.State.REQUESTED:
            access.require(actor, "export", bundle.case)
            return _write(bundle, draft, actor, as_zip, progress)
    raise NotFound(
        f"No export to {out} was cut off that could go on. Nothing was changed: leave out --resume."
    )


def _write(bundle: Bundle, draft: Draft, actor: Actor, as_zip: bool, progress: Progress) -> Bundle:
    with draft, _failing(bundle, actor, draft):
        work = Work(bundle, progress)
        for volume in _volumes(bundle, work, actor):
            place = draft.whole / _packed(volume, as_zip) if bundle.volume_size else draft.whole
            place.parent.mkdir(mode=0o700, exist_ok=True)
            if not as_zip and not bundle.recipient_keys:
                volume.known = draft.clear(place, draft.known(volume.number))
            with making.entries(volume, work) as entries:
                if bundle.recipient_keys:
                    pieces = bag.zip_pieces(entries, volume.name, bundle.requested_at)
                    size = recipients.write_file(pieces, bundle.recipient_keys, place)
                elif as_zip:
                    size = bag.write_file(bag.zip_pieces(entries, volume.name, bundle.requested_at), place)
                else:
                    size = bag.write_folder(entries, place, partial(draft.written, volume.number))
                    size += sum(digests.size for digests in volume.known.values())
            _record_volume(volume, actor, size)
        if draft.whole.is_dir():
            bag.sync(draft.whole)
        bag.sync(draft.folder)
        _record_items(bundle, actor)
        _finish(bundle, actor, register.record(bundle, actor, DisclosureRecord.Way.SHELL))
        draft.publish()
    return bundle


def _packed(volume: Volume, as_zip: bool) -> str:
    one_file = as_zip or volume.bundle.recipient_keys
    return volume.name + (volume.bundle.ending if one_file else "")


@contextmanager
def _failing(bundle: Bundle, actor: Actor, draft: Draft | None = None) -> Iterator[None]:
    """Remove what was written, and say in the log that it failed or who stopped it. The error stays the caller's."""
    try:
        yield
    except BaseException as error:
        if draft is not None and draft.folder.exists():
            draft.discard()
        if isinstance(error, KeyboardInterrupt):
            cancel(bundle=bundle, actor=actor)
        elif not isinstance(error, Stopped):
            _fail(bundle, actor, error)
        if isinstance(error, OSError):
            raise _plain(error) from error
        raise


def _give_up(draft: Draft, actor: Actor) -> None:
    """Remove what a killed export left; its bundle was not built. Raises Conflict where it was, but for its name."""
    bundle = Bundle.objects.filter(pk=draft.bundle()).first()
    if bundle is not None and bundle.state == Bundle.State.BUILT and draft.whole.exists():
        raise Conflict(
            f"A finished bundle waits to appear as {draft.out}. Nothing was exported: the same command with --resume "
            "gives it its name."
        )
    if bundle is not None and bundle.state == Bundle.State.REQUESTED:
        _fail(bundle, actor, BadInput("Its export was killed, and another took its place."))
    draft.discard()


def _plain(error: OSError) -> AmparoError:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return StorageFull(
            "There is no room for the bundle. What was written of it is removed: make room and repeat."
        )
    return BadInput(
        f"The bundle cannot be written there: {error.strerror or error}. What was written of it is removed."
    )


# --- what the log says of it --------------------------------------------------------------------------------


def _record_items(bundle: Bundle, actor: Actor) -> None:
    """Say in each item's chain, once, that it went into this bundle. Raises Stopped when that was cancelled."""
    waiting = BundleItem.objects.filter(bundle=bundle, recorded=False)
    unfinished = Bundle.objects.filter(pk=bundle.pk, state__in=UNFINISHED)
    while True:
        with transaction.atomic(durable=True):
            if not unfinished.select_for_update().exists():
                raise Stopped
            batch = list(
                waiting.select_for_update(of=("self",)).select_related("item").order_by("item_id")[:BATCH]
            )
            if not batch:
                return
            for entry in batch:
                custody.record(
                    entry.item,
                    event="item.exported",
                    actor=actor,
                    payload={"bundle": str(bundle.pk), "original": entry.item.sha256, "files": bundle.files},
                )
            waiting.filter(pk__in=[entry.pk for entry in batch]).update(recorded=True)


def _record_volume(volume: Volume, actor: Actor, size: int, stored: vault.Stored | None = None) -> None:
    now = timezone.now()
    row = BundleVolume(
        bundle=volume.bundle,
        number=volume.number,
        of=volume.of,
        item_count=volume.items,
        size=size,
        blob_id=stored.sha256 if stored else None,
        statement_sha256=volume.statement_sha256,
        built_at=now,
    )
    with transaction.atomic(durable=True):
        if stored:
            blob = Blob(sha256=stored.sha256, size=stored.size, stored_at=now)
            Blob.objects.bulk_create([blob], ignore_conflicts=True)
        custody.write(row, event="bundle.volume_built", actor=actor)


def _finish(bundle: Bundle, actor: Actor, disclose: Callable[[], None] = lambda: None) -> None:
    octets = bundle.volumes.aggregate(octets=Sum("size"))["octets"]
    with transaction.atomic(durable=True):
        _expecting(
            bundle, event="bundle.built", actor=actor, state=Bundle.State.BUILT, problem="", size=octets
        )
        disclose()


def _expecting(bundle: Bundle, *, event: str, actor: Actor, reason: str = "", **fields: Any) -> None:
    """Change an unfinished bundle. Raises Stopped when somebody cancelled it meanwhile."""
    try:
        custody.change(
            bundle,
            event=event,
            actor=actor,
            reason=reason,
            expect={"state__in": UNFINISHED},
            finished_at=timezone.now(),
            **fields,
        )
    except Conflict as error:
        raise Stopped from error


def _fail(bundle: Bundle, actor: Actor, error: BaseException) -> None:
    """Say that it could not be built. What failed stays the error that the caller raises."""
    words = error.sentence if isinstance(error, AmparoError) else type(error).__name__
    try:
        with transaction.atomic(durable=True):
            _expecting(
                bundle,
                event="bundle.failed",
                actor=actor,
                reason=words,
                state=Bundle.State.FAILED,
                problem=words[:1000],
            )
    except Stopped:
        log.info("a cancelled bundle failed", extra={"bundle": str(bundle.pk)})


# --- stopping it --------------------------------------------------------------------------------------------


def cancel(*, bundle: Bundle, actor: Actor) -> None:
    """Stop a bundle that is not finished. What was written of it is removed, by whoever writes it, or here.

    Raises NotAllowed, Conflict when it is built by now.
    """
    access.require(actor, "export", bundle.case)
    with transaction.atomic(durable=True):
        custody.change(
            bundle,
            event="bundle.cancelled",
            actor=actor,
            expect={"state__in": UNFINISHED},
            state=Bundle.State.CANCELLED,
            finished_at=timezone.now(),
        )
    running = Job.objects.filter(
        name="evidence.build", payload__bundle=str(bundle.pk), state=Job.State.RUNNING
    )
    if not running.exists():
        _remove_volumes(bundle)


def _remove_volumes(bundle: Bundle) -> None:
    """Take the finished volumes of a cancelled bundle out of the vault. Nobody was ever given them."""
    for volume in bundle.volumes.exclude(blob=None).filter(blob__destroyed_at=None):
        Blob.objects.filter(pk=volume.blob_id).update(destroyed_at=timezone.now())
        vault.destroy(volume.blob_id)


# --- taking it out ------------------------------------------------------------------------------------------


def download(*, bundle: Bundle, actor: Actor, number: int = 1) -> BundleVolume:
    """Record that a person takes a volume of a built bundle out, as a disclosure to its recipient; return the volume.

    Raises NotAllowed, NotFound for a volume that there is not, BadInput while it is not built, ConsentConflict when
    consent was withdrawn since it was asked for.
    """
    access.require(actor, "export", bundle.case)
    if bundle.state != Bundle.State.BUILT or bundle.kept != Bundle.Kept.VAULT:
        raise BadInput("This bundle cannot be downloaded: it is not built, or was written at the shell.")
    volume = bundle.volumes.exclude(blob=None).filter(number=number).first()
    if volume is None:
        raise NotFound(f"This bundle has no volume {number}.")
    if volume.blob.destroyed_at is not None:
        raise Disposed(
            "This volume was destroyed, because an item in it was disposed of. Ask for the bundle again: it will hold "
            "the others, and the history of that one."
        )
    consent.require(bundle)
    disclose = register.record(bundle, actor, DisclosureRecord.Way.DOWNLOAD, volume=number)
    with transaction.atomic(durable=True):
        custody.record(
            bundle,
            event="bundle.downloaded",
            actor=actor,
            payload={"sha256": volume.blob_id, "volume": number},
        )
        entries = bundle.entries.filter(volume=number).order_by().values_list("item_id", flat=True)
        told = {"bundle": str(bundle.pk), "volume": number}
        record_each((Item(pk=pk) for pk in entries), event="item.taken_out", actor=actor, payload=told)
        disclose()
    return volume
