"""Witnesses and timestamp authorities are asked over HTTP for real; what they say is checked before it is kept."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from django.db import transaction

from archive import custody
from archive.custody import Actor, anchors, timestamps
from archive.custody.checkpoint import sign_note, signing_key
from archive.custody.keychain import keys_in_force
from archive.custody.notes import parse_note
from archive.custody.publish import publish
from archive.custody.signers import log_keys
from archive.errors import Conflict
from archive.models import Checkpoint, CustodyEvent
from tests.outside import Authority, RunningWitness
from tests.superuser import superuser
from witness.note import Key
from witness.store import Store

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("tsa"))
    yield made
    made.close()


@pytest.fixture
def stamped(settings, authority):
    authority.spoil = lambda reply: reply
    settings.TIMESTAMP_URLS = (authority.url,)
    settings.TIMESTAMP_CERTIFICATES = authority.certificate
    return authority


@pytest.fixture(scope="module")
def witnesses(tmp_path_factory):
    """Two running witnesses, folder and process each."""
    running = []
    for number in (1, 2):
        folder = tmp_path_factory.mktemp("witness")
        Store.create(folder, f"w{number}.example")
        running.append((folder, RunningWitness(folder)))
    yield running
    for _, process in running:
        process.stop()


@pytest.fixture
def watched(settings, tmp_path, witnesses):
    """This archive's policy: both witnesses, one of them twice (with each of its keys); two of three must cosign."""
    lines = [f"log {key}" for key in log_keys()]
    for number, (folder, process) in enumerate(witnesses, 1):
        store = Store(folder)
        _forget(folder)
        store.add_log(settings.NAME_IN_LOG, tuple(Key.parse(str(key)) for key in log_keys()), replace=True)
        lines.append(f"witness W{number} {store.keys()[0]} {process.url}/")
    lines.append(f"witness W1-PQ {Store(witnesses[0][0]).keys()[1]} {witnesses[0][1].url}")
    lines += ["group both 3 W1 W2 W1-PQ", "# greatest-age 3600", "quorum both", ""]
    settings.POLICY_FILE = tmp_path / "policy"
    settings.POLICY_FILE.write_text("\n".join(lines))
    return witnesses


def _forget(folder):
    import sqlite3

    with sqlite3.connect(folder / "witness.sqlite") as database:
        database.execute("DELETE FROM log")


def happen(times: int = 1) -> None:
    with transaction.atomic():
        for _ in range(times):
            custody.record("item:a", event="item.hashed", actor=Actor.system("test"), payload={"n": "1"})


def published(times: int = 1) -> Checkpoint:
    happen(times)
    return publish(actor=Actor.operator(), force=True)


def errors():
    return {party.name: party.error for party in anchors.status() if party.error}


def told(kind):
    event = CustodyEvent.objects.filter(type=kind).latest("pk")
    return json.loads(bytes(event.canonical))["payload"]


# --- witnesses ----------------------------------------------------------------------------------------------------


def test_each_checkpoint_is_cosigned_and_the_policy_is_satisfied(watched):
    assert anchors.witnessed_size() == 0
    rows = [published(3), published(5)]
    for row in rows:
        verdict = anchors.judge(row)
        assert verdict.satisfied and len(verdict.cosigned) == 3 and len(verdict.signed_by) == 2
        anchors.require_witnessed(row)
    assert anchors.witnessed_size() == rows[1].size and not errors()
    assert [party.size for party in anchors.status()] == [rows[1].size] * 3
    payload = told("system.checkpoint_witnessed")
    assert payload["size"] == rows[1].size and len(payload["witnesses"]) == 3
    anchors.collect(rows[1])  # nobody is asked twice
    assert rows[1].cosignatures.count() == 3


def test_a_witness_that_knows_another_size_is_asked_from_there(watched):
    row = published(3)
    with superuser():
        row.cosignatures.all()._raw_delete("default")  # its answer was lost on the way
    anchors.collect(row)
    assert row.cosignatures.count() == 3
    with superuser():
        row.cosignatures.all()._raw_delete("default")
    assert anchors.judge(published(2)).satisfied


def test_one_that_does_not_answer_loses_nothing_and_is_named(watched, settings):
    text = settings.POLICY_FILE.read_text()
    settings.POLICY_FILE.write_text(text.replace(watched[1][1].url, "http://127.0.0.1:9"))
    row = published(3)
    assert row.cosignatures.count() == 2 and set(errors()) == {"W2"} and "No answer" in errors()["W2"]
    assert anchors.witnessed_size() == 0
    with pytest.raises(Conflict, match="W2: missing"):
        anchors.require_witnessed(row)
    settings.POLICY_FILE.write_text(text)
    anchors.collect(row)
    assert anchors.witnessed_size() == row.size and not errors()


def test_a_log_that_was_rolled_back_or_rewritten_is_told_so(watched, settings):
    row = published(9)
    with superuser():
        row.cosignatures.all()._raw_delete("default")
    older = Checkpoint(pk=row.pk, size=row.size - 2, root="", note="", signed_at=row.signed_at)
    note = sign_note(settings.NAME_IN_LOG, older.size, b"r" * 32, signing_key())
    older.note = note
    anchors.collect(older)
    assert "an older state of the log" in errors()["W1"]
    other = Checkpoint(pk=row.pk, size=row.size, root="", signed_at=row.signed_at)
    other.note = sign_note(settings.NAME_IN_LOG, row.size, b"r" * 32, signing_key())
    anchors.collect(other)
    assert "was changed" in errors()["W2"] and "409" in errors()["W2"]
    assert not row.cosignatures.exists()


def test_a_witness_that_does_not_know_the_log_says_what_to_do(watched):
    _forget(watched[0][0])
    published()
    assert "operator has to add it" in errors()["W1"] and "W2" not in errors()


def test_another_keys_signature_is_not_kept(watched, settings):
    text = settings.POLICY_FILE.read_text()
    one, two = (process.url for _, process in watched)
    settings.POLICY_FILE.write_text(text.replace(two, "<two>").replace(one, two).replace("<two>", one))
    row = published()
    assert not row.cosignatures.exists() and "has not signed" in errors()["W1"]


def test_an_answer_that_is_more_than_lines_is_not_kept(watched, monkeypatch):
    honest = anchors.post

    def more(url, *rest):
        status, kind, body = honest(url, *rest)
        return status, kind, b"another line\n\n" + body

    monkeypatch.setattr(anchors, "post", more)
    row = published()
    assert not row.cosignatures.exists() and "not signature lines" in errors()["W1"]


def test_an_old_cosignature_is_not_enough_for_something_new(watched):
    row = published()
    with pytest.raises(Conflict, match="too old"):
        anchors.require_witnessed(row, datetime.now(UTC) + timedelta(hours=2))
    assert anchors.witnessed_size() == row.size  # once witnessed, always


def test_while_nothing_happens_the_word_of_witnesses_is_renewed_in_time(watched, settings, monkeypatch):
    operator, text = Actor.operator(), settings.POLICY_FILE.read_text()
    settings.POLICY_FILE.write_text(text.replace(watched[1][1].url, "http://127.0.0.1:9"))
    row = published()
    settings.POLICY_FILE.write_text(text)
    assert publish(actor=operator) == row and anchors.judge(row).satisfied  # who was away is asked again
    assert publish(actor=operator) == row and not errors()
    later = SimpleNamespace(now=lambda: datetime.now(UTC) + timedelta(hours=2))
    monkeypatch.setattr(anchors, "timezone", later)
    assert publish(actor=operator).size > row.size


def test_a_wrong_policy_file_stops_nothing_but_is_named(watched, settings):
    settings.POLICY_FILE.write_text("quorum nobody\n")
    row = published()
    assert row.pk and "Line 1" in errors()["policy"] and anchors.witnessed_size() == 0


# --- timestamps ---------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_timestamped_and_openssl_agrees(stamped, tmp_path):
    row = published()
    (stamp,) = row.timestamps.all()
    assert abs(stamp.stated_at - datetime.now(UTC)) < timedelta(minutes=1) and not errors()
    payload = told("system.checkpoint_timestamped")
    assert payload["timestamps"][0]["verified"] is True
    assert timestamps.verify(bytes(stamp.response), row.note, [stamped.ca]) == stamp.stated_at
    (tmp_path / "checkpoint.txt").write_text(row.note)
    (tmp_path / "a.tsr").write_bytes(bytes(stamp.response))
    command = ["openssl", "ts", "-verify", "-data", tmp_path / "checkpoint.txt", "-in", tmp_path / "a.tsr"]
    said = subprocess.run([*command, "-CAfile", stamped.certificate], capture_output=True, text=True)
    assert said.returncode == 0 and "OK" in said.stdout


def test_without_certificates_a_timestamp_is_kept_as_unverified(stamped, settings):
    settings.TIMESTAMP_CERTIFICATES = None
    assert published().timestamps.count() == 1
    assert told("system.checkpoint_timestamped")["timestamps"][0]["verified"] is False


def test_of_two_authorities_one_may_fail(stamped, settings):
    settings.TIMESTAMP_URLS = (stamped.url, "http://127.0.0.1:9/")
    assert published().timestamps.count() == 1
    assert set(errors()) == {"http://127.0.0.1:9/"}


def test_a_timestamp_that_does_not_hold_is_named_and_not_kept(stamped, tmp_path):
    note = sign_note("archive.example", 1, b"r" * 32, signing_key())
    asked = timestamps.request(note)
    reply = stamped.reply(asked.as_bytes())
    assert timestamps.verify(reply, note, [stamped.ca], nonce=asked.nonce)
    other = Authority(tmp_path / "other")
    other.close()
    broken = bytearray(reply)
    broken[-5] ^= 1
    for code, response, text, roots, nonce in [
        ("form", b"hello", note, [stamped.ca], None),
        ("form", reply[:-20], note, [stamped.ca], None),
        ("form", bytes(70_000), note, [stamped.ca], None),
        ("refused", stamped.reply(b"no query"), note, [stamped.ca], None),
        ("other-file", reply, note + " ", [stamped.ca], None),
        ("nonce", reply, note, [stamped.ca], asked.nonce + 1),
        ("untrusted", bytes(broken), note, [stamped.ca], None),
        ("untrusted", reply, note, [other.ca], None),
        ("untrusted", reply, note, [], None),
    ]:
        with pytest.raises(timestamps.BadTimestamp) as refused:
            timestamps.verify(response, text, roots, nonce=nonce)
        assert refused.value.code == code, refused.value.sentence
    replies = []
    stamped.spoil = lambda reply: replies.append(reply) or replies[0]  # an old answer, replayed
    row = published()
    assert row.timestamps.count() == 1
    row = published()
    assert not row.timestamps.exists() and "another file" in errors()[stamped.url]


def test_certificates_are_read_from_one_file(stamped, tmp_path):
    assert timestamps.read_certificates(stamped.certificate) == [stamped.ca]
    assert isinstance(stamped.ca, x509.Certificate)
    with pytest.raises(timestamps.BadInput):
        timestamps.read_certificates(tmp_path / "absent")


# --- the log's own lines ------------------------------------------------------------------------------------------


def test_a_checkpoint_bears_all_keys_in_force():
    row = published()
    for key in keys_in_force().at(row.size):
        key.verify(parse_note(row.note))
    assert [key.type for key in log_keys()] == [1, 6]
