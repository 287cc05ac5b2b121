"""Reading many rows quickly, on PostgreSQL and SQLite, in one state of the database."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction

MANY = 400  # pairs in one look-up: SQLite takes few parameters
CHUNK = 2_000  # rows read at a time
# What reading a row raises that holds what its column never could: text as SQLite stores it, years past 9999.
UNREADABLE = (DatabaseError, ValidationError, ValueError, TypeError, AttributeError, ArithmeticError)


class Row(NamedTuple):
    """One stored event with its position (None while it is pending)."""

    position: int | None
    pk: int
    subject: str
    number: int
    type: str
    time: Any  # text (SQLite), or microseconds since 2000 (PostgreSQL)
    canonical: bytes
    hash: str

    @property
    def place(self) -> str:
        """Where it is, in words."""
        at = "pending" if self.position is None else f"position {self.position}"
        return f"event {self.number} of {self.subject} ({at})"


class Reader:
    """Plain SQL on Django's connection; PostgreSQL answers in binary form, which Python reads in half the time."""

    def __init__(self) -> None:
        self.database = connections[DEFAULT_DB_ALIAS]
        self.database.ensure_connection()
        self.postgresql = self.database.vendor == "postgresql"

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple]:
        """All rows of a query with %s for values."""
        if not self.postgresql:
            with self.database.cursor() as cursor:
                return cursor.execute(sql, values).fetchall()
        with self.database.wrap_database_errors, self._begun(sql, values) as cursor:
            return cursor.fetchall()

    def ask(self, sql: str) -> Callable[[], list[tuple]]:
        """Begin a query; what is returned gives all its rows. Within `ahead` PostgreSQL works on it meanwhile."""
        if not self.postgresql:
            return functools.partial(self.rows, sql)
        with self.database.wrap_database_errors:
            cursor = self._begun(sql, ())

        def rows() -> list[tuple]:
            with self.database.wrap_database_errors:
                return cursor.fetchall()

        return rows

    def ahead(self) -> contextlib.AbstractContextManager[Any]:
        """Within it PostgreSQL answers queries in the order in which they are asked, without being waited for."""
        return self.database.connection.pipeline() if self.postgresql else contextlib.nullcontext()

    def _begun(self, sql: str, values: Sequence[Any]) -> Any:
        from django.db.backends.postgresql.base import ServerBindingCursor
        from psycopg.types.numeric import Int8BinaryLoader

        cursor = ServerBindingCursor(self.database.connection)
        cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)  # as they are sent
        return cursor.execute(sql, values or None, binary=True)

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        found = self.rows(sql, values)
        return found[0][0] if found else None

    def text(self, expression: str) -> str:
        """SQL for a column as the database's own text, whatever its type."""
        return f"{expression}::text" if self.postgresql else f"{expression} || ''"


def raw_of(stored: Any) -> bytes:
    """The bytes of a column of bytes; none where SQLite, or NULL, has something else there."""
    return bytes(stored) if isinstance(stored, bytes | memoryview) else b""


def readable(rows: Any, unreadable: Callable[[Any], None]) -> Iterator[Any]:
    """All rows in the order of their keys. Those that cannot be read are told by their key, and hide no others."""
    done = 0
    try:
        for row in rows.order_by("pk").iterator(chunk_size=CHUNK):
            yield row
            done += 1
    except UNREADABLE:
        key, table = rows.model._meta.pk.column, rows.model._meta.db_table
        for (each,) in Reader().rows(f'SELECT "{key}" FROM "{table}" ORDER BY "{key}"'):
            try:
                found = list(rows.filter(pk=each))
            except UNREADABLE:
                unreadable(each)
                continue
            if found and done:
                done -= 1  # given already
            else:
                yield from found


def event_columns(reader: Reader) -> str:
    """The columns of an event `e` that are checked, in the order of `Row`."""
    time = "e.time" if reader.postgresql else reader.text("e.time")
    return f"e.id, e.subject, e.number, e.type, {time}, e.canonical, e.hash"


def events_at(reader: Reader, low: int, high: int, among: str) -> str:
    """SQL for the events at positions low to high - 1, in any order: sorted, the database would carry the bytes around.

    `among` bounds their ids, so that the database reads no others.
    """
    return (
        f"SELECT p.position, {event_columns(reader)} FROM archive_custodyposition p JOIN archive_custodyevent e "
        f"ON e.id = p.event_id WHERE p.position >= {low:d} AND p.position < {high:d} AND e.id {among}"
    )


def ids_at(reader: Reader, start: int, end: int, each: int) -> list[str]:
    """For each so many positions from start to end - 1: what bounds the ids of the events there."""
    bounds = ["BETWEEN 1 AND 0"] * -(-(end - start) // each)
    for at, first, last in reader.rows(
        f"SELECT (position - {start:d}) / {each:d}, MIN(event_id), MAX(event_id) FROM archive_custodyposition "
        f"WHERE position >= {start:d} AND position < {end:d} GROUP BY 1"
    ):
        bounds[at] = f"BETWEEN {first:d} AND {last:d}"
    return bounds


@contextlib.contextmanager
def one_moment(snapshot: str = "") -> Iterator[None]:
    """Read the database as it is at one moment while others go on writing; hold up none of them.

    `snapshot` names one that another process exported (PostgreSQL). Inside a transaction it changes nothing.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.in_atomic_block:
        yield
        return
    connection.ensure_connection()  # which sets the mode that is changed next
    usual = getattr(connection, "transaction_mode", None)
    if connection.vendor == "sqlite":
        connection.transaction_mode = "DEFERRED"  # ours is IMMEDIATE: that would keep every writer out
    try:
        with transaction.atomic(durable=True):
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    if snapshot:
                        cursor.execute("SET TRANSACTION SNAPSHOT %s", [snapshot])
                    cursor.execute("SET LOCAL work_mem = '64MB'")
                    cursor.execute("SET LOCAL jit = off")
                    cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            yield
    finally:
        if connection.vendor == "sqlite":
            connection.transaction_mode = usual
