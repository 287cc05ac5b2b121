"""Destroy a source's identity (crypto-shredding). What is reached and what is not: docs/retention.md.

Destroyed are the wrapped key and the sealed value, which hold the only opening of the commitments to the identity, and
the openings of the reasons that were written when it was sealed or seen, which often name it. With the pseudonym: that
too, in the row and in the openings of all events of the source. The events stay, and verify.
"""

from django.utils import timezone

from archive import custody
from archive.custody import Actor, erasure
from archive.models import CustodyEvent, CustodyOpening, CustodySubject, Disposal

SEALED = ("source.identity_set",)
WITH_REASONS = ("source.identity_set", "source.identity_seen")
scrub = erasure.scrub


def destroy(*, disposal: Disposal, actor: Actor) -> CustodyEvent:
    """Destroy what an approved request names, in its transaction; return the certificate event."""
    source, now = disposal.source, timezone.now()
    CustodySubject.objects.select_for_update().get(
        name=source.custody_subject()
    )  # nothing is added meanwhile
    fields = {"pseudonym": ""} if disposal.with_pseudonym else {}
    custody.change(
        source,
        event="source.identity_destroyed",
        actor=actor,
        reason=disposal.reason,
        also={
            "disposal": str(disposal.pk),
            "requested_by": str(disposal.requested_by_id),
            "destroyed": _openings(source.custody_subject(), disposal.with_pseudonym),
        },
        identity_key=None,
        identity_sealed=None,
        identity_destroyed_at=now,
        **fields,
    )
    certificate = CustodyEvent.objects.filter(subject=source.custody_subject()).latest("number")
    erasure.carry_out(certificate)
    return certificate


def _openings(subject: str, with_pseudonym: bool) -> dict[str, list[int]]:
    """Numbers of events by pointer. Those of the identity itself lie in the sealed value alone."""
    events = CustodyEvent.objects.filter(subject=subject).order_by("number")
    openings = CustodyOpening.objects.filter(event__subject=subject).order_by("event__number")
    numbers = openings.values_list("event__number", flat=True)
    found = {
        "/payload/identity": list(events.filter(type__in=SEALED).values_list("number", flat=True)),
        "/reason": list(numbers.filter(pointer="/reason", event__type__in=WITH_REASONS)),
    }
    if with_pseudonym:
        found["/payload/set/pseudonym"] = list(numbers.filter(pointer="/payload/set/pseudonym"))
    return {pointer: listed for pointer, listed in found.items() if listed}
