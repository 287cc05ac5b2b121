"""What analysers found, once checked: the numbers that are stored, and the bytes that their hash covers.

The canonical result of an analysis is the RFC 8785 JSON of

    [{"at_ms": 1200, "box": ["0.10000", "0.20000", "0.30000", "0.40000"], "label": "person", "score": "0.9421"}, ...]

with scores to four places and boxes (x, y, width, height as shares of the frame) to five, as text, ordered by
at_ms, then label, then score from high to low, then box. After the detections come, each ordered likewise,

    tags     {"at_ms": 0, "label": "fire engine", "score": "0.8700"}, with "until_ms" where it is about a span
    words    {"at_ms": 0, "box": [...], "score": "0.9300", "text": "..."}
    captions {"at_ms": 0, "caption": "...", "score": "0.6100"}
    vectors  {"at_ms": 0, "sha256": "...", "whole": true}: SHA-256 of the vector's bytes

`result_sha256` is the SHA-256 of these bytes.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from archive.custody.canonical import canonical

SCORE_STEP, BOX_STEP = Decimal("0.0001"), Decimal("0.00001")

BoxOf = tuple[Decimal, Decimal, Decimal, Decimal]


@dataclass(frozen=True)
class Found:
    """One detection, in the units that are stored. `at_ms` is 0 for an image."""

    at_ms: int
    label: str
    score: Decimal
    box: BoxOf

    def order(self) -> tuple[Any, ...]:
        """The key of the canonical order."""
        return (self.at_ms, self.label, -self.score, self.box)

    def as_json(self) -> dict[str, Any]:
        return {
            "at_ms": self.at_ms,
            "box": _box(self.box),
            "label": self.label,
            "score": _score(self.score),
        }


@dataclass(frozen=True)
class Tag:
    """One tag: of a frame, or with `until_ms` of a span."""

    at_ms: int
    label: str
    score: Decimal
    until_ms: int | None = None

    def order(self) -> tuple[Any, ...]:
        """The key of the canonical order."""
        return (self.at_ms, self.label, -self.score, -1 if self.until_ms is None else self.until_ms)

    def as_json(self) -> dict[str, Any]:
        span = {} if self.until_ms is None else {"until_ms": self.until_ms}
        return {"at_ms": self.at_ms, "label": self.label, "score": _score(self.score), **span}


@dataclass(frozen=True)
class Words:
    """What may be written in a frame, and where."""

    at_ms: int
    text: str
    score: Decimal
    box: BoxOf

    def order(self) -> tuple[Any, ...]:
        """The key of the canonical order."""
        return (self.at_ms, self.text, -self.score, self.box)

    def as_json(self) -> dict[str, Any]:
        return {"at_ms": self.at_ms, "box": _box(self.box), "score": _score(self.score), "text": self.text}


@dataclass(frozen=True)
class Caption:
    """A sentence about a frame, in the language that its analysis's parameters name."""

    at_ms: int
    text: str
    score: Decimal

    def order(self) -> tuple[Any, ...]:
        """The key of the canonical order."""
        return (self.at_ms, self.text, -self.score)

    def as_json(self) -> dict[str, Any]:
        return {"at_ms": self.at_ms, "caption": self.text, "score": _score(self.score)}


@dataclass(frozen=True)
class Vector:
    """A frame's direction. `whole`: it stands for the item (a picture's only one, the mean of a video's frames)."""

    at_ms: int
    values: bytes
    whole: bool

    def order(self) -> tuple[Any, ...]:
        """The key of the canonical order."""
        return (self.at_ms, self.whole)

    def as_json(self) -> dict[str, Any]:
        return {"at_ms": self.at_ms, "sha256": hashlib.sha256(self.values).hexdigest(), "whole": self.whole}


@dataclass(frozen=True)
class Looked:
    """What one analyser found in one item. `truncated`: there was more than we keep."""

    analyser: str
    at_ms: tuple[int, ...]
    found: tuple[Found, ...] = ()
    truncated: bool = False
    tags: tuple[Tag, ...] = ()
    words: tuple[Words, ...] = ()
    vectors: tuple[Vector, ...] = ()
    captions: tuple[Caption, ...] = ()

    @property
    def count(self) -> int:
        """How many rows it makes."""
        return sum(map(len, self._kinds))

    @property
    def canonical(self) -> bytes:
        """The bytes that `sha256` covers."""
        rows = (sorted(some, key=lambda row: row.order()) for some in self._kinds)
        return canonical([row.as_json() for some in rows for row in some])

    @property
    def _kinds(self) -> tuple[Sequence[Found | Tag | Words | Caption | Vector], ...]:
        return self.found, self.tags, self.words, self.captions, self.vectors

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical result, as hex."""
        return hashlib.sha256(self.canonical).hexdigest()


def canonical_result(found: Iterable[Found]) -> bytes:
    """The canonical result of an analysis that has detections only."""
    return Looked("", (), tuple(found)).canonical


def result_sha256(found: Iterable[Found]) -> str:
    """SHA-256 of the canonical result, as hex."""
    return hashlib.sha256(canonical_result(found)).hexdigest()


def _score(score: Decimal) -> str:
    return str(score.quantize(SCORE_STEP))


def _box(box: BoxOf) -> list[str]:
    return [str(v.quantize(BOX_STEP)) for v in box]


class Suggested(NamedTuple):
    """What counts of an item's results: time in ms -> class -> confidences of boxes, and tag -> highest confidence."""

    frames: dict[int, dict[str, tuple[Decimal, ...]]]
    tags: dict[str, Decimal]


def suggested(looked: Iterable[Looked]) -> Suggested:
    """What these results say together; frames without a finding are there too."""
    looked = list(looked)
    said = Suggested({at: {} for one in looked for at in one.at_ms}, {})
    for one in looked:
        for found in one.found:
            seen = said.frames[found.at_ms]
            seen[found.label] = (*seen.get(found.label, ()), found.score)
        for tag in one.tags:
            said.tags[tag.label] = max(said.tags.get(tag.label, tag.score), tag.score)
    return said
