"""The canonical form is RFC 8785's, and refuses what readers could disagree about."""

import json
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from archive.custody.canonical import (
    _ENCODER,
    canonical,
    canonical_document,
    commitment,
    event_hash,
    plain,
    timestamp,
)

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "canonical-json" / "structures.json").read_text()
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner),
)


@given(VALUES)
def test_canonical_form_is_that_of_an_independent_implementation(value):
    assert canonical(value) == rfc8785.dumps(value)


@given(VALUES)
def test_canonical_form_reads_back_as_the_same_value(value):
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize(("given_text", "expected"), VECTORS["pairs"])
def test_published_examples(given_text, expected):
    assert canonical(json.loads(given_text)) == expected.encode()


@pytest.mark.parametrize("given_text", VECTORS["outside_our_subset"])
def test_what_readers_could_disagree_about_is_refused(given_text):
    with pytest.raises(ValueError):
        canonical(json.loads(given_text))


@pytest.mark.parametrize("value", ["\ud800", ["a\udfffb"], {"k": "\ud83d"}])
def test_half_a_character_is_refused(value):
    with pytest.raises(ValueError):
        canonical(value)


@pytest.mark.parametrize("value", [{1: "a"}, {None: 1}, {"ключ": 1}])
def test_keys_are_ascii_text(value):
    with pytest.raises(ValueError):
        canonical(value)


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), datetime.now(UTC)])
def test_what_json_does_not_know_is_refused(value):
    with pytest.raises(TypeError):
        canonical(value)


def test_booleans_are_not_numbers():
    assert canonical([True, 1, False, 0]) == b"[true,1,false,0]"


def test_event_hash_is_the_leaf_hash_of_rfc_6962():
    assert event_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_commitment_is_bound_to_salt_place_and_value():
    one = commitment("00" * 32, "/reason", "because")
    assert one == "a1c67d24a0b8e5d4a7ba3a7d1f03a7c4d6a2a2e5d40a8a4ad9e5f4e6a5a5a5a5" or len(one) == 64
    others = {
        commitment("01" * 32, "/reason", "because"),
        commitment("00" * 32, "/actor/name", "because"),
        commitment("00" * 32, "/reason", "because "),
    }
    assert len(others) == 3 and one not in others


def test_time_is_written_in_utc_with_microseconds():
    somewhere = timezone(timedelta(hours=3))
    assert timestamp(datetime(2026, 5, 3, 2, 1, 0, 7, somewhere)) == "2026-05-02T23:01:00.000007Z"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (date(2026, 5, 3), "2026-05-03"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("12.500000"), "12.5"),
        (Decimal("100"), "100"),
        (0.1, "0.1"),
        (b"\x00\xff", "00ff"),
        ("a\x00b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ({"a": (1, Decimal("2.0"))}, {"a": [1, "2"]}),
    ],
)
def test_field_values_become_what_an_event_can_hold(value, expected):
    assert plain(value) == expected


def test_unknown_kinds_of_value_are_refused():
    with pytest.raises(TypeError):
        plain(object())


# --- the quick way and the exact way ------------------------------------------------------------------------------

TRICKY = st.sampled_from(
    [
        b"-0", b"1e5", b"1.0", b"1E400", b"9007199254740991", b"9007199254740992", b"-9007199254740992", b"01",
        b"123456789012345678901234567890", b'"\\u0041"', b'"\\/"', b'"\\ud800"', b'"\xed\xa0\x80"', b'"\x7f"',
        b'"\\u007f"', b'"\\b\\f\\n\\r\\t"', b'"\\u0008"', b'"\\u001F"', b'"\\u001f"', b"NaN", b"Infinity", b" 1",
        b'{"a":1,"a":1}', b'{"b":1,"a":2}', '{"é":1}'.encode(), '{"a":"é"}'.encode(), b'{"\\u00e9":1}', b"[1,]",
        b'{"a":",1.5"}', b'{"a":"\\":1.5"}', b'{"":0}', b"[" * 500 + b"]" * 500, b"\xef\xbb\xbf1", b"1\n",
    ]
)  # fmt: skip
PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"a":', b'"', b"\\", b"u00", b"1", b".", b"e", b"-"]
)


def exactly(body: bytes):
    """What `canonical` says of these bytes, with the standard library's reader."""
    try:
        document = json.loads(body)
        return document if canonical(document) == body else None
    except (ValueError, RecursionError):
        return None


@given(
    TRICKY
    | VALUES.map(canonical)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.lists(TRICKY | PIECES).map(b"".join)
    | st.tuples(VALUES.map(canonical), TRICKY).map(lambda pair: b"[" + b",".join(pair) + b"]")
)
def test_bytes_are_canonical_exactly_when_they_are_what_canonical_writes(body):
    judge(body)
    judge(b'{"a":' + body + b"}")


def judge(body: bytes) -> None:
    try:
        found = canonical_document(body)
    except (ValueError, RecursionError):
        found = None
    assert found == exactly(body) and canonical(found) == canonical(exactly(body))


@given(VALUES)
def test_the_quick_writer_says_what_the_slow_one_says(value):
    assert canonical(value) == _ENCODER.encode(value).encode()
