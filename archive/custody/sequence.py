"""Give recorded events their place in the global order: 0, 1, 2 ... without gaps; then put them into the tree."""

from django.db import connection, transaction

from archive.custody import tiles
from archive.custody.log import recording
from archive.models import CustodyPending

BATCH = 2000


def advance() -> int:
    """Sequence what is recorded and integrate what is sequenced. Returns how many events were integrated."""
    sequence()
    return tiles.integrate()


def sequence(*, batch: int = BATCH) -> int:
    """Sequence what waits, in the order of recording. Returns how many events got a position.

    Writers never wait for this; events of one subject keep their order, since a subject's events are recorded one
    after the other under its lock and so their row ids ascend.
    """
    if not CustodyPending.objects.exists():
        return 0
    total = 0
    while done := _sequence_batch(batch):
        total += done
        if done < batch:  # what was recorded meanwhile waits: else busy writers would keep this from the tree
            break
    return total


def _sequence_batch(batch: int) -> int:
    with transaction.atomic(durable=True):
        if not tiles.only_sequencer():
            return 0
        with recording(), connection.cursor() as cursor:
            cursor.execute("SELECT COALESCE(MAX(position) + 1, 0) FROM archive_custodyposition")
            first = cursor.fetchone()[0]
            cursor.execute(
                "INSERT INTO archive_custodyposition (position, event_id) "
                "SELECT %s + ROW_NUMBER() OVER (ORDER BY event_id) - 1, event_id FROM "
                "(SELECT event_id FROM archive_custodypending ORDER BY event_id LIMIT %s) AS waiting "
                # never a position without an event; written so that each is looked up by its key
                "WHERE (SELECT id FROM archive_custodyevent WHERE id = event_id) IS NOT NULL",
                [first, batch],
            )
            done = cursor.rowcount
            cursor.execute(
                "DELETE FROM archive_custodypending WHERE event_id IN "
                "(SELECT event_id FROM archive_custodyposition WHERE position >= %s)",
                [first],
            )
        return done
