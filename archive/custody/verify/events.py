"""Steps 1 to 4 and 7 over a range of positions: the part of the work that grows with the log, and runs in parallel."""

import hashlib
import marshal
from operator import itemgetter
from typing import Any

from archive.custody.verify.chains import Checker
from archive.custody.verify.reader import Reader, event_columns, raw_of
from archive.custody.verify.report import Found
from archive.custody.verify.times import Span, Times

RANGE = 65_536  # positions in one piece of work, 256 tiles
CHUNK = 8_192  # of which are held at a time
WIDTH, HASH = 256, 32
ABSENT = "00" * HASH  # stands in the tree where an event is missing: so the other leaves keep their places
_node = hashlib.sha256(b"\x01").copy  # begun once: making a new one takes as long as hashing


def check_range(
    reader: Reader,
    start: int,
    end: int,
    *,
    sizes: list[int],
    spans: list[Span],
    integrated: int,
    tolerance_s: int,
    mark: str = "",
) -> dict[str, Any]:
    """Check the events at positions start to end - 1; `start` begins a tile.

    `sizes` are those of checkpoints in (start, end], for which the hash of their unfinished tile is told. `integrated`
    is how many events the stored tiles hold. `mark` is what an earlier answer to the same question said of all that it
    read: if that is so still, the answer is only {"same": true}.
    """
    checker = Checker(reader)
    times = Times(checker.found, spans, tolerance_s)
    read = hashlib.sha256()
    roots: list[str] = []
    parts: dict[int, str] = {}
    for low in range(start, end, CHUNK):
        high = min(low + CHUNK, end)
        rows = _rows(reader, low, high)
        hashes = checker.skim(rows) if mark else checker.take(rows)
        times.take(checker.times, rows)
        read.update(_beside(checker.columns, hashes))
        if len(rows) != high - low or rows[0][0] != low or rows[-1][0] != high - 1:
            hashes = _with_gaps(checker.found, rows, hashes, low, high)
        raw = bytes.fromhex("".join(hashes))
        read.update(raw)
        read.update(_tiles(reader, checker.found, low, raw, min(integrated, high)))
        if not mark:
            tile = WIDTH * HASH
            roots += [tree_hash(raw[at : at + tile]).hex() for at in range(0, len(raw) // tile * tile, tile)]
            for size in sizes:
                if low < size <= high and size % WIDTH:
                    begins = (size - 1) // WIDTH * WIDTH
                    parts[size] = tree_hash(raw[(begins - low) * HASH : (size - low) * HASH]).hex()
    read.update(checker.link_firsts())
    if mark and mark == read.hexdigest():
        return {"same": True}
    if mark:
        return check_range(
            reader, start, end, sizes=sizes, spans=spans, integrated=integrated, tolerance_s=tolerance_s
        )
    return checker.found.told() | {
        "start": start,
        "end": end,
        "roots": roots,
        "parts": parts,
        "noted": checker.noted,
        "newest": times.newest,
        "oldest": times.oldest,
        "mark": read.hexdigest(),
    }


def _beside(columns: tuple[tuple, ...], hashes: list[str]) -> bytes:
    """All that stands in columns beside events whose hashes these are, as bytes that say it in one way only."""
    return marshal.dumps((columns[:6], columns[7:] == (tuple(hashes),) or columns[7:]), 2)


def _rows(reader: Reader, low: int, high: int) -> list[tuple]:
    # LIMIT keeps PostgreSQL from looking for the least of all event_id that happens to lie in the range.
    ends = reader.rows(
        "SELECT MIN(event_id), MAX(event_id) FROM (SELECT event_id FROM archive_custodyposition "
        f"WHERE position >= {low:d} AND position < {high:d} LIMIT {high - low:d}) AS here"
    )
    first, last = ends[0]
    if first is None:
        return []
    rows = reader.rows(
        f"SELECT p.position, {event_columns(reader)} FROM archive_custodyposition p "
        f"JOIN archive_custodyevent e ON e.id = p.event_id WHERE p.position >= {low:d} AND p.position < {high:d} "
        f"AND e.id BETWEEN {first:d} AND {last:d}"
    )
    rows.sort(key=itemgetter(0))  # almost in order already: the database would carry the bytes around
    return rows


def _with_gaps(found: Found, rows: list[tuple], hashes: list[str], low: int, high: int) -> list[str]:
    """Step 3. The hashes with one that cannot be where no event is."""
    at = dict(zip((row[0] for row in rows), hashes, strict=True))
    places = sorted(at)
    for expected, there in zip([low, *(place + 1 for place in places)], [*places, high], strict=True):
        if there != expected:
            then = f"the next one there is {there}" if there < high else "no event has it"
            found.add("missing position", f"position {expected}", then)
    return [at.get(position, ABSENT) for position in range(low, high)]


def _tiles(reader: Reader, found: Found, low: int, raw: bytes, integrated: int) -> bytes:
    """Step 4, its lowest level: stored tiles hold the hashes of these events. Returns a digest of them."""
    seen = hashlib.sha256()
    stored = {
        index: raw_of(hashes)
        for index, hashes in reader.rows(
            'SELECT "index", hashes FROM archive_custodytile WHERE level = 0 '
            f'AND "index" >= {low // WIDTH:d} AND "index" < {-(-(low + len(raw) // HASH) // WIDTH):d}'
        )
    }
    for at in range(0, max(0, integrated - low), WIDTH):
        wanted = raw[at * HASH : min(at + WIDTH, integrated - low) * HASH]
        content = stored.get((low + at) // WIDTH, b"")
        seen.update(content)
        found.figures["tiles"] += 1
        if content != wanted:
            place = f"tile {(low + at) // WIDTH} of level 0"
            found.add("altered tile", place, "it does not hold the hashes of the events at its positions")
    return seen.digest()


def tree_hash(raw: bytes) -> bytes:
    """RFC 6962 root over hashes that stand one after the other."""
    while len(raw) > HASH:
        pairs = len(raw) // (2 * HASH) * 2 * HASH
        above = []
        for at in range(0, pairs, 2 * HASH):
            node = _node()
            node.update(raw[at : at + 2 * HASH])
            above.append(node.digest())
        raw = b"".join([*above, raw[pairs:]])
    return raw
