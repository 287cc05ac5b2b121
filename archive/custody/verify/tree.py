"""Steps 3 and 4 over the whole: the pieces that were checked in parallel, put together in their order."""

from typing import Any

from archive.custody.tree import Head
from archive.custody.verify.events import HASH, WIDTH, tree_hash
from archive.custody.verify.reader import Reader, raw_of
from archive.custody.verify.report import Found
from archive.custody.verify.times import earlier

Signed = tuple[str, int, bytes]  # place, size, root that is stated


class Whole:
    """Takes the results of `check_range` in order. Holds the tree's edge, not the tree."""

    def __init__(self, reader: Reader, *, signed: list[Signed], integrated: int, tolerance_s: int) -> None:
        self.reader, self.integrated, self.tolerance_s = reader, integrated, tolerance_s
        self.found = Found()
        self.signed = sorted(signed, key=lambda entry: entry[1])
        self.tiles = Head()  # over the roots of full tiles
        self.levels: list[list[bytes]] = []  # the open tile of each level from 1 on
        self.full: list[int] = []  # how many full tiles each of these levels has
        self.newest = ""
        self._judge(0, None)

    def take(self, told: dict[str, Any]) -> None:
        """One range's result."""
        roots, start = [bytes.fromhex(root) for root in told["roots"]], told["start"]
        for size in sorted({size for _, size, _ in self.signed if start < size <= told["end"]}):
            while self.tiles.size < size // WIDTH:
                self._grow(roots[self.tiles.size - start // WIDTH])
            part = told["parts"].get(str(size)) or told["parts"].get(size)
            self._judge(size, bytes.fromhex(part) if part else None)
        for root in roots[self.tiles.size - start // WIDTH :]:
            self._grow(root)
        oldest, place = told["oldest"]
        if oldest and self.newest and oldest < earlier(self.newest, self.tolerance_s):
            self.found.add(
                "clock ran backwards", place, f"it says {oldest}, and an event before it says {self.newest}"
            )
        self.newest = max(self.newest, told["newest"])

    def _judge(self, size: int, part: bytes | None) -> None:
        """Compare the root over the first `size` events with what was signed."""
        root = self.tiles.root(after=part)
        while self.signed and self.signed[0][1] <= size:
            place, _, stated = self.signed.pop(0)
            if stated != root:
                self.found.add(
                    "rewritten history",
                    place,
                    f"the root over the first {size} events is not the one that was signed",
                )

    def _grow(self, root: bytes) -> None:
        """One more full tile of level 0."""
        self.tiles.add(root)
        if self.tiles.size * WIDTH > self.integrated:
            return
        node, level = root, 0
        while True:
            if level == len(self.levels):
                self.levels.append([])
                self.full.append(0)
            tile = self.levels[level]
            tile.append(node)
            if len(tile) < WIDTH:
                return
            raw = b"".join(tile)
            self._compare(level + 1, self.full[level], raw)
            self.full[level] += 1
            tile.clear()
            node, level = tree_hash(raw), level + 1

    def _compare(self, level: int, index: int, raw: bytes) -> None:
        stored = self.reader.one(
            f'SELECT hashes FROM archive_custodytile WHERE level = {level:d} AND "index" = {index:d}'
        )
        self.found.figures["tiles"] += 1
        if raw_of(stored) != raw:
            self.found.add(
                "altered tile",
                f"tile {index} of level {level}",
                "it does not hold the hashes of the tiles below it",
            )

    def end(self, events: int) -> None:
        """After the last range: unfinished tiles, tiles that should not be, checkpoints past the end."""
        for at, tile in enumerate(self.levels):
            if tile:
                self._compare(at + 1, self.full[at], b"".join(tile))
        wanted, width = 0, max(0, self.integrated)
        while width:
            wanted, width = wanted + -(-width // WIDTH), width // WIDTH
        there = self.reader.one("SELECT COUNT(*) FROM archive_custodytile")
        if there != wanted:
            self.found.add(
                "altered tile",
                "the tree's tiles",
                f"there are {there}, a tree of {self.integrated} events has {wanted}",
            )
        for place, size, _ in self.signed:
            self.found.add(
                "truncated tail", place, f"it covers {size} events, the log has {events}: the end is missing"
            )


def integrated_size(reader: Reader) -> int:
    """How many events the stored tiles hold, by the last of them."""
    rows = reader.rows(
        'SELECT "index", LENGTH(hashes) FROM archive_custodytile WHERE level = 0 ORDER BY "index" DESC LIMIT 1'
    )
    return rows[0][0] * WIDTH + (rows[0][1] or 0) // HASH if rows else 0
