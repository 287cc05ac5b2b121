"""Tables of the custody log. Triggers refuse UPDATE, DELETE and TRUNCATE on the append-only ones."""

from django.db import models

from archive.models.base import LogTable


class CustodySubject(LogTable):
    """The tip of one subject's chain: what an append locks. Its truth is the events; `custody verify` compares."""

    name = models.CharField(max_length=80, unique=True)
    length = models.PositiveBigIntegerField()
    tip = models.CharField(max_length=64)


class CustodyEvent(LogTable):
    """One event. `canonical` is the event; the other columns repeat parts of it so that they can be searched."""

    subject = models.CharField(max_length=80)
    number = models.PositiveBigIntegerField()
    type = models.CharField(max_length=40)
    time = models.DateTimeField()
    canonical = models.BinaryField()
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subject", "number"], name="event_number_once_per_subject")
        ]


class CustodyOpening(LogTable):
    """What a commitment in an event commits to. May be withheld from an export; the event verifies without it."""

    event = models.ForeignKey(CustodyEvent, on_delete=models.PROTECT, related_name="openings")
    pointer = models.CharField(max_length=200)
    salt = models.CharField(max_length=64)
    value = models.JSONField()


class CustodyPending(LogTable):
    """Recorded, not yet sequenced. Emptied by the sequencer."""

    event = models.OneToOneField(
        CustodyEvent, on_delete=models.PROTECT, primary_key=True, related_name="pending"
    )


class CustodyPosition(LogTable):
    """The event's place in the global order: 0, 1, 2 ... without gaps."""

    position = models.PositiveBigIntegerField(primary_key=True)
    event = models.OneToOneField(CustodyEvent, on_delete=models.PROTECT, related_name="position")


class Checkpoint(LogTable):
    """A signed head: how many events there were and their RFC 6962 root (C2SP tlog-checkpoint)."""

    size = models.PositiveBigIntegerField()
    root = models.CharField(max_length=64)
    note = models.TextField()
    signed_at = models.DateTimeField()

    class Meta:
        ordering = ["-pk"]
