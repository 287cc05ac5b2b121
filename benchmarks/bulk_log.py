"""A custody log of any size, made by bulk SQL: the rows that appends and the sequencer would have made, in seconds.

Each item has 20 events, every fourth of them with a commitment and its opening, items growing eight at a time as if
eight workers wrote. There are no rows of items beside it, and the events say `item.fixity_checked`, so that what is
compared with rows is little: benchmarks that use it say so.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

EACH, TOGETHER = 20, 8
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def events(count: int, first_number: int = 0) -> Iterator[tuple]:
    """Subject, number, type, time, canonical, hash, openings: `count` events in their order."""
    from archive.custody.canonical import ZERO_HASH, commitment, event_hash, timestamp

    tips: dict[int, tuple[int, str]] = {}
    for at in range(count):
        group, inside = divmod(at, EACH * TOGETHER)
        item = first_number + group * TOGETHER + inside % TOGETHER
        number, previous = tips.pop(item, (0, ZERO_HASH))
        number += 1
        digest = hashlib.sha256(b"%d" % item).hexdigest()
        subject = f"item:{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
        moment, opened = BEGAN + timedelta(microseconds=20_011 * at), []
        private = '""'
        if at % 4 == 0:
            salt, name = hashlib.sha256(b"salt%d" % at).hexdigest(), f"IMG_{at}.jpg"
            opened.append(("/payload/file_name", salt, name))
            private = f'{{"commitment":"{commitment(salt, "/payload/file_name", name)}"}}'
        body = (
            f'{{"actor":{{"id":"","kind":"system","name":"","role":"worker"}},"number":{number},"payload":{{"answer":'
            f'"good","copy":"second","file_name":{private},"read_at":"{timestamp(moment)}","sha256":"{digest}","size":{at * 37}}},'
            f'"previous":"{previous}","reason":"","software":"amparo 0.1.0","subject":"{subject}",'
            f'"time":"{timestamp(moment)}","type":"item.fixity_checked","version":1}}'
        ).encode()
        digest = event_hash(body).hex()
        if number < EACH:
            tips[item] = (number, digest)
        yield subject, number, "item.fixity_checked", moment, body, digest, opened


def build(count: int) -> None:
    """Fill the empty tables of the log on PostgreSQL with `count` events that have their positions."""
    from django.db import connection, transaction

    from archive.custody.log import recording

    tips: dict[str, tuple[int, str]] = {}
    with transaction.atomic(), recording(), connection.cursor() as cursor:
        opened: list[tuple] = []
        with cursor.copy(
            "COPY archive_custodyevent (id, subject, number, type, time, canonical, hash) FROM STDIN"
        ) as copy:
            for at, (subject, number, kind, moment, body, digest, openings) in enumerate(events(count)):
                copy.write_row((at + 1, subject, number, kind, moment, body, digest))
                tips[subject] = (number, digest)
                opened += ((at + 1, *opening) for opening in openings)
        with cursor.copy("COPY archive_custodyopening (event_id, pointer, salt, value) FROM STDIN") as copy:
            for event, pointer, salt, value in opened:
                copy.write_row((event, pointer, salt, json.dumps(value)))
        with cursor.copy("COPY archive_custodysubject (name, length, tip) FROM STDIN") as copy:
            for name, (length, tip) in tips.items():
                copy.write_row((name, length, tip))
        cursor.execute(
            "INSERT INTO archive_custodyposition (position, event_id) "
            "SELECT id - 1, id FROM archive_custodyevent ORDER BY id"
        )
        cursor.execute("SELECT setval(pg_get_serial_sequence('archive_custodyevent', 'id'), %s)", [count])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
