"""A case's questions: what is asked, what people answered, and what the order of each rests on."""

from dataclasses import dataclass
from io import BytesIO

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import strip_tags
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Case, Item, Rendition
from archive.templatetags.amparo import clock
from archive.views import files, navigation, veil
from archive.views.cases import visible
from triage import examples, pictures, questions
from triage.models import Example, PictureLook, Question, SmallPicture
from triage.questions import Tally
from triage.views import phrases as phrase_views


class AskForm(forms.Form):
    """A further question."""

    text = forms.CharField(
        label=gettext_lazy("The question, as it can be answered by yes or no"),
        max_length=300,
        help_text=gettext_lazy(
            "For example: does it show damage to a medical facility? It cannot be changed later, only closed."
        ),
    )


@dataclass(frozen=True)
class Asked:
    """A question as the screens list it."""

    question: Question
    words: str
    url: str
    said: Tally
    rests_on: str
    examples: list["Shown"]
    queue_url: str
    rules_url: str
    estimate_url: str
    here: bool = False


def of_case(
    case: Case,
    here: int | None = None,
    *,
    closed: bool = False,
    route: str = "review",
    with_examples: bool = False,
    sharp: bool = False,
) -> list[Asked]:
    """The case's open questions (or all), question 0 first, each with its page of `route`; `here` is the one on screen."""
    open_ones, tallies = questions.asked(case), questions.tally(case)
    rows = list(Question.objects.filter(case=case)) if closed else open_ones
    return [
        Asked(
            question=row,
            words=str(row),
            url=reverse(route, args=[case.code]) + within(row.number),
            said=(said := tallies.get(row.number, Tally())),
            rests_on=rests_on(said),
            examples=shown_examples(row, sharp=sharp) if with_examples else [],
            queue_url=reverse("review", args=[case.code]) + within(row.number),
            rules_url=reverse("criteria", args=[case.code]) + within(row.number),
            estimate_url=estimate_url(case, row.number),
            here=row.number == here,
        )
        for row in rows
    ]


def within(number: int) -> str:
    """The end of an address that keeps to a question."""
    return f"?question={number}" if number != Question.MAIN else ""


def number_of(text: str) -> int:
    """The number of a question in an address; none means question 0. Raises BadInput."""
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadInput("A question is named by its number. Start again from the list of questions.")
    return int(text or Question.MAIN)


def rests_on(said: Tally) -> str:
    """What the order of a question rests on, in words."""
    if not said.yes:
        return _("Rules only: nobody has said yes yet, so there is nothing to learn from.")
    if not said.no:
        return ngettext(
            "Likeness to %(n)s item that people said yes to, and rules. It learns once somebody says no.",
            "Likeness to %(n)s items that people said yes to, and rules. It learns once somebody says no.",
            said.yes,
        ) % {"n": f"{said.yes:,}"}
    return _("Learned from %(yes)s yes and %(no)s no, and rules.") % {
        "yes": f"{said.yes:,}",
        "no": f"{said.no:,}",
    }


@dataclass(frozen=True)
class Shown:
    """An example as the screens list it: what it is, and the way to its item."""

    example: Example
    what: str
    url: str
    end_url: str
    picture_url: str = ""
    veiled: bool = True


def shown_examples(question: Question, item: Item | None = None, *, sharp: bool = False) -> list[Shown]:
    """The examples that a question's order learns from, the oldest first; those of one item where it is named.

    Pictures from elsewhere under their veil, or `sharp`.
    """
    kind = Rendition.Kind.THUMBNAIL if sharp else Rendition.Kind.VEIL
    of_item = {} if item is None else {"example__item": item}
    small = SmallPicture.objects.filter(example__question=question, kind=kind, **of_item)
    pictured = set(small.values_list("example_id", flat=True))
    return [
        Shown(
            one,
            what_words(one),
            reverse("review-item", args=[one.item_id]) + within(question.number) if one.item_id else "",
            reverse("example-end", args=[one.item_id, one.pk])
            if one.item_id
            else reverse("picture-end", args=[question.case.code, one.pk]),
            reverse("picture-small", args=[question.case.code, one.pk, kind]) if one.pk in pictured else "",
            veiled=not sharp,
        )
        for one in examples.of(question, item)
    ]


def what_words(example: Example) -> str:
    """What of its item an example is; of a picture or words, what models made of them. Plain text."""
    if example.words:
        look = PictureLook.objects.filter(example=example).first()
        if look is None:
            return _("words; no model has read them yet, so they teach nothing so far")
        return _(look.trouble) if look.trouble else _("words")
    if example.item_id is None:
        look = PictureLook.objects.filter(example=example).first()
        if look is None:
            return _("a picture; no model has looked at it yet, so it teaches nothing so far")
        return _(look.trouble) if look.trouble else _("a picture")
    # As text, in marks that keep it whole in a line from right to left: messages show no markup
    at = f"\u2066{strip_tags(clock(example.at_ms / 1000))}\u2069" if example.at_ms is not None else ""
    if example.x is not None:
        return _("a box in it, at %(at)s") % {"at": at} if at else _("a box in it")
    return _("the frame at %(at)s") % {"at": at} if at else _("the whole of it")


def estimate_url(case: Case, number: int) -> str:
    url = navigation.address("estimate", case.code)
    return url + within(number) if url else ""


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def questions_page(request: HttpRequest, code: str) -> HttpResponse:
    """All questions of a case; a POST asks a further one."""
    case = visible(request, code)
    form = AskForm(request.POST or None)
    if request.method == "POST":
        access.require(request.user, "edit_criteria", case)
        if form.is_valid():
            try:
                questions.ask(case=case, actor=Actor.of(request), text=form.cleaned_data["text"])
            except (BadInput, Conflict) as error:
                form.add_error("text", error.sentence)
            else:
                messages.success(request, _("The question is open. Its order begins by the rules."))
                return redirect("questions", case.code)
    return _page(request, case, form, status=422 if request.method == "POST" else 200)


@require_POST
@login_required
def close(request: HttpRequest, code: str, number: int) -> HttpResponse:
    """End a question; its answers stay."""
    case = visible(request, code)
    access.require(request.user, "edit_criteria", case)
    try:
        questions.close(
            question=questions.numbered(case, number),
            actor=Actor.of(request),
            reason=request.POST.get("reason", "")[:400],
        )
    except (BadInput, Conflict) as error:
        messages.error(request, error.sentence)
    else:
        messages.success(request, _("The question is closed. Its answers stay."))
    return redirect("questions", case.code)


@require_POST
@login_required
def give_picture(request: HttpRequest, code: str, number: int) -> HttpResponse:
    """Show a picture from elsewhere as an example. It becomes no item, and nothing is decided by it."""
    case = visible(request, code)
    chosen = request.FILES.get("picture")
    try:
        pictures.give(
            picture=chosen or BytesIO(),
            size=(chosen.size if chosen else 0) or 0,
            file_name=(chosen.name if chosen else "") or "",
            question=questions.numbered(case, number),
            actor=Actor.of(request),
        )
    except (BadInput, Conflict) as error:
        messages.error(request, error.sentence)
    else:
        messages.success(
            request, _("The picture is kept as an example. It teaches once a model has looked at it.")
        )
    return redirect("questions", case.code)


@require_safe
@login_required
def small_picture(request: HttpRequest, code: str, example_id: int, kind: str) -> HttpResponseBase:
    """A picture from elsewhere, small: under its veil, or sharp for who chose to see this case's thumbnails."""
    case = visible(request, code)
    small = get_object_or_404(SmallPicture, example=example_id, kind=kind, example__question__case=case)
    veiled = small.kind == Rendition.Kind.VEIL
    if not (veiled or veil.thumbnails_shown(request, case.pk)):
        raise Http404
    return files.serve(request, small.blob_id, "image/jpeg", keep=veiled)


@require_POST
@login_required
def end_picture(request: HttpRequest, code: str, example_id: int) -> HttpResponse:
    """Take a picture away as an example: the order learns from it no longer."""
    case = visible(request, code)
    example = get_object_or_404(Example, pk=example_id, item=None, question__case=case)
    try:
        examples.end(example=example, actor=Actor.of(request))
    except Conflict as error:
        messages.error(request, error.sentence)
    else:
        messages.success(request, _("It is an example no longer. That it was one stays in the log."))
    return redirect("questions", case.code)


def _page(request: HttpRequest, case: Case, form: AskForm, *, status: int) -> HttpResponse:
    sharp = veil.thumbnails_shown(request, case.pk)
    rows = of_case(case, closed=True, with_examples=True, sharp=sharp)
    context = {
        "case": case,
        "here": "questions",
        "open": [row for row in rows if row.question.closed_at is None],
        "closed": [row for row in rows if row.question.closed_at is not None],
        "form": form,
        "may_edit": access.can(request.user, "edit_criteria", case),
        "may_decide": access.can(request.user, "decide", case),
        "spoken": phrase_views.choices(case),
    }
    return render(request, "triage/questions.html", context, status=status)
