"""Legal hold: while one stands on a case or on an item, nothing that it covers is destroyed.

A person places and lifts it, each with a reason; several may stand at once. Whatever destroys asks here, under the
same lock on the case: so once `place` has returned, nothing more is destroyed.
"""

from collections.abc import Collection
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from archive import access, custody
from archive.custody import Actor
from archive.errors import BadInput
from archive.models import Acquisition, Case, Hold, Item, Source


def place(
    *, case: Case, actor: Actor, reason: str, item: Item | None = None, identities: bool = True
) -> Hold:
    """Place a hold on a case, or on one item of it. `identities`: the sources' identities are held too.

    Raises NotAllowed, BadInput without a reason or for an item of another case.
    """
    access.require(actor, "hold", case)
    reason = required(reason, "Say why it is held: the reason goes into the custody log.")
    if item is not None and item.case_id != case.pk:
        raise BadInput("That item is not in this case. No hold was placed.")
    hold = Hold(
        case=case,
        item=item,
        identities=identities,
        reason=reason,
        placed_by=actor.user,
        placed_at=timezone.now(),
    )
    with transaction.atomic(durable=True):
        lock(case)
        return custody.write(hold, event=f"{'item' if item else 'case'}.hold_placed", actor=actor)


def lift(*, hold: Hold, actor: Actor, reason: str) -> Hold:
    """Lift a hold. What it covered is not destroyed by that: it can be asked for again.

    Raises NotAllowed, BadInput without a reason, Conflict where somebody lifted it first.
    """
    access.require(actor, "hold", hold.case)
    reason = required(reason, "Say why it is lifted: the reason goes into the custody log.")
    with transaction.atomic(durable=True):
        lock(hold.case)
        return custody.change(
            hold,
            event=f"{'item' if hold.item_id else 'case'}.hold_lifted",
            actor=actor,
            expect={"lifted_at": None},
            lift_reason=reason,
            lifted_by=actor.user,
            lifted_at=timezone.now(),
        )


# --- asking -----------------------------------------------------------------------------------------------------


def lock(case: Case) -> Case:
    """Lock a case against holds and disposals of others until the transaction ends; return it as it is now."""
    return Case.objects.select_for_update(no_key=True).get(pk=case.pk)


def on_items(case: Case, items: Collection[UUID]) -> Hold | None:
    """The first hold that stands on the case or on one of these items of it."""
    standing = Hold.objects.standing().filter(case=case).select_related("case", "item__case", "placed_by")
    return next((h for h in standing if h.item_id is None or h.item_id in items), None)


def of_item(item: Item) -> list[Hold]:
    """Holds that stand on an item or on its case, for its page."""
    covered = Q(item=None) | Q(item=item)
    standing = Hold.objects.standing().filter(covered, case_id=item.case_id)
    return list(standing.select_related("placed_by"))


def on_identity(source: Source) -> Hold | None:
    """The first hold that keeps a source's identity: on its case, or on an item that came from it."""
    came = Acquisition.objects.filter(source=source).values("item")
    covered = Q(item=None) | Q(item__source=source) | Q(item__in=came)
    standing = Hold.objects.standing().filter(covered, case_id=source.case_id, identities=True)
    return standing.select_related("case", "item__case", "placed_by").first()


def require_none(hold: Hold | None) -> None:
    """Raise BadInput where there is one."""
    if hold is not None:
        what = f"item {hold.item.code}" if hold.item else f"case {hold.case.code}"
        raise BadInput(
            f"A legal hold stands on {what}, placed by {hold.placed_by.name} on {hold.placed_at:%Y-%m-%d}. "
            "Nothing is destroyed while it stands: have it lifted first.",
            code="on-hold",
        )


def required(text: str, otherwise: str) -> str:
    """A reason without the blanks around it. Raises BadInput where nothing is left, or it is too long."""
    text = text.strip()
    if not text:
        raise BadInput(otherwise)
    if len(text) > 1000:
        raise BadInput("At most 1,000 characters: write it shorter.")
    return text
