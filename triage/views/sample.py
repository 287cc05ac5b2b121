"""A sample by lot: its items in their order, and one of them at a time, without any score."""

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Case
from triage import elusion, given
from triage.models import Draw
from triage.views import blind
from triage.views import questions as question_views
from triage.views.blind import ANSWERS
from triage.views.estimate_words import count, found_words, remarks

PAGE = 100


def _drawn(request: HttpRequest, draw_id: UUID) -> Draw:
    mine = Draw.objects.filter(question__case__in=Case.objects.visible_to(request.user))
    return get_object_or_404(mine.select_related("question__case", "by"), pk=draw_id)


@require_safe
@login_required
def sample(request: HttpRequest, draw_id: UUID) -> HttpResponse:
    """The items of a lot, in their order; no score stands beside them."""
    drawn = _drawn(request, draw_id)
    look = elusion.look(drawn)
    given_page = request.GET.get("from", "1")
    first = max(int(given_page) if given_page.isascii() and given_page.isdigit() else 1, 1)
    rows = look.entries[first - 1 : first - 1 + PAGE]
    case = drawn.question.case
    following = look.next()
    context = {
        "case": case,
        "here": "estimate",
        "draw": drawn,
        "look": look,
        "rows": [_entry(case, entry) for entry in rows],
        "read": len(look.entries) - len(look.open),
        "found": found_words(look) if look.sampled.read else "",
        "remarks": remarks(look) if look.sampled.read else [],
        "next_url": reverse("sample-item", args=[drawn.pk, following.item]) if following else "",
        "following": first + PAGE if first - 1 + PAGE < len(look.entries) else None,
        "may_decide": access.can(request.user, "decide", case) and drawn.question.closed_at is None,
    }
    return render(request, "triage/sample.html", context)


def _entry(case: Case, entry: elusion.Entry) -> dict[str, Any]:
    return {
        "place": entry.place,
        "code": f"{case.code}/{entry.number:04d}",
        "item": entry.item,
        "answer": ANSWERS[entry.answer.value] if entry.answer else "",
        "gone": entry.gone,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def sample_item(request: HttpRequest, draw_id: UUID, item_id: UUID) -> HttpResponse:
    """One item of the lot, without anything that a machine said about it; a POST answers and goes on."""
    drawn = _drawn(request, draw_id)
    question, case = drawn.question, drawn.question.case
    item = blind.item_of(request, case, item_id)
    errors: tuple[str, ...] = ()
    if request.method == "POST":
        access.require(request.user, "decide", case)
        try:
            elusion.answer(
                drawn=drawn,
                item=item,
                actor=Actor.of(request),
                value=request.POST.get("value", ""),
                reason=request.POST.get("reason", ""),
            )
        except (BadInput, Conflict) as error:
            errors = (error.sentence,)
        else:
            return _go_on(drawn, drawn.drawn.index(item.number) + 1)
    place = drawn.drawn.index(item.number) + 1 if item.number in drawn.drawn else 0
    following = elusion.look(drawn).next(place)
    now = given.of(question, item)
    return blind.page(
        request,
        question,
        item,
        heading=_("Sample by lot"),
        place=format_html(
            _("Number {place} of {all} in the lot"), place=count(place), all=count(len(drawn.drawn))
        ),
        why=_(
            "Drawn by lot. No score and nothing that a model said is shown here, so that it cannot sway the answer."
        ),
        back=(reverse("sample", args=[drawn.pk]), _("The sample")),
        answered=now.value if now else "",
        upcoming=reverse("sample-item", args=[drawn.pk, following.item])
        if following and following.item != item.pk
        else "",
        errors=errors,
    )


def _go_on(drawn: Draw, place: int) -> HttpResponse:
    following = elusion.look(drawn).next(place)
    if following is None:
        return redirect(
            reverse("estimate", args=[drawn.question.case.code])
            + question_views.within(drawn.question.number)
        )
    return redirect("sample-item", drawn.pk, following.item)
