"""Steps 1 and 2 over events in their order: what each says, and that it continues the chain of its subject.

Quick where all is well: most events have the same shape as one before them, that is, the same keys in the same places,
and differ in their strings and numbers alone. The shape of an event that was read as a whole, and found good, is kept
as a pattern; what fits it is canonical and in the form of version 1 as well, and what it says of its number, the hash
before, subject, time and type is compared with the columns and the chain. An event that fits no shape, or says
anything else, is read as a whole and compared field by field; and where that fails too, it is asked what exactly is
wrong.
"""

import contextlib
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from archive.custody.canonical import MAX_EVENT_BYTES, ZERO_HASH, canonical_document
from archive.custody.verify.reader import MANY, Reader, Row
from archive.custody.verify.report import Found
from archive.custody.verify.times import are_times, as_event, of_columns

_leaf = hashlib.sha256(b"\x00").copy  # begun once: making a new one takes as long as hashing
_FIELDS = frozenset("version subject number previous type time actor reason software payload".split())
_SHAPES, _OF_A_TYPE = 200, 8  # how many are kept: of all events, of one type
_CONTENT = '[^"]*+'  # of a string, in plain text: there are no escapes in it, and none that it would need
_SHAPED = 2_048  # bytes of an event whose shape is worth keeping
NOTED = frozenset(  # others need what these say
    ("item.stored", "system.map_root")
    + tuple(f"system.checkpoint_{what}" for what in ("signed", "witnessed", "timestamped"))
)


class Checker:
    """Checks events in their order and keeps what comes next needs."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.found = reader, Found()
        self.tips: dict[str, tuple[int, str]] = {}
        self.firsts: list[
            tuple[tuple, str | None]
        ] = []  # first events of a subject here, and what they name as before
        self.noted: list[list[Any]] = []  # type, position, hash, place, payload
        self.columns: tuple[tuple, ...] = ()  # of the events taken last, as are their times
        self.times: list[str] = []
        self.shapes: dict[str, list[Callable[[str], re.Match[str] | None]]] = defaultdict(list)  # by type
        self.kept = 0  # shapes

    def take(self, rows: Sequence[tuple]) -> list[str]:
        """Check events. Returns their hashes, made from their bytes."""
        rows = typed(rows)
        self.columns = tuple(zip(*rows, strict=True)) or ((),) * 8
        _, _, subjects, numbers, kinds, moments, bodies, stored = self.columns
        hashes = leaf_hashes(bodies)
        times, sound = of_columns(moments)
        texts = plain_texts(bodies) if sound else [""] * len(rows)
        tips, shapes, whole = self.tips, self.shapes, False
        events = zip(texts, hashes, stored, subjects, numbers, times, kinds, strict=True)
        for at, (text, digest, kept, subject, number, time, kind) in enumerate(events):
            match = None
            for fits in shapes.get(kind, ()):
                if match := fits(text):
                    break
            last = tips.get(subject)
            if match:
                said_number, previous, said_subject, said_time, said_kind = match.groups()
            if (
                match
                and digest == kept
                and said_number == str(number)
                and said_subject == subject
                and said_time == time
                and said_kind == kind
                and (last is None or (number == last[0] + 1 and previous == last[1]))
            ):
                payload = canonical_document(bodies[at])["payload"] if kind in NOTED else None
            else:
                whole = True
                times[at], previous, payload = self._read(rows[at], digest, text)
            if last is None:
                self.firsts.append((rows[at], previous))
            if payload is not None and kind in NOTED:
                self.noted.append([kind, rows[at][0], digest, Row(*rows[at]).place, payload])
            tips[subject] = (number, digest)
        if whole and not are_times(times):
            for at, row in enumerate(rows):
                if times[at] and not are_times(times[at : at + 1]):
                    self.found.add("altered event", Row(*row).place, "its time is none")
                    times[at] = ""
        self.times = times
        self.found.figures["events"] += len(hashes)
        return hashes

    def _read(self, row: tuple, digest: str, text: str) -> tuple[str, Any, Any]:
        """Compare an event field by field. Returns its time, what it names as before, and its payload, as far as it has any."""
        _, _, subject, number, kind, at, body, stored = row
        if len(body) > MAX_EVENT_BYTES:
            self.found.add("altered event", Row(*row).place, f"it has {len(body):,} bytes: too many")
        try:
            event = canonical_document(body)
            time, previous, payload = event["time"], event["previous"], event["payload"]
            last = self.tips.get(subject)
            if (
                digest == stored
                and time == as_event(at)
                and event["subject"] == subject
                and event["number"] == number
                and event["type"] == kind
                and _in_form(event)
                and (last is None or (number == last[0] + 1 and previous == last[1]))
            ):
                if text and len(text) <= _SHAPED:
                    self._learn(event, kind)
            else:
                self._name(Row(*row), event, digest)
            return time, previous, payload
        except (ValueError, RecursionError, KeyError, TypeError):
            self._name(Row(*row), None, digest)
            return "", None, None

    def _learn(self, event: dict[str, Any], kind: str) -> None:
        """Keep the shape of an event that is good, and plain text."""
        if self.kept < _SHAPES and len(self.shapes[kind]) < _OF_A_TYPE:
            with contextlib.suppress(RecursionError):  # an event that deep is read as a whole each time
                self.shapes[kind].append(shape(event).fullmatch)
                self.kept += 1

    def skim(self, rows: Sequence[tuple]) -> list[str]:
        """Only hash events, and see which are the first of their subjects here."""
        rows = typed(rows)
        self.columns = tuple(zip(*rows, strict=True)) or ((),) * 8
        for row in rows:
            if row[2] not in self.tips:
                self.tips[row[2]] = (0, "")
                self.firsts.append((row, None))
        return leaf_hashes(self.columns[6])

    def _name(self, row: Row, event: Any, digest: str) -> None:
        """What is wrong with an event that is not as it should be; nothing where only its spelling was unusual."""
        add = self.found.add
        if digest != row.hash:
            add("altered event", row.place, "its bytes do not hash to the hash stored with it")
        try:
            event = canonical_document(row.canonical) if event is None else event
        except (ValueError, RecursionError):
            add("altered event", row.place, "its bytes are not canonical JSON")
        else:
            if not _in_form(event):
                add("altered event", row.place, "it is not in the form of version 1")
            elif [event[n] for n in ("subject", "number", "type")] != [row.subject, row.number, row.type] or (
                event["time"] != as_event(row.time)
            ):
                add("altered event", row.place, "the columns beside it do not say what it says")
        if row.subject in self.tips:
            last, tip = self.tips[row.subject]
            self._link(row, event.get("previous") if isinstance(event, dict) else None, last, tip)

    def _link(self, row: Row, previous: Any, last: int, tip: str) -> None:
        if row.number > last + 1:
            self.found.add("missing event", row.place, f"number {last + 1} of this subject is not before it")
        elif row.number <= last:
            self.found.add("reordered event", row.place, f"number {last} of this subject stands before it")
        elif previous is not None and previous != tip:
            self.found.add("broken chain", row.place, "it does not name the hash of the event before it")

    def link_firsts(self) -> bytes:
        """Check the first event of each subject here against the one before it, wherever that is.

        Returns a digest of what was found there.
        """
        wanted = [(row[2], row[3] - 1) for row, _ in self.firsts if row[3] > 1]
        before: dict[tuple[str, int], tuple] = {}
        for start in range(0, len(wanted), MANY):
            pairs = wanted[start : start + MANY]
            values = ", ".join(
                ["(%s, %s)" if not self.reader.postgresql else "(%s::text, %s::bigint)"] * len(pairs)
            )
            for subject, number, pk, digest, position in self.reader.rows(
                "SELECT e.subject, e.number, e.id, e.hash, p.position "
                f"FROM (VALUES {values}) AS v JOIN archive_custodyevent e ON e.subject = v.column1 "
                "AND e.number = v.column2 LEFT JOIN archive_custodyposition p ON p.event_id = e.id",
                [part for pair in pairs for part in pair],
            ):
                before[subject, number] = (position, pk, digest)
        seen = hashlib.sha256()
        for raw, previous in self.firsts:
            row = Row(*raw)
            there = before.get((row.subject, row.number - 1))
            if there is not None and not _is_before(there, row):
                there = None
            seen.update(repr((row.subject, row.number, there and there[2])).encode())
            if row.number == 1 or there is None:
                self._link(row, previous, 0, ZERO_HASH)
            else:
                self._link(row, previous, row.number - 1, there[2])
        return seen.digest()


def typed(rows: Sequence[tuple]) -> Sequence[tuple]:
    """The rows, those mended that have columns of the wrong type."""
    if {type(row[6]) for row in rows} | {type(row[3]) for row in rows} <= {bytes, int}:
        return rows
    return [_mended(row) for row in rows]


def leaf_hashes(bodies: Sequence[bytes]) -> list[str]:
    """SHA-256(0x00 || event) of each."""
    hashes = []
    for body in bodies:
        leaf = _leaf()
        leaf.update(body)
        hashes.append(leaf.hexdigest())
    return hashes


def shape(event: dict[str, Any]) -> re.Pattern[str]:
    """A pattern for plain text (see `plain_texts`) that fits canonical events with the keys of this one alone.

    Groups: number, hash before, subject, time, type. The event is in the form of version 1, with ASCII keys that need
    no escapes.
    """
    payload = {name: _value(value) for name, value in event["payload"].items()}
    if "set" in payload:
        payload["set"] = _fields(event["payload"]["set"])
    parts = {name: _value(value) for name, value in event.items()}
    parts |= {name: f'"({_CONTENT})"' for name in ("previous", "subject", "time", "type")}
    parts |= {"number": "([1-9][0-9]{0,14}+)", "payload": _object(payload), "version": "1"}
    return re.compile(_object(parts))


def _object(parts: dict[str, str]) -> str:
    return r"\{" + ",".join(f'"{re.escape(name)}":{parts[name]}' for name in sorted(parts)) + r"\}"


def _fields(document: dict[str, Any]) -> str:
    return _object({name: _value(value) for name, value in document.items()})


def _value(value: Any) -> str:
    """Strings and integers of the same kind fit, and a commitment in the place of an empty string; all else is as it is."""
    if value == "" or (isinstance(value, dict) and value.keys() == {"commitment"}):
        return rf'(?:"{_CONTENT}"|\{{"commitment":"{_CONTENT}"\}})'  # what is private is the one or the other
    if isinstance(value, str):
        return f'"{_CONTENT}"'
    if isinstance(value, dict):
        return _fields(value)
    if isinstance(value, list):
        return r"\[" + ",".join(map(_value, value)) + r"\]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return "(?:-?[1-9][0-9]{0,14}+|0)"  # within 2^53


def plain_texts(bodies: Sequence[bytes]) -> list[str]:
    """Events as text, where that is printable ASCII without a backslash, and so what JSON says; others as empty ones."""
    import numpy as np

    joined, lengths = b"".join(bodies), list(map(len, bodies))
    codes = np.frombuffer(joined, np.uint8)
    texts = [str(body, "latin-1") for body in bodies]
    odd: set[int] = set()
    if not (joined.isascii() and b"\\" not in joined and codes.min(initial=32) >= 32):
        bytes_ = np.flatnonzero((codes < 32) | (codes > 127) | (codes == ord("\\")))
        odd = set(np.searchsorted(np.cumsum(lengths), bytes_, side="right").tolist())
    if max(lengths, default=0) > MAX_EVENT_BYTES:
        odd |= {at for at, length in enumerate(lengths) if length > MAX_EVENT_BYTES}
    for at in odd:
        texts[at] = ""
    return texts


def _mended(row: tuple) -> tuple:
    """A row whose columns are of the wrong type, as SQLite lets them be, so that it can be compared and named."""
    body = row[6] if isinstance(row[6], bytes | memoryview) else str(row[6]).encode()
    number = row[3] if type(row[3]) is int else 0
    return (*row[:3], number, *row[4:6], bytes(body), row[7])


def _is_before(there: tuple, row: Row) -> bool:
    """Whether the event (position, pk, hash) stands before a row; what is pending stands after all positions."""
    position, pk, _ = there
    if position is None or row.position is None:
        return position is not None or (row.position is None and pk < row.pk)
    return position < row.position


def _in_form(event: Any) -> bool:
    return (
        isinstance(event, dict)
        and event.keys() == _FIELDS
        and event["version"] == 1
        and type(event["version"]) is type(event["number"]) is int
        and isinstance(event["previous"], str)
        and isinstance(event["payload"], dict)
        and isinstance(event["payload"].get("set", {}), dict)
    )
