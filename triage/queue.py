"""The order of review. It puts items in order and hides none.

1. scored items, by score from high to low; equal scores by arrival, the oldest first
2. items without a score (no model has looked yet, could not, or reads no such files), by arrival
3. postponed items, by score, then arrival
Decided items follow in the same way where a filter asks for them. `counts` says how many stand in each part, for the
top of the page: what could not be scored is named there, not left at the end of a list.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from archive import access
from archive.errors import BadInput
from archive.models import Case, Item, User
from triage import registry, standing
from triage.models import Seen, Standing

Band, State = Standing.Band, Standing.State
PAGE = 50

# status: which bands it shows
STATUSES: dict[str, tuple[int, ...]] = {
    "undecided": (Band.SCORED, Band.UNSCORED, Band.POSTPONED),
    "unscored": (Band.UNSCORED,),
    "postponed": (Band.POSTPONED,),
    "decided": (Band.DECIDED,),
    "all": (Band.SCORED, Band.UNSCORED, Band.POSTPONED, Band.DECIDED),
}


@dataclass(frozen=True)
class Filters:
    """What to show of a case: kind of file, status (see STATUSES), a suggested class. Empty: no filter."""

    kind: str = ""
    status: str = "undecided"
    label: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise BadInput(f"Unknown status: use one of {', '.join(STATUSES)}.")
        if self.kind and self.kind not in Item.Kind.values:
            raise BadInput(f"Unknown kind: use one of {', '.join(Item.Kind.values)}.")


@dataclass(frozen=True)
class Page:
    """Some rows of the order, each with its item, and the cursor of what follows (empty: nothing does)."""

    rows: list[Standing]
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


def order(
    case: Case, user: User, filters: Filters | None = None, *, after: str = "", size: int = PAGE
) -> Page:
    """A page of the order. `after` is the cursor of the page before. Raises NotAllowed, BadInput."""
    rows = _rows(case, user, filters or Filters())
    if after:
        rows = rows.filter(_behind(*_place(after)))
    found = list(rows.select_related("item__case", "item__decision")[: size + 1])
    return Page(found[:size], cursor(found[size - 1]) if len(found) > size else "")


def next_item(
    case: Case, reader: User, filters: Filters | None = None, *, after: Item | None = None
) -> Item | None:
    """The next item for this reader: behind `after`, then from the top; None when nothing else awaits a person."""
    rows = _rows(case, reader, filters or Filters()).select_related("item__case")
    if after is None:
        row = rows.first()
        return row and row.item
    here = Standing.objects.filter(pk=after.pk).first()
    rows = rows.exclude(pk=after.pk)
    row = (here and rows.filter(_behind(*_key(here))).first()) or rows.first()
    return row and row.item


def place(item: Item) -> int:
    """The item's place in its case's order, 1 being the first. Decided items stand behind all others."""
    standing.admit(item.case)
    here = Standing.objects.get(pk=item.pk)
    band, points, number = _key(here)
    before = (
        Q(band__lt=band) | Q(band=band, points__gt=points) | Q(band=band, points=points, number__lt=number)
    )
    return Standing.objects.filter(before, case_id=here.case_id).count() + 1


def counts(case: Case) -> Counts:
    """How many items stand in each part of the case's order."""
    standing.admit(case)
    rows = Standing.objects.filter(case=case).values("band", "state").order_by().annotate(n=Count("pk"))
    by = {(row["band"], row["state"]): row["n"] for row in rows}

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


def number(case: Case, user: User, filters: Filters, *, most: int = 1000) -> tuple[int, bool]:
    """How many items a filter shows, counted up to `most`, and whether there are more."""
    found = len(_rows(case, user, filters).order_by().values_list("pk", flat=True)[: most + 1])
    return min(found, most), found > most


def classes(case: Case) -> list[tuple[str, int]]:
    """Suggested classes of the case and in how many items each was suggested, the most frequent first."""
    rows = Seen.objects.filter(case=case).values("label").order_by().annotate(n=Count("pk"))
    return sorted(((row["label"], row["n"]) for row in rows), key=lambda row: (-row[1], row[0]))


def stands(item: Item) -> Standing:
    """The item's row: score, reasons, or why it has none."""
    standing.admit(item.case)
    return Standing.objects.get(pk=item.pk)


def shown(item: Item) -> dict[str, Any]:
    """What a person is shown of the ranking, to be stored with their decision. Numbers that are not whole are text."""
    row = stands(item)
    return {
        "ranking": standing.Rules(row.criteria, "", {}, row.rules_sha256).ranking if row.rules_sha256 else "",
        "place": place(item),
        "score": "" if row.value is None else str(row.value),
        "reasons": row.reasons,
        "state": row.state,
        "notice": registry.notice(),
    }


def cursor(row: Standing) -> str:
    """Where a row stands, as text for an address."""
    return ".".join(map(str, _key(row)))


def _rows(case: Case, user: User, filters: Filters) -> QuerySet[Standing]:
    access.require(user, "view", case)
    standing.admit(case)
    rows = Standing.objects.filter(case=case, band__in=STATUSES[filters.status])
    if filters.kind:
        rows = rows.filter(kind=filters.kind)
    if filters.label:
        rows = rows.filter(Exists(Seen.objects.filter(item_id=OuterRef("pk"), label=filters.label)))
    return rows.order_by("band", "-points", "number")


def _key(row: Standing) -> tuple[int, int, int]:
    return row.band, row.points, row.number


def _behind(band: int, points: int, number: int) -> Q:
    return Q(band__gte=band) & (
        Q(band__gt=band) | Q(band=band, points__lt=points) | Q(band=band, points=points, number__gt=number)
    )


def _place(after: str) -> Iterable[int]:
    try:
        band, points, number = map(int, after.split("."))
    except ValueError:
        raise BadInput(
            "This address does not lead to a page of the queue. Start again from the top."
        ) from None
    return band, points, number
