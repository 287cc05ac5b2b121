"""The explainable score: rules that an analyst wrote, over what models suggested and what is known of the source.

`score` is a pure function: the same rules and facts give the same value and the same reasons. Rules are JSON:

    {"format": 1, "criteria": [
      {"name": "People seen", "kind": "seen", "any_of": ["person"], "weight": "1", "from_confidence": "0.40"},
      {"name": "A crowd", "kind": "count", "any_of": ["person"], "each": "0.2", "beyond": 1, "at_most": "2"},
      {"name": "Person and knife in one frame", "kind": "together", "all_of": [["person"], ["knife"]], "weight": "4"},
      {"name": "Source reliability", "kind": "source", "weight": "1"},
      {"name": "Captured recently", "kind": "recency", "weight": "1", "half_life_days": 90, "as_of": "2026-11-21"}]}

seen      weight, once, when one of the classes was suggested anywhere
count     `each` for every one of the classes in the fullest frame beyond the first `beyond`, up to `at_most`
together  weight, once, when one frame has something of each group
source    weight x reliability / 100; nothing where the reliability is not stated
recency   weight, halved for every `half_life_days` that the capture date lies before `as_of` (without it: before the
          case was opened); nothing where no date is claimed or established

Numbers with a fraction are text, so that an event can hold them. A negative weight moves an item back; it never hides.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext
from typing import Any

from archive.custody.canonical import canonical
from archive.errors import BadInput

FORMAT = 1
STEP = Decimal("0.001")
MOST_CRITERIA, MOST_WEIGHT = 50, Decimal(100)
DEFAULT_CONFIDENCE = Decimal("0.40")

DEFAULT_NAME = "Built-in"
DEFAULT_RULES: dict[str, Any] = {
    "format": FORMAT,
    "criteria": [
        {"name": "People seen", "kind": "seen", "any_of": ["person"], "weight": "1"},
        {
            "name": "Several people in one frame",
            "kind": "count",
            "any_of": ["person"],
            "each": "0.2",
            "beyond": 1,
            "at_most": "2",
        },
        {
            "name": "Person and knife or bat in one frame",
            "kind": "together",
            "all_of": [["person"], ["knife", "scissors", "baseball bat"]],
            "weight": "4",
            "from_confidence": "0.30",
        },
        {
            "name": "Vehicle seen",
            "kind": "seen",
            "any_of": ["car", "truck", "bus", "motorcycle", "airplane", "boat", "train"],
            "weight": "0.5",
        },
        {
            "name": "Person and vehicle in one frame",
            "kind": "together",
            "all_of": [["person"], ["car", "truck", "bus", "motorcycle"]],
            "weight": "1",
        },
        {"name": "Face seen", "kind": "seen", "any_of": ["face"], "weight": "0.5", "from_confidence": "0.60"},
        {"name": "Source reliability", "kind": "source", "weight": "1"},
        {"name": "Captured recently", "kind": "recency", "weight": "1", "half_life_days": 90},
    ],
}

# What each kind of criterion must have, and may have.
_FIELDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "seen": (frozenset({"any_of", "weight"}), frozenset({"from_confidence"})),
    "count": (frozenset({"any_of", "each", "at_most"}), frozenset({"beyond", "from_confidence"})),
    "together": (frozenset({"all_of", "weight"}), frozenset({"from_confidence"})),
    "source": (frozenset({"weight"}), frozenset()),
    "recency": (frozenset({"weight", "half_life_days"}), frozenset({"as_of"})),
}


@dataclass(frozen=True)
class Facts:
    """What is known of an item. `frames`: time in ms -> class -> confidences of the boxes suggested there.

    `tags`: what models say of it without a box -> the highest confidence anywhere in it.
    """

    frames: Mapping[int, Mapping[str, tuple[Decimal, ...]]] = field(default_factory=dict)
    tags: Mapping[str, Decimal] = field(default_factory=dict)
    reliability: int | None = None  # of the source, 0 to 100
    captured_on: date | None = None
    opened_on: date | None = None  # the case


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


def rules_sha256(rules: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical rules: two versions with the same hash order alike."""
    return hashlib.sha256(canonical(rules)).hexdigest()


def known_classes() -> list[str]:
    """Every class that some registered model or built-in detector can suggest, sorted."""
    from triage import registry

    return sorted({name for entry in registry.models().values() for name in entry.classes})


# --- applying -----------------------------------------------------------------------------------------------


def _apply(criterion: Mapping[str, Any], facts: Facts) -> Reason | None:
    """This criterion's line; None where it has nothing to say."""
    kind, name = criterion["kind"], criterion["name"]
    if kind == "source":
        return _source(name, Decimal(criterion["weight"]), facts)
    if kind == "recency":
        return _recency(name, criterion, facts)
    least = Decimal(criterion.get("from_confidence", DEFAULT_CONFIDENCE))
    if kind == "seen":
        found = _best(criterion["any_of"], facts, least)
        return Reason(name, _points(Decimal(criterion["weight"])), found, True) if found else None
    if kind == "together":
        found = _together(criterion["all_of"], facts, least)
        return Reason(name, _points(Decimal(criterion["weight"])), found, True) if found else None
    return _count(name, criterion, facts, least)


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


def _together(groups: Iterable[Iterable[str]], facts: Facts, least: Decimal) -> str:
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


def _count(name: str, criterion: Mapping[str, Any], facts: Facts, least: Decimal) -> Reason | None:
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


def _source(name: str, weight: Decimal, facts: Facts) -> Reason:
    if facts.reliability is None:
        return Reason(name, _points(Decimal(0)), "the source's reliability is not stated", False)
    return Reason(name, _points(weight * facts.reliability / 100), f"{facts.reliability} of 100", False)


def _recency(name: str, criterion: Mapping[str, Any], facts: Facts) -> Reason:
    as_of = date.fromisoformat(criterion["as_of"]) if criterion.get("as_of") else facts.opened_on
    if facts.captured_on is None or as_of is None:
        return Reason(name, _points(Decimal(0)), "no capture date is claimed or established", False)
    days = max(0, (as_of - facts.captured_on).days)
    with localcontext() as context:
        context.prec = 28
        part = Decimal("0.5") ** (Decimal(days) / Decimal(criterion["half_life_days"]))
    words = f"captured {facts.captured_on.isoformat()}, {days} days before {as_of.isoformat()}"
    return Reason(name, _points(Decimal(criterion["weight"]) * part), words, False)


def _at(at_ms: int, facts: Facts) -> str:
    """' at 1:05' where the item has more than one moment."""
    if len(facts.frames) < 2:
        return ""
    minutes, seconds = divmod(at_ms // 1000, 60)
    return f" at {minutes}:{seconds:02d}"


def _points(value: Decimal) -> Decimal:
    return value.quantize(STEP, rounding=ROUND_HALF_EVEN)


# --- checking what an analyst wrote -------------------------------------------------------------------------


def validate(rules: Any) -> dict[str, Any]:
    """The rules, if they are good ones. Raises BadInput that names every fault and where it is."""
    faults = _faults(rules)
    if faults:
        raise BadInput("These criteria cannot be used; nothing was changed. " + " ".join(faults))
    return rules


def _faults(rules: Any) -> list[str]:
    if not isinstance(rules, dict) or rules.get("format") != FORMAT or set(rules) != {"format", "criteria"}:
        return [f'They are an object of "format": {FORMAT} and "criteria".']
    criteria = rules["criteria"]
    if not isinstance(criteria, list) or not 1 <= len(criteria) <= MOST_CRITERIA:
        return [f"There are 1 to {MOST_CRITERIA} criteria."]
    known, names, faults = set(known_classes()), set(), []
    for place, criterion in enumerate(criteria, 1):
        here = f"Criterion {place}"
        if not isinstance(criterion, dict) or criterion.get("kind") not in _FIELDS:
            faults.append(f"{here}: its kind is one of {', '.join(_FIELDS)}.")
            continue
        name = criterion.get("name")
        if not isinstance(name, str) or not name.strip() or len(name) > 120 or name in names:
            faults.append(f"{here}: it has a name of its own, of 1 to 120 characters.")
        names.add(name if isinstance(name, str) else None)
        must, may = _FIELDS[criterion["kind"]]
        given = set(criterion) - {"name", "kind"}
        faults += [f"{here}: {what} is missing." for what in sorted(must - given)]
        faults += [f"{here}: {what} is not known here." for what in sorted(map(str, given - must - may))]
        if must <= given:
            faults += [f"{here}: {fault}" for fault in _value_faults(criterion, known)]
    return faults


def _value_faults(criterion: dict[str, Any], known: set[str]) -> list[str]:
    faults = []
    for what in ("weight", "each", "at_most"):
        if what in criterion and not _is_number(criterion[what], -MOST_WEIGHT, MOST_WEIGHT):
            faults.append(f"{what} is a number from -100 to 100, as text, with at most three decimals.")
    if "at_most" in criterion and _is_number(criterion["at_most"], -MOST_WEIGHT, Decimal("-0.001")):
        faults.append("at_most is not negative: it bounds how far the count moves an item, either way.")
    if "from_confidence" in criterion and not _is_number(
        criterion["from_confidence"], Decimal(0), Decimal(1)
    ):
        faults.append("from_confidence is a number from 0 to 1, as text.")
    for what, most in (("half_life_days", 36500), ("beyond", 1000)):
        least = 1 if what == "half_life_days" else 0
        value = criterion.get(what, least)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            faults.append(f"{what} is a whole number from {least} to {most}.")
    if criterion.get("as_of"):
        try:
            date.fromisoformat(criterion["as_of"])
        except (ValueError, TypeError):
            faults.append("as_of is a day, written 2026-11-21.")
    groups = [criterion["any_of"]] if "any_of" in criterion else criterion.get("all_of", [])
    if "all_of" in criterion and (not isinstance(groups, list) or not 2 <= len(groups) <= 10):
        return [*faults, "all_of is a list of 2 to 10 groups of classes."]
    for group in groups:
        if not isinstance(group, list) or not group or not all(isinstance(label, str) for label in group):
            faults.append("a group of classes is a list with at least one of them.")
            continue
        faults += [f"no registered model knows the class {label!r}." for label in group if label not in known]
    return faults


def _is_number(value: Any, least: Decimal, most: Decimal) -> bool:
    if not isinstance(value, str) or len(value) > 12:
        return False
    try:
        number = Decimal(value)
    except InvalidOperation:
        return False
    return number.is_finite() and least <= number <= most and number == number.quantize(STEP)
