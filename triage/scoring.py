"""The explainable score: rules that an analyst wrote, over what models suggested and what is known of the source.

`score` is a pure function: the same rules and facts give the same value and the same reasons. See triage.rules for their form.

seen         weight, once, when one of the classes was suggested anywhere, with a box or without
count        `each` for every one of the classes in the fullest frame beyond the first `beyond`, up to `at_most`
together     weight, once, when one frame has something of each group
tracked      weight, once, when at least so many (1) objects of the classes were followed for so many seconds (0) each
tagged       weight, once, when a model suggests one of these words for the item, or a person put one on it
written      weight, once, when text read in the picture, or a note, contains one of these words, compared as the search does
caption      weight, once, when a sentence in which a model described the picture contains one of these words (as above)
from_source  weight when the item came from one of these sources
place        weight when coordinates, established or claimed, lie in the box or near enough
captured     weight when the capture date, established or claimed, lies in this span, its ends included
source       weight x reliability / 100; nothing where the reliability is not stated
recency      weight, halved for every `half_life_days` that the capture date lies before `as_of` (without it: before the
             case was opened); nothing where no date is claimed or established

unusual      weight when the item is among the `percent` of the compared items that are least like the rest of the case;
             nothing for one that came in since

A negative weight moves an item back; it never hides.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive import search
from triage.facts import Facts, Place
from triage.rules import (
    DEFAULT_CONFIDENCE,
    DEFAULT_NAME,
    DEFAULT_RULES,
    FIELDS,
    FORMAT,
    MOST_CRITERIA,
    NO_RULES,
    STEP,
    known_classes,
    rules_sha256,
    validate,
)

__all__ = [
    "DEFAULT_CONFIDENCE",
    "DEFAULT_NAME",
    "DEFAULT_RULES",
    "FIELDS",
    "FORMAT",
    "MOST_CRITERIA",
    "NO_RULES",
    "Facts",
    "Reason",
    "known_classes",
    "rules_sha256",
    "score",
    "unusual_criteria",
    "unusual_points",
    "validate",
    "with_unusual",
]

EARTH_KM = 6371.0088  # mean radius, IUGG


@dataclass(frozen=True)
class Reason:
    """One line: 'criterion: contribution'. `machine`: it rests on what a model said."""

    criterion: str
    contribution: Decimal
    why: str
    machine: bool

    def as_json(self) -> dict[str, Any]:
        """For storage and for events: numbers as text."""
        return {
            "criterion": self.criterion,
            "contribution": str(self.contribution),
            "why": self.why,
            "machine": self.machine,
        }


def score(rules: Mapping[str, Any], facts: Facts) -> tuple[Decimal, list[Reason]]:
    """The value in points, to the thousandth, and its reasons, the weightiest first.

    The value is exactly the sum of the contributions. `rules` must have passed `validate`.
    """
    reasons = [reason for criterion in rules["criteria"] if (reason := _apply(criterion, facts))]
    reasons.sort(
        key=lambda reason: -abs(reason.contribution)
    )  # stable: equal ones stay in the order of the rules
    return sum((reason.contribution for reason in reasons), Decimal("0.000")), reasons


def unusual_criteria(rules: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that ask how unusual an item is. It is known when an order is made, and is among no item's kept facts."""
    return [criterion for criterion in rules["criteria"] if criterion["kind"] == "unusual"]


def with_unusual(facts: Facts, tenths: int) -> Facts:
    """The facts with how unusual the item is, in tenths of a percent (0: not compared)."""
    return replace(facts, unusual=Decimal(tenths) / 10 if tenths else None)


def unusual_points(rules: Mapping[str, Any], tenths: NDArray[Any]) -> NDArray[np.int64]:
    """What these criteria alone add to items that are so unusual, in thousandths of a point."""
    own = {"criteria": unusual_criteria(rules)}
    table = [int(score(own, with_unusual(Facts(), one))[0].scaleb(3)) for one in range(1001)]
    return np.array(table, np.int64)[tenths]


# --- applying -----------------------------------------------------------------------------------------------


def _apply(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    """This criterion's line; None where it has nothing to say."""
    return _KINDS[criterion["kind"]](criterion, facts)


def _line(criterion: Mapping[str, Any], why: str, *, machine: bool) -> Reason | None:
    """The whole weight for what `why` says; no line where it says nothing."""
    return Reason(criterion["name"], _points(Decimal(criterion["weight"])), why, machine) if why else None


def _least(criterion: Mapping[str, Any]) -> Decimal:
    return Decimal(criterion.get("from_confidence", DEFAULT_CONFIDENCE))


def _seen(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    labels, least = criterion["any_of"], _least(criterion)
    return _line(criterion, _best(labels, facts, least) or _best_tag(labels, facts, least), machine=True)


def _best(labels: Iterable[str], facts: Facts, least: Decimal) -> str:
    """Where one of these classes is suggested most surely, in words; empty where none is."""
    wanted = set(labels)
    best = max(
        (
            (max(scores), -at_ms, label)
            for at_ms, seen in facts.frames.items()
            for label, scores in seen.items()
            if label in wanted and max(scores) >= least
        ),
        default=None,
    )
    return "" if best is None else f"{best[2]} {best[0]:.2f}{_at(-best[1], facts)}"


def _together(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    return _line(criterion, _one_frame(criterion["all_of"], facts, _least(criterion)), machine=True)


def _one_frame(groups: Iterable[Iterable[str]], facts: Facts, least: Decimal) -> str:
    """The first frame that has something of each group, in words; empty where none has."""
    for at_ms, seen in sorted(facts.frames.items()):
        found = []
        for group in groups:
            best = max(((max(seen[label]), label) for label in group if label in seen), default=None)
            if best is None or best[0] < least:
                break
            found.append(f"{best[1]} {best[0]:.2f}")
        else:
            return f"{' and '.join(found)}{_at(at_ms, facts)}"
    return ""


def _count(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    name, least = criterion["name"], _least(criterion)
    wanted, beyond = set(criterion["any_of"]), criterion.get("beyond", 0)
    counted = [
        (sum(1 for label in wanted & seen.keys() for s in seen[label] if s >= least), -at_ms)
        for at_ms, seen in facts.frames.items()
    ]
    most, when = max(counted, default=(0, 0))
    if most <= beyond:
        return None
    each, limit = Decimal(criterion["each"]), Decimal(criterion["at_most"])
    value = each * (most - beyond)
    value = max(value, -limit) if each < 0 else min(value, limit)
    return Reason(name, _points(value), f"{most} at once{_at(-when, facts)}", True)


def _source(criterion: Mapping[str, Any], facts: Facts) -> Reason:
    name, weight = criterion["name"], Decimal(criterion["weight"])
    if facts.reliability is None:
        return Reason(name, _points(Decimal(0)), "the source's reliability is not stated", False)
    return Reason(name, _points(weight * facts.reliability / 100), f"{facts.reliability} of 100", False)


def _recency(criterion: Mapping[str, Any], facts: Facts) -> Reason:
    name = criterion["name"]
    as_of = date.fromisoformat(criterion["as_of"]) if criterion.get("as_of") else facts.opened_on
    if facts.captured_on is None or as_of is None:
        return Reason(name, _points(Decimal(0)), "no capture date is claimed or established", False)
    days = max(0, (as_of - facts.captured_on).days)
    with localcontext() as context:
        context.prec = 28
        part = Decimal("0.5") ** (Decimal(days) / Decimal(criterion["half_life_days"]))
    words = f"captured {facts.captured_on.isoformat()}, {days} days before {as_of.isoformat()}"
    return Reason(name, _points(Decimal(criterion["weight"]) * part), words, False)


def _best_tag(labels: Iterable[str], facts: Facts, least: Decimal) -> str:
    found = [(facts.tags[label], label) for label in labels if label in facts.tags]
    confidence, label = max(found, default=(Decimal(-1), ""))
    return f"{label} {confidence:.2f}" if confidence >= least else ""


def _tracked(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    """'3 followed, 0:12 to 0:48': how many, from the first's first moment to the last's last."""
    wanted, seconds = set(criterion["any_of"]), criterion.get("seconds", 0)
    found = [
        track
        for track in facts.tracks
        if track.label in wanted and track.last_ms - track.first_ms >= seconds * 1000
    ]
    if len(found) < criterion.get("at_least", 1):
        return None
    first, last = min(track.first_ms for track in found), max(track.last_ms for track in found)
    return _line(criterion, f"{len(found)} followed, {_clock(first)} to {_clock(last)}", machine=True)


def _tagged(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    by, words = criterion.get("by"), {_plain(word): word for word in criterion["any_of"]}
    if by != "models" and (marked := next((m for m in facts.marked if _plain(m) in words), "")):
        return _line(criterion, f"tagged {marked}", machine=False)
    if by == "people":
        return None
    return _line(criterion, _best_tag(criterion["any_of"], facts, _least(criterion)), machine=True)


def _written(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    """The first text that contains one of the words, a person's notes before what a machine read."""
    where, least = criterion.get("where"), _least(criterion)
    for text in sorted(facts.texts, key=lambda one: one.machine):
        if where == ("notes" if text.machine else "pictures") or text.confidence < least:
            continue
        if found := _held_in(text.text, criterion["words"]):
            why = f"read in it: {found}" if text.machine else f"noted: {found}"
            return _line(criterion, why, machine=text.machine)
    return None


def _caption(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    """The first word that a model's sentence contains. No note and no word in the picture counts here."""
    found = next(filter(None, (_held_in(said, criterion["words"]) for said in facts.captions)), "")
    return _line(criterion, f"a model's caption says: {found}" if found else "", machine=True)


def _held_in(text: str, words: Iterable[str]) -> str:
    """The first of these words that a text contains; empty where there is none."""
    plain = _plain(text)
    return next((word for word in words if _plain(word) in plain), "")


def _from_source(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    why = f"source {facts.source}" if facts.source and facts.source in criterion["sources"] else ""
    return _line(criterion, why, machine=False)


def _place(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    """The first place that fits; with `near`, how far it is."""
    for place in facts.places:
        words = "established" if place.established else "claimed"
        if "box" in criterion:
            if _inside(criterion["box"], place):
                return _line(criterion, f"{words} inside the box", machine=False)
        elif (km := _km(criterion["near"], place)) <= float(criterion["km"]):
            return _line(criterion, f"{words} {km:.1f} km away", machine=False)
    return None


def _inside(box: Iterable[str], place: Place) -> bool:
    south, west, north, east = map(Decimal, box)
    across = west <= place.longitude <= east if west <= east else not east < place.longitude < west
    return across and south <= place.latitude <= north


def _km(near: Iterable[str], place: Place) -> float:
    """Great-circle distance (haversine)."""
    (lat, lon), there = map(float, near), (float(place.latitude), float(place.longitude))
    a, b = math.radians(lat), math.radians(there[0])
    half = math.sin((b - a) / 2) ** 2
    half += math.cos(a) * math.cos(b) * math.sin(math.radians(there[1] - lon) / 2) ** 2
    return 2 * EARTH_KM * math.asin(min(1.0, math.sqrt(half)))


def _unusual(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    if facts.unusual is None or facts.unusual > Decimal(criterion["percent"]):
        return None
    return _line(criterion, f"among the {facts.unusual.normalize():f} % least like the rest", machine=True)


def _captured(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    day = facts.captured_on
    since, until = criterion.get("since"), criterion.get("until")
    if (
        day is None
        or (since and day < date.fromisoformat(since))
        or (until and day > date.fromisoformat(until))
    ):
        return None
    return _line(criterion, f"captured {day.isoformat()}", machine=False)


def _at(at_ms: int, facts: Facts) -> str:
    """' at 1:05' where the item has more than one moment."""
    if len(facts.frames) < 2:
        return ""
    return f" at {_clock(at_ms)}"


def _clock(at_ms: int) -> str:
    minutes, seconds = divmod(at_ms // 1000, 60)
    return f"{minutes}:{seconds:02d}"


@lru_cache(maxsize=2048)
def _plain(text: str) -> str:
    """Text as it is compared: in the normal form of the search, so that a rule finds what the search finds."""
    return search.normal(text)


def _points(value: Decimal) -> Decimal:
    return value.quantize(STEP, rounding=ROUND_HALF_EVEN)


_KINDS: dict[str, Callable[[Mapping[str, Any], Facts], Reason | None]] = {
    "seen": _seen,
    "count": _count,
    "together": _together,
    "tracked": _tracked,
    "tagged": _tagged,
    "written": _written,
    "caption": _caption,
    "from_source": _from_source,
    "place": _place,
    "captured": _captured,
    "unusual": _unusual,
    "source": _source,
    "recency": _recency,
}
