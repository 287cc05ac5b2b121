"""Proofs that a stranger can check: inclusion and consistency (RFC 6962, 2.1.1 and 2.1.2), and tlog-proof files."""

import base64

from archive.custody.tiles import Tiles, node
from archive.custody.tree import EMPTY_ROOT
from archive.errors import BadInput, BadProof


def inclusion(position: int, size: int, *, tiles: Tiles | None = None) -> list[bytes]:
    """The hashes from the leaf's sibling up to the root's child. Pass `tiles` of that size to share what was read.

    Raises BadInput for a position outside of the tree.
    """
    if not 0 <= position < size:
        raise BadInput(f"There is no position {position} in a tree of {size} events.")
    tiles = tiles or Tiles(size)
    tiles.fetch(position)
    path, start, end = [], 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if position < split:
            path.append(tiles.tree_hash(split, end))
            end = split
        else:
            path.append(tiles.tree_hash(start, split))
            start = split
    return path[::-1]


def consistency(old: int, new: int) -> list[bytes]:
    """The hashes that show that the first `old` events of the tree of `new` events are the tree of `old` events.

    Raises BadInput unless 0 <= old <= new.
    """
    if not 0 <= old <= new:
        raise BadInput(f"A tree of {new} events cannot be shown to continue one of {old}.")
    if old in (0, new):
        return []
    tiles, path = Tiles(new), []
    tiles.fetch(old - 1, old)
    start, end, whole = 0, new, True
    while old != end:
        split = start + _split(end - start)
        if old <= split:
            path.append(tiles.tree_hash(split, end))
            end = split
        else:
            path.append(tiles.tree_hash(start, split))
            start, whole = split, False
    if not whole:
        path.append(tiles.tree_hash(start, end))
    return path[::-1]


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def verify_inclusion(leaf: bytes, position: int, size: int, proof: list[bytes], root: bytes) -> None:
    """Check an inclusion proof (RFC 9162, 2.1.3.2). Raises BadProof."""
    if not 0 <= position < size:
        raise BadProof(f"there is no position {position} in a tree of {size} events")
    at, last, result = position, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise BadProof("the proof is too long")
        if at & 1 or at == last:
            result = node(sibling, result)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            result = node(result, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise BadProof("the proof is too short")
    if result != root:
        raise BadProof("the proof does not lead to the root")


def verify_consistency(old: int, new: int, proof: list[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check a consistency proof (RFC 9162, 2.1.4.2). Raises BadProof."""
    if not 0 <= old <= new:
        raise BadProof(f"a tree of {new} events cannot continue one of {old}")
    if old == new or old == 0:
        if proof or (old == new and old_root != new_root) or (old == 0 and old_root != EMPTY_ROOT):
            raise BadProof("the roots do not agree")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise BadProof("the proof is too short")
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise BadProof("the proof is too long")
        if at & 1 or at == last:
            first, second = node(sibling, first), node(sibling, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node(second, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise BadProof("the proof is too short")
    if first != old_root or second != new_root:
        raise BadProof("the proof does not lead to both roots")


def tlog_proof(position: int, note: str, *, tiles: Tiles | None = None) -> str:
    """A c2sp.org/tlog-proof@v1 file for the event at a position, against a checkpoint (with its cosignatures).

    Raises BadInput when the checkpoint does not cover the position, or is none.
    """
    from archive.custody.checkpoint import parse_note

    path = inclusion(position, parse_note(note).size, tiles=tiles)
    lines = [base64.b64encode(value).decode() for value in path]
    return "\n".join(["c2sp.org/tlog-proof@v1", f"index {position}", *lines, "", note])
