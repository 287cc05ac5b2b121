"""`custody verify` in several processes, stopped and resumed; and what it says of tree, map and time."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from archive import fixity
from archive.custody import Actor, map
from archive.custody import verify as verifying
from archive.custody.canonical import canonical
from archive.custody.log import record
from archive.custody.notes import ED25519, VerifierKey
from archive.custody.publish import publish
from archive.custody.sequence import advance
from archive.custody.verify import pool, state, verify
from archive.custody.verify.maps import sparse_root
from archive.models import CustodyEvent, CustodyPosition, CustodyTile, MapEntry, MapHead, MapPage
from tests import cast
from tests.superuser import superuser

pytestmark = pytest.mark.slow

SYSTEM = Actor.system("test")


def append(subject: str, count: int = 1, **options) -> None:
    with transaction.atomic():
        for number in range(count):
            record(subject, event="system.fixity_failed", actor=SYSTEM, payload={"n": number}, **options)


def kinds(**options) -> set[str]:
    return {fault.kind for fault in verify(**options).faults}


# --- several processes --------------------------------------------------------------------------------------------


@pytest.fixture
def ranges(monkeypatch):
    """A log of three ranges, committed, so that other processes see it."""
    monkeypatch.setattr(verifying, "RANGE", 256)
    cast.item()
    for name in range(8):
        append(f"case:{name % 5}", 70)
    publish(actor=SYSTEM)
    advance()


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_several_processes_find_what_one_finds(ranges):
    one, many = verify(jobs=1), verify(jobs=3)
    assert one.answer == many.answer == "good", many
    assert one.events == many.events > 512
    assert (one.tiles, one.openings, one.rows) == (many.tiles, many.openings, many.rows)
    pks = list(CustodyPosition.objects.filter(position__in=[30, 300, 301]).values_list("event_id", flat=True))
    with superuser() as hand:
        for pk in pks:
            hand.put_body(pk, canonical(hand.event(pk) | {"reason": "other"}), rehash=False)
    one, many = verify(jobs=1), verify(jobs=3)
    assert one.faults == many.faults and one.counts == many.counts
    assert one.counts["altered event"] == 3 and "position 30)" in one.faults[0].place


@pytest.mark.django_db(transaction=True)
def test_a_stopped_run_is_resumed_and_what_changed_meanwhile_is_seen(ranges):
    def stop(count: int) -> None:
        if count > 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(jobs=1, progress=stop)
    assert state.path().stat().st_mode & 0o777 == 0o600
    left = state.path().read_text()
    resumed = verify(jobs=1, resume=True)
    assert resumed.answer == "good" and "512 events are as they were" in resumed.remarks[0]
    assert not state.path().exists()
    state.path().write_text(left)
    pk = CustodyPosition.objects.get(position=40).event_id
    with superuser() as hand:
        hand.put_body(pk, canonical(hand.event(pk) | {"reason": "other"}), rehash=False)
    resumed = verify(jobs=2, resume=True)
    assert resumed.answer == "bad" and "256 events are as they were" in resumed.remarks[0]
    assert "position 40)" in resumed.faults[0].place


@pytest.mark.django_db(transaction=True)
def test_a_process_that_dies_is_no_good_answer(ranges, monkeypatch):
    monkeypatch.setattr(
        pool,
        "START",
        pool.START.replace(
            "import main;", "import main; import archive.custody.verify.worker as w; w.work = None;"
        ),
    )
    report = verify(jobs=2)
    assert report.answer == "could not check"
    assert "positions 0 to 255: the process that checked them ended" in report.unchecked


@pytest.mark.django_db
@pytest.mark.parametrize("error", [OSError("the disk is gone"), KeyError("x"), TypeError("y")])
def test_what_stops_the_command_is_never_good(error, monkeypatch, capsys):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(verifying, "check_heads", fails)
    with pytest.raises(SystemExit) as ended:
        call_command("custody", "verify")
    assert ended.value.code == 3 and "Answer: could not check." in capsys.readouterr().out


# --- tree and map -------------------------------------------------------------------------------------------------


@pytest.fixture
def published(db):
    """A small archive under one checkpoint; what publishing records of itself is after it."""
    case = cast.case()
    items = [cast.item(case) for _ in range(3)]
    publish(actor=SYSTEM)
    advance()
    return items


def test_a_published_log_is_good_with_tree_and_map(published):
    report = verify()
    assert report.answer == "good", report
    assert report.maps == 1 and report.tiles == CustodyTile.objects.count() and report.checkpoints == 1


# What no moment can be is no way to stop the check before it names other lies.
NO_TIME = "long ago" if connection.vendor == "sqlite" else "infinity"
ALTERATIONS = {
    "leaf of a tile": ("altered tile", "UPDATE archive_custodytile SET hashes = %s WHERE level = 0", [b"\x00" * 32 * 30]),
    "no tiles": ("altered tile", "DELETE FROM archive_custodytile", []),
    "a tile too many": (
        "altered tile", "INSERT INTO archive_custodytile (level, \"index\", hashes) VALUES (1, 0, %s)", [b"\x00" * 32],
    ),
    "entry's number": ("altered map", "UPDATE archive_mapentry SET number = number + 1 WHERE name LIKE 'item:%%'", []),
    "entry's hash": ("altered map", "UPDATE archive_mapentry SET tip = %s WHERE name LIKE 'file:%%'", ["0" * 64]),
    "entry's key": ("altered map", "UPDATE archive_mapentry SET key_proof = %s WHERE name LIKE 'case:%%'", [b"x" * 256]),
    "no entry": ("altered map", "DELETE FROM archive_mapentry WHERE name LIKE 'item:%%'", []),
    "an entry more": (
        "altered map",
        "INSERT INTO archive_mapentry (name, key, key_proof, number, tip) SELECT 'item:none', %s, key_proof, 1, tip "
        "FROM archive_mapentry WHERE name LIKE 'case:%%'", ["f" * 64],
    ),
    "root": ("altered map", "UPDATE archive_maphead SET root = %s", ["0" * 64]),
    "page": ("altered map", "UPDATE archive_mappage SET content = %s", [b"\x00" * 16]),
    "another event": ("altered map", "UPDATE archive_maphead SET event_id = (SELECT MIN(id) FROM archive_custodyevent)", []),
    "no map": ("altered checkpoint", "UPDATE archive_checkpoint SET map_id = NULL", []),
    "when it was signed": ("altered checkpoint", "UPDATE archive_checkpoint SET signed_at = %s", ["2020-01-01 00:00:00+00:00"]),
    "a checkpoint's time is none": ("altered checkpoint", "UPDATE archive_checkpoint SET signed_at = %s", [NO_TIME]),
    "a row's time is none": ("altered row", "UPDATE archive_item SET received_at = %s", [NO_TIME]),
    "an opening twice": (
        "altered opening", "INSERT INTO archive_custodyopening (event_id, pointer, salt, value) SELECT event_id, pointer, "
        "salt, value FROM archive_custodyopening WHERE id = (SELECT MAX(id) FROM archive_custodyopening)", [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ALTERATIONS)
def test_altered_tree_and_map(published, name):
    kind, statement, values = ALTERATIONS[name]
    with superuser() as hand:
        hand.sql(statement, *values)
    report = verify()
    assert report.counts.keys() == {kind} and not report.unchecked


@pytest.mark.django_db
@pytest.mark.parametrize(
    "lie",
    [
        "fixity = 'good', set_aside = ''",
        "checked_at = '2999-01-01 00:00:00+00:00'",
        "stored_at = '2999-01-01 00:00:00+00:00', checked_at = NULL",
    ],
)
def test_a_check_of_stored_bytes_that_the_log_does_not_tell_of(published, lie):
    digest = published[0].sha256
    fixity.keep(digest, fixity.Answer(fixity.BAD, "changed"), None, actor=SYSTEM, repair=False)
    assert verify().answer == "good"
    with superuser() as hand:
        hand.sql(f"UPDATE archive_blob SET {lie} WHERE sha256 = %s", digest)
    report = verify()
    assert report.counts.keys() == {"altered row"} and digest in report.faults[0].place


@pytest.mark.django_db
def test_what_stops_one_part_hides_no_lie_that_another_finds(published, monkeypatch):
    monkeypatch.setattr(verifying, "check_map", lambda *_: 1 / 0)
    with superuser() as hand:
        hand.sql("UPDATE archive_item SET size = size + 1")
    report = verify()
    assert report.counts.keys() == {"altered row"} and "the map: the check stopped" in report.unchecked[0]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 1_048_577], ids=["empty", "binary", "large"])
def test_a_known_checkpoint_that_cannot_be_read_is_no_answer(tmp_path, content):
    (tmp_path / "known").write_bytes(content)
    with pytest.raises(CommandError) as refused:
        call_command("custody", "verify", known=tmp_path / "known")
    assert refused.value.returncode == 2


def test_a_page_of_the_map_that_leads_to_itself_ends_no_walk(published):
    head, loop = MapHead.objects.latest("size"), 10**6
    slots = map._decode(bytes(head.page.content))
    slots[slots.index(None)] = map.Below(loop, map.EMPTY)  # adds nothing to the root
    with superuser() as hand:
        hand.sql("UPDATE archive_mappage SET content = %s WHERE id = %s", map._encode(slots), head.page_id)
        empty = map._encode([map.Below(loop, map.EMPTY), *[None] * 15])
        hand.sql("INSERT INTO archive_mappage (id, content) VALUES (%s, %s)", loop, empty)
    assert kinds() == {"altered map"}


def with_leaf(page, leaf, depth=0):
    """Copies of the pages on the way to a leaf's key, with this leaf there: the first one, and its hash."""
    slots = map._decode(bytes(MapPage.objects.get(pk=page).content))
    branch = map._branch(leaf.key, depth)
    below = isinstance(slots[branch], map.Below)
    slots[branch] = map.Below(*with_leaf(slots[branch].page, leaf, depth + 1)) if below else leaf
    return MapPage.objects.create(content=map._encode(slots)).pk, map._fold(slots)[0]


def test_a_wrong_map_that_was_signed_and_then_put_right_is_named(published):
    subject = published[0].custody_subject()
    entry, first = MapEntry.objects.get(name=subject), CustodyEvent.objects.get(subject=subject, number=1)
    key = bytes.fromhex(entry.key)
    heads = MapHead.objects.order_by("size")
    with superuser():
        honest = heads[0].page_id
        forged, _ = with_leaf(honest, map.Leaf(key, 1, bytes.fromhex(first.hash)))  # 'it had one event'
        heads.update(page_id=forged)
    cast.item()
    publish(actor=SYSTEM)
    assert map.prove(subject, heads[1]).number == 1 < entry.number
    with superuser():
        forged = heads[1].page_id
        mended, _ = with_leaf(forged, map.Leaf(key, entry.number, bytes.fromhex(entry.tip)))
        for head, page in ((heads[0], honest), (heads[1], mended)):
            heads.filter(pk=head.pk).update(page_id=page)
    cast.item()
    publish(actor=SYSTEM)
    with superuser():
        heads.filter(pk=heads[1].pk).update(page_id=forged)
    (fault,) = verify().faults
    assert fault.kind == "altered map" and fault.place == f"map of {heads[1].size} events"


def test_confirmations_that_events_tell_of_are_missed(published):
    told = {"line_sha256": "0" * 64, "witness": "W1"}
    with transaction.atomic():
        record(
            "system:main", event="system.checkpoint_witnessed", actor=SYSTEM, payload={"witnesses": [told]}
        )
    advance()
    assert kinds() == {"missing confirmation"}


def test_a_policy_for_another_log_is_not_satisfied(published):
    other = VerifierKey("other.example/log", ED25519, bytes(range(32)))
    assert kinds(policy=f"log {other}\nquorum none\n") == {"wrong key"}


def test_a_map_taken_away_is_missed(published):
    with superuser() as hand:
        hand.sql("UPDATE archive_checkpoint SET map_id = NULL")
        for table in ("maphead", "mapentry", "mappage"):
            hand.sql(f"DELETE FROM archive_{table}")
    assert kinds() == {"altered map", "altered checkpoint"}  # the checkpoint names a map no more


def test_the_map_is_checked_where_it_stands_behind_the_log(published):
    append("case:later", 5)
    cast.item()
    advance()
    assert verify().answer == "good"
    publish(actor=SYSTEM)
    assert verify().maps == 2 and verify().answer == "good"


def test_the_root_made_in_the_order_of_keys_is_the_root_of_the_pages(published):
    head = MapHead.objects.latest("size")
    leaves = [
        (bytes.fromhex(e.key), map.Leaf(bytes.fromhex(e.key), e.number, bytes.fromhex(e.tip)).hash())
        for e in MapEntry.objects.order_by("key")
    ]
    assert MapPage.objects.exists() and sparse_root(leaves).hex() == head.root
    assert sparse_root([]) == map.EMPTY and sparse_root(leaves[:1]) == leaves[0][1]
    close = [(b"\x00" * 31 + bytes([n]), bytes([n]) * 32) for n in (2, 3, 5)]
    inside = map.inner(map.inner(map.EMPTY, map.inner(close[0][1], close[1][1])), close[2][1])
    for _ in range(256 - 3):
        inside = map.inner(inside, map.EMPTY)
    assert sparse_root(close) == inside


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_clock_that_ran_backwards_is_named_beyond_a_tolerance():
    now = datetime.now(UTC)
    for minutes in (0, -14, 3, -11):
        append("case:clock", clock=lambda m=minutes: now + timedelta(minutes=m))
    advance()
    assert verify().answer == "good"
    append("case:other", clock=lambda: now - timedelta(minutes=13))
    advance()
    (fault,) = verify().faults
    assert fault.kind == "clock ran backwards" and "position 4)" in fault.place


@pytest.mark.django_db
@pytest.mark.parametrize("time", ["zzzz", "2026-02-30T00:00:00.000000Z", "2026-W47-6T09:00:00.123456Z"])
def test_what_is_no_time_is_named_and_hides_no_clock_that_ran_backwards(time):
    append("case:clock", 2)
    event = CustodyEvent.objects.get(subject="case:clock", number=2)
    with superuser() as hand:
        hand.put_body(event.pk, canonical(hand.event(event.pk) | {"time": time}), rehash=True)
        if connection.vendor == "sqlite":  # where a column holds any text
            hand.sql("UPDATE archive_custodyevent SET time = %s WHERE id = %s", time, event.pk)
        hand.rehash_chain("case:clock")
    append("case:other", clock=lambda: datetime.now(UTC) - timedelta(days=30))
    advance()
    assert kinds() == {"altered event", "clock ran backwards"}


@pytest.mark.django_db
def test_an_event_too_long_to_be_one_is_named():
    append("case:long")
    event = CustodyEvent.objects.get(subject="case:long")
    with superuser() as hand:
        long = canonical(hand.event(event.pk) | {"payload": {"n": "x" * 65_535}})
        hand.put_body(event.pk, long, rehash=True)
        hand.rehash_chain("case:long")
    assert kinds() == {"altered event"}


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command_prints_figures_for_programs(published, capsys, tmp_path):
    policy = tmp_path / "policy"
    policy.write_text("quorum none\n")
    call_command("custody", "verify", "--json", "--jobs", "1", "--resume", "--policy", str(policy))
    told = json.loads(capsys.readouterr().out)
    assert told["answer"] == "good" and told["maps"] == 1 and told["tiles"] == 1
    assert told["events"] == CustodyEvent.objects.count() and told["seconds"].keys() == {"log", "map", "rows"}
