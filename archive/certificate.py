"""The certificate of a disposal: what was destroyed, when, on which authority, by whose word, as the log tells it.

It is read out of the custody events, not out of the tables: what is printed can be checked against the log by whoever
holds a bundle or a proof.
"""

from dataclasses import dataclass, field
from datetime import datetime

from archive.disposal import approval_of, body_of
from archive.models import CustodyEvent, CustodyPosition, Disposal

PAGE = 500  # items on one sheet


@dataclass(frozen=True)
class Line:
    """One item: what its event of disposal says."""

    code: str
    sha256: str
    size: int
    destroyed: bool  # else another row of the archive names the same bytes, and they are kept for it
    renditions: int
    at: datetime
    event: CustodyEvent
    position: int | None


@dataclass(frozen=True)
class Certificate:
    """A disposal with the events that prove it."""

    disposal: Disposal
    approval: CustodyEvent
    approver_role: str
    lines: list[Line] = field(default_factory=list)
    after: int | None = None  # number of the last item on this sheet, where more follow
    destruction: CustodyEvent | None = None  # of an identity
    openings: dict[str, int] = field(default_factory=dict)  # of an identity: how many commitments, by pointer


def of(disposal: Disposal, *, after: int = 0) -> Certificate:
    """The certificate, or the sheet of it that begins after this item number. Raises Damaged without an approval."""
    approval = approval_of(disposal)
    role = body_of(approval)["actor"]["role"]
    if disposal.what == Disposal.What.IDENTITY:
        return _of_identity(disposal, approval, role)
    entries = disposal.entries.exclude(disposed_at=None).filter(item__number__gt=after)
    page = list(entries.select_related("item__case").order_by("item__number")[: PAGE + 1])
    shown = {entry.item.custody_subject(): entry.item for entry in page[:PAGE]}
    events = {}
    for event in CustodyEvent.objects.filter(subject__in=shown, type="item.disposed").order_by("number"):
        told = body_of(event)["payload"]
        if told["set"]["disposal"] == str(disposal.pk):
            events[event.subject] = (event, told)
    places = dict(
        CustodyPosition.objects.filter(event__in=[e for e, _ in events.values()]).values_list(
            "event_id", "position"
        )
    )
    lines = [
        Line(
            code=item.code,
            sha256=told["original"]["sha256"],
            size=told["original"]["size"],
            destroyed=told["original"]["bytes"] == "destroyed",
            renditions=len(told["renditions"]),
            at=event.time,
            event=event,
            position=places.get(event.pk),
        )
        for subject, item in shown.items()
        if subject in events
        for event, told in [events[subject]]
    ]
    last = page[PAGE - 1].item.number if len(page) > PAGE else None
    return Certificate(disposal, approval, role, lines, last)


def _of_identity(disposal: Disposal, approval: CustodyEvent, role: str) -> Certificate:
    subject = disposal.custody_subject()
    for event in CustodyEvent.objects.filter(subject=subject, type="source.identity_destroyed"):
        told = body_of(event)["payload"]
        if told["disposal"] == str(disposal.pk):
            openings = {pointer: len(numbers) for pointer, numbers in told["destroyed"].items()}
            return Certificate(disposal, approval, role, destruction=event, openings=openings)
    return Certificate(disposal, approval, role)
