"""Checkpoints are C2SP signed notes: what we sign others can verify, and what others signed we can."""

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.core.management import CommandError, call_command

from archive.custody import Actor
from archive.custody.checkpoint import (
    create_key_file,
    key_id,
    parse_note,
    public_bytes,
    sign_note,
    signed_by,
    signing_key,
    verifier_key,
)
from archive.custody.publish import publish
from archive.custody.sequence import sequence
from archive.errors import BadInput, KeyUnavailable
from archive.models import Checkpoint, CustodyEvent
from tests import cast

NOTE = json.loads((Path(__file__).parents[2] / "vectors" / "signed-note" / "peter-neumann.json").read_text())
NAME = "PeterNeumann"
PUBLIC = base64.b64decode(NOTE["verifier_key"].split("+", 2)[2])[1:]
SECRET = Ed25519PrivateKey.from_private_bytes(base64.b64decode(NOTE["signer_key"].split("+", 4)[4])[1:])
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def test_the_reference_implementations_key_is_written_as_it_writes_it():
    assert public_bytes(SECRET) == PUBLIC
    assert key_id(NAME, PUBLIC).hex() == "c74f20a3"
    assert verifier_key(NAME, PUBLIC) == NOTE["verifier_key"]


def test_the_reference_implementations_signature_is_ours_byte_for_byte():
    signature = SECRET.sign(NOTE["text"].encode())
    assert base64.b64encode(key_id(NAME, PUBLIC) + signature).decode() == NOTE["signature"]


def test_a_checkpoint_reads_back_and_its_signature_holds():
    note = sign_note("archive.example", 3, b"r" * 32, KEY)
    parsed = parse_note(note)
    assert (parsed.origin, parsed.size, parsed.root) == ("archive.example", 3, b"r" * 32)
    assert signed_by(parsed, "archive.example", public_bytes(KEY))


def test_another_witness_may_sign_the_same_checkpoint():
    note = sign_note("archive.example", 3, b"r" * 32, KEY)
    cosigned = note + f"\N{EM DASH} {NAME} {NOTE['signature']}\n"
    parsed = parse_note(cosigned)
    assert signed_by(parsed, "archive.example", public_bytes(KEY))
    assert not signed_by(parsed, NAME, PUBLIC)  # it signed another text


@pytest.mark.parametrize(
    "altered",
    [
        lambda note: note.replace("\n3\n", "\n4\n"),
        lambda note: note.replace("archive.example\n3", "another.example\n3"),
        lambda note: note.replace("cnJy", "cnJz", 1),
    ],
    ids=["size", "origin", "root"],
)
def test_an_altered_checkpoint_is_not_signed(altered):
    note = altered(sign_note("archive.example", 3, b"r" * 32, KEY))
    assert not signed_by(parse_note(note), "archive.example", public_bytes(KEY))


def test_another_key_of_the_same_name_has_not_signed():
    parsed = parse_note(sign_note("archive.example", 3, b"r" * 32, KEY))
    assert not signed_by(parsed, "archive.example", PUBLIC)


GOOD = sign_note("archive.example", 3, b"r" * 32, KEY)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "archive.example\n3\n",
        GOOD.rstrip("\n"),
        GOOD.replace("\n3\n", "\n03\n"),
        GOOD.replace("\n3\n", "\n-3\n"),
        GOOD.replace("\n3\n", "\n\u0663\n"),
        GOOD.replace("\N{EM DASH}", "-"),
        GOOD.replace("cnJy", "cn", 1),
        GOOD.split("\n\n")[0] + "\n\n",
        "\n" + GOOD.split("\n", 1)[1],
    ],
    ids="empty unsigned cut zeros negative arabic-digit dash short-root no-signature no-origin".split(),
)
def test_what_is_not_in_the_form_is_refused(note):
    with pytest.raises(BadInput):
        parse_note(note)


def test_a_key_file_is_private_and_made_once(tmp_path):
    path = tmp_path / "signing.key"
    create_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    signing_key(path)
    with pytest.raises(FileExistsError):
        create_key_file(path)


@pytest.mark.parametrize("fault", ["absent", "readable by others", "not a key", "another kind of key"])
def test_a_key_that_cannot_be_used_says_why(tmp_path, fault):
    path = tmp_path / "signing.key"
    if fault != "absent":
        create_key_file(path)
    if fault == "readable by others":
        path.chmod(0o644)
    if fault == "not a key":
        path.write_text("hello")
    if fault == "another kind of key":
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        other = X25519PrivateKey.generate()
        path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyUnavailable) as refused:
        signing_key(path)
    assert str(path) in refused.value.sentence


@pytest.mark.django_db
def test_signing_the_head_is_itself_an_event():
    cast.item()
    waiting = sequence()
    row = publish(actor=Actor.operator())
    assert row.size == waiting + 1, "the map's root is stated before"
    assert signed_by(parse_note(row.note), settings.NAME_IN_LOG, public_bytes(signing_key()))
    last = CustodyEvent.objects.latest("pk")
    assert (last.type, last.subject) == ("system.checkpoint_signed", "system:main")


@pytest.mark.django_db
def test_the_command_prints_the_note_and_keeps_a_copy(tmp_path, capsys):
    cast.case()
    call_command("custody", "checkpoint", "--out", str(tmp_path / "head.txt"))
    printed = capsys.readouterr().out
    assert (tmp_path / "head.txt").read_text() == printed == Checkpoint.objects.get().note


@pytest.mark.django_db
def test_without_a_key_nothing_is_signed(settings, tmp_path):
    settings.SIGNING_KEY_FILE = tmp_path / "absent.key"
    with pytest.raises(CommandError, match="SIGNING_KEY_FILE"):
        call_command("custody", "checkpoint")
    assert not Checkpoint.objects.exists()
