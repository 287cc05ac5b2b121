"""What a person does with a redaction. Each act is an event of the item; no worker gets through here.

begin      a draft, with what models suggest (or with what an earlier redaction had)
save       boxes drawn, moved, confirmed, rejected
confirm    the set is complete: from now on it is a recipe, and a worker renders it
look       the person watches the result
approve    the result may be handed out, says who looked at it
set_aside  a draft, or a result that will not do;  withdraw  an approved one
"""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from archive import access, custody
from archive.custody import Actor
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import Item
from archive.views import files
from evidence.redaction import document, proposals, rendering
from evidence.redaction.models import Redaction, RedactionLook

State = Redaction.State
CHANGED = "Somebody else went on with this redaction first. Nothing of yours was saved: look again."


def why_not(item: Item) -> str:
    """Why an item cannot be redacted here, in a sentence; empty where it can."""
    if getattr(item, "disposed_at", None):
        return _("The bytes of this item were disposed of. There is nothing left to redact.")
    if not item.examined_at:
        return _("This item was not examined yet. Try again once it was; the original is stored.")
    if item.kind not in (Item.Kind.IMAGE, Item.Kind.VIDEO):
        return _(
            "Only pictures and videos can be redacted here. Withhold this item, or cut what it holds elsewhere."
        )
    if not files.sharp_urls(item)[0]:
        return _(
            "No picture of this item could be decoded or is ready to be played, so nobody can see what to cover."
        )
    return ""


def begin(*, item: Item, actor: Actor, based_on: Redaction | None = None) -> Redaction:
    """Start a redaction with what models suggest, or with the boxes of an earlier one.

    Raises NotAllowed, BadInput for an item that cannot be redacted, Conflict where one is open already.
    """
    _require(actor, item)
    if reason := why_not(item):
        raise BadInput(reason)
    if based_on is not None and based_on.item_id != item.pk:
        raise BadInput(_("That redaction is another item's."))
    if based_on is not None:
        draft, analyses = based_on.draft, []
    else:
        regions, analyses = proposals.propose(item)
        sound = {"do": "" if document.has_sound(item) else "remove", "ranges": []}
        draft = {"regions": regions, "sound": sound}
    last = Redaction.objects.filter(item=item).aggregate(last=Max("number"))["last"] or 0
    try:
        with transaction.atomic(durable=True):
            return custody.write(
                Redaction(
                    item=item,
                    number=last + 1,
                    based_on=based_on,
                    begun_by=actor.user,
                    begun_at=timezone.now(),
                    draft=draft,
                    draft_sha256=document.sha256(draft),
                ),
                event="item.redaction_proposed",
                actor=actor,
                also={
                    "original": item.sha256,
                    "suggested": sum("suggestion" in one for one in draft["regions"]),
                    "analyses": [{"id": str(a.pk), "result_sha256": a.result_sha256} for a in analyses],
                },
            )
    except IntegrityError as error:
        raise Conflict(
            "A redaction of this item is open already. Nothing was changed: go on with that one."
        ) from error


def save(*, redaction: Redaction, actor: Actor, untrusted: object, seen: str) -> Redaction:
    """Keep a draft as the screen has it. `seen`: the hash of the draft that the person's page began with.

    Raises NotAllowed, BadInput, Conflict.
    """
    _require(actor, redaction.item)
    draft = document.parse(untrusted, item=redaction.item, before=redaction.draft)
    with transaction.atomic(durable=True):
        return _save(redaction, draft, actor, seen)


def _save(redaction: Redaction, draft: dict[str, Any], actor: Actor, seen: str) -> Redaction:
    sha256 = document.sha256(draft)
    if seen != redaction.draft_sha256:
        raise Conflict(CHANGED)
    if sha256 == seen:
        return redaction
    count = {
        state: sum(one["state"] == state for one in draft["regions"])
        for state in ("suggested", "confirmed", "rejected")
    }
    return custody.change(
        redaction,
        event="item.redaction_changed",
        actor=actor,
        expect={"state": State.DRAFT, "draft_sha256": seen},
        also=count,
        draft=draft,
        draft_sha256=sha256,
    )


def confirm(*, redaction: Redaction, actor: Actor, untrusted: object, seen: str) -> Redaction:
    """Say that the set is complete; a worker renders it. Every suggestion must be confirmed or rejected.

    Raises NotAllowed, BadInput, Conflict.
    """
    item = redaction.item
    _require(actor, item)
    draft = document.parse(untrusted, item=item, before=redaction.draft)
    recipe = document.recipe(draft, item=item, redaction=str(redaction.pk))
    origins = [one["origin"] for one in recipe["regions"]]
    with transaction.atomic(durable=True):
        _save(redaction, draft, actor, seen)
        custody.change(
            redaction,
            event="item.redaction_confirmed",
            actor=actor,
            expect={"state": State.DRAFT, "draft_sha256": redaction.draft_sha256},
            also={
                "original": item.sha256,
                "regions": {name: origins.count(name) for name in sorted(set(origins))},
                "rejected_suggestions": recipe["rejected_suggestions"],
                "sound": recipe["sound"]["do"],
            },
            state=State.CONFIRMED,
            recipe=recipe,
            recipe_sha256=document.sha256(recipe),
            confirmed_by=actor.user,
            confirmed_at=timezone.now(),
        )
        rendering.ask(item)
    return redaction


def look(*, redaction: Redaction, actor: Actor) -> RedactionLook:
    """Record that a person looks at the rendered result. Raises NotAllowed, Conflict where there is none to see."""
    _require(actor, redaction.item)
    if redaction.rendition_id is None:
        raise Conflict(CHANGED)
    with transaction.atomic(durable=True):
        return custody.write(
            RedactionLook(
                item=redaction.item,
                redaction=redaction,
                rendition=redaction.rendition,
                by=actor.user,
                at=timezone.now(),
            ),
            event="item.redaction_viewed",
            actor=actor,
            also={"sha256": redaction.rendition.blob_id},
        )


def approve(*, redaction: Redaction, actor: Actor, statement: str) -> Redaction:
    """Release a rendered result. Only who has looked at this very result can.

    Raises NotAllowed, BadInput without a statement or a look, Conflict.
    """
    _require(actor, redaction.item)
    if not statement.strip():
        raise BadInput(_("Say what you looked at and why it may be handed out. Nothing was approved."))
    if not redaction.looks.filter(by=actor.user, rendition=redaction.rendition_id).exists():
        raise BadInput(_("Look at the rendered result first. Nothing was approved."))
    with transaction.atomic(durable=True):
        return custody.change(
            redaction,
            event="item.redaction_approved",
            actor=actor,
            expect={"state": State.RENDERED},
            also={
                "original": redaction.item.sha256,
                "recipe_sha256": redaction.recipe_sha256,
                "sha256": redaction.rendition.blob_id,
            },
            state=State.APPROVED,
            statement=statement.strip(),
            approved_by=actor.user,
            approved_at=timezone.now(),
        )


def set_aside(*, redaction: Redaction, actor: Actor, reason: str) -> Redaction:
    """Give up a redaction that was not approved. Its history stays. Raises NotAllowed, BadInput, Conflict."""
    return _end(redaction, actor, reason, State.SET_ASIDE, "item.redaction_set_aside", Redaction.OPEN)


def withdraw(*, redaction: Redaction, actor: Actor, reason: str) -> Redaction:
    """Take back an approval: the rendition is no longer handed out. What was handed out is not called back by that.

    Raises NotAllowed, BadInput, Conflict.
    """
    return _end(redaction, actor, reason, State.WITHDRAWN, "item.redaction_withdrawn", (State.APPROVED,))


def _end(
    redaction: Redaction, actor: Actor, reason: str, state: str, event: str, expected: tuple
) -> Redaction:
    _require(actor, redaction.item)
    if not reason.strip():
        raise BadInput(_("Say why: whoever reads the history needs it. Nothing was changed."))
    if redaction.state not in expected:
        raise Conflict(CHANGED)
    with transaction.atomic(durable=True):
        return custody.change(
            redaction,
            event=event,
            actor=actor,
            expect={"state": redaction.state},
            state=state,
            reason=reason.strip(),
            ended_by=actor.user,
            ended_at=timezone.now(),
        )


def _require(actor: Actor, item: Item) -> None:
    if not actor.signed_in or actor.user is None:
        raise NotAllowed("Only a signed-in person can do this.")
    access.require(actor, "redact", item.case)
