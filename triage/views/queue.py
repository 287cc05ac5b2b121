"""The queue of a question: its order in plain words, what stands outside of it, and its items by the page."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.decorators import login_required
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_safe

from archive import access
from archive.models import Case, Decision, Item
from archive.templatetags.amparo import when
from archive.views import present
from archive.views.cases import visible
from triage import asking, questions, queue, ranking, registry
from triage.models import Analysis, Answer, Question, Ranking, Standing
from triage.queue import Filters
from triage.views.questions import estimate_url, number_of, of_case

STATUS_WORDS = {
    "undecided": gettext_lazy("waiting"),
    "unscored": gettext_lazy("read by no model"),
    "waiting": gettext_lazy("waiting for a model"),
    "unreadable": gettext_lazy("could not be decoded"),
    "not_pictures": gettext_lazy("not pictures or videos"),
    "failed": gettext_lazy("the model failed"),
    "postponed": gettext_lazy("postponed"),
    "decided": gettext_lazy("answered"),
    "all": gettext_lazy("all"),
}
BY_WORDS = {
    "score": gettext_lazy("what matters most"),
    "uncertain": gettext_lazy("what is least certain"),
    "unusual": gettext_lazy("what is least like the rest"),
}
CAME_WORDS = {
    "score": gettext_lazy("by score"),
    "lot": gettext_lazy("by lot"),
    "uncertain": gettext_lazy("as uncertain"),
    "unusual": gettext_lazy("as unusual"),
    "arrival": gettext_lazy("came in since"),
}


@dataclass(frozen=True)
class Way:
    """What a reader goes through: a question's queue, under some filters."""

    question: Question
    filters: Filters

    @property
    def query(self) -> str:
        """The end of an address, so that going on stays on this way."""
        given = {
            "question": str(self.question.number) if self.question.number else "",
            "kind": self.filters.kind,
            "status": self.filters.status if self.filters.status != "undecided" else "",
            "label": self.filters.label,
            "by": self.filters.by if self.filters.by != "score" else "",
        }
        text = urlencode({name: value for name, value in given.items() if value})
        return f"?{text}" if text else ""

    @property
    def filtered(self) -> bool:
        """Whether it leaves out items that wait."""
        return self.filters != Filters()

    def under(self, **changed: str) -> str:
        """The same question under other filters."""
        return Way(self.question, Filters(**changed)).query


def way_of(request: HttpRequest, case: Case) -> Way:
    """The question and the filters in the address. Raises BadInput, NotFound for unknown ones."""
    given = request.GET
    return Way(
        questions.numbered(case, number_of(given.get("question", ""))),
        Filters(
            kind=given.get("kind", ""),
            status=given.get("status") or "undecided",
            label=given.get("label", "")[:60],
            by=given.get("by") or "score",
        ),
    )


class FilterForm(forms.Form):
    """What of the queue to show."""

    case = forms.ChoiceField(label=gettext_lazy("Case"), required=False)
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), required=False)
    status = forms.ChoiceField(
        label=gettext_lazy("Status"), required=False, choices=list(STATUS_WORDS.items())
    )
    label = forms.ChoiceField(label=gettext_lazy("Suggested in it"), required=False)

    by = forms.ChoiceField(label=gettext_lazy("First"), required=False, choices=list(BY_WORDS.items()))

    def __init__(self, *given: Any, case: Case, user: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        any_ = ("", _("any"))
        codes = Case.objects.visible_to(user).values_list("code", flat=True)
        self.fields["case"].choices = [(code, code) for code in codes]
        self.fields["kind"].choices = [any_, *Item.Kind.choices]
        self.fields["label"].choices = [any_, *((c, f"{c} ({n})") for c, n in queue.classes(case))]


@require_safe
@login_required
def queue_page(request: HttpRequest, code: str) -> HttpResponse:
    """The order of review, stated, and how many stand where."""
    case = visible(request, code)
    way = way_of(request, case)
    if request.GET.get("case", case.code) != case.code:
        return redirect(reverse("review", args=[request.GET["case"]]) + Way(Question(), way.filters).query)
    after = request.GET.get("next", "")
    page = queue.order(case, request.user, way.filters, question=way.question, after=after)
    number, more = queue.number(case, request.user, way.filters, question=way.question)
    first = queue.next_item(case, request.user, way.filters, question=way.question)
    counts = queue.counts(case, question=way.question)
    address = reverse("review", args=[case.code])
    form = FilterForm({"case": case.code, **vars(way.filters)}, case=case, user=request.user)
    context = {
        "case": case,
        "here": "review",
        "question": way.question,
        "asked": of_case(case, way.question.number),
        "order": order_words(way.question),
        "rules_url": reverse("criteria", args=[case.code]) + Way(way.question, Filters()).query,
        "estimate_url": estimate_url(case, way.question.number),
        "unread": unread(counts, address, way),
        "unread_number": counts.unscored,
        "filters": list(form),
        "filtered": way.filtered,
        "all_url": address + way.under(),
        "rows": _rows(request, page.rows, way, from_top=not after and not way.filtered),
        "next": page.next,
        "number": number,
        "more": more,
        "showing": standing_words(counts),
        "first_url": reverse("review-item", args=[first.pk]) + way.query if first else "",
        "notice": registry.notice(),
        "may_edit": access.can(request.user, "edit_criteria", case),
    }
    return render(request, "triage/queue.html", context)


@dataclass(frozen=True)
class Part:
    """Items that stand outside of the order for one reason."""

    number: int
    words: str
    url: str


def unread(counts: queue.Counts, address: str, way: Way) -> list[Part]:
    """What no model has read, by reason, for the top of the page."""
    parts = [
        (counts.waiting, "waiting", _("wait for a model to look")),
        (counts.unreadable, "unreadable", _("could not be decoded")),
        (counts.not_pictures, "not_pictures", _("are not pictures or videos; no model here reads them")),
        (counts.failed, "failed", _("the model failed on them")),
    ]
    return [Part(n, words, address + way.under(status=status)) for n, status, words in parts if n]


def standing_words(counts: queue.Counts) -> str:
    """How many items of the case stand in each part of the order."""
    parts = [
        (counts.scored, _("%d scored")),
        (counts.unscored, _("%d not read by a model")),
        (counts.postponed, _("%d postponed")),
        (counts.decided, _("%d answered")),
    ]
    return _("in the whole case: %s") % _(", ").join(words % n for n, words in parts if n)


def order_words(question: Question) -> list[str | SafeString]:
    """How a question's queue is ordered, in sentences: what it rests on, what chance and waiting do, which version."""
    settings, version = asking.settings_of(question), ranking.current(question)
    lot = ngettext(
        "%(n)s place in 100 goes to an item drawn by lot, as an audit.",
        "%(n)s places in 100 go to items drawn by lot, as an audit.",
        settings.audit_percent,
    ) % {"n": settings.audit_percent}
    waits = ngettext(
        "An item rises by one point with every day that it waits.",
        "An item rises by one point with every %(n)s days that it waits.",
        settings.waiting_days,
    ) % {"n": settings.waiting_days}
    nothing_hidden = _("A low score hides nothing.")
    words: list[str | SafeString] = [basis(version), f"{lot} {waits} {nothing_hidden}"]
    return [*words, made_words(version)] if version else words


def basis(version: Ranking | None) -> str:
    """What an order rests on."""
    start = version.start if version else Ranking.Start.NOTHING
    if version is None or start == Ranking.Start.NOTHING:
        return _(
            "By rules only: there are no examples and no answers of both kinds yet, so nothing was learned. Scores are "
            "points, not calibrated."
        )
    yes = sum(1 for _number, is_yes, *_rest in version.labels if is_yes)
    if start == Ranking.Start.EXAMPLES:
        return ngettext(
            "By rules and by likeness to %(n)s example or yes. Scores are points, not calibrated.",
            "By rules and by likeness to %(n)s examples or yeses. Scores are points, not calibrated.",
            yes,
        ) % {"n": f"{yes:,}"}
    learned = _("By rules and by what was learned from %(yes)s yes and %(no)s no, examples included.") % {
        "yes": f"{yes:,}",
        "no": f"{len(version.labels) - yes:,}",
    }
    measure = _("Scores are points, not calibrated: there are too few answers for that.")
    if version.calibrated:
        measure = _("Scores are calibrated chances: of the items at 0.80, about 8 in 10 should be a yes.")
    return f"{learned} {measure}"


def made_words(version: Ranking) -> SafeString:
    """Which version of the order this is, when it was made and with the vectors of which models."""
    names = format_html_join(_(", "), '<bdi dir="ltr">{}</bdi>{}', _compared_by(version))
    rules = _("rules version %(n)s") % {"n": version.criteria} if version.criteria else _("built-in rules")
    if not version.rules["criteria"]:
        rules = _("no rules")
    said = _("Version %(n)s of the order, %(rules)s, made") % {"n": version.number, "rules": rules}
    made = format_html("{} {}", said, when(version.at))
    return format_html("{}. {} {}.", made, _("Compared by:"), names) if names else format_html("{}.", made)


def _compared_by(version: Ranking) -> list[tuple[str, str]]:
    """The models whose vectors a version of the order was made with, each with the version of its embedder."""
    names = []
    for embedder, recipe in sorted(version.recipes.items()):
        made = Analysis.objects.filter(recipe=recipe).values("model", "version").order_by()[:1]
        names += [(one["model"], " " + _("version %(n)s") % {"n": one["version"]}) for one in made] or [
            (embedder, "")
        ]
    return names


def score_words(chance: float | None, score: Any) -> dict[str, Any]:
    """A score as it is shown: a calibrated chance, or points that are marked as not calibrated; None for neither."""
    if chance is not None:
        return {"score": chance, "measure": _("calibrated")}
    return {"score": score, "measure": _("points, uncalibrated") if score is not None else ""}


def value_words(value: str) -> str:
    """A decision's or an answer's value in words."""
    return str({**dict(Decision.Value.choices), **dict(Answer.Value.choices)}[value])


def _rows(request: HttpRequest, rows: list[queue.Row], way: Way, *, from_top: bool) -> list[dict[str, Any]]:
    items = [row.item for row in rows]
    prefetch_related_objects(items, "renditions")
    cards = {card.item.pk: card for card in present.cards(request, items)}
    said = questions.in_force(way.question, [item.pk for item in items])
    return [
        {
            "place": row.place or (n if from_top else None),
            "item": row.item,
            "url": reverse("review-item", args=[row.pk]) + way.query,
            "veil_url": (card := cards[row.pk]).veil_url,
            "icon": card.icon,
            "kind": card.kind,
            "seconds": card.seconds,
            "labels": card.labels,
            "state": _(row.why_unscored) if row.why_unscored else _("no suggestion, which is no finding"),
            "came": CAME_WORDS.get(row.came, "") if row.score is not None or row.came != "score" else "",
            "by_lot": row.came == "lot",
            "said": value_words(said[row.pk]) if row.pk in said else "",
            "postponed": row.band == Standing.Band.POSTPONED,
        }
        | score_words(row.chance, row.score)
        for n, row in enumerate(rows, 1)
    ]
