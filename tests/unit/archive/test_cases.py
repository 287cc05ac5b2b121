"""Cases and sources: opened, changed, an identity sealed and seen; every step an event."""

import json
from datetime import date

import pytest

from archive import access, cases
from archive.custody import Actor
from archive.custody.canonical import commitment
from archive.custody.verify import verify
from archive.errors import BadInput, NotAllowed, NotFound
from archive.models import Case, CustodyEvent, CustodyOpening, Source
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner():
    return cast.person()


def test_who_opens_a_case_sees_and_manages_it_and_exports_only_when_that_is_granted(owner):
    case = cases.open_case(code="RIO-1", title="River", actor=cast.signed_in(owner))
    assert access.can(owner, "view", case) and access.can(owner, "share", case)
    assert not access.can(owner, "export", case) and not access.can(owner, "see_identity", case)
    assert not verify().faults


@pytest.mark.parametrize("code", ["", "a b", "-x", "x" * 41, "é", "a\n"])
def test_a_code_that_cannot_be_typed_or_filed_is_refused(owner, code):
    with pytest.raises(BadInput):
        cases.open_case(code=code, title="T", actor=cast.signed_in(owner))
    assert not Case.objects.exists()


def test_a_code_is_given_once(owner):
    cast.case(code="A")
    with pytest.raises(BadInput, match="taken"):
        cases.open_case(code="A", title="T", actor=cast.signed_in(owner))


@pytest.mark.parametrize("role", ["reviewer", "legal", "data_scientist", "observer"])
def test_not_everybody_opens_cases(role):
    with pytest.raises(NotAllowed):
        cases.open_case(code="A", title="T", actor=cast.signed_in(cast.person(role)))


def test_a_change_names_what_changed_and_why(owner):
    case = cast.case(owner=owner)
    cases.change_case(
        case=case,
        actor=cast.signed_in(owner),
        reason="Court order",
        status="closed",
        retain_until=date(2030, 1, 1),
    )
    event = CustodyEvent.objects.get(type="case.changed")
    said = json.loads(bytes(event.canonical))
    assert said["payload"]["set"] == {"status": "closed", "retain_until": "2030-01-01"}
    assert CustodyOpening.objects.get(event=event, pointer="/reason").value == "Court order"
    assert not verify().faults


def test_changing_nothing_is_no_event(owner):
    case = cast.case(owner=owner)
    before = CustodyEvent.objects.count()
    cases.change_case(case=case, actor=cast.signed_in(owner), title=case.title)
    assert CustodyEvent.objects.count() == before


@pytest.mark.parametrize(
    "change", [{"code": "B"}, {"created_at": None}, {"sensitivity": "whatever"}, {"title": ""}]
)
def test_what_cannot_be_changed_or_makes_no_sense_is_refused(owner, change):
    case = cast.case(owner=owner)
    with pytest.raises(BadInput):
        cases.change_case(case=case, actor=cast.signed_in(owner), **change)
    assert not verify().faults


def test_a_reader_changes_nothing(owner):
    reader = cast.person()
    case = cast.case(reader, owner=owner)
    with pytest.raises(NotAllowed):
        cases.change_case(case=case, actor=cast.signed_in(reader), status="closed")


def test_a_source_is_recorded_by_pseudonym_and_its_consent_is_open(owner):
    case = cast.case(owner=owner)
    source = cases.add_source(
        case=case, code="S1", actor=cast.signed_in(owner), pseudonym="Heron", consent_informed="yes"
    )
    said = json.loads(bytes(CustodyEvent.objects.get(type="source.recorded").canonical))["payload"]["set"]
    assert said["consent_informed"] == "yes" and set(said["pseudonym"]) == {"commitment"}
    cases.change_source(
        source=source, actor=cast.signed_in(owner), consent_informed="no", identity_sealed=b"x"
    )
    assert Source.objects.get().consent_informed == "no" and Source.objects.get().identity_sealed is None
    with pytest.raises(BadInput, match="taken"):
        cases.add_source(case=case, code="S1", actor=cast.signed_in(owner))
    assert not verify().faults


def test_an_identity_is_sealed_and_seen_only_with_its_own_permission_and_a_reason(owner):
    case = cast.case(owner=owner)
    source, actor = cast.source(case), cast.signed_in(owner)
    cases.set_identity(source=source, identity="Samira Real", actor=actor)
    stored = Source.objects.get()
    assert b"Samira" not in bytes(stored.identity_sealed) and b"Samira" not in bytes(stored.identity_key)
    with pytest.raises(NotAllowed):
        cases.see_identity(source=stored, actor=actor, reason="Court")
    cast.share(case, owner, access.IDENTITY)
    with pytest.raises(BadInput, match="why"):
        cases.see_identity(source=stored, actor=actor, reason=" ")
    assert cases.see_identity(source=stored, actor=actor, reason="Court") == "Samira Real"
    assert CustodyEvent.objects.filter(type="source.identity_seen").count() == 1
    assert not any(
        b"Samira" in bytes(body) for body in CustodyEvent.objects.values_list("canonical", flat=True)
    )
    assert not CustodyOpening.objects.filter(value="Samira Real").exists()
    assert not verify().faults


def test_the_sealed_salt_opens_the_identitys_commitment(owner):
    from archive import sealing

    source = cast.source(cast.case(owner=owner))
    cases.set_identity(source=source, identity="Samira Real", actor=cast.signed_in(owner))
    said = json.loads(bytes(CustodyEvent.objects.get(type="source.identity_set").canonical))["payload"]
    opened = sealing.unseal(source.identity_key, source.identity_sealed, context=source.custody_subject())
    assert said["identity"]["commitment"] == commitment(opened["salt"], "/payload/identity", "Samira Real")


def test_an_identity_that_was_never_given_is_not_there(owner):
    case = cast.case(owner=owner)
    cast.share(case, owner, access.IDENTITY)
    with pytest.raises(NotFound):
        cases.see_identity(source=cast.source(case), actor=cast.signed_in(owner), reason="Court")


def test_the_shell_operator_sees_no_identity(owner):
    source = cast.source(cast.case(owner=owner))
    cases.set_identity(source=source, identity="Samira Real", actor=Actor.operator())
    with pytest.raises(NotAllowed):
        cases.see_identity(source=source, actor=Actor.operator(), reason="Court")
