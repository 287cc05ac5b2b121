"""One item to answer, with the file's own claims and nothing that a machine said. For samples and second readings."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from archive import access
from archive.models import Case, Item
from archive.views import present
from archive.views.suggestions import Full
from triage import given
from triage.models import Question

ANSWERS = {
    given.YES: gettext_lazy("yes"),
    given.NO: gettext_lazy("no"),
    given.UNSURE: gettext_lazy("cannot tell"),
}


def item_of(request: HttpRequest, case: Case, item_id: UUID) -> Item:
    """An item of this case, with what its screens need. Raises Http404."""
    items = present.with_pictures(Item.objects.visible_to(request.user).filter(case=case))
    return get_object_or_404(items, pk=item_id)


def page(
    request: HttpRequest,
    question: Question,
    item: Item,
    *,
    heading: str,
    place: SafeString | str,
    why: str,
    back: tuple[str, str],
    answered: str = "",
    upcoming: str = "",
    errors: tuple[str, ...] = (),
    **more: Any,
) -> HttpResponse:
    """The page on which one item is answered, with the file's own claims and nothing that a machine said."""
    main = question.number == Question.MAIN
    context = {
        "case": question.case,
        "here": "estimate",
        "question": question,
        "item": item,
        "here_url": request.path,
        "viewer": present.viewer(request, item, Full()),
        "blind": True,
        "claims": present.claims_beside(item),
        "heading": heading,
        "place": place,
        "why": why,
        "back_url": back[0],
        "back": back[1],
        "choices": [
            (given.YES, "relevant", _("Relevant") if main else _("Yes")),
            (given.NO, "not_relevant", _("Not relevant") if main else _("No")),
            (given.UNSURE, "second_look", _("Cannot tell")),
        ],
        "answered": answered,
        "upcoming": upcoming,
        "errors": errors,
        "reason": request.POST.get("reason", ""),
        "may_decide": access.can(request.user, "decide", question.case) and question.closed_at is None,
        "may_download": item.disposed_at is None and access.can(request.user, "download", question.case),
        **more,
    }
    return render(request, "triage/blind.html", context, status=422 if errors else 200)
