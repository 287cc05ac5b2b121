"""Stored files are read back in their time, what is found is told, and what is damaged comes back from the second copy."""

import dataclasses
import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from archive import copies, fixity, jobs, vault
from archive.custody import Actor
from archive.custody.verify import verify
from archive.models import Blob, CustodyEvent, Job, Rendition
from tests import cast

pytestmark = pytest.mark.django_db
OPERATOR, DAY = Actor.operator(), timedelta(days=1)


@pytest.fixture
def home(instance, settings) -> Path:
    """An instance of its own with a second copy in a folder."""
    settings.SECOND_COPY, settings.FIXITY_RATE = str(instance / "second"), 0
    vault.second_copy().prepare()
    return instance


def lying(sha256: str, *, second: bool = False) -> Path:
    held = vault.second_copy().vault if second else vault.default_vault()
    return held.storage.path(held.name_of(sha256))


def damage(sha256: str, *, second: bool = False) -> bytes:
    """As a failing disk does. Returns what lies there then."""
    path = lying(sha256, second=second)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    return bytes(data)


def told(item, kind: str) -> list[dict]:
    rows = CustodyEvent.objects.filter(subject=f"item:{item.pk}", type=kind).order_by("number")
    return [json.loads(bytes(row.canonical))["payload"] for row in rows]


def run(*words: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("vault", *words, stdout=out, stderr=StringIO())
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def everything(**options) -> fixity.Audit:
    return fixity.audit(fixity.oldest_first(timezone.now()), actor=OPERATOR, **options)


def row(item) -> Blob:
    return Blob.objects.get(pk=item.sha256)


# --- what is due ----------------------------------------------------------------------------------------------------


def test_never_checked_comes_first_then_the_oldest_check(home):
    items = [cast.item() for _ in range(4)]
    now = timezone.now()
    for item, days in zip(items[:3], (100, 200, 10), strict=True):
        Blob.objects.filter(pk=item.sha256).update(checked_at=now - days * DAY, fixity="good")
    Blob.objects.update(stored_at=now - 300 * DAY)
    waiting = list(fixity.oldest_first(now - 90 * DAY))
    assert waiting == [items[3].sha256, items[1].sha256, items[0].sha256]
    Blob.objects.filter(pk=items[3].sha256).update(stored_at=now)
    assert items[3].sha256 not in fixity.oldest_first(now - 90 * DAY), "its own job reads it back"
    Blob.objects.filter(pk=items[2].sha256).update(fixity="unread", checked_at=now - 2 * DAY)
    assert items[2].sha256 in fixity.oldest_first(now - 90 * DAY), "what could not be read is asked for again"


def test_what_was_read_back_at_ingest_counts_as_checked(home):
    item = cast.item()
    assert row(item).fixity == "" and fixity.summary().never == 1
    jobs.run_waiting("archive.read_back")
    assert row(item).fixity == "good" and row(item).checked_at is not None
    assert fixity.summary().never == 0 and fixity.summary().oldest == row(item).checked_at


def test_no_more_bytes_are_read_in_a_second_than_allowed():
    moment, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        moment[0] += seconds

    pace = fixity.Pace(1000, clock=lambda: moment[0], sleep=sleep)
    for done in (500, 1000):
        pace("check", done, 1000)
    pace("check", 2000, 2000)
    assert sum(slept) == 3.0
    pace("check", 0, 0)
    assert sum(slept) == 3.0


# --- three answers --------------------------------------------------------------------------------------------------


def test_each_answer_is_told_in_the_chain_and_on_the_row(home):
    case = cast.case()
    good, bad, unread = (cast.item(case) for _ in range(3))
    damage(bad.sha256)
    key = next(lying(unread.sha256).parent.glob(f"{lying(unread.sha256).name}.*.key"))
    record = key.read_text()
    key.write_text(record.replace('"kek":"local-', '"kek":"lost-'))  # a key that the vault was not given
    found = everything()
    assert found.vault == {"good": 1, "bad": 1, "unread": 1} and found.answer == "bad"
    assert [row(item).fixity for item in (good, bad, unread)] == ["good", "bad", "unread"]
    assert told(good, "item.fixity_checked") == [{"answer": "good", "blob": good.sha256}]
    (payload,) = told(bad, "item.fixity_checked")
    assert payload["answer"] == "bad" and "altered" in payload["fault"]
    (payload,) = told(unread, "item.fixity_checked")
    assert payload["answer"] == "unread" and "lost-" in payload["fault"]
    failed = CustodyEvent.objects.filter(type="system.fixity_failed")
    assert failed.count() == 1, "what could not be read has not failed"
    assert not verify().faults


def test_a_vault_that_is_not_mounted_is_could_not_read_and_nothing_is_said_of_its_files(home):
    item = cast.item()
    held = vault.default_vault()
    (home / "vault").rename(home / "away")
    assert fixity.look(held, item.sha256).fixity == "unread"
    with pytest.raises(vault.Unreachable):
        everything()
    assert row(item).fixity == "" and not told(item, "item.fixity_checked")
    status, words = run("audit", "--all")
    assert status == 3 and "COULD NOT READ" in words


def test_a_good_rendition_is_kept_on_its_row_and_a_bad_one_is_told(home):
    item = cast.item()
    jobs.run_waiting("archive.examine")
    thumbnail = item.renditions.filter(kind=Rendition.Kind.THUMBNAIL).get()
    everything()
    assert Blob.objects.get(pk=thumbnail.blob_id).fixity == "good"
    assert [payload["blob"] for payload in told(item, "item.fixity_checked")] == [item.sha256]
    damage(thumbnail.blob_id)
    everything()
    assert thumbnail.blob_id in [payload["blob"] for payload in told(item, "item.fixity_checked")]


def test_the_duty_checks_what_is_due_and_the_audit_command_what_is_asked(home):
    items = [cast.item() for _ in range(3)]
    fixity.audit_due()
    assert not Blob.objects.exclude(fixity="").exists(), "they came in just now"
    Blob.objects.update(stored_at=timezone.now() - DAY)
    fixity.audit_due()
    assert Blob.objects.filter(fixity="good").count() == 3
    assert run("audit")[1].startswith("In the vault: 0 good")
    status, words = run("audit", "--all", "--limit", "2")
    assert status == 0 and "2 good, 0 bad, 0 could not be read" in words and "Answer: good." in words
    Blob.objects.filter(pk=items[0].sha256).update(checked_at=timezone.now() - 8 * DAY)
    assert "1 good" in run("audit", "--older-than", "7")[1]


# --- the second copy ------------------------------------------------------------------------------------------------


def test_a_file_that_comes_in_is_copied_by_a_job_of_the_same_transaction(home, monkeypatch):
    kind = dataclasses.replace(jobs.KINDS["archive.copy"], after="item.stored")
    monkeypatch.setattr(jobs, "KINDS", jobs.KINDS | {"archive.copy": kind})
    item = cast.item()
    assert Job.objects.filter(name="archive.copy", item=item).count() == 1
    jobs.run_waiting("archive.copy")
    assert row(item).copied_at and row(item).copy_fixity == "good"
    assert told(item, "item.copied") == [{"blob": item.sha256, "where": str(home / "second")}]
    assert lying(item.sha256, second=True).read_bytes() == lying(item.sha256).read_bytes()


def test_what_has_no_copy_is_copied_in_rounds_and_an_absent_place_is_said(home):
    item = cast.item()
    summary = fixity.summary(timezone.now() + DAY)
    assert (summary.without_second_copy, summary.without_second_copy_overdue) == (1, 1)
    (home / "second").rename(home / "away")
    ingest_job(item)
    assert row(item).copied_at is None and Job.objects.get(name="archive.copy").state == "done"
    with pytest.raises(vault.Unreachable):
        copies.copy_due()
    (home / "away").rename(home / "second")
    copies.copy_due()
    assert row(item).copied_at and fixity.summary().without_second_copy == 0
    assert run("copy") == (
        0,
        f"0 files copied to {home / 'second'} and read back there, 0 were there already, 0 could not be copied.\n"
        "Answer: good.\n",
    )


def ingest_job(item) -> None:
    with transaction.atomic():
        jobs.enqueue("archive.copy", subject=item)
    jobs.run_waiting("archive.copy")


def test_an_audit_compares_both_sides_and_reports_both(home):
    item = cast.item()
    copies.copy_due()
    damage(item.sha256, second=True)
    found = everything()
    assert found.vault == {"good": 1} and found.copy == {"bad": 1}
    assert row(item).fixity == "good" and row(item).copy_fixity == "bad"
    (payload,) = told(item, "item.fixity_checked")
    assert payload["answer"] == "good" and payload["second_copy"]["answer"] == "bad"
    copies.copy_due()
    assert everything().answer == "good" and row(item).copied_at, "made anew from the good one"


def test_a_second_copy_that_is_away_is_neither_bad_nor_silent(home):
    item = cast.item()
    copies.copy_due()
    (home / "second").rename(home / "away")
    with pytest.raises(vault.Unreachable, match="second copy could not be read"):
        everything()
    assert row(item).fixity == "good" and row(item).copy_fixity == "good", "the vault was checked"
    status, words = run("audit", "--all")
    assert status == 3 and "1 good, 0 bad" in words and "COULD NOT READ" in words
    assert run("copy")[0] == 3, (
        "an empty place is not filled again by mistake: it may be a disk that is not mounted"
    )
    status, words = run("copy", "--new-place")
    assert status == 0 and words.startswith("1 files copied") and everything().copy == {"good": 1}


def test_damaged_bytes_are_not_copied_over_and_are_checked_next(home):
    item = cast.item()
    Blob.objects.update(checked_at=timezone.now(), fixity="good")
    damage(item.sha256)
    status, words = run("copy")
    assert status == 1 and item.sha256 in words
    assert row(item).copied_at is None and row(item).checked_at is None


# --- quarantine and restore -----------------------------------------------------------------------------------------


def test_a_damaged_file_is_set_aside_and_restored_from_the_second_copy(home):
    item = cast.item()
    copies.copy_due()
    good, wrong = lying(item.sha256).read_bytes(), damage(item.sha256)
    everything()
    assert row(item).fixity == "bad"
    jobs.run_waiting("archive.restore")
    assert lying(item.sha256).read_bytes() == good and row(item).fixity == "good"
    (aside,) = (home / "vault" / "quarantine").iterdir()
    assert aside.read_bytes() == wrong, "nothing is ever deleted"
    (quarantined,), (restored,) = told(item, "item.quarantined"), told(item, "item.restored")
    assert quarantined["set_aside"] == restored["set_aside"] == aside.name
    assert restored["from"] == "second copy" and not row(item).set_aside
    assert [payload["answer"] for payload in told(item, "item.fixity_checked")] == ["bad", "good"]
    assert not verify().faults
    assert run("restore", item.sha256)[1].startswith("GOOD")


def test_a_file_that_is_gone_comes_back(home):
    item = cast.item()
    copies.copy_due()
    lying(item.sha256).unlink()
    status, words = run("restore", item.sha256)
    assert status == 0 and words.startswith("RESTORED") and row(item).fixity == "good"
    assert told(item, "item.restored") == [{"blob": item.sha256, "from": "second copy"}]
    assert not told(item, "item.quarantined"), "there were no bytes to set aside"


def test_without_a_second_copy_it_says_what_to_do_and_the_same_file_heals(home, settings):
    settings.SECOND_COPY = ""
    case = cast.case()
    data = cast.jpeg(seed=77)
    item = cast.item(case, data)
    damage(item.sha256)
    everything()
    jobs.run_waiting("archive.restore")
    job = Job.objects.get(name="archive.restore")
    assert job.state == "failed" and "Take the same file in again" in job.error
    assert run("restore", "--all")[0] == 1
    again = cast.acquire(case, data)
    assert again.already_held and row(item).checked_at is None, "checked before all others"
    everything()
    assert row(item).fixity == "good" and told(item, "item.restored")[0]["from"] == "intake"
    assert not verify().faults


def test_a_bad_copy_or_an_absent_one_restores_nothing_and_says_which(home):
    item = cast.item()
    copies.copy_due()
    damage(item.sha256)
    (home / "second").rename(home / "away")
    status, words = run("restore", item.sha256)
    assert status == 3 and words.startswith("COULD NOT READ")
    (home / "away").rename(home / "second")
    damage(item.sha256, second=True)
    status, words = run("restore", "--all")
    assert status == 1 and "not good either" in words
    assert row(item).copy_fixity == "bad" and len(list((home / "vault" / "quarantine").iterdir())) == 1


def test_a_fault_that_passes_moves_nothing(home):
    """What an audit calls bad is read a second time before anything is touched."""
    item = cast.item()
    fixity.keep(item.sha256, fixity.Answer(fixity.BAD, "a flipped bit on the way"), None, actor=OPERATOR)
    jobs.run_waiting("archive.restore")
    assert row(item).fixity == "good" and not list((home / "vault" / "quarantine").iterdir())
    assert not told(item, "item.restored")


def test_one_bad_read_is_not_believed(home, monkeypatch):
    item, real = cast.item(), fixity.look
    answers = iter([fixity.Answer(fixity.BAD, "a flipped bit on the way")])
    monkeypatch.setattr(fixity, "look", lambda *a, **o: next(answers, None) or real(*a, **o))
    assert everything().vault == {"good": 1} and row(item).fixity == "good"
    assert not CustodyEvent.objects.filter(type="system.fixity_failed").exists()


def test_the_daily_duty_asks_again_for_what_may_have_a_good_copy(home):
    item, hopeless = cast.item(), cast.item()
    copies.copy_due()
    Blob.objects.update(fixity="bad")
    Blob.objects.filter(pk=hopeless.sha256).update(copy_fixity="bad")
    copies.restore_bad()
    copies.restore_bad()
    assert [job.payload["sha256"] for job in Job.objects.filter(name="archive.restore")] == [item.sha256]


def test_a_file_that_no_row_names_is_not_found(home):
    assert run("restore", "0" * 64)[0] == 2


# --- what people see ------------------------------------------------------------------------------------------------


def test_the_item_and_the_library_show_the_last_answer(home):
    person = cast.person()
    case = cast.case(owner=person)
    item = cast.item(case)
    window = cast.browser(person)

    def page() -> str:
        return " ".join(window.get(f"/items/{item.pk}/").content.decode().split())

    assert "never checked" in page() and "not yet written" in page()
    jobs.run_waiting("archive.read_back")
    copies.copy_due()
    assert "read back, the bytes match" in page() and page().count("<dd>good ·") == 2
    damage(item.sha256)
    everything()
    assert '<dd class="bad">bad ·' in page() and "read back, the bytes match" not in page()
    assert "fixity: bad" in window.get(f"/cases/{case.code}/library/?fixity=bad").content.decode()
    assert "fixity: bad" not in window.get(f"/cases/{case.code}/library/?fixity=good").content.decode()
