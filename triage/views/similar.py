"""What looks like an item, a frame of it, or a box drawn in it. Likeness is a machine's suggestion, and says so."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from archive.errors import BadInput
from archive.models import Item
from archive.views import item as item_views
from archive.views import present, suggestions, veil
from archive.views.present import Card
from triage import parts, similar
from triage.models import Part
from triage.similar import Match, NothingToCompare

SHOWN = 24


@dataclass(frozen=True)
class Alike:
    """One answer: its card, how alike it is (1: the same), and the moment of a video."""

    card: Card
    likeness: float
    at_s: float | None


@require_safe
@login_required
def page(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """The item, a tool to draw a box in it, and what looks like it."""
    found = item_views.visible(request, item_id)
    at_ms, part = _moment(request.GET.get("at", "")), _part(request, found)
    within = request.GET.get("in") == "case"
    asked = {"at": request.GET.get("at", ""), "part": str(part.pk) if part else ""}
    full = suggestions.source().full(found)
    context: dict[str, Any] = {
        "case": found.case,
        "here": "library",
        "item": found,
        "here_url": request.get_full_path(),
        "viewer": present.viewer(request, found, full),
        "thumbnails": veil.thumbnails_shown(request, found.case_id),
        "part": part,
        "box": ",".join(str(v) for v in (part.x, part.y, part.width, part.height)) if part else "",
        "at_s": (part.at_ms if part else at_ms or 0) / 1000 if found.kind == Item.Kind.VIDEO else None,
        "asked": "part"
        if part
        else "frame"
        if at_ms is not None and found.kind == Item.Kind.VIDEO
        else "whole",
        "within": within,
        "whole_url": "?" + urlencode({"in": "case"} if within else {}),
        "case_url": "?" + _query(asked, "in", "case"),
        "all_url": "?" + _query(asked, "in", ""),
        "of": similar.embedder(),
    }
    try:
        if part and parts.is_awaited(part):
            context["waiting_url"] = reverse("similar-part-state", args=[found.pk, part.pk])
        else:
            context["alike"] = _alike(request, found, at_ms, part, within)
    except NothingToCompare as error:
        context["trouble"] = _(error.sentence)
    return render(request, "triage/similar.html", context)


def _alike(
    request: HttpRequest, found: Item, at_ms: int | None, part: Part | None, within: bool
) -> list[Alike]:
    if part and part.trouble:
        raise NothingToCompare(part.trouble)
    vector = parts.vector_of_part(part) if part else similar.vector_of(found, at_ms)
    if vector is None:  # the index went over to another embedder in this moment
        raise NothingToCompare(similar.NO_VECTOR)
    matches = similar.search_like(
        vector, user=request.user, case=found.case if within else None, but=found, count=SHOWN
    )
    return alike(request, matches)


def alike(request: HttpRequest, matches: list[Match]) -> list[Alike]:
    """The cards of these items, in this order, of those that this person may see."""
    rows = Item.objects.visible_to(request.user).filter(pk__in=[match.item for match in matches])
    cards = {card.item.pk: card for card in present.cards(request, present.with_pictures(rows))}
    return [
        Alike(
            cards[match.item],
            match.likeness,
            match.at_ms / 1000 if cards[match.item].item.kind == Item.Kind.VIDEO else None,
        )
        for match in matches
        if match.item in cards
    ]


@require_POST
@login_required
def ask(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Look for the box that was drawn, for the frame that is shown, or for the whole."""
    found = item_views.visible(request, item_id)
    box, at_ms = request.POST.get("box", ""), _moment(request.POST.get("at_ms", ""))
    asked = {"in": "case" if request.POST.get("in") == "case" else ""}
    try:
        if box:
            part = parts.look_for(item=found, box=box.split(","), at_ms=at_ms or 0)
            asked["part"] = str(part.pk)
        elif at_ms is not None:
            asked["at"] = str(at_ms)
    except BadInput as error:
        messages.error(request, _(error.sentence))
    query = urlencode({name: value for name, value in asked.items() if value})
    return redirect(f"{reverse('similar', args=[found.pk])}?{query}")


@require_safe
@login_required
def state(request: HttpRequest, item_id: UUID, part_id: UUID) -> HttpResponse:
    """Whether a model has looked at a part."""
    found = item_views.visible(request, item_id)
    part = get_object_or_404(Part, pk=part_id, item=found)
    return JsonResponse({"waiting": parts.is_awaited(part)})


def _part(request: HttpRequest, found: Item) -> Part | None:
    try:
        pk = UUID(request.GET.get("part", ""))
    except ValueError:
        return None
    return get_object_or_404(Part, pk=pk, item=found)


def _moment(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 12 else None


def _query(asked: dict[str, str], name: str, value: str) -> str:
    return urlencode({k: v for k, v in {**asked, name: value}.items() if v})
