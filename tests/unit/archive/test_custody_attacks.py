"""What a person with superuser rights on the database can do to the log, and by what it is found.

The table says for each attack which lie `custody verify` names: with the log alone, with one checkpoint that somebody
else kept, with a witness (a policy), with timestamps, with what the signer itself keeps beside its key. Empty: nobody can see it that way. docs/custody-log.md has the
same table in words. Six attacks are seen by nobody who has nothing from outside.
"""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection, transaction

from archive.custody import Actor, last_signed, log, timestamps
from archive.custody.canonical import canonical
from archive.custody.checkpoint import create_key_file, public_bytes, sign_note, signing_key
from archive.custody.keychain import keys_in_force
from archive.custody.log import record, recording
from archive.custody.notes import COSIGNATURE, VerifierKey, cosigned_text, parse_note
from archive.custody.publish import publish
from archive.custody.sequence import advance
from archive.custody.verify import verify
from archive.errors import Damaged
from archive.models import Checkpoint, Cosignature, CustodyEvent, CustodyPosition, Timestamp
from tests.outside import Authority
from tests.superuser import superuser

pytestmark = pytest.mark.django_db

WEEK = timedelta(days=7)
SYSTEM = Actor.system("test")
UNSEEN = ""
ABSENT = "not cosigned"  # could not check: the policy asks for a witness who has not cosigned what is there

#                                    the log alone          a checkpoint kept     a witness            timestamps           the signer
SEEN = {
    "change one event":             ("altered event",       "rewritten history",  "altered event",     "altered event",      "rewritten history"),
    "change one, chain made good":  ("rewritten history",   "rewritten history",  "rewritten history", "rewritten history",  "rewritten history"),
    "all made good after it":       (UNSEEN,                "rewritten history",  ABSENT,              UNSEEN,               "rewritten history"),
    "delete the tail":              (UNSEEN,                "truncated tail",     "old checkpoint",    UNSEEN,               "truncated tail"),
    "delete an item's history":     (UNSEEN,                "rewritten history",  ABSENT,              UNSEEN,               "rewritten history"),
    "leave out an item's last":     ("rewritten history",   "rewritten history",  "rewritten history", "rewritten history",  "rewritten history"),
    "swap two events":              ("rewritten history",   "rewritten history",  "rewritten history", "rewritten history",  "rewritten history"),
    "insert a back-dated event":    ("clock ran backwards", "clock ran backwards", "back-dated event", "back-dated event",   "clock ran backwards"),
    "fork":                         (UNSEEN,                "rewritten history",  ABSENT,              UNSEEN,               "rewritten history"),
    "replace the signing key":      ("wrong key",           "wrong key",          "wrong key",         "wrong key",          "wrong key"),
    "restore last week's backup":   (UNSEEN,                "truncated tail",     "old checkpoint",    UNSEEN,               "truncated tail"),
    "roll the clock back":          ("clock ran backwards", "clock ran backwards", "back-dated event", "back-dated event",   "clock ran backwards"),
    "serve an old checkpoint":      (UNSEEN,                "missing checkpoint", "old checkpoint",    UNSEEN,               "missing checkpoint"),
}  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("tsa"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def witness():
    key = Ed25519PrivateKey.generate()
    return SimpleNamespace(key=key, public=VerifierKey("w.example", COSIGNATURE, public_bytes(key)))


@pytest.fixture
def at(monkeypatch):
    """Set the server's clock for what is recorded."""

    def at(moment: datetime) -> None:
        monkeypatch.setitem(log.record.__kwdefaults__, "clock", lambda: moment)

    return at


@pytest.fixture
def archive(at, instance, authority, witness, settings):
    """Thirty events: a checkpoint of last week, one of now, each cosigned and time-stamped; more after it."""
    now = datetime.now(UTC).replace(microsecond=0)
    at(now - WEEK)
    happen(4)
    old = confirmed(publish(actor=SYSTEM), witness, None, now - WEEK)
    at(now)
    happen(3)
    new = confirmed(publish(actor=SYSTEM), witness, authority, now)
    advance()
    kept = last_signed.read()
    settings.LAST_CHECKPOINT_FILE.unlink()  # the other views are those of a copy of the database
    rules = [f"log {key}" for key in keys_in_force().newest]
    rules += [f"witness w {witness.public}", "# greatest-age 86400", "quorum w", ""]
    return SimpleNamespace(
        now=now,
        old=old,
        new=new,
        at=at,
        policy="\n".join(rules),
        certificates=authority.certificate,
        kept=kept,
        instance=instance,
        settings=settings,
    )


def happen(rounds: int) -> None:
    with transaction.atomic():
        for number in range(rounds):
            for item in ("one", "two", "three"):
                record(f"item:{item}", event="item.fixity_checked", actor=SYSTEM, payload={"n": number})


def confirmed(checkpoint: Checkpoint, witness, authority: Authority | None, moment: datetime) -> Checkpoint:
    seconds = int(moment.timestamp())
    signature = witness.key.sign(cosigned_text(parse_note(checkpoint.note).text, seconds))
    line = witness.public.line(seconds.to_bytes(8, "big") + signature)
    with recording():
        Cosignature.objects.create(
            checkpoint=checkpoint, witness=witness.public.label, line=line, stated_at=moment
        )
        if authority:
            response = authority.reply(timestamps.request(checkpoint.note).as_bytes())
            stated = timestamps.read(response, checkpoint.note)
            Timestamp.objects.create(
                checkpoint=checkpoint, authority="tsa.example", response=response, stated_at=stated
            )
    return checkpoint


# --- the attacks --------------------------------------------------------------------------------------------------


def event(subject: str, number: int) -> CustodyEvent:
    return CustodyEvent.objects.get(subject=subject, number=number)


def alter(hand, subject: str, number: int, *, rehash: bool) -> None:
    pk = event(subject, number).pk
    hand.put_body(pk, canonical(hand.event(pk) | {"payload": {"n": 77}}), rehash=rehash)


def change_one(archive) -> None:
    with superuser(replica=True) as hand:
        alter(hand, "item:one", 2, rehash=False)


def change_one_and_its_chain(archive) -> None:
    with superuser() as hand:
        alter(hand, "item:one", 2, rehash=True)
        hand.rehash_chain("item:one")
        hand.rebuild_tree()


def change_one_and_all(archive) -> None:
    with superuser(replica=True) as hand:
        alter(hand, "item:one", 2, rehash=True)
        hand.rebuild_all()
    published_again()


def published_again(rounds: int = 3) -> None:
    """Work goes on, and the server publishes by itself as it does every few minutes."""
    happen(rounds)
    publish(actor=SYSTEM)
    advance()


def delete_tail(archive) -> None:
    """All that came after last week's checkpoint, checkpoints and maps included."""
    size = archive.old.size
    with superuser() as hand:
        for table in ("cosignature", "timestamp"):
            hand.sql(f"DELETE FROM archive_{table} WHERE checkpoint_id = %s", archive.new.pk)
        hand.sql("DELETE FROM archive_checkpoint WHERE id = %s", archive.new.pk)
        hand.sql("DELETE FROM archive_maphead WHERE id = %s", archive.new.map_id)
        for pk in list(CustodyPosition.objects.filter(position__gte=size).values_list("event_id", flat=True)):
            hand.delete_event(pk)
        for (subject,) in hand.sql("SELECT name FROM archive_custodysubject"):
            hand.rehash_chain(subject)
        hand.rebuild_tree()
        for number, tip, name in hand.sql(
            "SELECT e.number, e.hash, e.subject FROM archive_custodyposition p JOIN archive_custodyevent e "
            "ON e.id = p.event_id WHERE p.position < %s ORDER BY p.position",
            archive.old.map.size,
        ):
            hand.sql("UPDATE archive_mapentry SET number = %s, tip = %s WHERE name = %s", number, tip, name)
        hand.sql("DELETE FROM archive_mapentry WHERE name = 'system:main'")


def delete_history(archive) -> None:
    with superuser() as hand:
        for pk in CustodyEvent.objects.filter(subject="item:two").values_list("pk", flat=True):
            hand.delete_event(pk)
        hand.rebuild_all()
    published_again()


def leave_out_the_last(archive) -> None:
    with superuser(replica=True) as hand:
        hand.delete_event(CustodyEvent.objects.filter(subject="item:two").latest("number").pk)
        hand.rehash_chain("item:two")
        hand.close_positions()
        hand.rebuild_tree()
        last = CustodyEvent.objects.filter(subject="item:two").latest("number")
        hand.sql(
            "UPDATE archive_mapentry SET number = %s, tip = %s WHERE name = 'item:two'",
            last.number,
            last.hash,
        )


def swap_two(archive) -> None:
    one, two = event("item:one", 3), event("item:two", 3)
    a, b = one.position.position, two.position.position
    with superuser() as hand:
        for row, place in ((one, 10**6), (two, a), (one, b)):
            hand.sql("UPDATE archive_custodyposition SET position = %s WHERE event_id = %s", place, row.pk)
        hand.rebuild_tree()


def insert_back_dated(archive) -> None:
    """An event like any other, only that it says that it happened six days ago."""
    archive.at(archive.now - timedelta(days=6))
    happen(1)
    advance()


def fork(archive) -> None:
    """One person was shown the log until now; to another the server shows one that parts from it after last week."""
    with superuser(replica=True) as hand:
        for pk in list(
            CustodyPosition.objects.filter(position__gte=archive.old.size).values_list("event_id", flat=True)
        ):
            hand.delete_event(pk)
        hand.rebuild_all()
    published_again(9)


def replace_key(archive) -> None:
    """Checkpoints are signed anew with a key of one's own, which takes the place of the log's key file."""
    path: Path = archive.settings.SIGNING_KEY_FILE
    path.unlink()
    archive.settings.SIGNING_ML_DSA_KEY_FILE.unlink(missing_ok=True)
    create_key_file(path)
    row = archive.new
    note = sign_note(archive.settings.NAME_IN_LOG, row.size, bytes.fromhex(row.root), signing_key())
    with superuser() as hand:
        for table in ("cosignature", "timestamp"):
            hand.sql(f"DELETE FROM archive_{table} WHERE checkpoint_id = %s", row.pk)
        hand.sql("UPDATE archive_checkpoint SET note = %s WHERE id = %s", note, row.pk)


def roll_clock_back(archive) -> None:
    """The server's clock is set back five days, and work goes on under it."""
    archive.at(archive.now - timedelta(days=5))
    published_again()


def serve_old(archive) -> None:
    """Last week's checkpoint is shown as the newest; that there is another is taken out of the log."""
    told = CustodyEvent.objects.filter(type="system.checkpoint_signed").latest("pk")
    with superuser() as hand:
        for table in ("cosignature", "timestamp"):
            hand.sql(f"DELETE FROM archive_{table} WHERE checkpoint_id = %s", archive.new.pk)
        hand.sql("DELETE FROM archive_checkpoint WHERE id = %s", archive.new.pk)
        hand.delete_event(told.pk)
        hand.rehash_chain("system:main")
        hand.close_positions()
        hand.rebuild_tree()


ATTACKS = {
    "change one event": change_one,
    "change one, chain made good": change_one_and_its_chain,
    "all made good after it": change_one_and_all,
    "delete the tail": delete_tail,
    "delete an item's history": delete_history,
    "leave out an item's last": leave_out_the_last,
    "swap two events": swap_two,
    "insert a back-dated event": insert_back_dated,
    "fork": fork,
    "replace the signing key": replace_key,
    "restore last week's backup": delete_tail,  # the database is as it was then, to the last row
    "roll the clock back": roll_clock_back,
    "serve an old checkpoint": serve_old,
}


# --- what is seen -------------------------------------------------------------------------------------------------


def seen(archive, **options) -> set[str]:
    """The lies that are named; and whether the witness is missing."""
    report = verify(**options)
    named = {fault.kind for fault in report.faults}
    return named | {ABSENT for told in report.unchecked if told.startswith("the policy on")}


def views(archive) -> tuple[set[str], ...]:
    """The log alone, with a checkpoint that was kept, with the witness's policy, with the authority's certificate, with
    what the signer keeps."""
    archive.settings.TIMESTAMP_CERTIFICATES = None
    three = (seen(archive), seen(archive, known=archive.new.note), seen(archive, policy=archive.policy))
    archive.settings.TIMESTAMP_CERTIFICATES = archive.certificates
    four = (*three, seen(archive))
    archive.settings.TIMESTAMP_CERTIFICATES = None
    last_signed.keep(archive.kept)
    five = (*four, seen(archive))
    archive.settings.TIMESTAMP_CERTIFICATES = archive.certificates
    return five


def test_an_untouched_log_is_good_in_each_view(archive):
    assert views(archive) == (set(), set(), set(), set(), set())
    report = verify(policy=archive.policy, known=archive.new.note)
    assert report.answer == "good" and (report.cosignatures, report.timestamps) == (2, 1)


@pytest.mark.parametrize("name", SEEN)
def test_attack(archive, name):
    ATTACKS[name](archive)
    found = views(archive)
    for view, expected, there in zip(
        ("alone", "known", "witness", "timestamp", "signer"), SEEN[name], found, strict=True
    ):
        assert (expected in there) if expected else (there == set()), (view, there)


@pytest.mark.parametrize(
    "name",
    [
        "all made good after it",
        "delete the tail",
        "delete an item's history",
        "fork",
        "restore last week's backup",
    ],
)
def test_nothing_more_is_signed_after(archive, name):
    """The log does not continue what was signed last, so the signer signs no more."""
    last_signed.keep(archive.kept)
    with contextlib.suppress(Damaged):
        ATTACKS[name](archive)
    signed = Checkpoint.objects.count()
    for force in (False, True):
        with pytest.raises(Damaged, match="does not continue"):
            publish(actor=SYSTEM, force=force)
    assert Checkpoint.objects.count() == signed and last_signed.read() == archive.kept


def test_six_attacks_are_seen_by_nobody_who_has_nothing_from_outside():
    assert ATTACKS.keys() == SEEN.keys()
    alone = [name for name, cells in SEEN.items() if cells[0] == UNSEEN]
    assert len(alone) == 6
    assert all(cells[1] and cells[2] and cells[4] for cells in SEEN.values())


def test_the_table_stands_in_the_document():
    document = (Path(__file__).parents[3] / "docs" / "custody-log.md").read_text()
    for name, cells in SEEN.items():
        assert f"| {name} | " + " | ".join(cell or "—" for cell in cells) + " |" in document


def test_an_event_after_its_witness_saw_it_is_from_the_future(archive):
    """A time that was made later than when the checkpoint over the event was cosigned."""
    archive.at(archive.now + timedelta(days=1))
    happen(1)
    row = publish(actor=SYSTEM)
    key = Ed25519PrivateKey.generate()
    other = SimpleNamespace(key=key, public=VerifierKey("w.example", COSIGNATURE, public_bytes(key)))
    confirmed(row, other, None, archive.now)
    policy = f"witness w {other.public}\nquorum w\n"
    assert "event from the future" in seen(archive, policy=policy)


def test_cosignatures_and_timestamps_that_were_altered(archive):
    with superuser() as hand:
        hand.sql("UPDATE archive_cosignature SET line = (SELECT MIN(line) FROM archive_cosignature)")
        hand.sql("UPDATE archive_timestamp SET checkpoint_id = %s", archive.old.pk)
    archive.settings.TIMESTAMP_CERTIFICATES = archive.certificates
    assert {"altered cosignature", "altered timestamp"} <= seen(archive, policy=archive.policy)


def test_triggers_are_back_and_fire_after_each_attack(archive):
    for name in ("change one event", "swap two events"):
        ATTACKS[name](archive)
        with pytest.raises(Exception, match="append-only|refused"), transaction.atomic(), recording():
            connection.cursor().execute("UPDATE archive_custodyevent SET number = 9")


def test_what_waits_but_is_no_event_gets_no_position(archive):
    with recording(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO archive_custodypending (event_id) VALUES (99999999)")
    happen(1)
    assert advance() == 3
    assert "missing position" not in seen(archive)


def test_a_position_without_an_event_is_named(archive):
    end = CustodyPosition.objects.count()
    with recording(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO archive_custodyposition (position, event_id) VALUES (%s, 99999999)", [end]
        )
    assert "missing position" in seen(archive)
