"""What people add to items: each by who may, each an event, nothing twice."""

import threading
from decimal import Decimal

import pytest
from django.db import connection

from archive import annotate
from archive.custody import Actor
from archive.custody.verify import verify
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import Assignment, CustodyEvent, Finding, ItemTag, Note, Tag
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene():
    researcher = cast.person()
    case = cast.case(owner=researcher)
    return researcher, cast.signed_in(researcher), cast.item(case)


def events(kind: str) -> int:
    return CustodyEvent.objects.filter(type=kind).count()


def test_the_same_tag_twice_is_one(scene):
    _, actor, item = scene
    first = annotate.tag(item=item, name="  night   raid ", actor=actor)
    assert first.tag.name == "night raid"
    assert annotate.tag(item=item, name="night raid", actor=actor) == first
    assert (events("case.tag_made"), events("item.tagged")) == (1, 1)
    annotate.untag(item_tag=first, actor=actor)
    assert events("item.untagged") == 1 and not ItemTag.objects.exists() and Tag.objects.count() == 1
    assert not verify().faults


@pytest.mark.parametrize("name", ["", "   ", "x" * 81])
def test_a_tag_needs_a_word(scene, name):
    with pytest.raises(BadInput):
        annotate.tag(item=scene[2], name=name, actor=scene[1])


@pytest.mark.django_db(transaction=True)
def test_the_same_tag_by_many_at_once_is_one():
    people = [cast.person() for _ in range(4)]
    item = cast.item(cast.case(*people))
    actors = [cast.signed_in(user) for user in people]
    start, raised = threading.Barrier(4), []

    def act(actor) -> None:
        try:
            start.wait()
            annotate.tag(item=item, name="bridge", actor=actor)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=act, args=(actor,)) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == [] and ItemTag.objects.count() == 1 and events("item.tagged") == 1


def test_a_note_is_kept_as_written_and_private_in_the_log(scene):
    _, actor, item = scene
    annotate.note(item=item, text=" Amal stands left ", actor=actor, frame_ms=1200)
    assert Note.objects.get().text == "Amal stands left"
    assert not any(
        b"Amal stands" in bytes(body) for body in CustodyEvent.objects.values_list("canonical", flat=True)
    )
    for text in ("", "  \n"):
        with pytest.raises(BadInput):
            annotate.note(item=item, text=text, actor=actor)
    with pytest.raises(BadInput):
        annotate.note(item=item, text="x" * 8001, actor=actor)
    assert not verify().faults


def test_an_item_is_assigned_once_to_a_person_who_sees_it(scene):
    researcher, actor, item = scene
    with pytest.raises(BadInput, match="share it"):
        annotate.assign(item=item, to=cast.person(), actor=actor)
    reviewer = cast.person("reviewer")
    cast.share(item.case, reviewer)
    given = annotate.assign(item=item, to=reviewer, actor=actor)
    assert annotate.assign(item=item, to=reviewer, actor=actor) == given and events("item.assigned") == 1
    stranger = cast.person("reviewer")
    cast.share(item.case, stranger)
    with pytest.raises(NotAllowed):
        annotate.close_assignment(assignment=given, actor=cast.signed_in(stranger))
    annotate.close_assignment(assignment=given, actor=cast.signed_in(reviewer))
    with pytest.raises(Conflict):
        annotate.close_assignment(assignment=Assignment.objects.get(), actor=actor)
    assert annotate.assign(item=item, to=reviewer, actor=actor) != given
    assert not verify().faults


def test_a_finding_stands_apart_from_claims_and_needs_its_basis(scene):
    _, actor, item = scene
    with pytest.raises(BadInput, match="basis"):
        annotate.establish(item=item, about="place", basis=" ", actor=actor)
    annotate.establish(
        item=item,
        about="place",
        basis="Shadows and the mosque",
        actor=actor,
        latitude=15.3694451,
        longitude="44.19",
        radius_m=50,
    )
    row = Finding.objects.get()
    assert (row.latitude, row.longitude) == (Decimal("15.369445"), Decimal("44.190000"))
    assert not verify().faults


@pytest.mark.parametrize("place", [{"latitude": 91}, {"longitude": -180.5}])
def test_a_place_lies_on_earth(scene, place):
    with pytest.raises(BadInput, match="lies between"):
        annotate.establish(item=scene[2], about="place", basis="Map", actor=scene[1], **place)


@pytest.mark.parametrize("role", ["observer", "data_scientist"])
def test_who_may_only_look_adds_nothing(role):
    user = cast.person(role)
    item, actor = cast.item(cast.case(user)), cast.signed_in(user)
    for act in (
        lambda: annotate.tag(item=item, name="x", actor=actor),
        lambda: annotate.note(item=item, text="x", actor=actor),
        lambda: annotate.assign(item=item, to=user, actor=actor),
        lambda: annotate.establish(item=item, about="place", basis="x", actor=actor),
    ):
        with pytest.raises(NotAllowed):
            act()


@pytest.mark.parametrize("actor", [Actor.operator(), Actor.system("worker")], ids=["operator", "worker"])
def test_no_note_without_a_person(scene, actor):
    with pytest.raises(NotAllowed):
        annotate.note(item=scene[2], text="x", actor=actor)
