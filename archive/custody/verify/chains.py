"""Steps 1 and 2 over events in their order: what each says, and that it continues the chain of its subject.

Quick where all is well: the columns beside an event, and what stands before it in its chain, say what its bytes must be
all around its actor and its payload, in the one way that the canonical form allows. So these bytes are compared as they
are, and only actor and payload have to be read. An event for which that fails is read as a whole, and compared field by
field; and where that fails too, it is asked what exactly is wrong.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from archive.custody.canonical import MAX_EVENT_BYTES, ZERO_HASH, canonical, canonical_document
from archive.custody.verify.reader import MANY, Reader, Row
from archive.custody.verify.report import Found
from archive.custody.verify.times import are_times, as_event, of_columns

_leaf = hashlib.sha256(b"\x00").copy  # begun once: making a new one takes as long as hashing
_FIELDS = frozenset("version subject number previous type time actor reason software payload".split())
_ACTOR = '{"actor":'
_ACTORS = 1_000  # beginnings of events that are remembered
_LIMIT = 2**53
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
        self.times: list[str] = []
        self.actors: set[str] = set()  # beginnings of events, up to their actor, that are canonical
        self.between = ""  # what stands between the hash of the event before and the subject, in most events

    def take(self, rows: Sequence[tuple]) -> list[str]:
        """Check events. Returns their hashes, made from their bytes."""
        rows, hashes, tips = typed(rows), list[str](), self.tips
        times, moments = of_columns([row[5] for row in rows])
        quick = moments and _are_plain(rows)
        whole = False
        for row, time in zip(rows, times, strict=True):
            _, _, subject, number, kind, _, body, stored = row
            leaf = _leaf()
            leaf.update(body)
            digest = leaf.hexdigest()
            hashes.append(digest)
            last = tips.get(subject)
            try:
                text = str(body, "ascii")
                end = f'{self.between}{subject}","time":"{time}","type":"{kind}","version":1}}'
                if last is None:
                    previous = text[-len(end) - 64 : -len(end)]
                    follows = previous.isalnum()
                else:
                    before, previous = last
                    follows = number == before + 1
                begin, end = f',"number":{number},"payload":', f',"previous":"{previous}{end}'
                begins = text.find(begin)
                payload = canonical_document(body[begins + len(begin) : -len(end)])
                if not (
                    quick
                    and follows
                    and digest == stored
                    and text.endswith(end)
                    and begins > 0
                    and (text[:begins] in self.actors or self._is_actor(text[:begins]))
                    and type(payload) is dict
                    and ("set" not in payload or type(payload["set"]) is dict)
                ):
                    raise ValueError
            except (ValueError, RecursionError):
                whole = True
                times[len(hashes) - 1], previous, payload = self._read(row, digest)
            if last is None:
                self.firsts.append((row, previous))
            if kind in NOTED and payload is not None:
                self.noted.append([kind, row[0], digest, Row(*row).place, payload])
            tips[subject] = (number, digest)
        if whole and not are_times(times):
            for at, row in enumerate(rows):
                if times[at] and not are_times(times[at : at + 1]):
                    self.found.add("altered event", Row(*row).place, "its time is none")
                    times[at] = ""
        self.times = times
        self.found.figures["events"] += len(hashes)
        return hashes

    def _is_actor(self, begin: str) -> bool:
        """Whether an event may begin so. Raises ValueError when its actor is not canonical."""
        if not begin.startswith(_ACTOR):
            return False
        canonical_document(begin[len(_ACTOR) :].encode())
        if len(self.actors) < _ACTORS:
            self.actors.add(begin)
        return True

    def _read(self, row: tuple, digest: str) -> tuple[str, Any, Any]:
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
                if event["reason"] == "":
                    software = canonical(event["software"]).decode()
                    self.between = f'","reason":"","software":{software},"subject":"'
            else:
                self._name(Row(*row), event, digest)
            return time, previous, payload
        except (ValueError, RecursionError, KeyError, TypeError):
            self._name(Row(*row), None, digest)
            return "", None, None

    def skim(self, rows: Sequence[tuple]) -> list[str]:
        """Only hash events, and see which are the first of their subjects here."""
        hashes = []
        for row in typed(rows):
            leaf = _leaf()
            leaf.update(row[6])
            hashes.append(leaf.hexdigest())
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


def _are_plain(rows: Sequence[tuple]) -> bool:
    """Whether JSON says the subjects, numbers and types of these rows as they are, and no event is too long."""
    try:
        text = "".join([row[2] for row in rows]) + "".join({row[4] for row in rows})
        numbers = [row[3] for row in rows]
    except TypeError:
        return False
    return (
        bool(rows)
        and -_LIMIT < min(numbers) <= max(numbers) < _LIMIT
        and max([len(row[6]) for row in rows]) <= MAX_EVENT_BYTES
        and text.isascii()
        and text.isprintable()
        and '"' not in text
        and "\\" not in text
    )


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
