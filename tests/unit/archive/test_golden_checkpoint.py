"""What was once signed, cosigned, stamped and handed over must verify for ever: tests/vectors/anchored-checkpoint."""

import json
from datetime import UTC, datetime
from pathlib import Path

from archive.custody import timestamps
from archive.custody.keychain import chain_of
from archive.custody.notes import parse_note
from archive.custody.policy import evaluate, read_policy

FOLDER = Path(__file__).parents[2] / "vectors" / "anchored-checkpoint"
TREES = json.loads((FOLDER.parent / "merkle" / "trees.json").read_text())
NOTE = (FOLDER / "checkpoint.txt").read_text()
COSIGNED = (FOLDER / "cosigned-checkpoint.txt").read_text()
POLICY = read_policy(FOLDER / "policy")
STATED = 1_795_000_000


def judged(seconds):
    return evaluate(POLICY, COSIGNED, datetime.fromtimestamp(STATED + seconds, UTC))


def test_the_checkpoint_is_signed_by_the_keys_that_the_old_key_named():
    chain = chain_of([(3, json.loads((FOLDER / "key-change.json").read_text()))])
    assert not chain.faults and [key.type for key in chain.at(8)] == [1, 6]
    for key in chain.at(8):
        key.verify(parse_note(NOTE))
    assert parse_note(NOTE).root.hex() == TREES["roots"][8]


def test_its_cosignatures_count_as_long_as_the_policy_says():
    verdict = judged(0)
    assert verdict.satisfied and len(verdict.signed_by) == 2
    assert verdict.witnesses == {"ed": "cosigned", "pq": "cosigned", "old": "too old", "none-yet": "missing"}
    assert judged(3600).satisfied and not judged(3602).satisfied
    assert judged(-59).satisfied and judged(-62).witnesses["ed"] == "from the future"


def test_its_timestamp_holds_after_the_certificate_has_ended():
    roots = timestamps.read_certificates(FOLDER / "authority-ca.pem")
    moment = timestamps.verify((FOLDER / "authority.tsr").read_bytes(), NOTE, roots)
    assert moment.year == 2026
