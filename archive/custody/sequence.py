"""Give recorded events their place in the global order: 0, 1, 2 ... without gaps; then put them into the tree."""

from django.db import transaction
from django.db.models import Max

from archive.custody import tiles
from archive.custody.log import recording
from archive.models import CustodyPending, CustodyPosition

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
    return total


def _sequence_batch(batch: int) -> int:
    with transaction.atomic(durable=True):
        if not tiles.only_sequencer():
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
