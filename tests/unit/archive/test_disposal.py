"""Disposal: one person asks, another approves, a worker destroys, the certificate and the history stay."""

import json
import threading
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from archive import access, cases, copies, disposal, holds, ingest, jobs, vault, viewing
from archive.custody import Actor
from archive.custody.log import recording
from archive.custody.verify import verify
from archive.errors import BadInput, Conflict, Damaged, Disposed, Missing, NotAllowed
from archive.models import Blob, CustodyEvent, Disposal, DisposalItem, Item, Job, Rendition
from tests import cast

pytestmark = pytest.mark.django_db
WHY = {"reason": "The source took consent back.", "authority": "Consent form, clause 4"}


@pytest.fixture
def people():
    """A researcher and a lawyer of one case, each with all rights on it that their roles let them use."""
    from types import SimpleNamespace

    asker, lawyer = cast.person("researcher"), cast.person("legal")
    case = cast.case(owner=asker)
    cast.share(case, lawyer, access.MANAGE)
    return SimpleNamespace(
        case=case, asker=cast.signed_in(asker), lawyer=cast.signed_in(lawyer), asking=asker, approving=lawyer
    )


def asked(people, *items) -> Disposal:
    chosen = [item.pk for item in items] or None
    return disposal.request(case=people.case, actor=people.asker, items=chosen, **WHY)


def carried_out(people, *items) -> Disposal:
    found = disposal.approve(disposal=asked(people, *items), actor=people.lawyer)
    jobs.run_waiting("archive.dispose")
    return Disposal.objects.get(pk=found.pk)


def types(row) -> list[str]:
    events = CustodyEvent.objects.filter(subject=row.custody_subject()).order_by("number")
    return list(events.values_list("type", flat=True))


def told(row, kind: str) -> dict:
    event = CustodyEvent.objects.filter(subject=row.custody_subject(), type=kind).latest("number")
    return json.loads(bytes(event.canonical))["payload"]


def there(sha256: str) -> bool:
    try:
        vault.open(sha256).close()
    except Missing:
        return False
    return True


# --- it works ---------------------------------------------------------------------------------------------------


def test_bytes_and_renditions_are_destroyed_and_the_history_stays(people):
    item, other = cast.item(people.case, cast.mp4(), name="clip.mp4"), cast.item(people.case)
    for name in ("archive.examine", "archive.storyboard"):
        jobs.run_waiting(name)
    made = list(item.renditions.values_list("blob_id", flat=True))
    assert set(item.renditions.values_list("kind", flat=True)) == {
        "veil",
        "thumbnail",
        "poster",
        "storyboard",
    }
    found = carried_out(people, item)
    item.refresh_from_db()
    assert found.state == "done" and item.disposed_at and item.disposal == found
    assert not any(there(sha256) for sha256 in (item.sha256, *made)) and there(other.sha256)
    assert not item.renditions.exists() and Rendition._base_manager.filter(item=item).count() == len(made)
    assert types(item)[-2 - len(made) :][:2] == ["item.disposal_requested", "item.disposal_approved"] or (
        "item.disposal_approved" in types(item)
    )
    said = told(item, "item.disposed")
    assert said["original"] == {"sha256": item.sha256, "size": item.size, "bytes": "destroyed"}
    assert said["approved_by"] == {"id": str(people.approving.pk), "role": "legal"}
    assert {r["sha256"] for r in said["renditions"]} == set(made)
    assert set(said["authority"]) == {"commitment"}
    assert types(people.case)[-3:] == [
        "case.disposal_requested",
        "case.disposal_approved",
        "case.disposal_done",
    ]
    report = verify()
    assert not report.faults, report.faults
    assert item.sha256 not in Blob.objects.expected().values_list("pk", flat=True)


def test_nothing_is_destroyed_before_the_worker_runs_after_the_approval(people):
    item = cast.item(people.case)
    found = asked(people, item)
    assert there(item.sha256) and not Job.objects.filter(name="archive.dispose").exists()
    disposal.approve(disposal=found, actor=people.lawyer)
    assert there(item.sha256) and Job.objects.filter(name="archive.dispose", state="queued").count() == 1


def test_a_whole_case_is_what_it_holds_when_it_is_asked_for(people):
    items = {cast.item(people.case).pk for _ in range(3)}
    found = asked(people)
    late = cast.item(people.case)
    assert set(found.entries.values_list("item", flat=True)) == items and found.item_count == 3
    disposal.approve(disposal=found, actor=people.lawyer)
    jobs.run_waiting("archive.dispose")
    assert there(late.sha256) and Item.objects.filter(case=people.case).held().get() == late


def test_bytes_that_another_case_holds_are_kept_and_the_certificate_says_so(people):
    item = cast.item(people.case)
    with vault.open(item.sha256) as reader:
        other = cast.acquire(cast.case(), reader.read()).item
    carried_out(people, item)
    assert there(other.sha256)
    assert told(item, "item.disposed")["original"]["bytes"] == "kept: other rows name them"
    with pytest.raises(Disposed):
        item.refresh_from_db()
        viewing.download(item=item, actor=people.asker)


def test_the_same_bytes_later_are_a_new_acquisition_that_says_so(people):
    data = cast.jpeg(seed=1_000_977)
    item = cast.acquire(people.case, data).item
    jobs.run_waiting("archive.examine")
    claims = item.claims.count()
    carried_out(people, item)
    gone = Item.objects.get(pk=item.pk).disposed_at
    again = cast.acquire(people.case, data, name="again.jpg")
    item.refresh_from_db()
    assert again.item == item and not again.already_held and item.disposed_at is None
    assert told(item, "item.acquired")["the_bytes_had_been_disposed_of"].startswith(gone.isoformat()[:19])
    assert "item.held_again" in types(item) and there(item.sha256)
    for name in ("archive.read_back", "archive.examine"):
        jobs.run_waiting(name)
    item.refresh_from_db()
    assert item.read_back_at and item.renditions.exists() and item.claims.count() == claims
    assert not Blob.objects.exclude(destroyed_at=None).exists()
    assert not verify().faults


def test_a_disposal_that_was_carried_out_once_destroys_nothing_again(people):
    data = cast.jpeg(seed=1_000_978)
    item = cast.acquire(people.case, data).item
    carried_out(people, item)
    cast.acquire(people.case, data)
    row = Job.objects.get(name="archive.dispose")
    disposal.carry_out(row, people.case)
    assert there(item.sha256)


# --- each refusal -----------------------------------------------------------------------------------------------


def test_who_asked_cannot_answer(people):
    both = cast.person("administrator", "legal")
    cast.share(people.case, both, access.MANAGE)
    item = cast.item(people.case)
    found = disposal.request(case=people.case, actor=cast.signed_in(both), items=[item.pk], **WHY)
    for answer in (disposal.approve, disposal.decline):
        with pytest.raises(BadInput, match="another person"):
            answer(disposal=found, actor=cast.signed_in(both), answer="Mine")
    with connection.cursor() as cursor, pytest.raises(IntegrityError), transaction.atomic(), recording():
        cursor.execute(
            "UPDATE archive_disposal SET state = 'approved', answered_by_id = requested_by_id, "
            "answered_at = requested_at"
        )
    assert there(item.sha256)


@pytest.mark.parametrize("role", ["researcher", "reviewer", "data_scientist", "observer"])
def test_approving_needs_the_right(people, role):
    other = cast.person(role)
    cast.share(people.case, other, *access.GRANTABLE[1:])
    with pytest.raises(NotAllowed):
        disposal.approve(disposal=asked(people, cast.item(people.case)), actor=cast.signed_in(other))


def test_neither_the_shell_nor_a_worker_can_ask_or_approve(people):
    item = cast.item(people.case)
    found = asked(people, item)
    for actor in (Actor.operator(), Actor.system("worker")):
        with pytest.raises(NotAllowed):
            disposal.approve(disposal=found, actor=actor)
        with pytest.raises(NotAllowed):
            disposal.request(case=people.case, actor=actor, items=[cast.item(people.case).pk], **WHY)


def test_an_approval_needs_a_request_of_the_same_items(people):
    item, other = cast.item(people.case), cast.item(people.case)
    found = asked(people, item)
    DisposalItem.objects.create(disposal=found, item=other)
    with pytest.raises(Damaged, match="no longer those"):
        disposal.approve(disposal=found, actor=people.lawyer)
    DisposalItem.objects.filter(item=other).delete()
    disposal.approve(disposal=found, actor=people.lawyer)
    DisposalItem.objects.create(disposal=found, item=other)
    jobs.run_waiting("archive.dispose")
    assert there(item.sha256) and there(other.sha256)


def test_an_answer_is_given_once(people):
    item = cast.item(people.case)
    found = asked(people, item)
    disposal.decline(disposal=found, actor=people.lawyer, answer="The trial is on.")
    for answer in (disposal.approve, disposal.decline):
        with pytest.raises(Conflict):
            answer(disposal=found, actor=people.lawyer, answer="Yes")
    assert types(item)[-1] == "item.disposal_declined"
    assert asked(people, item).state == "requested"  # and may be asked again


def test_only_who_asked_takes_it_back(people):
    item = cast.item(people.case)
    found = asked(people, item)
    with pytest.raises(BadInput):
        disposal.withdraw(disposal=found, actor=people.lawyer)
    disposal.withdraw(disposal=found, actor=people.asker)
    with pytest.raises(Conflict):
        disposal.approve(disposal=found, actor=people.lawyer)
    assert types(item)[-1] == "item.disposal_withdrawn"


def test_a_request_says_why_of_what_and_under_which_authority(people):
    item = cast.item(people.case)
    for missing in ("reason", "authority"):
        with pytest.raises(BadInput):
            disposal.request(case=people.case, actor=people.asker, items=[item.pk], **WHY | {missing: " "})
    with pytest.raises(BadInput, match="not in case"):
        asked(people, cast.item())
    asked(people, item)
    with pytest.raises(BadInput, match="already"):
        asked(people, item)
    with pytest.raises(BadInput, match="no item"):
        asked(people)


def test_nothing_is_disposed_of_before_the_day_until_which_it_is_kept(people):
    item = cast.item(people.case)
    tomorrow = timezone.localdate() + timedelta(days=1)
    found = asked(people, item)
    cases.change_case(case=people.case, actor=people.asker, retain_until=tomorrow)
    for act in (
        lambda: disposal.approve(disposal=found, actor=people.lawyer),
        lambda: asked(people, cast.item(people.case)),
    ):
        with pytest.raises(BadInput, match="kept at least until"):
            act()
    cases.change_case(case=people.case, actor=people.asker, retain_until=timezone.localdate())
    disposal.approve(disposal=found, actor=people.lawyer)
    cases.change_case(case=people.case, actor=people.asker, retain_until=tomorrow)
    jobs.run_waiting("archive.dispose")
    assert there(item.sha256) and "kept at least" in Job.objects.get(name="archive.dispose").error


# --- legal hold -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["on the case", "on the item"])
def test_under_hold_nothing_is_asked_for_approved_or_destroyed(people, whole):
    item = cast.item(people.case)
    before = asked(people, item)

    def place() -> holds.Hold:
        of = None if whole else item
        return holds.place(case=people.case, item=of, actor=people.lawyer, reason="Court order 12/2026")

    hold = place()
    with pytest.raises(BadInput, match="legal hold"):
        disposal.approve(disposal=before, actor=people.lawyer)
    disposal.withdraw(disposal=before, actor=people.asker)
    with pytest.raises(BadInput, match="legal hold"):
        asked(people, item)
    holds.lift(hold=hold, actor=people.lawyer, reason="The order ended")
    found = disposal.approve(disposal=asked(people, item), actor=people.lawyer)
    place()
    jobs.run_waiting("archive.dispose")
    assert there(item.sha256)
    row = Job.objects.get(name="archive.dispose")
    assert row.state == "failed" and "legal hold" in row.error
    assert Disposal.objects.get(pk=found.pk).state == "approved"
    subject = people.case if whole else item
    kind = "case" if whole else "item"
    assert [t for t in types(subject) if "hold" in t] == [
        f"{kind}.hold_placed",
        f"{kind}.hold_lifted",
        f"{kind}.hold_placed",
    ]
    assert not verify().faults


def test_a_hold_on_one_item_lets_others_go(people):
    item, other = cast.item(people.case), cast.item(people.case)
    holds.place(case=people.case, item=item, actor=people.lawyer, reason="Court order")
    carried_out(people, other)
    assert there(item.sha256) and not there(other.sha256)


def test_under_hold_retention_is_not_shortened(people):
    today = timezone.localdate()
    cases.change_case(case=people.case, actor=people.asker, retain_until=today)
    holds.place(case=people.case, actor=people.lawyer, reason="Court order")
    with pytest.raises(BadInput, match="legal hold"):
        cases.change_case(case=people.case, actor=people.asker, retain_until=None)
    cases.change_case(case=people.case, actor=people.asker, retain_until=today + timedelta(days=9))


def test_a_hold_needs_the_right_and_a_reason_and_is_lifted_once(people):
    with pytest.raises(NotAllowed):
        holds.place(case=people.case, actor=people.asker, reason="Court order")
    with pytest.raises(BadInput):
        holds.place(case=people.case, actor=people.lawyer, reason="  ")
    with pytest.raises(BadInput, match="not in this case"):
        holds.place(case=people.case, item=cast.item(), actor=people.lawyer, reason="Court order")
    hold = holds.place(case=people.case, actor=people.lawyer, reason="Court order")
    with pytest.raises(NotAllowed):
        holds.lift(hold=hold, actor=people.asker, reason="Over")
    with pytest.raises(BadInput):
        holds.lift(hold=hold, actor=people.lawyer, reason="")
    holds.lift(hold=hold, actor=people.lawyer, reason="Over")
    with pytest.raises(Conflict):
        holds.lift(hold=hold, actor=people.lawyer, reason="Over")


# --- races ------------------------------------------------------------------------------------------------------


def test_bytes_that_come_in_while_they_are_destroyed_are_refused_not_lost(people):
    """Stored, then destroyed by a disposal, then registered: the row would name bytes that are gone."""
    data = cast.jpeg(seed=1_000_979)
    item = cast.acquire(people.case, data).item
    stored = vault.put(cast.io.BytesIO(data))
    carried_out(people, item)
    origin = ingest.Origin("command", "test", "again.jpg")
    with pytest.raises(Conflict, match="send them again"):
        ingest.register(case=people.case, actor=people.asker, stored=stored, origin=origin)
    assert Item.objects.get(pk=item.pk).disposed_at


def test_a_slow_worker_whose_lease_went_to_another_destroys_nothing_twice(people):
    data = cast.jpeg(seed=1_000_982)
    item = cast.acquire(people.case, data).item
    found = disposal.approve(disposal=asked(people, item), actor=people.lawyer)
    entry, approval = found.entries.get(), disposal.approval_of(found)
    jobs.run_waiting("archive.dispose")
    cast.acquire(people.case, data)
    disposal._dispose(found, entry, approval)
    assert there(item.sha256) and types(item).count("item.disposed") == 1


def test_a_disposal_waits_for_a_step_that_works_on_the_item(people):
    item = cast.item(people.case)
    disposal.approve(disposal=asked(people, item), actor=people.lawyer)
    (taken,) = jobs.claim("archive.examine")
    jobs.run_waiting("archive.dispose", most=1)
    row = Job.objects.get(name="archive.dispose")
    assert there(item.sha256) and row.state == "queued" and "still works" in row.error
    jobs.finish(taken)
    Job.objects.filter(pk=row.pk).update(run_after=timezone.now())
    jobs.run_waiting("archive.dispose")
    assert not there(item.sha256)


@pytest.mark.django_db(transaction=True)
def test_whoever_takes_in_the_same_bytes_meanwhile_waits_and_is_told(monkeypatch):
    """Stored before the bytes went, registered while they go: the row of the blob is the lock."""
    asker, lawyer, other = cast.person("researcher"), cast.person("legal"), cast.case()
    case = cast.case(owner=asker)
    cast.share(case, lawyer, access.MANAGE)
    data = cast.jpeg(seed=1_000_981)
    item = cast.acquire(case, data).item
    found = disposal.request(case=case, actor=cast.signed_in(asker), items=[item.pk], **WHY)
    disposal.approve(disposal=found, actor=cast.signed_in(lawyer))
    stored = vault.put(cast.io.BytesIO(data))
    real, told = vault.destroy, []

    def register() -> None:
        try:
            origin = ingest.Origin("command", "test", "again.jpg")
            ingest.register(case=other, actor=Actor.operator(), stored=stored, origin=origin)
        except Conflict as error:
            told.append(error.sentence)
        finally:
            connection.close()

    thread = threading.Thread(target=register)

    def destroy(sha256: str) -> bool:
        if not thread.ident:
            thread.start()
            thread.join(timeout=0.5)
            assert thread.is_alive(), "it did not wait"
        return real(sha256)

    monkeypatch.setattr(vault, "destroy", destroy)
    jobs.run_waiting("archive.dispose")
    thread.join(timeout=30)
    assert told and "send them again" in told[0]
    assert not Item.objects.filter(case=other).exists() and not there(item.sha256)


# --- the second copy, and the check of the whole vault ------------------------------------------------------------


def test_the_second_copy_goes_too_and_none_is_written_afterwards(people, instance, settings, tmp_path):
    settings.SECOND_COPY = str(tmp_path / "second")
    second = copies.set_up()
    item = cast.item(people.case)
    copies.copy_missing(actor=Actor.system())
    second.vault.open(item.sha256).close()
    carried_out(people, item)
    with pytest.raises(Missing):
        second.vault.open(item.sha256)
    assert copies.copy_missing(actor=Actor.system()) == copies.Copied(0, 0, [])


def test_a_copy_that_was_being_written_is_taken_away_again(people, instance, settings, tmp_path, monkeypatch):
    settings.SECOND_COPY = str(tmp_path / "second")
    second = copies.set_up()
    item = cast.item(people.case)
    real = second.bring

    def bring(sha256: str, **options) -> bool:
        written = real(sha256, **options)
        carried_out(people, item)
        held = tmp_path / "second" / second.held.name_of(sha256)[:2] / second.held.name_of(sha256)
        held.write_bytes(b"written after the disposal looked here")
        return written

    monkeypatch.setattr(second, "bring", bring)
    assert copies.bring(item.sha256, second, actor=Actor.system()) is False
    assert next(second.vault.storage.names(), None) is None


def test_the_vaults_check_misses_nothing_that_was_disposed_of(people, capsys):
    item = cast.item(people.case)
    carried_out(people, item)
    call_command("vault", "check")
    assert "Answer: good." in capsys.readouterr().out
