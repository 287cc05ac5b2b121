"""Crypto-shredding: a source's identity is destroyed by two persons; all else stays and verifies."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import DatabaseError, connection, transaction

from archive import access, cases, disposal, holds, sealing
from archive.custody import Actor, erasure
from archive.custody.log import recording
from archive.custody.verify import verify
from archive.errors import BadInput, Conflict, NotAllowed, NotFound, UnrecordedChange
from archive.models import CustodyErasure, CustodyEvent, CustodyOpening, Source
from tests import cast
from tests.superuser import superuser

pytestmark = pytest.mark.django_db
WHY = {"reason": "The source asked to be forgotten.", "authority": "Consent form, clause 7"}


@pytest.fixture
def scene():
    """A source whose identity was sealed and seen, in a case with a researcher and a lawyer."""
    asker, lawyer = cast.person("researcher"), cast.person("legal")
    case = cast.case(owner=asker)
    for person in (asker, lawyer):
        cast.share(case, person, access.MANAGE, access.IDENTITY)
    source = cast.source(case, pseudonym="Cedar")
    actor = cast.signed_in(asker)
    cases.set_identity(source=source, identity="Samira Real", actor=actor, reason="Samira signed herself")
    cases.see_identity(source=source, actor=actor, reason="To call Samira")
    cases.change_source(source=source, actor=actor, pseudonym="Old Cedar", reason="Two cedars")
    return SimpleNamespace(case=case, source=source, asker=actor, lawyer=cast.signed_in(lawyer))


def destroyed(scene, **more) -> Source:
    found = disposal.request_destruction(source=scene.source, actor=scene.asker, **WHY, **more)
    disposal.approve(disposal=found, actor=scene.lawyer)
    return Source.objects.get(pk=scene.source.pk)


def reasons(scene) -> list[str]:
    rows = CustodyOpening.objects.filter(event__subject=scene.source.custody_subject(), pointer="/reason")
    return list(rows.order_by("event__number").values_list("value", flat=True))


def test_key_and_openings_are_gone_and_everything_verifies(scene):
    before = verify()
    source = destroyed(scene)
    assert source.identity_key is None and source.identity_sealed is None and source.identity_destroyed_at
    assert reasons(scene) == ["Two cedars", WHY["reason"]]
    assert source.pseudonym == "Old Cedar"
    report = verify()
    assert (report.faults, report.destroyed, report.unopened) == ([], 2, before.unopened)
    event = CustodyEvent.objects.get(type="source.identity_destroyed")
    body = json.loads(bytes(event.canonical))
    assert body["payload"]["destroyed"] == {"/payload/identity": [2], "/reason": [2, 3]}
    assert body["actor"]["role"] == "legal" and body["payload"]["requested_by"] == scene.asker.id
    with pytest.raises(NotFound, match="destroyed"):
        cases.see_identity(source=source, actor=scene.asker, reason="Court")


def test_the_pseudonym_goes_too_where_it_was_asked_for(scene):
    source = destroyed(scene, with_pseudonym=True)
    assert source.pseudonym == ""
    assert not CustodyOpening.objects.filter(pointer="/payload/set/pseudonym").exists()
    report = verify()
    assert (report.faults, report.destroyed) == ([], 4)


def test_a_copy_of_the_row_made_before_cannot_be_put_back_unnoticed(scene):
    """A restored key opens nothing that the log does not know to be destroyed."""
    sealed = Source.objects.get(pk=scene.source.pk)
    opening = CustodyOpening.objects.get(event__type="source.identity_seen", pointer="/reason")
    destroyed(scene)
    with superuser():
        opening.save(force_insert=True)
    report = verify()
    assert [fault.kind for fault in report.faults] == ["unrecorded erasure"]
    assert "still there" in report.faults[0].sentence
    assert sealing.unseal(
        sealed.identity_key, sealed.identity_sealed, context=sealed.custody_subject()
    )  # what a backup keeps as long as its key-encryption key is kept: docs/retention.md says so


# --- the door is narrow -----------------------------------------------------------------------------------------


def test_the_database_lets_no_opening_go_without_its_erasure(scene):
    opening = CustodyOpening.objects.filter(pointer="/reason").first()
    with pytest.raises(DatabaseError, match="recorded erasure"), transaction.atomic(), recording():
        CustodyOpening.objects.filter(pk=opening.pk)._raw_delete("default")


def test_an_erasure_that_no_certificate_lists_is_found(scene):
    destroyed(scene)
    certificate = CustodyEvent.objects.get(type="source.identity_destroyed")
    opening = CustodyOpening.objects.filter(pointer="/actor/name").first()
    with recording():
        CustodyErasure.objects.create(
            event_id=opening.event_id, pointer=opening.pointer, certificate=certificate
        )
        CustodyOpening.objects.filter(pk=opening.pk)._raw_delete("default")
    assert [fault.kind for fault in verify().faults] == ["unrecorded erasure"]


def test_only_a_certificate_destroys(scene):
    event = CustodyEvent.objects.filter(subject=scene.source.custody_subject()).latest("number")
    with pytest.raises(UnrecordedChange), transaction.atomic():
        erasure.carry_out(event)


# --- each refusal -----------------------------------------------------------------------------------------------


def test_nobody_destroys_alone(scene):
    found = disposal.request_destruction(source=scene.source, actor=scene.lawyer, **WHY)
    with pytest.raises(BadInput, match="another person"):
        disposal.approve(disposal=found, actor=scene.lawyer)
    with pytest.raises(Conflict, match="already"):
        disposal.request_destruction(source=scene.source, actor=scene.asker, **WHY)
    disposal.decline(disposal=found, actor=cast.signed_in(_another(scene)), answer="Still needed in court")
    assert Source.objects.get(pk=scene.source.pk).identity_key is not None


def _another(scene):
    person = cast.person("legal")
    cast.share(scene.case, person, access.MANAGE)
    return person


def test_no_reason_no_right_no_identity_no_destruction(scene):
    with pytest.raises(BadInput):
        disposal.request_destruction(source=scene.source, actor=scene.asker, **WHY | {"reason": ""})
    stranger = cast.signed_in(cast.person("administrator", "legal"))
    for actor in (stranger, Actor.operator(), Actor.system()):
        with pytest.raises(NotAllowed):
            disposal.request_destruction(source=scene.source, actor=actor, **WHY)
    with pytest.raises(NotFound):
        disposal.request_destruction(source=cast.source(scene.case), actor=scene.asker, **WHY)


@pytest.mark.parametrize("identities", [True, False])
def test_a_hold_keeps_the_identity_where_it_says_so(scene, identities):
    found = disposal.request_destruction(source=scene.source, actor=scene.asker, **WHY)
    holds.place(case=scene.case, actor=scene.lawyer, reason="Court order", identities=identities)
    if identities:
        with pytest.raises(BadInput, match="legal hold"):
            disposal.approve(disposal=found, actor=scene.lawyer)
    else:
        disposal.approve(disposal=found, actor=scene.lawyer)
    assert (Source.objects.get(pk=scene.source.pk).identity_key is None) is not identities


def test_another_identity_can_be_sealed_afterwards(scene):
    source = destroyed(scene)
    cases.set_identity(source=source, identity="Another person", actor=scene.asker)
    assert cases.see_identity(source=source, actor=scene.asker, reason="Court") == "Another person"
    assert not verify().faults


@pytest.mark.django_db(transaction=True)
def test_the_bytes_are_gone_from_the_database_files_too(scene):
    """SQLite: freed pages are overwritten and the write-ahead log is emptied; nobody reads meanwhile."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL keeps dead rows until VACUUM: docs/retention.md says so")
    name = connection.settings_dict["NAME"]
    sealed, reason = bytes(Source.objects.get(pk=scene.source.pk).identity_sealed), b"To call Samira"

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in Path(name).parent.glob(Path(name).name + "*"))

    assert sealed in on_disk() and reason in on_disk()
    destroyed(scene)
    assert sealed not in on_disk() and reason not in on_disk()
