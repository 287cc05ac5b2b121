"""The side list: one table for all screens. A screen whose app is not installed is not listed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from archive import access
from archive.models import Case, Item, Source


@dataclass(frozen=True)
class Entry:
    """One line of the side list."""

    name: str
    words: str | Promise
    url: str
    here: bool
    number: int | None = None


@dataclass(frozen=True)
class Section:
    """A heading and its lines."""

    title: str | Promise
    entries: list[Entry] = field(default_factory=list)
    code: str = ""


# name of the route, words; routes of a case take its code
CASE = [
    ("case", _("Overview")),
    ("review", _("Review")),
    ("questions", _("Questions")),
    ("estimate", _("What was missed")),
    ("alerts-of-case", _("Alerts")),
    ("library", _("Library")),
    ("sources", _("Sources")),
    ("bundles", _("Bundles")),
    ("criteria", _("Models and rules")),
    ("custody", _("Custody")),
    ("retention", _("Holds and disposal")),
    ("people", _("People with access")),
    ("case-jobs", _("Jobs")),
]
EVERYTHING = [
    ("home", _("Home")),
    ("cases", _("Cases")),
    ("alerts", _("Alerts")),
    ("jobs", _("All jobs")),
    ("bundles-all", _("All bundles")),
    ("accounts", _("People")),
    ("system", _("This archive")),
]


def _url(name: str, *args: str) -> str | None:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return None


def address(name: str, *args: str) -> str:
    """Where a screen is, or nothing when its app is not installed."""
    return _url(name, *args) or ""


def numbers_of(case: Case) -> dict[str, int]:
    """How many items wait for a decision, how many there are, how many sources."""
    items = Item.objects.filter(case=case)
    return {
        "review": items.filter(decision=None).count(),
        "library": items.count(),
        "sources": Source.objects.filter(case=case).count(),
    }


def sections(context: Mapping[str, Any]) -> list[Section]:
    """The side list for a screen. Reads `case`, `here` (name of a line), `numbers` (name: number) and
    `hidden_lines` (names of lines that this person has no use for) from its context."""
    case, here = context.get("case"), context.get("here", "")
    hidden = set(context.get("hidden_lines") or ())
    numbers = context.get("numbers") or (numbers_of(case) if case else {})
    if case:
        acts = {"people": "share", "custody": "read_log"}
        hidden |= {name for name, act in acts.items() if not access.can(context["user"], act, case)}
    out = []
    if case:
        lines = [
            Entry(name, words, url, name == here, numbers.get(name))
            for name, words in CASE
            if name not in hidden and (url := _url(name, case.code))
        ]
        out.append(Section(case.title, lines, case.code))
    lines = [
        Entry(name, words, url, name == here and not (case and name == "jobs"), None)
        for name, words in EVERYTHING
        if name not in hidden and (url := _url(name))
    ]
    out.append(Section(_("Everything"), lines))
    return out
