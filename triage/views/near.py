"""The group of an item that look the same: look at them together, leave some out, decide once."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST, require_safe

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Decision, Item, User
from archive.views import item as item_views
from archive.views import present
from triage import near, questions, queue, together
from triage.models import Answer, Question
from triage.views.questions import number_of, within

SHOWN_BESIDE = 6
# value: the key that it hears, and its words, as on the review screen
CHOICES = {
    "relevant": ("relevant", gettext_lazy("Relevant")),
    "not_relevant": ("not_relevant", gettext_lazy("Not relevant")),
    "second_look": ("second_look", gettext_lazy("Second look")),
    "escalate": ("escalate", gettext_lazy("Escalate")),
    "yes": ("relevant", gettext_lazy("Yes")),
    "no": ("not_relevant", gettext_lazy("No")),
    "unsure": ("second_look", gettext_lazy("Cannot tell")),
}


def beside(item: Item, user: User, question: Question) -> dict[str, Any]:
    """For templates/triage/_group.html: the group of an item on its review screen; empty where it stands alone."""
    group = together.group_of(item, user, most=SHOWN_BESIDE)
    if group is None:
        return {}
    return {
        "group": group,
        "group_url": reverse("near", args=[item.pk]) + within(question.number),
        "group_veils": [_veil(member) for member in group.members if member.pk != item.pk],
    }


def _veil(member: Item) -> dict[str, str]:
    under = next((r for r in member.renditions.all() if r.kind == "veil"), None)
    return {"code": member.code, "url": reverse("rendition", args=[under.pk]) if under else ""}


@require_safe
@login_required
def near_page(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """All members of the group of an item."""
    found = item_views.visible(request, item_id)
    return _page(request, found, _question(request, found))


@require_POST
@login_required
def decide(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Say the same of the members that were kept in."""
    found = item_views.visible(request, item_id)
    access.require(request.user, "decide", found.case)
    question, reason = _question(request, found), request.POST.get("reason", "")[:4000]
    try:
        kept = [UUID(one) for one in request.POST.getlist("member")]
        count = together.decide(
            item=found,
            members=kept,
            question=question,
            actor=Actor.of(request),
            value=request.POST.get("value", ""),
            reason=reason,
        )
    except ValueError:
        return _page(request, found, question, errors=(_("This is not an item. Nothing was saved."),))
    except (BadInput, Conflict) as error:
        return _page(request, found, question, errors=(error.sentence,), reason=reason)
    words = ngettext(
        "Saved for %(n)d item that looks the same, each with its own record.",
        "Saved for %(n)d items that look the same, each with its own record.",
        count,
    )
    messages.success(request, words % {"n": count})
    asked = None if question.number == Question.MAIN else question
    after = queue.next_item(found.case, request.user, question=asked, after=found)
    if after is None:
        return redirect(reverse("review", args=[found.case.code]) + within(question.number))
    return redirect(reverse("review-item", args=[after.pk]) + within(question.number))


@require_POST
@login_required
def undo(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Take back what this person last said of the group in one act."""
    found = item_views.visible(request, item_id)
    access.require(request.user, "decide", found.case)
    question = _question(request, found)
    try:
        count = together.take_back(item=found, question=question, actor=Actor.of(request))
    except Conflict as error:
        messages.error(request, error.sentence)
    else:
        words = ngettext(
            "Taken back for %(n)d item. Both stay in its history.",
            "Taken back for %(n)d items. Both stay in their history.",
            count,
        )
        messages.info(request, words % {"n": count})
    return redirect(reverse("near", args=[found.pk]) + within(question.number))


def _question(request: HttpRequest, found: Item) -> Question:
    return questions.numbered(found.case, number_of(request.GET.get("question", "")))


def _page(
    request: HttpRequest, found: Item, question: Question, errors: tuple[str, ...] = (), reason: str = ""
) -> HttpResponse:
    group = together.group_of(found, request.user)
    members = group.members if group else []
    said = questions.in_force(question, [member.pk for member in members])
    main = question.number == Question.MAIN
    words = dict((Decision if main else Answer).Value.choices)
    posted = set(request.POST.getlist("member"))
    context = {
        "case": found.case,
        "here": "review",
        "item": found,
        "question": question,
        "group": group,
        "rows": [
            {
                "card": card,
                "said": words.get(said.get(card.item.pk, ""), ""),
                "kept": not posted or str(card.item.pk) in posted,
            }
            for card in present.cards(request, members)
        ],
        "back_url": reverse("review-item", args=[found.pk]) + within(question.number),
        "decide_url": reverse("near-decide", args=[found.pk]) + within(question.number),
        "choices": [(value, *CHOICES[value]) for value in words if value in CHOICES],
        "undo_url": reverse("near-undo", args=[found.pk]) + within(question.number),
        "said_at_once": len(together.last_act(found, question, Actor.of(request))),
        "most_apart": near.MOST_APART_VIDEO if found.kind == Item.Kind.VIDEO else near.MOST_APART,
        "method": near.METHOD,
        "most": together.MOST_TOGETHER,
        "may_decide": access.can(request.user, "decide", found.case) and question.closed_at is None,
        "errors": errors,
        "reason": reason,
    }
    return render(request, "triage/near.html", context, status=422 if errors else 200)
