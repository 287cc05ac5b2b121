"""The signer keeps what it signed last, and signs nothing that does not continue it."""

import json

import pytest
from django.core.management import CommandError, call_command

from archive.custody import Actor, last_signed
from archive.custody.log import record
from archive.custody.notes import parse_note
from archive.custody.publish import publish
from archive.custody.verify import verify
from archive.custody.verify.heads import KEPT
from archive.errors import BadInput, Conflict, Damaged, KeyUnavailable, NotAllowed
from archive.models import Checkpoint, CustodyEvent
from tests.superuser import superuser

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("test")


@pytest.fixture
def signed(instance):
    for number in range(3):
        record("item:one", event="item.fixity_checked", actor=SYSTEM, payload={"n": number})
    return publish(actor=SYSTEM)


def cut_off() -> None:
    """The database as it was before anything was signed."""
    with superuser(replica=True) as hand:
        for pk in CustodyEvent.objects.exclude(subject="item:one").values_list("pk", flat=True):
            hand.delete_event(pk)
        hand.rebuild_all()


def test_each_checkpoint_is_kept_for_its_owner_alone(signed, settings):
    assert last_signed.read() == signed.note
    assert settings.LAST_CHECKPOINT_FILE.stat().st_mode & 0o077 == 0
    record("item:one", event="item.fixity_checked", actor=SYSTEM, payload={"n": 4})
    newer = publish(actor=SYSTEM)
    assert last_signed.read() == newer.note != signed.note
    assert verify().answer == "good"


def test_what_somebody_else_puts_into_the_database_is_not_kept(signed):
    """A row that looks like another publisher's newer checkpoint."""
    with superuser() as hand:
        hand.sql("UPDATE archive_checkpoint SET size = 99, note = 'nonsense' WHERE id = %s", signed.pk)
    record("item:one", event="item.fixity_checked", actor=SYSTEM, payload={"n": 4})
    publish(actor=SYSTEM, force=True)
    assert parse_note(last_signed.read()).size == signed.size


def test_verify_names_a_log_that_was_cut_off(signed):
    cut_off()
    report = verify()
    assert {fault.kind for fault in report.faults} == {"truncated tail", "missing checkpoint"}
    assert KEPT in {fault.place for fault in report.faults}


def test_after_a_restore_the_log_goes_on_only_by_somebodys_word(signed, settings, capsys):
    cut_off()
    with pytest.raises(Damaged, match="After a restore"):
        publish(actor=SYSTEM)
    call_command("custody", "accept-restore", "--reason", "the disk of 3 May; back to the backup of 2 May")
    event = CustodyEvent.objects.get(type="system.restore_accepted")
    said = json.loads(bytes(event.canonical))["payload"]
    assert (said["note"], said["size"], said["found"]) == (signed.note, signed.size, 3)
    (aside,) = settings.LAST_CHECKPOINT_FILE.parent.glob("last-checkpoint.until-*")
    assert aside.read_text() == signed.note and aside.name in capsys.readouterr().out
    assert Checkpoint.objects.count() == 0 and publish(actor=SYSTEM).size > 3
    report = verify()
    assert report.answer == "good" and any("older state" in remark for remark in report.remarks)


def test_what_continues_needs_no_word(signed):
    with pytest.raises(Conflict, match="nothing to accept"):
        last_signed.accept_restore(actor=Actor.operator(), reason="just so")
    with pytest.raises(NotAllowed):
        last_signed.accept_restore(actor=SYSTEM, reason="a job's wish")
    with pytest.raises(BadInput, match="--reason"):
        last_signed.accept_restore(actor=Actor.operator(), reason=" ")
    with pytest.raises(CommandError, match="nothing to accept"):
        call_command("custody", "accept-restore", "--reason", "just so")
    assert not CustodyEvent.objects.filter(type="system.restore_accepted").exists()


def test_a_kept_checkpoint_that_cannot_be_read_is_told(signed, settings):
    settings.LAST_CHECKPOINT_FILE.write_text("half a checkp")
    with pytest.raises(KeyUnavailable, match="holds no checkpoint"):
        publish(actor=SYSTEM, force=True)
    assert verify().counts["altered checkpoint"] == 1
    settings.LAST_CHECKPOINT_FILE.unlink()
    settings.LAST_CHECKPOINT_FILE.mkdir()
    with pytest.raises(KeyUnavailable, match="cannot be read"):
        publish(actor=SYSTEM, force=True)
    report = verify()
    assert report.answer == "could not check" and "cannot be read" in report.unchecked[0]
