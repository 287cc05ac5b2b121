"""What was missed: how far people have got with a question, what a sample by lot says, and what one would buy."""

from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST, require_safe

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Case
from archive.views.cases import visible
from triage import elusion, questions, second_reading
from triage.elusion import Look, Seen
from triage.estimate import Promise
from triage.models import Draw, Question
from triage.views import questions as question_views
from triage.views.estimate_words import (
    BASES,
    Bar,
    bounds,
    count,
    found_words,
    more_words,
    percent,
    remarks,
    seen_words,
)

LISTED = 100


class DrawForm(forms.Form):
    """How many unseen items to draw."""

    size = forms.IntegerField(label=gettext_lazy("How many unseen items"), min_value=1)


class WidthForm(forms.Form):
    """How narrow the interval should be."""

    width = forms.IntegerField(
        label=gettext_lazy("How wide may the interval be, in percentage points"), min_value=1, max_value=99
    )


def asked(case: Case, here: Question, route: str) -> list[dict[str, Any]]:
    """The case's open questions, with the same page of each."""
    return [
        {
            "question": row.question,
            "words": row.words,
            "said": row.said,
            "here": row.here,
            "url": reverse(route, args=[case.code]) + question_views.within(row.question.number),
        }
        for row in question_views.of_case(case, here.number)
    ]


def question_of(request: HttpRequest, case: Case) -> Question:
    """The question that an address or a form names. Raises BadInput, NotFound."""
    named = request.POST.get("question") or request.GET.get("question") or ""
    return questions.numbered(case, question_views.number_of(named))


@require_safe
@login_required
def page(request: HttpRequest, code: str) -> HttpResponse:
    """How far people have got with a question, and what can be said of what they have not seen."""
    case = visible(request, code)
    return _page(request, case, question_of(request, case), DrawForm())


def _page(
    request: HttpRequest, case: Case, question: Question, form: DrawForm, status: int = 200
) -> HttpResponse:
    now, drawn = elusion.seen(question), elusion.newest(question)
    look = elusion.look(drawn) if drawn else None
    guess = elusion.expected(question, now, look)
    promises = elusion.promises(now, guess[0]) if guess else []
    narrow = WidthForm(request.GET if "width" in request.GET else None)
    context = {
        "case": case,
        "here": "estimate",
        "question": question,
        "asked": asked(case, question, "estimate"),
        "within": question_views.within(question.number),
        "now": now,
        "seen": seen_words(now),
        "seen_at": round(now.share * 1000, 1),
        "look": look,
        "promises": [_row(told) for told in promises],
        "basis": format_html(BASES[guess[1]], n=count(guess[0]), unseen=count(now.unseen)) if guess else "",
        "narrow": narrow,
        "needed": _needed(narrow, now, guess),
        "form": form,
        "most": min(now.unseen, elusion.MOST),
        "draws": Draw.objects.filter(question=question).select_related("by").order_by("-number")[:LISTED],
        "doubles": second_reading.share_of(question),
        "may_draw": access.can(request.user, "decide", case) and question.closed_at is None,
    }
    if look:
        context |= _said(look, promises)
    return render(request, "triage/estimate.html", context, status=status)


def _said(look: Look, promises: list[Promise]) -> dict[str, Any]:
    sampled, read = look.sampled, look.sampled.read
    fresh = sampled.done
    if fresh:
        now = sampled.recall()
        narrower = [told for told in promises if told.low > now.low and told.width < now.width]
        more = narrower[0] if narrower else None
    else:
        more = sampled.promise() if read else None
    tells = bool(read and sampled.found_now)
    return {
        "found": found_words(look) if read else "",
        "more": more_words(look, more, fresh=fresh) if more and tells else "",
        "bar": Bar.of(sampled.recall(), more) if tells else None,
        "bounds": bounds(sampled.recall()) if tells else "",
        "remarks": remarks(look) if read else [],
        "next": look.next(),
    }


def _row(told: Promise) -> dict[str, Any]:
    return {
        "n": told.drawn,
        "low": percent(told.low, "down"),
        "width": count(told.width * 100),
        "bar": Bar(round(told.low * 1000, 1), 0, round((told.low + told.width) * 1000, 1)),
    }


def _needed(form: WidthForm, now: Seen, guess: tuple[float, str] | None) -> SafeString | str:
    """How many items a wished width needs, in words; empty when nobody asked."""
    if not (form.is_bound and form.is_valid() and guess):
        return ""
    try:
        told = elusion.size_for(now, guess[0], form.cleaned_data["width"] / 100)
    except BadInput as error:
        return error.sentence
    text = ngettext(
        "About {n} random item, for an interval of about {width} points from {low} on.",
        "About {n} random items, for an interval of about {width} points from {low} on.",
        told.drawn,
    )
    return format_html(
        text, n=count(told.drawn), width=count(told.width * 100), low=percent(told.low, "down")
    )


@require_POST
@login_required
def draw(request: HttpRequest, code: str) -> HttpResponse:
    """Draw a sample by lot, as this person's act, and go to it."""
    case = visible(request, code)
    access.require(request.user, "decide", case)
    question = question_of(request, case)
    form = DrawForm(request.POST)
    if form.is_valid():
        try:
            drawn = elusion.draw(question=question, actor=Actor.of(request), size=form.cleaned_data["size"])
        except (BadInput, Conflict) as error:
            form.add_error("size", error.sentence)
        else:
            return redirect("sample", drawn.pk)
    return _page(request, case, question, form, status=422)
