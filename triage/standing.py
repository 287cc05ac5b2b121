"""Keeps each item's place in the order of review: admit new items, score them, follow decisions, rebuild.

Rows here are derived: `rebuild` makes them again from items, detections, criteria and decisions.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from archive.models import Case, Claim, Decision, Finding, Item, Postponement
from triage import scoring
from triage.models import Analysis, Criteria, Detection, Seen, Standing, Tagged
from triage.registry import ONE_RUNS
from triage.results import Suggested

CHUNK = 500
Band, State = Standing.Band, Standing.State


@dataclass(frozen=True)
class Rules:
    """The rules in force for a case: their number (0: built in), name, content and hash."""

    number: int
    name: str
    rules: dict[str, Any]
    sha256: str

    @property
    def ranking(self) -> str:
        """What a decision stores of them: which version of which rules ordered the item."""
        return f"scoring {scoring.FORMAT}, criteria {self.number}, rules {self.sha256}"


_BUILT_IN = Rules(0, scoring.DEFAULT_NAME, scoring.DEFAULT_RULES, scoring.rules_sha256(scoring.DEFAULT_RULES))


def rules_of(case: Case) -> Rules:
    """The case's newest criteria, or the built-in ones."""
    row = Criteria.objects.filter(case=case).order_by("-number").first()
    if row is None:
        return _BUILT_IN
    return Rules(row.number, row.name, row.rules, scoring.rules_sha256(row.rules))


# --- arriving -----------------------------------------------------------------------------------------------


def admit(case: Case) -> int:
    """Give every item of the case a row. Items are numbered as they arrive, so two look-ups tell if one lacks it."""
    newest = Item.objects.filter(case=case).aggregate(n=Max("number"))["n"] or 0
    placed = Standing.objects.filter(case=case).aggregate(n=Max("number"))["n"] or 0
    if newest == placed:
        return 0
    fresh = Item.objects.filter(case=case, number__gt=placed).order_by("number")
    rows = [
        Standing(
            item_id=pk,
            case_id=case.pk,
            number=number,
            kind=kind,
            band=Band.DECIDED if decided else Band.UNSCORED,
        )
        for pk, number, kind, decided in fresh.values_list("pk", "number", "kind", "decision_id")
    ]
    with transaction.atomic():  # all or none: a gap would hide an item
        Standing.objects.bulk_create(rows, batch_size=CHUNK, ignore_conflicts=True)
    return len(rows)


# --- scoring ------------------------------------------------------------------------------------------------


def facts_of(
    items: Iterable[Item], suggested: dict[UUID, Suggested] | None = None
) -> dict[UUID, scoring.Facts]:
    """What is known of these items, in a few queries. They have their case and source at hand.

    `suggested` spares reading what models said, for a caller that has it all.
    """
    items = list(items)
    ids = [item.pk for item in items]
    suggested = _suggested(ids) if suggested is None else suggested
    captured = _captured(ids)
    return {
        item.pk: scoring.Facts(
            **(suggested[item.pk]._asdict() if item.pk in suggested else {}),
            reliability=item.source.reliability if item.source_id else None,
            captured_on=captured.get(item.pk),
            opened_on=item.case.created_at.date(),
        )
        for item in items
    }


def current_analyses(ids: Iterable[UUID]) -> dict[UUID, dict[str, Analysis]]:
    """For each item the newest analyses: those whose suggestions count and are shown.

    Under the name of its task for a task that one analyser does, else under the analyser's.
    """
    newest: dict[UUID, dict[str, Analysis]] = defaultdict(dict)
    for analysis in Analysis.objects.filter(item_id__in=list(ids)).order_by("finished_at", "pk"):
        key = analysis.task if analysis.task in ONE_RUNS else analysis.analyser
        newest[analysis.item_id][key] = analysis
    return dict(newest)


def _suggested(ids: list[UUID]) -> dict[UUID, Suggested]:
    owner: dict[UUID, UUID] = {}
    found: dict[UUID, Suggested] = {}
    for item, analyses in current_analyses(ids).items():
        found[item] = Suggested({at: {} for analysis in analyses.values() for at in analysis.looked_at_ms}, {})
        owner.update({analysis.pk: item for analysis in analyses.values()})
    rows = Detection.objects.filter(analysis_id__in=list(owner)).order_by()
    for analysis, at_ms, label, confidence in rows.values_list("analysis_id", "at_ms", "label", "confidence"):
        seen = found[owner[analysis]].frames.setdefault(at_ms, {})
        seen[label] = (*seen.get(label, ()), confidence)
    tagged = Tagged.objects.filter(analysis_id__in=list(owner)).order_by()
    for analysis, label, confidence in tagged.values_list("analysis_id", "label", "confidence"):
        tags = found[owner[analysis]].tags
        tags[label] = max(tags.get(label, confidence), confidence)
    return found


def _captured(ids: list[UUID]) -> dict[UUID, date]:
    """The day of capture: as established last, else as claimed first."""
    days: dict[UUID, date] = {}
    claims = Claim.objects.filter(item_id__in=ids, about="captured_at").order_by("-at", "-pk")
    findings = Finding.objects.filter(item_id__in=ids, about="captured_at").order_by("at", "pk")
    for rows in (claims, findings):
        for item, local_time in rows.values_list("item_id", "local_time"):
            try:
                days[item] = date.fromisoformat(local_time[:10])
            except ValueError:  # known to the month or the year only, or not at all
                continue
    return days


def place(
    item: Item, rules: Rules, facts: scoring.Facts, *, state: str = State.SCORED, note: str = ""
) -> None:
    """Write an item's row after a model has looked, or could not. In the caller's transaction."""
    row = Standing.objects.filter(pk=item.pk).first()
    if row is None:
        admit(item.case)
        row = Standing.objects.get(pk=item.pk)
    if row.state == State.SCORED:
        Seen.objects.filter(item=item).delete()
    row.kind, row.note = item.kind, note[:400]
    _put(row, rules, facts, state)
    row.save(force_update=True)
    Seen.objects.bulk_create(_seen(item.pk, item.case_id, facts))


def _put(row: Standing, rules: Rules, facts: scoring.Facts, state: str) -> None:
    """Fill in band, points and reasons."""
    row.state = state
    row.criteria, row.rules_sha256, row.scored_at = rules.number, rules.sha256, timezone.now()
    if state == State.SCORED:
        value, reasons = scoring.score(rules.rules, facts)
        row.points, row.reasons = int(value.scaleb(3)), [reason.as_json() for reason in reasons]
    else:
        row.points, row.reasons = Standing.UNSCORED_POINTS, []
    if row.band != Band.DECIDED:
        row.band = _band(row)


def _band(row: Standing) -> int:
    if row.postponed:
        return Band.POSTPONED
    return Band.SCORED if row.state == State.SCORED else Band.UNSCORED


def _seen(item: UUID, case: UUID, facts: scoring.Facts) -> list[Seen]:
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


def decided(item: Item, is_decided: bool) -> None:
    """A decision came into force, or none is in force any more. In the caller's transaction."""
    admit(item.case)
    row = Standing.objects.get(pk=item.pk)
    row.postponed = False
    row.band = Band.DECIDED if is_decided else _band(row)
    row.save(update_fields=["band", "postponed"])


def put_off(item: Item) -> None:
    """A person postponed the item. In the caller's transaction."""
    admit(item.case)
    Standing.objects.filter(pk=item.pk).exclude(band=Band.DECIDED).update(band=Band.POSTPONED, postponed=True)


# --- rebuilding ---------------------------------------------------------------------------------------------


def rescore(case: Case) -> int:
    """Score every item of the case by the rules in force. Returns how many were scored."""
    admit(case)
    rules, scored = rules_of(case), 0
    for items in _chunks(case):
        facts = facts_of(items)
        rows = list(Standing.objects.filter(pk__in=[item.pk for item in items], state=State.SCORED))
        for row in rows:
            _put(row, rules, facts[row.pk], State.SCORED)
        with transaction.atomic():
            for row in rows:
                _save_unless_moved(row)
        scored += len(rows)
    return scored


def _save_unless_moved(row: Standing) -> None:
    """Save the score; the band only where nobody decided or postponed meanwhile."""
    Standing.objects.filter(pk=row.pk, state=State.SCORED).update(
        points=row.points,
        reasons=row.reasons,
        criteria=row.criteria,
        rules_sha256=row.rules_sha256,
        scored_at=row.scored_at,
    )


def rebuild(case: Case) -> int:
    """Make all rows of the case again from what they are derived from. Returns how many there are."""
    admit(case)
    rules, count = rules_of(case), 0
    for items in _chunks(case):
        facts, ids = facts_of(items), [item.pk for item in items]
        last_said = _latest(Decision.objects.filter(item_id__in=ids))
        last_put_off = _latest(Postponement.objects.filter(item_id__in=ids))
        analysed = current_analyses(ids)
        with transaction.atomic():
            for item in items:
                row = Standing.objects.select_for_update().get(pk=item.pk)
                put_off_at, said_at = last_put_off.get(item.pk), last_said.get(item.pk)
                row.kind = item.kind
                row.postponed = bool(put_off_at) and (said_at is None or put_off_at > said_at)
                row.band = Band.DECIDED if item.decision_id else Band.UNSCORED
                state = State.SCORED if item.pk in analysed else row.state
                _put(
                    row,
                    rules,
                    facts[item.pk],
                    state if state != State.SCORED or item.pk in analysed else State.WAITING,
                )
                row.save()
            Seen.objects.filter(item_id__in=ids).delete()
            Seen.objects.bulk_create(
                [seen for item in items for seen in _seen(item.pk, case.pk, facts[item.pk])]
            )
        count += len(items)
    return count


def _chunks(case: Case) -> Iterator[list[Item]]:
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
