"""Many new rows and their events at once: the same rows and events as one by one, in a dozen statements.

For flows that make hundreds of rows a second. It only inserts; changes and erasures go one by one.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db import models
from django.utils import timezone

from archive import jobs
from archive.custody.actor import Actor
from archive.custody.canonical import ZERO_HASH, event_hash
from archive.custody.log import (
    clean_row,
    compose,
    recording,
    require_entitled,
    require_transaction,
    row_payload,
)
from archive.models import CustodyEvent, CustodyOpening, CustodyPending, CustodySubject
from archive.models.base import Custodial

M = TypeVar("M", bound=Custodial)


@dataclass(frozen=True)
class _Told:
    """An event to come: of a new row (then its payload is known once the row has its key), or of its own."""

    subject: str
    event: str
    about: Custodial
    is_row: bool
    payload: dict
    reason: str


class Batch:
    """Collects rows and events of one actor; `append` writes them all, in the order in which they were told.

    Raises what `custody.write` and `custody.record` raise; then, as the transaction ends, nothing was written.
    """

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self._rows: dict[type[models.Model], list[models.Model]] = {}
        self._told: list[_Told] = []

    def write(self, obj: M, *, event: str, reason: str = "", also: dict | None = None) -> M:
        """A new row, and the event of it."""
        require_entitled(event, self.actor)
        clean_row(obj, [f.name for f in obj._meta.fields])
        self._rows.setdefault(type(obj), []).append(obj)
        self._told.append(_Told(obj.custody_subject(), event, obj, True, also or {}, reason))
        return obj

    def record(self, subject: Custodial, *, event: str, payload: dict, reason: str = "") -> None:
        """An event that makes no row."""
        require_entitled(event, self.actor)
        self._told.append(_Told(subject.custody_subject(), event, subject, False, payload, reason))

    def append(self) -> None:
        """Write all of it, in the caller's transaction."""
        require_transaction()
        with recording():
            for model, rows in self._rows.items():
                model._base_manager.bulk_create(rows)
            events, openings = self._chained(timezone.now())
            CustodyEvent.objects.bulk_create(events)
            CustodyPending.objects.bulk_create([CustodyPending(event=event) for event in events])
            CustodyOpening.objects.bulk_create(
                CustodyOpening(event=event, pointer=pointer, salt=salt, value=value)
                for event, opened in zip(events, openings, strict=True)
                for pointer, salt, value in opened
            )
        jobs.follow_all([(told.event, told.about) for told in self._told])

    def _chained(self, moment: datetime) -> tuple[list[CustodyEvent], list[list]]:
        """Lock the subjects, put the events at the ends of their chains, move the tips."""
        names = sorted({told.subject for told in self._told})
        locked = CustodySubject.objects.select_for_update().filter(name__in=names).order_by("name")
        tips = {tip.name: tip for tip in locked}
        new = [CustodySubject(name=name, length=0, tip=ZERO_HASH) for name in names if name not in tips]
        tips |= {tip.name: tip for tip in new}
        events, openings = [], []
        for told in self._told:
            tip, payload = tips[told.subject], told.payload
            if told.is_row:
                fields = [*told.about.recorded, *told.about.private]
                payload = row_payload(told.about, fields, told.payload)
            body, opened = compose(
                tip.name,
                tip.length + 1,
                tip.tip,
                event=told.event,
                moment=moment,
                actor=self.actor,
                reason=told.reason,
                payload=payload,
            )
            tip.length, tip.tip = tip.length + 1, event_hash(body).hex()
            events.append(
                CustodyEvent(
                    subject=tip.name,
                    number=tip.length,
                    type=told.event,
                    time=moment,
                    canonical=body,
                    hash=tip.tip,
                )
            )
            openings.append(opened)
        CustodySubject.objects.bulk_create(
            new
        )  # who met a name at the same time ends at its unique constraint
        for tip in tips.values():
            if tip not in new:
                CustodySubject.objects.filter(pk=tip.pk).update(length=tip.length, tip=tip.tip)
        return events, openings
