"""The log's keys: files or a plug-in, Ed25519 and ML-DSA-44, and changes that the old key signs."""

import json
import os
import stat
import subprocess
import sys

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from django.core.management import call_command
from django.db import transaction

from archive import custody
from archive.custody import Actor, keychain
from archive.custody.checkpoint import create_key_file, sign_head
from archive.custody.keychain import KeyChain, chain_of, keys_in_force, new_key, payload, statement
from archive.custody.notes import NotSigned, VerifierKey, WrongSignature, parse_note
from archive.custody.sequence import sequence
from archive.custody.signers import LocalSigner, log_keys, verifier_keys
from archive.errors import BadInput, Conflict, KeyUnavailable, NotAllowed
from archive.models import CustodyEvent

ORIGIN = "archive.example"
OLD, NEW, THIRD = ((LocalSigner(Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32)),) for i in (1, 2, 3))
PQ = LocalSigner(MLDSA44PrivateKey.from_seed_bytes(bytes(32)))


def keys(signers):
    return verifier_keys(signers, ORIGIN)


def change(old, new):
    return payload(ORIGIN, old, keys(new))


# --- the chain --------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_signed_by_the_key_in_force_at_its_size():
    chain = chain_of([(10, change(OLD, (*NEW, PQ))), (20, change((*NEW, PQ), THIRD))])
    assert not chain.faults
    sizes = {0: keys(OLD), 10: keys(OLD), 11: keys((*NEW, PQ)), 20: keys((*NEW, PQ)), 21: keys(THIRD)}
    assert {size: chain.at(size) for size in sizes} == sizes
    assert chain.newest == keys(THIRD)


def test_a_reader_starts_with_the_key_that_they_trust():
    said = [(10, change(OLD, NEW))]
    for trusted in (OLD, NEW):
        assert not chain_of(said, trusted=keys(trusted)).faults
    ((place, sentence),) = chain_of(said, trusted=keys(THIRD)).faults
    assert place == -1 and "trust" in sentence
    assert chain_of([], trusted=keys(THIRD)) == KeyChain(keys(THIRD))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p | {"new": [str(k) for k in keys(THIRD)]},
        lambda p: p | {"origin": "other.example"},
        lambda p: p | {"signatures": []},
        lambda p: p | {"signatures": ["AAAA"]},
        lambda p: p | {"new": []},
        lambda p: p | {"new": ["nonsense"]},
        lambda p: p | {"old": 5},
        lambda p: {},
        lambda p: change(THIRD, NEW),
    ],
    ids="new origin unsigned signature none nonsense type empty stranger".split(),
)
def test_a_change_that_the_old_key_did_not_sign_is_a_fault_and_is_not_followed(spoil):
    first = (5, change(THIRD, OLD))
    chain = chain_of([first, (10, spoil(change(OLD, NEW)))])
    assert [place for place, _ in chain.faults] == [10]
    assert chain.at(50) == keys(OLD)


def test_both_old_keys_must_sign():
    both = (OLD[0], PQ)
    said = change(both, NEW)
    said["signatures"][1] = said["signatures"][0]
    assert chain_of([(1, said)]).faults
    assert not chain_of([(1, change(both, NEW))]).faults


def test_what_old_keys_sign_can_be_no_checkpoint():
    text = statement(ORIGIN, keys(OLD), keys(NEW))
    assert text.splitlines()[:2] == [b"amparo-signing-key-change/1", ORIGIN.encode()]
    with pytest.raises(BadInput):
        parse_note(text.decode() + "\n" + keys(OLD)[0].line(OLD[0].sign(text)))


# --- changing it ------------------------------------------------------------------------------------------------


@pytest.fixture
def log(db, instance):
    """An instance of its own, with some events."""
    with transaction.atomic():
        custody.record("item:a", event="item.hashed", actor=Actor.system("test"), payload={"n": "1"})
    sequence()
    return instance


def note(size):
    from django.conf import settings

    return parse_note(sign_head(settings.NAME_IN_LOG, size, b"r" * 32))


def test_a_new_instance_signs_with_both_algorithms(log, settings):
    assert [key.type for key in log_keys()] == [1, 6]
    for path in (settings.SIGNING_KEY_FILE, settings.SIGNING_ML_DSA_KEY_FILE):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for key in log_keys():
        key.verify(note(1))


def test_the_key_is_changed_by_command_and_the_old_one_signs_for_it(log, settings, capsys):
    old = log_keys()
    call_command("custody", "new-key", "--reason", "yearly")
    assert capsys.readouterr().out.split() == [str(key) for key in log_keys()]
    new = log_keys()
    assert not set(old) & set(new)
    event = CustodyEvent.objects.get(type=keychain.EVENT)
    said = json.loads(bytes(event.canonical))["payload"]
    assert said["old"] == [str(key) for key in old] and said["new"] == [str(key) for key in new]
    position = event.position.position
    chain = keys_in_force([old[0]])
    assert (chain.at(position), chain.at(position + 1), chain.faults) == (old, new, ())
    for key in new:
        key.verify(note(position + 1))
    with pytest.raises(NotSigned):
        old[0].verify(note(position + 1))
    with pytest.raises(KeyUnavailable):  # the new key does not sign for a time before it
        note(position)
    kept = settings.SIGNING_KEY_FILE.with_name(f"signing.key.{old[0].id.hex()}")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert new_key(actor=Actor.operator()).old == new  # and again


def test_a_key_that_was_put_there_without_an_event_signs_nothing(log, settings):
    new_key(actor=Actor.operator())
    settings.SIGNING_KEY_FILE.unlink()
    create_key_file(settings.SIGNING_KEY_FILE)
    with pytest.raises(KeyUnavailable, match="The log says"):
        note(5)
    with pytest.raises(KeyUnavailable, match="cannot sign for a new one"):
        new_key(actor=Actor.operator())


def test_a_chain_that_the_databases_owner_made_up_is_not_this_machines(log):
    """Somebody without the key writes a change of their own, from keys of theirs to keys of theirs."""
    from django.conf import settings

    made_up = payload(settings.NAME_IN_LOG, OLD, verifier_keys(NEW, settings.NAME_IN_LOG))
    with transaction.atomic():
        custody.record("system:main", event=keychain.EVENT, actor=Actor.operator(), payload=made_up)
    sequence()
    ((place, _),) = keys_in_force().faults
    assert place == -1
    with pytest.raises(KeyUnavailable):
        note(2)


def test_no_worker_changes_the_key(log):
    before = log_keys()
    with pytest.raises(NotAllowed):
        new_key(actor=Actor.system())
    with custody.unattended(), pytest.raises(NotAllowed):
        new_key(actor=Actor.operator())
    assert log_keys() == before


@pytest.mark.parametrize("moment", ["record", "_settle", "replace"])
def test_cut_off_at_any_moment_one_key_is_in_force_and_there(log, settings, monkeypatch, moment):
    """Killed before the event: the old one. After it, before or between the files' change: the new one."""

    class Cut(BaseException):
        pass

    old, calls = log_keys(), []

    def cut(*_, **__):
        raise Cut

    if moment == "replace":
        replace = os.replace
        monkeypatch.setattr(os, "replace", lambda *a: cut() if calls else calls.append(replace(*a)))
    elif moment == "_settle":
        settle = keychain._settle
        monkeypatch.setattr(keychain, moment, lambda *a: cut() if calls else calls.append(settle(*a)))
    else:
        monkeypatch.setattr(keychain, moment, cut)
    with pytest.raises(Cut):
        new_key(actor=Actor.operator())
    monkeypatch.undo()
    sequence()
    size = CustodyEvent.objects.count()
    changed = CustodyEvent.objects.filter(type=keychain.EVENT).exists()
    assert changed is (moment != "record")
    in_force = keys_in_force().newest if changed else old
    for key in in_force:
        key.verify(note(size))  # finishes what was cut off
    assert log_keys() == in_force
    assert new_key(actor=Actor.operator()).old == in_force
    assert not list(settings.SIGNING_KEY_FILE.parent.glob("*.next"))


def test_two_changes_at_once_are_refused(log):
    with keychain._locked(), pytest.raises(Conflict):
        new_key(actor=Actor.operator())


# --- plug-ins ---------------------------------------------------------------------------------------------------


class Device:
    """As a PKCS #11 token would be asked: the key stays inside."""

    algorithm = "ed25519"

    def public_key(self):
        return THIRD[0].public_key()

    def sign(self, message):
        return THIRD[0].sign(message)


def device():
    """A plug-in's factory."""
    return Device()


def both_devices():
    """Ed25519 and ML-DSA-44."""
    return [Device(), PQ]


def wrong_device():
    """In the wrong order."""
    return [PQ, Device()]


def short_device():
    """A key of a wrong length."""
    short = Device()
    short.public_key = lambda: b"short"
    return short


HERE = f"{__name__}."


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())


def _this_module():
    import types

    module = types.ModuleType(__name__)
    module.__dict__.update(globals())
    return module


def test_a_log_moves_to_a_device_and_its_key_need_not_be_on_the_machine(log, settings):
    old = log_keys()
    change = new_key(actor=Actor.operator(), plugin=f"{HERE}both_devices")
    with pytest.raises(KeyUnavailable, match="The log says"):
        note(change.position + 1)  # until the setting names it
    settings.SIGNING_KMS = f"{HERE}both_devices"
    settings.SIGNING_KEY_FILE.unlink()
    for key in change.new:
        key.verify(note(change.position + 1))
    assert keys_in_force([old[0]]).newest == log_keys()


@pytest.mark.parametrize("name", ["wrong_device", "short_device", "absent"])
def test_a_plug_in_that_cannot_be_used_says_why(settings, name):
    settings.SIGNING_KMS = HERE + name
    with pytest.raises(KeyUnavailable, match="SIGNING_KMS"):
        log_keys()


# --- verifier keys and lines --------------------------------------------------------------------------------------

EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_LINE = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="


def test_the_specifications_example_verifies():
    import base64

    key = VerifierKey.parse(EXAMPLE_KEY)
    assert str(key) == EXAMPLE_KEY
    blob = base64.b64decode(EXAMPLE_LINE)
    assert blob[:4] == key.id
    key.verify_raw(blob[4:], b"This is an example message.\n")
    with pytest.raises(InvalidSignature):
        key.verify_raw(blob[4:], b"This is another message.\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+530d903a",
        EXAMPLE_KEY.replace("530d903a", "530D903A"),
        EXAMPLE_KEY.replace("foo", "fo o"),
        EXAMPLE_KEY.replace("foo", "bar"),
        EXAMPLE_KEY[:-4],
        EXAMPLE_KEY.replace("+Aek", "+B+k"),
        EXAMPLE_KEY + "\n",
    ],
)
def test_a_key_that_is_not_in_the_form_is_refused(text):
    with pytest.raises(BadInput):
        VerifierKey.parse(text)


def lines(count):
    text = f"{ORIGIN}\n3\n{'cnJy' * 10}cnI=\n"
    strangers = "".join(VerifierKey(f"w{i}", 6, bytes(1312)).line(bytes(2428)) for i in range(count))
    mine = keys(OLD)[0].line(OLD[0].sign(text.encode()))
    return text + "\n" + strangers + mine


def test_unknown_signatures_are_passed_over_whatever_they_are():
    keys(OLD)[0].verify(parse_note(lines(100)))


def test_a_note_without_end_is_refused():
    with pytest.raises(BadInput):
        parse_note(lines(256))
    with pytest.raises(BadInput):
        parse_note(lines(1) + lines(1).split("\n\n")[1] * 500)


def test_every_line_in_a_keys_name_must_hold():
    wrong = lines(0) + keys(OLD)[0].line(bytes(64))
    with pytest.raises(WrongSignature):
        keys(OLD)[0].verify(parse_note(wrong))
    other_id = VerifierKey(ORIGIN, 1, bytes(32))  # the same name under another id is a stranger
    keys(OLD)[0].verify(parse_note(lines(0) + other_id.line(bytes(64))))


@pytest.mark.parametrize("name", ["", "two words", "a+b", "x" * 181, "n\u00a0bsp"])
def test_a_log_name_that_cannot_be_signed_under_stops_the_start(settings, name):
    from config.checks import log_name_can_be_signed

    assert not log_name_can_be_signed(None)
    settings.NAME_IN_LOG = name
    assert [fault.id for fault in log_name_can_be_signed(None)] == ["amparo.E013"]


def test_openssl_reads_the_key_files(log, settings):
    said = subprocess.run(
        ["openssl", "pkey", "-in", settings.SIGNING_KEY_FILE, "-noout", "-text"], capture_output=True
    )
    assert b"ED25519" in said.stdout
