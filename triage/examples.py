"""What people show as examples of what a question looks for: items, moments, boxes. They teach the order and decide nothing."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from archive import access, custody
from archive.custody import Actor
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import Item
from triage import asking
from triage.models import Analysis, Example, ExampleVector, Part, PartVector, Question

Box = Sequence[float | str | Decimal]
SIDES = ("x", "y", "width", "height")
MOST = 200  # examples of one question


def give(
    *,
    item: Item,
    question: Question,
    actor: Actor,
    at_ms: int | None = None,
    box: Box | None = None,
    reason: str = "",
) -> Example:
    """Show an item, a moment of a video (`at_ms`) or a box (x, y, width, height as shares of the frame) as an example.

    A new order is asked for. Raises NotAllowed, BadInput, Conflict for what is an example already or a closed question.
    """
    require_person(actor, question)
    if question.case_id != item.case_id:
        raise BadInput("This question belongs to another case. Nothing was saved.")
    if at_ms is not None and (item.kind != Item.Kind.VIDEO or not 0 <= at_ms <= (item.duration_ms or 0)):
        raise BadInput("This moment is not one of a video's. Nothing was saved.")
    part = None
    if box is not None:
        from triage import parts  # it brings an index of vectors with it: workers that order do without

        part = parts.look_for(item=item, box=box, at_ms=at_ms or 0)
    where = {"at_ms": at_ms} | {side: getattr(part, side) if part else None for side in SIDES}
    require_new(question, item=item, **where)
    with transaction.atomic(durable=True):
        example = custody.write(
            Example(
                item=item,
                question=question,
                reason=reason.strip(),
                by=actor.user,
                at=timezone.now(),
                **where,
            ),
            event="item.example_given",
            actor=actor,
        )
        asking.ask(question)
    return example


def end(*, example: Example, actor: Actor, reason: str = "") -> None:
    """It teaches no longer; that it did stays on record. Raises NotAllowed, Conflict when it ended before."""
    require_person(actor, example.question)
    with transaction.atomic(durable=True):
        custody.change(
            example,
            event="item.example_ended" if example.item_id else "case.example_ended",
            actor=actor,
            reason=reason,
            expect={"ended_at": None},
            ended_at=timezone.now(),
        )
        asking.ask(example.question)


def of(question: Question, item: Item | None = None) -> list[Example]:
    """A question's examples, the oldest first; those of one item where it is named."""
    rows = Example.objects.filter(question=question, ended_at=None).select_related(
        "item__case", "question__case", "by"
    )
    return list(rows if item is None else rows.filter(item=item))


def settle(question: Question) -> None:
    """Keep what models have made of the examples' boxes by now, for each recipe that an order could compare by."""
    boxed = list(Example.objects.filter(question=question, ended_at=None, x__isnull=False))
    have = set(ExampleVector.objects.filter(example__in=boxed).values_list("example_id", "embedder"))
    for example in boxed:
        part = {"item": example.item_id, "at_ms": example.at_ms or 0} | {
            side: getattr(example, side) for side in SIDES
        }
        for seen in PartVector.objects.filter(part__in=Part.objects.filter(**part)):
            by = {name: getattr(seen, name) for name in ("analyser", "version", "weights_sha256")}
            made = Analysis.objects.filter(item=example.item_id, task=Analysis.Task.EMBED, **by).first()
            if made is not None and (example.pk, made.recipe) not in have:
                ExampleVector.objects.get_or_create(
                    example=example, embedder=made.recipe, defaults={"values": seen.values}
                )


def require_new(question: Question, **fields: Any) -> None:
    """Raises Conflict for an example that there is already or a closed question, BadInput where there are too many."""
    if question.closed_at is not None:
        raise Conflict("This question is closed; nothing was saved.")
    held = Example.objects.filter(question=question, ended_at=None)
    if fields and held.filter(**fields).exists():
        raise Conflict("This is an example already.")
    if held.count() >= MOST:
        raise BadInput(f"A question has at most {MOST} examples. Take one away first.")


def require_person(actor: Actor, question: Question) -> None:
    """Raises NotAllowed unless a signed-in person who may decide in the question's case."""
    if not actor.signed_in or actor.user is None:
        raise NotAllowed("Only a signed-in person can show examples.")
    access.require(actor, "decide", question.case)
