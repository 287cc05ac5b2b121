"""A share of a question's items is read by a second person, blind; both answers are compared, and people settle.

Which items: those whose SHA-256 of "seed:number" lies in the lowest share of all values. So the items are the same
for both readers, no reader can choose them, and a larger share takes in a smaller one.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone

from archive import access, custody
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Item, User
from triage import given
from triage.elusion import require_person
from triage.estimate import Interval, kappa
from triage.given import NO, VALUES, YES, Given
from triage.models import Question, SecondReading, SecondShare


def share_of(question: Question) -> SecondShare | None:
    """The share in force; None where none was ever set."""
    return SecondShare.objects.filter(question=question).last()


def set_share(
    *,
    question: Question,
    actor: Actor,
    percent: int,
    seed: Callable[[], str] = lambda: secrets.token_hex(16),
) -> SecondShare:
    """Let this percentage of the items be read by a second person from now on; 0 ends it. The first lot stays.

    Raises NotAllowed, BadInput.
    """
    require_person(actor)
    access.require(actor, "edit_criteria", question.case)
    if not 0 <= percent <= 100:
        raise BadInput("The share is a percentage from 0 to 100. Nothing was changed.")
    with transaction.atomic(durable=True):
        before = share_of(question)
        return custody.write(
            SecondShare(
                question=question,
                percent=percent,
                seed=before.seed if before else seed(),
                by=actor.user,
                at=timezone.now(),
            ),
            event="case.second_share_set",
            actor=actor,
        )


def is_in(share: SecondShare | None, number: int) -> bool:
    """Whether an item (by its number in the case) belongs to the share."""
    return share is not None and _place(share, number) * 100 < share.percent << 64


def _place(share: SecondShare, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{share.seed}:{number}".encode()).digest()[:8])


def waiting(question: Question, reader: User) -> list[Given]:
    """First answers of others that this person may read again, in an order that says nothing about them."""
    share = share_of(question)
    if share is None or not share.percent:
        return []
    read = set(SecondReading.objects.filter(question=question).values_list("item_id", flat=True))
    gone = set(
        Item.objects.filter(case_id=question.case_id, disposed_at__isnull=False).values_list("pk", flat=True)
    )
    rows = [
        one
        for one in given.in_force(question).values()
        if is_in(share, one.number) and one.by != reader.pk and one.item not in read | gone
    ]
    return sorted(rows, key=lambda one: _place(share, one.number))


def read_again(
    *, question: Question, item: Item, actor: Actor, value: str, reason: str = ""
) -> SecondReading:
    """Record what a second person answers. The answer in force stays in force, whatever this one says.

    Raises NotAllowed, BadInput for an item that is not to be read again by this person, Conflict when it was just now.
    """
    require_person(actor)
    access.require(actor, "decide", question.case)
    if value not in VALUES:
        raise BadInput(f"An answer is one of {', '.join(VALUES)}. Nothing was saved.")
    first = given.of(question, item) if item.case_id == question.case_id else None
    if first is None or first.by == actor.user.pk or not is_in(share_of(question), item.number):
        raise BadInput("This item does not wait for a second reading of yours. Nothing was saved.")
    try:
        with transaction.atomic(durable=True):
            return custody.write(
                SecondReading(
                    item=item,
                    question=question,
                    value=value,
                    reason=reason.strip(),
                    by=actor.user,
                    at=timezone.now(),
                    first=first.row,
                    first_value=first.value,
                ),
                event="item.read_again",
                actor=actor,
            )
    except IntegrityError as error:
        raise Conflict("A second person has just read this item. Nothing of yours was saved.") from error


@dataclass(frozen=True)
class Agreement:
    """How two readers answered the same items: counts by (first, second) answer."""

    counts: dict[tuple[str, str], int]

    @property
    def items(self) -> int:
        """Items that both have read."""
        return sum(self.counts.values())

    @property
    def same(self) -> float:
        """The share of items with the same answer, 0 to 1; unsure is an answer too."""
        return sum(n for (first, second), n in self.counts.items() if first == second) / self.items

    @property
    def told(self) -> int:
        """Items where both said yes or no."""
        return sum(self._cells())

    @property
    def kappa(self) -> Interval | None:
        """Cohen's kappa over the items where both said yes or no; None where there are none."""
        return kappa(*self._cells()) if self.told else None

    def _cells(self) -> tuple[int, int, int, int]:
        pairs = ((YES, YES), (YES, NO), (NO, YES), (NO, NO))
        return tuple(self.counts.get(pair, 0) for pair in pairs)


def agreement(question: Question) -> Agreement:
    """The comparison of all second readings with the answers that were in force when they were given."""
    counts: dict[tuple[str, str], int] = {}
    rows = SecondReading.objects.filter(question=question).order_by()
    for pair in rows.values_list("first_value", "value"):
        counts[pair] = counts.get(pair, 0) + 1
    return Agreement(counts)


def disagreements(question: Question) -> list[SecondReading]:
    """Second readings that differ from the first and that no later answer has settled, oldest first."""
    rows = SecondReading.objects.filter(question=question).select_related("item__case", "by")
    known = given.in_force(question)
    return [
        row
        for row in rows
        if row.value != row.first_value
        and not ((now := known.get(row.item.number)) and now.row != row.first and now.at > row.at)
    ]


def settle(*, reading: SecondReading, actor: Actor, value: str, reason: str = "") -> None:
    """Answer anew where two readers disagree; both their answers stay in the history. Raises as given.give."""
    shown = {"came": "second reading", "reading": str(reading.pk)}
    given.give(
        question=reading.question, item=reading.item, actor=actor, value=value, reason=reason, shown=shown
    )
