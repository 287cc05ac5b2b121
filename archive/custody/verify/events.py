"""Steps 1 to 4 and 7 over a range of positions: the part of the work that grows with the log, and runs in parallel.

Quick where all is well: one expression compares an event with all that it has to agree with. Only where that fails is
it asked what exactly is wrong.
"""

import hashlib
import marshal
import re
from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple

from archive.custody.canonical import MAX_EVENT_BYTES, ZERO_HASH, canonical_document
from archive.custody.verify.reader import MANY, Reader, event_columns
from archive.custody.verify.report import Found

RANGE = 65_536  # positions in one piece of work, 256 tiles
CHUNK = 8_192  # of which are held at a time
WIDTH, HASH = 256, 32
ABSENT = "00" * HASH  # stands in the tree where an event is missing: so the other leaves keep their places
_sha256 = hashlib.sha256
_TIMES = re.compile(r"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\n)*", re.ASCII)
_FIELDS = frozenset("version subject number previous type time actor reason software payload".split())
NOTED = frozenset(  # others need what these say
    ("item.stored", "system.map_root")
    + tuple(f"system.checkpoint_{what}" for what in ("signed", "witnessed", "timestamped"))
)


class Row(NamedTuple):
    """One stored event with its position (None while it is pending)."""

    position: int | None
    pk: int
    subject: str
    number: int
    type: str
    time: str  # as the database writes it
    canonical: bytes
    hash: str

    @property
    def place(self) -> str:
        """Where it is, in words."""
        at = "pending" if self.position is None else f"position {self.position}"
        return f"event {self.number} of {self.subject} ({at})"


class Checker:
    """Checks events in their order and keeps what comes next needs. Steps 1 and 2."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.found = reader, Found()
        self.tips: dict[str, tuple[int, str]] = {}
        self.firsts: list[
            tuple[tuple, str | None]
        ] = []  # first events of a subject here, and what they name as before
        self.noted: list[list[Any]] = []  # type, position, hash, place, payload
        self.times: list[str] = []

    def take(self, rows: Sequence[tuple]) -> list[str]:
        """Check events. Returns their hashes, made from their bytes."""
        hashes, times, tips = [], self.times, self.tips
        times.clear()
        for row in rows:
            if type(row[6]) is not bytes or type(row[3]) is not int:
                row = _mended(row)
            _, _, subject, number, kind, at, body, stored = row
            digest = _sha256(b"\x00" + body).hexdigest()
            hashes.append(digest)
            if len(body) > MAX_EVENT_BYTES:
                self.found.add("altered event", Row(*row).place, f"it has {len(body):,} bytes: too many")
            try:
                event = canonical_document(body)
                time, previous, payload = event["time"], event["previous"], event["payload"]
                last = tips.get(subject)
                if not (
                    digest == stored
                    and (time == f"{at[:10]}T{at[11:26]}Z" or time == _as_event(at))
                    and event["subject"] == subject
                    and event["number"] == number
                    and event["type"] == kind
                    and event["version"] == 1
                    and type(event["version"]) is type(event["number"]) is int
                    and len(event) == len(_FIELDS)
                    and "actor" in event
                    and "reason" in event
                    and "software" in event
                    and type(payload) is dict
                    and type(previous) is str
                    and (last is None or (number == last[0] + 1 and previous == last[1]))
                    and ("set" not in payload or type(payload["set"]) is dict)
                ):
                    self._name(Row(*row), event, digest)
                times.append(time)
                if last is None:
                    self.firsts.append((row, previous))
                if kind in NOTED:
                    self.noted.append([kind, row[0], digest, Row(*row).place, payload])
            except (ValueError, RecursionError, KeyError, TypeError):
                times.append("")
                if tips.get(subject) is None:
                    self.firsts.append((row, None))
                self._name(Row(*row), None, digest)
            tips[subject] = (number, digest)
        if not _are_times(times):
            for at, row in enumerate(rows):
                if times[at] and not _are_times(times[at : at + 1]):
                    self.found.add("altered event", Row(*row).place, "its time is none")
                    times[at] = ""
        self.found.figures["events"] += len(hashes)
        return hashes

    def skim(self, rows: Iterable[tuple]) -> list[str]:
        """Only hash events, and see which are the first of their subjects here."""
        hashes = []
        for row in rows:
            if type(row[6]) is not bytes or type(row[3]) is not int:
                row = _mended(row)
            hashes.append(_sha256(b"\x00" + row[6]).hexdigest())
            if row[2] not in self.tips:
                self.tips[row[2]] = (0, "")
                self.firsts.append((row, None))
        return hashes

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
                event["time"] != _as_event(row.time)
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


def _are_times(times: list[str]) -> bool:
    """Whether these are moments as events write them, which sort as they follow each other. Empty ones are passed over."""
    try:
        known = [time for time in times if time]
        return _TIMES.fullmatch("\n".join([*known, ""])) is not None and all(
            map(datetime.fromisoformat, known)
        )
    except (ValueError, TypeError):
        return False


def _as_event(stored: str) -> str:
    """A stored time as events write it; text that is no time stays as it is."""
    try:
        return _written(datetime.fromisoformat(stored))
    except (ValueError, TypeError):
        return str(stored)


def _written(moment: datetime) -> str:
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if moment.tzinfo
        else f"{moment.isoformat(timespec='microseconds')}Z"
    )


# --- a range of positions -----------------------------------------------------------------------------------------


class Span(NamedTuple):
    """When the events from a position on may have happened, by what others confirmed: texts, empty for no limit."""

    start: int
    earliest: str
    latest: str


def check_range(
    reader: Reader,
    start: int,
    end: int,
    *,
    sizes: list[int],
    spans: list[Span],
    integrated: int,
    tolerance_s: int,
    mark: str = "",
) -> dict[str, Any]:
    """Check the events at positions start to end - 1; `start` begins a tile.

    `sizes` are those of checkpoints in (start, end], for which the hash of their unfinished tile is told. `integrated`
    is how many events the stored tiles hold. `mark` is what an earlier answer to the same question said of all that it
    read: if that is so still, the answer is only {"same": true}.
    """
    checker = Checker(reader)
    times = Times(checker.found, spans, tolerance_s)
    read = hashlib.sha256()
    roots: list[str] = []
    parts: dict[int, str] = {}
    for low in range(start, end, CHUNK):
        high = min(low + CHUNK, end)
        rows = _rows(reader, low, high)
        hashes = checker.skim(rows) if mark else checker.take(rows)
        times.take(checker.times, rows)
        read.update(_columns(rows, hashes))
        if len(rows) != high - low or rows[0][0] != low or rows[-1][0] != high - 1:
            hashes = _with_gaps(checker.found, rows, hashes, low, high)
        raw = bytes.fromhex("".join(hashes))
        read.update(raw)
        read.update(_tiles(reader, checker.found, low, raw, min(integrated, high)))
        if not mark:
            tile = WIDTH * HASH
            roots += [tree_hash(raw[at : at + tile]).hex() for at in range(0, len(raw) // tile * tile, tile)]
            for size in sizes:
                if low < size <= high and size % WIDTH:
                    begins = (size - 1) // WIDTH * WIDTH
                    parts[size] = tree_hash(raw[(begins - low) * HASH : (size - low) * HASH]).hex()
    read.update(checker.link_firsts())
    if mark and mark == read.hexdigest():
        return {"same": True}
    if mark:
        return check_range(
            reader, start, end, sizes=sizes, spans=spans, integrated=integrated, tolerance_s=tolerance_s
        )
    return checker.found.told() | {
        "start": start,
        "end": end,
        "roots": roots,
        "parts": parts,
        "noted": checker.noted,
        "newest": times.newest,
        "oldest": times.oldest,
        "mark": read.hexdigest(),
    }


def _columns(rows: list[tuple], hashes: list[str]) -> bytes:
    """All that stands in columns beside events whose hashes these are, as bytes that say it in one way only."""
    columns = list(zip(*rows, strict=True))
    try:
        numbers = [array("q", columns[i]).tobytes() for i in (0, 1, 3)]
        texts = ["\0".join(columns[i]) for i in (2, 4, 5)]
        if columns[7] == tuple(hashes) and all(t.count("\0") == len(rows) - 1 for t in texts):
            return b"".join([*numbers, *(f"{len(text)}\0{text}".encode() for text in texts)])
    except (TypeError, ValueError, OverflowError, IndexError):
        pass  # no rows, or columns of the wrong type
    return marshal.dumps(rows, 2)


def _rows(reader: Reader, low: int, high: int) -> list[tuple]:
    # LIMIT keeps PostgreSQL from looking for the least of all event_id that happens to lie in the range.
    ends = reader.rows(
        "SELECT MIN(event_id), MAX(event_id) FROM (SELECT event_id FROM archive_custodyposition "
        f"WHERE position >= {low:d} AND position < {high:d} LIMIT {high - low:d}) AS here"
    )
    first, last = ends[0]
    if first is None:
        return []
    rows = reader.rows(
        f"SELECT p.position, {event_columns(reader)} FROM archive_custodyposition p "
        f"JOIN archive_custodyevent e ON e.id = p.event_id WHERE p.position >= {low:d} AND p.position < {high:d} "
        f"AND e.id BETWEEN {first:d} AND {last:d}"
    )
    rows.sort(key=itemgetter(0))  # almost in order already: the database would carry the bytes around
    return rows


def _with_gaps(found: Found, rows: list[tuple], hashes: list[str], low: int, high: int) -> list[str]:
    """Step 3. The hashes with one that cannot be where no event is."""
    at = dict(zip((row[0] for row in rows), hashes, strict=True))
    places = sorted(at)
    for expected, there in zip([low, *(place + 1 for place in places)], [*places, high], strict=True):
        if there != expected:
            then = f"the next one there is {there}" if there < high else "no event has it"
            found.add("missing position", f"position {expected}", then)
    return [at.get(position, ABSENT) for position in range(low, high)]


def _tiles(reader: Reader, found: Found, low: int, raw: bytes, integrated: int) -> bytes:
    """Step 4, its lowest level: stored tiles hold the hashes of these events. Returns a digest of them."""
    seen = hashlib.sha256()
    stored = {
        index: bytes(hashes)
        for index, hashes in reader.rows(
            'SELECT "index", hashes FROM archive_custodytile WHERE level = 0 '
            f'AND "index" >= {low // WIDTH:d} AND "index" < {-(-(low + len(raw) // HASH) // WIDTH):d}'
        )
    }
    for at in range(0, max(0, integrated - low), WIDTH):
        wanted = raw[at * HASH : min(at + WIDTH, integrated - low) * HASH]
        content = stored.get((low + at) // WIDTH, b"")
        seen.update(content)
        found.figures["tiles"] += 1
        if content != wanted:
            place = f"tile {(low + at) // WIDTH} of level 0"
            found.add("altered tile", place, "it does not hold the hashes of the events at its positions")
    return seen.digest()


def tree_hash(raw: bytes) -> bytes:
    """RFC 6962 root over hashes that stand one after the other."""
    while len(raw) > HASH:
        pairs = len(raw) // (2 * HASH) * 2 * HASH
        raw = b"".join(
            [_sha256(b"\x01" + raw[i : i + 64]).digest() for i in range(0, pairs, 64)] + [raw[pairs:]]
        )
    return raw


class Times:
    """Step 7: the clock did not run backwards, and nobody outside saw events before or after they say."""

    def __init__(self, found: Found, spans: list[Span], tolerance_s: int) -> None:
        self.found, self.spans, self.tolerance_s = found, spans, tolerance_s
        self.newest, self.oldest = "", ["", ""]  # time; time and place

    def take(self, times: list[str], rows: list[tuple]) -> None:
        """Look at the times of events in their order, all at once where all are within limits."""
        known = [time for time in times if time]
        if not known:
            return
        low, high = min(known), max(known)
        if not self.oldest[0] or low < self.oldest[0]:
            self.oldest = [low, Row(*rows[times.index(low)]).place]
        if low < earlier(max(self.newest, high), self.tolerance_s):
            self._backwards(times, rows)
        self.newest = max(self.newest, high)
        if any((s.earliest and low < s.earliest) or (s.latest and high > s.latest) for s in self.spans):
            self._outside(times, rows)

    def _backwards(self, times: list[str], rows: list[tuple]) -> None:
        newest = self.newest
        for time, row in zip(times, rows, strict=True):
            if time and newest and time < earlier(newest, self.tolerance_s):
                self.found.add("clock ran backwards", Row(*row).place, backwards(time, newest))
            newest = max(newest, time)

    def _outside(self, times: list[str], rows: list[tuple]) -> None:
        at = 0
        for time, row in zip(times, rows, strict=True):
            while at + 1 < len(self.spans) and self.spans[at + 1].start <= row[0]:
                at += 1
            judge_time(self.found, self.spans[at], time, row)


def judge_time(found: Found, span: Span, time: str, row: tuple) -> None:
    """Compare one event's time with what was confirmed outside."""
    if time and span.earliest and time < span.earliest:
        found.add(
            "back-dated event",
            Row(*row).place,
            f"it says {time}, and is not in a checkpoint that was confirmed outside after {span.earliest}",
        )
    if time and span.latest and time > span.latest:
        found.add(
            "event from the future",
            Row(*row).place,
            f"it says {time}, and is in a checkpoint that was confirmed outside before {span.latest}",
        )


def backwards(time: str, newest: str) -> str:
    """The sentence of a clock that ran backwards."""
    return f"it says {time}, and an event before it says {newest}"


def earlier(time: str, seconds: float) -> str:
    """A time of an event, moved back. Empty for what is no time."""
    try:
        return _written(datetime.fromisoformat(time) - timedelta(seconds=seconds))
    except (ValueError, OverflowError):
        return ""
