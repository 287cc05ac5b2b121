"""Custody of a case and of one item: what happened, in plain words, and a check of the chains now."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from archive import access, custody
from archive.custody import Actor
from archive.custody.publish import marks
from archive.custody.verify import Report, verify_subject
from archive.models import (
    Case,
    Checkpoint,
    CustodyEvent,
    CustodyPending,
    CustodyPosition,
    CustodySubject,
    Item,
    Source,
    User,
)
from archive.templatetags.amparo import ROLES
from archive.views import reading, thread

PAGE = 40
CHECK_AT_MOST = 5_000
COUNT_AT_MOST = 5_000


@dataclass(frozen=True)
class Check:
    """The last check of a case's chains that was recorded."""

    at: datetime
    answer: str
    events: int
    sentence: str = ""


@dataclass(frozen=True)
class Row:
    """One event with its place in the whole log; no position: recorded, not yet placed."""

    line: thread.Line
    position: int | None
    stage: tuple[str, str]
    actor_id: str
    role: str
    reason: str
    whom: str = ""


def subjects(case: Case) -> Iterator[str]:
    """Names of all chains of a case: its own, its sources', its items'."""
    yield case.custody_subject()
    for pk in Source.objects.filter(case=case).order_by("code").values_list("pk", flat=True):
        yield f"source:{pk}"
    for pk in Item.objects.filter(case=case).order_by("number").values_list("pk", flat=True).iterator():
        yield f"item:{pk}"


def number_of_events(case: Case) -> int | None:
    """How many events a case's chains hold, or None for a case too large to count while a page is drawn."""
    if Item.objects.filter(case=case).count() > COUNT_AT_MOST:
        return None
    names, total = list(subjects(case)), 0
    for start in range(0, len(names), 500):
        part = CustodySubject.objects.filter(name__in=names[start : start + 500])
        total += part.aggregate(n=Sum("length"))["n"] or 0
    return total


def last_check(case: Case) -> Check | None:
    """What the last recorded check of this case said."""
    event = CustodyEvent.objects.filter(subject=case.custody_subject(), type="case.custody_checked").last()
    if event is None:
        return None
    told = thread.body_of(event)["payload"]
    return Check(event.time, told.get("answer", ""), told.get("events", 0), told.get("fault", ""))


def rows(subject: str, before: str) -> tuple[list[Row], int | None]:
    """One page of a chain, newest first, and the number to go on from."""
    events = CustodyEvent.objects.filter(subject=subject)
    if before.isdecimal():
        events = events.filter(number__lt=int(before))
    page = list(events.order_by("-number")[: PAGE + 1])
    shown = page[:PAGE]
    places = dict(CustodyPosition.objects.filter(event__in=shown).values_list("event_id", "position"))
    reasons = thread.opened(shown, "/reason")
    come = marks()
    bodies = [thread.body_of(event) for event in shown]
    names = {str(u.pk): u.name for u in User.objects.filter(pk__in=filter(None, map(_whom, bodies)))}
    out = []
    for event, line, body in zip(shown, thread.worded(shown), bodies, strict=True):
        actor = body["actor"]
        out.append(
            Row(
                line=line,
                position=places.get(event.pk),
                stage=thread.STAGE_WORDS[come.stage(places.get(event.pk))],
                actor_id=actor["id"],
                role=_roles(actor),
                reason=reasons.get(event.pk, ""),
                whom=names.get(_whom(body), ""),
            )
        )
    return out, shown[-1].number if len(page) > PAGE else None


def _roles(actor: dict) -> str:
    """The roles held at that moment, in words."""
    if actor["kind"] == "operator":
        return _("at the server's shell")
    if actor["kind"] == "system":
        return ""
    return ", ".join(str(ROLES.get(r, r)) for r in actor["role"].split("+"))


def _whom(body: dict) -> str:
    """The person to whom something was done: with whom a case was shared, to whom an item was given."""
    values = body["payload"].get("set") or {}
    return str(values.get("user") or values.get("to") or "")


@require_safe
@login_required
def case_custody(request: HttpRequest, code: str) -> HttpResponse:
    """The chain of a case, the last check, the last checkpoint."""
    case = get_object_or_404(Case.objects.visible_to(request.user), code=code)
    reading.record(request, case)
    found, after = rows(case.custody_subject(), request.GET.get("next", ""))
    return render(
        request,
        "archive/custody.html",
        {
            "case": case,
            "here": "custody",
            "rows": found,
            "next": after,
            "state": thread.state(case.custody_subject()),
            "checked": last_check(case),
            "events": number_of_events(case),
            "items": Item.objects.filter(case=case).count(),
            "checkpoint": Checkpoint.objects.first(),
            "waiting": CustodyPending.objects.count(),
        },
    )


@require_safe
@login_required
def item_custody(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """The whole chain of one item."""
    item = get_object_or_404(Item.objects.visible_to(request.user).select_related("case"), pk=item_id)
    return _thread_of(request, item, {"item": item})


@require_safe
@login_required
def source_custody(request: HttpRequest, code: str, name: str) -> HttpResponse:
    """The whole chain of one source."""
    case = get_object_or_404(Case.objects.visible_to(request.user), code=code)
    source = get_object_or_404(Source.objects.select_related("case"), case=case, code=name)
    return _thread_of(request, source, {"source": source})


def _thread_of(request: HttpRequest, subject: Item | Source, named: dict) -> HttpResponse:
    reading.record(request, subject)
    found, after = rows(subject.custody_subject(), request.GET.get("next", ""))
    context = named | {
        "case": subject.case,
        "here": "custody",
        "rows": found,
        "next": after,
        "state": thread.state(subject.custody_subject()),
        "checkpoint": Checkpoint.objects.first(),
    }
    return render(request, "archive/custody.html", context)


@require_POST
@login_required
def check_case(request: HttpRequest, code: str) -> HttpResponse:
    """Check the chains of a case now (at most 5,000 events), and record what was found."""
    case = get_object_or_404(Case.objects.visible_to(request.user), code=code)
    access.require(request.user, "read_log", case)
    actor = Actor.of(request)
    report, failed = _check(case)
    with transaction.atomic(durable=True):
        custody.record(
            case,
            event="case.custody_checked",
            actor=actor,
            payload=_told(report) | {"chains": report.subjects},
        )
        for name, found in failed:
            custody.record(name, event="item.custody_checked", actor=actor, payload=_told(found))
    _tell(request, report)
    return redirect("custody", case.code)


@require_POST
@login_required
def check_item(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Check one item's chain now."""
    item = get_object_or_404(Item.objects.visible_to(request.user).select_related("case"), pk=item_id)
    access.require(request.user, "read_log", item.case)
    report = verify_subject(item.custody_subject())
    with transaction.atomic(durable=True):
        custody.record(item, event="item.custody_checked", actor=Actor.of(request), payload=_told(report))
    _tell(request, report)
    return redirect("item-custody", item.pk)


def _told(report: Report) -> dict[str, str | int]:
    """What an event says of a check."""
    return {"answer": report.answer, "events": report.events, "fault": _first(report)}


def _check(case: Case) -> tuple[Report, list[tuple[str, Report]]]:
    """Check chain after chain until all are done or too much was read; `unchecked` says where it stopped.

    Returns all together, and the chains of items in which something is wrong.
    """
    total, failed = Report(), []
    for name in subjects(case):
        if total.events >= CHECK_AT_MOST:
            total.unchecked.append(name)
            break
        found = verify_subject(name)
        total.events += found.events
        total.subjects += 1
        total.faults += found.faults
        if found.faults and name.startswith("item:"):
            failed.append((name, found))
    return total, failed


def _first(report: Report) -> str:
    fault = report.faults[0] if report.faults else None
    return f"{fault.place}: {fault.kind}, {fault.sentence}"[:500] if fault else ""


def _tell(request: HttpRequest, report: Report) -> None:
    events = ngettext("%(n)d event", "%(n)d events", report.events) % {"n": report.events}
    if report.faults:
        messages.error(
            request,
            _("Custody check failed at %(place)s. Change nothing, and call your administrator.")
            % {"place": _first(report)},
        )
    elif report.unchecked:
        messages.warning(
            request,
            _(
                "%(events)s checked, all good; the rest is more than is checked in one go here. `custody verify` at the server checks all."
            )
            % {"events": events},
        )
    else:
        messages.success(
            request, _("Checked now: %(events)s, each unaltered and in its place.") % {"events": events}
        )
