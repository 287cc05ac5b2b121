"""What analysers found, once checked: the numbers that are stored, and the bytes that their hash covers.

The canonical result of an analysis is the RFC 8785 JSON of

    [{"at_ms": 1200, "box": ["0.10000", "0.20000", "0.30000", "0.40000"], "label": "person", "score": "0.9421"}, ...]

with scores to four places and boxes (x, y, width, height as shares of the frame) to five, as text, ordered by
at_ms, then label, then score from high to low, then box. `result_sha256` is the SHA-256 of these bytes.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from archive.custody.canonical import canonical

SCORE_STEP, BOX_STEP = Decimal("0.0001"), Decimal("0.00001")


@dataclass(frozen=True)
class Found:
    """One detection, in the units that are stored. `at_ms` is 0 for an image."""

    at_ms: int
    label: str
    score: Decimal
    box: tuple[Decimal, Decimal, Decimal, Decimal]

    def order(self) -> tuple[Any, ...]:
        """The key of the canonical order."""
        return (self.at_ms, self.label, -self.score, self.box)


@dataclass(frozen=True)
class Looked:
    """What one analyser found in one item. `truncated`: there was more than we keep."""

    analyser: str
    at_ms: tuple[int, ...]
    found: tuple[Found, ...]
    truncated: bool


def canonical_result(found: Iterable[Found]) -> bytes:
    """The bytes that `result_sha256` covers."""
    return canonical(
        [
            {
                "at_ms": f.at_ms,
                "box": [str(v.quantize(BOX_STEP)) for v in f.box],
                "label": f.label,
                "score": str(f.score.quantize(SCORE_STEP)),
            }
            for f in sorted(found, key=Found.order)
        ]
    )


def result_sha256(found: Iterable[Found]) -> str:
    """SHA-256 of the canonical result, as hex."""
    return hashlib.sha256(canonical_result(found)).hexdigest()


def by_frame(looked: Iterable[Looked]) -> dict[int, dict[str, tuple[Decimal, ...]]]:
    """Time in ms -> class -> confidences, over everything that analysers found; frames without a finding too."""
    looked = list(looked)
    frames: dict[int, dict[str, tuple[Decimal, ...]]] = {at: {} for one in looked for at in one.at_ms}
    for one in looked:
        for found in one.found:
            seen = frames[found.at_ms]
            seen[found.label] = (*seen.get(found.label, ()), found.score)
    return frames
