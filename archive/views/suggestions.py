"""What machines suggest about items, for screens of this floor.

The archive knows no model. An upper floor offers what it found by registering one `Suggests`; without it the
screens simply show none. Nothing here is a finding, and no screen may draw it as one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from django.db.models import QuerySet

from archive.models import Case, Item


@dataclass(frozen=True)
class Box:
    """A place in a picture. Coordinates and confidence run from 0 to 1; `at_ms` is the frame's time in a video."""

    label: str
    confidence: float
    x: float
    y: float
    width: float
    height: float
    at_ms: int | None = None


@dataclass(frozen=True)
class Lane:
    """When something was suggested in a video: spans of milliseconds."""

    label: str
    most: int
    spans: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Read:
    """A line of words that an engine read: with what confidence, who read it, and when first in a video, in seconds."""

    text: str
    confidence: float
    by: str
    at_s: float | None = None


@dataclass(frozen=True)
class Caption:
    """A sentence in which a model described the picture, in its own language (BCP 47), and when in a video, in seconds."""

    text: str
    language: str
    confidence: float
    by: str
    at_s: float | None = None


@dataclass(frozen=True)
class Model:
    """Which model said so, and the SHA-256 of its weights (empty for one built into a library)."""

    name: str
    weights: str
    task: str = ""


@dataclass(frozen=True)
class Indicator:
    """Something that may point to generated or changed media: what, what that means and does not, who says so, how often wrongly."""

    words: str
    meaning: str
    analyser: str
    version: int
    model: str
    error: str = ""


@dataclass(frozen=True)
class Reason:
    """One part of an item's score: 'criterion: contribution'. `machine`: it rests on what a model said."""

    words: str
    contribution: float
    share: float
    machine: bool = False


@dataclass(frozen=True)
class Brief:
    """What a card shows: the score, if there is one, the labels, and what may point to generated or changed media."""

    score: float | None = None
    labels: Sequence[str] = ()
    indicators: Sequence[str] = ()


@dataclass(frozen=True)
class Full:
    """What the panel beside a picture shows."""

    score: float | None = None
    labels: Sequence[str] = ()
    chips: Sequence[str] = ()
    boxes: Sequence[Box] = ()
    lanes: Sequence[Lane] = ()
    models: Sequence[Model] = ()
    indicators: Sequence[Indicator] = ()
    no_indicator: str = ""  # said where they were looked for and none was found
    reasons: Sequence[Reason] = ()
    shots_ms: Sequence[int] = ()
    state: str = ""
    notice: str = ""
    looked_ms: Sequence[int] = ()  # the moments of a video at which boxes were looked for
    read: Sequence[Read] = ()  # text in the picture, each once
    read_more: int = 0  # so many texts beyond those
    captions: Sequence[Caption] = ()
    unusual: str = ""  # how unlike the rest of its case the item is
    similar_url: str = ""  # the screen with what looks like it


@dataclass(frozen=True)
class Class:
    """A detected class and in how many items of a case it was suggested."""

    name: str
    items: int


class Suggests(Protocol):
    """What an upper floor offers."""

    def brief(self, items: Iterable[Item]) -> dict[UUID, Brief]:
        """For the cards of one page."""

    def full(self, item: Item) -> Full:
        """For the panel beside one picture."""

    def classes(self, case: Case, among: QuerySet[Item] | None = None) -> list[Class]:
        """Detected classes of a case (among some of its items), most frequent first."""

    def having(self, items: QuerySet[Item], label: str) -> QuerySet[Item]:
        """Those items in which a class was suggested."""

    def words_url(self, case: Case) -> str:
        """The screen that looks for a case's pictures by words; empty where no model can."""


@dataclass
class _None:
    """No upper floor: no suggestions."""

    empty: Full = field(default_factory=Full)

    def brief(self, items: Iterable[Item]) -> dict[UUID, Brief]:
        return {}

    def full(self, item: Item) -> Full:
        return self.empty

    def classes(self, case: Case, among: QuerySet[Item] | None = None) -> list[Class]:
        return []

    def having(self, items: QuerySet[Item], label: str) -> QuerySet[Item]:
        return items.none()

    def words_url(self, case: Case) -> str:
        return ""


_registered: Suggests = _None()


def register(offer: Suggests) -> None:
    """Called once, when the upper floor's app is ready."""
    global _registered
    _registered = offer


def source() -> Suggests:
    """The registered offer, or one that suggests nothing."""
    return _registered
