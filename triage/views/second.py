"""Second readings and second looks: a share read again blind, how far readers agree, and answers in doubt."""

from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Case
from archive.templatetags.amparo import ltr
from archive.views.cases import visible
from triage import doubtful, given, questions, second_reading
from triage.models import Doubt, Question, SecondReading
from triage.second_reading import Agreement
from triage.views import blind
from triage.views import questions as question_views
from triage.views.blind import ANSWERS, item_of
from triage.views.estimate import asked, question_of
from triage.views.estimate_words import count, percent


class ShareForm(forms.Form):
    """Which share of the items a second person reads."""

    percent = forms.IntegerField(
        label=gettext_lazy("Share of items that a second person reads, in percent (0: none)"),
        min_value=0,
        max_value=100,
    )


@require_safe
@login_required
def second(request: HttpRequest, code: str) -> HttpResponse:
    """What waits for a second reading, how far both readers agree, and where they do not."""
    case = visible(request, code)
    return _second(request, case, question_of(request, case), None)


def _second(
    request: HttpRequest, case: Case, question: Question, form: ShareForm | None, status: int = 200
) -> HttpResponse:
    share = second_reading.share_of(question)
    told = second_reading.agreement(question)
    waiting = second_reading.waiting(question, request.user)
    may_decide = access.can(request.user, "decide", case)
    context = {
        "case": case,
        "here": "estimate",
        "question": question,
        "within": question_views.within(question.number),
        "asked": asked(case, question, "second"),
        "share": share,
        "form": form or ShareForm(initial={"percent": share.percent if share else 0}),
        "waiting": len(waiting),
        "next_url": _address(case, question, waiting[0].item) if waiting and may_decide else "",
        "told": told,
        "agreement": agreement_words(told) if told.items else "",
        "kappa": kappa_words(told) if told.told else "",
        "table": _table(told),
        "columns": list(ANSWERS.values()),
        "open": [_open(row) for row in second_reading.disagreements(question)],
        "may_set": access.can(request.user, "edit_criteria", case),
        "may_decide": may_decide,
    }
    return render(request, "triage/second.html", context, status=status)


def _address(case: Case, question: Question, item_id: UUID) -> str:
    return reverse("second-item", args=[case.code, question.number, item_id])


def agreement_words(told: Agreement) -> SafeString:
    """How many items both readers answered the same way."""
    text = ngettext(
        "Both readers answered {items} item and agree on {same} ({share}).",
        "Both readers answered {items} items and agree on {same} ({share}).",
        told.items,
    )
    return format_html(
        text,
        items=count(told.items),
        same=count(told.same * told.items),
        share=percent(told.same),
    )


def kappa_words(told: Agreement) -> SafeString:
    """Cohen's kappa with its interval."""
    found = told.kappa
    return format_html(
        _(
            "Cohen's kappa {guess}, 95 % interval {low} to {high}: 1 is full agreement, 0 is what chance alone would give."
        ),
        guess=_decimal(found.guess),
        low=_decimal(found.low),
        high=_decimal(found.high),
    )


def _decimal(value: float) -> SafeString:
    return ltr(f"{value:.2f}".replace("-", "\N{MINUS SIGN}"))


def _table(told: Agreement) -> list[tuple[str, list[int]]]:
    return [
        (words, [told.counts.get((first, second), 0) for second in ANSWERS])
        for first, words in ANSWERS.items()
    ]


def _open(row: SecondReading) -> dict:
    return {
        "item": row.item,
        "first": ANSWERS[row.first_value],
        "second": ANSWERS[row.value],
        "at": row.at,
        "url": reverse("settle", args=[row.pk]),
    }


@require_POST
@login_required
def set_share(request: HttpRequest, code: str) -> HttpResponse:
    """Set the share of items that are read twice."""
    case = visible(request, code)
    access.require(request.user, "edit_criteria", case)
    question = question_of(request, case)
    form = ShareForm(request.POST)
    if not form.is_valid():
        return _second(request, case, question, form, status=422)
    second_reading.set_share(question=question, actor=Actor.of(request), percent=form.cleaned_data["percent"])
    messages.success(request, _("Saved. It counts from now on, and for what was answered before."))
    return redirect(reverse("second", args=[case.code]) + question_views.within(question.number))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def second_item(request: HttpRequest, code: str, number: int, item_id: UUID) -> HttpResponse:
    """One item for a second reader, without the first answer and without anything that a machine said."""
    case = visible(request, code)
    access.require(request.user, "decide", case)
    question, item = questions.numbered(case, number), item_of(request, case, item_id)
    errors: tuple[str, ...] = ()
    if request.method == "POST":
        try:
            second_reading.read_again(
                question=question,
                item=item,
                actor=Actor.of(request),
                value=request.POST.get("value", ""),
                reason=request.POST.get("reason", ""),
            )
        except (BadInput, Conflict) as error:
            errors = (error.sentence,)
        else:
            waiting = second_reading.waiting(question, request.user)
            if waiting:
                return redirect(_address(case, question, waiting[0].item))
            return redirect(reverse("second", args=[case.code]) + question_views.within(number))
    waiting = [one.item for one in second_reading.waiting(question, request.user)]
    if item.pk not in waiting and not errors:
        raise BadInput("This item does not wait for a second reading of yours.")
    after = [pk for pk in waiting if pk != item.pk]
    return blind.page(
        request,
        question,
        item,
        heading=_("Second reading"),
        place=_waiting_words(len(waiting)),
        why=_(
            "Another person has answered this. What they said, the score and what models said are not shown here; your "
            "answer replaces nothing."
        ),
        back=(
            reverse("second", args=[case.code]) + question_views.within(number),
            _("Second readings"),
        ),
        upcoming=_address(case, question, after[0]) if after else "",
        errors=errors,
    )


def _waiting_words(number: int) -> SafeString:
    text = ngettext(
        "{n} item waits for your second reading", "{n} items wait for your second reading", number
    )
    return format_html(text, n=count(number))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def settle(request: HttpRequest, reading_id: UUID) -> HttpResponse:
    """An item on which two readers disagree, with both answers; a POST answers anew."""
    seen = SecondReading.objects.filter(item__case__in=Case.objects.visible_to(request.user))
    reading = get_object_or_404(seen.select_related("question__case", "by"), pk=reading_id)
    question, case = reading.question, reading.question.case
    access.require(request.user, "decide", case)
    item = item_of(request, case, reading.item_id)
    back = reverse("second", args=[case.code]) + question_views.within(question.number)
    errors: tuple[str, ...] = ()
    if request.method == "POST":
        try:
            second_reading.settle(
                reading=reading,
                actor=Actor.of(request),
                value=request.POST.get("value", ""),
                reason=request.POST.get("reason", ""),
            )
        except (BadInput, Conflict) as error:
            errors = (error.sentence,)
        else:
            messages.success(
                request, _("Your answer is in force. Both readers' answers stay in the history.")
            )
            return redirect(back)
    return blind.page(
        request,
        question,
        item,
        heading=_("Two readers disagree"),
        place=_("Two readers disagree"),
        why=_("Nothing settles this by itself. Your answer will be in force; both of theirs stay."),
        back=(back, _("Second readings")),
        errors=errors,
        said=[
            (_("First reader"), ANSWERS[reading.first_value], ""),
            (_("Second reader"), ANSWERS[reading.value], reading.reason),
        ],
    )


# --- answers in doubt -----------------------------------------------------------------------------------------------


@require_safe
@login_required
def doubts(request: HttpRequest, code: str) -> HttpResponse:
    """Answers that the others contradict, the most contradicted first."""
    case = visible(request, code)
    question = question_of(request, case)
    rows = doubtful.listed(question)
    newest = Doubt.objects.filter(question=question).order_by("-at").first()
    context = {
        "case": case,
        "here": "estimate",
        "question": question,
        "within": question_views.within(question.number),
        "asked": asked(case, question, "doubtful"),
        "rows": [_doubt(case, row) for row in rows],
        "newest": newest,
        "models": doubtful.models(question),
        "may_decide": access.can(request.user, "decide", case),
    }
    return render(request, "triage/second_looks.html", context)


def _doubt(case: Case, row: Doubt) -> dict:
    return {
        "item": row.item,
        "value": ANSWERS[row.value],
        "why": doubt_words(case, row),
        "url": reverse("doubtful-item", args=[case.code, row.question.number, row.item_id]),
    }


def doubt_words(case: Case, row: Doubt) -> SafeString:
    """Why an answer is doubted: what the others make of it, and which of them look most like it."""
    like = _(", ").join(f"{case.code}/{number:04d}" for number in row.like["numbers"])
    return format_html(
        _("Learned from the other answers it would be {other}; most like it are {like}, answered {other}."),
        other=ANSWERS[row.other],
        like=ltr(like),
    )


@require_POST
@login_required
def search(request: HttpRequest, code: str) -> HttpResponse:
    """Have the answers compared with each other."""
    case = visible(request, code)
    access.require(request.user, "decide", case)
    doubtful.search(case=case, actor=Actor.of(request))
    messages.success(request, _("The answers are being compared. Load this page again in a while."))
    return redirect(
        reverse("doubtful", args=[case.code]) + question_views.within(question_of(request, case).number)
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def doubtful_item(request: HttpRequest, code: str, number: int, item_id: UUID) -> HttpResponse:
    """An answer in doubt, with the reason; a POST answers anew or leaves it as it is."""
    case = visible(request, code)
    access.require(request.user, "decide", case)
    question, item = questions.numbered(case, number), item_of(request, case, item_id)
    back = reverse("doubtful", args=[case.code]) + question_views.within(number)
    value, reason = request.POST.get("value", ""), request.POST.get("reason", "")
    errors: tuple[str, ...] = ()
    if request.method == "POST":
        actor = Actor.of(request)
        try:
            if value == "leave":
                doubtful.leave(question=question, item=item, actor=actor, reason=reason)
            else:
                doubtful.change(question=question, item=item, actor=actor, value=value, reason=reason)
        except (BadInput, Conflict) as error:
            errors = (error.sentence,)
        else:
            messages.success(request, _("Your second look is recorded."))
            return redirect(back)
    now = given.of(question, item)
    doubt = next((row for row in doubtful.listed(question) if row.item_id == item.pk), None)
    return blind.page(
        request,
        question,
        item,
        heading=_("Second look"),
        place=_("An answer that the others contradict"),
        why=_("Nothing is changed unless you answer anew."),
        back=(back, _("Answers in doubt")),
        answered=now.value if now else "",
        errors=errors,
        machine=doubt_words(case, doubt) if doubt else "",
        models=doubtful.models(question),
        may_leave=now is not None,
    )
