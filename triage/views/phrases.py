"""Pictures that fit words, as a model has it: a machine's suggestion, never a finding. And words as examples."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import get_language, get_language_info
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Case
from archive.views import veil
from archive.views.cases import visible
from triage import phrases, questions
from triage.models import Phrase
from triage.similar import NothingToCompare
from triage.views.similar import SHOWN, alike


def choices(case: Case) -> list[tuple[str, str]]:
    """The languages in which pictures can be asked for: code and name, the one to offer first in front."""
    return [(code, _name(code)) for code in phrases.languages(case, get_language() or "en")]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def ask(request: HttpRequest, code: str) -> HttpResponse:
    """Where words are asked; a POST has a model read them."""
    case = visible(request, code)
    if request.method == "POST":
        try:
            phrase = phrases.look_for(
                case=case,
                words=request.POST.get("words", ""),
                language=request.POST.get("language", ""),
                by=Actor.of(request).user,
            )
        except BadInput as error:
            messages.error(request, _(error.sentence))
        else:
            return redirect("words-found", case.code, phrase.pk)
    words = (request.POST if request.method == "POST" else request.GET).get("words", "")
    return _page(request, case, {"words": words[: phrases.LONGEST]})


@require_safe
@login_required
def found(request: HttpRequest, code: str, phrase_id: UUID) -> HttpResponse:
    """The pictures of the case that fit words best."""
    case = visible(request, code)
    phrase = get_object_or_404(Phrase, pk=phrase_id, case=case)
    context: dict[str, Any] = {"phrase": phrase, "words": phrase.words, "said_in": phrase.language}
    try:
        if phrases.is_awaited(phrase):
            context["waiting_url"] = reverse("words-state", args=[case.code, phrase.pk])
        else:
            context["alike"] = alike(request, phrases.search(phrase, user=request.user, count=SHOWN))
            tower = phrases.tower_for(phrase.language)
            context["of"] = phrases.of(tower) if tower else None
    except NothingToCompare as error:
        context["trouble"] = _(error.sentence)
    return _page(request, case, context)


@require_safe
@login_required
def state(request: HttpRequest, code: str, phrase_id: UUID) -> HttpResponse:
    """Whether a model has read the words."""
    phrase = get_object_or_404(Phrase, pk=phrase_id, case=visible(request, code))
    return JsonResponse({"waiting": phrases.is_awaited(phrase)})


@require_POST
@login_required
def show(request: HttpRequest, code: str, number: int) -> HttpResponse:
    """Show words as an example of what a question looks for. Nothing is decided by it."""
    case = visible(request, code)
    try:
        phrases.show(
            words=request.POST.get("words", ""),
            language=request.POST.get("language", ""),
            question=questions.numbered(case, number),
            actor=Actor.of(request),
        )
    except (BadInput, Conflict) as error:
        messages.error(request, _(error.sentence))
    else:
        messages.success(
            request, _("The words are kept as an example. They teach once a model has read them.")
        )
    return redirect("questions", case.code)


def _page(request: HttpRequest, case: Case, context: dict[str, Any]) -> HttpResponse:
    more = {
        "case": case,
        "here": "library",
        "spoken": choices(case),
        "thumbnails": veil.thumbnails_shown(request, case.pk),
        "here_url": request.get_full_path(),
    }
    return render(request, "triage/words.html", more | context)


def _name(code: str) -> str:
    """A language by its name in the reader's language, or by its code where no name is known here."""
    try:
        return str(get_language_info(code)["name_translated"])
    except KeyError:
        return code
