"""Publish the log: bring the map up to date, sign one head over both, have it witnessed and time-stamped.

1. what is recorded is sequenced and integrated
2. the map is brought up to the events integrated so far; its root is an event of the log
3. that event is integrated as well
4. the tree's head is signed: one checkpoint pins tree and map
5. witnesses and timestamp authorities are asked; a checkpoint without their answer is still one
"""

import base64
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from archive.custody import anchors, last_signed, map
from archive.custody.actor import Actor
from archive.custody.canonical import timestamp
from archive.custody.checkpoint import sign_head
from archive.custody.log import record, recording
from archive.custody.map_key import key_of, map_key, public_key_der
from archive.custody.sequence import advance
from archive.custody.tiles import Tiles, root, size
from archive.errors import Conflict, KeyUnavailable
from archive.models import (
    Checkpoint,
    CustodyEvent,
    CustodyPending,
    CustodyPosition,
    MapEntry,
    MapHead,
)

log = logging.getLogger("amparo.custody")

# Events that publishing makes by itself: they alone are no reason to publish again.
BOOKKEEPING = (
    "system.map_root",
    "system.checkpoint_signed",
    "system.checkpoint_witnessed",
    "system.checkpoint_timestamped",
)
MAP_STEP = 50_000  # events a version of the map: bounds the transaction that writes it
CHUNK = 500
WAIT_S = 30.0
_PUBLISHER = 0x5055424C4953  # "PUBLIS": one publisher at a time on PostgreSQL


def publish(*, actor: Actor, force: bool = False) -> Checkpoint:
    """Sign a checkpoint over all that is recorded by now. Returns the newest one when nothing new needs it;
    then whoever has not confirmed it is asked again.

    Raises KeyUnavailable without the signing key or the map key, Damaged when the tree is not whole or does not continue
    what was signed last, Conflict when another process holds up the sequencer; then no checkpoint was made and nothing
    is lost.
    """
    advance()
    newest = Checkpoint.objects.select_related("map").first()
    if newest is not None and newest.map_id and not force and not _news(newest.size):
        if not anchors.outdated(newest):
            last_signed.require_continued(newest.size)
            return newest
    last_signed.require_continued(size())  # before the map speaks of a past that will not be signed
    head = _bring_map_up()
    _await(head)
    with last_signed.signing():
        row = _sign(head, actor)
    anchors.collect(row)
    return row


def _sign(head: MapHead, actor: Actor) -> Checkpoint:
    """Sign the tree as it is now, or give the checkpoint of a process that was first."""
    covered = size()
    last_signed.require_continued(covered)
    note, now = sign_head(settings.NAME_IN_LOG, covered, root(covered)), timezone.now()
    with transaction.atomic(durable=True):
        _only_publisher()
        if other := Checkpoint.objects.filter(size__gte=covered).exclude(map=None).order_by("-size").first():
            return other  # another process was first: heads never go back
        with recording():
            row = Checkpoint.objects.create(
                size=covered, root=root(covered).hex(), note=note, signed_at=now, map=head
            )
        record(
            "system:main",
            event="system.checkpoint_signed",
            actor=actor,
            payload={
                "size": covered,
                "root": row.root,
                "signed_at": timestamp(now),
                "note": note,
                "map": {"size": head.size, "root": head.root},
            },
        )
    last_signed.keep(note)
    return row


def _only_publisher() -> None:
    """Wait for other publishers, until the transaction ends."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_PUBLISHER])


def _news(covered: int) -> bool:
    after = CustodyPosition.objects.filter(position__gte=covered)
    return CustodyPending.objects.exists() or after.exclude(event__type__in=BOOKKEEPING).exists()


def _await(head: MapHead) -> None:
    """Wait until the event that states the map's root is in the tree."""
    deadline = time.monotonic() + WAIT_S
    while True:
        advance()
        position = (
            CustodyPosition.objects.filter(event=head.event_id).values_list("position", flat=True).first()
        )
        if position is not None and size() > position:
            return
        if time.monotonic() > deadline:
            raise Conflict(
                "Another process holds up the sequencer of the log. No checkpoint was signed; nothing is lost: try "
                "again in a minute."
            )
        time.sleep(0.05)


# --- the map ----------------------------------------------------------------------------------------------------


def _bring_map_up() -> MapHead:
    """Make versions of the map until one speaks of everything that is integrated."""
    private = map_key()
    while True:
        whole = size()
        newest = MapHead.objects.order_by("-size").first()
        if newest is not None and newest.size == whole:
            return newest  # what came since is not integrated yet
        if newest is not None and newest.size == whole - 1 and not _news(newest.size):
            return newest
        done = newest.size if newest else 0
        upto = min(whole, done + MAP_STEP)
        _require_same_key(newest, private)
        head = _map_step(done, upto, private)
        if head is not None and head.size == whole:
            return head


def _require_same_key(newest: MapHead | None, private: RSAPrivateKey) -> None:
    if newest is None:
        return
    stated = json.loads(bytes(newest.event.canonical))["payload"]["key"]
    if stated != base64.b64encode(public_key_der(private)).decode():
        raise KeyUnavailable(
            f"{settings.MAP_KEY_FILE} is not the key that the log's map was made with. No checkpoint was signed: put "
            "the former key back."
        )


def _map_step(done: int, upto: int, private: RSAPrivateKey) -> MapHead | None:
    """One version of the map, from the events at positions done to upto - 1. None when another process was first."""
    tips = _tips(done, upto)
    keys = _keys(tips, private)
    with transaction.atomic(durable=True):
        _only_publisher()
        before = MapHead.objects.order_by("-size").first()
        if (before.size if before else 0) != done:
            return None
        leaves = [map.Leaf(keys[name][0], number, tip) for name, (number, tip) in tips.items()]
        page, digest = map.update(before.page_id if before else None, leaves)
        with recording():
            MapEntry.objects.bulk_create(
                [
                    MapEntry(
                        name=name,
                        key=keys[name][0].hex(),
                        key_proof=keys[name][1],
                        number=number,
                        tip=tip.hex(),
                    )
                    for name, (number, tip) in tips.items()
                ],
                update_conflicts=True,
                unique_fields=["name"],
                update_fields=["number", "tip"],
                batch_size=CHUNK,
            )
        entries = MapEntry.objects.count()
        event = record(
            "system:main",
            event="system.map_root",
            actor=Actor.system("publisher"),
            payload={
                "size": upto,
                "entries": entries,
                "root": digest.hex(),
                "key": base64.b64encode(public_key_der(private)).decode(),
            },
        )
        with recording():
            return MapHead.objects.create(
                size=upto, entries=entries, root=digest.hex(), page_id=page, event=event
            )


def _tips(done: int, upto: int) -> dict[str, tuple[int, bytes]]:
    """Number and hash that the map has to say of each name that these events touch."""
    leaves, tips = Tiles(upto), {}
    stored: list[tuple[int, bytes]] = []
    rows = CustodyPosition.objects.filter(position__gte=done, position__lt=upto).order_by("position")
    fields = ("position", "event__subject", "event__number", "event__type", "event_id")
    for position, subject, number, kind, pk in rows.values_list(*fields).iterator(chunk_size=2_000):
        digest = leaves.leaf(position)
        tips[subject] = (number, digest)
        if kind == "item.stored":
            stored.append((pk, digest))
    return tips | _files(stored)


def file_name(canonical: bytes) -> str | None:
    """The map's name for the bytes that an event `item.stored` took in, or None when it names none."""
    blob = json.loads(canonical)["payload"].get("set", {}).get("blob")
    return f"file:{blob}" if isinstance(blob, str) else None


def _files(stored: list[tuple[int, bytes]]) -> dict[str, tuple[int, bytes]]:
    """For each file how many events stored it, earlier ones included, and the hash of the last."""
    tips: dict[str, tuple[int, bytes]] = {}
    for at in range(0, len(stored), CHUNK):
        part = stored[at : at + CHUNK]
        bodies = dict(
            CustodyEvent.objects.filter(pk__in=[pk for pk, _ in part]).values_list("pk", "canonical")
        )
        named = [(file_name(bytes(bodies[pk])), digest) for pk, digest in part]
        known = dict(
            MapEntry.objects.filter(name__in=[name for name, _ in named if name]).values_list(
                "name", "number"
            )
        )
        for name, digest in named:
            if name:
                tips[name] = ((tips[name][0] if name in tips else known.get(name, 0)) + 1, digest)
    return tips


def _keys(names: Iterable[str], private: RSAPrivateKey) -> dict[str, tuple[bytes, bytes]]:
    """Keys of names with their proofs: those that are stored, and new ones, made before the transaction opens."""
    wanted = list(names)
    keys: dict[str, tuple[bytes, bytes]] = {}
    for at in range(0, len(wanted), CHUNK):
        rows = MapEntry.objects.filter(name__in=wanted[at : at + CHUNK])
        keys |= {
            name: (bytes.fromhex(key), bytes(proof))
            for name, key, proof in rows.values_list("name", "key", "key_proof")
        }
    return {name: keys.get(name) or key_of(name, private=private) for name in wanted}


# --- where the log stands -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """How many events have come this far, and since when the oldest one that has not is waiting."""

    name: str
    events: int
    waiting_since: datetime | None

    @property
    def lag_s(self) -> float:
        """Seconds that the oldest waiting event has waited; 0 when none waits."""
        return max(0.0, (timezone.now() - self.waiting_since).total_seconds()) if self.waiting_since else 0.0


def stages() -> list[Stage]:
    """How far events have come: recorded, sequenced, integrated, published, witnessed."""
    last = CustodyPosition.objects.order_by("-position").values_list("position", flat=True).first()
    sequenced = 0 if last is None else last + 1
    pending = CustodyPending.objects.order_by("event_id").values_list("event__time", flat=True)
    first = pending.first()
    news = pending.exclude(event__type__in=BOOKKEEPING).first()
    published = Checkpoint.objects.values_list("size", flat=True).first() or 0
    witnessed = anchors.witnessed_size()
    return [
        Stage("recorded", sequenced + CustodyPending.objects.count(), None),
        Stage("sequenced", sequenced, first),
        Stage("integrated", (whole := size()), _waiting(whole) or first),
        Stage("published", published, _waiting(published) or news),
        Stage("witnessed", witnessed, _waiting(witnessed) or news),
    ]


@dataclass(frozen=True)
class Marks:
    """How many events, from the first on, have come to each of the later stages."""

    integrated: int
    published: int
    witnessed: int

    def stage(self, position: int | None) -> str:
        """The furthest stage that an event has come to; `position` is None before it has one."""
        if position is None:
            return "recorded"
        if position < min(self.witnessed, self.published):
            return "witnessed"
        if position < self.published:
            return "published"
        return "integrated" if position < self.integrated else "sequenced"


def marks() -> Marks:
    """Where the stages are now: three small queries."""
    published = Checkpoint.objects.values_list("size", flat=True).first() or 0
    return Marks(size(), published, anchors.witnessed_size())


def _waiting(covered: int) -> datetime | None:
    """Time of the first event past `covered` that is more than publishing's own bookkeeping."""
    after = CustodyPosition.objects.filter(position__gte=covered).exclude(event__type__in=BOOKKEEPING)
    return after.order_by("position").values_list("event__time", flat=True).first()
