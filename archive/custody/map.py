"""The verifiable map: for each subject how many events its chain has, and the hash of the last.

A compressed sparse Merkle tree over 256-bit keys (Gao, Hu and Wu, "Jellyfish Merkle Tree", 2021), its nodes kept in
pages of 16 branches that never change, so that proofs can be made for every version. docs/custody-log.md has the
bytes; map_key.py says what the keys are, and why a proof tells nothing about names that it was not made for.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from archive.custody.log import recording
from archive.custody.map_key import key_of, statement
from archive.errors import BadProof
from archive.models import MapEntry, MapHead, MapPage

EMPTY = bytes(32)
BRANCHES = 16
CHUNK = 500


# --- hashes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry of the map."""

    key: bytes
    number: int
    tip: bytes

    def hash(self) -> bytes:
        """SHA-256(0x02 || key || number, 8 bytes big-endian || tip)."""
        return hashlib.sha256(b"\x02" + self.key + self.number.to_bytes(8, "big") + self.tip).digest()


@dataclass(frozen=True, slots=True)
class Below:
    """A branch that holds two or more entries: the page that has them, and their hash."""

    page: int
    digest: bytes


Slot = Leaf | Below | None


def inner(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x03 || left || right)."""
    return hashlib.sha256(b"\x03" + left + right).digest()


def _fold(slots: list[Slot], low: int = 0, high: int = BRANCHES) -> tuple[bytes, Leaf | None]:
    """Hash of a range of branches; and its entry when it holds exactly one."""
    if high - low == 1:
        slot = slots[low]
        if slot is None:
            return EMPTY, None
        return (slot.hash(), slot) if isinstance(slot, Leaf) else (slot.digest, None)
    middle = (low + high) // 2
    left, one = _fold(slots, low, middle)
    right, other = _fold(slots, middle, high)
    if one is not None and right == EMPTY:
        return left, one
    if other is not None and left == EMPTY:
        return right, other
    if left == right == EMPTY:
        return EMPTY, None
    return inner(left, right), None


# --- pages ------------------------------------------------------------------------------------------------------


def _encode(slots: list[Slot]) -> bytes:
    out = []
    for slot in slots:
        if slot is None:
            out.append(b"\x00")
        elif isinstance(slot, Leaf):
            out.append(b"\x01" + slot.key + slot.number.to_bytes(8, "big") + slot.tip)
        else:
            out.append(b"\x02" + slot.page.to_bytes(8, "big") + slot.digest)
    return b"".join(out)


def _decode(content: bytes) -> list[Slot]:
    slots: list[Slot] = []
    at = 0
    while at < len(content):
        kind = content[at]
        if kind == 0:
            slots.append(None)
            at += 1
        elif kind == 1:
            key, number, tip = (
                content[at + 1 : at + 33],
                content[at + 33 : at + 41],
                content[at + 41 : at + 73],
            )
            slots.append(Leaf(key, int.from_bytes(number, "big"), tip))
            at += 73
        else:
            slots.append(Below(int.from_bytes(content[at + 1 : at + 9], "big"), content[at + 9 : at + 41]))
            at += 41
    return slots


def _branch(key: bytes, depth: int) -> int:
    """Which of the 16 branches a key takes in a page `depth` pages below the root."""
    byte = key[depth // 2]
    return byte >> 4 if depth % 2 == 0 else byte & 15


@dataclass
class _Page:
    slots: list[Slot] = field(default_factory=lambda: [None] * BRANCHES)
    under: "dict[int, _Page]" = field(default_factory=dict)


def update(page: int | None, leaves: Iterable[Leaf]) -> tuple[int | None, bytes]:
    """Put entries into the map that starts at a page. Returns the new first page and root. Inside a transaction.

    Pages are read and written level by level, so that the cost is one query a level.
    """
    changed = {leaf.key: leaf for leaf in leaves}
    if not changed:
        return page, root_of(page)
    top = _Page() if page is None else _Page(_decode(bytes(MapPage.objects.get(pk=page).content)))
    levels, front = [[top]], [(top, sorted(changed.values(), key=lambda leaf: leaf.key))]
    while front:
        front = _descend(front, depth=len(levels) - 1)
        levels.append([below for below, _ in front])
    saved: dict[int, int] = {}
    for level in reversed(levels):
        for held in level:
            for branch, below in held.under.items():
                held.slots[branch] = Below(saved[id(below)], _fold(below.slots)[0])
        with recording():
            rows = MapPage.objects.bulk_create(
                [MapPage(content=_encode(held.slots)) for held in level], batch_size=CHUNK
            )
        saved = {id(held): row.pk for held, row in zip(level, rows, strict=True)}
    return saved[id(top)], _fold(top.slots)[0]


def _descend(front: list[tuple[_Page, list[Leaf]]], *, depth: int) -> list[tuple[_Page, list[Leaf]]]:
    """Spread changes over the branches of each page; return the pages below that they reach, with their changes."""
    following: list[tuple[_Page, list[Leaf]]] = []
    stored: list[tuple[int, _Page, int, list[Leaf]]] = []
    for held, changes in front:
        for branch, group in groupby(changes, key=lambda leaf: _branch(leaf.key, depth)):
            slot, new = held.slots[branch], list(group)
            if isinstance(slot, Below):
                stored.append((slot.page, held, branch, new))
                continue
            if slot is not None and all(leaf.key != slot.key for leaf in new):
                new = sorted([*new, slot], key=lambda leaf: leaf.key)
            if len(new) == 1:
                held.slots[branch] = new[0]
            else:
                held.under[branch] = _Page()
                following.append((held.under[branch], new))
    found: dict[int, bytes] = {}
    for at in range(0, len(stored), CHUNK):
        wanted = [page for page, *_ in stored[at : at + CHUNK]]
        found |= dict(MapPage.objects.filter(pk__in=wanted).values_list("pk", "content"))
    for page, held, branch, new in stored:
        held.under[branch] = _Page(_decode(bytes(found[page])))
        following.append((held.under[branch], new))
    return following


def root_of(page: int | None) -> bytes:
    """The root of the map that starts at a page, by the hashes in that page."""
    return EMPTY if page is None else _fold(_decode(bytes(MapPage.objects.get(pk=page).content)))[0]


# --- proofs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MapProof:
    """What the map says of a name: its entry, or (number 0) that there is none.

    `siblings` are the hashes beside the path, from the root downwards. `other` is the entry that stands at the end of
    the path in the place of an absent name's, if any.
    """

    name: str
    key: bytes
    key_proof: bytes
    number: int
    tip: bytes
    siblings: tuple[bytes, ...]
    other: Leaf | None = None


def prove(name: str, head: MapHead, *, pages: dict[int, list[Slot]] | None = None) -> MapProof:
    """What the map was at `head` says of a name. Pass one dict as `pages` to share what was read.

    Raises KeyUnavailable when the name has no entry yet and the map key is not there.
    """
    known = MapEntry.objects.filter(name=name).values_list("key", "key_proof").first()
    key, proof = (bytes.fromhex(known[0]), bytes(known[1])) if known else key_of(name)
    siblings: list[bytes] = []
    pages = {} if pages is None else pages
    page, depth = head.page_id, 0
    while page is not None:
        if page not in pages:
            pages[page] = _decode(bytes(MapPage.objects.values_list("content", flat=True).get(pk=page)))
        slots, low, high = pages[page], 0, BRANCHES
        while True:
            digest, only = _fold(slots, low, high)
            if digest == EMPTY or only is not None:
                return _proof(name, key, proof, siblings, only)
            if high - low == 1:
                break
            middle = (low + high) // 2
            if _branch(key, depth) < middle:
                siblings.append(_fold(slots, middle, high)[0])
                high = middle
            else:
                siblings.append(_fold(slots, low, middle)[0])
                low = middle
        page, depth = slots[low].page, depth + 1  # type: ignore[union-attr] # neither empty nor an entry
    return _proof(name, key, proof, siblings, None)


def _proof(name: str, key: bytes, proof: bytes, siblings: list[bytes], found: Leaf | None) -> MapProof:
    if found is not None and found.key == key:
        return MapProof(name, key, proof, found.number, found.tip, tuple(siblings))
    return MapProof(name, key, proof, 0, EMPTY, tuple(siblings), found)


def verify(root: bytes, proof: MapProof, public_key: bytes) -> None:
    """Check a proof against a root and the map's public key (SubjectPublicKeyInfo, DER). Raises BadProof."""
    try:
        public = load_der_public_key(public_key)
        if not isinstance(public, rsa.RSAPublicKey):
            raise BadProof("the map's key is not an RSA key")
        public.verify(proof.key_proof, statement(proof.name), padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, InvalidSignature) as error:
        raise BadProof(f"the key of {proof.name} in the map is not made with the map's key") from error
    if hashlib.sha256(proof.key_proof).digest() != proof.key:
        raise BadProof("the key is not the hash of its proof")
    leaves = [Leaf(proof.key, proof.number, proof.tip), *([proof.other] if proof.other else [])]
    lengths = {len(part) for leaf in leaves for part in (leaf.key, leaf.tip)} | {
        len(s) for s in proof.siblings
    }
    if lengths != {32} or not all(
        0 <= leaf.number < 2**64 for leaf in leaves
    ):  # or a leaf could be cut otherwise
        raise BadProof("a key, tip or sibling does not have 32 bytes, or a number more than 64 bits")
    if proof.other is not None if proof.number else proof.tip != EMPTY:
        raise BadProof(
            "it says more than the path can prove: a tip of what is absent, or an entry beside what is there"
        )
    depth = len(proof.siblings)
    path = f"{int.from_bytes(proof.key, 'big'):0256b}"
    if depth > 256:
        raise BadProof("the path is too long")
    if proof.number:
        result = Leaf(proof.key, proof.number, proof.tip).hash()
    elif proof.other is None:
        result = EMPTY
    else:
        beside = f"{int.from_bytes(proof.other.key, 'big'):0256b}"
        if proof.other.key == proof.key or beside[:depth] != path[:depth]:
            raise BadProof("the entry at the end of the path does not stand in this name's place")
        result = proof.other.hash()
    for bit, sibling in zip(reversed(path[:depth]), reversed(proof.siblings), strict=True):
        result = inner(sibling, result) if bit == "1" else inner(result, sibling)
    if result != root:
        raise BadProof("the path does not lead to the map's root")


def as_json(proof: MapProof) -> dict:
    """The proof as bundles and the API write it; without `other`, it is docs/bundle.md's completeness line."""
    document = {
        "subject": proof.name,
        "number": proof.number,
        "tip": proof.tip.hex() if proof.number else None,
        "key_proof": base64.b64encode(proof.key_proof).decode(),
        "siblings": [sibling.hex() for sibling in proof.siblings],
    }
    if proof.other is not None:
        document["other"] = {
            "key": proof.other.key.hex(),
            "number": proof.other.number,
            "tip": proof.other.tip.hex(),
        }
    return document
