"""A case's lines of inquiry: ask, close, answer; who answered what, as the learner and the estimates need it."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, Max, OuterRef, Q
from django.utils import timezone

from archive import access, custody
from archive.custody import Actor
from archive.errors import BadInput, Conflict, NotAllowed, NotFound
from archive.models import Case, Decision, Item
from triage import asking, standing
from triage.models import Answer, Question

VALUES = tuple(value for value in Answer.Value.values if value != Answer.Value.WITHDRAWN)
_SAYS = {
    Decision.Value.RELEVANT: True,
    Decision.Value.NOT_RELEVANT: False,
    Answer.Value.YES: True,
    Answer.Value.NO: False,
}


@dataclass(frozen=True)
class Tally:
    """In how many items people answered yes, no, or could not tell (a second look, escalated)."""

    yes: int = 0
    no: int = 0
    unsure: int = 0

    @property
    def answered(self) -> int:
        """Items with an answer in force."""
        return self.yes + self.no + self.unsure


def main(case: Case) -> Question:
    """The case's question 0: is it relevant to the case? Made when first asked for."""
    found = Question.objects.filter(case=case, number=Question.MAIN).first()
    if found is not None:
        return found
    try:
        with transaction.atomic():
            return custody.write(
                Question(case=case, number=Question.MAIN, at=timezone.now()),
                event="case.question_asked",
                actor=Actor.system("triage"),
            )
    except IntegrityError:  # another process was first
        return Question.objects.get(case=case, number=Question.MAIN)


def asked(case: Case) -> list[Question]:
    """The open questions of a case, question 0 first."""
    main(case)
    return list(Question.objects.filter(case=case, closed_at=None))


def numbered(case: Case, number: int) -> Question:
    """One question of a case, open or closed. Raises NotFound."""
    if number == Question.MAIN:
        return main(case)
    found = Question.objects.filter(case=case, number=number).first()
    if found is None:
        raise NotFound("This case has no question of that number.")
    return found


def tally(case: Case) -> dict[int, Tally]:
    """Question number -> in how many items people said yes, no, or neither. Two queries, whatever the case's size."""
    by: dict[int, Counter[str]] = defaultdict(Counter)
    decided = Item.objects.filter(case=case, decision__isnull=False).values("decision__value").order_by()
    by[Question.MAIN].update(dict(decided.annotate(n=Count("pk")).values_list("decision__value", "n")))
    standing = Answer.objects.filter(question__case=case, withdrawn_by=None).exclude(
        value=Answer.Value.WITHDRAWN
    )
    newer = standing.filter(question=OuterRef("question"), item=OuterRef("item")).filter(
        Q(at__gt=OuterRef("at")) | Q(at=OuterRef("at"), pk__gt=OuterRef("pk"))
    )
    newest = standing.filter(~Exists(newer)).values("question__number", "value").order_by()
    for row in newest.annotate(n=Count("pk")):
        by[row["question__number"]][row["value"]] += row["n"]
    return {number: _tallied(said) for number, said in by.items()}


def _tallied(said: Counter[str]) -> Tally:
    parts = Counter({True: 0, False: 0, None: 0})
    for value, n in said.items():
        parts[_SAYS.get(value)] += n
    return Tally(yes=parts[True], no=parts[False], unsure=parts[None])


def ask(*, case: Case, actor: Actor, text: str) -> Question:
    """Add a question. Raises NotAllowed, BadInput, Conflict; then nothing was saved."""
    _require_person(actor)
    access.require(actor, "edit_criteria", case)
    text = " ".join(text.split())
    if not 1 <= len(text) <= 300:
        raise BadInput("A question has 1 to 300 characters. Nothing was saved.")
    main(case)
    try:
        with transaction.atomic(durable=True):
            last = Question.objects.filter(case=case).aggregate(n=Max("number"))["n"]
            return custody.write(
                Question(case=case, number=last + 1, text=text, by=actor.user, at=timezone.now()),
                event="case.question_asked",
                actor=actor,
            )
    except IntegrityError as error:
        raise Conflict(
            "Somebody else asked a question at this moment. Nothing was saved: try again."
        ) from error


def close(*, question: Question, actor: Actor, reason: str = "") -> None:
    """End a question: its answers stay. Raises NotAllowed, BadInput for question 0, Conflict when it is closed."""
    _require_person(actor)
    access.require(actor, "edit_criteria", question.case)
    if question.number == Question.MAIN:
        raise BadInput("The first question belongs to the case and stays open. Nothing was changed.")
    with transaction.atomic(durable=True):
        custody.change(
            question,
            event="case.question_closed",
            actor=actor,
            reason=reason,
            expect={"closed_at": None},
            closed_at=timezone.now(),
        )


def answer(
    *, item: Item, question: Question, actor: Actor, value: str, reason: str = "", shown: dict[str, Any]
) -> Answer:
    """Record what a person answered; an earlier answer stays in the history. `shown`: what the screen showed.

    Raises NotAllowed, BadInput, Conflict for a closed question.
    """
    with transaction.atomic(durable=True):
        return answer_within(
            item=item, question=question, actor=actor, value=value, reason=reason, shown=shown
        )


def answer_within(
    *, item: Item, question: Question, actor: Actor, value: str, reason: str = "", shown: dict[str, Any]
) -> Answer:
    """The inner form of `answer`, for a caller that has a transaction open."""
    _require_answerable(item, question, actor)
    if value not in VALUES:
        raise BadInput(f"An answer is one of {', '.join(VALUES)}. Nothing was saved.")
    given = custody.write(
        Answer(
            item=item,
            question=question,
            value=value,
            reason=reason.strip(),
            by=actor.user,
            at=timezone.now(),
            shown=shown,
        ),
        event="item.answered",
        actor=actor,
    )
    _follow(item, question, True)
    return given


def withdraw(*, answer: Answer, actor: Actor, reason: str = "") -> Answer:
    """Take back one's own answer: a new record, nothing is erased. Raises NotAllowed, Conflict."""
    with transaction.atomic(durable=True):
        return withdraw_within(answer=answer, actor=actor, reason=reason)


def withdraw_within(*, answer: Answer, actor: Actor, reason: str = "") -> Answer:
    """The inner form of `withdraw`, for a caller that has a transaction open."""
    _require_answerable(answer.item, answer.question, actor)
    if answer.by_id != (actor.user and actor.user.pk):
        raise NotAllowed("Only who gave an answer can take it back.")
    if answer.value == Answer.Value.WITHDRAWN or Answer.objects.filter(withdraws=answer).exists():
        raise Conflict("This answer was taken back already.")
    taken_back = custody.write(
        Answer(
            item=answer.item,
            question=answer.question,
            value=Answer.Value.WITHDRAWN,
            reason=reason.strip(),
            by=actor.user,
            at=timezone.now(),
            withdraws=answer,
        ),
        event="item.answered",
        actor=actor,
    )
    _follow(answer.item, answer.question, bool(in_force(answer.question, [answer.item_id])))
    return taken_back


def _follow(item: Item, question: Question, is_answered: bool) -> None:
    """The item leaves the queue of this question, or comes back to it, and the order learns of it."""
    standing.decided(item, is_answered, question.number)
    asking.answered(question)


def in_force(question: Question, items: Iterable[UUID] | None = None) -> dict[UUID, str]:
    """Item -> the value that counts, for items that have one; of all items, or of these."""
    if question.number == Question.MAIN:
        decided = Item.objects.filter(case_id=question.case_id, decision__isnull=False)
        decided = decided if items is None else decided.filter(pk__in=list(items))
        return dict(decided.values_list("pk", "decision__value"))
    rows = Answer.objects.filter(question=question, withdrawn_by=None).exclude(value=Answer.Value.WITHDRAWN)
    rows = rows if items is None else rows.filter(item__in=list(items))
    return dict(rows.order_by("at", "pk").values_list("item_id", "value"))


def answers(item: Item, question: Question) -> list[Answer]:
    """An item's answers to a question and their withdrawals, the newest first, each knowing whether it is in force."""
    rows = list(
        Answer.objects.filter(item=item, question=question).select_related("by").order_by("-at", "-pk")
    )
    taken_back = {row.withdraws_id for row in rows}
    counts = next(
        (row for row in rows if row.value != Answer.Value.WITHDRAWN and row.pk not in taken_back), None
    )
    for row in rows:
        row.in_force = row is counts
    return rows


def last_by(actor: Actor, question: Question) -> Answer | None:
    """The person's latest answer to a question that is not taken back: what 'undo' would take back."""
    mine = Answer.objects.filter(by=actor.user, question=question, withdrawn_by=None)
    mine = mine.exclude(value=Answer.Value.WITHDRAWN).select_related("item__case", "question")
    return mine.order_by("-at", "-pk").first()


def labels(question: Question) -> dict[UUID, bool]:
    """Item -> whether a person said yes. Who could not tell, or wants a second look, said neither."""
    return {pk: _SAYS[value] for pk, value in in_force(question).items() if value in _SAYS}


def _require_person(actor: Actor) -> None:
    if not actor.signed_in or actor.user is None:
        raise NotAllowed("Only a signed-in person can ask, close or answer a question.")


def _require_answerable(item: Item, question: Question, actor: Actor) -> None:
    _require_person(actor)
    access.require(actor, "decide", item.case)
    if question.case_id != item.case_id or question.number == Question.MAIN:
        raise BadInput("This question is not one that the item can be answered under. Nothing was saved.")
    if question.closed_at is not None:
        raise Conflict("This question is closed; nothing was saved.")
