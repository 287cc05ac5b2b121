"""Disposal: one person asks, another answers, a worker destroys. docs/retention.md says what is reached and what is not.

request, request_destruction   a person names items, or a source's identity, with reason and authority
approve, decline, withdraw     another person answers; never the one who asked; nothing under hold or within retention
carry_out                      after COMMIT of the approval: item by item, bytes first, then the event that says so

A death between an item's bytes and its event leaves bytes gone under an approval that stands: the job goes on there.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from archive import access, custody, holds, identities, jobs, vault
from archive.custody import Actor, Private
from archive.custody.batch import record_each
from archive.errors import AmparoError, BadInput, Conflict, Damaged, Missing, NotFound
from archive.jobs import job
from archive.models import Blob, Case, CustodyEvent, Disposal, DisposalItem, Item, Job, Rendition, Source

CHUNK = 500
STATE = Disposal.State

# Other floors: what holds a copy of an item's bytes lets go of it, and returns the blobs that it alone named.
HOLDERS: list[Callable[[Item, Actor], list[str]]] = []


def holds_copies(function: Callable[[Item, Actor], list[str]]) -> Callable[[Item, Actor], list[str]]:
    """Declare a function that lets go of copies of an item's bytes, in the transaction of its disposal."""
    HOLDERS.append(function)
    return function


# --- asking -----------------------------------------------------------------------------------------------------


def request(
    *, case: Case, actor: Actor, reason: str, authority: str, items: Iterable[UUID] | None = None
) -> Disposal:
    """Ask that these items' bytes be destroyed (None: of all items that the case holds).

    Raises NotAllowed; BadInput without reason or authority, for items that are not the case's, that were disposed of,
    that are asked for already, or under hold or within retention.
    """
    access.require(actor, "request_disposal", case)
    reason, authority = _words(reason, authority)
    with transaction.atomic(durable=True):
        case = holds.lock(case)
        chosen = _choose(case, items)
        _require_free(case, chosen)
        disposal = custody.write(
            Disposal(
                case=case,
                what=Disposal.What.ITEMS,
                item_count=len(chosen),
                items_sha256=_list_hash(chosen),
                reason=reason,
                authority=authority,
                requested_by=actor.user,
                requested_at=timezone.now(),
            ),
            event="case.disposal_requested",
            actor=actor,
        )
        DisposalItem.objects.bulk_create(
            (DisposalItem(disposal=disposal, item_id=pk) for pk in chosen), batch_size=CHUNK
        )
        _tell_items(disposal, "item.disposal_requested", actor)
    return disposal


def request_destruction(
    *, source: Source, actor: Actor, reason: str, authority: str, with_pseudonym: bool = False
) -> Disposal:
    """Ask that a source's identity be destroyed, with its pseudonym where that would name it too.

    Raises NotAllowed, NotFound where there is none, Conflict where it is asked for already, BadInput as `request`.
    """
    access.require(actor, "request_disposal", source.case)
    reason, authority = _words(reason, authority)
    if source.identity_sealed is None and not (with_pseudonym and source.pseudonym):
        raise NotFound("There is no identity to destroy: none is recorded for this source.")
    try:
        with transaction.atomic(durable=True):
            holds.lock(source.case)
            holds.require_none(holds.on_identity(source))
            return custody.write(
                Disposal(
                    case=source.case,
                    what=Disposal.What.IDENTITY,
                    source=source,
                    with_pseudonym=with_pseudonym,
                    reason=reason,
                    authority=authority,
                    requested_by=actor.user,
                    requested_at=timezone.now(),
                ),
                event="source.destruction_requested",
                actor=actor,
            )
    except IntegrityError as error:
        raise Conflict("Its destruction is asked for already: another person has to answer that.") from error


def open_entries(case: Case) -> QuerySet[DisposalItem]:
    """Items of a case whose disposal is asked for or approved, and not done."""
    undecided = [STATE.REQUESTED, STATE.APPROVED]
    return DisposalItem.objects.filter(
        disposal__case=case, disposal__state__in=undecided, disposed_at=None
    ).order_by()


def _choose(case: Case, items: Iterable[UUID] | None) -> list[UUID]:
    asked = set(open_entries(case).values_list("item_id", flat=True))
    held = set(Item.objects.filter(case=case).held().order_by().values_list("pk", flat=True))
    chosen = held - asked if items is None else set(items)
    if chosen - held:
        raise BadInput(
            f"{len(chosen - held)} of these items are not in case {case.code}, or were disposed of already. "
            "Nothing was asked for."
        )
    if chosen & asked:
        raise BadInput(
            f"The disposal of {len(chosen & asked)} of these items is asked for already. Nothing was asked for."
        )
    if not chosen:
        raise BadInput("There is no item to dispose of: choose at least one.")
    return sorted(chosen)


def _words(reason: str, authority: str) -> tuple[str, str]:
    reason = holds.required(reason, "Say why: the reason goes into the custody log and the certificate.")
    authority = holds.required(authority, "Name the rule, the order or the wish that allows it.")
    if len(authority) > 400:
        raise BadInput("At most 400 characters for the authority: write it shorter.")
    return reason, authority


def _list_hash(items: list[UUID]) -> str:
    return hashlib.sha256("".join(f"{pk}\n" for pk in sorted(map(str, items))).encode()).hexdigest()


def _tell_items(disposal: Disposal, event: str, actor: Actor) -> None:
    """The same event in each item's chain, in the caller's transaction."""
    items = disposal.entries.order_by().values_list("item_id", flat=True)
    told = {"disposal": str(disposal.pk)}
    record_each((Item(pk=pk) for pk in items), event=event, actor=actor, payload=told)


# --- what stands in the way -------------------------------------------------------------------------------------


def _require_free(case: Case, items: Collection[UUID]) -> None:
    """Raise BadInput under a hold or within retention."""
    if case.retain_until and case.retain_until > timezone.localdate():
        raise BadInput(
            f"Case {case.code} is to be kept at least until {case.retain_until:%Y-%m-%d}. Nothing is destroyed "
            "before that day.",
            code="retained",
        )
    holds.require_none(holds.on_items(case, items))


def obstacle(case: Case) -> str:
    """Why nothing of a case can be disposed of now, in a sentence; empty where something can."""
    try:
        _require_free(case, [])
    except BadInput as error:
        return error.sentence
    return ""


def obstacle_of(disposal: Disposal) -> str:
    """Why a request cannot be approved now, in a sentence; empty where it can."""
    try:
        if disposal.what == Disposal.What.IDENTITY:
            holds.require_none(holds.on_identity(disposal.source))
        else:
            _require_free(disposal.case, _listed(disposal))
    except AmparoError as error:
        return error.sentence
    return ""


# --- answering --------------------------------------------------------------------------------------------------


def approve(*, disposal: Disposal, actor: Actor, answer: str = "") -> Disposal:
    """Approve what another person asked for. An identity is destroyed at once; items by a worker, after COMMIT.

    Raises NotAllowed, BadInput for one's own request, under hold and within retention, Conflict where it was
    answered meanwhile, Damaged where the list of items is not the one that was asked for.
    """
    disposal = _answerable(disposal, actor)
    destruction = disposal.what == Disposal.What.IDENTITY
    with transaction.atomic(durable=True):
        case = holds.lock(disposal.case)
        if destruction:
            holds.require_none(holds.on_identity(disposal.source))
        else:
            _require_free(case, _listed(disposal))
        now = timezone.now()
        custody.change(
            disposal,
            event="source.destruction_approved" if destruction else "case.disposal_approved",
            actor=actor,
            expect={"state": STATE.REQUESTED},
            state=STATE.DONE if destruction else STATE.APPROVED,
            answered_by=actor.user,
            answered_at=now,
            answer=answer.strip()[:1000],
            finished_at=now if destruction else None,
        )
        if destruction:
            identities.destroy(disposal=disposal, actor=actor)
        else:
            _tell_items(disposal, "item.disposal_approved", actor)
            jobs.enqueue(
                "archive.dispose", subject=disposal, once=True, payload={"disposal": str(disposal.pk)}
            )
    if destruction:
        identities.scrub()
    return disposal


def decline(*, disposal: Disposal, actor: Actor, answer: str) -> Disposal:
    """Decline what another person asked for, with a reason. Raises as `approve`."""
    disposal = _answerable(disposal, actor)
    answer = holds.required(answer, "Say why it is declined: the reason goes into the custody log.")
    return _end(disposal, actor, "declined", answer, answered_by=actor.user, answered_at=timezone.now())


def withdraw(*, disposal: Disposal, actor: Actor) -> Disposal:
    """Take back one's own request before it is answered. Raises NotAllowed for another's, Conflict."""
    access.require(actor, "request_disposal", disposal.case)
    if actor.id != str(disposal.requested_by_id):
        raise BadInput("Only who asked can take it back; you can decline it, if you have the right.")
    return _end(disposal, actor, "withdrawn", "")


def _end(disposal: Disposal, actor: Actor, how: str, answer: str, **fields: Any) -> Disposal:
    items = disposal.what == Disposal.What.ITEMS
    with transaction.atomic(durable=True):
        custody.change(
            disposal,
            event=f"case.disposal_{how}" if items else f"source.destruction_{how}",
            actor=actor,
            expect={"state": STATE.REQUESTED},
            state=how,
            answer=answer,
            **fields,
        )
        if items:
            _tell_items(disposal, f"item.disposal_{how}", actor)
    return disposal


def _answerable(disposal: Disposal, actor: Actor) -> Disposal:
    """The request as it is now, if this person may answer it."""
    access.require(actor, "approve_disposal", disposal.case)
    disposal = Disposal.objects.select_related("case", "source__case", "requested_by").get(pk=disposal.pk)
    if actor.id == str(disposal.requested_by_id):
        raise BadInput(
            "You asked for this yourself: another person has to answer it. Nothing was destroyed.",
            code="own-request",
        )
    if disposal.state != STATE.REQUESTED:
        raise Conflict("This was answered already. Nothing was changed: look again.")
    return disposal


def _listed(disposal: Disposal) -> set[UUID]:
    """Ids of the items of a request, once they are known to be those that it was recorded with."""
    items = list(disposal.entries.order_by().values_list("item_id", flat=True))
    if _list_hash(items) != disposal.items_sha256:
        raise Damaged(
            "The items of this request are no longer those that were asked for. Nothing was destroyed: run "
            "`manage.py custody verify` and keep the database as it is."
        )
    return set(items)


# --- destroying, in a worker ------------------------------------------------------------------------------------


@job("archive.dispose", queue="default", attempts=10, limit_s=12 * 3600)
def carry_out(row: Job, case: Case) -> None:
    """Destroy the bytes of an approved disposal's items. A second run goes on where the first one ended."""
    disposal = Disposal.objects.select_related("case").get(pk=row.payload["disposal"])
    if disposal.state != STATE.APPROVED:
        return
    _listed(disposal)
    approval = approval_of(disposal)
    left = disposal.entries.filter(disposed_at=None).order_by("item_id")
    while (entry := left.first()) is not None:
        _dispose(disposal, entry, approval)
    with transaction.atomic(durable=True):
        custody.change(
            disposal,
            event="case.disposal_done",
            actor=Actor.system("worker"),
            expect={"state": STATE.APPROVED},
            state=STATE.DONE,
            finished_at=timezone.now(),
        )


def approval_of(disposal: Disposal) -> CustodyEvent:
    """The event by which another person approved. Raises Damaged where the log knows of none."""
    kinds = ("case.disposal_approved", "source.destruction_approved")
    events = CustodyEvent.objects.filter(subject=disposal.custody_subject(), type__in=kinds)
    for event in events.order_by("-number"):
        if body_of(event)["payload"].get("id") == str(disposal.pk):
            return event
    raise Damaged(
        "The custody log knows of no approval of this disposal. Nothing was destroyed: run `manage.py custody verify`."
    )


def body_of(event: CustodyEvent) -> dict[str, Any]:
    """What an event says."""
    return json.loads(bytes(event.canonical))


def _dispose(disposal: Disposal, entry: DisposalItem, approval: CustodyEvent) -> None:
    actor, now = Actor.system("worker"), timezone.now()
    with transaction.atomic(durable=True):
        case = holds.lock(disposal.case)
        if DisposalItem.objects.filter(pk=entry.pk).exclude(disposed_at=None).exists():
            return  # by another worker, to which the lease of a slow one went
        item = Item.objects.select_for_update(of=("self",)).select_related("case").get(pk=entry.item_id)
        if item.disposed_at is not None:
            raise Damaged(
                f"Item {item.code} is disposed of, and not by this request. Nothing more was destroyed."
            )
        if Job.objects.filter(item=item, state=Job.State.RUNNING).exists():
            raise Conflict(f"A step still works on item {item.code}: its disposal waits for it.")
        if _is_there(item.sha256):  # else a killed attempt has destroyed it: what is left is to say so
            _require_free(case, {item.pk})
        let_go = [sha256 for holder in HOLDERS for sha256 in holder(item, actor)]
        renditions = list(item.renditions.select_related("blob").order_by("kind", "made_at"))
        for rendition in renditions:
            custody.change(rendition, event="item.rendition_destroyed", actor=actor, destroyed_at=now)
        blobs = _lock_blobs({item.sha256, *(r.blob_id for r in renditions), *let_go})
        kept = {sha256 for sha256 in blobs if _named_by_another(sha256, item, let_go)}
        by = body_of(approval)["actor"]
        custody.change(
            item,
            event="item.disposed",
            actor=actor,
            expect={"disposed_at": None},
            also={
                "original": {"sha256": item.sha256, "size": item.size, "bytes": _fate(item.sha256, kept)},
                "renditions": [
                    {
                        "kind": r.kind,
                        "sha256": r.blob_id,
                        "size": r.blob.size,
                        "bytes": _fate(r.blob_id, kept),
                    }
                    for r in renditions
                ],
                "authority": Private(disposal.authority),
                "requested_by": str(disposal.requested_by_id),
                "approved_by": {"id": by["id"], "role": by["role"]},
                "approval": {"number": approval.number, "event": approval.hash},
            },
            disposed_at=now,
            disposal=disposal,
        )
        DisposalItem.objects.filter(pk=entry.pk).update(disposed_at=now)
        gone = sorted(set(blobs) - kept)
        Blob.objects.filter(pk__in=gone).update(destroyed_at=now)
        for sha256 in (
            gone
        ):  # last, so that all that can still fail has been done; a death here is made good by a retry
            vault.destroy(sha256)


def _is_there(sha256: str) -> bool:
    try:
        vault.open(sha256).close()
    except Missing:
        return False
    except AmparoError:
        return True  # damaged or under a key that is not here, but there
    return True


def _lock_blobs(wanted: set[str]) -> list[str]:
    """Lock the rows, so that whoever is taking in the same bytes waits and then sees that they are gone."""
    rows = Blob.objects.select_for_update().filter(pk__in=wanted).order_by("pk")
    return list(rows.values_list("pk", flat=True))


def _named_by_another(sha256: str, item: Item, let_go: list[str]) -> bool:
    """Whether any row but this item's still names the bytes; what a holder let go of, only originals and renditions."""
    for relation in Blob._meta.related_objects:
        model = relation.related_model
        if sha256 in let_go and model not in (Item, Rendition):
            continue
        rows = model._base_manager.filter(**{relation.field.name: sha256})
        if model is Item:
            rows = rows.filter(disposed_at=None).exclude(pk=item.pk)
        elif model is Rendition:
            rows = rows.filter(destroyed_at=None).exclude(item=item)
        if rows.exists():
            return True
    return False


def _fate(sha256: str, kept: set[str]) -> str:
    return "kept: other rows name them" if sha256 in kept else "destroyed"
