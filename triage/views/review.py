"""The queue, and one item at a time: look, decide, undo, postpone, go on."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core import signing
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Case, Item
from archive.views import item as item_views
from archive.views import present, suggestions, thread
from triage import queue, registry, review
from triage.models import Standing
from triage.queue import Filters

SHOWN_HOLDS_S = 12 * 3600
STATUS_WORDS = {
    "undecided": gettext_lazy("waiting"),
    "unscored": gettext_lazy("waiting, not scored"),
    "postponed": gettext_lazy("postponed"),
    "decided": gettext_lazy("decided"),
    "all": gettext_lazy("all"),
}


class FilterForm(forms.Form):
    """What of the queue to show."""

    case = forms.ChoiceField(label=gettext_lazy("Case"), required=False)
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), required=False)
    status = forms.ChoiceField(
        label=gettext_lazy("Status"), required=False, choices=list(STATUS_WORDS.items())
    )
    label = forms.ChoiceField(label=gettext_lazy("Suggested in it"), required=False)

    def __init__(self, *given: Any, case: Case, user: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        any_ = ("", _("any"))
        codes = Case.objects.visible_to(user).values_list("code", flat=True)
        self.fields["case"].choices = [(code, code) for code in codes]
        self.fields["kind"].choices = [any_, *Item.Kind.choices]
        self.fields["label"].choices = [any_, *((c, f"{c} ({n})") for c, n in queue.classes(case))]


def filters_of(request: HttpRequest) -> Filters:
    """The filters in the address. Raises BadInput for unknown ones."""
    given = request.GET
    return Filters(
        kind=given.get("kind", ""),
        status=given.get("status") or "undecided",
        label=given.get("label", "")[:60],
    )


def query_of(filters: Filters) -> str:
    """The filters as the end of an address, so that going on stays within them."""
    given = {
        "kind": filters.kind,
        "status": filters.status if filters.status != "undecided" else "",
        "label": filters.label,
    }
    text = urlencode({name: value for name, value in given.items() if value})
    return f"?{text}" if text else ""


@require_safe
@login_required
def queue_page(request: HttpRequest, code: str) -> HttpResponse:
    """The order of review, stated, and how many stand where."""
    case = get_object_or_404(Case.objects.visible_to(request.user), code=code)
    filters = filters_of(request)
    if request.GET.get("case", case.code) != case.code:
        return redirect(reverse("review", args=[request.GET["case"]]) + query_of(filters))
    page = queue.order(case, request.user, filters, after=request.GET.get("next", ""))
    number, more = queue.number(case, request.user, filters)
    first = queue.next_item(case, request.user, filters)
    counts = queue.counts(case)
    form = FilterForm(
        {"case": case.code, "kind": filters.kind, "status": filters.status, "label": filters.label},
        case=case,
        user=request.user,
    )
    return render(
        request,
        "triage/queue.html",
        {
            "case": case,
            "here": "review",
            "numbers": {"review": counts.undecided},
            "filters": list(form),
            "filtered": bool(query_of(filters)),
            "rows": _rows(request, page.rows, filters, after=request.GET.get("next", "")),
            "next": page.next,
            "number": number,
            "more": more,
            "order": _(
                "Scored items first, the highest score at the top; equal scores by arrival. Then those not scored, "
                "by arrival; then the postponed. A low score hides nothing."
            ),
            "showing": standing_words(counts),
            "first_url": reverse("review-item", args=[first.pk]) + query_of(filters) if first else "",
            "notice": registry.notice(),
        },
    )


def standing_words(counts: queue.Counts) -> str:
    """How many items of the case stand in each part of the order."""
    parts = [
        (counts.scored, _("%d scored")),
        (counts.waiting, _("%d wait for a model")),
        (counts.unreadable, _("%d could not be decoded")),
        (counts.not_pictures, _("%d not pictures")),
        (counts.failed, _("%d where the model failed")),
        (counts.postponed, _("%d postponed")),
        (counts.decided, _("%d decided")),
    ]
    return _("in the whole case: %s") % _(", ").join(words % n for n, words in parts if n)


def _rows(request: HttpRequest, rows: list[Standing], filters: Filters, *, after: str) -> list[dict]:
    items = [row.item for row in rows]
    prefetch_related_objects(items, "renditions")
    cards = {card.item.pk: card for card in present.cards(request, items)}
    plain = not after and not (filters.kind or filters.label) and filters.status == "undecided"
    out = []
    for n, row in enumerate(rows, 1):
        card = cards[row.pk]
        out.append(
            {
                "place": n if plain else None,
                "item": row.item,
                "url": reverse("review-item", args=[row.pk]) + query_of(filters),
                "veil_url": card.veil_url,
                "icon": card.icon,
                "kind": card.kind,
                "seconds": card.seconds,
                "labels": card.labels,
                "state": _(row.why_unscored) if row.why_unscored else _("nothing suggested"),
                "stands": _("not scored"),
                "score": card.score,
                "decision": card.decision,
                "postponed": row.band == Standing.Band.POSTPONED,
            }
        )
    return out


@require_safe
@login_required
def item(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """One item: veiled until asked, with all that speaks for its place beside it."""
    return _page(request, item_views.visible(request, item_id), filters_of(request))


def _page(
    request: HttpRequest, found: Item, filters: Filters, errors: tuple[str, ...] = (), reason: str = ""
) -> HttpResponse:
    case, user = found.case, request.user
    full, notes = suggestions.source().full(found), present.notes(found)
    counts, shown = queue.counts(case), queue.shown(found)
    last = review.last_by(Actor.of(request), case.pk)
    subject = found.custody_subject()
    context = {
        "case": case,
        "here": "review",
        "item": found,
        "here_url": reverse("review-item", args=[found.pk]) + query_of(filters),
        "filters_query": query_of(filters),
        "viewer": present.viewer(request, found, full, notes=notes),
        "suggested": full,
        "place": _place_words(found, shown["place"], counts),
        "why_unscored": queue.stands(found).why_unscored,
        "shown": signing.dumps(shown, salt=f"shown:{found.pk}", compress=True),
        "claims": present.claims_beside(found),
        "condition": item_views.condition(found),
        "findings": [present.said(f) for f in found.findings.select_related("by")],
        "decisions": present.decisions(found),
        "decided": found.decision.value if found.decision else "",
        "notes": notes,
        "tags": found.item_tags.select_related("tag"),
        "known_tags": case.tags.all()[:200],
        "custody": thread.state(subject),
        "all_url": thread.address(user, found),
        "seen": _("%(decided)d of %(all)d decided")
        % {"decided": counts.decided, "all": counts.decided + counts.undecided},
        "upcoming": _upcoming(found, user, filters),
        "last_decision": f"{last.get_value_display()}, {last.item.code}" if last else "",
        "may_decide": access.can(user, "decide", case),
        "may_annotate": access.can(user, "annotate", case),
        "errors": errors,
        "reason": reason,
    }
    return render(request, "triage/review.html", context, status=422 if errors else 200)


def _place_words(found: Item, place: int, counts: queue.Counts) -> str:
    if found.decision_id:
        return _("Decided; it waits for nobody")
    return _("Why it is number %(place)d of %(all)d waiting") % {"place": place, "all": counts.undecided}


def _upcoming(found: Item, user: Any, filters: Filters) -> dict[str, str]:
    after = queue.next_item(found.case, user, filters, after=found)
    if after is None:
        return {}
    under = after.renditions.filter(kind="veil").first()
    return {
        "url": reverse("review-item", args=[after.pk]) + query_of(filters),
        "veil_url": reverse("rendition", args=[under.pk]) if under else "",
    }


def _go_on(upcoming: dict[str, str], case: Case, filters: Filters) -> HttpResponse:
    return redirect(upcoming.get("url") or reverse("review", args=[case.code]) + query_of(filters))


@require_POST
@login_required
def decide(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Record the decision together with what the screen showed, then the next item."""
    found, filters = item_views.visible(request, item_id), filters_of(request)
    reason, upcoming = request.POST.get("reason", ""), _upcoming(found, request.user, filters)
    try:
        review.decide(
            item=found,
            actor=Actor.of(request),
            value=request.POST.get("value", ""),
            reason=reason,
            shown=_shown(request, found),
        )
    except (BadInput, Conflict) as error:
        return _page(request, item_views.visible(request, item_id), filters, (error.sentence,), reason)
    return _go_on(upcoming, found.case, filters)


@require_POST
@login_required
def postpone(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Put the item off, with a reason, then the next one."""
    found, filters = item_views.visible(request, item_id), filters_of(request)
    reason, upcoming = request.POST.get("reason", ""), _upcoming(found, request.user, filters)
    try:
        review.postpone(item=found, actor=Actor.of(request), reason=reason)
    except (BadInput, Conflict) as error:
        return _page(request, found, filters, (error.sentence,), reason)
    return _go_on(upcoming, found.case, filters)


@require_POST
@login_required
def undo(request: HttpRequest, code: str) -> HttpResponse:
    """Take back this person's last decision in the case, and show that item again."""
    case = get_object_or_404(Case.objects.visible_to(request.user), code=code)
    actor, filters = Actor.of(request), filters_of(request)
    access.require(actor, "decide", case)
    last = review.last_by(actor, case.pk)
    if last is None:
        messages.info(request, _("There is no decision of yours in this case to take back."))
        return redirect(reverse("review", args=[case.code]) + query_of(filters))
    try:
        review.withdraw(decision=last, actor=actor)
    except Conflict as error:
        messages.error(request, error.sentence)
    else:
        words = {"value": last.get_value_display(), "code": last.item.code}
        messages.info(request, _("Taken back: %(value)s, on %(code)s. Both stay in the history.") % words)
    return redirect(reverse("review-item", args=[last.item_id]) + query_of(filters))


def _shown(request: HttpRequest, found: Item) -> dict[str, Any] | None:
    """What this person's screen showed of the ranking, as signed by us; None where it is missing or too old."""
    try:
        return signing.loads(request.POST.get("shown", ""), salt=f"shown:{found.pk}", max_age=SHOWN_HOLDS_S)
    except signing.BadSignature:
        return None
