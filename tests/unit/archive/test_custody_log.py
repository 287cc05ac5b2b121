"""A change and its event are one; events are numbered, chained, private where they must be, and human where they must be."""

import json
import threading
from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from archive import custody
from archive.custody import Actor, Private, store
from archive.custody.canonical import MAX_EVENT_BYTES, ZERO_HASH, canonical, commitment, event_hash
from archive.custody.log import record
from archive.custody.sequence import sequence
from archive.errors import BadInput, Conflict, NotAllowed, UnrecordedChange
from archive.events import EVENTS
from archive.models import (
    Case,
    CustodyEvent,
    CustodyOpening,
    CustodyPending,
    CustodyPosition,
    CustodySubject,
    ItemTag,
    Note,
    Tag,
)
from tests import cast

pytestmark = pytest.mark.django_db
OPERATOR, SYSTEM = Actor.operator(), Actor.system("worker")


def append(subject="case:one", event="system.fixity_failed", actor=SYSTEM, **options):
    with transaction.atomic():
        return record(subject, event=event, actor=actor, **options)


def document(row) -> dict:
    return json.loads(bytes(row.canonical))


# --- form ---------------------------------------------------------------------------------------------------------


def test_an_event_has_exactly_the_documented_form():
    moment = datetime(2026, 11, 21, 9, 0, 0, 123456, UTC)
    row = append("case:one", payload={"a": 1}, clock=lambda: moment)
    assert document(row) == {
        "version": 1,
        "subject": "case:one",
        "number": 1,
        "previous": ZERO_HASH,
        "type": "system.fixity_failed",
        "time": "2026-11-21T09:00:00.123456Z",
        "actor": {"kind": "system", "id": "", "role": "worker", "name": ""},
        "reason": "",
        "software": "amparo 0.1.0",
        "payload": {"a": 1},
    }
    assert bytes(row.canonical) == canonical(document(row))
    assert row.hash == event_hash(bytes(row.canonical)).hex()


def test_events_of_a_subject_are_numbered_and_chained():
    rows = [append() for _ in range(3)]
    assert [row.number for row in rows] == [1, 2, 3]
    assert [document(row)["previous"] for row in rows] == [ZERO_HASH, rows[0].hash, rows[1].hash]
    tip = CustodySubject.objects.get(name="case:one")
    assert (tip.length, tip.tip) == (3, rows[2].hash)


def test_subjects_have_chains_of_their_own():
    assert [append("case:one").number, append("case:two").number, append("case:one").number] == [1, 1, 2]


def test_a_private_value_stands_in_the_event_as_a_commitment_only():
    row = append(
        payload={"who": Private("Amal"), "list": [1, Private("x/y")], "a/b": Private("z")}, reason="why"
    )
    body = bytes(row.canonical).decode()
    assert "Amal" not in body and "why" not in body and "x/y" not in body
    opened = {o.pointer: (o.salt, o.value) for o in CustodyOpening.objects.filter(event=row)}
    assert {p: v for p, (_, v) in opened.items()} == {
        "/payload/who": "Amal",
        "/payload/list/1": "x/y",
        "/payload/a~1b": "z",
        "/reason": "why",
    }
    for pointer, stated in {
        "/payload/who": document(row)["payload"]["who"],
        "/payload/a~1b": document(row)["payload"]["a/b"],
        "/reason": document(row)["reason"],
    }.items():
        assert stated == {"commitment": commitment(opened[pointer][0], pointer, opened[pointer][1])}


def test_each_commitment_has_a_salt_of_its_own():
    append(payload={"a": Private("same"), "b": Private("same")})
    append(payload={"a": Private("same")})
    salts = set(CustodyOpening.objects.values_list("salt", flat=True))
    assert len(salts) == 3 and all(len(salt) == 64 for salt in salts)


def test_the_actors_name_is_private():
    row = append(actor=Actor("operator", name="root-of-all", role="operator"))
    assert b"root-of-all" not in bytes(row.canonical)


def test_an_event_of_the_greatest_size_is_taken_and_one_byte_more_is_refused():
    empty = len(bytes(append("case:size", payload={"text": ""}).canonical))
    room = MAX_EVENT_BYTES - empty
    assert len(bytes(append("case:fits", payload={"text": "x" * room}).canonical)) == MAX_EVENT_BYTES
    with pytest.raises(BadInput, match="65535"):
        append("case:over", payload={"text": "x" * (room + 1)})
    assert not CustodyEvent.objects.filter(subject="case:over").exists()


@pytest.mark.parametrize("payload", [{"n": 2**53}, {"ключ": 1}])
def test_what_readers_could_disagree_about_never_enters_the_log(payload):
    with pytest.raises(ValueError):
        append(payload=payload)
    assert not CustodyEvent.objects.exists()


def test_an_unknown_event_type_is_an_error():
    with pytest.raises(KeyError):
        append(event="item.forgotten")


# --- who may ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, kind in EVENTS.items() if kind.human])
def test_events_of_humans_are_refused_from_workers_whoever_is_named(name):
    person = cast.signed_in(cast.person())
    for actor in (SYSTEM, OPERATOR, person):
        with custody.unattended(), pytest.raises(NotAllowed):
            append(event=name, actor=actor)
    with pytest.raises(NotAllowed):
        append(event=name, actor=SYSTEM)
    with pytest.raises(NotAllowed):
        append(event=name, actor=Actor("person", person.id, person.name, "researcher"))  # no session
    assert append(event=name, actor=person).type == name


@pytest.mark.parametrize("name", [n for n, kind in EVENTS.items() if kind.human])
def test_the_shell_operator_may_cause_exactly_what_is_marked_so(name):
    if EVENTS[name].operator:
        append(event=name, actor=OPERATOR)
    else:
        with pytest.raises(NotAllowed):
            append(event=name, actor=OPERATOR)


def test_nobody_signs_in_inside_a_worker():
    user = cast.person()
    with custody.unattended(), pytest.raises(NotAllowed):
        cast.signed_in(user)


@pytest.mark.django_db(transaction=True)
def test_an_event_needs_the_transaction_of_its_change():
    with pytest.raises(UnrecordedChange):
        record("case:one", event="system.fixity_failed", actor=SYSTEM)
    assert not CustodyEvent.objects.exists()


# --- a change and its event ---------------------------------------------------------------------------------------


def test_a_change_that_is_rolled_back_leaves_no_event():
    before = CustodyEvent.objects.count()
    with pytest.raises(RuntimeError), transaction.atomic():
        custody.write(
            Case(code="GONE", title="t", created_at=timezone.now()), event="case.opened", actor=OPERATOR
        )
        raise RuntimeError
    assert not Case.objects.exists() and CustodyEvent.objects.count() == before


def test_a_row_that_a_constraint_refuses_leaves_no_event():
    cast.case(code="ONE")
    before = CustodyEvent.objects.count()
    with pytest.raises(IntegrityError), transaction.atomic():
        custody.write(
            Case(code="ONE", title="t", created_at=timezone.now()), event="case.opened", actor=OPERATOR
        )
    assert CustodyEvent.objects.count() == before


def test_a_row_whose_event_is_refused_is_not_written():
    item, author = cast.item(), cast.person()
    with pytest.raises(NotAllowed), transaction.atomic():
        custody.write(
            Note(item=item, by=author, at=timezone.now(), text="x"), event="item.noted", actor=SYSTEM
        )
    assert not Note.objects.exists()


def test_a_change_names_the_state_that_it_expects():
    item = cast.item()
    now = timezone.now()
    with transaction.atomic():
        custody.change(
            item, event="item.read_back", actor=SYSTEM, expect={"read_back_at": None}, read_back_at=now
        )
    before = CustodyEvent.objects.count()
    with pytest.raises(Conflict), transaction.atomic():
        custody.change(
            item, event="item.read_back", actor=SYSTEM, expect={"read_back_at": None}, read_back_at=now
        )
    assert CustodyEvent.objects.count() == before


def test_what_is_erased_once_cannot_be_erased_again():
    researcher = cast.person()
    case = cast.case(researcher, owner=researcher)
    actor = cast.signed_in(researcher)
    item = cast.item(case)
    with transaction.atomic():
        tag = custody.write(Tag(case=case, name="bridge"), event="case.tag_made", actor=actor)
        on = custody.write(
            ItemTag(item=item, tag=tag, by=researcher, at=timezone.now()), event="item.tagged", actor=actor
        )
    twin = ItemTag.objects.get(pk=on.pk)
    with transaction.atomic():
        custody.erase(on, event="item.untagged", actor=actor)
    before = CustodyEvent.objects.count()
    with pytest.raises(Conflict), transaction.atomic():
        custody.erase(twin, event="item.untagged", actor=actor)
    assert CustodyEvent.objects.count() == before


def test_a_row_event_states_open_fields_and_commits_to_private_ones():
    case = cast.case(code="R1", title="Ribeira")
    event = document(CustodyEvent.objects.get(type="case.opened"))
    assert event["payload"]["record"] == "archive.case"
    assert event["payload"]["id"] == str(case.pk)
    assert event["payload"]["set"]["code"] == "R1"
    assert set(event["payload"]["set"]["title"]) == {"commitment"}
    assert event["payload"]["set"]["mandate"] == ""


# --- order ---------------------------------------------------------------------------------------------------------


def test_events_wait_for_their_position_and_get_it_in_the_order_of_recording():
    rows = [append("case:one"), append("case:two"), append("case:one")]
    assert CustodyPending.objects.count() == 3 and not CustodyPosition.objects.exists()
    assert sequence() == 3
    assert list(CustodyPosition.objects.order_by("position").values_list("position", "event_id")) == list(
        enumerate(row.pk for row in rows)
    )
    assert not CustodyPending.objects.exists()


def test_positions_go_on_where_they_stopped_in_batches():
    for number in range(5):
        append(f"case:{number}")
    assert sequence(batch=2) == 5
    append()
    assert sequence() == 1
    assert sequence() == 0
    assert list(CustodyPosition.objects.order_by("position").values_list("position", flat=True)) == list(
        range(6)
    )


# --- many at once -------------------------------------------------------------------------------------------------


def together(count: int, act) -> list:
    """Run `act(i)` in `count` threads at once, each with a connection of its own; return what they raised."""
    raised, start = [], threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait()
            act(number)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.django_db(transaction=True)
def test_appends_at_once_to_one_subject_make_one_whole_chain():
    def act(number: int) -> None:
        for _ in range(5):
            append("case:busy", payload={"by": number})

    assert together(6, act) == []
    rows = list(CustodyEvent.objects.filter(subject="case:busy").order_by("number"))
    assert [row.number for row in rows] == list(range(1, 31))
    previous = ZERO_HASH
    for row in rows:
        assert document(row)["previous"] == previous
        previous = row.hash
    sequence()
    by_position = CustodyPosition.objects.order_by("position").values_list("event__number", flat=True)
    assert list(by_position) == list(range(1, 31))


@pytest.mark.django_db(transaction=True)
def test_sequencers_at_once_leave_no_gap_and_no_double():
    for number in range(40):
        append(f"case:{number % 7}")
    assert together(4, lambda _: sequence(batch=3)) == []
    sequence()
    assert list(CustodyPosition.objects.order_by("position").values_list("position", flat=True)) == list(
        range(40)
    )


def test_an_event_of_a_known_subject_is_one_statement_on_postgresql_and_the_same_bytes(monkeypatch):
    append("case:known")
    if connection.vendor == "postgresql":
        monkeypatch.setattr(store.Writer, "lock", None)
    told = {"actor": Actor.operator(), "reason": "because", "payload": {"a": Private("b"), "c": [1, None]}}
    row = append("case:known", **told)
    kept = CustodyEvent.objects.get(pk=row.pk)
    assert (row.number, row.hash) == (kept.number, kept.hash) == (2, event_hash(bytes(kept.canonical)).hex())
    assert bytes(row.canonical) == bytes(kept.canonical) == canonical(document(kept))
    openings = dict(kept.openings.values_list("pointer", "value"))
    assert openings.keys() == {"/actor/name", "/payload/a", "/reason"} and openings["/payload/a"] == "b"
    tip = CustodySubject.objects.get(name="case:known")
    assert (tip.length, tip.tip) == (2, kept.hash)
    assert CustodyPending.objects.filter(event=kept).exists()


@pytest.mark.django_db(transaction=True)
def test_an_append_locks_its_own_subject_alone():
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    append("case:slow")
    held, done = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            record("case:slow", event="system.fixity_failed", actor=SYSTEM)
            held.set()
            done.wait(10)
        connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    held.wait(10)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        append("case:quick")
        with pytest.raises(DatabaseError):
            append("case:slow")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0")
        done.set()
        thread.join()
