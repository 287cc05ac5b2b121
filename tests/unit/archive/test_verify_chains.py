"""The quick way to check an event finds what reading it as a whole finds, whatever is done to its bytes."""

from datetime import UTC, datetime

import pytest

from archive.custody import Actor
from archive.custody.canonical import ZERO_HASH, canonical, canonical_document, event_hash
from archive.custody.log import Private, compose
from archive.custody.verify.chains import Checker, plain_texts
from archive.custody.verify.report import Found
from archive.custody.verify.times import Times

MOMENT = datetime(2026, 11, 21, 9, 0, 0, 123456, tzinfo=UTC)
COLUMNS = "2026-11-21 09:00:00.123456"
PAYLOAD = {"sha256": "ab" * 32, "size": 7, "name": Private("a.jpg"), "set": {"x": [1, None, True, "a"]}}


class Quick(Checker):
    """Counts the events that are read as a whole."""

    whole = 0

    def _read(self, row, digest, text):
        self.whole += 1
        return super()._read(row, digest, text)


class Slow(Checker):
    """Reads every event as a whole."""

    def _learn(self, event, kind):
        pass


def chain(**different):
    """Three events of one subject, the last of them composed otherwise."""
    previous, rows = ZERO_HASH, []
    for number in (1, 2, 3):
        told = {"actor": Actor.system(), "payload": PAYLOAD} | (different if number == 3 else {})
        body, _ = compose("item:x", number, previous, event="item.fixity_checked", moment=MOMENT, **told)
        previous = event_hash(body).hex()
        rows.append((number - 1, number, "item:x", number, "item.fixity_checked", COLUMNS, body, previous))
    return rows


def found(kind, rows, *, warm=True):
    checker = kind(None)
    if warm:
        checker.take(chain()[:2])
        checker.tips.clear()
        checker.firsts.clear()
    hashes = checker.take(rows)
    first = [(row[1], previous) for row, previous in checker.firsts]
    return checker.found.told(), hashes, checker.times, first, checker.noted


def altered(row, body):
    return (*row[:6], body, event_hash(body).hex())


def test_an_event_like_those_before_it_is_not_read_as_a_whole():
    checker = Quick(None)
    checker.take(chain())
    assert (checker.whole, checker.found.faults) == (1, {})


def test_only_what_is_not_plain_is_read_as_a_whole():
    odd = ["é".encode(), b"\\", b"\n", b"x" * 65_536]
    for at, body in enumerate(odd):
        bodies, texts = [b"one", b"", b"three"], ["one", "", "three"]
        bodies.insert(at % 4, body)
        texts.insert(at % 4, "")
        assert plain_texts(bodies) == texts
    rows = chain() + [(3, 4, "item:y", *chain(payload={"name": "é"})[2][3:])]
    checker = Quick(None)
    checker.take(chain())
    checker.tips.clear()
    checker.whole = 0
    checker.take(rows)
    assert checker.whole == 1


@pytest.mark.parametrize(
    ("value", "other", "fits"),
    [
        ("", {"commitment": "ab"}, True),
        ({"commitment": "ab"}, "", True),
        ("a", {"commitment": "ab"}, False),
        (1, -(2**53) + 1, False),
        (1, -(10**15) + 1, True),
        (0, 10**15, False),
        (None, True, False),
        (True, 1, False),
        ([1, "a"], [2, "b"], True),
        ([1], [1, 1], False),
        ({"a": 1}, {"b": 1}, False),
        ({}, [], False),
    ],
)
def test_an_event_of_the_shape_of_another_is_not_read_as_a_whole(value, other, fits):
    checker = Quick(None)
    checker.take(chain(payload={"it": value})[2:])
    checker.tips.clear()
    checker.take(chain(payload={"it": other})[2:])
    assert (checker.whole, checker.found.faults) == (1 if fits else 2, {})


@pytest.mark.parametrize("payload", [{"commitment": "a"}, {"set": {"commitment": "a"}}])
def test_what_must_be_an_object_is_named_where_it_is_a_text(payload):
    checker = Quick(None)
    checker.take(chain(payload=payload)[2:])
    checker.tips.clear()
    text = canonical(payload)
    for other in (b'"a"', b'{"set":"a"}'):
        row = chain(payload=payload)[2]
        checker.take([altered(row, row[6].replace(text, other))])
        checker.tips.clear()
    assert (checker.whole, checker.found.told()["faults"]["altered event"][2]) == (3, 2)


def test_an_event_of_great_depth_is_read_as_a_whole():
    _, before, last = chain()
    row = altered(last, last[6].replace(b'"size":7', b'"size":' + b"[" * 600 + b"]" * 600))
    checker = Quick(None)
    for _ in range(2):
        checker.take([row])
        checker.tips.clear()
    assert [previous for _, previous in checker.firsts] == [before[7]] * 2
    assert (checker.whole, checker.kept, checker.found.faults) == (2, 0, {})


def test_a_clock_that_ran_backwards_is_seen_beyond_the_tolerance_alone():
    found = Found()
    times, row = Times(found, [], 900), (7, 1, "item:x", 1, "item.fixity_checked", COLUMNS, b"", "")
    moments = [
        "2026-11-21T09:00:00.000000Z",
        "",
        "2026-11-21T08:45:00.000000Z",
        "2026-11-21T08:44:59.999999Z",
    ]
    times.take(moments[:1], [row])
    times.take(moments[1:], [row] * 3)
    assert found.faults == {
        "clock ran backwards": [
            "event 1 of item:x (position 7)",
            "it says 2026-11-21T08:44:59.999999Z, and an event before it says 2026-11-21T09:00:00.000000Z",
            1,
        ]
    }


@pytest.mark.parametrize("put", [b"", b'"', b"0", b" ", b"\xc3", b"\\", b"\n", b"-"])
def test_both_ways_find_the_same_in_changed_bytes(put):
    rows = chain()
    body = rows[2][6]
    for at in range(len(body)):
        for end in (at, at + 1):
            changed = [*rows[:2], altered(rows[2], body[:at] + put + body[end:])]
            assert found(Quick, changed) == found(Slow, changed), changed[2][6]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"size":7', b'"size":7.0'),
        (b'"size":7', b'"size":1e3'),
        (b'"size":7', b'"size":9007199254740993'),
        (b'"size":7', b'"size":07'),
        (b'"size":7', b'"size":-0'),
        (b'"size":7', b'"size":99999999999999999'),
        (b'"size":7', b'"size":7,"size":7'),
        (b'"size":7', b'"size":7,"a":1'),
        (b'"size":7', b'"size":7 '),
        (b'"size":7', '"size":"é"'.encode()),
        (b'"size":7', b'"size":"\\u0041"'),
        (b'"size":7', b'"size":"\\/"'),
        (b'"set":{"x":[1,null,true,"a"]}', b'"set":[]'),
        (b'"kind":"system"', b'"kind":"system","kind":"system"'),
        (b'"kind":"system"', b'"kind": "system"'),
        (b'"version":1', b'"version":true'),
        (b'"version":1', b'"version":2'),
        (b'"number":3', b'"number":03'),
        (b'"version":1', b'"version":1,"z":1'),
        (b'"reason":""', b'"reason":"","reason":""'),
        (b'"number":3,"payload":', b'"number":3,"a":1,"payload":'),
        (b'"number":3,', b''),
        (b'"type":"item.fixity_checked"', b'"type":"item.fixity_checke\\u0064"'),
    ],
)  # fmt: skip
def test_both_ways_find_the_same_in_other_spellings(old, new):
    rows = chain()
    changed = [*rows[:2], altered(rows[2], rows[2][6].replace(old, new, 1))]
    assert changed[2] != rows[2]
    assert found(Quick, changed) == found(Slow, changed)
    told, *_ = found(Quick, changed)
    if "é" not in new.decode():
        assert set(told["faults"]) == {"altered event"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (2, 'item:x","subject":"item:x'), (2, "item:y"), (2, "item:\\u0078"), (3, 4), (3, "3"), (3, 2**60), (4, "item.read_back"),
        (4, None), (5, "2026-11-21 09:00:00"), (5, "2026-11-21 09:00:00.123457"), (5, 8), (5, None), (5, "yesterday"),
        (7, "00" * 32), (7, None),
    ],
)  # fmt: skip
def test_both_ways_find_the_same_in_changed_columns(column, value):
    rows = chain()
    changed = [*rows[:2], (*rows[2][:column], value, *rows[2][column + 1 :])]
    assert found(Quick, changed) == found(Slow, changed)
    assert "altered event" in found(Quick, changed)[0]["faults"]


def test_times_as_postgresql_sends_them_are_compared():
    microseconds = (MOMENT - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000
    rows = [(*row[:5], round(microseconds), *row[6:]) for row in chain()]
    checker = Quick(None)
    checker.take(rows)
    assert (checker.whole, checker.found.faults) == (1, {})
    for wrong in (round(microseconds) + 1, -(2**63), 2**63 - 1):
        told, *_ = found(Quick, [*rows[:2], (*rows[2][:5], wrong, *rows[2][6:])], warm=False)
        assert set(told["faults"]) == {"altered event"}


@pytest.mark.parametrize(
    "different",
    [
        {"reason": "because"},
        {"actor": Actor(kind="person", id="1", name="Ana", role="researcher")},
        {"payload": {"name": "é"}},
        {"payload": {}},
    ],
)
def test_a_good_event_of_another_form_is_good_both_ways(different):
    rows = chain(**different)
    assert canonical_document(rows[2][6])
    assert found(Quick, rows)[0]["faults"] == {}
    assert found(Quick, rows) == found(Slow, rows)
