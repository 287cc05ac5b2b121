"""What an append reads and writes, in as few statements as each database allows.

On PostgreSQL a single event of a subject that nobody else holds is one statement, which puts number and hash of the event
before into its bytes. Else one statement locks the subjects and one writes all the rest: an append is bound by the
round trips and the planning of its statements, not by the rows. SQLite has one writer at a time and no round trips;
there the same happens row by row.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from archive.custody.canonical import ZERO_HASH
from archive.errors import Damaged

Opening = tuple[str, str, Any]  # pointer, salt, value
SWALLOWED = "The database did not store the event as it was told to. Nothing was changed."
AT_ONCE = 500  # events in one statement: 65,535 parameters are PostgreSQL's limit, and texts grow long before


@dataclass(slots=True)
class Tip:
    """The end of a subject's chain, locked until the transaction ends."""

    pk: int
    name: str
    length: int
    tip: str


@dataclass(slots=True)
class Recorded:
    """An event to be stored, and what its commitments open to."""

    subject: str
    number: int
    type: str
    time: datetime
    canonical: bytes
    hash: str
    openings: list[Opening]


@dataclass(slots=True)
class Draft:
    """An event whose number, and hash of the event before, are not known yet: its bytes around these two."""

    subject: str
    type: str
    time: datetime
    begin: bytes
    middle: bytes
    rest: bytes
    openings: list[Opening]

    def body(self, number: int, previous: str) -> bytes:
        """Its canonical bytes."""
        return b"%b%d%b%b%b" % (self.begin, number, self.middle, previous.encode(), self.rest)


_EVENT = "INSERT INTO archive_custodyevent (subject, number, type, time, canonical, hash) VALUES "
_OPENING = "INSERT INTO archive_custodyopening (event_id, pointer, salt, value) "
_PENDING = "p AS (INSERT INTO archive_custodypending (event_id) SELECT id FROM e)"
_NEXT = (  # a subject that another transaction holds is passed over: who waits for it reads the clock afterwards
    "t AS MATERIALIZED (SELECT id, name, length + 1 AS number, tip FROM archive_custodysubject WHERE name = %s FOR UPDATE SKIP LOCKED), "
    "b AS MATERIALIZED (SELECT t.*, %s::bytea || convert_to(number::text, 'UTF8') || %s::bytea || convert_to(tip, 'UTF8') "
    "|| %s::bytea AS body FROM t), "
    "n AS MATERIALIZED (SELECT b.*, encode(sha256(decode('00', 'hex') || body), 'hex') AS hash FROM b), "
    "e AS (INSERT INTO archive_custodyevent (subject, number, type, time, canonical, hash) "
    "SELECT name, number, %s, %s, body, hash FROM n RETURNING id), "
    "s AS (UPDATE archive_custodysubject s SET length = n.number, tip = n.hash FROM n WHERE s.id = n.id RETURNING s.id), "
)


@cache
def _server_binding_cursor() -> Any:
    from django.db.backends.postgresql.base import (
        ServerBindingCursor,
    )  # there is psycopg only with PostgreSQL

    return ServerBindingCursor


class _Kept(threading.local):
    """A thread's cursor, with what it has learnt of writing and reading types: a new one learns that again each time."""

    cursor: Any = None

    def of(self, connection: Any) -> Any:
        """The server-binding cursor on this connection of psycopg."""
        if self.cursor is None or self.cursor.connection is not connection or self.cursor.closed:
            self.cursor = _server_binding_cursor()(connection)
        return self.cursor


_kept = _Kept()


class Writer:
    """Locks tips and stores events, on Django's own connection, inside its transaction.

    For a single event PostgreSQL keeps the plans of the statements; those of `many` differ each time.
    """

    def __init__(self, *, many: bool = False) -> None:
        self.database = connections[DEFAULT_DB_ALIAS]
        self.postgresql = self.database.vendor == "postgresql"
        self.prepares = self.postgresql and not many
        self.cursor: Any
        if self.prepares:
            self.cursor = _kept.of(self.database.connection)
        else:
            self.cursor = self.database.cursor()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        if not self.prepares:
            self.cursor.close()

    def _run(self, sql: str, values: Sequence[Any]) -> None:
        if self.prepares:
            with self.database.wrap_database_errors:
                self.cursor.execute(sql, values, prepare=True)
        else:
            self.cursor.execute(sql, values)

    def lock(self, names: list[str]) -> dict[str, Tip]:
        """Lock these subjects, made where they are not there yet; `names` sorted, so that no two writers block each other."""
        found: dict[str, Tip] = {}
        for start in range(0, len(names), AT_ONCE):
            found |= self._locked(names[start : start + AT_ONCE])
        new = [name for name in names if name not in found]
        for start in range(0, len(new), AT_ONCE):
            found |= self._made(new[start : start + AT_ONCE])
        return found

    def _made(self, names: list[str]) -> dict[str, Tip]:
        """New subjects, and those of them that another writer made meanwhile; all locked."""
        rows = ", ".join(["(%s, 0, %s)"] * len(names))
        sql = f"INSERT INTO archive_custodysubject (name, length, tip) VALUES {rows} ON CONFLICT (name) DO NOTHING"
        if not self.postgresql:
            self._run(sql, [value for name in names for value in (name, ZERO_HASH)])
            return self._locked(names)
        self._run(f"{sql} RETURNING id, name", [value for name in names for value in (name, ZERO_HASH)])
        found = {name: Tip(key, name, 0, ZERO_HASH) for key, name in self.cursor.fetchall()}
        others = [name for name in names if name not in found]
        return found | self._locked(others) if others else found

    def _locked(self, names: list[str]) -> dict[str, Tip]:
        one = len(names) == 1
        where = "name = %s" if one else f"name IN ({', '.join(['%s'] * len(names))}) ORDER BY name"
        wait = " FOR UPDATE" if self.postgresql else ""
        sql = f"SELECT id, name, length, tip FROM archive_custodysubject WHERE {where}{wait}"
        self._run(sql, names)
        return {row[1]: Tip(*row) for row in self.cursor.fetchall()}

    def append_draft(self, draft: Draft) -> tuple[int, int, str, str, int] | None:
        """Store one event at the end of its chain (PostgreSQL).

        Returns its row id, its number, the hash before, its hash, and how many tips moved.

        None, with nothing done, when the subject is new, or another transaction holds it.
        """
        values: list[Any] = [draft.subject, draft.begin, draft.middle, draft.rest, draft.type, draft.time]
        for pointer, salt, value in draft.openings:
            values += (pointer, salt, json.dumps(value))
        self._run(_append_draft(len(draft.openings)), values)
        return self.cursor.fetchone()

    def append(self, events: list[Recorded], tips: list[Tip]) -> list[int]:
        """Store events in their order, mark them pending, keep their openings, move the tips. Returns the row ids."""
        put = self._append_at_once if self.postgresql else self._append_one_by_one
        keys: list[int] = []
        for start in range(0, len(events), AT_ONCE):
            moved = tips if start + AT_ONCE >= len(events) else []
            keys += put(events[start : start + AT_ONCE], moved)
        return keys

    def _append_at_once(self, events: list[Recorded], tips: list[Tip]) -> list[int]:
        values: list[Any] = []
        for event in events:
            values += (event.subject, event.number, event.type, event.time, event.canonical, event.hash)
        parts = [
            f"e AS ({_EVENT}{', '.join(['(%s,%s,%s,%s,%s,%s)'] * len(events))} RETURNING id, subject, number)",
            _PENDING,
        ]
        if len(tips) == 1:
            parts.append("s AS (UPDATE archive_custodysubject SET length = %s, tip = %s WHERE id = %s)")
            values += (tips[0].length, tips[0].tip, tips[0].pk)
        elif tips:
            parts.append(
                "s AS (UPDATE archive_custodysubject s SET length = v.length, tip = v.tip "
                f"FROM (VALUES {', '.join(['(%s::bigint,%s::bigint,%s)'] * len(tips))}) v (id, length, tip) WHERE s.id = v.id)"
            )
            for tip in tips:
                values += (tip.pk, tip.length, tip.tip)
        opened = [(event, *opening) for event in events for opening in event.openings]
        if opened and len(events) == 1:
            parts.append(_opened(len(opened)))
            for _, pointer, salt, value in opened:
                values += (pointer, salt, json.dumps(value))
        elif opened:
            rows = ", ".join(["(%s,%s::bigint,%s,%s,%s::jsonb)"] * len(opened))
            parts.append(
                f"o AS ({_OPENING}SELECT e.id, v.pointer, v.salt, v.value FROM (VALUES {rows}) "
                "v (subject, number, pointer, salt, value) JOIN e USING (subject, number))"
            )
            for event, pointer, salt, value in opened:
                values += (event.subject, event.number, pointer, salt, json.dumps(value))
        sql = f"WITH {', '.join(parts)} SELECT id, subject, number FROM e"
        self._run(sql, values)
        keys = {(subject, number): pk for pk, subject, number in self.cursor.fetchall()}
        if len(keys) != len(events):  # a trigger swallowed some
            raise Damaged(SWALLOWED)
        return [keys[event.subject, event.number] for event in events]

    def _append_one_by_one(self, events: list[Recorded], tips: list[Tip]) -> list[int]:
        keys = []
        for event in events:
            moment = self.database.ops.adapt_datetimefield_value(event.time)
            row = (event.subject, event.number, event.type, moment, event.canonical, event.hash)
            self.cursor.execute(f"{_EVENT}(%s, %s, %s, %s, %s, %s)", row)
            if self.cursor.rowcount != 1:  # a trigger swallowed it
                raise Damaged(SWALLOWED)
            keys.append(self.cursor.lastrowid)
            if event.openings:
                self.cursor.executemany(
                    f"{_OPENING}VALUES (%s, %s, %s, %s)",
                    [(keys[-1], pointer, salt, json.dumps(value)) for pointer, salt, value in event.openings],
                )
        self.cursor.executemany(
            "INSERT INTO archive_custodypending (event_id) VALUES (%s)", [(key,) for key in keys]
        )
        self.cursor.executemany(
            "UPDATE archive_custodysubject SET length = %s, tip = %s WHERE id = %s",
            [(tip.length, tip.tip, tip.pk) for tip in tips],
        )
        return keys


def _opened(count: int) -> str:
    """The part of a statement that keeps the openings of its one event `e`."""
    rows = ", ".join(["(%s::text,%s::text,%s::jsonb)"] * count)
    return f"o AS ({_OPENING}SELECT e.id, v.* FROM e, (VALUES {rows}) v)"


@cache
def _append_draft(openings: int) -> str:
    """The statement that appends one event with so many openings."""
    parts = [_PENDING, *([_opened(openings)] if openings else [])]
    return f"WITH {_NEXT}{', '.join(parts)} SELECT e.id, n.number, n.tip, n.hash, (SELECT COUNT(*) FROM s) FROM e, n"
