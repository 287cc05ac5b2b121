"""A subject's custody events, for people to read."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from archive import access
from archive.custody.canonical import ZERO_HASH, event_hash
from archive.events import EVENTS
from archive.models import (
    CustodyEvent,
    CustodyOpening,
    CustodyPending,
    CustodyPosition,
    CustodySubject,
    Decision,
    Item,
    Rendition,
    Source,
    User,
)
from archive.models.items import Statement

CHECK_AT_MOST = 2000
LABELS = {
    **dict([*Item.Kind.choices, *Rendition.Kind.choices, *Statement.About.choices, *Decision.Value.choices]),
    **dict(Source.Kind.choices),
    "view_case": gettext_lazy("may see the case"),
    "export_case": gettext_lazy("may export"),
    "see_identity": gettext_lazy("may see identities"),
    "manage_case": gettext_lazy("may change and share"),
}


@dataclass(frozen=True)
class Line:
    """One event in words."""

    number: int
    type: str
    time: datetime
    words: str
    who: str
    detail: str
    hash: str
    subject: str


@dataclass(frozen=True)
class State:
    """One quiet line about a chain; `fault` is what is wrong with it, and where."""

    state: str
    css: str
    number: int
    events: str
    checkpoint: str = ""
    fault: str = ""


def address(user: User, subject: Item | Source) -> str:
    """Where the whole thread is, for a person who may read it; empty for others."""
    if not access.can(user, "read_log", subject.case):
        return ""
    if isinstance(subject, Item):
        return reverse("item-custody", args=[subject.pk])
    return reverse("source-custody", args=[subject.case.code, subject.code])


def lines(subject: str, *, before: int | None = None, limit: int = 20) -> list[Line]:
    """Events of one subject, the newest first; `before` is the number to go on from."""
    events = CustodyEvent.objects.filter(subject=subject)
    if before is not None:
        events = events.filter(number__lt=before)
    return worded(list(events.order_by("-number")[:limit]))


def worded(events: Sequence[CustodyEvent]) -> list[Line]:
    """Events as lines, with what may be told of their private parts (the name of who acted)."""
    names = opened(events, "/actor/name")
    out = []
    for event in events:
        body = body_of(event)
        actor = body["actor"]
        who = names.get(event.pk) or (_("the archive") if actor["kind"] == "system" else _("name withheld"))
        sentence = EVENTS[event.type].sentence if event.type in EVENTS else event.type
        out.append(
            Line(
                number=event.number,
                type=event.type,
                time=event.time,
                words=_(sentence),
                who=str(who),
                detail=_detail(body),
                hash=event.hash,
                subject=event.subject,
            )
        )
    return out


def body_of(event: CustodyEvent) -> dict:
    """What an event says."""
    return json.loads(bytes(event.canonical))


STAGE_WORDS = {
    "recorded": (gettext_lazy("Recorded"), gettext_lazy("written with the change that it tells of")),
    "sequenced": (gettext_lazy("Sequenced"), gettext_lazy("has its place in the one order")),
    "integrated": (gettext_lazy("Integrated"), gettext_lazy("its hash is in the tree")),
    "published": (gettext_lazy("Published"), gettext_lazy("a signed checkpoint covers it")),
    "witnessed": (gettext_lazy("Witnessed"), gettext_lazy("those who must cosign have cosigned")),
}


def opened(events: Sequence[CustodyEvent], pointer: str) -> dict[int, str]:
    """A private part of events where it may be told, by event id."""
    found = CustodyOpening.objects.filter(event__in=events, pointer=pointer)
    return {event: str(value) for event, value in found.values_list("event_id", "value")}


def _detail(body: dict) -> str:
    """The part of a payload that says which one it was: a rendition's kind, a model, a decision."""
    payload = body.get("payload") or {}
    values = payload.get("set") or {}
    values = {**values, **{k: v for k, v in payload.items() if isinstance(v, str)}}
    parts = [values.get(name) for name in ("kind", "value", "model", "permission", "condition", "about")]
    told = [p for p in parts if isinstance(p, str) and p not in ("", "unknown", "ok")]
    return _(", ").join(str(LABELS.get(p, p.replace("_", " "))) for p in told)


def state(subject: str) -> State:
    """Check a subject's own chain now: hashes, numbers, links, tip; and say how far it is sealed.

    `custody verify` checks more (global order, checkpoints, rows). Chains over 2,000 events are checked there only.
    """
    tip = CustodySubject.objects.filter(name=subject).first()
    if tip is None:
        return State(_("No events yet"), "muted", 0, "")
    words = ngettext("%(n)d event", "%(n)d events", tip.length) % {"n": tip.length}
    if tip.length > CHECK_AT_MOST:
        return State(_("Recorded"), "", tip.length, words)
    events = CustodyEvent.objects.filter(subject=subject).order_by("number")
    fault = _first_fault(events.values_list("number", "canonical", "hash"), tip.length, tip.tip)
    if fault:
        return State("", "bad", tip.length, words, fault=fault)
    waiting = CustodyPending.objects.filter(event__subject=subject).count()
    if waiting:
        sealed = ngettext("%(n)d not yet placed in the log", "%(n)d not yet placed in the log", waiting) % {
            "n": waiting
        }
    else:
        last = CustodyPosition.objects.filter(event__subject=subject).order_by("-position").first()
        sealed = _sealed(last.position) if last else ""
    return State(_("Verified"), "ok", tip.length, words, sealed)


def _sealed(position: int) -> str:
    from archive.models import Checkpoint

    found = Checkpoint.objects.filter(size__gt=position).order_by("size").first()
    if found is None:
        return _("not yet under a signed checkpoint")
    return _("in checkpoint %(size)s") % {"size": f"{found.size:,}"}


def _first_fault(rows: Iterable[tuple[int, bytes, str]], length: int, tip: str) -> str:
    call = _("Stop, change nothing, and call your administrator: `custody verify` says more.")
    previous, expected = ZERO_HASH, 0
    for number, canonical, digest in rows:
        expected += 1
        body = bytes(canonical)
        if number != expected:
            return _("Event %(n)d is missing.") % {"n": expected} + " " + call
        if event_hash(body).hex() != digest:
            return _("Event %(n)d was altered.") % {"n": number} + " " + call
        if json.loads(body)["previous"] != previous:
            return _("Event %(n)d does not follow the one before it.") % {"n": number} + " " + call
        previous = digest
    if expected != length or previous != tip:
        return _("The last events are missing.") + " " + call
    return ""
