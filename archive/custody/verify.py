"""Walk the custody log and name the first fault of each kind.

Steps (the same numbers stand in docs/custody-log.md):
 1. every event's bytes are canonical and hash to the stored hash; the searchable columns repeat them
 2. every subject's chain: numbers 1, 2, 3 ...; each names the hash of the one before; the tip is the last
 3. the global order: positions 0, 1, 2 ... without gaps; a subject's events in the order of their numbers
 4. checkpoints: signed by the log's key; the root over the events they cover is the root they state
 5. openings: each stored value is what its event commits to
 6. rows: what a record's events add up to is the row as it stands today; so are the roles that people have

Three answers: good, bad, could not check.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.db import connection, models, transaction

from archive.custody import erasure
from archive.custody.canonical import ZERO_HASH, canonical, commitment, event_hash, plain
from archive.custody.checkpoint import Parsed, parse_note, public_bytes, signed_by, signing_key
from archive.custody.tree import Head
from archive.errors import BadInput, KeyUnavailable
from archive.models import (
    Checkpoint,
    CustodyErasure,
    CustodyEvent,
    CustodyOpening,
    CustodyPending,
    CustodyPosition,
    CustodySubject,
    User,
)
from archive.models.base import Custodial

CHUNK = 2_000
Progress = Callable[[int], None]


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
    unopened: int = 0
    destroyed: int = 0  # openings erased under a certificate
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

    def add(self, kind: str, place: str, sentence: str) -> None:
        """Note a fault; only the first of its kind is kept in words."""
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            self.faults.append(Fault(kind, place, sentence))


class Row(NamedTuple):
    """One stored event with its position (None while it is pending)."""

    position: int | None
    pk: int
    subject: str
    number: int
    type: str
    time: datetime
    canonical: bytes
    hash: str

    @property
    def place(self) -> str:
        """Where it is, in words."""
        at = "pending" if self.position is None else f"position {self.position}"
        return f"event {self.number} of {self.subject} ({at})"


_FIELDS = ("pk", "subject", "number", "type", "time", "canonical", "hash")


def verify(*, known: str = "", public_key: bytes | None = None, progress: Progress | None = None) -> Report:
    """Check everything; never raises for a lie, only for a database that cannot be read.

    `known` is a checkpoint kept elsewhere, whole text; `public_key` (32 bytes) the key it and the log's own
    checkpoints must be signed with, else the instance's signing key.
    """
    report = Report()
    with _one_moment():
        heads = _checkpoints(report, known, public_key)
        walk = _Walk(report, heads)
        for chunk in _chunks(_in_global_order()):
            walk.take(chunk)
            if progress:
                progress(report.events)
        walk.end()
    _say_unopened(report)
    return report


def verify_subject(name: str) -> Report:
    """Check one subject's chain, openings and rows (steps 1, 2, 5 and 6). Positions and checkpoints need `verify`."""
    report = Report()
    with _one_moment():
        chain = _Chains(report)
        rows = _Rows(report)
        events = CustodyEvent.objects.filter(subject=name).order_by("number")
        found = events.values_list("position__position", *_FIELDS).iterator(chunk_size=CHUNK)
        for chunk in _chunks(Row(*values) for values in found):
            _check_chunk(report, chunk, chain, rows)
        chain.compare(CustodySubject.objects.filter(name=name))
        rows.compare(only=name)
    _say_unopened(report)
    return report


def _say_unopened(report: Report) -> None:
    if report.unopened:
        report.unchecked.append(f"{report.unopened} commitments whose openings are no longer there")
    if report.destroyed:
        report.remarks.append(
            f"{report.destroyed} openings were destroyed under a certificate; what they held is gone, nothing is missing"
        )


@contextmanager
def _one_moment() -> Iterator[None]:
    """Read the database as it is at one moment while others go on writing; hold up none of them."""
    if connection.in_atomic_block:
        yield
        return
    usual = getattr(connection, "transaction_mode", None)
    if connection.vendor == "sqlite":
        connection.transaction_mode = "DEFERRED"  # ours is IMMEDIATE: that would keep every writer out
    try:
        with transaction.atomic(durable=True):
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield
    finally:
        if connection.vendor == "sqlite":
            connection.transaction_mode = usual


# --- step 4: checkpoints ------------------------------------------------------------------------------------------


def _checkpoints(report: Report, known: str, public_key: bytes | None) -> list[tuple[str, Parsed]]:
    found: list[tuple[str, Parsed]] = []
    if public_key is None:
        try:
            public_key = public_bytes(signing_key())
        except KeyUnavailable as error:
            report.unchecked.append(f"signatures of checkpoints: {error.sentence}")
    for row in Checkpoint.objects.order_by("pk"):
        parsed = _checkpoint(report, f"checkpoint {row.pk}", row.note, public_key)
        if parsed and (row.size, row.root) != (parsed.size, parsed.root.hex()):
            report.add(
                "altered checkpoint", f"checkpoint {row.pk}", "its columns do not say what its text says"
            )
        if parsed:
            found.append((f"checkpoint {row.pk}", parsed))
    if known:
        parsed = _checkpoint(report, "the known checkpoint", known, public_key)
        if parsed:
            found.append(("the known checkpoint", parsed))
    if not report.checkpoints:
        report.remarks.append(
            "No checkpoint was signed yet, so a cut-off end could not be noticed: manage.py custody checkpoint"
        )
    return sorted(found, key=lambda entry: entry[1].size)


def _checkpoint(report: Report, place: str, note: str, public_key: bytes | None) -> Parsed | None:
    report.checkpoints += 1
    try:
        parsed = parse_note(note)
    except BadInput:
        report.add("altered checkpoint", place, "it is not in the form of a signed checkpoint")
        return None
    if parsed.origin != settings.NAME_IN_LOG:
        report.add(
            "wrong log", place, f"it is of the log {parsed.origin!r}, this one is {settings.NAME_IN_LOG!r}"
        )
    elif public_key is not None and not signed_by(parsed, parsed.origin, public_key):
        report.add("wrong key", place, "it carries no good signature of the log's key")
    return parsed


# --- the walk -----------------------------------------------------------------------------------------------------


def _in_global_order() -> Iterator[Row]:
    """All events by position, the pending ones after them in the order of recording."""
    places = CustodyPosition.objects.order_by("position")
    for values in places.values_list("position", *(f"event__{f}" for f in _FIELDS)).iterator(
        chunk_size=CHUNK
    ):
        yield Row(*values)
    waiting = CustodyEvent.objects.filter(position=None).order_by("pk")
    for values in waiting.values_list(*_FIELDS).iterator(chunk_size=CHUNK):
        yield Row(None, *values)


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


class _Walk:
    """Steps 1 to 6 in one pass over the global order."""

    def __init__(self, report: Report, heads: list[tuple[str, Parsed]]) -> None:
        self.report, self.heads = report, heads
        self.head, self.expected = Head(), 0
        self.chains, self.rows = _Chains(report), _Rows(report)
        self.signed: dict[tuple[int, str], str] = {}  # size and root of the checkpoints that events tell of
        self._compare_heads()

    def take(self, chunk: list[Row]) -> None:
        _check_chunk(self.report, chunk, self.chains, self.rows)
        for row in chunk:
            if row.type == "system.checkpoint_signed":
                self._note_checkpoint(row)
            if row.position is None:
                self.report.pending += 1
                continue
            if row.position != self.expected:
                self.report.add(
                    "missing position", f"position {self.expected}", f"the next one there is {row.position}"
                )
            self.expected = row.position + 1
            self.head.add(event_hash(bytes(row.canonical)))
            self._compare_heads()

    def end(self) -> None:
        for place, parsed in self.heads:
            self.report.add(
                "truncated tail",
                place,
                f"it covers {parsed.size} events, the log has {self.head.size}: the end is missing",
            )
        self.chains.compare(CustodySubject.objects.all())
        unplaced = CustodyEvent.objects.filter(position=None, pending=None).count()
        both = CustodyPending.objects.exclude(event__position=None).count()
        if unplaced or both:
            self.report.add(
                "lost pending mark", "the sequencer's list", f"{unplaced + both} events are not as it says"
            )
        self.rows.compare()
        for place, sentence in erasure.faults():
            self.report.add("unrecorded erasure", place, sentence)
        there = set(Checkpoint.objects.values_list("size", "root"))
        for checkpoint, place in self.signed.items():
            if checkpoint not in there:
                self.report.add("missing checkpoint", place, "the checkpoint that it tells of is gone")

    def _note_checkpoint(self, row: Row) -> None:
        try:
            payload = json.loads(bytes(row.canonical))["payload"]
            self.signed[payload["size"], payload["root"]] = row.place
        except (ValueError, KeyError, TypeError):
            self.report.add("altered event", row.place, "it does not say which checkpoint was signed")

    def _compare_heads(self) -> None:
        while self.heads and self.heads[0][1].size == self.head.size:
            place, parsed = self.heads.pop(0)
            if parsed.root != self.head.root():
                self.report.add(
                    "rewritten history",
                    place,
                    f"the root over the first {self.head.size} events is not the one that was signed",
                )


def _check_chunk(report: Report, chunk: list[Row], chains: "_Chains", rows: "_Rows") -> None:
    openings: dict[int, list[tuple[str, str, Any]]] = defaultdict(list)
    openings_of = [row.pk for row in chunk]
    for pk, pointer, salt, value in CustodyOpening.objects.filter(event__in=openings_of).values_list(
        "event_id", "pointer", "salt", "value"
    ):
        openings[pk].append((pointer, salt, value))
    erased = Counter(CustodyErasure.objects.filter(event__in=openings_of).values_list("event_id", flat=True))
    for row in chunk:
        report.events += 1
        event = _check_event(report, row)
        chains.take(row, event)
        opened = _open(report, row, event, openings.get(row.pk, []), erased[row.pk])
        if event is not None:
            rows.fold(event, opened)


def _check_event(report: Report, row: Row) -> dict[str, Any] | None:
    """Step 1."""
    body = bytes(row.canonical)
    if event_hash(body).hex() != row.hash:
        report.add("altered event", row.place, "its bytes do not hash to the hash stored with it")
    try:
        event = json.loads(body)
        if not isinstance(event, dict) or canonical(event) != body:
            raise ValueError("form")
    except (ValueError, RecursionError):
        report.add("altered event", row.place, "its bytes are not canonical JSON")
        return None
    if not _in_form(event):
        report.add("altered event", row.place, "it is not in the form of version 1")
        return None
    stated = tuple(event.get(name) for name in ("subject", "number", "type", "time"))
    if stated != (row.subject, row.number, row.type, plain(row.time)):
        report.add("altered event", row.place, "the columns beside it do not say what it says")
    return event


_EVENT_FIELDS = frozenset("version subject number previous type time actor reason software payload".split())


def _in_form(event: dict[str, Any]) -> bool:
    payload = event.get("payload")
    return (
        event.keys() == _EVENT_FIELDS
        and event["version"] == 1
        and isinstance(payload, dict)
        and isinstance(payload.get("set", {}), dict)
    )


class _Chains:
    """Step 2, and the order within a subject of step 3."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.tips: dict[str, tuple[int, str]] = {}

    def take(self, row: Row, event: dict[str, Any] | None) -> None:
        last, tip = self.tips.get(row.subject, (0, ZERO_HASH))
        if row.number > last + 1:
            self.report.add("missing event", row.place, f"number {last + 1} of this subject is not before it")
        elif row.number <= last:
            self.report.add("reordered event", row.place, f"number {last} of this subject stands before it")
        elif event is not None and event.get("previous") != tip:
            self.report.add("broken chain", row.place, "it does not name the hash of the event before it")
        self.tips[row.subject] = (row.number, event_hash(bytes(row.canonical)).hex())

    def compare(self, subjects: models.QuerySet) -> None:
        self.report.subjects = len(self.tips)
        left = dict(self.tips)
        for name, length, tip in subjects.values_list("name", "length", "tip").iterator(chunk_size=CHUNK):
            number, digest = left.pop(name, (0, ZERO_HASH))
            if number < length:
                self.report.add(
                    "missing event", name, f"its chain has {number} events; {length} were recorded"
                )
            elif (number, digest) != (length, tip):
                self.report.add("altered tip", name, "the stored tip of its chain is not its last event")
        for name in left:
            self.report.add("missing subject", name, "its chain has events but no stored tip")


def _open(
    report: Report,
    row: Row,
    event: dict[str, Any] | None,
    openings: list[tuple[str, str, Any]],
    erased: int,
) -> dict[str, Any]:
    """Step 5. Return the opened values by pointer. `erased`: how many were destroyed under a certificate."""
    opened: dict[str, Any] = {}
    for pointer, salt, value in openings:
        report.openings += 1
        try:
            good = _at(event, pointer) == {"commitment": commitment(salt, pointer, value)}
        except (ValueError, KeyError, IndexError, TypeError):
            good = False
        if good:
            opened[pointer] = value
        else:
            report.add("altered opening", f"{pointer} of {row.place}", "it is not what the event commits to")
    if event is not None:
        made = bytes(row.canonical).count(b'"commitment":"')  # in a string the quotes would be escaped
        sealed = row.type == "source.identity_set"  # its opening lies in the sealed identity alone
        report.destroyed += erased
        report.unopened += max(0, made - sealed - erased - len(opened))
    return opened


def _at(document: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


class _Rows:
    """Step 6. Only a short hash of each folded field is kept, so that a million records fit in memory.

    A field whose opening is gone can only be empty: nobody can say any more what it was.
    """

    WITHHELD = b""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.models = {m._meta.label_lower: m for m in apps.get_models() if issubclass(m, Custodial)}
        self.state: dict[str, dict[str, dict[str, bytes]]] = {label: {} for label in self.models}
        self.roles: dict[str, list[str]] = {}

    def fold(self, event: dict[str, Any], opened: dict[str, Any]) -> None:
        payload = event["payload"]
        if event["type"] == "system.roles_changed":
            self.roles[str(payload.get("person"))] = payload.get("roles")
        label, key = str(payload.get("record")), str(payload.get("id"))
        if label not in self.models:
            return
        if payload.get("erased"):
            self.state[label].pop(key, None)
            return
        known = self.state[label].setdefault(key, {})
        for name, value in payload.get("set", {}).items():
            pointer = f"/payload/set/{name}"
            if isinstance(value, dict) and set(value) == {"commitment"}:
                known[name] = _digest(opened[pointer]) if pointer in opened else self.WITHHELD
            else:
                known[name] = _digest(value)

    def compare(self, only: str = "") -> None:
        for label, model in self.models.items():
            folded = self.state[label]
            rows = model._base_manager.all()
            if only:  # rows of one subject: those that its events name
                rows = rows.filter(pk__in=list(folded))
            for row in rows.iterator(chunk_size=CHUNK):
                self.report.rows += 1
                self._compare_row(f"{label} {row.pk}", row, folded.pop(str(row.pk), None))
            for key in folded:
                self.report.add("missing row", f"{label} {key}", "the log says that it exists; it is gone")
        if only in ("", "system:main"):
            self._compare_roles()

    def _compare_roles(self) -> None:
        """Membership of groups is no row of ours, but what it gives is access."""
        held: dict[str, list[str]] = defaultdict(list)
        pairs = User.groups.through.objects.order_by("group__name").values_list("user_id", "group__name")
        for person, role in pairs:
            held[str(person)].append(role)
        for person in held.keys() | self.roles.keys():
            if held.get(person, []) != self.roles.get(person, []):
                self.report.add("altered roles", f"person {person}", "their roles are not what the log says")

    def _compare_row(self, place: str, row: Any, folded: dict[str, bytes] | None) -> None:
        if folded is None:
            self.report.add("unrecorded row", place, "no event of the log made it")
            return
        for name in (*row.recorded, *row.private):
            column = row._meta.get_field(name)
            # A column younger than the row's events holds its default until an event says otherwise.
            stated = folded[name] if name in folded else _digest(plain(column.get_default()))
            value = plain(column.value_from_object(row))
            if stated == self.WITHHELD and value not in ("", None):
                self.report.add("missing opening", place, f"its field {name} can no longer be compared")
            elif stated not in (_digest(value), self.WITHHELD):
                self.report.add(
                    "altered row", place, f"its field {name} is not what the last event about it says"
                )


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(canonical(value), digest_size=16).digest()
