"""Many new rows and their events at once: the same rows and events as one by one, in a dozen statements.

For flows that make hundreds of rows a second. It only inserts; changes and erasures go one by one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

from django.db import models
from django.utils import timezone

from archive import jobs
from archive.custody import store
from archive.custody.actor import Actor
from archive.custody.log import (
    clean_row,
    next_event,
    recording,
    require_entitled,
    require_transaction,
    row_payload,
)
from archive.models.base import Custodial

M = TypeVar("M", bound=Custodial)


TOGETHER = 500  # events appended at a time


def record_each(subjects: Iterable[Custodial], *, event: str, actor: Actor, payload: dict) -> None:
    """The same event in each subject's chain, in the caller's transaction and in the order in which all lock them."""
    waiting = iter(sorted(subjects, key=lambda subject: subject.custody_subject()))
    while some := list(islice(waiting, TOGETHER)):
        batch = Batch(actor)
        for subject in some:
            batch.record(subject, event=event, payload=payload)
        batch.append()


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
            with store.Writer(many=True) as writer:
                tips = writer.lock(sorted({told.subject for told in self._told}))
                moment = timezone.now()
                events = [self._next(told, tips[told.subject], moment) for told in self._told]
                writer.append(events, [*tips.values()])
        jobs.follow_all([(told.event, told.about) for told in self._told])

    def _next(self, told: _Told, tip: store.Tip, moment: datetime) -> store.Recorded:
        """The event at the end of its chain; `tip` moves to it."""
        payload = told.payload
        if told.is_row:
            payload = row_payload(told.about, [*told.about.recorded, *told.about.private], payload)
        return next_event(
            tip, event=told.event, moment=moment, actor=self.actor, reason=told.reason, payload=payload
        )
