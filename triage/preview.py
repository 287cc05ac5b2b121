"""What other rules would move, before anybody puts them in force. It reads a bounded number of items and saves nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from archive.models import Item
from triage import asking, scoring, standing, unusual, versions
from triage.models import Question, Standing
from triage.versions import Version

MOST = 1000  # items looked at: half of them from the top of the order, half spread evenly over the rest
LISTED = 10
WAITING = (Standing.Band.SCORED, Standing.Band.UNSCORED)


@dataclass(frozen=True)
class Move:
    """An item's place among those looked at, now and with the other rules, and what its score gains."""

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
    """Compare the order under these rules with the present one. Raises BadInput for rules that cannot be used.

    What was learned and how long items wait count as in the newest version of the order; the lot is left out of both.
    """
    scoring.validate(rules)
    standing.admit(question.case, question.number)
    newest = asking.newest(question)
    version = versions.opened(newest) if newest else None
    numbers, top, waiting = _looked_at(question, version)
    rows = list(
        Standing.objects.filter(case=question.case, question=question.number, number__in=numbers)
        .select_related("item__case", "item__source")
        .order_by("number")
    )
    facts = standing.facts_of([row.item for row in rows])
    tenths = unusual.shares(question.case, np.array([row.number for row in rows], np.int64))
    told = {row.item_id: int(one) for row, one in zip(rows, tenths, strict=True)}
    facts = {pk: scoring.with_unusual(one, told[pk]) for pk, one in facts.items()}
    points = [int(scoring.score(rules, facts[row.item_id])[0].scaleb(3)) for row in rows]
    more = scoring.unusual_points(version.ranking.rules if version else scoring.NO_RULES, tenths)
    before = [_score(row, row.points + int(one), version) for row, one in zip(rows, more, strict=True)]
    after = [_score(row, new, version) for row, new in zip(rows, points, strict=True)]
    was, will = _places(rows, before), _places(rows, after)
    moves = [
        Move(row.item, was[i], will[i], Decimal(after[i][1] - before[i][1]).scaleb(-3))
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


def _looked_at(question: Question, version: Version | None) -> tuple[list[int], int, int]:
    """Numbers of the items to look at, how many of them are the first of the order, and how many wait in all."""
    rows = Standing.objects.filter(case=question.case, question=question.number, band__in=WAITING)
    by_rules = rows.order_by("band", "-points", "number").values_list("number", flat=True)
    waiting = list(by_rules)
    if version is not None:
        still = set(waiting)
        ordered = [n for n in version.numbers[version.order.places].tolist() if n in still]
        waiting = ordered + [n for n in waiting if n > version.last]
    if len(waiting) <= MOST:
        return waiting, len(waiting), len(waiting)
    top = MOST // 2
    rest = waiting[top:]
    return waiting[:top] + rest[:: -(-len(rest) // (MOST - top))], top, len(waiting)


def _score(row: Standing, points: int, version: Version | None) -> tuple[int, int]:
    """How an item ranks with these points: behind which others (0: behind none), and its score in thousandths."""
    at = version.row(row.number) if version else None
    if version is None or at is None:
        return int(row.band != Standing.Band.SCORED), points
    parts = version.parts
    return 0, int(parts.learned[at]) + round(version.how.rules * points) + int(parts.waiting[at])


def _places(rows: list[Standing], scores: list[tuple[int, int]]) -> list[int]:
    """Each row's place, 1 being the first: by score from high to low, equal ones by arrival."""
    ranked = sorted(range(len(rows)), key=lambda i: (scores[i][0], -scores[i][1], rows[i].number))
    places = [0] * len(rows)
    for place, i in enumerate(ranked, 1):
        places[i] = place
    return places
