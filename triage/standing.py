"""Keeps each item's place by rules under each question: admit new items, score them, follow answers, rebuild.

Rows here are derived: `rebuild` makes them again from items, suggestions, criteria, decisions and answers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from archive.models import Case, Decision, Item, Postponement, Source
from triage import facts as known_facts
from triage import scoring
from triage.facts import Facts, current_analyses
from triage.models import Analysis, Answer, Criteria, Known, Question, Seen, Standing
from triage.results import Suggested

__all__ = [
    "Facts",
    "Placing",
    "Rules",
    "admit",
    "current_analyses",
    "facts_of",
    "place",
    "place_all",
    "rebuild",
    "rescore",
    "rules_of",
]

CHUNK = 500
SCORE = ["points", "reasons", "known", "criteria", "rules_sha256", "scored_at"]
PLACE = ["kind", "band", "state", "note", *SCORE]
MAIN = Question.MAIN
Band, State = Standing.Band, Standing.State


@dataclass(frozen=True)
class Rules:
    """The rules in force for a question: their number (0: built in), name, content and hash."""

    number: int
    name: str
    rules: dict[str, Any]
    sha256: str

    @property
    def ranking(self) -> str:
        """What a decision stores of them: which version of which rules ordered the item."""
        return f"scoring {scoring.FORMAT}, criteria {self.number}, rules {self.sha256}"


_BUILT_IN = Rules(0, scoring.DEFAULT_NAME, scoring.DEFAULT_RULES, scoring.rules_sha256(scoring.DEFAULT_RULES))
_NONE = Rules(0, "", scoring.NO_RULES, scoring.rules_sha256(scoring.NO_RULES))


def rules_of(case: Case, question: int = MAIN) -> Rules:
    """The newest criteria of a question; else the built-in ones for question 0, and none for another."""
    row = Criteria.objects.filter(case=case, question=question).order_by("-number").first()
    if row is None:
        return _BUILT_IN if question == MAIN else _NONE
    return Rules(row.number, row.name, row.rules, scoring.rules_sha256(row.rules))


def open_questions(case: Case) -> list[int]:
    """The numbers of a case's open questions, 0 first."""
    asked = Question.objects.filter(case=case, closed_at=None, number__gt=MAIN).order_by("number")
    return [MAIN, *asked.values_list("number", flat=True)]


# --- arriving -----------------------------------------------------------------------------------------------


def admit(case: Case, question: int = MAIN) -> int:
    """Give every item of the case a row. Items are numbered as they arrive, so two look-ups tell if one lacks it."""
    newest = Item.objects.filter(case=case).aggregate(n=Max("number"))["n"] or 0
    placed = Standing.objects.filter(case=case, question=question).aggregate(n=Max("number"))["n"] or 0
    if newest == placed:
        return 0
    if question != MAIN:
        admit(case)
    fresh = Item.objects.filter(case=case, number__gt=placed).order_by("number")
    rows = [
        Standing(
            item_id=pk,
            case_id=case.pk,
            question=question,
            number=number,
            kind=kind,
            band=Band.DECIDED if decided and question == MAIN else Band.UNSCORED,
        )
        for pk, number, kind, decided in fresh.values_list("pk", "number", "kind", "decision_id")
    ]
    if question != MAIN:
        _take_over(case, rows)
    with transaction.atomic():  # all or none: a gap would hide an item
        Standing.objects.bulk_create(rows, batch_size=CHUNK, ignore_conflicts=True)
    return len(rows)


def _take_over(case: Case, rows: list[Standing]) -> None:
    """What models made of the items is the same under every question."""
    main = Standing.objects.filter(case=case, question=MAIN).defer("reasons")
    said = {row.item_id: row for row in main}
    for row in rows:
        if found := said.get(row.item_id):
            row.state, row.note, row.known_id, row.kind = found.state, found.note, found.known_id, found.kind
            row.band = _band(row)


# --- scoring ------------------------------------------------------------------------------------------------


def facts_of(items: Iterable[Item]) -> dict[UUID, Facts]:
    """What is known of these items, in a few queries. They have their case and source at hand."""
    return known_facts.read(known_facts.gather(items))


@dataclass(frozen=True)
class Placing:
    """What became of an item that a model was to look at. `suggested` spares reading what models said."""

    item: Item
    state: str = State.SCORED
    note: str = ""
    suggested: Suggested | None = None


def place(item: Item, facts: Facts | None = None, *, state: str = State.SCORED, note: str = "") -> None:
    """As `place_all`, for one item. What is known is gathered and kept, unless `facts` are given."""
    one = Placing(item, state, note)
    if facts is None:
        place_all([one])
    else:
        _place([one], {item.pk: facts}, {})


def place_all(placings: Sequence[Placing]) -> None:
    """Write items' rows under all open questions after a model has looked, or could not. In the caller's transaction.

    What is known of them is gathered and kept. They have their case and source at hand.
    """
    kept = known_facts.gather(one.item for one in placings)
    known = _keep(kept)
    at_hand = {one.item.pk: one.suggested for one in placings if one.suggested is not None}
    _place(placings, known_facts.read(kept, at_hand), known)


def _place(placings: Sequence[Placing], facts: Mapping[UUID, Facts], known: Mapping[UUID, int]) -> None:
    by_item = {one.item.pk: one for one in placings}
    for case in {one.item.case for one in placings}:
        ids = [one.item.pk for one in placings if one.item.case_id == case.pk]
        for question in open_questions(case):
            rules, rows = rules_of(case, question), _rows(case, question, ids)
            if len(rows) < len(ids):
                raise Standing.DoesNotExist("An item has no place among those of its case.")
            for row in rows:
                one = by_item[row.item_id]
                row.kind, row.note = one.item.kind, one.note[:400]
                row.known_id = known.get(row.item_id)
                _put(row, rules, facts[row.item_id], one.state)
            _save(rows, PLACE)
    Seen.objects.filter(item__in=by_item).delete()
    seen = [seen for pk, one in by_item.items() for seen in _seen(pk, one.item.case_id, facts[pk])]
    Seen.objects.bulk_create(seen, batch_size=CHUNK)


def _rows(case: Case, question: int, ids: list[UUID]) -> list[Standing]:
    """These items' rows under a question, locked; they are admitted where they have none yet."""
    rows = Standing.objects.select_for_update().filter(item__in=ids, question=question).order_by("pk")
    found = list(rows)
    if len(found) < len(ids):
        admit(case, question)
        found = list(rows.all())
    return found


def _save(rows: list[Standing], fields: list[str]) -> None:
    """Write fields of rows that are there already, in one statement that finds them by item and question."""
    for row in rows:
        row.pk = None
    Standing.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["item", "question"], update_fields=fields
    )


def know_again(item: Item) -> None:
    """Score an item again after people said more of it (a note, a tag, a place). In the caller's transaction."""
    row = Standing.objects.filter(item=item, question=MAIN).first()
    if row is not None:
        place(item, state=row.state, note=row.note)


def know_source_again(source: Source) -> int:
    """Score a source's items again that were scored by another reliability, some at a time. Returns how many."""
    rows = Standing.objects.filter(item__source=source, question=MAIN, known__isnull=False)
    rows = rows.exclude(known__facts__reliability=source.reliability)
    ids = list(rows.order_by("number").values_list("item_id", flat=True))
    for start in range(0, len(ids), CHUNK):
        with transaction.atomic():
            some = Standing.objects.filter(item__in=ids[start : start + CHUNK], question=MAIN)
            some = some.select_related("item__case", "item__source").order_by("number")
            place_all([Placing(row.item, row.state, row.note) for row in some])
    return len(ids)


def _keep(kept: Mapping[UUID, known_facts.Kept]) -> dict[UUID, int]:
    """Numbers of the rows that hold these facts: the newest one's where nothing else is known, else a new one's."""
    newest: dict[UUID, tuple[int, Any]] = {}
    rows = Known.objects.filter(item_id__in=list(kept)).order_by("pk")
    for pk, item, facts in rows.values_list("pk", "item_id", "facts"):
        newest[item] = pk, facts
    now = timezone.now()
    fresh = [
        Known(item_id=item, facts=facts, at=now)
        for item, facts in kept.items()
        if item not in newest or newest[item][1] != facts
    ]
    Known.objects.bulk_create(fresh, batch_size=CHUNK)
    return {item: pk for item, (pk, _) in newest.items()} | {row.item_id: row.pk for row in fresh}


def _put(row: Standing, rules: Rules, facts: Facts, state: str) -> None:
    """Fill in band, points and reasons. Without a model's look the points are what the rules say all the same."""
    row.state = state
    row.criteria, row.rules_sha256, row.scored_at = rules.number, rules.sha256, timezone.now()
    value, reasons = scoring.score(rules.rules, facts)
    row.points, row.reasons = int(value.scaleb(3)), [reason.as_json() for reason in reasons]
    if row.band != Band.DECIDED:
        row.band = _band(row)


def _band(row: Standing) -> int:
    if row.postponed:
        return Band.POSTPONED
    return Band.SCORED if row.state == State.SCORED else Band.UNSCORED


def _seen(item: UUID, case: UUID, facts: Facts) -> list[Seen]:
    best: dict[str, Decimal] = {}
    most: dict[str, int] = {}
    for seen in facts.frames.values():
        for label, confidences in seen.items():
            best[label] = max(best.get(label, Decimal(0)), *confidences)
            most[label] = max(most.get(label, 0), len(confidences))
    for label, confidence in facts.tags.items():
        best[label] = max(best.get(label, confidence), confidence)
    return [
        Seen(item_id=item, case_id=case, label=label, confidence=best[label], most_at_once=most.get(label, 0))
        for label in best
    ]


# --- following people ---------------------------------------------------------------------------------------


def decided(item: Item, is_decided: bool, question: int = MAIN) -> None:
    """An answer came into force, or none is in force any more. In the caller's transaction."""
    admit(item.case, question)
    row = Standing.objects.get(item=item, question=question)
    row.postponed = False
    row.band = Band.DECIDED if is_decided else _band(row)
    row.save(update_fields=["band", "postponed"])


def put_off(item: Item) -> None:
    """A person postponed the item, under every question. In the caller's transaction."""
    for question in open_questions(item.case):
        admit(item.case, question)
    rows = Standing.objects.filter(item=item).exclude(band=Band.DECIDED)
    rows.update(band=Band.POSTPONED, postponed=True)


# --- rebuilding ---------------------------------------------------------------------------------------------


def rescore(case: Case, question: int = MAIN) -> int:
    """Score every item of the case by the rules in force. Returns how many were scored."""
    admit(case, question)
    rules, scored = rules_of(case, question), 0
    for items in chunks(case):
        kept = known_facts.gather(items)
        with transaction.atomic():
            known = _keep(kept)
        facts = known_facts.read(kept)
        with transaction.atomic():
            rows = _rows(case, question, [item.pk for item in items])
            rows = [row for row in rows if row.state != State.WAITING]
            for row in rows:
                _put(row, rules, facts[row.item_id], row.state)
                row.known_id = known[row.item_id]
            _save(rows, SCORE)
        scored += sum(row.state == State.SCORED for row in rows)
    return scored


def rebuild(case: Case) -> int:
    """Make all rows of the case again from what they are derived from. Returns how many items there are."""
    numbers, count = open_questions(case), 0
    for number in numbers:
        admit(case, number)
    for items in chunks(case):
        with transaction.atomic():
            _rebuild(case, items, numbers)
        count += len(items)
    return count


def _rebuild(case: Case, items: list[Item], numbers: list[int]) -> None:
    ids, kept = [item.pk for item in items], known_facts.gather(items)
    known, facts, kinds = _keep(kept), known_facts.read(kept), {item.pk: item.kind for item in items}
    analysed = set(Analysis.objects.filter(item_id__in=ids).values_list("item_id", flat=True))
    put_off = _latest(Postponement.objects.filter(item_id__in=ids))
    for number in numbers:
        answered, said = _said(case, ids, number)
        rules = rules_of(case, number)
        rows = _rows(case, number, ids)
        for row in rows:
            put_off_at, said_at = put_off.get(row.item_id), said.get(row.item_id)
            row.kind, row.known_id = kinds[row.item_id], known[row.item_id]
            row.postponed = put_off_at is not None and (said_at is None or put_off_at > said_at)
            row.band = Band.DECIDED if row.item_id in answered else Band.UNSCORED
            state = State.SCORED if row.item_id in analysed else row.state
            never = state == State.SCORED and row.item_id not in analysed
            _put(row, rules, facts[row.item_id], State.WAITING if never else state)
        _save(rows, [*PLACE, "postponed"])
    Seen.objects.filter(item_id__in=ids).delete()
    Seen.objects.bulk_create([seen for item in items for seen in _seen(item.pk, case.pk, facts[item.pk])])


def _said(case: Case, ids: list[UUID], question: int) -> tuple[set[UUID], dict[UUID, Any]]:
    """Which items have an answer in force, and when each was last spoken of."""
    if question == MAIN:
        decided = Item.objects.filter(pk__in=ids, decision__isnull=False).values_list("pk", flat=True)
        return set(decided), _latest(Decision.objects.filter(item_id__in=ids))
    answers = Answer.objects.filter(item_id__in=ids, question__case=case, question__number=question)
    counting = answers.filter(withdrawn_by=None).exclude(value=Answer.Value.WITHDRAWN)
    return set(counting.values_list("item_id", flat=True)), _latest(answers)


def chunks(case: Case) -> Iterator[list[Item]]:
    """All items of a case by arrival, some at a time, with case and source at hand."""
    last = 0
    while items := list(
        Item.objects.filter(case=case, number__gt=last)
        .select_related("case", "source")
        .order_by("number")[:CHUNK]
    ):
        yield items
        last = items[-1].number


def _latest(rows: Any) -> dict[UUID, Any]:
    return dict(rows.order_by().values("item_id").annotate(at=Max("at")).values_list("item_id", "at"))
