"""Tables of the custody log. Triggers refuse UPDATE, DELETE and TRUNCATE on the append-only ones.

What is written with each event refers to it without a foreign-key constraint: the statement that writes it takes the key
from the event that it stores, and no event can be deleted. The sequencer gives no position to what is no event, and
`custody verify` names a position that has none.
"""

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

    event = models.ForeignKey(
        CustodyEvent, on_delete=models.PROTECT, related_name="openings", db_constraint=False
    )
    pointer = models.CharField(max_length=200)
    salt = models.CharField(max_length=64)
    value = models.JSONField()


class CustodyErasure(LogTable):
    """That an opening was destroyed, by which certificate. Only what stands here can be deleted of the openings."""

    event = models.ForeignKey(CustodyEvent, on_delete=models.PROTECT, related_name="erasures")
    pointer = models.CharField(max_length=200)
    certificate = models.ForeignKey(CustodyEvent, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event", "pointer"], name="opening_destroyed_once")]


class CustodyPending(LogTable):
    """Recorded, not yet sequenced. Emptied by the sequencer."""

    event = models.OneToOneField(
        CustodyEvent, on_delete=models.PROTECT, primary_key=True, related_name="pending", db_constraint=False
    )


class CustodyPosition(LogTable):
    """The event's place in the global order: 0, 1, 2 ... without gaps."""

    position = models.PositiveBigIntegerField(primary_key=True)
    event = models.OneToOneField(
        CustodyEvent, on_delete=models.PROTECT, related_name="position", db_constraint=False
    )


class CustodyTile(LogTable):
    """Up to 256 consecutive node hashes of one level of the Merkle tree (C2SP tlog-tiles, height 8).

    Level 0 holds leaf hashes; a hash of level n is the root of a full tile of level n - 1. Can be rebuilt from the
    events, which `custody verify` does.
    """

    level = models.PositiveSmallIntegerField()
    index = models.PositiveBigIntegerField()
    hashes = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["level", "index"], name="tile_once")]


class MapPage(LogTable):
    """Sixteen branches of the verifiable map, never changed: a later map shares the pages that stayed the same."""

    content = models.BinaryField()


class MapEntry(LogTable):
    """What the newest map says of one name: how many events its chain had, and the hash of the last."""

    name = models.CharField(max_length=80, unique=True)
    key = models.CharField(max_length=64, unique=True)
    key_proof = models.BinaryField()
    number = models.PositiveBigIntegerField()
    tip = models.CharField(max_length=64)


class MapHead(LogTable):
    """One version of the verifiable map: it speaks of the events at positions below `size`."""

    size = models.PositiveBigIntegerField(unique=True)
    entries = models.PositiveBigIntegerField()
    root = models.CharField(max_length=64)
    page = models.ForeignKey(MapPage, null=True, on_delete=models.PROTECT, related_name="+")
    # The event that states the root: only under it is the map pinned by a checkpoint.
    event = models.OneToOneField(CustodyEvent, on_delete=models.PROTECT, related_name="+")


class Checkpoint(LogTable):
    """A signed head: how many events there were and their RFC 6962 root (C2SP tlog-checkpoint)."""

    size = models.PositiveBigIntegerField()
    root = models.CharField(max_length=64)
    # As the log signed it, without cosignatures.
    note = models.TextField()
    signed_at = models.DateTimeField()
    map = models.ForeignKey(MapHead, null=True, on_delete=models.PROTECT, related_name="checkpoints")

    class Meta:
        ordering = ["-pk"]


class Cosignature(LogTable):
    """A witness's signature line over a checkpoint (C2SP tlog-cosignature), and the time that it states."""

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="cosignatures")
    witness = models.CharField(max_length=200)
    line = models.TextField()
    stated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["checkpoint", "witness"], name="cosigned_once_by_each_witness")
        ]


class Timestamp(LogTable):
    """An RFC 3161 time-stamp response (DER) over a checkpoint's note as the log signed it."""

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="timestamps")
    authority = models.CharField(max_length=200)
    response = models.BinaryField()
    stated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["checkpoint", "authority"], name="stamped_once_by_each_authority")
        ]


class Anchor(LogTable):
    """How a witness or a timestamp authority last answered. No part of the history: rows are overwritten."""

    name = models.CharField(max_length=200, unique=True)
    tried_at = models.DateTimeField()
    error = models.TextField(blank=True)
