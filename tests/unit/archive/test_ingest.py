"""From bytes to item: taken once, named each time, refused with a reason, never lost between vault and row."""

import hashlib
import io
import json
import os
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from archive import cases, custody, ingest, jobs, vault
from archive.custody import Actor
from archive.custody.batch import Batch
from archive.custody.sequence import sequence
from archive.custody.verify import verify
from archive.errors import BadInput, LimitExceeded, NotAllowed, StorageFull
from archive.ingest import Found, Origin
from archive.media import probe
from archive.media.probe import READING
from archive.models import Acquisition, Blob, CustodyEvent, CustodyOpening, Item, Job
from tests import cast

pytestmark = pytest.mark.django_db
OPERATOR = Actor.operator()


def names(item: Item) -> list[str]:
    return list(item.acquisitions.order_by("pk").values_list("file_name", flat=True))


def events(item: Item) -> list[dict]:
    rows = CustodyEvent.objects.filter(subject=item.custody_subject()).order_by("number")
    return [json.loads(bytes(row.canonical)) for row in rows]


def test_an_item_is_its_bytes_with_three_events_and_its_jobs():
    case, data = cast.case(code="A1"), cast.jpeg(seed=3)
    item = cast.acquire(case, data, name="photo.jpg").item
    assert (item.code, item.sha256, item.size) == ("A1/0001", hashlib.sha256(data).hexdigest(), len(data))
    assert item.read_back_at is None and item.kind == Item.Kind.UNKNOWN
    with vault.open(item.sha256) as stored:
        assert stored.read() == data
    assert [event["type"] for event in events(item)] == ["item.hashed", "item.stored", "item.acquired"]
    assert events(item)[0]["payload"]["sha256"] == item.sha256
    assert events(item)[2]["payload"]["same_bytes_already_held"] is False
    assert set(item.jobs.values_list("name", "state")) == {
        ("archive.read_back", "queued"),
        ("archive.examine", "queued"),
    }
    assert not verify().faults


def test_the_same_bytes_again_are_the_same_item_and_a_further_acquisition():
    case, data = cast.case(), cast.jpeg(seed=4)
    first = cast.acquire(case, data, name="a.jpg")
    second = cast.acquire(case, data, name="copy of a.jpg")
    assert second.already_held and second.item == first.item
    assert names(first.item) == ["a.jpg", "copy of a.jpg"] and first.item.file_name == "a.jpg"
    assert [event["type"] for event in events(first.item)][-1] == "item.acquired"
    assert events(first.item)[-1]["payload"]["same_bytes_already_held"] is True
    assert not verify().faults


def test_the_same_bytes_in_another_case_are_another_item_of_the_same_blob():
    data = cast.jpeg(seed=5)
    one, two = cast.acquire(cast.case(), data).item, cast.acquire(cast.case(), data).item
    assert one != two and one.blob == two.blob and Blob.objects.count() == 1
    assert (one.number, two.number) == (1, 1)


def test_items_of_a_case_are_numbered_without_gaps():
    case = cast.case()
    assert [cast.item(case).number for _ in range(3)] == [1, 2, 3]


def test_an_empty_file_is_an_item_too():
    item = cast.item(data=b"", name="empty.jpg")
    assert item.size == 0 and item.sha256 == hashlib.sha256(b"").hexdigest()


def test_file_names_are_private_in_the_log():
    item = cast.item(name="Amal-Nasser-interview.mp4")
    assert not any("Amal" in json.dumps(event) for event in events(item))
    assert CustodyOpening.objects.filter(value="Amal-Nasser-interview.mp4").exists()


@pytest.mark.parametrize("role", ["reviewer", "legal", "data_scientist", "observer"])
def test_who_may_not_add_adds_nothing(role):
    user = cast.person(role)
    case = cast.case(user)
    with pytest.raises(NotAllowed):
        cast.acquire(case, b"x", actor=cast.signed_in(user))
    with pytest.raises(NotAllowed):
        cast.acquire(cast.case(), b"x", actor=cast.signed_in(cast.person("administrator")))
    assert not Item.objects.exists() and not Blob.objects.exists()


def test_a_worker_acquires_nothing():
    with custody.unattended(), pytest.raises(NotAllowed):
        cast.acquire(cast.case(), b"x")
    assert not Item.objects.exists()


def test_a_closed_case_takes_nothing():
    owner = cast.person()
    case = cast.case(owner=owner)
    cases.change_case(case=case, actor=cast.signed_in(owner), status="closed")
    with pytest.raises(BadInput, match="closed"):
        cast.acquire(case, b"x")


def test_a_source_of_another_case_is_refused():
    origin = Origin(Acquisition.Method("command"), "t", "a.jpg", source=cast.source(cast.case()))
    with pytest.raises(BadInput, match="another case"):
        ingest.acquire(case=cast.case(), actor=OPERATOR, stream=io.BytesIO(b"x"), origin=origin)


@pytest.mark.parametrize(
    ("announced", "error"),
    [
        ({"expected_size": 9}, BadInput),
        ({"expected_size": 2}, BadInput),
        ({"expected_sha256": "0" * 64}, BadInput),
    ],
)
def test_bytes_that_are_not_those_announced_are_refused(announced, error):
    origin = Origin(Acquisition.Method("upload"), "t", "a.jpg")
    with pytest.raises(error):
        ingest.acquire(
            case=cast.case(), actor=OPERATOR, stream=io.BytesIO(b"four"), origin=origin, **announced
        )
    assert not Item.objects.exists() and not Blob.objects.exists()


def test_a_file_over_the_limit_is_refused(settings):
    settings.UPLOAD_LIMIT = 10
    with pytest.raises(LimitExceeded, match="10 bytes"):
        cast.acquire(cast.case(), b"x" * 11)
    cast.acquire(cast.case(), b"x" * 10)


def test_settling_stands_and_falls_with_the_rows():
    case, told = cast.case(), []
    origin = Origin(Acquisition.Method("upload"), "t", "a.jpg")

    def refuse(acquired) -> None:
        told.append(acquired.item.code)
        raise BadInput("no")

    with pytest.raises(BadInput):
        ingest.acquire(case=case, actor=OPERATOR, stream=io.BytesIO(b"x"), origin=origin, settle=refuse)
    assert told == [f"{case.code}/0001"] and not Item.objects.exists()


# --- many at once -------------------------------------------------------------------------------------------------


def test_a_batch_writes_what_one_by_one_writes():
    """The same rows, events, order and commitments, but for keys, times and salts."""
    case, other = cast.case(), cast.case()
    single, batched = Item.objects.none(), None
    files = [("a.jpg", b"1"), ("b.jpg", b"2"), ("a again.jpg", b"1")]
    for name, data in files:
        cast.acquire(case, data, name=name)
    arrived = [
        (vault.put(io.BytesIO(data)), Origin(Acquisition.Method("command"), "amparo 0.1.0 ingest", name))
        for name, data in files
    ]
    acquired = ingest.register_all(case=other, actor=OPERATOR, arrived=arrived)
    assert [a.already_held for a in acquired] == [False, False, True]
    single, batched = shape(case), shape(other)
    assert single == batched
    assert not verify().faults
    sequence()
    assert not verify().faults


def shape(case) -> list:
    """What the log says of a case's items, without what must differ."""
    told = []
    for item in case.items.order_by("number"):
        for event in events(item):
            fields = {
                k: v
                for k, v in event["payload"].get("set", {}).items()
                if k not in ("case", "item", "at", "received_at")
            }
            fields = {k: "committed" if isinstance(v, dict) else v for k, v in fields.items()}
            told.append((item.number, event["number"], event["type"], event["actor"]["kind"], fields))
        told.append(sorted(item.jobs.values_list("name", flat=True)))
    return told


def test_a_batch_needs_a_transaction_an_entitled_actor_and_clean_rows():
    item = cast.item()
    with custody.unattended(), pytest.raises(NotAllowed):
        Batch(OPERATOR).record(item, event="item.acquired", payload={})
    with pytest.raises(NotAllowed):
        Batch(Actor.system()).record(item, event="item.decided", payload={})
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError):
        Batch(OPERATOR).write(
            Acquisition(item=item, at=timezone.now(), method="by post"), event="item.acquired"
        )


def test_a_batch_goes_on_where_chains_stand():
    item = cast.item()
    batch = Batch(Actor.system())
    for answer in ("good", "bad"):
        batch.record(item, event="item.fixity_checked", payload={"answer": answer})
    with transaction.atomic():
        batch.append()
    assert [event["number"] for event in events(item)] == [1, 2, 3, 4, 5]
    assert not verify().faults


@pytest.mark.django_db(transaction=True)
def test_the_same_files_by_several_at_once_are_items_once():
    case = cast.case()
    blobs = [b"file %d" % number for number in range(12)]
    start, raised = threading.Barrier(4), []

    def take(order: list[bytes]) -> None:
        try:
            start.wait()
            for data in order:
                cast.acquire(case, data, name="x")
        except Exception as error:  # noqa: BLE001 - the test looks at it
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=take, args=(blobs[i * 3 :] + blobs[: i * 3],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == []
    assert sorted(case.items.values_list("number", flat=True)) == list(range(1, 13))
    assert Acquisition.objects.count() == 48
    assert not verify().faults


@pytest.mark.django_db(transaction=True)
def test_batches_that_overlap_do_not_wait_for_each_other_for_ever():
    case = cast.case()
    stored = [vault.put(io.BytesIO(b"shared %d" % number)) for number in range(10)]
    start, raised = threading.Barrier(3), []

    def take(order: list) -> None:
        try:
            start.wait()
            origin = Origin(Acquisition.Method("command"), "t", "x")
            ingest.register_all(case=case, actor=OPERATOR, arrived=[(one, origin) for one in order])
        except Exception as error:  # noqa: BLE001 - the test looks at it
            raised.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=take, args=(order,))
        for order in (stored, stored[::-1], stored[5:] + stored[:5])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == [] and case.items.count() == 10 and Acquisition.objects.count() == 30
    assert not verify().faults


# --- from disk ----------------------------------------------------------------------------------------------------


def listing(folder) -> list[Found]:
    return ingest.find_files([folder], recursive=True).files


def test_files_are_told_in_their_order_each_with_its_end(tmp_path):
    for number in range(60):
        (tmp_path / f"{number:02}.txt").write_bytes(b"%d" % (number % 50))
    (tmp_path / "20.txt").chmod(0)
    case = cast.case()
    taken = list(ingest.acquire_files(case=case, actor=OPERATOR, files=listing(tmp_path), tool="t"))
    assert [one.found.path.name for one in taken] == [f"{number:02}.txt" for number in range(60)]
    assert all(one.acquired or one.error for one in taken)
    assert (
        case.items.count() >= 49
        and sum(1 for one in taken if one.acquired and one.acquired.already_held) >= 10
    )
    assert not verify().faults


@pytest.mark.parametrize("becomes", ["a link", "a pipe", "nothing"])
def test_a_file_that_became_something_else_since_it_was_found_is_not_followed(tmp_path, becomes):
    path = tmp_path / "a.txt"
    path.write_bytes(b"x")
    found = listing(tmp_path)
    path.unlink()
    if becomes == "a link":
        path.symlink_to("/etc/hostname")
    if becomes == "a pipe":
        os.mkfifo(path)
    (taken,) = ingest.acquire_files(case=cast.case(), actor=OPERATOR, files=found, tool="t")
    assert isinstance(taken.error, BadInput) and "Nothing of it was" in taken.error.sentence
    assert not Item.objects.exists()


def test_a_file_that_grows_while_it_is_read_is_not_taken(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 100)
    put = vault.put

    def slow(stream, **options):
        stored = put(stream, **options)
        with path.open("ab") as file:
            file.write(b"more")
        return stored

    monkeypatch.setattr(vault, "put", slow)
    (taken,) = ingest.acquire_files(case=cast.case(), actor=OPERATOR, files=listing(tmp_path), tool="t")
    assert "changed while it was read" in taken.error.sentence and not Item.objects.exists()


def test_a_full_vault_is_told_for_its_file_and_others_stand(tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_bytes(b"%d" % number)
    put = vault.put

    def full(stream, **options):
        if stream.read(1) == b"1":
            raise StorageFull("No room.")
        stream.seek(0)
        return put(stream, **options)

    monkeypatch.setattr(vault, "put", full)
    taken = list(ingest.acquire_files(case=cast.case(), actor=OPERATOR, files=listing(tmp_path), tool="t"))
    assert [type(one.error).__name__ for one in taken] == ["NoneType", "StorageFull", "NoneType"]
    assert Item.objects.count() == 2


def test_stopping_in_the_middle_leaves_no_thread_and_only_what_was_told(tmp_path):
    for number in range(80):
        (tmp_path / f"{number:02}.txt").write_bytes(b"%d" % number)
    flow = ingest.acquire_files(case=cast.case(), actor=OPERATOR, files=listing(tmp_path), tool="t")
    told = [next(flow) for _ in range(3)]
    flow.close()
    assert Item.objects.count() >= len(told)
    assert not [t for t in threading.enumerate() if t.name.startswith("store")]
    assert not verify().faults


def test_a_case_that_is_closed_meanwhile_takes_no_more(tmp_path):
    for number in range(200):
        (tmp_path / f"{number:03}.txt").write_bytes(b"%d" % number)
    owner = cast.person()
    case = cast.case(owner=owner)
    flow = ingest.acquire_files(case=case, actor=OPERATOR, files=listing(tmp_path), tool="t")
    next(flow)
    cases.change_case(case=type(case).objects.get(pk=case.pk), actor=cast.signed_in(owner), status="closed")
    with pytest.raises(BadInput, match="closed"):
        list(flow)
    assert 0 < Item.objects.count() < 200
    assert not Job.objects.filter(item=None).exists()


@pytest.mark.slow
def test_what_a_later_release_reads_in_files_is_read_by_command(monkeypatch, capsys):
    item = cast.item(name="2026-05-03.jpg")
    jobs.run_waiting("archive.examine")
    item.refresh_from_db()
    kind, claims, drawn = item.kind, item.claims.count(), item.renditions.count()
    for later, queued in ((0, 0), (1, 1), (1, 0)):
        monkeypatch.setattr(probe, "READING", READING + later)
        call_command("examine", case=item.case.code)
        assert f"{queued} items are queued" in capsys.readouterr().out
        assert jobs.run_waiting("archive.examine_again") == queued
    item.refresh_from_db()
    assert item.technical["reading"] == READING + 1 and claims
    assert (item.kind, item.claims.count(), item.renditions.count()) == (kind, claims, drawn)
    assert [event["type"] for event in events(item)].count("item.examined") == 2 and not verify().faults
    with pytest.raises(CommandError, match="no case"):
        call_command("examine", case="NONE")
