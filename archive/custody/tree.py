"""RFC 6962 Merkle tree head over event hashes."""

import hashlib
from collections.abc import Iterable

EMPTY_ROOT = hashlib.sha256(b"").digest()


class Head:
    """The head of a growing tree: O(log n) memory, one hash per leaf on average.

    Holds the roots of the perfect subtrees that the leaves so far fall into, largest first (RFC 6962, 2.1).
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Append one leaf hash."""
        node, size = leaf, self.size
        while size & 1:
            node = hashlib.sha256(b"\x01" + self._peaks.pop() + node).digest()
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self, after: bytes | None = None) -> bytes:
        """Root over all leaves so far; and over a smaller subtree `after` them, if one is given."""
        peaks = self._peaks if after is None else [*self._peaks, after]
        if not peaks:
            return EMPTY_ROOT
        node = peaks[-1]
        for left in reversed(peaks[:-1]):
            node = hashlib.sha256(b"\x01" + left + node).digest()
        return node


def root(leaves: Iterable[bytes]) -> bytes:
    """Root over leaf hashes in order."""
    head = Head()
    for leaf in leaves:
        head.add(leaf)
    return head.root()
