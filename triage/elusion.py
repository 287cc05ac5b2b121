"""Draw items by lot out of what nobody has seen, read them in the order of the lot, and say what they tell.

A draw belongs to a person. What it says is about the items that were there when it was made; see triage/sampled.py for
the numbers and docs/triage.md, "What was missed", for the method.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

import numpy as np
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from archive import access, custody
from archive.custody import Actor
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import Item
from triage import given, ranking
from triage.estimate import Promise
from triage.given import NO, UNSURE, YES, Given
from triage.models import Draw, Question
from triage.sampled import Sampled

MOST = 5000  # items of one draw: their numbers stand in one event of the log
FIRST_OFFER = 30


def lot(seed: str, numbers: Iterable[int]) -> list[int]:
    """Item numbers in the order that the seed puts them in: by SHA-256 of "seed:number"."""
    return sorted(numbers, key=lambda number: hashlib.sha256(f"{seed}:{number}".encode()).digest())


def draw(
    *,
    question: Question,
    actor: Actor,
    size: int,
    seed: Callable[[], str] = lambda: secrets.token_hex(16),
) -> Draw:
    """Draw `size` items by lot out of all that have no answer to the question now.

    Raises NotAllowed, BadInput for a size that cannot be, Conflict for a closed question or a draw at the same moment.
    """
    require_person(actor)
    access.require(actor, "decide", question.case)
    if question.closed_at is not None:
        raise Conflict("This question is closed; nothing was drawn.")
    try:
        with transaction.atomic(durable=True):
            before = Draw.objects.filter(question=question).aggregate(n=Max("number"))["n"] or 0
            known = given.in_force(question)
            held = Item.objects.filter(case_id=question.case_id).held().order_by()
            pool = sorted(n for n in held.values_list("number", flat=True) if n not in known)
            if not 1 <= size <= min(len(pool), MOST):
                raise BadInput(
                    f"A sample has 1 to {min(len(pool), MOST):,} items; {len(pool):,} are unseen now. Nothing was drawn."
                )
            last = Item.objects.filter(case_id=question.case_id).aggregate(n=Max("number"))["n"]
            bits = np.zeros(last + 1, bool)
            bits[pool] = True
            packed, told = np.packbits(bits).tobytes(), seed()
            return custody.write(
                Draw(
                    question=question,
                    number=before + 1,
                    seed=told,
                    unseen=len(pool),
                    answered=len(known),
                    found=sum(one.value == YES for one in known.values()),
                    last=last,
                    pool=packed,
                    pool_sha256=hashlib.sha256(packed).hexdigest(),
                    drawn=lot(told, pool)[:size],
                    by=actor.user,
                    at=timezone.now(),
                ),
                event="case.sample_drawn",
                actor=actor,
            )
    except IntegrityError as error:
        raise Conflict(
            "Somebody else drew a sample at this moment. Nothing was drawn: look again."
        ) from error


def answer(*, drawn: Draw, item: Item, actor: Actor, value: str, reason: str = "") -> None:
    """Answer an item of the lot. The answer remembers that it came by lot, and that no score was shown.

    Raises NotAllowed, BadInput for an item that was not drawn, Conflict.
    """
    if item.case_id != drawn.question.case_id or item.number not in drawn.drawn:
        raise BadInput("This item was not drawn. Nothing was saved.")
    shown = {"came": "lot", "sample": drawn.number, "place": drawn.drawn.index(item.number) + 1}
    given.give(question=drawn.question, item=item, actor=actor, value=value, reason=reason, shown=shown)


def require_person(actor: Actor) -> None:
    """Raise NotAllowed for anybody but a signed-in person."""
    if not actor.signed_in or actor.user is None:
        raise NotAllowed("Only a signed-in person can do this.")


# --- what a draw tells --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One item of the lot. `gone`: its bytes were destroyed before anybody answered."""

    place: int
    number: int
    item: UUID
    answer: Given | None
    gone: bool

    @property
    def open(self) -> bool:
        """Whether it still has to be read."""
        return self.answer is None and not self.gone


@dataclass(frozen=True)
class Look:
    """A draw as it stands at this moment. `since`: items that came into the case after it."""

    draw: Draw
    entries: list[Entry]
    sampled: Sampled
    since: int

    @cached_property
    def open(self) -> list[Entry]:
        """What still has to be read, in the order of the lot."""
        return [entry for entry in self.entries if entry.open]

    @property
    def ahead(self) -> int:
        """Items that have an answer, but stand behind a gap in the lot: they count once it is closed."""
        return len(self.entries) - len(self.open) - self.sampled.read

    def next(self, after: int = 0) -> Entry | None:
        """The next item to read behind a place of the lot, then from its top."""
        return next((entry for entry in self.open if entry.place > after), next(iter(self.open), None))


def newest(question: Question) -> Draw | None:
    """The draw that the estimate goes by: always the last one, whatever it says."""
    return Draw.objects.filter(question=question).select_related("question__case", "by").last()


def look(drawn: Draw) -> Look:
    """What a draw tells now. Only the read part of the lot up to the first gap counts: it is a random sample itself."""
    known = given.in_force(drawn.question)
    rows = Item.objects.filter(case_id=drawn.question.case_id, number__in=drawn.drawn).order_by()
    items = {
        number: (pk, gone is not None) for number, pk, gone in rows.values_list("number", "pk", "disposed_at")
    }
    entries = [
        Entry(place, n, items[n][0], known.get(n), n not in known and items[n][1])
        for place, n in enumerate(drawn.drawn, 1)
    ]
    read = entries[: next((entry.place - 1 for entry in entries if entry.open), len(entries))]
    values = [entry.answer.value if entry.answer else UNSURE for entry in read]
    pool = np.unpackbits(np.frombuffer(drawn.pool, np.uint8)).astype(bool)
    inside = [one.value for n, one in known.items() if n <= drawn.last and pool[n]]
    outside = [one.value for n, one in known.items() if n <= drawn.last and not pool[n]]
    sampled = Sampled(
        found=outside.count(YES),
        unseen=drawn.unseen,
        size=len(entries),
        read=len(read),
        hits=values.count(YES),
        unsure=values.count(UNSURE),
        unsettled=max(drawn.answered - outside.count(YES) - outside.count(NO), 0),
        found_in_pool=inside.count(YES),
        refused_in_pool=inside.count(NO),
    )
    since = Item.objects.filter(case_id=drawn.question.case_id, number__gt=drawn.last).held().count()
    return Look(drawn, entries, sampled, since)


# --- what a draw would tell ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """How far a question has been answered: of `items` in the case `seen` have an answer, `found` of them yes."""

    items: int
    seen: int
    found: int
    refused: int

    @property
    def unseen(self) -> int:
        """Items that nobody has answered: the pool of a draw made now."""
        return self.items - self.seen

    @property
    def share(self) -> float:
        """The seen part, 0 to 1."""
        return self.seen / self.items if self.items else 0.0

    def sample(self, size: int) -> Sampled:
        """A sample of this size, if it were drawn now, before anything of it is read."""
        unsettled = self.seen - self.found - self.refused
        return Sampled(found=self.found, unseen=self.unseen, size=size, read=0, hits=0, unsettled=unsettled)


def seen(question: Question) -> Seen:
    """How far a question has been answered now. An item that was destroyed counts when it had an answer."""
    known = given.in_force(question)
    items = Item.objects.filter(case_id=question.case_id)
    gone = set(items.filter(disposed_at__isnull=False).order_by().values_list("number", flat=True))
    values = [one.value for one in known.values()]
    return Seen(items.count() - len(gone - known.keys()), len(values), values.count(YES), values.count(NO))


def expected(question: Question, now: Seen, latest: Look | None) -> tuple[float, str] | None:
    """How many of the unseen items may matter, and by what that is guessed; None where nothing was settled yet.

    By the newest sample as far as it was read ("sample"), else by the mean of the ranker's calibrated chances of the
    unseen ("chances"), else by the share of yes among the settled ("seen"): too many where the order is any good.
    """
    if latest is not None and latest.sampled.read:
        return latest.sampled.left().guess, "sample"
    answered = {one.item for one in given.in_force(question).values()}
    chances = [chance for item, chance in ranking.scores(question).items() if item not in answered]
    if chances:
        return now.unseen * sum(chances) / len(chances), "chances"
    if now.found + now.refused:
        return now.unseen * now.found / (now.found + now.refused), "seen"
    return None


def sizes(unseen: int) -> list[int]:
    """Sizes to offer: from FIRST_OFFER, each twice the one before, up to all that is unseen or MOST."""
    most = min(unseen, MOST)
    found = [FIRST_OFFER]
    while found[-1] * 2 < most and len(found) < 6:
        found.append(found[-1] * 2)
    return [size for size in found if size < most] or ([most] if most else [])


def promises(now: Seen, relevant: float) -> list[Promise]:
    """What samples of several sizes would buy on average, if `relevant` of the unseen items matter."""
    return [now.sample(size).promise(relevant) for size in sizes(now.unseen)]


def size_for(now: Seen, relevant: float, width: float) -> Promise:
    """The smallest sample whose interval is expected to be at most `width` wide (0 to 1).

    Raises BadInput when not even reading all that is unseen would do it, which unsettled answers can bring about.
    """
    if now.unseen and width >= (told := now.sample(now.unseen).promise(relevant)).width:
        low, high = 1, told.drawn
        while low < high:
            middle = (low + high) // 2
            if now.sample(middle).promise(relevant).width <= width:
                high = middle
            else:
                low = middle + 1
        return now.sample(low).promise(relevant)
    raise BadInput("No sample would be enough: some answers are unsure, or nothing is unseen.")
