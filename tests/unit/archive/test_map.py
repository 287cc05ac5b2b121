"""The verifiable map: one root for a set of entries, however it grew; proofs of what is in it and of what is not."""

import hashlib
import random
from dataclasses import replace

import pytest

from archive.custody import map
from archive.custody.map import EMPTY, Leaf
from archive.custody.map_key import key_of, map_key, public_key_der
from archive.errors import BadProof, KeyUnavailable
from archive.models import CustodyEvent, MapHead, MapPage

pytestmark = pytest.mark.django_db


def leaf(name: str, number: int = 1) -> Leaf:
    return Leaf(
        hashlib.sha256(name.encode()).digest(), number, hashlib.sha256(f"{name} {number}".encode()).digest()
    )


def by_definition(leaves: list[Leaf], depth: int = 0) -> bytes:
    """docs/custody-log.md, "The map", word for word."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        one = leaves[0]
        return hashlib.sha256(b"\x02" + one.key + one.number.to_bytes(8, "big") + one.tip).digest()
    sides: tuple[list[Leaf], list[Leaf]] = ([], [])
    for one in leaves:
        sides[one.key[depth // 8] >> (7 - depth % 8) & 1].append(one)
    return hashlib.sha256(
        b"\x03" + by_definition(sides[0], depth + 1) + by_definition(sides[1], depth + 1)
    ).digest()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 17, 400])
def test_the_root_is_the_one_of_the_definition(count):
    leaves = [leaf(f"item:{i}") for i in range(count)]
    assert map.update(None, leaves)[1] == by_definition(leaves)


def test_however_it_grew_the_root_is_the_same():
    draw = random.Random(7)
    held: dict[bytes, Leaf] = {}
    page = None
    for step in range(12):
        new = [leaf(f"item:{draw.randrange(120)}", step + 1) for _ in range(draw.randrange(1, 40))]
        page, root = map.update(page, new)
        held |= {one.key: one for one in new}
        assert root == by_definition(list(held.values()))


def test_keys_that_agree_in_many_bits_find_their_places():
    base = bytes(31)
    leaves = [Leaf(base + bytes([last]), last + 1, b"\x07" * 32) for last in (0, 1, 2, 255)]
    assert map.update(None, leaves)[1] == by_definition(leaves)


def head_over(names: dict[str, int]) -> MapHead:
    leaves = [Leaf(key_of(name)[0], number, leaf(name, number).tip) for name, number in names.items()]
    page, root = map.update(None, leaves)
    event = CustodyEvent.objects.first()
    return MapHead(size=9, entries=len(leaves), root=root.hex(), page_id=page, event=event)


NAMES = {f"item:{i}": i + 1 for i in range(60)}


@pytest.fixture
def head():
    from archive.custody.log import recording

    with recording():
        return head_over(NAMES)


def test_what_is_in_the_map_can_be_shown(head):
    for name, number in NAMES.items():
        proof = map.prove(name, head)
        assert (proof.number, proof.tip) == (number, leaf(name, number).tip)
        map.verify(bytes.fromhex(head.root), proof, public_key_der())


def test_what_is_not_in_the_map_can_be_shown(head):
    ends = set()
    for i in range(200):
        proof = map.prove(f"file:{i:064x}", head)
        assert proof.number == 0
        ends.add(proof.other is None)
        map.verify(bytes.fromhex(head.root), proof, public_key_der())
    assert ends == {True, False}, "some paths end at nothing, some at another's entry"


def test_a_lie_about_a_name_is_named(head):
    root, public = bytes.fromhex(head.root), public_key_der()
    good, absent = map.prove("item:3", head), map.prove("item:99", head)
    other = map.prove("item:4", head)
    lies = {
        "one event less": replace(good, number=good.number - 1),
        "another tip": replace(good, tip=other.tip),
        "said to be absent": replace(good, number=0, tip=EMPTY),
        "absent beside itself": replace(
            good, number=0, other=Leaf(good.key, good.number, good.tip), tip=EMPTY
        ),
        "absent beside itself, cut otherwise": replace(
            good,
            number=0,
            tip=EMPTY,
            other=Leaf(good.key + bytes(1), good.number << 8 | good.tip[0], good.tip[1:]),
        ),
        "another's proof": replace(good, name="item:4"),
        "another's key": replace(good, key=other.key),
        "a sibling short": replace(good, siblings=good.siblings[:-1]),
        "said to be there": replace(absent, number=1, tip=other.tip),
        "absent, with a tip": replace(absent, tip=other.tip),
        "there, with an entry beside it": replace(good, other=Leaf(other.key, other.number, other.tip)),
        "another's entry": replace(other, name="item:3", key=good.key, key_proof=good.key_proof),
    }
    for what, lie in lies.items():
        with pytest.raises(BadProof):
            map.verify(root, lie, public)
            pytest.fail(what)


def test_an_earlier_version_still_proves_what_it_said():
    page, before = map.update(None, [leaf("a", 1), leaf("b", 1), leaf("c", 1)])
    map.update(page, [leaf("a", 2), leaf("d", 1)])
    assert map.root_of(page) == before
    assert MapPage.objects.count() == 2, "the first version's page was not touched"


def test_a_map_key_that_others_can_read_is_refused(settings, tmp_path):
    settings.MAP_KEY_FILE = tmp_path / "map.key"
    with pytest.raises(KeyUnavailable, match="cannot be read"):
        map_key()
    settings.MAP_KEY_FILE.write_bytes(b"x")
    settings.MAP_KEY_FILE.chmod(0o644)
    with pytest.raises(KeyUnavailable, match="chmod 600"):
        map_key()
    settings.MAP_KEY_FILE.chmod(0o600)
    with pytest.raises(KeyUnavailable, match="not a PEM"):
        map_key()
