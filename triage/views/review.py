"""One item at a time, for a question: look, answer, undo, postpone, give as an example, go on."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Case, Decision, Item
from archive.templatetags.amparo import ltr
from archive.views import files, present, suggestions, thread
from archive.views import item as item_views
from archive.views.cases import visible
from triage import examples, questions, queue, ranking, review, wording
from triage.models import Answer, Question
from triage.views import near
from triage.views.questions import shown_examples, what_words
from triage.views.queue import Way, made_words, score_words, value_words, way_of

SHOWN_HOLDS_S = 12 * 3600


@require_safe
@login_required
def item(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """One item: veiled until asked, with all that speaks for its place beside it."""
    found = item_views.visible(request, item_id)
    return _page(request, found, way_of(request, found.case))


def _page(
    request: HttpRequest, found: Item, way: Way, errors: tuple[str, ...] = (), reason: str = ""
) -> HttpResponse:
    case, user, question = found.case, request.user, way.question
    full, notes = suggestions.source().full(found), present.notes(found)
    counts = queue.counts(case, question=question)
    shown = queue.shown(found, question, came=_came(way))
    last = _last_by(Actor.of(request), question)
    said = _said(found, question)
    context = {
        "case": case,
        "here": "review",
        "item": found,
        "question": question,
        "others": _others(found, way),
        "here_url": reverse("review-item", args=[found.pk]) + way.query,
        "way_query": way.query,
        "viewer": present.viewer(request, found, full, notes=notes),
        "suggested": full,
        "place": _place_words(said, shown["place"], counts),
        "reasons": _reasons(case, shown["reasons"]),
        "rank": _rank(queue.ranked(found, question), shown["came"], question),
        "shown": signing.dumps(shown, salt=_salt(found, question), compress=True),
        "claims": present.claims_beside(found),
        "condition": item_views.condition(found),
        "findings": [present.said(f) for f in found.findings.select_related("by")],
        "choices": _choices(question),
        "examples": shown_examples(question, found),
        "decisions": said,
        "decided": next((row.value for row in said if row.in_force), ""),
        "notes": notes,
        "tags": found.item_tags.select_related("tag"),
        "known_tags": case.tags.all()[:200],
        "custody": thread.state(found.custody_subject()),
        "all_url": thread.address(user, found),
        "seen": _("%(decided)d of %(all)d answered")
        % {"decided": counts.decided, "all": counts.decided + counts.undecided},
        "upcoming": _upcoming(found, user, way),
        "last_decision": f"{last.get_value_display()}, {last.item.code}" if last else "",
        "may_decide": access.can(user, "decide", case) and question.closed_at is None,
        "may_annotate": access.can(user, "annotate", case),
        "errors": errors,
        "reason": reason,
    }
    context |= near.beside(found, user, question)
    return render(request, "triage/review.html", context, status=422 if errors else 200)


@dataclass(frozen=True)
class Choice:
    """One answer: what is sent, the key that it hears, its words."""

    value: str
    key: str
    words: str


def _choices(question: Question) -> list[Choice]:
    """The answers to a question, in an order that is always the same and prefers none."""
    if question.number == Question.MAIN:
        return [
            Choice("relevant", "relevant", _("Relevant")),
            Choice("not_relevant", "not_relevant", _("Not relevant")),
            Choice("second_look", "second_look", _("Second look")),
            Choice("escalate", "escalate", _("Escalate")),
        ]
    return [
        Choice("yes", "relevant", _("Yes")),
        Choice("no", "not_relevant", _("No")),
        Choice("unsure", "second_look", _("Cannot tell")),
    ]


def _said(found: Item, question: Question) -> list[Any]:
    """What people said to the question about this item, the newest first."""
    if question.number == Question.MAIN:
        return present.decisions(found)
    return questions.answers(found, question)


@dataclass(frozen=True)
class Other:
    """Another open question, and what people said to it about this item."""

    words: str
    url: str
    said: str


def _others(found: Item, way: Way) -> list[Other]:
    """The case's other open questions, from the one after this on: one key goes to the first."""
    asked = questions.asked(found.case)
    rows = [q for q in asked if q.number > way.question.number]
    rows += [q for q in asked if q.number < way.question.number]
    here = reverse("review-item", args=[found.pk])
    return [Other(str(q), here + Way(q, way.filters).query, _answer_words(found, q)) for q in rows]


def _answer_words(found: Item, question: Question) -> str:
    """What people said to a question about this item; empty where nobody did."""
    said = questions.in_force(question, [found.pk])
    return value_words(said[found.pk]) if said else ""


def _place_words(said: list[Any], place: int, counts: queue.Counts) -> str:
    if any(row.in_force for row in said):
        return _("Answered; it waits for nobody")
    return _("Why it is at place %(place)s; %(all)s wait") % {
        "place": f"{place:,}",
        "all": f"{counts.undecided:,}",
    }


def _came(way: Way) -> str:
    return way.filters.by if way.filters.by != "score" else ""


def _rank(row: queue.Row, came: str, question: Question) -> dict[str, Any]:
    """The item's score, how it came to be shown, and the version of the order that says so."""
    version = ranking.current(question)
    return score_words(row.chance, row.score) | {
        "unread": _(row.why_unscored) if row.why_unscored else "",
        "by_lot": came == "lot",
        "came": {
            "uncertain": _("Shown since the order knows least about it."),
            "unusual": _("Shown since it is among the least like the rest of its case."),
            "arrival": _(
                "It came in since this version of the order was made, and stands where the rules put it."
            ),
        }.get(came, ""),
        "made": made_words(version) if version else "",
    }


def _reasons(case: Case, lines: list[dict[str, Any]]) -> list[suggestions.Reason]:
    """What the score is the sum of, with a way to the items that it looks like."""
    numbers = {number for line in lines for number in line.get("items", ())}
    alike = Item.objects.filter(case=case, number__in=numbers).select_related("case") if numbers else ()
    links = {
        item.number: format_html('<a href="{}">{}</a>', reverse("item", args=[item.pk]), ltr(item.code))
        for item in alike
    }
    most = max((abs(float(line["contribution"])) for line in lines), default=0.0) or 1.0
    return [
        suggestions.Reason(
            words=wording.reason(line, links),
            contribution=float(line["contribution"]),
            share=abs(float(line["contribution"])) / most,
            machine=bool(line["machine"]),
        )
        for line in lines
    ]


def _upcoming(found: Item, user: Any, way: Way) -> dict[str, str]:
    after = queue.next_item(found.case, user, way.filters, question=way.question, after=found)
    if after is None:
        return {}
    under = after.renditions.filter(kind="veil").first()
    return {
        "url": reverse("review-item", args=[after.pk]) + way.query,
        "veil_url": reverse("rendition", args=[under.pk]) if under else "",
    }


def _go_on(upcoming: dict[str, str], case: Case, way: Way) -> HttpResponse:
    return redirect(upcoming.get("url") or reverse("review", args=[case.code]) + way.query)


@require_POST
@login_required
def decide(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Record the answer together with what the screen showed, then the next item."""
    found = item_views.visible(request, item_id)
    way = way_of(request, found.case)
    given = {
        "item": found,
        "actor": Actor.of(request),
        "value": request.POST.get("value", ""),
        "reason": (reason := request.POST.get("reason", "")),
    }
    upcoming, shown = _upcoming(found, request.user, way), _shown(request, found, way.question)
    try:
        if way.question.number == Question.MAIN:
            review.decide(shown=shown, **given)
        else:
            shown = queue.shown(found, way.question, came=_came(way)) if shown is None else shown
            questions.answer(question=way.question, shown=shown, **given)
    except (BadInput, Conflict) as error:
        return _page(request, item_views.visible(request, item_id), way, (error.sentence,), reason)
    return _go_on(upcoming, found.case, way)


@require_POST
@login_required
def postpone(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Put the item off, with a reason, then the next one."""
    found = item_views.visible(request, item_id)
    way = way_of(request, found.case)
    reason, upcoming = request.POST.get("reason", ""), _upcoming(found, request.user, way)
    try:
        review.postpone(item=found, actor=Actor.of(request), reason=reason)
    except (BadInput, Conflict) as error:
        return _page(request, found, way, (error.sentence,), reason)
    return _go_on(upcoming, found.case, way)


@require_POST
@login_required
def undo(request: HttpRequest, code: str) -> HttpResponse:
    """Take back this person's last answer to the question, and show that item again."""
    case = visible(request, code)
    actor, way = Actor.of(request), way_of(request, case)
    access.require(actor, "decide", case)
    last = _last_by(actor, way.question)
    if last is None:
        messages.info(request, _("There is no answer of yours here to take back."))
        return redirect(reverse("review", args=[case.code]) + way.query)
    try:
        if way.question.number == Question.MAIN:
            review.withdraw(decision=last, actor=actor)
        else:
            questions.withdraw(answer=last, actor=actor)
    except Conflict as error:
        messages.error(request, error.sentence)
    else:
        words = {"value": last.get_value_display(), "code": last.item.code}
        messages.info(request, _("Taken back: %(value)s, on %(code)s. Both stay in the history.") % words)
    return redirect(reverse("review-item", args=[last.item_id]) + way.query)


def _last_by(actor: Actor, question: Question) -> Decision | Answer | None:
    if question.number == Question.MAIN:
        return review.last_by(actor, question.case_id)
    return questions.last_by(actor, question)


def _salt(found: Item, question: Question) -> str:
    return f"shown:{found.pk}:{question.number}"


def _shown(request: HttpRequest, found: Item, question: Question) -> dict[str, Any] | None:
    """What this person's screen showed of the ranking, as signed by us; None where it is missing or too old."""
    try:
        signed = request.POST.get("shown", "")
        return signing.loads(signed, salt=_salt(found, question), max_age=SHOWN_HOLDS_S)
    except signing.BadSignature:
        return None


# --- examples -------------------------------------------------------------------------------------------------------


@require_POST
@login_required
def give_example(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Give the item, the moment on screen or a box in it as an example of the question. Nothing is decided by it."""
    found = item_views.visible(request, item_id)
    way = way_of(request, found.case)
    try:
        given = examples.give(
            item=found,
            question=way.question,
            actor=Actor.of(request),
            at_ms=_whole_number(request.POST.get("at_ms", "")),
            box=[side for side in request.POST.get("box", "")[:80].split(",") if side] or None,
        )
    except (BadInput, Conflict) as error:
        messages.error(request, error.sentence)
    else:
        words = _("Given as an example: %(what)s. A new order is being made; nothing was decided.")
        messages.success(request, words % {"what": what_words(given)})
    return redirect(reverse("review-item", args=[found.pk]) + way.query)


@require_POST
@login_required
def end_example(request: HttpRequest, item_id: UUID, example_id: int) -> HttpResponse:
    """Take an example away: the order learns from it no longer."""
    found = item_views.visible(request, item_id)
    example = get_object_or_404(found.examples.select_related("question", "item__case"), pk=example_id)
    try:
        examples.end(example=example, actor=Actor.of(request))
    except Conflict as error:
        messages.error(request, error.sentence)
    else:
        messages.success(request, _("It is an example no longer. That it was one stays in the log."))
    return files.back(request, reverse("questions", args=[found.case.code]))


def _whole_number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise BadInput("A moment is a whole number of milliseconds. Nothing was saved.")
    return int(text)
