"""The Merkle tree over the global order, kept as C2SP tlog-tiles (https://c2sp.org/tlog-tiles), height 8.

A tile of level L holds up to 256 consecutive hashes; hash number i of the level is the RFC 6962 tree hash of the
events [i * 256^L, (i + 1) * 256^L). Only full tiles are hashed upwards. So any root or proof needs O(log n) reads.
"""

import hashlib
from collections import OrderedDict

from django.db import connection, transaction
from django.db.models import Max

from archive.custody.canonical import event_hash
from archive.custody.log import recording
from archive.custody.tree import EMPTY_ROOT
from archive.errors import Damaged
from archive.models import CustodyPosition, CustodyTile

WIDTH = 256
HASH = 32
BATCH = 10_000
SEQUENCER = 0x414D5041524F  # "AMPARO": one sequencer at a time on PostgreSQL; SQLite has one writer anyway


def node(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node, RFC 6962, 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def perfect(hashes: list[bytes]) -> bytes:
    """Root over a power of two of hashes."""
    while len(hashes) > 1:
        pairs = iter(hashes)
        hashes = [node(left, right) for left, right in zip(pairs, pairs, strict=True)]
    return hashes[0]


def size() -> int:
    """How many events are integrated: positions 0 to size - 1 are in the tree."""
    last = CustodyTile.objects.filter(level=0).order_by("-index").first()
    return 0 if last is None else last.index * WIDTH + len(last.hashes) // HASH


# --- reading ----------------------------------------------------------------------------------------------------


class Tiles:
    """Reads nodes of the tree as it was at `size`. Keeps what it read, up to `keep` tiles (8 KiB each)."""

    def __init__(self, size: int, *, keep: int = 4096) -> None:
        self.size, self.keep = size, keep
        self._held: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def fetch(self, *positions: int) -> None:
        """Read in one query the tiles that a proof about these positions needs, as far as they are not held."""
        wanted: set[tuple[int, int]] = set()
        level, count = 0, self.size
        while count:
            last = (count - 1) // WIDTH
            wanted |= {(level, min(position // WIDTH ** (level + 1), last)) for position in positions}
            wanted.add((level, last))
            level, count = level + 1, count // WIDTH
        if missing := sorted(wanted - self._held.keys()):
            where = " OR ".join(['(level = %s AND "index" = %s)'] * len(missing))
            with connection.cursor() as cursor:
                cursor.execute(
                    f'SELECT level, "index", hashes FROM archive_custodytile WHERE {where}',
                    [part for key in missing for part in key],
                )
                self._held |= {(level, index): bytes(hashes) for level, index, hashes in cursor.fetchall()}
            while len(self._held) > self.keep:
                self._held.popitem(last=False)

    def leaf(self, position: int) -> bytes:
        """The leaf hash of the event at a position."""
        return self.perfect_node(0, position)

    def leaves(self, start: int, end: int) -> list[bytes]:
        """Leaf hashes of the events at positions start to end - 1."""
        return [self.leaf(position) for position in range(start, end)]

    def perfect_node(self, height: int, index: int) -> bytes:
        """Tree hash of the events [index * 2^height, (index + 1) * 2^height), all of them below `size`."""
        level, rest = divmod(height, 8)
        first, count = index << rest, 1 << rest
        tile, at = divmod(first, WIDTH)
        hashes = self._tile(level, tile, at + count)
        return perfect([hashes[i * HASH : (i + 1) * HASH] for i in range(at, at + count)])

    def tree_hash(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]) of RFC 6962, where start is aligned as the RFC's recursion leaves it."""
        count = end - start
        if count & (count - 1) == 0:
            height = count.bit_length() - 1
            return self.perfect_node(height, start >> height)
        split = start + (1 << (count.bit_length() - 1))
        return node(self.tree_hash(start, split), self.tree_hash(split, end))

    def root(self) -> bytes:
        """The tree's root at `size`."""
        return self.tree_hash(0, self.size) if self.size else EMPTY_ROOT

    def _tile(self, level: int, index: int, wanted: int) -> bytes:
        """At least `wanted` hashes of a tile. Raises Damaged when the tile is not there or shorter."""
        key = (level, index)
        hashes = self._held.get(key, b"")
        if len(hashes) < wanted * HASH:
            row = (
                CustodyTile.objects.filter(level=level, index=index).values_list("hashes", flat=True).first()
            )
            hashes = bytes(row or b"")
            if len(hashes) < wanted * HASH:
                raise Damaged(
                    f"Tile {index} of level {level} of the log's tree is missing or too short. Nothing was signed: "
                    "run `manage.py custody verify` and keep the database as it is."
                )
            self._held[key] = hashes
            if len(self._held) > self.keep:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return hashes


def root(size: int) -> bytes:
    """The tree's root over the first `size` events. Raises Damaged when tiles are missing."""
    return Tiles(size).root()


def leaf(position: int) -> bytes:
    """The leaf hash at a position. Raises Damaged when it is not integrated."""
    return Tiles(position + 1).leaf(position)


# --- growing ----------------------------------------------------------------------------------------------------


def integrate(*, batch: int = BATCH) -> int:
    """Put the leaves of sequenced events into the tree. Returns how many. The leaf is hashed from the event's bytes.

    Raises Damaged when positions have a gap: an unsound log does not grow a tree.
    """
    total = 0
    while done := _integrate_batch(batch):
        total += done
        if done < batch:
            break
    return total


def _integrate_batch(batch: int) -> int:
    if not _behind():
        return 0
    with transaction.atomic(durable=True):
        if not only_sequencer():
            return 0
        first = size()
        rows = CustodyPosition.objects.filter(position__gte=first).order_by("position")
        found = list(rows.values_list("position", "event__canonical")[:batch])
        for expected, (position, _) in enumerate(found, first):
            if position != expected:
                raise Damaged(
                    f"The log has no event at position {expected}. The tree does not grow past it: run "
                    "`manage.py custody verify` and keep the database as it is."
                )
        append([event_hash(bytes(body)) for _, body in found], first)
        return len(found)


def _behind() -> bool:
    top = CustodyPosition.objects.aggregate(top=Max("position"))["top"]
    return top is not None and top >= size()


def only_sequencer() -> bool:
    """Take the sequencer's place until the transaction ends. False when another process has it (PostgreSQL)."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SEQUENCER])
        return bool(cursor.fetchone()[0])


def append(leaves: list[bytes], first: int) -> None:
    """Write the tiles that change when these leaves follow the `first` ones. Inside a transaction."""
    changed: list[CustodyTile] = []
    hashes, index, level = leaves, first, 0
    while hashes:
        full = _fill(level, index, hashes, changed)
        hashes, index, level = full, index // WIDTH, level + 1
    with recording():
        CustodyTile.objects.bulk_create(
            changed,
            update_conflicts=True,
            unique_fields=["level", "index"],
            update_fields=["hashes"],
            batch_size=200,
        )


def _fill(level: int, first: int, hashes: list[bytes], changed: list[CustodyTile]) -> list[bytes]:
    """Put hashes at number `first` and on of a level. Returns the roots of the tiles that became full."""
    tile, held = divmod(first, WIDTH)
    before = b""
    if held:
        before = bytes(CustodyTile.objects.get(level=level, index=tile).hashes)
        if len(before) != held * HASH:
            raise Damaged(
                f"Tile {tile} of level {level} has not the {held} hashes that it should have: run "
                "`manage.py custody verify` and keep the database as it is."
            )
    full: list[bytes] = []
    at = 0
    while at < len(hashes):
        room = WIDTH - len(before) // HASH
        part = hashes[at : at + room]
        content = before + b"".join(part)
        changed.append(CustodyTile(level=level, index=tile, hashes=content))
        if len(content) == WIDTH * HASH:
            full.append(perfect([content[i : i + HASH] for i in range(0, len(content), HASH)]))
        at, tile, before = at + len(part), tile + 1, b""
    return full
