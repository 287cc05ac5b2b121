"""Steps 1 to 4 and 7 over a range of positions: the part of the work that grows with the log, and runs in parallel."""

import hashlib
import marshal
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

from archive.custody.verify.chains import Checker
from archive.custody.verify.reader import Reader, events_at, ids_at, raw_of
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
    for low, high, rows, stored in _chunks(reader, start, end):
        hashes = checker.skim(rows) if mark else checker.take(rows)
        times.take(checker.times, rows)
        read.update(_beside(checker.columns, hashes))
        if len(rows) != high - low or rows[0][0] != low or rows[-1][0] != high - 1:
            hashes = _with_gaps(checker.found, rows, hashes, low, high)
        raw = bytes.fromhex("".join(hashes))
        read.update(raw)
        read.update(_tiles(checker.found, stored, low, raw, min(integrated, high)))
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


def _chunks(reader: Reader, start: int, end: int) -> Iterator[tuple[int, int, list[tuple], dict[int, bytes]]]:
    """Events and lowest tiles of a range; the database reads the next ones while these are checked.

    Yields the first position, the one after the last, the events in the order of positions, and the tiles by index.
    """

    ids = ids_at(reader, start, end, CHUNK)

    def ask(low: int) -> tuple[int, int, Callable[[], list[tuple]], Callable[[], list[tuple]]]:
        high = min(low + CHUNK, end)
        tiles = (
            'SELECT "index", hashes FROM archive_custodytile WHERE level = 0 '
            f'AND "index" >= {low // WIDTH:d} AND "index" < {-(-high // WIDTH):d}'
        )
        events = events_at(reader, low, high, ids[(low - start) // CHUNK])
        return low, high, reader.ask(events), reader.ask(tiles)

    high = start
    with reader.ahead():
        coming = ask(start)
        while high < end:
            low, high, events, tiles = coming
            rows, stored = events(), {index: raw_of(hashes) for index, hashes in tiles()}
            if high < end:
                coming = ask(high)
            rows.sort(key=itemgetter(0))  # almost in order already
            yield low, high, rows, stored


def _with_gaps(found: Found, rows: list[tuple], hashes: list[str], low: int, high: int) -> list[str]:
    """Step 3. The hashes with one that cannot be where no event is."""
    at = dict(zip((row[0] for row in rows), hashes, strict=True))
    places = sorted(at)
    for expected, there in zip([low, *(place + 1 for place in places)], [*places, high], strict=True):
        if there != expected:
            then = f"the next one there is {there}" if there < high else "no event has it"
            found.add("missing position", f"position {expected}", then)
    return [at.get(position, ABSENT) for position in range(low, high)]


def _tiles(found: Found, stored: dict[int, bytes], low: int, raw: bytes, integrated: int) -> bytes:
    """Step 4, its lowest level: stored tiles hold the hashes of these events. Returns a digest of them."""
    seen = hashlib.sha256()
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
