"""The head of the tree is RFC 6962's."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.custody.canonical import event_hash
from archive.custody.tree import EMPTY_ROOT, Head, root

TREES = json.loads((Path(__file__).parents[2] / "vectors" / "merkle" / "trees.json").read_text())
LEAVES = [bytes.fromhex(leaf) for leaf in TREES["leaves"]]


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    both = by_definition(leaves[:split]) + by_definition(leaves[split:])
    return hashlib.sha256(b"\x01" + both).digest()


def test_leaf_hashes_are_the_published_ones():
    assert [event_hash(leaf).hex() for leaf in LEAVES] == TREES["leaf_hashes"]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size):
    assert root(event_hash(leaf) for leaf in LEAVES[:size]).hex() == TREES["roots"][size]


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=130))
def test_roots_follow_the_definition(leaves):
    assert root(leaves) == by_definition(leaves)


def test_a_growing_head_states_every_root_on_its_way():
    head = Head()
    assert head.root() == EMPTY_ROOT
    for size, leaf in enumerate(LEAVES, 1):
        head.add(event_hash(leaf))
        assert (head.size, head.root().hex()) == (size, TREES["roots"][size])


def test_order_matters():
    one, two = event_hash(b"1"), event_hash(b"2")
    assert root([one, two]) != root([two, one])
