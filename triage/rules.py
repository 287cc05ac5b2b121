"""The rules of an order as an analyst writes them: their form, the built-in ones, and every fault in them by name.

    {"format": 1, "criteria": [
      {"name": "People seen", "kind": "seen", "any_of": ["person"], "weight": "1", "from_confidence": "0.40"},
      {"name": "A crowd", "kind": "count", "any_of": ["person"], "each": "0.2", "beyond": 1, "at_most": "2"},
      {"name": "Person and knife in one frame", "kind": "together", "all_of": [["person"], ["knife"]], "weight": "4"},
      {"name": "A convoy", "kind": "tracked", "any_of": ["truck"], "at_least": 3, "seconds": 5, "weight": "3"},
      {"name": "Fire", "kind": "tagged", "any_of": ["fire"], "weight": "2", "by": "models"},
      {"name": "A clinic", "kind": "written", "words": ["hospital", "clinic"], "weight": "3", "where": "pictures"},
      {"name": "Smoke", "kind": "caption", "words": ["smoke", "burning"], "weight": "1"},
      {"name": "Heron", "kind": "from_source", "sources": ["S-01"], "weight": "1"},
      {"name": "At the bridge", "kind": "place", "near": ["33.5102", "36.2913"], "km": "2", "weight": "2"},
      {"name": "In the valley", "kind": "place", "box": ["33.4", "36.1", "33.6", "36.4"], "weight": "1"},
      {"name": "That week", "kind": "captured", "since": "2026-05-01", "until": "2026-05-07", "weight": "1"},
      {"name": "Out of the ordinary", "kind": "unusual", "percent": "2", "weight": "1"},
      {"name": "Source reliability", "kind": "source", "weight": "1"},
      {"name": "Captured recently", "kind": "recency", "weight": "1", "half_life_days": 90, "as_of": "2026-11-21"}]}

What each kind does is said in triage.scoring. Numbers with a fraction are text, so that an event can hold them. A box
is south, west, north, east in degrees; one whose west is greater than its east crosses the 180th meridian.
"""

import hashlib
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from archive import search
from archive.custody.canonical import canonical
from archive.errors import BadInput

FORMAT = 1
STEP = Decimal("0.001")
MOST_CRITERIA, MOST_WEIGHT = 50, Decimal(100)
MOST_WORDS = 100
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

# For the questions that a person asks: until there are criteria, examples or answers, the order is that of arrival.
NO_RULES: dict[str, Any] = {"format": FORMAT, "criteria": []}


def _of(*names: str) -> frozenset[str]:
    return frozenset(names)


# What each kind of criterion must have, and may have.
FIELDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "seen": (_of("any_of", "weight"), _of("from_confidence")),
    "count": (_of("any_of", "each", "at_most"), _of("beyond", "from_confidence")),
    "together": (_of("all_of", "weight"), _of("from_confidence")),
    "tracked": (_of("any_of", "weight"), _of("at_least", "seconds")),
    "tagged": (_of("any_of", "weight"), _of("by", "from_confidence")),
    "written": (_of("words", "weight"), _of("where", "from_confidence")),
    "caption": (_of("words", "weight"), _of()),
    "from_source": (_of("sources", "weight"), _of()),
    "place": (_of("weight"), _of("box", "near", "km")),
    "captured": (_of("weight"), _of("since", "until")),
    "unusual": (_of("percent", "weight"), _of()),
    "source": (_of("weight"), _of()),
    "recency": (_of("weight", "half_life_days"), _of("as_of")),
}
# Whole numbers: the least and the most
WHOLE = {"half_life_days": (1, 36500), "beyond": (0, 1000), "at_least": (1, 1000), "seconds": (0, 86400)}
ONE_OF = {"by": ("models", "people"), "where": ("pictures", "notes")}


def rules_sha256(rules: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical rules: two versions with the same hash order alike."""
    return hashlib.sha256(canonical(rules)).hexdigest()


def known_classes() -> list[str]:
    """Every class that some registered model or built-in detector can suggest, sorted."""
    from triage import registry

    return sorted({name for entry in registry.every().values() for name in entry.classes})


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
        if not isinstance(criterion, dict) or criterion.get("kind") not in FIELDS:
            faults.append(f"{here}: its kind is one of {', '.join(FIELDS)}.")
            continue
        name = criterion.get("name")
        if not isinstance(name, str) or not name.strip() or len(name) > 120 or name in names:
            faults.append(f"{here}: it has a name of its own, of 1 to 120 characters.")
        names.add(name if isinstance(name, str) else None)
        must, may = FIELDS[criterion["kind"]]
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
    if not _is_number(criterion.get("from_confidence", "1"), Decimal(0), Decimal(1)):
        faults.append("from_confidence is a number from 0 to 1, as text.")
    if not _is_number(criterion.get("percent", "1"), Decimal("0.1"), Decimal(100), "0.1"):
        faults.append("percent is a number from 0.1 to 100, as text, with at most one decimal.")
    for what, (least, most) in WHOLE.items():
        value = criterion.get(what, least)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            faults.append(f"{what} is a whole number from {least} to {most}.")
    for what, words in ONE_OF.items():
        if criterion.get(what, words[0]) not in words:
            faults.append(f"{what} is one of {', '.join(words)}; without it both count.")
    faults += [
        f"{what} is a day, written 2026-11-21."
        for what in ("as_of", "since", "until")
        if criterion.get(what) and not _is_day(criterion[what])
    ]
    for what in ("words", "sources"):
        if what in criterion and not _is_list_of_text(criterion[what], MOST_WORDS):
            faults.append(f"{what} is a list of 1 to {MOST_WORDS} texts.")
        elif what == "words" and not all(map(search.normal, criterion.get(what, ()))):
            faults.append("words: one of them has no letter or digit that a text could contain.")
    own = {"place": _place_faults, "captured": _captured_faults}.get(criterion["kind"])
    return faults + (own(criterion) if own else []) + _class_faults(criterion, known)


def _place_faults(criterion: dict[str, Any]) -> list[str]:
    box, near = criterion.get("box"), criterion.get("near")
    if (box is None) == (near is None) or ("km" in criterion) != (near is not None):
        return ["a place is either a box, or near and km."]
    if box is not None:
        good = (
            isinstance(box, list)
            and len(box) == 4
            and _is_point(box[0], box[1])
            and _is_point(box[2], box[3])
        )
        if not good or Decimal(box[0]) > Decimal(box[2]):
            return ["box is south, west, north, east in degrees, as text."]
        return []
    faults = []
    if not (isinstance(near, list) and len(near) == 2 and _is_point(*near)):
        faults.append("near is latitude and longitude in degrees, as text.")
    if not _is_number(criterion["km"], STEP, Decimal(20_000)):
        faults.append("km is a number from 0.001 to 20000, as text.")
    return faults


def _captured_faults(criterion: dict[str, Any]) -> list[str]:
    since, until = criterion.get("since"), criterion.get("until")
    if not (since or until):
        return ["since or until, or both, say which days."]
    if since and until and _is_day(since) and _is_day(until) and since > until:
        return ["since lies after until."]
    return []


def _class_faults(criterion: dict[str, Any], known: set[str]) -> list[str]:
    groups = [criterion["any_of"]] if "any_of" in criterion else criterion.get("all_of", [])
    if "all_of" in criterion and (not isinstance(groups, list) or not 2 <= len(groups) <= 10):
        return ["all_of is a list of 2 to 10 groups of classes."]
    faults = []
    for group in groups:
        if not _is_list_of_text(group, 1000):
            faults.append("a group of classes is a list with at least one of them.")
        elif criterion["kind"] != "tagged":  # people tag with words of their own
            faults += [
                f"no registered model knows the class {label!r}." for label in group if label not in known
            ]
    return faults


def _is_list_of_text(value: Any, most: int) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= most
        and all(isinstance(one, str) and one.strip() and len(one) <= 200 for one in value)
    )


def _is_day(value: Any) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except (ValueError, TypeError):
        return False


def _is_point(latitude: Any, longitude: Any) -> bool:
    return _is_number(latitude, Decimal(-90), Decimal(90), "0.000001") and _is_number(
        longitude, Decimal(-180), Decimal(180), "0.000001"
    )


def _is_number(value: Any, least: Decimal, most: Decimal, step: str = "0.001") -> bool:
    if not isinstance(value, str) or len(value) > 12:
        return False
    try:
        number = Decimal(value)
    except InvalidOperation:
        return False
    return number.is_finite() and least <= number <= most and number == number.quantize(Decimal(step))
