"""Answers in force in the same three words for every question, and the one way to give one from these screens.

Question 0 is answered by decisions: relevant is yes, not relevant is no, a second look or an escalation is unsure.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from archive.custody import Actor
from archive.errors import BadInput
from archive.models import Decision, Item
from triage import questions, review
from triage.models import Answer, Question

YES, NO, UNSURE = "yes", "no", "unsure"
VALUES = (YES, NO, UNSURE)
_DECISIONS = {
    YES: Decision.Value.RELEVANT,
    NO: Decision.Value.NOT_RELEVANT,
    UNSURE: Decision.Value.SECOND_LOOK,
}
_PLAIN = {value: plain for plain, value in _DECISIONS.items()} | {Decision.Value.ESCALATE: UNSURE}


@dataclass(frozen=True)
class Given:
    """The answer that counts: to which item, what, by whom and when. `row`: the id of its Answer or Decision."""

    item: UUID
    number: int
    value: str
    by: int
    at: datetime
    row: UUID


def in_force(question: Question, item: Item | None = None) -> dict[int, Given]:
    """Item number -> the answer that counts, of all items of the case or of one."""
    if question.number == Question.MAIN:
        items = Item.objects.filter(case_id=question.case_id, decision__isnull=False)
        items = items if item is None else items.filter(pk=item.pk)
        fields = ("pk", "number", "decision__value", "decision__by_id", "decision__at", "decision_id")
        rows = items.order_by().values_list(*fields)
        return {n: Given(pk, n, _PLAIN[value], by, at, row) for pk, n, value, by, at, row in rows}
    given = Answer.objects.filter(question=question, withdrawn_by=None).exclude(value=Answer.Value.WITHDRAWN)
    given = given if item is None else given.filter(item=item)
    fields = ("item_id", "item__number", "value", "by_id", "at", "pk")
    return {row[1]: Given(*row) for row in given.order_by("at", "pk").values_list(*fields)}


def of(question: Question, item: Item) -> Given | None:
    """The answer in force on one item."""
    return in_force(question, item).get(item.number)


def give(
    *, question: Question, item: Item, actor: Actor, value: str, reason: str = "", shown: dict[str, Any]
) -> None:
    """Answer in one of VALUES. Raises NotAllowed, BadInput, Conflict; then nothing was saved."""
    if value not in VALUES:
        raise BadInput(f"An answer is one of {', '.join(VALUES)}. Nothing was saved.")
    if question.number == Question.MAIN:
        review.decide(item=item, actor=actor, value=_DECISIONS[value], reason=reason, shown=shown)
    else:
        questions.answer(item=item, question=question, actor=actor, value=value, reason=reason, shown=shown)
