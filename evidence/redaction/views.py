"""The screen of redaction: drawing, waiting, looking, approving. Each act is a verb; no rule stands here."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from archive import access, viewing
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Item, Job
from archive.views import present, suggestions, thread, veil
from evidence.redaction import document, proposals, rendering, verbs
from evidence.redaction.models import Redaction

State = Redaction.State


@require_safe
@login_required
def page(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Where an item's redaction stands, and what a person can do next."""
    return _page(request, _item(request, item_id))


@require_POST
@login_required
def begin(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Start a redaction, or one that begins with the boxes of an earlier one."""
    item, based = _item(request, item_id), request.POST.get("based_on", "")
    earlier = get_object_or_404(Redaction, item=item, number=int(based)) if based.isdecimal() else None
    try:
        verbs.begin(item=item, actor=Actor.of(request), based_on=earlier)
    except (BadInput, Conflict) as error:
        return _page(request, item, error=error)
    return redirect("redact", item.pk)


@require_POST
@login_required
def save(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Keep the draft; with "confirm" also say that it is complete."""
    item = _item(request, item_id)
    sent, verb = request.POST.get("document", ""), verbs.save
    if request.POST.get("do") == "confirm":
        verb = verbs.confirm
    try:
        verb(
            redaction=_open(item, State.DRAFT),
            actor=Actor.of(request),
            untrusted=_json(sent),
            seen=request.POST.get("seen", ""),
        )
    except (BadInput, Conflict) as error:
        return _page(request, item, error=error, sent=sent)
    if verb is verbs.save:
        messages.success(request, _("Saved."))
    return redirect("redact", item.pk)


@require_POST
@login_required
def look(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Show the result beside the original; both looks are recorded."""
    item = _item(request, item_id)
    try:
        verbs.look(redaction=_open(item, State.RENDERED), actor=Actor.of(request))
    except Conflict as error:
        return _page(request, item, error=error)
    if not veil.is_lifted(request, item):
        viewing.look(item=item, actor=Actor.of(request))
        veil.lift(request, item)
    return redirect("redact", item.pk)


@require_POST
@login_required
def approve(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Release the result."""
    item = _item(request, item_id)
    try:
        verbs.approve(
            redaction=_open(item, State.RENDERED),
            actor=Actor.of(request),
            statement=request.POST.get("statement", ""),
        )
    except (BadInput, Conflict) as error:
        return _page(request, item, error=error)
    return redirect("redact", item.pk)


@require_POST
@login_required
def end(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Set an open redaction aside, or begin anew with its boxes, or withdraw an approved one."""
    item, actor = _item(request, item_id), Actor.of(request)
    reason, number = request.POST.get("reason", ""), request.POST.get("number", "")
    if not number.isdecimal():
        return _page(request, item, error=BadInput(_("Say which redaction is meant.")))
    found = get_object_or_404(Redaction.objects.select_related("item__case"), item=item, number=int(number))
    try:
        if request.POST.get("do") == "again":
            verbs.set_aside(redaction=found, actor=actor, reason=reason or _("To correct its boxes"))
            verbs.begin(item=item, actor=actor, based_on=found)
        elif found.state == State.APPROVED:
            verbs.withdraw(redaction=found, actor=actor, reason=reason)
        else:
            verbs.set_aside(redaction=found, actor=actor, reason=reason)
    except (BadInput, Conflict) as error:
        return _page(request, item, error=error)
    return redirect("redact", item.pk)


@require_safe
@login_required
def state(request: HttpRequest, item_id: UUID) -> HttpResponseBase:
    """How far the rendering is, for the page that waits for it."""
    item = _item(request, item_id)
    found = Redaction.objects.filter(item=item).first()
    job, share = rendering.progress(item)
    answer = JsonResponse(
        {"state": found.state if found else "", "job": job.state if job else "", "share": round(share, 3)}
    )
    answer["Cache-Control"] = "private, no-store"
    return answer


# --- what they need ---------------------------------------------------------------------------------------------


def _item(request: HttpRequest, item_id: UUID) -> Item:
    found = get_object_or_404(present.with_pictures(Item.objects.visible_to(request.user)), pk=item_id)
    access.require(request.user, "redact", found.case)
    return found


def _open(item: Item, expected: str) -> Redaction:
    """The item's open redaction. Raises Conflict where it is no longer in the state that the page showed."""
    found = (
        Redaction.objects.filter(item=item, state=expected).select_related("item__case", "rendition").first()
    )
    if found is None:
        raise Conflict(verbs.CHANGED)
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            _("The boxes did not arrive as this page sends them. Nothing was saved: load it again.")
        ) from error


def _page(
    request: HttpRequest, item: Item, *, error: BadInput | Conflict | None = None, sent: str = ""
) -> HttpResponse:
    every = Redaction.objects.filter(item=item).select_related(
        "begun_by", "confirmed_by", "approved_by", "ended_by", "rendition__blob", "thumbnail", "based_on"
    )
    history = list(every)
    current = next((row for row in history if row.state in Redaction.OPEN), None)
    full = suggestions.source().full(item)  # for the words of the veil; its boxes would stand in the way here
    viewer = replace(present.viewer(request, item, full), boxes=[], lanes=[], moments=[])
    context: dict[str, Any] = {
        "case": item.case,
        "here": "library",
        "item": item,
        "viewer": viewer,
        "here_url": reverse("redact", args=[item.pk]),
        "why_not": "" if current else verbs.why_not(item),
        "current": current,
        "history": [row for row in history if row is not current],
        "error": error.sentence if error else "",
        "custody": thread.state(item.custody_subject()),
    }
    if current is None:
        pass
    elif current.state == State.DRAFT:
        context |= _drawing(item, current, sent)
    elif current.state == State.CONFIRMED:
        context["job"], context["share"] = rendering.progress(item)
        context["job_failed"] = context["job"] is None or context["job"].state == Job.State.FAILED
    elif current.state == State.RENDERED:
        context |= _result(request, item, current)
    name = "draw" if current is not None and current.state == State.DRAFT else "redact"
    return render(request, f"evidence/{name}.html", context, status=error.status if error else 200)


def _drawing(item: Item, draft: Redaction, sent: str) -> dict[str, Any]:
    """What the editor starts with: the draft, or what was sent and refused."""
    try:
        document_ = json.loads(sent) if sent else draft.draft
    except ValueError:
        document_ = draft.draft
    animated = item.kind == Item.Kind.IMAGE and ((item.technical or {}).get("frame_count") or 1) > 1
    return {
        "draft": document_ if isinstance(document_, dict) else draft.draft,
        "seen": draft.draft_sha256,
        "has_sound": document.has_sound(item),
        "animated": animated,
        "knows_plates": proposals.knows_plates(item),
        "facts": {
            "timed": item.kind == Item.Kind.VIDEO,
            "length": item.duration_ms or 0,
            "grow": document.GROW["percent"] / 100,
            "pixels": document.GROW["pixels"],
            "width": item.width or 0,
            "height": item.height or 0,
        },
        "suggested": sum("suggestion" in one for one in draft.draft["regions"]),
    }


def _result(request: HttpRequest, item: Item, found: Redaction) -> dict[str, Any]:
    """The result beside the original, for who has looked at it."""
    looked = found.looks.filter(by=request.user, rendition=found.rendition_id).exists()
    shown = looked and veil.is_lifted(request, item)
    return {
        "looked": looked,
        "result_url": reverse("rendition", args=[found.rendition_id]) if shown else "",
        "facts_of_result": found.report,
        "is_video": found.rendition.media_type.startswith("video/"),
    }
