"""The library of a case, and the search over all cases a person sees. Pages by key; filters are plain addresses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from archive import access, viewing
from archive import search as text
from archive.custody import Actor
from archive.models import Blob, Case, Decision, Item, Source
from archive.views import present, suggestions, veil
from archive.views.files import back

PAGE = 48
COUNTED = 10_000
ORDERS = ("newest", "oldest")
# Whose words a text is looked for in
ORIGINS = {
    "people": text.BY_PEOPLE,
    "file": text.BY_FILE,
    "machine": text.BY_MACHINE,
    "caption": text.BY_CAPTION,
}
ORIGIN_WORDS = {
    "people": gettext_lazy("tags, notes and findings by people"),
    "file": gettext_lazy("names and claims of the file"),
    "machine": gettext_lazy("tags and text that a machine suggests"),
    "caption": gettext_lazy("machine captions"),
}


@dataclass(frozen=True)
class Line:
    """One filter that can be put on or taken off."""

    words: str
    number: int | None
    url: str
    on: bool
    machine: bool = False


@dataclass(frozen=True)
class Facet:
    """A heading with its filters."""

    title: str
    lines: list[Line]


@dataclass(frozen=True)
class Chip:
    """A filter that is on."""

    words: str
    without: str
    machine: bool = False


@require_safe
@login_required
def library(request: HttpRequest, code: str) -> HttpResponse:
    """The items of one case."""
    case = get_object_or_404(Case.objects.visible_to(request.user), code=code)
    everything = Item.objects.visible_to(request.user).filter(case=case)
    q = request.GET.get("q", "").strip()[:200]
    within = request.GET.get("in", "") if q else ""
    found = searched(everything, q, within)
    chosen = found
    for name in FILTERS:
        chosen = _filtered(chosen, name, request.GET.get(name, ""))
    number, more = bounded_count(chosen)
    order = request.GET.get("order") if request.GET.get("order") in ORDERS else "newest"
    page, after = _page(chosen, order, request.GET.get("next", ""))
    return render(
        request,
        "archive/library.html",
        {
            "case": case,
            "here": "library",
            "q": q,
            "cards": present.cards(request, page, asked=q),
            "next": after,
            "number": number,
            "more": more,
            "order": _order_words(order),
            "facets": [
                *_origins(request.GET, q),
                _orders(request.GET, order),
                *_facets(request.GET, case, found),
            ],
            "chips": _chips(request.GET, case, q),
            "thumbnails": veil.thumbnails_shown(request, case.pk),
            "may_look": access.can(request.user, "view_original", case),
            "may_add": access.can(request.user, "add_items", case),
            "words_url": suggestions.source().words_url(case),
        },
    )


@require_safe
@login_required
def search(request: HttpRequest) -> HttpResponse:
    """Items of all cases that this person sees."""
    q = request.GET.get("q", "").strip()[:200]
    within = request.GET.get("in", "")
    found = searched(Item.objects.visible_to(request.user), q, within) if q else Item.objects.none()
    number, more = bounded_count(found)
    rows = found.order_by("case__code", "number")
    case_code, _sep, last = request.GET.get("next", "").rpartition("~")
    if case_code and last.isdecimal():
        rows = rows.filter(Q(case__code__gt=case_code) | Q(case__code=case_code, number__gt=int(last)))
    page = list(present.with_pictures(rows)[: PAGE + 1])
    after = f"{page[PAGE - 1].case.code}~{page[PAGE - 1].number}" if len(page) > PAGE else ""
    return render(
        request,
        "archive/library.html",
        {
            "q": q,
            "here": "search",
            "cards": present.cards(request, page[:PAGE], asked=q),
            "next": after,
            "number": number,
            "more": more,
            "order": _("by case, then in the order they came"),
            "facets": _origins(request.GET, q),
            "chips": [Chip(f"“{q}”", "?")] if q else [],
        },
    )


@require_POST
@login_required
def thumbnails(request: HttpRequest, code: str) -> HttpResponse:
    """Show this case's thumbnails without veil until sign-out (recorded), or veil them again."""
    case = get_object_or_404(Case.objects.visible_to(request.user), code=code)
    show = request.POST.get("show") == "yes"
    if show:
        viewing.show_thumbnails(case=case, actor=Actor.of(request))
    veil.show_thumbnails(request, case, show)
    return back(request, reverse("library", args=[case.code]))


# --- finding ----------------------------------------------------------------------------------------------------


def searched(items: QuerySet[Item], q: str, within: str = "") -> QuerySet[Item]:
    """Items in whose words all that is asked for is found (see archive.search), or whose number, hash or source it names."""
    if not q:
        return items
    # each a list of ids by an index of its own: an OR over them would read every item
    ways = [text.found(Item.objects.all(), q, ORIGINS.get(within, ()))]
    if within not in ORIGINS:
        ways.append(Item.objects.filter(source__in=Source.objects.filter(code__iexact=q)))
        pressed = "".join(q.lower().split())
        if len(pressed) >= 4 and all(c in "0123456789abcdef" for c in pressed):
            ways.append(Item.objects.filter(blob__gte=pressed, blob__lt=f"{pressed}g"))
        case_code, slash, number = q.rpartition("/")
        if number.isdecimal() and len(number) < 10:
            named = items.filter(number=int(number))
            ways.append(named.filter(case__code__iexact=case_code) if slash else named)
    first, *rest = (way.order_by().values("pk") for way in ways)
    return items.filter(pk__in=first.union(*rest) if rest else first)


def bounded_count(items: QuerySet[Item]) -> tuple[int, bool]:
    """How many there are, counted up to 10,000; whether there are more."""
    number = items.order_by()[: COUNTED + 1].count()
    return (COUNTED, True) if number > COUNTED else (number, False)


def _page(items: QuerySet[Item], order: str, after: str) -> tuple[list[Item], str]:
    rows = items.order_by("-number" if order == "newest" else "number")
    if after.isdecimal():
        rows = rows.filter(number__lt=int(after)) if order == "newest" else rows.filter(number__gt=int(after))
    page = list(present.with_pictures(rows)[: PAGE + 1])
    return page[:PAGE], str(page[PAGE - 1].number) if len(page) > PAGE else ""


def _order_words(order: str) -> str:
    return {"newest": _("newest arrival first"), "oldest": _("oldest arrival first")}[order]


def by_decision(items: QuerySet[Item], value: str) -> QuerySet[Item]:
    """Items whose decision in force has a value; 'none' for those without."""
    return items.filter(decision=None) if value == "none" else items.filter(decision__value=value)


FILTERS: dict[str, Callable[[QuerySet[Item], str], QuerySet[Item]]] = {
    "decision": by_decision,
    "kind": lambda items, value: items.filter(kind=value),
    "seen": lambda items, value: suggestions.source().having(items, value),
    "source": lambda items, value: (
        items.filter(source=None) if value == "none" else items.filter(source__code=value)
    ),
    "tag": lambda items, value: items.filter(item_tags__tag__name=value),
    "condition": lambda items, value: items.filter(condition="" if value == "none" else value),
    "fixity": lambda items, value: items.filter(blob__fixity="" if value == "none" else value),
}


def _filtered(items: QuerySet[Item], name: str, value: str) -> QuerySet[Item]:
    return FILTERS[name](items, value[:200]) if value else items


def _origins(given: QueryDict, q: str) -> list[Facet]:
    """In whose words to look, where something is asked for."""
    on = given.get("in", "")
    lines = [
        Line(
            str(words),
            None,
            _with(given, **{"in": None if name == on else name}),
            name == on,
            name in ("machine", "caption"),
        )
        for name, words in ORIGIN_WORDS.items()
    ]
    return [Facet(_("Look only in"), lines)] if q else []


def _orders(given: QueryDict, order: str) -> Facet:
    lines = [Line(_order_words(o), None, _with(given, order=o), o == order) for o in ORDERS]
    return Facet(_("Order"), lines)


def _facets(given: QueryDict, case: Case, found: QuerySet[Item]) -> list[Facet]:
    def others(name: str) -> QuerySet[Item]:
        rest = found
        for other in FILTERS:
            if other != name:
                rest = _filtered(rest, other, given.get(other, ""))
        return rest.order_by()

    def lines(name: str, rows: Sequence[tuple[str, int | None]], machine: bool = False) -> list[Line]:
        on = given.get(name, "")
        return [
            Line(
                words=value_words(name, value),
                number=number,
                url=_with(given, **{name: None if value == on else value}),
                on=value == on,
                machine=machine,
            )
            for value, number in rows
            if number or value == on
        ]

    def tallied(name: str, column: str) -> list[tuple[str, int | None]]:
        rows = (
            others(name)
            .values_list(column)
            .annotate(n=Count("pk", distinct=True))
            .order_by("-n", column)[:12]
        )
        return [("none" if value in (None, "") else value, n) for value, n in rows]

    among = others("seen") if any(given.get(name) for name in ("q", *FILTERS) if name != "seen") else None
    classes = [(c.name, c.items) for c in suggestions.source().classes(case, among)[:12]]
    facets = [
        Facet(_("Decided by people"), lines("decision", tallied("decision", "decision__value"))),
        Facet(_("Machine suggests"), lines("seen", classes, machine=True)),
        Facet(_("Kind"), lines("kind", tallied("kind", "kind"))),
        Facet(_("Source"), lines("source", tallied("source", "source__code"))),
        Facet(
            _("Tag"),
            lines("tag", [row for row in tallied("tag", "item_tags__tag__name") if row[0] != "none"]),
        ),
        Facet(_("Condition"), lines("condition", tallied("condition", "condition"))),
        Facet(_("Fixity"), lines("fixity", tallied("fixity", "blob__fixity"))),
    ]
    return [facet for facet in facets if facet.lines]


def value_words(name: str, value: str) -> str:
    """A filter's value in words."""
    if name == "decision":
        labels: dict[str, Any] = dict(Decision.Value.choices) | {"none": _("not yet")}
        return str(labels.get(value, value))
    if name == "kind":
        return str(dict(Item.Kind.choices).get(value, value))
    if name == "condition":
        return present.condition_words(Item(condition="" if value == "none" else value))
    if name == "fixity":
        return str(dict(Blob.Fixity.choices).get("" if value == "none" else value, value))
    return _("unknown") if value == "none" else value


def _chips(given: QueryDict, case: Case, q: str) -> list[Chip]:
    titles = {
        "decision": _("decided"),
        "kind": _("kind"),
        "seen": _("suggested in it"),
        "source": _("source"),
        "tag": _("tag"),
        "condition": _("condition"),
        "fixity": _("fixity"),
    }
    chips = [Chip(f"“{q}”", _with(given, q=None))] if q else []
    for name, title in titles.items():
        value = given.get(name, "")
        if value:
            chips.append(
                Chip(f"{title}: {value_words(name, value)}", _with(given, **{name: None}), name == "seen")
            )
    return chips


def _with(given: QueryDict, **changes: str | None) -> str:
    """This page's address with some parameters changed, from its first page."""
    query = given.copy()
    query.pop("next", None)
    for name, value in changes.items():
        if value is None:
            query.pop(name, None)
        else:
            query[name] = value
    return f"?{query.urlencode()}"
