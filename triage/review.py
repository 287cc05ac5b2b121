"""What a person does with an item in review. No code but a signed-in person's request gets through here."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from archive import access, custody
from archive.custody import Actor
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import Decision, Item, Postponement
from triage import asking, questions, queue, standing

VALUES = tuple(value for value in Decision.Value.values if value != Decision.Value.WITHDRAWN)
NEED_A_REASON = (Decision.Value.ESCALATE,)


def decide(
    *, item: Item, actor: Actor, value: str, reason: str = "", shown: dict[str, Any] | None = None
) -> Decision:
    """Record what a person decided, and with it what they were shown of the ranking.

    An earlier decision stays in the history; this one is in force from now on. `shown` is what the screen showed
    (see queue.shown); without it, it is taken now. Raises NotAllowed, BadInput, Conflict.
    """
    with transaction.atomic(durable=True):
        return decide_within(item=item, actor=actor, value=value, reason=reason, shown=shown)


def decide_within(
    *, item: Item, actor: Actor, value: str, reason: str = "", shown: dict[str, Any] | None = None
) -> Decision:
    """The inner form of `decide`, for a caller that has a transaction open."""
    _require(actor, item)
    if value not in VALUES:
        raise BadInput(f"A decision is one of {', '.join(VALUES)}. Nothing was saved.")
    if value in NEED_A_REASON and not reason.strip():
        raise BadInput("Say why you escalate: the next person needs it. Nothing was saved.")
    shown = queue.shown(item) if shown is None else shown
    decision = custody.write(
        Decision(
            item=item, value=value, reason=reason.strip(), by=actor.user, at=timezone.now(), shown=shown
        ),
        event="item.decided",
        actor=actor,
    )
    _put_in_force(item, decision, actor)
    return decision


def withdraw(*, decision: Decision, actor: Actor, reason: str = "") -> Decision:
    """Take back one's own decision: a new record, nothing is erased. What was in force before it is so again.

    Raises NotAllowed for another's decision, Conflict when it was withdrawn already.
    """
    with transaction.atomic(durable=True):
        return withdraw_within(decision=decision, actor=actor, reason=reason)


def withdraw_within(*, decision: Decision, actor: Actor, reason: str = "") -> Decision:
    """The inner form of `withdraw`, for a caller that has a transaction open."""
    item = decision.item
    _require(actor, item)
    if str(decision.by_id) != actor.id:
        raise NotAllowed("Only the person who decided can take it back. Decide anew instead.")
    if decision.value == Decision.Value.WITHDRAWN or Decision.objects.filter(withdraws=decision).exists():
        raise Conflict("This was taken back already. Nothing of yours was saved.")
    withdrawal = custody.write(
        Decision(
            item=item,
            value=Decision.Value.WITHDRAWN,
            reason=reason.strip(),
            by=actor.user,
            at=timezone.now(),
            withdraws=decision,
        ),
        event="item.decision_withdrawn",
        actor=actor,
    )
    if item.decision_id == decision.pk:
        _put_in_force(item, _standing_decision(item), actor)
    return withdrawal


def last_by(actor: Actor, case_id: Any = None) -> Decision | None:
    """The person's latest decision that is not taken back: what 'undo' would take back."""
    mine = Decision.objects.filter(by=actor.user, withdrawn_by=None).exclude(value=Decision.Value.WITHDRAWN)
    if case_id is not None:
        mine = mine.filter(item__case_id=case_id)
    return mine.select_related("item__case").order_by("-at", "-pk").first()


def postpone(*, item: Item, actor: Actor, reason: str) -> Postponement:
    """Put an item off: it stays in the queue, after those that were not. Raises NotAllowed, BadInput."""
    _require(actor, item)
    if not reason.strip():
        raise BadInput("Say why it has to wait: whoever opens it next needs it. Nothing was saved.")
    with transaction.atomic(durable=True):
        row = custody.write(
            Postponement(item=item, by=actor.user, at=timezone.now(), reason=reason.strip()),
            event="item.postponed",
            actor=actor,
        )
        standing.put_off(item)
    return row


def _require(actor: Actor, item: Item) -> None:
    if not actor.signed_in or actor.user is None:
        raise NotAllowed("Only a signed-in person can decide.")
    access.require(actor, "decide", item.case)


def _put_in_force(item: Item, decision: Decision | None, actor: Actor) -> None:
    """Change which decision counts, naming the one that counted when this person looked."""
    custody.change(
        item,
        event="item.decision_in_force",
        actor=actor,
        expect={"decision": item.decision_id},
        decision=decision,
    )
    standing.decided(item, decision is not None)
    asking.answered(questions.main(item.case))


def _standing_decision(item: Item) -> Decision | None:
    """The newest decision on the item that nobody took back."""
    rows = Decision.objects.filter(item=item, withdrawn_by=None).exclude(value=Decision.Value.WITHDRAWN)
    return rows.order_by("-at", "-pk").first()
