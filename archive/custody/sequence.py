"""Give recorded events their place in the global order: 0, 1, 2 ... without gaps."""

from django.db import connection, transaction
from django.db.models import Max

from archive.custody.log import recording
from archive.models import CustodyPending, CustodyPosition

BATCH = 2000
_LOCK = 0x414D5041524F  # "AMPARO": one sequencer at a time on PostgreSQL; SQLite has one writer anyway


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
    return total


def _sequence_batch(batch: int) -> int:
    with transaction.atomic(durable=True):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
                if not cursor.fetchone()[0]:
                    return 0
        waiting = list(CustodyPending.objects.order_by("event_id").values_list("event_id", flat=True)[:batch])
        if not waiting:
            return 0
        top = CustodyPosition.objects.aggregate(top=Max("position"))["top"]
        first = 0 if top is None else top + 1
        with recording():
            CustodyPosition.objects.bulk_create(
                CustodyPosition(position=first + i, event_id=event_id) for i, event_id in enumerate(waiting)
            )
            CustodyPending.objects.filter(event_id__in=waiting).delete()
        return len(waiting)
