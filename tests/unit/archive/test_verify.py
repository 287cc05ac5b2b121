"""Whatever the database's owner changes, `custody verify` names it."""

import json
import threading

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from archive import cases, custody
from archive.custody import Actor
from archive.custody.canonical import ZERO_HASH, canonical, event_hash
from archive.custody.checkpoint import create_key_file, public_bytes, sign_note, signing_key
from archive.custody.log import record
from archive.custody.sequence import sequence
from archive.custody.verify import verify, verify_subject
from archive.errors import Damaged
from archive.models import Case, Checkpoint, CustodyEvent, CustodyOpening, CustodyPosition, Item, User
from tests import cast
from tests.superuser import sign_all_events, superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def log():
    """A small archive: people, a case with a source, two items; sequenced and signed."""
    researcher = cast.person()
    case = cast.case(owner=researcher, code="RIO-1")
    cast.source(case, code="S1", pseudonym="Heron")
    one, two = cast.item(case, name="one.jpg"), cast.item(case, name="two.jpg")
    sequence()
    sign_all_events()
    sequence()
    return {"case": case, "one": one, "two": two, "researcher": researcher}


def faults(**options) -> dict[str, tuple[str, str]]:
    report = verify(**options)
    return {fault.kind: (fault.place, fault.sentence) for fault in report.faults}


def event_of(item: Item, number: int) -> CustodyEvent:
    return CustodyEvent.objects.get(subject=item.custody_subject(), number=number)


def test_an_untouched_log_is_good(log):
    report = verify()
    assert report.answer == "good" and not report.faults and not report.unchecked
    assert report.events == CustodyEvent.objects.count() and report.pending == 0
    assert report.checkpoints == 1 and report.rows > 5 and report.openings > 5


def test_events_without_a_position_are_pending_and_verified(log):
    cast.item(log["case"])
    report = verify()
    assert report.answer == "good" and report.pending == 3


def test_without_a_checkpoint_it_says_that_a_cut_off_end_could_not_be_noticed():
    cast.case()
    report = verify()
    assert report.answer == "good" and "cut-off end" in report.remarks[0]


def test_a_checkpoint_taken_away_is_missed(log):
    with superuser() as hand:
        hand.sql("DELETE FROM archive_checkpoint")
    report = verify()
    assert report.answer == "bad" and "missing checkpoint" in [fault.kind for fault in report.faults]


def test_without_the_key_signatures_could_not_be_checked(log, settings, tmp_path):
    settings.SIGNING_KEY_FILE = tmp_path / "lost"
    report = verify()
    assert report.answer == "could not check" and "SIGNING_KEY_FILE" in report.unchecked[0]


# --- events -------------------------------------------------------------------------------------------------------


def test_altered_event(log):
    row = event_of(log["one"], 2)
    with superuser() as hand:
        hand.put_body(
            row.pk, canonical(hand.event(row.pk) | {"time": "2020-01-01T00:00:00.000000Z"}), rehash=False
        )
    found = faults()
    assert found["altered event"][0].startswith(f"event 2 of {log['one'].custody_subject()}")
    assert {"altered event", "broken chain", "rewritten history"} <= found.keys()


def test_altered_event_with_its_own_hash_made_good(log):
    row = event_of(log["one"], 1)
    event = json.loads(bytes(row.canonical))
    event["payload"]["size"] = 7
    with superuser() as hand:
        hand.put_body(row.pk, canonical(event), rehash=True)
    found = faults()
    assert "altered event" not in found
    assert found["broken chain"][0].startswith(f"event 2 of {log['one'].custody_subject()}")


def test_altered_event_with_its_whole_chain_made_good_is_found_by_the_checkpoint(log):
    row = event_of(log["one"], 1)
    event = json.loads(bytes(row.canonical))
    event["payload"]["size"] = 7
    with superuser() as hand:
        hand.put_body(row.pk, canonical(event), rehash=True)
        hand.rehash_chain(log["one"].custody_subject())
    found = faults()
    assert found.keys() == {"rewritten history"}
    assert found["rewritten history"][0].startswith("checkpoint")


def test_everything_made_good_and_signed_anew_is_found_by_a_checkpoint_kept_elsewhere(log):
    kept = Checkpoint.objects.get().note
    row = event_of(log["one"], 1)
    event = json.loads(bytes(row.canonical))
    event["payload"]["size"] = 7
    with superuser() as hand:
        hand.put_body(row.pk, canonical(event), rehash=True)
        hand.rehash_chain(log["one"].custody_subject())
        hand.sql("DELETE FROM archive_checkpoint")
        told = CustodyEvent.objects.get(type="system.checkpoint_signed")
        other = json.loads(bytes(told.canonical)) | {"type": "system.custody_verified"}
        hand.put_body(told.pk, canonical(other), rehash=True)
        hand.sql("UPDATE archive_custodyevent SET type = %s WHERE id = %s", other["type"], told.pk)
        hand.rehash_chain("system:main")
    sign_all_events()
    assert faults() == {}
    found = faults(known=kept)
    assert found["rewritten history"][0] == "the known checkpoint"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b"[]",
        b'{"a":1.5}',
        b"[" * 60_000,
        b'{"a":' + b"9" * 5000 + b"}",
        canonical({"version": 2}),
        canonical(
            {k: "" for k in "version subject number previous type time actor reason software payload".split()}
        ),
    ],
    ids="empty text spaces order list float deep huge version fields".split(),
)
def test_an_event_that_is_no_event_is_named_and_the_walk_goes_on(log, body):
    row = event_of(log["one"], 2)
    with superuser() as hand:
        hand.put_body(row.pk, body, rehash=True)
    report = verify()
    assert report.events == CustodyEvent.objects.count()
    assert "altered event" in report.counts


@pytest.mark.parametrize("part", [{"previous": None}, {"version": True}, {"number": True}], ids=str)
def test_an_event_with_a_part_of_another_type_is_named(log, part):
    row = event_of(log["one"], 1)
    with superuser() as hand:
        hand.put_body(row.pk, canonical(hand.event(row.pk) | part), rehash=True)
    assert "altered event" in faults()


@pytest.mark.parametrize(
    ("column", "value"),
    [("type", "item.read_back"), ("hash", "0" * 64), ("subject", "item:none"), ("number", 77)],
)
def test_altered_column_beside_an_event(log, column, value):
    row = event_of(log["one"], 2)
    with superuser() as hand:
        hand.sql(f"UPDATE archive_custodyevent SET {column} = %s WHERE id = %s", value, row.pk)
    assert "altered event" in faults()


def test_deleted_event(log):
    row = event_of(log["one"], 2)
    position = row.position.position
    with superuser() as hand:
        hand.delete_event(row.pk)
    found = faults()
    assert found["missing event"][0].startswith(f"event 3 of {log['one'].custody_subject()}")
    assert found["missing position"][0] == f"position {position}"


def test_deleted_event_with_gaps_closed_and_chain_made_good(log):
    row = event_of(log["one"], 2)
    with superuser() as hand:
        hand.delete_event(row.pk)
        hand.rehash_chain(log["one"].custody_subject())
        hand.close_positions()
    found = faults()
    assert {"rewritten history", "unrecorded row"} <= found.keys()


def test_truncated_tail(log):
    covered = Checkpoint.objects.get().size
    with superuser() as hand:
        for pk in list(CustodyPosition.objects.order_by("-position")[:2].values_list("event_id", flat=True)):
            subject = CustodyEvent.objects.get(pk=pk).subject
            hand.delete_event(pk)
            hand.rehash_chain(subject)
    assert faults()["truncated tail"][1].startswith(f"it covers {covered} events, the log has {covered - 1}")


def test_a_whole_item_that_vanished_with_its_events(log):
    item = log["one"]
    with superuser() as hand:
        for pk in CustodyEvent.objects.filter(subject=item.custody_subject()).values_list("pk", flat=True):
            hand.delete_event(pk)
        hand.sql("DELETE FROM archive_custodysubject WHERE name = %s", item.custody_subject())
        key = item.pk.hex if connection.vendor == "sqlite" else item.pk
        for table in ("job", "acquisition", "words"):
            hand.sql(f"DELETE FROM archive_{table} WHERE item_id = %s", key)
        hand.sql("DELETE FROM archive_item WHERE id = %s", key)
        hand.close_positions()
    assert faults().keys() & {"rewritten history", "truncated tail"}


def test_swapped_positions_of_two_subjects(log):
    swap(event_of(log["one"], 3), event_of(log["two"], 1))
    assert faults().keys() == {"rewritten history"}


def test_swapped_positions_of_one_subject(log):
    swap(event_of(log["one"], 1), event_of(log["one"], 2))
    assert {"missing event", "reordered event", "rewritten history"} <= faults().keys()


def swap(one: CustodyEvent, two: CustodyEvent) -> None:
    with superuser() as hand:
        a, b = one.position.position, two.position.position
        for event, place in ((one, 10**6), (two, a), (one, b)):
            hand.sql("UPDATE archive_custodyposition SET position = %s WHERE event_id = %s", place, event.pk)


def test_altered_tip(log):
    with superuser() as hand:
        hand.sql(
            "UPDATE archive_custodysubject SET tip = %s WHERE name = %s",
            ZERO_HASH,
            log["one"].custody_subject(),
        )
    assert faults()["altered tip"][0] == log["one"].custody_subject()


def test_missing_tip(log):
    with superuser() as hand:
        hand.sql("DELETE FROM archive_custodysubject WHERE name = %s", log["one"].custody_subject())
    assert faults()["missing subject"][0] == log["one"].custody_subject()


def test_lost_pending_mark(log):
    cast.item(log["case"])
    with superuser() as hand:
        hand.sql("DELETE FROM archive_custodypending")
    assert "lost pending mark" in faults()


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("lost pending mark", "INSERT INTO archive_custodypending (event_id) VALUES (99999999)"),
        (
            "altered opening",
            "INSERT INTO archive_custodyopening (event_id, pointer, salt, value) VALUES (99999999, '/reason', 'ab', '\"x\"')",
        ),
    ],
)
def test_what_refers_to_no_event_is_named(log, kind, statement):
    with superuser() as hand:
        hand.sql(statement)
    assert faults().keys() == {kind}


def test_an_event_that_was_slipped_in(log):
    subject = log["one"].custody_subject()
    with superuser() as hand:
        event = hand.event(event_of(log["one"], 3).pk) | {
            "number": 4,
            "previous": event_of(log["one"], 3).hash,
        }
        body = canonical(event)
        hand.sql(
            "INSERT INTO archive_custodyevent (subject, number, type, time, canonical, hash) "
            "SELECT subject, 4, type, time, %s, %s FROM archive_custodyevent WHERE subject = %s AND number = 3",
            body,
            event_hash(body).hex(),
            subject,
        )
    found = faults()
    assert {"altered tip", "lost pending mark"} <= found.keys()


def test_a_trigger_that_swallows_events_lets_no_change_happen_without_its_event(log):
    swallow = {
        "sqlite": "CREATE TRIGGER swallow BEFORE INSERT ON archive_custodyevent BEGIN SELECT RAISE(IGNORE); END",
        "postgresql": "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER swallow BEFORE INSERT ON archive_custodyevent FOR EACH ROW EXECUTE FUNCTION swallow()",
    }
    before = CustodyEvent.objects.count()
    with superuser() as hand:
        hand.sql(swallow[connection.vendor])
    with pytest.raises(Damaged):
        cases.open_case(code="RIO-9", title="t", actor=Actor.operator())
    assert CustodyEvent.objects.count() == before and not Case.objects.filter(code="RIO-9").exists()


# --- checkpoints --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "alter"),
    [
        ("altered checkpoint", lambda note: "nothing at all"),
        ("wrong key", lambda note: note.replace("\n", "\n1", 1)),
        ("wrong log", lambda note: "another" + note),
    ],
)
def test_altered_checkpoint(log, fault, alter):
    with superuser() as hand:
        hand.sql("UPDATE archive_checkpoint SET note = %s", alter(Checkpoint.objects.get().note))
    assert fault in faults()


def test_checkpoint_whose_columns_were_altered(log):
    with superuser() as hand:
        hand.sql("UPDATE archive_checkpoint SET size = size - 1")
    assert faults().keys() == {"altered checkpoint", "missing checkpoint"}


def test_checkpoint_signed_with_another_key(log, tmp_path, settings):
    create_key_file(tmp_path / "other.key")
    real = public_bytes(signing_key())
    head = Checkpoint.objects.get()
    forged = sign_note(
        settings.NAME_IN_LOG, head.size, bytes.fromhex(head.root), signing_key(tmp_path / "other.key")
    )
    with superuser() as hand:
        hand.sql("UPDATE archive_checkpoint SET note = %s", forged)
    assert faults(public_key=real).keys() == {"wrong key"}


def test_one_odd_checkpoint_does_not_hide_the_others(log):
    with superuser() as hand:
        hand.sql(
            "INSERT INTO archive_checkpoint (size, root, note, signed_at) SELECT 0, root, %s, signed_at "
            "FROM archive_checkpoint",
            Checkpoint.objects.get().note.replace("\n", "\n-", 1),
        )
    assert faults().keys() == {"altered checkpoint"}


# --- openings and rows --------------------------------------------------------------------------------------------


def test_altered_opening(log):
    opening = CustodyOpening.objects.get(pointer="/payload/set/pseudonym")
    with superuser() as hand:
        hand.sql("UPDATE archive_custodyopening SET value = %s WHERE id = %s", '"Crane"', opening.pk)
    assert faults()["altered opening"][0].startswith("/payload/set/pseudonym of event 1 of source:")


def test_an_opening_that_is_gone_leaves_its_row_open_to_lies_and_is_named(log):
    opening = CustodyOpening.objects.get(pointer="/payload/set/pseudonym")
    with superuser() as hand:
        hand.sql("DELETE FROM archive_custodyopening WHERE id = %s", opening.pk)
        hand.sql("UPDATE archive_source SET pseudonym = 'Crane'")
    assert "missing opening" in faults()


def test_an_opening_of_a_name_or_reason_that_is_gone_could_not_be_checked(log):
    opening = CustodyOpening.objects.filter(pointer="/actor/name").first()
    with superuser() as hand:
        hand.sql("DELETE FROM archive_custodyopening WHERE id = %s", opening.pk)
    report = verify()
    assert report.answer == "could not check" and "1 commitments" in report.unchecked[0]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("archive_item", "size", 1),
        ("archive_item", "number", 99),
        ("archive_case", "title", "Another title"),
        ("archive_case", "status", "closed"),
        ("archive_case", "mandate", "invented"),
        ("archive_acquisition", "file_name", "harmless.jpg"),
        ("archive_acquisition", "tool", "by hand"),
        ("archive_source", "consent_informed", "yes"),
        ("archive_casegrant", "ends_at", "2030-01-01 00:00:00+00:00"),
        ("archive_user", "is_active", False),
        ("archive_user", "name", "Somebody Else"),
    ],
)
def test_altered_row(log, table, column, value):
    with superuser() as hand:
        pick = "SELECT MAX(number) FROM archive_item" if table == "archive_item" else None
        where = f" WHERE number = ({pick})" if pick else ""
        hand.sql(f"UPDATE {table} SET {column} = %s{where}", value)
    place, sentence = faults()["altered row"]
    assert place.startswith(table.replace("archive_", "archive.")) and column in sentence


def test_unrecorded_row(log):
    with superuser() as hand:
        hand.sql(
            "INSERT INTO archive_tag (case_id, name) SELECT id, 'planted' FROM archive_case WHERE code = 'RIO-1'"
        )
    assert faults()["unrecorded row"][0].startswith("archive.tag")


def test_missing_row(log):
    with superuser() as hand:
        hand.sql("DELETE FROM archive_casegrant")
    assert faults()["missing row"][0].startswith("archive.casegrant")


def test_a_role_that_nobody_gave(log):
    with superuser() as hand:
        hand.sql(
            "UPDATE archive_user_groups SET group_id = (SELECT id FROM auth_group WHERE name = 'administrator')"
        )
    assert faults()["altered roles"][0] == f"person {log['researcher'].pk}"


def test_permissions_that_exchange_their_names(log):
    with superuser() as hand:
        hand.sql("UPDATE auth_permission SET codename = 'away' WHERE codename = 'manage_case'")
        hand.sql("UPDATE auth_permission SET codename = 'manage_case' WHERE codename = 'view_case'")
        hand.sql("UPDATE auth_permission SET codename = 'view_case' WHERE codename = 'away'")
    assert faults()["altered roles"][0].startswith("permission ")


def test_a_role_that_was_taken_past_the_log(log):
    with superuser() as hand:
        hand.sql("DELETE FROM archive_user_groups")
    assert "altered roles" in faults()


# --- one subject, the command, the sealed identity ----------------------------------------------------------------


def test_one_subject_can_be_checked_alone(log):
    assert not verify_subject(log["one"].custody_subject()).faults
    with superuser() as hand:
        hand.sql("UPDATE archive_item SET size = 1 WHERE number = 1")
    assert {f.kind for f in verify_subject(log["one"].custody_subject()).faults} == {"altered row"}
    assert not verify_subject(log["two"].custody_subject()).faults


def test_a_sealed_identity_verifies_although_its_opening_is_sealed(log):
    source = log["case"].sources.get()
    cases.set_identity(source=source, identity="Real Name", actor=Actor.operator())
    assert not verify().faults and not verify().unopened


@pytest.mark.parametrize(("state", "status"), [("good", 0), ("bad", 1), ("could not check", 3)])
def test_the_command_answers_by_its_exit_status(log, state, status, capsys, settings, tmp_path):
    if state == "bad":
        with superuser() as hand:
            hand.sql("UPDATE archive_case SET status = 'closed'")
    if state == "could not check":
        settings.SIGNING_KEY_FILE = tmp_path / "lost"
    if status:
        with pytest.raises(SystemExit) as ended:
            call_command("custody", "verify")
        assert ended.value.code == status
    else:
        call_command("custody", "verify")
    assert f"Answer: {state}." in capsys.readouterr().out


def test_the_command_takes_a_checkpoint_kept_elsewhere(log, tmp_path, capsys):
    kept = tmp_path / "kept.txt"
    kept.write_text(Checkpoint.objects.get().note)
    call_command("custody", "verify", "--known", str(kept), "--json")
    assert json.loads(capsys.readouterr().out)["checkpoints"] == 2


# --- while others write -------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_verifying_holds_up_no_writer_and_sees_one_moment():
    cast.case(code="A")
    sequence()
    sign_all_events()
    sequence()
    wrote = []

    def write() -> None:
        with transaction.atomic():
            record("case:meanwhile", event="system.fixity_failed", actor=Actor.system())
        sequence()
        wrote.append(True)
        connection.close()

    def meanwhile(count: int) -> None:
        if not wrote:
            thread = threading.Thread(target=write)
            thread.start()
            thread.join(timeout=5)

    report = verify(progress=meanwhile)
    assert wrote, "the writer was held up"
    assert report.answer == "good", report.faults
    assert verify().events == report.events + 1


def test_everybody_in_the_cast_is_recorded():
    for role in cast.NAMES:
        cast.person(role)
    assert User.objects.count() == 6 and not verify().faults
    assert not custody.is_unattended()
