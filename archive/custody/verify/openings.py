"""Step 9 over a range of events, and what step 10 needs of them: what each record's events add up to.

Of a field only a short hash is kept, so that a million records fit in memory. A field whose opening is gone can only
be empty: nobody can say any more what it was.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import orjson

from archive.custody.canonical import canonical, commitment
from archive.custody.verify.chains import typed
from archive.custody.verify.reader import Reader, Row, events_at, ids_at
from archive.custody.verify.report import Found

WITHHELD = ""
CHUNK = 8_192
ROLES = "system.roles_changed"
CHECKED = ("item.fixity_checked", "item.read_back")
TOLD = frozenset((ROLES, *CHECKED))


def check_openings(reader: Reader, start: int, end: int, labels: list[str]) -> dict[str, Any]:
    """Openings of the events at positions start to end - 1, and what they add up to for records of these kinds."""
    fold = Fold(reader, labels)
    for low, among in zip(range(start, end, CHUNK), ids_at(reader, start, end, CHUNK), strict=True):
        rows = reader.rows(events_at(reader, low, min(low + CHUNK, end), among))
        rows.sort(key=itemgetter(0))
        fold.take(rows)
    return fold.told()


class Fold:
    """Checks openings and adds up records, event by event."""

    def __init__(self, reader: Reader, labels: Iterable[str]) -> None:
        self.reader, self.found = reader, Found()
        # label: key: whether it began anew here; hashes of its fields by name, or None once it was erased
        self.records: dict[str, dict[str, list[Any]]] = {label: {} for label in labels}
        self.roles: dict[str, Any] = {}
        self.permissions: dict[str, Any] = {}  # what each was called when it was given, by its row
        # By SHA-256 of stored bytes: what their last check said, and when.
        self.fixity: dict[str, list[str]] = {}

    def told(self) -> dict[str, Any]:
        """As JSON can hold it."""
        held = {"roles": self.roles, "permissions": self.permissions, "fixity": self.fixity}
        return self.found.told() | {"records": self.records} | held

    def take(self, rows: list[tuple]) -> None:
        """Events in their order."""
        if not rows:
            return
        opened, erased = self._stored(min(row[1] for row in rows), max(row[1] for row in rows))
        for raw in typed(rows):
            pk, body = raw[1], raw[6]
            openings, gone = opened.get(pk), erased.get(pk, 0)
            made = body.count(b'"commitment":"')  # in a string the quotes would be escaped
            if not made and not openings and not gone and b'"record":"' not in body and raw[4] not in TOLD:
                continue
            row = Row(*raw)
            try:
                event = orjson.loads(body)
                if not isinstance(event["payload"], dict):
                    event = None
            except (ValueError, KeyError, TypeError):
                event = None  # named by step 1
            values = self._open(row, event, openings or ())
            if event is not None:
                sealed = row.type == "source.identity_set"  # its opening lies in the sealed identity alone
                self.found.figures["destroyed"] += gone
                self.found.figures["unopened"] += max(0, made - sealed - gone - len(values))
                self._add_up(event, values)

    def _stored(self, first: int, last: int) -> tuple[dict[int, list[tuple]], dict[int, int]]:
        opened: dict[int, list[tuple]] = defaultdict(list)
        among = f"event_id BETWEEN {first:d} AND {last:d}"
        for pk, *opening in self.reader.rows(
            f"SELECT event_id, pointer, salt, {self.reader.text('value')} FROM archive_custodyopening WHERE {among}"
        ):
            opened[pk].append(tuple(opening))
        erased = self.reader.rows(
            f"SELECT event_id, COUNT(*) FROM archive_custodyerasure WHERE {among} GROUP BY event_id"
        )
        return opened, dict(erased)

    def _open(self, row: Row, event: Any, openings: Iterable[tuple]) -> dict[str, Any]:
        """Step 9. Return the opened values by pointer."""
        values: dict[str, Any] = {}
        for pointer, salt, text in openings:
            self.found.figures["openings"] += 1
            try:
                value = json.loads(text)
                good = _at(event, pointer) == {"commitment": commitment(salt, pointer, value)}
            except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
                good = False
            if good and pointer in values:
                self.found.add("altered opening", f"{pointer} of {row.place}", "it stands there twice")
            elif good:
                values[pointer] = value
            else:
                self.found.add(
                    "altered opening", f"{pointer} of {row.place}", "it is not what the event commits to"
                )
        return values

    def _add_up(self, event: dict[str, Any], values: dict[str, Any]) -> None:
        payload = event["payload"]
        if event.get("type") == ROLES:
            self.roles[str(payload.get("person"))] = payload.get("roles")
        if event.get("type") in CHECKED:
            bytes_of = str(payload.get("blob", payload.get("sha256")))
            self.fixity[bytes_of] = [str(payload.get("answer", "good")), str(event.get("time"))]
        label, key = str(payload.get("record")), str(payload.get("id"))
        if label not in self.records:
            return
        if payload.get("erased"):
            self.records[label][key] = [True, None]
            return
        known = self.records[label].setdefault(key, [False, {}])
        if known[1] is None:
            known[1] = {}
        stated = payload.get("set", {})
        if event.get("type") == "case.shared" and isinstance(stated, dict) and "permission" in payload:
            self.permissions[str(stated.get("permission"))] = payload["permission"]
        for name, value in stated.items() if isinstance(stated, dict) else ():
            pointer = f"/payload/set/{name}"
            if isinstance(value, dict) and set(value) == {"commitment"}:
                known[1][name] = digest(values[pointer]) if pointer in values else WITHHELD
            else:
                known[1][name] = digest(value)


def _at(document: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def digest(value: Any) -> str:
    """A short hash of a field."""
    try:
        return hashlib.blake2b(canonical(value), digest_size=16).hexdigest()
    except (ValueError, TypeError, RecursionError):
        return "00"  # no event can hold it: step 1 names it, and no row agrees with it
