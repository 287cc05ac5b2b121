"""The order of review, question by question. It puts items in order and hides none.

1. items that wait, in the order of the newest version (triage.ranking): by score, with a stated share drawn by lot; what came
   in since then stands where rules put it
2. postponed items, by points, then arrival
Answered items follow in the same way where a filter asks for them. Until a version is made the order is by rules: scored
items by points, then those that no model has looked at, then the postponed. `counts` says how many stand in each part, for
the top of the page: what could not be scored is named there, not left at the end of a list.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from numpy.typing import NDArray

from archive import access
from archive.errors import BadInput
from archive.models import Case, Item, User
from triage import questions, registry, sequence, standing, unusual, versions
from triage.asking import newest
from triage.models import Question, Ranking, Seen, Standing
from triage.versions import Version

Band, State = Standing.Band, Standing.State
PAGE = 50
FIRST_LOOK, WIDER = (
    200,
    4,
)  # rows of an order that are looked up at once, and how much more of them the next time

# status: which bands it shows, and which states
WAITING = (Band.SCORED, Band.UNSCORED)
STATUSES: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "undecided": ((Band.SCORED, Band.UNSCORED, Band.POSTPONED), ()),
    "unscored": ((Band.UNSCORED,), ()),
    "waiting": ((Band.UNSCORED,), (State.WAITING,)),
    "unreadable": ((Band.UNSCORED,), (State.UNREADABLE,)),
    "not_pictures": ((Band.UNSCORED,), (State.NOT_PICTURES,)),
    "failed": ((Band.UNSCORED,), (State.FAILED,)),
    "postponed": ((Band.POSTPONED,), ()),
    "decided": ((Band.DECIDED,), ()),
    "all": ((Band.SCORED, Band.UNSCORED, Band.POSTPONED, Band.DECIDED), ()),
}
BY = ("score", "uncertain", "unusual")
CAME = ("score", "lot", "uncertain", "unusual", "search", "arrival")


@dataclass(frozen=True)
class Filters:
    """What to show of a case: kind of file, status (see STATUSES), a suggested class; and in which order.

    `by`: "score", "uncertain" for what the learner knows least about first, or "unusual" for what is least like the rest of
    the case. Empty: no filter.
    """

    kind: str = ""
    status: str = "undecided"
    label: str = ""
    by: str = "score"

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise BadInput(f"Unknown status: use one of {', '.join(STATUSES)}.")
        if self.kind and self.kind not in Item.Kind.values:
            raise BadInput(f"Unknown kind: use one of {', '.join(Item.Kind.values)}.")
        if self.by not in BY:
            raise BadInput(f"Unknown order: use one of {', '.join(BY)}.")

    @property
    def narrow(self) -> bool:
        """Whether it leaves out items that wait."""
        return bool(self.kind or self.label or self.status not in ("undecided", "all"))


@dataclass(frozen=True)
class Row:
    """One item as it stands under a question. `place` is from 1 in the newest version's order, None where it is in none.

    `score` is None where no model has looked, `chance` where it is not calibrated. `came`: see CAME.
    """

    item: Item
    standing: Standing
    place: int | None
    score: Decimal | None
    chance: float | None
    came: str

    @property
    def pk(self) -> UUID:
        """The item's."""
        return self.item.pk

    @property
    def number(self) -> int:
        """The item's number."""
        return self.standing.number

    @property
    def band(self) -> int:
        """See Standing.Band."""
        return self.standing.band

    @property
    def why_unscored(self) -> str:
        """A sentence for people; empty for an item that a model has looked at."""
        return self.standing.why_unscored


@dataclass(frozen=True)
class Page:
    """Some rows of the order, each with its item, and the cursor of what follows (empty: nothing does)."""

    rows: list[Row]
    next: str


@dataclass(frozen=True)
class Counts:
    """How many items stand where."""

    scored: int
    waiting: int
    unreadable: int
    not_pictures: int
    failed: int
    postponed: int
    decided: int

    @property
    def undecided(self) -> int:
        """All that await a person."""
        return self.scored + self.unscored + self.postponed

    @property
    def unscored(self) -> int:
        """Undecided, not postponed, without a score."""
        return self.waiting + self.unreadable + self.not_pictures + self.failed


# --- the order ----------------------------------------------------------------------------------------------------


def order(
    case: Case,
    user: User,
    filters: Filters | None = None,
    *,
    question: Question | None = None,
    after: str = "",
    size: int = PAGE,
) -> Page:
    """A page of a question's order (without one: question 0's). `after` is the cursor of the page before.

    A cursor keeps to the version that it began in, so that pages neither repeat nor skip. Raises NotAllowed, BadInput.
    """
    view = _View(case, user, filters or Filters(), question)
    rows = view.after(after, size + 1)
    found = view.rows(rows[:size])
    return Page(found, view.cursor(rows[size - 1]) if len(rows) > size else "")


def next_item(
    case: Case,
    reader: User,
    filters: Filters | None = None,
    *,
    question: Question | None = None,
    after: Item | None = None,
) -> Item | None:
    """The next item for this reader: behind `after`, then from the top; None when nothing else awaits a person."""
    view = _View(case, reader, filters or Filters(), question)
    here = after and Standing.objects.filter(item=after, question=view.number).first()
    rows = view.after(view.cursor(here), 1) if here else []
    if not rows:
        rows = [row for row in view.after("", 2) if after is None or row.item_id != after.pk]
    return Item.objects.select_related("case").get(pk=rows[0].item_id) if rows else None


def place(item: Item, question: Question | None = None) -> int:
    """The item's place in the newest version of the order, 1 being the first; by rules where there is none.

    One that came in since stands at the place that rules give it.
    """
    here = stands(item, question)
    view = _View(item.case, None, Filters(), question)
    if view.version is not None:
        row = view.version.row(here.number)
        return (
            int(view.version.place_of[row]) if row is not None else sequence.fresh_place(view.version, here)
        )
    band, points, number = _key(here)
    before = (
        Q(band__lt=band) | Q(band=band, points__gt=points) | Q(band=band, points=points, number__lt=number)
    )
    rows = Standing.objects.filter(before, case_id=here.case_id, question=here.question)
    return rows.count() + 1


def counts(case: Case, question: Question | None = None) -> Counts:
    """How many items stand in each part of a question's order."""
    number = _number(question)
    standing.admit(case, number)
    rows = Standing.objects.filter(case=case, question=number).values("band", "state").order_by()
    by = {(row["band"], row["state"]): row["n"] for row in rows.annotate(n=Count("pk"))}

    def band(which: int) -> int:
        return sum(n for (b, _), n in by.items() if b == which)

    return Counts(
        scored=band(Band.SCORED),
        waiting=by.get((Band.UNSCORED, State.WAITING), 0),
        unreadable=by.get((Band.UNSCORED, State.UNREADABLE), 0),
        not_pictures=by.get((Band.UNSCORED, State.NOT_PICTURES), 0),
        failed=by.get((Band.UNSCORED, State.FAILED), 0),
        postponed=band(Band.POSTPONED),
        decided=band(Band.DECIDED),
    )


def number(
    case: Case, user: User, filters: Filters, *, question: Question | None = None, most: int = 1000
) -> tuple[int, bool]:
    """How many items a filter shows, counted up to `most`, and whether there are more."""
    rows = _View(case, user, filters, question).shown().order_by()
    found = len(rows.values_list("pk", flat=True)[: most + 1])
    return min(found, most), found > most


def classes(case: Case) -> list[tuple[str, int]]:
    """Suggested classes of the case and in how many items each was suggested, the most frequent first."""
    rows = Seen.objects.filter(case=case).values("label").order_by().annotate(n=Count("pk"))
    return sorted(((row["label"], row["n"]) for row in rows), key=lambda row: (-row[1], row[0]))


def stands(item: Item, question: Question | None = None) -> Standing:
    """The item's row: points by rules and reasons, or why no model has looked."""
    standing.admit(item.case, _number(question))
    return Standing.objects.get(item=item, question=_number(question))


# --- what a person is shown ---------------------------------------------------------------------------------------


def ranked(item: Item, question: Question | None = None) -> Row:
    """One item as it stands in a question's order."""
    view = _View(item.case, None, Filters(), question)
    return view.rows([stands(item, question)])[0]


def reasons(item: Item, question: Question | None = None) -> list[dict[str, Any]]:
    """What the item's score is the sum of, the weightiest first; by rules alone where it is in no version."""
    view, here = _View(item.case, None, Filters(), question), stands(item, question)
    if view.version is not None and view.version.row(here.number) is not None:
        return versions.reasons(view.version, item.case, [here.number])[here.number]
    return here.reasons


def shown(item: Item, question: Question | None = None, *, came: str = "") -> dict[str, Any]:
    """What a person is shown of the ranking, to be stored with their answer. Numbers that are not whole are text.

    `came`: "uncertain", "unusual" or "search" where the screen led there in that way; else it is told by the order itself.
    """
    here, found = stands(item, question), ranked(item, question)
    if came and came not in CAME:
        raise BadInput(f"An item came by one of {', '.join(CAME)}.")
    latest = _newest(item.case, question)
    analyses = standing.current_analyses([item.pk]).get(item.pk, {}).values()
    compared = unusual.share(item)
    return {
        "question": _number(question),
        "ranking": standing.Rules(here.criteria, "", {}, here.rules_sha256).ranking
        if here.rules_sha256
        else "",
        "version": latest.number if latest else 0,
        "version_sha256": latest.sha256 if latest else "",
        "place": place(item, question),
        "score": "" if found.score is None else str(found.score),
        "chance": "" if found.chance is None else f"{found.chance:.4f}",
        "reasons": reasons(item, question),
        "came": came or found.came,
        "state": here.state,
        "models": sorted(
            f"{a.model} ({a.analyser} {a.version})" for a in (*analyses, *([compared.by] if compared else []))
        ),
        "notice": registry.notice(),
    }


# --- reading it ---------------------------------------------------------------------------------------------------


def _number(question: Question | None) -> int:
    return question.number if question else Question.MAIN


def _newest(case: Case, question: Question | None) -> Ranking | None:
    asked = question or Question.objects.filter(case=case, number=Question.MAIN).first()
    return newest(asked) if asked else None


class _View:
    """What one reader sees of a question's order. `reader` None: for an item that was found visible already."""

    def __init__(self, case: Case, reader: User | None, filters: Filters, question: Question | None) -> None:
        if reader is not None:
            access.require(reader, "view", case)
        if question is not None and question.case_id != case.pk:
            raise BadInput("This question belongs to another case.")
        self.case, self.filters, self.question = case, filters, question
        self.number = _number(question)
        standing.admit(case, self.number)
        latest = _newest(case, question)
        self.version: Version | None = versions.opened(latest) if latest else None

    def shown(self) -> QuerySet[Standing]:
        """All rows that the filters show."""
        bands, states = STATUSES[self.filters.status]
        rows = Standing.objects.filter(case=self.case, question=self.number, band__in=bands)
        if states:
            rows = rows.filter(state__in=states)
        if self.filters.kind:
            rows = rows.filter(kind=self.filters.kind)
        if self.filters.label:
            seen = Seen.objects.filter(item_id=OuterRef("item_id"), label=self.filters.label)
            rows = rows.filter(Exists(seen))
        return rows.order_by("band", "-points", "number")

    def after(self, cursor: str, most: int) -> list[Standing]:
        """Up to so many rows behind a cursor (empty: from the top)."""
        here = _cursor(cursor) if cursor else None
        if here and here[0]:
            self._go_back_to(here[0])
        rows = self.shown()
        if self.version is None:
            return list((rows.filter(_behind(*here[1:])) if here else rows)[:most])
        found: list[Standing] = []
        if here is None or here[1] in WAITING:
            found = self._in_order(rows.filter(band__in=WAITING), here[3] if here else None, most)
        rest = rows.exclude(band__in=WAITING)
        if here and here[1] not in WAITING:
            rest = rest.filter(_behind(*here[1:]))
        return found + (list(rest[: most - len(found)]) if len(found) < most else [])

    def _go_back_to(self, number: int) -> None:
        if self.version is None or self.version.ranking.number != number:
            asked = self.question or questions.main(self.case)
            old = Ranking.objects.filter(question=asked, number=number).first()
            if old is None:
                raise BadInput("This address does not lead to a page of the queue. Start again from the top.")
            self.version = versions.opened(old)

    def cursor(self, row: Standing) -> str:
        """Where a row stands, as text for an address."""
        number = self.version.ranking.number if self.version else 0
        return ".".join(map(str, (number, *_key(row))))

    def _in_order(self, rows: QuerySet[Standing], behind: int | None, most: int) -> list[Standing]:
        """Waiting rows in the order of the version, those behind an item's number."""
        numbers = self._sequence()
        if behind is not None:
            at = np.flatnonzero(numbers == behind)
            numbers = numbers[at[0] + 1 :] if len(at) else numbers[:0]
        if self.filters.narrow:
            few = np.fromiter(rows.order_by().values_list("number", flat=True), np.int64)
            numbers = numbers[np.isin(numbers, few)]
        found: list[Standing] = []
        for some in sequence.some(numbers):
            there = {row.number: row for row in rows.filter(number__in=some)}
            found += [there[number] for number in some if number in there]
            if len(found) >= most:
                break
        return found[:most]

    def _sequence(self) -> NDArray[np.int64]:
        """Item numbers in order, with what came in since at the place that rules give it."""
        version = self.version
        assert version is not None
        if self.filters.by == "uncertain":
            return sequence.uncertain_first(version)
        if self.filters.by == "unusual":
            return sequence.unusual_first(version, unusual.shares(self.case, version.numbers))
        fresh = Standing.objects.filter(
            case=self.case, question=self.number, number__gt=version.last, band__in=WAITING
        )
        return sequence.with_fresh(version, list(fresh.order_by("number")))

    def rows(self, found: list[Standing]) -> list[Row]:
        """With their items, and what the version says of each."""
        items = Item.objects.select_related("case", "decision").in_bulk([row.item_id for row in found])
        return [self._row(row, items[row.item_id]) for row in found]

    def _row(self, row: Standing, item: Item) -> Row:
        version = self.version
        at = version.row(row.number) if version else None
        if version is None or at is None:
            return Row(item, row, None, row.value, None, "arrival" if version else "score")
        score = version.score(at) if version.looked_at[at] else None
        by = self.filters.by
        came = by if by != "score" else "lot" if version.by_lot(at) else "score"
        return Row(item, row, int(version.place_of[at]), score, version.chance(at), came)


def _key(row: Standing) -> tuple[int, int, int]:
    return row.band, row.points, row.number


def _behind(band: int, points: int, number: int) -> Q:
    return Q(band__gte=band) & (
        Q(band__gt=band) | Q(band=band, points__lt=points) | Q(band=band, points=points, number__gt=number)
    )


def _cursor(text: str) -> tuple[int, int, int, int]:
    """Version, band, points and number."""
    try:
        version, band, points, number = map(int, text.split("."))
    except ValueError:
        raise BadInput(
            "This address does not lead to a page of the queue. Start again from the top."
        ) from None
    return version, band, points, number
