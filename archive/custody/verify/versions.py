"""Step 8, every version of the map: from one to the next, that changed which the events between them changed.

A wrong version that was signed and put right in the next one stays a lie: proofs were made against it.
"""

from collections.abc import Iterator

from archive.custody import map
from archive.custody.verify.reader import MANY, Reader
from archive.models import MapHead

Path = tuple[int, ...]  # branches from the first page on
Pair = tuple[map.Slot, map.Slot, Path]  # a branch as it was, and as it is


class Broken(Exception):
    """Pages that do not lead to the root that is stated, or have lost an entry."""


class Versions:
    """Compares each version with the one before, by the pages that differ. Takes them in their order."""

    def __init__(self, reader: Reader, stored: list[tuple[int, str, int, str]]) -> None:
        """`stored`: position, name of the file, number and hash of each event that stored a file, in order."""
        self.reader, self.stored, self.at = reader, stored, 0
        self.size = 0
        self.top: map.Slot = None

    def fault(self, head: MapHead) -> str:
        """What is wrong with the next version, or an empty text."""
        before, low = self.top, self.size
        self.top = None if head.page_id is None else map.Below(head.page_id, bytes.fromhex(head.root))
        self.size = head.size
        wanted = self._wanted(low, head.size)
        found: dict[bytes, tuple[int, str]] = {}
        try:
            for leaf in self._changed(before, self.top):
                if leaf.key in found:
                    raise Broken
                found[leaf.key] = leaf.number, leaf.tip.hex()
        except (Broken, KeyError, IndexError, ValueError):
            return "the pages that proofs are read from do not lead to its root"
        return "" if found == wanted else "it does not say what the events before it say"

    def _wanted(self, low: int, high: int) -> dict[bytes, tuple[int, str]]:
        """The entries that the events at positions low to high - 1 make or change, by key."""
        tips: dict[str, tuple[int, str]] = {}
        for subject, number, digest in self.reader.rows(
            "SELECT e.subject, e.number, e.hash FROM archive_custodyposition p JOIN archive_custodyevent e "
            f"ON e.id = p.event_id WHERE p.position >= {low:d} AND p.position < {high:d} ORDER BY p.position"
        ):
            tips[subject] = number, digest
        while self.at < len(self.stored) and self.stored[self.at][0] < high:
            _, name, number, digest = self.stored[self.at]
            tips[name] = number, digest
            self.at += 1
        names, keys = list(tips), dict[str, str]()
        for start in range(0, len(names), MANY):
            some = names[start : start + MANY]
            marks = ", ".join(["%s"] * len(some))
            keys |= dict(
                self.reader.rows(f"SELECT name, key FROM archive_mapentry WHERE name IN ({marks})", some)
            )
        return {bytes.fromhex(keys.get(name, "")): tip for name, tip in tips.items()}

    def _changed(self, old: map.Slot, new: map.Slot) -> Iterator[map.Leaf]:
        """The entries that are not as they were, level by level. Raises Broken where one is lost."""
        front: list[Pair] = [] if old == new else [(old, new, ())]
        while front:
            # What was there has been looked at where it was new.
            pages = self._read({was for was, *_ in front if isinstance(was, map.Below)}, known=True)
            new_pages = [now for _, now, _ in front if isinstance(now, map.Below)]
            if len(set(new_pages)) < len(
                new_pages
            ):  # no entry stands in two places; such a walk might never end
                raise Broken
            pages |= self._read(set(new_pages))
            following: list[Pair] = []
            for was, now, path in front:
                if isinstance(was, map.Below) or isinstance(now, map.Below):
                    depth = len(path)
                    branches = zip(_spread(was, depth, pages), _spread(now, depth, pages), strict=True)
                    following += [(a, b, (*path, n)) for n, (a, b) in enumerate(branches) if a != b]
                elif now is None or (was is not None and was.key != now.key) or not _in_place(now, path):
                    raise Broken
                else:
                    yield now
            front = following

    def _read(self, wanted: set[map.Below], *, known: bool = False) -> dict[map.Below, list[map.Slot]]:
        """Pages, each with the hash that the page above states, unless that is known."""
        asked, found = list(wanted), dict[map.Below, list[map.Slot]]()
        for start in range(0, len(asked), MANY):
            some = asked[start : start + MANY]
            listed = ", ".join(str(int(below.page)) for below in some)
            rows = dict(self.reader.rows(f"SELECT id, content FROM archive_mappage WHERE id IN ({listed})"))
            for below in some:
                slots = map._decode(bytes(rows[below.page]))
                digest = map._fold(slots)[0] if len(slots) == map.BRANCHES and not known else below.digest
                if len(slots) != map.BRANCHES or digest != below.digest or digest == map.EMPTY:
                    raise Broken
                found[below] = slots
        return found


def _spread(slot: map.Slot, depth: int, pages: dict[map.Below, list[map.Slot]]) -> list[map.Slot]:
    """What a branch holds, as sixteen branches."""
    if isinstance(slot, map.Below):
        return pages[slot]
    return [slot if slot and map._branch(slot.key, depth) == n else None for n in range(map.BRANCHES)]


def _in_place(leaf: map.Leaf, path: Path) -> bool:
    return all(map._branch(leaf.key, depth) == branch for depth, branch in enumerate(path))
