"""What people add to items: tags, notes, assignments, findings. Each is a verb with its event."""

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from archive import access, custody, search
from archive.custody import Actor
from archive.errors import BadInput, NotAllowed
from archive.models import Assignment, Finding, Item, ItemTag, Note, Tag, User


def tag(*, item: Item, name: str, actor: Actor) -> ItemTag:
    """Put a tag on an item, making the tag in its case if it is new. Twice the same tag is one."""
    access.require(actor, "annotate", item.case)
    name = " ".join(name.split())
    if not name or len(name) > 80:
        raise BadInput("Write a tag of 1 to 80 characters.")
    for attempt in (1, 2):
        try:
            with transaction.atomic(durable=True):
                made = _tag(item, name, actor)
                search.refresh([item.pk])
                return made
        except IntegrityError:  # somebody else made the same tag in this moment: it is there now
            if attempt == 2:
                raise
    raise AssertionError("unreachable")


def _tag(item: Item, name: str, actor: Actor) -> ItemTag:
    row = Tag.objects.filter(case=item.case, name=name).first()
    if row is None:
        row = custody.write(Tag(case=item.case, name=name), event="case.tag_made", actor=actor)
    held = ItemTag.objects.filter(item=item, tag=row).first()
    return held or custody.write(
        ItemTag(item=item, tag=row, by=actor.user, at=timezone.now()), event="item.tagged", actor=actor
    )


def untag(*, item_tag: ItemTag, actor: Actor) -> None:
    """Take a tag off an item."""
    access.require(actor, "annotate", item_tag.item.case)
    with transaction.atomic(durable=True):
        custody.erase(item_tag, event="item.untagged", actor=actor)
        search.refresh([item_tag.item_id])


def note(*, item: Item, text: str, actor: Actor, frame_ms: int | None = None) -> Note:
    """Write a note on an item (at a moment of a video). Notes are not changed; a correction is a further note."""
    access.require(actor, "annotate", item.case)
    if not text.strip():
        raise BadInput("Write something first.")
    try:
        with transaction.atomic(durable=True):
            made = custody.write(
                Note(item=item, by=actor.user, at=timezone.now(), text=text.strip(), frame_ms=frame_ms),
                event="item.noted",
                actor=actor,
            )
            search.refresh([item.pk])
            return made
    except ValidationError as error:
        raise BadInput(" ".join(error.messages)) from error


def assign(*, item: Item, to: User, actor: Actor) -> Assignment:
    """Give an item to a person who can see its case."""
    access.require(actor, "assign", item.case)
    if not access.can(to, "view", item.case):
        raise BadInput("That person does not see this case: share it with them first.")
    held = Assignment.objects.filter(item=item, to=to, closed_at=None).first()
    if held:
        return held
    try:
        with transaction.atomic(durable=True):
            return custody.write(
                Assignment(item=item, to=to, by=actor.user, at=timezone.now()),
                event="item.assigned",
                actor=actor,
            )
    except IntegrityError:  # somebody else assigned it to the same person in this moment
        return Assignment.objects.get(item=item, to=to, closed_at=None)


def close_assignment(*, assignment: Assignment, actor: Actor) -> Assignment:
    """Close an assignment: by the person who has it, or by who may assign."""
    access.require(actor, "view", assignment.item.case)
    if actor.id != str(assignment.to_id):
        access.require(actor, "assign", assignment.item.case)
    if actor.user is None:
        raise NotAllowed("Sign in first.")
    with transaction.atomic(durable=True):
        return custody.change(
            assignment,
            event="item.assignment_closed",
            actor=actor,
            expect={"closed_at": None},
            closed_at=timezone.now(),
        )


def establish(*, item: Item, about: str, basis: str, actor: Actor, **value: Any) -> Finding:
    """Record what an analyst established (when, where, with what) and on which basis; kept apart from claims."""
    access.require(actor, "annotate", item.case)
    if not basis.strip():
        raise BadInput("Say on which basis: a finding without one cannot be relied on.")
    for axis, most in (("latitude", 90), ("longitude", 180)):
        if value.get(axis) is not None:
            value[axis] = Decimal(str(value[axis])).quantize(Decimal("0.000001"))
            if abs(value[axis]) > most:
                raise BadInput(f"The {axis} lies between -{most} and {most}: look at the place again.")
    try:
        with transaction.atomic(durable=True):
            made = custody.write(
                Finding(
                    item=item, about=about, basis=basis.strip(), by=actor.user, at=timezone.now(), **value
                ),
                event="item.finding_recorded",
                actor=actor,
            )
            search.refresh([item.pk])
            return made
    except ValidationError as error:
        raise BadInput(" ".join(error.messages)) from error
