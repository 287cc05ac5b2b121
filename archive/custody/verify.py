"""Walk the whole custody log and name the first fault of each kind.

Steps (the same numbers stand in docs/custody-log.md):
 1. every event's bytes are canonical and hash to the stored hash; the searchable columns repeat them
 2. every subject's chain: numbers 1, 2, 3 ...; each names the hash of the one before; the tip is the last
 3. the global order: positions 0, 1, 2 ... without gaps; a subject's events in the order of their numbers
 4. checkpoints: signed by the log's key; the root over the events they cover is the root they state
 5. openings: each commitment opens to the stored value
 6. rows: folding a record's events gives the row as it stands today

Three answers: good, bad, could not check.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django.apps import apps
from django.conf import settings
from django.db import models, transaction

from archive.custody.canonical import ZERO_HASH, canonical, commitment, event_hash, plain
from archive.custody.checkpoint import Parsed, parse_note, public_bytes, signed_by, signing_key
from archive.custody.tree import Head
from archive.errors import BadInput, KeyUnavailable
from archive.models import (
    Checkpoint,
    CustodyEvent,
    CustodyOpening,
    CustodyPending,
    CustodyPosition,
    CustodySubject,
)
from archive.models.base import Custodial

CHUNK = 5_000


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
    rows: int = 0
    openings: int = 0
    faults: list[Fault] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unchecked: list[str] = field(default_factory=list)

    @property
    def answer(self) -> str:
        """good, bad, or could not check."""
        if self.faults:
            return "bad"
        return "could not check" if self.unchecked else "good"

    def add(self, kind: str, place: str, sentence: str) -> None:
        """Note a fault; only the first of its kind is kept in words."""
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            self.faults.append(Fault(kind, place, sentence))


def verify(
    *, known: str = "", public_key: bytes | None = None, progress: Callable[[int], None] | None = None
) -> Report:
    """Check everything; never raises for a lie, only for a database that cannot be read.

    `known` is a checkpoint kept elsewhere, whole text; `public_key` (32 bytes) the key it and the log's own
    checkpoints must be signed with, else the instance's signing key.
    """
    report = Report()
    with transaction.atomic():
        heads = _checkpoints(report, known, public_key)
        _walk(report, heads, progress or (lambda count: None))
        _openings(report)
    return report


def _checkpoints(report: Report, known: str, public_key: bytes | None) -> list[tuple[str, Parsed]]:
    found: list[tuple[str, Parsed]] = []
    if public_key is None:
        try:
            public_key = public_bytes(signing_key())
        except KeyUnavailable as error:
            report.unchecked.append(f"signatures of checkpoints: {error.sentence}")
    rows = [
        (f"checkpoint {row.pk}", row.note, row.size, row.root) for row in Checkpoint.objects.order_by("pk")
    ]
    if known:
        rows.append(("the known checkpoint", known, None, None))
    if not rows:
        report.unchecked.append(
            "a cut-off tail: no checkpoint has been signed yet (manage.py custody checkpoint)"
        )
    for place, note, size, root in rows:
        report.checkpoints += 1
        try:
            parsed = parse_note(note)
        except BadInput:
            report.add("altered checkpoint", place, "it is not in the form of a signed checkpoint")
            continue
        if size is not None and (size, root) != (parsed.size, parsed.root.hex()):
            report.add("altered checkpoint", place, "its columns do not say what its signed text says")
        if public_key is not None and not signed_by(parsed, parsed.origin, public_key):
            report.add("wrong key", place, "it is not signed by the log's key")
        if parsed.origin != settings.NAME_IN_LOG:
            report.add(
                "wrong log",
                place,
                f"it is of the log {parsed.origin!r}, this one is {settings.NAME_IN_LOG!r}",
            )
        found.append((place, parsed))
    return sorted(found, key=lambda entry: entry[1].size)


def _events() -> Iterator[tuple]:
    """All events in global order, the pending ones after them in the order of recording."""
    fields = ("subject", "number", "type", "time", "canonical", "hash")
    places = CustodyPosition.objects.order_by("position")
    yield from places.values_list("position", *(f"event__{f}" for f in fields)).iterator(chunk_size=CHUNK)
    waiting = CustodyEvent.objects.filter(position=None).order_by("pk")
    for row in waiting.values_list(*fields).iterator(chunk_size=CHUNK):
        yield (None, *row)


def _walk(report: Report, heads: list[tuple[str, Parsed]], progress: Callable[[int], None]) -> None:
    """Steps 1 to 4 and 6 in one pass."""
    tips: dict[str, tuple[int, str]] = {}
    rows = _Rows(report)
    head, expected, upcoming = Head(), 0, list(heads)
    upcoming = _compare_heads(report, upcoming, head)
    for position, subject, number, kind, moment, stored, digest in _events():
        body = bytes(stored)
        place = f"event {number} of {subject}" + ("" if position is None else f" (position {position})")
        event = _check_event(report, place, body, digest, subject, number, kind, moment)
        last_number, last_hash = tips.get(subject, (0, ZERO_HASH))
        if number != last_number + 1:
            word = "missing event" if number > last_number + 1 else "reordered event"
            report.add(word, place, f"after number {last_number} of this subject comes {number}")
        elif event is not None and event.get("previous") != last_hash:
            report.add("broken chain", place, "it does not name the hash of the event before it")
        tips[subject] = (number, event_hash(body).hex())
        if position is None:
            report.pending += 1
        else:
            if position != expected:
                report.add("missing position", f"position {expected}", f"the next position is {position}")
            expected = position + 1
            head.add(event_hash(body))
            upcoming = _compare_heads(report, upcoming, head)
        if event is not None:
            rows.fold(event)
        report.events += 1
        if report.events % CHUNK == 0:
            progress(report.events)
    for place, parsed in upcoming:
        report.add(
            "truncated tail",
            place,
            f"it covers {parsed.size} events, the log has {head.size}: the end is missing",
        )
    _compare_tips(report, tips)
    rows.compare()
    progress(report.events)


def _compare_heads(
    report: Report, upcoming: list[tuple[str, Parsed]], head: Head
) -> list[tuple[str, Parsed]]:
    while upcoming and upcoming[0][1].size == head.size:
        place, parsed = upcoming.pop(0)
        if parsed.root != head.root():
            report.add(
                "rewritten history",
                place,
                f"the root over the first {head.size} events is not the one it was signed for",
            )
    return upcoming


def _check_event(
    report: Report, place: str, body: bytes, digest: str, subject: str, number: int, kind: str, moment: object
) -> dict | None:
    if event_hash(body).hex() != digest:
        report.add("altered event", place, "its bytes do not hash to the hash stored with it")
    try:
        event = json.loads(body)
        if not isinstance(event, dict) or canonical(event) != body:
            raise ValueError("form")
    except ValueError:
        report.add("altered event", place, "its bytes are not canonical JSON")
        return None
    columns = (subject, number, kind, plain(moment))
    if columns != tuple(event.get(name) for name in ("subject", "number", "type", "time")):
        report.add("altered event", place, "the columns beside it do not say what it says")
    return event


def _compare_tips(report: Report, tips: dict[str, tuple[int, str]]) -> None:
    report.subjects = len(tips)
    for name, length, tip in CustodySubject.objects.values_list("name", "length", "tip").iterator(
        chunk_size=CHUNK
    ):
        number, digest = tips.pop(name, (0, ZERO_HASH))
        if number < length:
            report.add("missing event", f"{name}", f"its chain has {number} events, {length} were recorded")
        elif (number, digest) != (length, tip):
            report.add("altered tip", f"{name}", "the stored tip of its chain is not its last event")
    for name in tips:
        report.add("missing subject", name, "its chain has events but no tip")
    unplaced = CustodyEvent.objects.filter(position=None, pending=None).count()
    both = CustodyPending.objects.exclude(event__position=None).count()
    if unplaced or both:
        report.add(
            "lost pending mark", "the sequencer's list", f"{unplaced + both} events are not as it says"
        )


def _openings(report: Report) -> None:
    """Step 5."""
    fields = ("event__canonical", "event__subject", "event__number", "pointer", "salt", "value")
    for body, subject, number, pointer, salt, value in (
        CustodyOpening.objects.values_list(*fields).order_by("pk").iterator(chunk_size=CHUNK)
    ):
        report.openings += 1
        try:
            stated = _at(json.loads(bytes(body)), pointer)
            good = stated == {"commitment": commitment(salt, pointer, value)}
        except (ValueError, KeyError, IndexError, TypeError):
            good = False
        if not good:
            report.add(
                "altered opening",
                f"{pointer} of event {number} of {subject}",
                "it does not open the event's commitment",
            )


def _at(document: object, pointer: str) -> object:
    for step in pointer.split("/")[1:]:
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


class _Rows:
    """Step 6: what each record's events add up to, compared with the rows of today.

    Only a hash of each folded field is kept, so that a million records fit in memory.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.models = {m._meta.label_lower: m for m in apps.get_models() if issubclass(m, Custodial)}
        self.state: dict[str, dict[str, dict[str, bytes]]] = {label: {} for label in self.models}

    def fold(self, event: dict) -> None:
        payload = event.get("payload") or {}
        label, key = payload.get("record"), payload.get("id")
        if label not in self.models:
            return
        if payload.get("erased"):
            self.state[label].pop(key, None)
        else:
            self.state[label].setdefault(key, {}).update(
                {name: _digest(value) for name, value in (payload.get("set") or {}).items()}
            )

    def compare(self) -> None:
        for label, model in self.models.items():
            folded = self.state[label]
            for row in model._base_manager.iterator(chunk_size=CHUNK):
                self.report.rows += 1
                self._compare_row(label, row, folded.pop(str(row.pk), None))
            for key in folded:
                self.report.add(
                    "missing row", f"{label} {key}", "the log says that it exists; the row is gone"
                )

    def _compare_row(self, label: str, row: models.Model, folded: dict[str, bytes] | None) -> None:
        place = f"{label} {row.pk}"
        if folded is None:
            self.report.add("unrecorded row", place, "no event of the log made it")
            return
        for name in row.recorded:
            value = plain(row._meta.get_field(name).value_from_object(row))
            if name in folded and folded[name] != _digest(value):
                self.report.add("altered row", place, f"its field {name} is not what its last event says")
        self._compare_private(place, row, folded)

    def _compare_private(self, place: str, row: models.Model, folded: dict[str, bytes]) -> None:
        openings = None
        for name in row.private:
            value = plain(row._meta.get_field(name).value_from_object(row))
            if value in ("", None):
                if name in folded and folded[name] not in (_digest(""), _digest(None)):
                    self.report.add(
                        "altered row", place, f"its field {name} is empty; its last event says otherwise"
                    )
                continue
            if openings is None:
                openings = _openings_of(row)
            pointer = f"/payload/set/{name}"
            candidates = [salt for p, salt in openings if p == pointer]
            if name in folded and not any(
                folded[name] == _digest({"commitment": commitment(salt, pointer, value)})
                for salt in candidates
            ):
                self.report.add(
                    "altered row", place, f"its field {name} does not open what its last event commits to"
                )


def _openings_of(row: models.Model) -> list[tuple[str, str]]:
    return list(
        CustodyOpening.objects.filter(event__subject=row.custody_subject()).values_list("pointer", "salt")
    )


def _digest(value: object) -> bytes:
    return hashlib.blake2b(canonical(value), digest_size=16).digest()
