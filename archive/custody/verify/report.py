"""What a verification found."""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger("archive")


@dataclass(frozen=True)
class Fault:
    """One lie: its kind, where it is, and what is wrong in plain words."""

    kind: str
    place: str
    sentence: str


@dataclass
class Report:
    """What was checked and found. `faults` holds the first of each kind, `counts` how many of each."""

    events: int = 0
    pending: int = 0
    subjects: int = 0
    checkpoints: int = 0
    cosignatures: int = 0
    timestamps: int = 0
    maps: int = 0
    tiles: int = 0
    rows: int = 0
    openings: int = 0
    unopened: int = 0
    destroyed: int = 0  # openings erased under a certificate
    seconds: dict[str, float] = field(default_factory=dict)  # of the parts: log, map, rows
    faults: list[Fault] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unchecked: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # what nobody could check yet; no failure

    @property
    def answer(self) -> str:
        """good, bad, or could not check."""
        if self.faults:
            return "bad"
        return "could not check" if self.unchecked else "good"

    def add(self, kind: str, place: str, sentence: str, times: int = 1) -> None:
        """Note a fault; only the first of its kind is kept in words."""
        if not self.counts[kind]:
            self.faults.append(Fault(kind, place, sentence))
        self.counts[kind] += times


@contextlib.contextmanager
def part(report: Report, what: str) -> Iterator[None]:
    """A part of the work: what stops it is `could not check`, and hides nothing that the other parts find."""
    try:
        yield
    except Exception as error:
        log.exception("%s: the check stopped", what)
        report.unchecked.append(f"{what}: the check stopped ({type(error).__name__}: {error})")


class Found:
    """Faults and figures of a part of the work, as plain data that can pass between processes and files."""

    def __init__(self) -> None:
        self.faults: dict[str, list[Any]] = {}  # kind: place, sentence, how many
        self.figures: dict[str, int] = defaultdict(int)

    def add(self, kind: str, place: str, sentence: str) -> None:
        """Note a fault; only the first of its kind is kept in words."""
        if kind in self.faults:
            self.faults[kind][2] += 1
        else:
            self.faults[kind] = [place, sentence, 1]

    def told(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"faults": self.faults, "figures": dict(self.figures)}


def take(report: Report, told: dict[str, Any]) -> None:
    """Add what a part found to the whole."""
    for kind, (place, sentence, times) in told["faults"].items():
        report.add(kind, place, sentence, times)
    for name, number in told["figures"].items():
        setattr(report, name, getattr(report, name) + number)
