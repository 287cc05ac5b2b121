"""What other rules would move, before anybody puts them in force. It reads a bounded number of items and saves nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from archive.models import Item
from triage import scoring, standing
from triage.models import Question, Standing

MOST = 1000  # items looked at: half of them from the top of the order, half spread evenly over the rest
LISTED = 10


@dataclass(frozen=True)
class Move:
    """An item's place among those looked at, now and with the other rules, and the points that it gains."""

    item: Item
    before: int
    after: int
    gain: Decimal


@dataclass(frozen=True)
class Preview:
    """How many waiting items would move, of those looked at; which would come first, and which would no longer."""

    looked: int
    top: int
    of: int
    up: int
    down: int
    first: list[Move]
    gone: list[Move]

    @property
    def same(self) -> int:
        """Those that would stay where they are."""
        return self.looked - self.up - self.down


def of(*, question: Question, rules: Mapping[str, Any]) -> Preview:
    """Compare the order under these rules with the present one. Raises BadInput for rules that cannot be used."""
    scoring.validate(rules)
    case, number = question.case, question.number
    standing.admit(case, number)
    rows, top, waiting = _looked_at(question)
    facts = standing.facts_of([row.item for row in rows])
    now = [row.points for row in rows]
    then = [int(scoring.score(rules, facts[row.item_id])[0].scaleb(3)) for row in rows]
    before, after = _places(rows, now), _places(rows, then)
    moves = [
        Move(row.item, before[i], after[i], Decimal(then[i] - now[i]).scaleb(-3))
        for i, row in enumerate(rows)
    ]
    return Preview(
        looked=len(rows),
        top=top,
        of=waiting,
        up=sum(m.after < m.before for m in moves),
        down=sum(m.after > m.before for m in moves),
        first=sorted((m for m in moves if m.after <= LISTED), key=lambda m: m.after),
        gone=sorted((m for m in moves if m.before <= LISTED < m.after), key=lambda m: m.before),
    )


def _looked_at(question: Question) -> tuple[list[Standing], int, int]:
    """The rows to look at in their present order, how many of them are the first ones, and how many wait in all."""
    rows = Standing.objects.filter(
        case_id=question.case_id,
        question=question.number,
        band__in=(Standing.Band.SCORED, Standing.Band.UNSCORED),
    ).order_by("band", "-points", "number")
    waiting = rows.count()
    chosen, top = list(rows.values_list("pk", flat=True)[:MOST]), min(waiting, MOST)
    if waiting > MOST:
        top = MOST // 2
        rest = list(rows.values_list("pk", flat=True)[top:])
        chosen = chosen[:top] + rest[:: -(-len(rest) // (MOST - top))]
    found = rows.filter(pk__in=chosen).select_related("item__case", "item__source")
    return list(found), top, waiting


def _places(rows: list[Standing], points: list[int]) -> list[int]:
    """Each row's place, 1 being the first: by band, then points from high to low, then arrival."""
    ranked = sorted(range(len(rows)), key=lambda i: (rows[i].band, -points[i], rows[i].number))
    places = [0] * len(rows)
    for place, i in enumerate(ranked, 1):
        places[i] = place
    return places
