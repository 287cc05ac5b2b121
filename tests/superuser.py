"""Whoever owns the database: drops the triggers, changes what they like, puts the triggers back.

What such a person changes cannot be prevented, only found. These tests are the finding.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from archive.custody import Actor, triggers
from archive.custody.canonical import ZERO_HASH, canonical, event_hash, timestamp
from archive.custody.checkpoint import sign_head
from archive.custody.log import record, recording
from archive.custody.tree import root
from archive.models import Checkpoint, CustodyPosition


@contextmanager
def superuser(*, replica: bool = False) -> Iterator["Hand"]:
    """Inside, no trigger and no guard stands in the way: triggers are dropped and put back.

    As a `replica`, on PostgreSQL, they stay and do not fire, nor do foreign keys.
    """
    if replica and connection.vendor == "postgresql":
        with connection.cursor() as cursor, recording():
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET session_replication_role = replica")
            try:
                yield Hand(cursor)
            finally:
                cursor.execute("SET session_replication_role = DEFAULT")
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql" and connection.in_atomic_block:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        triggers.remove(connection)
        try:
            with recording():
                yield Hand(cursor)
            if connection.vendor == "postgresql" and connection.in_atomic_block:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        finally:
            triggers.install(connection)


class Hand:
    """What a superuser does to the log, in plain SQL."""

    def __init__(self, cursor) -> None:
        self.cursor = cursor

    def sql(self, statement: str, *values: object) -> list[tuple]:
        """Run one statement and return what it gives."""
        self.cursor.execute(statement, values)
        return self.cursor.fetchall() if self.cursor.description else []

    def event(self, pk: int) -> dict:
        """The document of an event."""
        return json.loads(
            bytes(self.sql("SELECT canonical FROM archive_custodyevent WHERE id = %s", pk)[0][0])
        )

    def put_body(self, pk: int, body: bytes, *, rehash: bool) -> None:
        """Put other bytes in an event's place, and their hash too if asked."""
        self.sql("UPDATE archive_custodyevent SET canonical = %s WHERE id = %s", body, pk)
        if rehash:
            self.sql("UPDATE archive_custodyevent SET hash = %s WHERE id = %s", event_hash(body).hex(), pk)

    def rehash_chain(self, subject: str) -> None:
        """Make a subject's chain whole again after a change: every previous, every hash, the tip."""
        previous = ZERO_HASH
        rows = self.sql("SELECT id FROM archive_custodyevent WHERE subject = %s ORDER BY number", subject)
        for number, (pk,) in enumerate(rows, 1):
            event = self.event(pk) | {"previous": previous, "number": number}
            body = canonical(event)
            self.put_body(pk, body, rehash=True)
            self.sql("UPDATE archive_custodyevent SET number = %s WHERE id = %s", number, pk)
            previous = event_hash(body).hex()
        self.sql(
            "UPDATE archive_custodysubject SET length = %s, tip = %s WHERE name = %s",
            len(rows),
            previous,
            subject,
        )

    def delete_event(self, pk: int) -> None:
        """Take an event out, with all that names it."""
        for table in ("opening", "pending", "position"):
            self.sql(f"DELETE FROM archive_custody{table} WHERE event_id = %s", pk)
        self.sql("DELETE FROM archive_custodyevent WHERE id = %s", pk)

    def close_positions(self) -> None:
        """Number the positions 0, 1, 2 ... again, so that no gap shows."""
        rows = self.sql("SELECT event_id FROM archive_custodyposition ORDER BY position")
        self.sql("DELETE FROM archive_custodyposition")
        for position, (event,) in enumerate(rows):
            self.sql(
                "INSERT INTO archive_custodyposition (position, event_id) VALUES (%s, %s)", position, event
            )

    def rebuild_tree(self) -> None:
        """Make the tiles anew from the events, as they stand now at their positions."""
        from archive.custody import tiles

        self.sql("DELETE FROM archive_custodytile")
        rows = self.sql(
            "SELECT e.hash FROM archive_custodyposition p JOIN archive_custodyevent e ON e.id = p.event_id "
            "ORDER BY p.position"
        )
        tiles.append([bytes.fromhex(digest) for (digest,) in rows], 0)

    def rebuild_all(self) -> None:
        """Everything that a clever person can make anew without the signing key: chains, positions, tree.

        Checkpoints, versions of the map and the events that tell of them go: the server makes new ones by itself.
        """
        for table in ("cosignature", "timestamp", "checkpoint", "maphead", "mapentry", "mappage"):
            self.sql(f"DELETE FROM archive_{table}")
        for (pk,) in self.sql(
            "SELECT id FROM archive_custodyevent WHERE type IN ('system.map_root', 'system.checkpoint_signed')"
        ):
            self.delete_event(pk)
        for (subject,) in self.sql("SELECT name FROM archive_custodysubject"):
            self.rehash_chain(subject)
        self.sql("DELETE FROM archive_custodysubject WHERE length = 0")
        self.close_positions()
        self.rebuild_tree()


def sign_all_events() -> Checkpoint:
    """Sign the root over all events as they stand, past the tree: what who has the database and the key can do."""
    rows = CustodyPosition.objects.order_by("position").values_list("event__canonical", flat=True)
    hashes = [event_hash(bytes(body)) for body in rows]
    head, now = root(hashes), timezone.now()
    with transaction.atomic(durable=True):
        with recording():
            row = Checkpoint.objects.create(
                size=len(hashes),
                root=head.hex(),
                note=sign_head(settings.NAME_IN_LOG, len(hashes), head),
                signed_at=now,
            )
        payload = {"size": len(hashes), "root": head.hex(), "signed_at": timestamp(now)}
        record("system:main", event="system.checkpoint_signed", actor=Actor.operator(), payload=payload)
    return row
