"""People: added, given roles, let in by a link once, shut out; every step an event, no name in clear."""

from datetime import timedelta

import pytest
from django.utils import timezone

from archive import people
from archive.custody import Actor
from archive.custody.verify import verify
from archive.errors import BadInput, NotAllowed, NotFound
from archive.models import CustodyEvent, SignInLink, User
from tests import cast

pytestmark = pytest.mark.django_db
OPERATOR = Actor.operator()


def add(username="amal", roles=("researcher",), **options) -> User:
    options.setdefault("password", cast.PASSWORD)
    return people.add(username=username, name="Amal Nasser", roles=roles, actor=OPERATOR, **options)


def test_a_person_is_added_with_their_roles_and_the_log_names_nobody():
    person = add(roles=("researcher", "legal"))
    assert person.roles() == {"researcher", "legal"} and person.role_names() == "legal+researcher"
    assert person.check_password(cast.PASSWORD)
    events = CustodyEvent.objects.filter(subject="system:main").order_by("pk")
    assert [event.type for event in events] == ["system.person_added", "system.roles_changed"]
    assert not any(b"Amal" in bytes(event.canonical) or b"amal" in bytes(event.canonical) for event in events)
    assert not verify().faults


@pytest.mark.parametrize("name", ["amal", "AMAL", " amal "])
def test_a_sign_in_name_is_taken_in_every_spelling(name):
    add()
    with pytest.raises(BadInput, match="taken"):
        add(name)


@pytest.mark.parametrize(
    ("username", "roles", "password"),
    [
        ("", ("researcher",), cast.PASSWORD),
        ("x" * 81, (), cast.PASSWORD),
        ("a", ("king",), cast.PASSWORD),
        ("a", (), "short"),
    ],
)
def test_what_cannot_be_a_person_is_refused_and_leaves_nothing(username, roles, password):
    with pytest.raises(BadInput):
        add(username, roles, password=password)
    assert not User.objects.exists() and not CustodyEvent.objects.exists()


@pytest.mark.parametrize("role", [r for r in cast.NAMES if r != "administrator"])
def test_only_an_administrator_manages_people(role):
    actor, other = cast.signed_in(cast.person(role)), cast.person("observer")
    for act in (
        lambda: people.add(username="x", name="x", roles=(), actor=actor),
        lambda: people.set_roles(person=other, roles=("administrator",), actor=actor),
        lambda: people.set_active(person=other, active=False, actor=actor),
        lambda: people.set_password(person=other, password=cast.PASSWORD, actor=actor),
        lambda: people.make_sign_in_link(person=other, actor=actor),
    ):
        with pytest.raises(NotAllowed):
            act()


def test_an_administrator_does_it_and_the_events_say_so():
    actor, other = cast.signed_in(cast.person("administrator")), cast.person("observer")
    people.set_roles(person=other, roles=("legal",), actor=actor)
    assert User.objects.get(pk=other.pk).roles() == {"legal"}
    people.set_active(person=other, active=False, actor=actor)
    assert not User.objects.get(pk=other.pk).is_active
    assert not verify().faults


def test_nobody_closes_their_own_account():
    person = cast.person("administrator")
    with pytest.raises(BadInput):
        people.set_active(person=person, active=False, actor=cast.signed_in(person))


def test_everybody_may_change_their_own_password_and_the_event_does_not_hold_it():
    person = cast.person("observer")
    people.set_password(person=person, password="a wholly new pass-phrase", actor=cast.signed_in(person))
    assert User.objects.get(pk=person.pk).check_password("a wholly new pass-phrase")
    event = CustodyEvent.objects.latest("pk")
    assert event.type == "system.person_changed" and b'"password":"changed"' in bytes(event.canonical)
    assert person.password.encode() not in bytes(event.canonical)


def test_a_sign_in_link_works_once():
    person = cast.person()
    token = people.make_sign_in_link(person=person, actor=OPERATOR)
    assert not SignInLink.objects.filter(token_hash=token).exists(), "only its hash is kept"
    assert people.use_sign_in_link(token) == person
    with pytest.raises(NotFound):
        people.use_sign_in_link(token)


@pytest.mark.parametrize("fault", ["unknown", "expired", "closed account"])
def test_a_sign_in_link_that_must_not_work_does_not(fault):
    person = cast.person()
    token = people.make_sign_in_link(person=person, actor=OPERATOR)
    if fault == "expired":
        SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    if fault == "closed account":
        people.set_active(person=person, active=False, actor=OPERATOR)
    with pytest.raises(NotFound):
        people.use_sign_in_link("another" if fault == "unknown" else token)
