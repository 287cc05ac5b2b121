"""The tree in tiles is RFC 6962's, at every size; its proofs are RFC 9162's."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive.custody import proofs, tiles
from archive.custody.canonical import event_hash
from archive.custody.tree import root as plain_root
from archive.errors import BadInput, BadProof, Damaged
from archive.models import CustodyTile
from tests.superuser import superuser

LEAVES = [event_hash(b"event %d" % i) for i in range(70_000)]
EDGES = (1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 700)


@pytest.fixture
def grown(db):
    """A tree of 700 leaves that grew in uneven steps."""
    at = 0
    for step in (1, 1, 5, 248, 1, 1, 300, 143):
        tiles.append(LEAVES[at : at + step], at)
        at += step
    return at


def test_roots_at_every_edge_are_those_of_the_definition(grown):
    assert grown == tiles.size() == 700
    assert [tiles.root(size) for size in EDGES] == [plain_root(LEAVES[:size]) for size in EDGES]
    assert tiles.root(0) == hashlib.sha256(b"").digest()


def test_one_tile_a_256_leaves_and_only_full_ones_are_hashed_upwards(grown):
    widths = {(t.level, t.index): len(t.hashes) // 32 for t in CustodyTile.objects.all()}
    assert widths == {(0, 0): 256, (0, 1): 256, (0, 2): 188, (1, 0): 2}


def test_a_tree_of_70_000_has_the_tiles_that_the_specification_counts(db):
    tiles.append(LEAVES, 0)
    found = list(CustodyTile.objects.values_list("level", "index", "hashes"))
    by_level = {level: sorted(len(h) // 32 for at, _, h in found if at == level) for level in (0, 1, 2)}
    assert by_level == {0: [112] + [256] * 273, 1: [17, 256], 2: [1]}
    assert tiles.root(70_000) == plain_root(LEAVES)


def test_every_inclusion_proof_holds_and_holds_for_nothing_else(grown):
    for size in EDGES:
        root = tiles.root(size)
        shared = tiles.Tiles(size)
        for position in {0, 1, size // 2, size - 1, size - 2} & set(range(size)):
            path = proofs.inclusion(position, size, tiles=shared)
            proofs.verify_inclusion(LEAVES[position], position, size, path, root)
            for wrong in (
                (LEAVES[position + 1], position, size, path, root),
                (LEAVES[position], position, size, path[:-1], root),
                (LEAVES[position], position, size, [*path, root], root),
                (LEAVES[position], size, size, path, root),
                (LEAVES[position], position, size, path, LEAVES[0]),
            ):
                if wrong[3] != path or wrong[:3] != (LEAVES[position], position, size) or wrong[4] != root:
                    with pytest.raises(BadProof):
                        proofs.verify_inclusion(*wrong)


def test_consistency_proofs_hold_between_all_edges(grown):
    for old in (0, *EDGES):
        for new in EDGES:
            if old > new:
                with pytest.raises(BadInput):
                    proofs.consistency(old, new)
                continue
            path, before, after = proofs.consistency(old, new), tiles.root(old), tiles.root(new)
            proofs.verify_consistency(old, new, path, before, after)
            if old:
                with pytest.raises(BadProof):
                    proofs.verify_consistency(old, new, path, LEAVES[0] if old > 1 else LEAVES[1], after)
            if 0 < old < new:
                with pytest.raises(BadProof):
                    proofs.verify_consistency(old, new, path, before, LEAVES[5])
                with pytest.raises(BadProof):
                    proofs.verify_consistency(old, new, path[:-1], before, after)


def test_a_proof_reads_its_tiles_in_one_query(grown, django_assert_num_queries):
    size = max(EDGES)
    for position in (0, size // 2, size - 1):
        with django_assert_num_queries(1):
            proofs.inclusion(position, size)
        with django_assert_num_queries(1):
            proofs.consistency(max(1, position), size)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.data())
def test_proofs_by_definition(size, data):
    """The same paths as the recursive definitions of RFC 6962, 2.1.1 and 2.1.2."""
    held = _InMemory(size)
    position, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    assert proofs.inclusion(position, size, tiles=held) == _path(position, LEAVES[:size])
    proofs.verify_inclusion(
        LEAVES[position], position, size, _path(position, LEAVES[:size]), plain_root(LEAVES[:size])
    )
    proofs.verify_consistency(
        old, size, _sub(old, LEAVES[:size], True), plain_root(LEAVES[:old]), plain_root(LEAVES[:size])
    )


class _InMemory(tiles.Tiles):
    def fetch(self, *positions):
        """Nothing is in the database."""

    def _tile(self, level, index, wanted):
        span = 256**level
        hashes = [
            plain_root(LEAVES[(index * 256 + i) * span : (index * 256 + i + 1) * span]) for i in range(wanted)
        ]
        return b"".join(hashes)


def _path(m, leaves):
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if m < k:
        return [*_path(m, leaves[:k]), plain_root(leaves[k:])]
    return [*_path(m - k, leaves[k:]), plain_root(leaves[:k])]


def _sub(m, leaves, whole):
    if m == len(leaves):
        return [] if whole else [plain_root(leaves)]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if m <= k:
        return [*_sub(m, leaves[:k], whole), plain_root(leaves[k:])]
    return [*_sub(m - k, leaves[k:], False), plain_root(leaves[:k])]


def test_a_consistency_proof_is_the_one_of_the_definition(grown):
    for old, new in ((1, 2), (3, 7), (4, 7), (6, 7), (255, 513), (256, 513), (300, 700)):
        assert proofs.consistency(old, new) == _sub(old, LEAVES[:new], True)


def test_a_missing_tile_is_said_and_signed_by_nobody(grown):
    with superuser() as hand:
        hand.sql("DELETE FROM archive_custodytile WHERE level = 1")
    with pytest.raises(Damaged, match="Tile 0 of level 1"):
        tiles.root(700)


def test_the_tree_does_not_grow_on_a_tile_that_was_cut(grown):
    with superuser() as hand:
        hand.sql("UPDATE archive_custodytile SET hashes = %s WHERE level = 1", LEAVES[0])
    with pytest.raises(Damaged, match="has not the 2 hashes"):
        tiles.append(LEAVES[700:900], 700)


def test_a_tlog_proof_has_the_published_form(grown):
    note = f"amparo.test\n700\n{base64.b64encode(tiles.root(700)).decode()}\n\n— amparo.test AAAAAAAA\n"
    lines = proofs.tlog_proof(698, note).split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 698"]
    split = lines.index("")
    assert [base64.b64decode(line) for line in lines[2:split]] == proofs.inclusion(698, 700)
    assert "\n".join(lines[split + 1 :]) == note
