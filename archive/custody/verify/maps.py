"""Step 8: every version of the verifiable map stands in an event, and the newest is what the events add up to.

The newest version is made anew from the events, entry by entry and hash by hash, and the pages that proofs are read
from lead to the same root. Each older version is compared with the one before it: versions.py.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from archive.custody import map
from archive.custody.map_key import statement
from archive.custody.verify.reader import Reader, raw_of
from archive.custody.verify.report import Report
from archive.custody.verify.versions import Versions
from archive.models import Checkpoint, MapHead, MapPage

CHUNK = 5_000
KIND = "altered map"


class Files:
    """Which original was stored by how many events, and by which last: what the map says of files."""

    def __init__(self, below: int) -> None:
        self.below = below
        self.last: dict[str, tuple[int, str]] = {}
        self.each: list[tuple[int, str, int, str]] = []  # position, and what `last` then said

    def take(self, position: int | None, digest: str, payload: Any) -> None:
        """An event `item.stored`, in the order of positions."""
        if position is None or position >= self.below or not isinstance(payload, dict):
            return
        stated = payload.get("set")
        blob = stated.get("blob") if isinstance(stated, dict) else None
        if isinstance(blob, str):
            name = f"file:{blob}"
            self.last[name] = (self.last.get(name, (0, ""))[0] + 1, digest)
            self.each.append((position, name, *self.last[name]))


def check_map(
    report: Report, reader: Reader, stated: dict[int, tuple[int | None, Any]], files: Files
) -> None:
    """`stated` has the events `system.map_root` by the size that they name: position and payload."""
    heads = list(MapHead.objects.select_related("event__position").order_by("size"))
    report.maps = len(heads)
    for head in heads:
        _stated(report, head, stated.pop(head.size, None))
    for size in stated:
        report.add(KIND, f"map of {size} events", "an event states it, and it is gone")
    _pinned(report)
    if heads:
        if not report.faults:  # else the events do not say any more what they said
            versions = Versions(reader, files.each)
            for head in heads:
                if fault := versions.fault(head):
                    report.add(KIND, f"map of {head.size} events", fault)
        _newest(report, reader, heads[-1], files)
    elif reader.one("SELECT COUNT(*) FROM archive_mapentry"):
        report.add(KIND, "the map's entries", "there are entries and no version of the map")


def _stated(report: Report, head: MapHead, event: tuple[int | None, Any] | None) -> None:
    place = f"map of {head.size} events"
    if event is None:
        report.add(KIND, place, "no event states its root")
        return
    position, payload = event
    said = payload if isinstance(payload, dict) else {}
    if (said.get("size"), said.get("entries"), said.get("root")) != (head.size, head.entries, head.root):
        report.add(KIND, place, "its event states another root or size")
    if position != getattr(getattr(head.event, "position", None), "position", None):
        report.add(KIND, place, "it names another event than the one that states it")
    if position is not None and position < head.size:
        report.add(KIND, place, "its event stands among the events that it speaks of")


def _pinned(report: Report) -> None:
    rows = Checkpoint.objects.exclude(map=None).values_list(
        "pk", "size", "map__size", "map__event__position__position"
    )
    for pk, size, speaks_of, position in rows.iterator(chunk_size=CHUNK):
        if position is None or position >= size:
            report.add(
                KIND,
                f"checkpoint {pk}",
                f"it does not cover the event that states its map of {speaks_of} events",
            )


# --- the newest version -------------------------------------------------------------------------------------------


def _newest(report: Report, reader: Reader, head: MapHead, files: Files) -> None:
    place = f"map of {head.size} events"
    _compare_subjects(report, reader, head.size)
    _compare_files(report, reader, files)
    public = _public_key(report, place, head)
    count = 0

    def entries() -> Iterator[tuple[bytes, bytes]]:
        nonlocal count
        for name, key, proof, number, tip in _by_key(reader):
            count += 1
            if not _is_bound(public, name, key, raw_of(proof)):
                report.add(
                    KIND, f"entry of {name}", "its key is not the one that the map's key makes for this name"
                )
            try:
                raw = bytes.fromhex(key)
                yield raw, map.Leaf(raw, number, bytes.fromhex(tip)).hash()
            except (ValueError, OverflowError, TypeError, AttributeError):
                report.add(KIND, f"entry of {name}", "it is not in the form of an entry")

    root = sparse_root(entries())
    if root.hex() != head.root:
        report.add(KIND, place, "the root over its entries is not the one that was stated")
    if count != head.entries:
        report.add(KIND, place, f"it has {count} entries, its event says {head.entries}")
    if not _pages_lead_to(head):
        report.add(KIND, place, "the pages that proofs are read from do not lead to its root")


def _compare_subjects(report: Report, reader: Reader, size: int) -> None:
    """Each subject's entry is its last event below `size`: number, and hash by the events that step 1 checked."""
    after: dict[str, int] = {}
    for sql in (
        "SELECT e.subject, MIN(e.number) FROM archive_custodyposition p JOIN archive_custodyevent e ON "
        f"e.id = p.event_id WHERE p.position >= {size:d} GROUP BY e.subject",
        "SELECT e.subject, MIN(e.number) FROM archive_custodypending p JOIN archive_custodyevent e ON "
        "e.id = p.event_id GROUP BY e.subject",
    ):
        for subject, number in reader.rows(sql):
            after[subject] = min(number, after.get(subject, number))
    last = 0
    while rows := reader.rows(
        "SELECT s.id, s.name, s.length, m.number, m.tip, e.hash FROM archive_custodysubject s "
        "LEFT JOIN archive_mapentry m ON m.name = s.name "
        "LEFT JOIN archive_custodyevent e ON e.subject = s.name AND e.number = m.number "
        f"WHERE s.id > {last:d} ORDER BY s.id LIMIT {CHUNK:d}"
    ):
        last = rows[-1][0]
        for _, name, length, number, tip, digest in rows:
            wanted = after.get(name, length + 1) - 1
            if wanted and number is None:
                report.add(KIND, f"entry of {name}", f"it is missing; its chain had {wanted} events")
            elif (number or 0) != wanted:
                report.add(KIND, f"entry of {name}", f"it says {number} events; there were {wanted}")
            elif wanted and tip != digest:
                report.add(KIND, f"entry of {name}", "it does not name the last event of its chain")
    for (name,) in reader.rows(
        "SELECT m.name FROM archive_mapentry m LEFT JOIN archive_custodysubject s ON s.name = m.name "
        "WHERE s.id IS NULL AND m.name NOT LIKE 'file:%'"
    ):
        report.add(KIND, f"entry of {name}", "there is no such subject")


def _compare_files(report: Report, reader: Reader, files: Files) -> None:
    wanted = dict(files.last)
    for name, number, tip in reader.rows(
        "SELECT name, number, tip FROM archive_mapentry WHERE name LIKE 'file:%'"
    ):
        if wanted.pop(name, None) != (number, tip):
            report.add(KIND, f"entry of {name}", "it is not what the events say of this file")
    for name in wanted:
        report.add(KIND, f"entry of {name}", "it is missing; the events say that this file was stored")


def _public_key(report: Report, place: str, head: MapHead) -> rsa.RSAPublicKey | None:
    import orjson

    try:
        stated = orjson.loads(bytes(head.event.canonical))["payload"]["key"]
        public = load_der_public_key(base64.b64decode(stated, validate=True))
    except (ValueError, KeyError, TypeError):
        public = None
    if not isinstance(public, rsa.RSAPublicKey):
        report.add(KIND, place, "its event does not state the map's public key")
        return None
    return public


def _is_bound(public: rsa.RSAPublicKey | None, name: str, key: str, proof: bytes) -> bool:
    if public is None:
        return True  # named already
    try:
        public.verify(proof, statement(name), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return hashlib.sha256(proof).hexdigest() == key


def _by_key(reader: Reader) -> Iterator[tuple]:
    last = ""
    while rows := reader.rows(
        "SELECT name, key, key_proof, number, tip FROM archive_mapentry WHERE key > %s ORDER BY key "
        f"LIMIT {CHUNK:d}",
        [last],
    ):
        last = rows[-1][1]
        yield from rows


def sparse_root(leaves: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Root of the map over (key, leaf hash) in the order of keys; holds as many hashes as the tree is deep.

    A leaf stands one below the deepest place where its key parts from a neighbour's.
    """
    open_left: list[tuple[int, bytes]] = []  # depth and hash of left halves whose right half is to come
    held: tuple[bytes, bytes] | None = None
    parts = -1  # depth at which the held key parts from the one before
    for following in _with_end(leaves):
        if held is not None:
            key, digest = held
            after = _shared(key, following[0]) if following else -1
            depth, digest = _raise(open_left, key, digest, max(parts, after) + 1, after + 1)
            if not following:
                return digest
            open_left.append((depth, digest))
            parts = after
        held = following
    return map.EMPTY


def _with_end(leaves: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes] | None]:
    yield from leaves
    yield None


def _raise(
    open_left: list[tuple[int, bytes]], key: bytes, digest: bytes, depth: int, upto: int
) -> tuple[int, bytes]:
    """Hash of the subtree at depth `upto` whose last key this is."""
    while depth > upto:
        depth -= 1
        if key[depth >> 3] >> (7 - (depth & 7)) & 1:
            left = open_left.pop()[1] if open_left and open_left[-1][0] == depth + 1 else map.EMPTY
            digest = map.inner(left, digest)
        else:
            digest = map.inner(digest, map.EMPTY)
    return depth, digest


def _shared(one: bytes, other: bytes) -> int:
    """How many leading bits two keys share."""
    differs = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return len(one) * 8 - differs.bit_length()


def _pages_lead_to(head: MapHead) -> bool:
    """Whether the pages, each folded anew, have the hashes that the pages above them state."""
    if head.page_id is None:
        return head.root == map.EMPTY.hex()
    wanted = {head.page_id: bytes.fromhex(head.root)}
    while wanted:
        below: dict[int, bytes] = {}
        pages = list(wanted)
        for at in range(0, len(pages), 500):
            some = pages[at : at + 500]
            found = dict(MapPage.objects.filter(pk__in=some).values_list("pk", "content"))
            for pk in some:
                try:
                    slots = map._decode(bytes(found[pk]))
                    if len(slots) != map.BRANCHES or map._fold(slots)[0] != wanted[pk]:
                        return False
                except (KeyError, IndexError, ValueError):
                    return False
                below |= {slot.page: slot.digest for slot in slots if isinstance(slot, map.Below)}
        if map.EMPTY in below.values():  # a page of nothing, which may lead to itself
            return False
        wanted = below
    return True
