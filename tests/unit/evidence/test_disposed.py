"""Bundles that the archive keeps go with the items in them; what was handed out is not reached, and nobody says so."""

import io

import pytest
from django.db import transaction
from django.utils import timezone

from archive import access, custody, disposal, jobs, vault
from archive.custody import Actor
from archive.custody.verify import verify
from archive.errors import Disposed, Missing
from archive.models import Blob, CustodyEvent, Job
from evidence import bundle as bundles
from evidence.models import Bundle, BundleItem, BundleVolume
from tests import cast

pytestmark = pytest.mark.django_db


def kept(case, *items, state=Bundle.State.BUILT) -> BundleVolume:
    """A bundle in the vault with these items, as if it had been built."""
    stored = vault.put(io.BytesIO(b"a zip with " + b"".join(str(i.pk).encode() for i in items)))
    Blob.objects.create(sha256=stored.sha256, size=stored.size, stored_at=timezone.now())
    bundle = Bundle(
        case=case,
        item_count=len(items),
        items_sha256="0" * 64,
        key="0" * 64,
        requested_at=timezone.now(),
        state=state,
    )
    with transaction.atomic():
        custody.write(bundle, event="bundle.requested", actor=Actor.operator())
        volume = BundleVolume(
            bundle=bundle,
            number=1,
            of=1,
            item_count=len(items),
            size=stored.size,
            blob_id=stored.sha256,
            statement_sha256="0" * 64,
            built_at=timezone.now(),
        )
        custody.write(volume, event="bundle.volume_built", actor=Actor.system())
    BundleItem.objects.bulk_create(BundleItem(bundle=bundle, item=item, volume=1) for item in items)
    return volume


@pytest.fixture
def approved():
    """Dispose of an item of a case, up to the approval."""

    def approve(case, item) -> None:
        asker, lawyer = cast.person("researcher"), cast.person("legal")
        for person in (asker, lawyer):
            cast.share(case, person, access.MANAGE)
        found = disposal.request(
            case=case,
            actor=cast.signed_in(asker),
            items=[item.pk],
            reason="Consent ended",
            authority="Rule 4",
        )
        disposal.approve(disposal=found, actor=cast.signed_in(lawyer))

    return approve


def test_a_kept_bundle_goes_with_the_first_of_its_items_and_others_stay(approved):
    case = cast.case()
    item, other = cast.item(case), cast.item(case)
    volume, spared = kept(case, item, other), kept(case, other)
    sha256 = volume.blob_id
    approved(case, item)
    jobs.run_waiting("archive.dispose")
    with pytest.raises(Missing):
        vault.open(sha256)
    vault.open(spared.blob_id).close()
    with pytest.raises(Disposed, match="was destroyed"):
        bundles.download(bundle=volume.bundle, actor=Actor.operator())
    assert CustodyEvent.objects.filter(type="bundle.destroyed").count() == 1
    assert not verify().faults


def test_a_disposal_waits_for_a_bundle_that_is_being_built(approved):
    case = cast.case()
    item = cast.item(case)
    kept(case, item, state=Bundle.State.REQUESTED)
    approved(case, item)
    jobs.run_waiting("archive.dispose", most=1)
    assert "is being built" in Job.objects.get(name="archive.dispose").error
    vault.open(item.sha256).close()


def test_a_download_is_an_event_of_each_item_that_was_taken_out():
    person = cast.person("researcher")
    case = cast.case(owner=person)
    cast.share(case, person, access.EXPORT, access.MANAGE)
    items = [cast.item(case) for _ in range(2)]
    left = cast.item(case)
    volume = kept(case, *items)
    bundles.download(bundle=volume.bundle, actor=cast.signed_in(person))
    told = CustodyEvent.objects.filter(type="item.taken_out").values_list("subject", flat=True)
    assert set(told) == {item.custody_subject() for item in items} and left.custody_subject() not in told
    assert not verify().faults
