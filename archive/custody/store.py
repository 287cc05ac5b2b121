"""What an append reads and writes, in as few statements as each database allows.

On PostgreSQL one statement locks the subjects and one writes all the rest: an append is then bound by the round trips
and the planning of those two, not by the rows. SQLite has one writer at a time and no round trips; there the same
happens row by row.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from archive.custody.canonical import ZERO_HASH

Opening = tuple[str, str, Any]  # pointer, salt, value
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


def lock(names: list[str]) -> dict[str, Tip]:
    """Lock these subjects (sorted names, so that no two writers wait for each other); make those that are not there."""
    with connection.cursor() as cursor:
        found: dict[str, Tip] = {}
        for start in range(0, len(names), AT_ONCE):
            found |= _locked(cursor, names[start : start + AT_ONCE])
        new = [name for name in names if name not in found]
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            rows = ", ".join(["(%s, 0, %s)"] * len(some))
            cursor.execute(
                f"INSERT INTO archive_custodysubject (name, length, tip) VALUES {rows} ON CONFLICT (name) DO NOTHING",
                [value for name in some for value in (name, ZERO_HASH)],
            )
            found |= _locked(cursor, some)
    return found


def _locked(cursor: Any, names: list[str]) -> dict[str, Tip]:
    if len(names) == 1:
        where, last = "name = %s", ""
    else:
        where, last = f"name IN ({', '.join(['%s'] * len(names))})", " ORDER BY name"
    last += " FOR UPDATE" if connection.vendor == "postgresql" else ""
    cursor.execute(f"SELECT id, name, length, tip FROM archive_custodysubject WHERE {where}{last}", names)
    return {row[1]: Tip(*row) for row in cursor.fetchall()}


def append(events: list[Recorded], tips: list[Tip]) -> list[int]:
    """Store events in their order, mark them pending, keep their openings, move the tips. Returns the row ids."""
    put = _append_postgresql if connection.vendor == "postgresql" else _append_one_by_one
    keys: list[int] = []
    with connection.cursor() as cursor:
        for start in range(0, len(events), AT_ONCE):
            moved = tips if start + AT_ONCE >= len(events) else []
            keys += put(cursor, events[start : start + AT_ONCE], moved)
    return keys


_EVENT = "INSERT INTO archive_custodyevent (subject, number, type, time, canonical, hash) VALUES "
_OPENING = "INSERT INTO archive_custodyopening (event_id, pointer, salt, value) "


def _append_postgresql(cursor: Any, events: list[Recorded], tips: list[Tip]) -> list[int]:
    values: list[Any] = []
    for event in events:
        values += (event.subject, event.number, event.type, event.time, event.canonical, event.hash)
    parts = [
        f"e AS ({_EVENT}{', '.join(['(%s,%s,%s,%s,%s,%s)'] * len(events))} RETURNING id, subject, number)",
        "p AS (INSERT INTO archive_custodypending (event_id) SELECT id FROM e)",
    ]
    if len(tips) == 1:
        parts.append("s AS (UPDATE archive_custodysubject SET length = %s, tip = %s WHERE id = %s)")
        values += (tips[0].length, tips[0].tip, tips[0].pk)
    elif tips:
        parts.append(
            "s AS (UPDATE archive_custodysubject s SET length = v.length, tip = v.tip "
            f"FROM (VALUES {', '.join(['(%s,%s,%s)'] * len(tips))}) v (id, length, tip) WHERE s.id = v.id)"
        )
        for tip in tips:
            values += (tip.pk, tip.length, tip.tip)
    opened = [(event, *opening) for event in events for opening in event.openings]
    if opened and len(events) == 1:
        rows = ", ".join(["(%s,%s,%s::jsonb)"] * len(opened))
        parts.append(f"o AS ({_OPENING}SELECT e.id, v.* FROM e, (VALUES {rows}) v)")
        for _, pointer, salt, value in opened:
            values += (pointer, salt, json.dumps(value))
    elif opened:
        rows = ", ".join(["(%s,%s,%s,%s,%s::jsonb)"] * len(opened))
        parts.append(
            f"o AS ({_OPENING}SELECT e.id, v.pointer, v.salt, v.value FROM (VALUES {rows}) "
            "v (subject, number, pointer, salt, value) JOIN e USING (subject, number))"
        )
        for event, pointer, salt, value in opened:
            values += (event.subject, event.number, pointer, salt, json.dumps(value))
    cursor.execute(f"WITH {', '.join(parts)} SELECT id, subject, number FROM e", values)
    if len(events) == 1:
        return [cursor.fetchone()[0]]
    keys = {(subject, number): pk for pk, subject, number in cursor.fetchall()}
    return [keys[event.subject, event.number] for event in events]


def _append_one_by_one(cursor: Any, events: list[Recorded], tips: list[Tip]) -> list[int]:
    keys = []
    for event in events:
        moment = connection.ops.adapt_datetimefield_value(event.time)
        row = (event.subject, event.number, event.type, moment, event.canonical, event.hash)
        cursor.execute(f"{_EVENT}(%s, %s, %s, %s, %s, %s)", row)
        keys.append(cursor.lastrowid)
        if event.openings:
            cursor.executemany(
                f"{_OPENING}VALUES (%s, %s, %s, %s)",
                [(keys[-1], pointer, salt, json.dumps(value)) for pointer, salt, value in event.openings],
            )
    cursor.executemany("INSERT INTO archive_custodypending (event_id) VALUES (%s)", [(key,) for key in keys])
    cursor.executemany(
        "UPDATE archive_custodysubject SET length = %s, tip = %s WHERE id = %s",
        [(tip.length, tip.tip, tip.pk) for tip in tips],
    )
    return keys
