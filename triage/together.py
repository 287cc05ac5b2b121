"""Near-duplicates reviewed together: one act of a person for the members of a group that they keep in, one decision and
event for each. See triage.near for what a group is.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, Conflict, LimitExceeded, NotAllowed
from archive.models import Decision, Item, User
from triage import near, questions, queue, review
from triage.models import Answer, Near, Question

MOST_TOGETHER = 100


@dataclass(frozen=True)
class Group:
    """Items that show the same picture, by arrival: the first gives it its name. `count` counts those not listed too."""

    name: str
    number: int
    members: list[Item]
    count: int


def group_of(item: Item, user: User, *, most: int = MOST_TOGETHER) -> Group | None:
    """The group of an item, with at most so many of its members; None where it stands alone."""
    own = Near.objects.filter(item=item).first()
    if own is None:
        return None
    rows = _members(own.case_id, own.group, user)
    count = rows.count()
    if count < 2:
        return None
    members = list(
        rows.select_related("case", "decision", "source", "blob").prefetch_related("renditions")[:most]
    )
    return Group(f"{item.case.code}/{own.group:04d}", own.group, members, count)


def _members(case: UUID, group: int, user: User) -> Any:
    rows = Item.objects.visible_to(user).held()
    return rows.filter(near__case=case, near__group=group).order_by("number")


def decide(
    *,
    item: Item,
    members: Collection[UUID],
    question: Question,
    actor: Actor,
    value: str,
    reason: str = "",
) -> int:
    """Say the same of these members of the group of `item`: all of them, or none. Returns how many.

    Each gets its own decision (an answer, for a question other than the first) with its own event and the same reason;
    what is stored as shown says of which group it was decided as a member. Raises NotAllowed, BadInput, LimitExceeded,
    and Conflict when the group or an item changed meanwhile.
    """
    if not actor.signed_in or actor.user is None:
        raise NotAllowed("Only a signed-in person can decide.")
    access.require(actor, "decide", item.case)
    wanted = set(members)
    if not wanted:
        raise BadInput("Keep at least one item in. Nothing was saved.")
    if len(wanted) > MOST_TOGETHER:
        raise LimitExceeded(f"At most {MOST_TOGETHER} items are decided together. Nothing was saved.")
    group = group_of(item, actor.user)
    kept = [one for one in (group.members if group else ()) if one.pk in wanted]
    if group is None or len(kept) != len(wanted):
        raise Conflict("The group has changed since you looked. Nothing was saved: look again.")
    asked = None if question.number == Question.MAIN else question
    as_member = {
        "act": str(uuid4()),  # the same for all that were decided at once
        "of": group.name,
        "members": group.count,
        "decided": len(kept),
        "method": near.METHOD,
    }
    told = {one.pk: queue.shown(one, asked) | {"group": as_member} for one in kept}
    with transaction.atomic(durable=True):
        for one in sorted(kept, key=lambda one: one.custody_subject()):  # the order in which all lock them
            access.require(actor, "decide", one.case)
            said = {"item": one, "actor": actor, "value": value, "reason": reason, "shown": told[one.pk]}
            if asked is None:
                review.decide_within(**said)
            else:
                questions.answer_within(question=asked, **said)
    return len(kept)


def last_act(item: Item, question: Question, actor: Actor) -> list[Decision] | list[Answer]:
    """What this person last said of the group of `item` in one act and has not taken back; empty where there is none."""
    group = group_of(item, actor.user) if actor.user else None
    if group is None:
        return []
    table = Decision if question.number == Question.MAIN else Answer
    mine = table.objects.filter(by=actor.user, item__in=group.members, withdrawn_by=None)
    mine = mine.filter(question=question) if table is Answer else mine
    mine = mine.filter(shown__group__of__isnull=False).select_related("item__case").order_by("-at", "-pk")
    rows = list(mine)
    return [row for row in rows if row.shown["group"]["act"] == rows[0].shown["group"]["act"]]


def take_back(*, item: Item, question: Question, actor: Actor) -> int:
    """Take back what this person last said of the group of `item` in one act. Returns of how many items.

    Each gets a record and event of its own; nothing is erased. Raises NotAllowed, Conflict where there is nothing.
    """
    if not actor.signed_in or actor.user is None:
        raise NotAllowed("Only a signed-in person can take back what they said.")
    access.require(actor, "decide", item.case)
    rows = last_act(item, question, actor)
    if not rows:
        raise Conflict("You have said nothing of this group that could be taken back.")
    with transaction.atomic(durable=True):
        for row in sorted(rows, key=lambda row: row.custody_subject()):
            if isinstance(row, Decision):
                review.withdraw_within(decision=row, actor=actor)
            else:
                questions.withdraw_within(answer=row, actor=actor)
    return len(rows)
