"""Policy files are read to the letter of C2SP tlog-policy, and checkpoints are judged by them."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from archive.custody.checkpoint import public_bytes, sign_note
from archive.custody.notes import (
    COSIGNATURE,
    ED25519,
    ML_DSA_44,
    VerifierKey,
    cosigned_text,
    parse_note,
    subtree_statement,
)
from archive.custody.policy import BadPolicy, Standing, evaluate, parse_policy
from archive.errors import BadInput

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LOG = Ed25519PrivateKey.from_private_bytes(bytes(32))
NOTE = sign_note("archive.example", 5, b"r" * 32, LOG)


def vkey(private, name, kind=COSIGNATURE):
    return VerifierKey(name, kind, private.public_key().public_bytes_raw())


KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i in range(1, 5)]
PQ = MLDSA44PrivateKey.from_seed_bytes(bytes(32))
W = [str(vkey(key, f"w{i}.example")) for i, key in enumerate(KEYS, 1)]
LOG_KEY = str(vkey(LOG, "archive.example", ED25519))
PQ_KEY = vkey(PQ, "pq.example", ML_DSA_44)
NESTED = f"""
# the specification's shape
log {LOG_KEY} https://archive.example/
witness X1 {W[0]}
\twitness X2\t{W[1]} \t https://w2.example/
witness Y1 {W[2]}
witness Y2 {PQ_KEY}
group X any X1 X2
group Y all Y1 Y2
group both 2 X Y
  # greatest-age 3600
quorum both
"""


def cosign(private, name, when, note=NOTE):
    key = vkey(private, name)
    moment = int(when.timestamp())
    signature = private.sign(cosigned_text(parse_note(note).text, moment))
    return key.line(moment.to_bytes(8, "big") + signature)


def cosign_pq(when):
    moment = int(when.timestamp())
    signature = PQ.sign(subtree_statement("pq.example", moment, parse_note(NOTE)))
    return PQ_KEY.line(moment.to_bytes(8, "big") + signature)


def policy(text):
    return parse_policy(text.encode())


def test_a_policy_of_groups_in_groups_is_read():
    read = policy(NESTED)
    assert [str(log.key) for log in read.logs] == [LOG_KEY]
    assert [(w.name, w.url) for w in read.witnesses] == [
        ("X1", ""),
        ("X2", "https://w2.example/"),
        ("Y1", ""),
        ("Y2", ""),
    ]
    assert [(g.name, g.threshold, g.members) for g in read.groups] == [
        ("X", 1, ("X1", "X2")),
        ("Y", 2, ("Y1", "Y2")),
        ("both", 2, ("X", "Y")),
    ]
    assert (read.quorum, read.greatest_age) == ("both", 3600)


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("", 1, "quorum"),
        (f"log {LOG_KEY}\n", 2, "quorum"),
        ("quorum none", 1, "line feed"),
        ("quorum none\nquorum none\n", 2, "second quorum"),
        ("quorum W\n", 1, "not defined"),
        (f"quorum W\nwitness W {W[0]}\n", 1, "not defined"),
        ("quorum none\r\n", 1, "control"),
        ("quorum\x0bnone\n", 1, "control"),
        ("# \x7f\nquorum none\n", 1, "control"),
        ("quorum none extra\n", 1, "2 words"),
        ("Quorum none\n", 1, "Quorum"),
        (f"witness W {W[0]}\nwitness W {W[1]}\n", 2, "defined already"),
        (f"witness W {W[0]}\nwitness V {W[0]}\n", 2, "twice"),
        (f"witness W {W[0]}\nwitness V {vkey(KEYS[0], 'other.example')}\n", 2, "twice"),
        (f"log {LOG_KEY}\nlog {vkey(LOG, 'other.example', ED25519)}\n", 2, "twice"),
        (f"witness none {W[0]}\n", 1, "none"),
        (f"witness W {W[0]}\ngroup none any W\n", 2, "none"),
        (f"witness W {W[0]}\ngroup W any W\n", 2, "defined already"),
        (f"witness W {W[0]}\ngroup G any none\n", 2, "not defined"),
        ("group G any G\n", 1, "not defined"),
        (f"witness W {W[0]}\ngroup G any\n", 2, "2 words"),
        (f"witness W {W[0]}\ngroup G 0 W\n", 2, "1 to 1"),
        (f"witness W {W[0]}\ngroup G 2 W\n", 2, "1 to 1"),
        (f"witness W {W[0]}\ngroup G 01 W\n", 2, "1 to 1"),
        (f"witness W {W[0]}\ngroup G some W\n", 2, "some"),
        (f"witness W {W[0]}\ngroup G any W W\n", 2, "once"),
        (f"witness W {W[0]}\ngroup G any W\ngroup H any W\n", 3, "once"),
        (f"witness W {LOG_KEY}\n", 1, "not for a witness"),
        (f"log {W[0]}\n", 1, "not for a log"),
        (f"witness W {W[0][:-1]}\n", 1, "base64"),
        (f"witness W {W[0].replace('+', '+0', 1)}\n", 1, "id"),
        ("witness W nonsense\n", 1, "name+id+key"),
        ("# greatest-age soon\nquorum none\n", 1, "seconds"),
        ("# greatest-age 0\nquorum none\n", 1, "seconds"),
        ("# greatest-age\nquorum none\n", 1, "seconds"),
        ("# greatest-age 5\n#greatest-age 5\nquorum none\n", 2, "twice"),
    ],
)
def test_a_wrong_line_is_named(text, line, word):
    with pytest.raises(BadPolicy) as refused:
        policy(text)
    assert refused.value.sentence.startswith(f"Line {line} ") and word in refused.value.sentence


def test_names_are_octets():
    octets = "\u212a".encode()  # a Kelvin sign is not a K, and need not be UTF-8 either
    raw = (
        b"witness K " + W[0].encode() + b"\nwitness " + octets + b" " + W[1].encode() + b"\n"
        b"witness \xe2 " + W[2].encode() + b" http://\xff/\ngroup g 2 K " + octets + b" \xe2\nquorum g\n"
    )
    read = parse_policy(raw)
    assert len({w.name for w in read.witnesses}) == 3
    assert all(w.name.encode() for w in read.witnesses)  # can be shown


def test_more_than_the_recommended_number_is_read():
    keys = [Ed25519PrivateKey.from_private_bytes(i.to_bytes(32, "big")) for i in range(1, 65)]
    lines = [f"witness w{i} {vkey(key, f'w{i}')}" for i, key in enumerate(keys)]
    lines += [f"group g{i} any w{i}" for i in range(64)]
    read = policy("\n".join([*lines, "quorum g63", ""]))
    assert len(read.witnesses) == len(read.groups) == 64


def test_a_checkpoint_that_has_what_it_needs_satisfies():
    note = NOTE + cosign(KEYS[1], "w2.example", NOW) + cosign(KEYS[2], "w3.example", NOW) + cosign_pq(NOW)
    verdict = evaluate(policy(NESTED), note, NOW + timedelta(minutes=5))
    assert verdict.satisfied and not verdict.reasons
    assert verdict.cosigned == ("X2", "Y1", "Y2") and verdict.witnesses["X1"] is Standing.MISSING
    assert verdict.times["Y2"] == NOW
    assert verdict.signed_by == (vkey(LOG, "archive.example", ED25519).label,)


def test_each_way_not_to_count_is_named():
    hour = timedelta(hours=1)
    key = vkey(KEYS[0], "w1.example")
    forged = key.line(b"\0" * 7 + b"\1" + b"s" * 64)
    note = (
        NOTE
        + forged
        + cosign(KEYS[1], "w2.example", NOW - 2 * hour)
        + cosign(KEYS[2], "w3.example", NOW + hour)
    )
    verdict = evaluate(policy(NESTED), note, NOW)
    assert not verdict.satisfied
    assert list(verdict.witnesses.values()) == ["wrong", "too old", "from the future", "missing"]
    assert any("both has 0 of the 2" in reason for reason in verdict.reasons)
    assert "Witness X2: too old." in verdict.reasons


def test_a_cosignature_over_another_checkpoint_is_wrong():
    other = sign_note("archive.example", 6, b"q" * 32, LOG)
    note = NOTE + cosign(KEYS[0], "w1.example", NOW, other)
    verdict = evaluate(policy(f"witness W {W[0]}\nquorum W\n"), note, NOW)
    assert verdict.witnesses == {"W": Standing.WRONG} and not verdict.satisfied


def test_an_age_is_not_asked_for_unless_stated():
    note = NOTE + cosign(KEYS[0], "w1.example", datetime(2020, 1, 1, tzinfo=UTC))
    assert evaluate(policy(f"witness W {W[0]}\nquorum W\n"), note, NOW).satisfied


def test_the_log_itself_must_be_one_of_the_policys():
    other = vkey(KEYS[3], "archive.example", ED25519)
    verdict = evaluate(policy(f"log {other}\nquorum none\n"), NOTE, NOW)
    assert not verdict.satisfied and "No log" in verdict.reasons[0]
    assert evaluate(policy(f"log {other}\nlog {LOG_KEY}\nquorum none\n"), NOTE, NOW).satisfied
    assert evaluate(policy("quorum none\n"), NOTE, NOW).satisfied  # the log is known otherwise


def test_a_note_that_is_none_is_refused():
    with pytest.raises(BadInput):
        evaluate(policy("quorum none\n"), "hello", NOW)


def test_public_bytes_agree():
    assert public_bytes(LOG) == VerifierKey.parse(LOG_KEY).public
