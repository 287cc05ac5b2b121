"""Cases: the list, opening one, its overview, changing it."""

import copy
import datetime as dt
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max, Min, Q, Sum
from django.db.models.functions import Substr
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods, require_safe

from archive import access, cases
from archive.custody import Actor
from archive.errors import BadInput
from archive.forms import CaseForm, OpenCaseForm
from archive.jobs import KINDS
from archive.models import (
    Assignment,
    Case,
    CaseGrant,
    Checkpoint,
    Claim,
    Decision,
    Disposal,
    Hold,
    Item,
    Job,
    Source,
    Upload,
)
from archive.models.items import Statement
from archive.views import custody, home, navigation, present, thread

CONSENT_SOON = dt.timedelta(days=30)
JOB_WORDS = {
    "archive.read_back": gettext_lazy("Reading back what was stored"),
    "archive.copy": gettext_lazy("Writing the second copy"),
    "archive.examine": gettext_lazy("Examining: type, size, small pictures"),
    "archive.examine_again": gettext_lazy("Examining: type, size, small pictures"),
    "archive.proxy": gettext_lazy("Making copies that browsers play"),
    "archive.storyboard": gettext_lazy("Making storyboards of videos"),
    "archive.dispose": gettext_lazy("Carrying out an approved disposal"),
    "triage.analyse": gettext_lazy("Analysing"),
    "triage.rescore": gettext_lazy("Putting in order"),
    "triage.rank": gettext_lazy("Putting in order"),
    "triage.know_source": gettext_lazy("Putting in order"),
    "triage.index": gettext_lazy("Letting it be found by likeness and text"),
    "triage.index_again": gettext_lazy("Letting it be found by likeness and text"),
    "triage.unindex": gettext_lazy("Letting it be found no longer"),
    "triage.look_at_part": gettext_lazy("Looking at a drawn box"),
    "triage.look_at_picture": gettext_lazy("Looking at a picture shown as an example"),
    "triage.small_picture": gettext_lazy("Looking at a picture shown as an example"),
    "triage.look_for_words": gettext_lazy("Reading words for which pictures are looked for"),
    "triage.know_again": gettext_lazy("Putting in order"),
    "triage.rank_again": gettext_lazy("Putting in order"),
    "triage.near": gettext_lazy("Looking for pictures that look the same"),
    "triage.unusual": gettext_lazy("Looking for unusual items"),
    "triage.doubtful": gettext_lazy("Looking for answers in doubt"),
    "triage.alerts": gettext_lazy("Looking for items that somebody wants to be told of"),
    "triage.alert_round": gettext_lazy("Looking for items that somebody wants to be told of"),
    "triage.alert_mail": gettext_lazy("Sending alerts"),
    "triage.alert_webhook": gettext_lazy("Sending alerts"),
    "evidence.build": gettext_lazy("Building a bundle"),
    "evidence.redact": gettext_lazy("Covering what is to be redacted"),
    "archive.copies": gettext_lazy("Comparing the second copy"),
    "archive.fixity": gettext_lazy("Checking stored files"),
    "archive.restore": gettext_lazy("Restoring from the second copy"),
    "archive.restore_bad": gettext_lazy("Restoring from the second copy"),
    "archive.tidy": gettext_lazy("Emptying scratch space"),
    "custody.publish": gettext_lazy("Signing a checkpoint"),
    "custody.verify": gettext_lazy("Verifying the custody log"),
    "alarms": gettext_lazy("Looking whether something needs attention"),
}


def visible(request: HttpRequest, code: str) -> Case:
    """A case that was shared with this person. Raises Http404."""
    return get_object_or_404(Case.objects.visible_to(request.user), code=code)


@require_safe
@login_required
def listed(request: HttpRequest) -> HttpResponse:
    """All cases that this person sees."""
    return render(
        request,
        "archive/cases.html",
        {"here": "cases", "rows": home.rows(request), "may_open": access.can(request.user, "create_case")},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def open_new(request: HttpRequest) -> HttpResponse:
    """Open a case; who opens it may see and share it."""
    access.require(request.user, "create_case")
    form = OpenCaseForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            case = cases.open_case(actor=Actor.of(request), **form.cleaned_data)
        except BadInput as error:
            form.add_error(None, error.sentence)
        else:
            return redirect("case", case.code)
    status = 422 if request.method == "POST" else 200
    return render(request, "archive/case_open.html", {"here": "cases", "form": form}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def edit(request: HttpRequest, code: str) -> HttpResponse:
    """Change a case's title, mandate, status, sensitivity or retention."""
    case = visible(request, code)
    access.require(request.user, "edit_case", case)
    form = CaseForm(request.POST or None, instance=copy.copy(case))
    if request.method == "POST" and form.is_valid():
        try:
            cases.change_case(case=case, actor=Actor.of(request), **form.cleaned_data)
        except BadInput as error:
            form.add_error(None, error.sentence)
        else:
            messages.success(request, _("The case was changed."))
            return redirect("case", case.code)
    status = 422 if request.method == "POST" else 200
    return render(
        request, "archive/case_edit.html", {"case": case, "here": "case", "form": form}, status=status
    )


# --- overview ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Need:
    """Something that waits for a person, and where to go for it."""

    words: str
    url: str = ""
    act: str = ""
    css: str = ""


@dataclass(frozen=True)
class Work:
    """Jobs of one kind in a case: how many of how many are done."""

    words: str
    done: int
    all: int
    failed: int
    machine: bool

    @property
    def share(self) -> float:
        """Done of all, 0 to 1."""
        return self.done / self.all if self.all else 1.0


@dataclass(frozen=True)
class Bar:
    """One column of the histogram, in a drawing 1,000 wide and 100 high."""

    x: float
    width: float
    y: float
    height: float
    words: str


@dataclass(frozen=True)
class When:
    """Claimed capture times of a case's items, by day, month or year."""

    bars: list[Bar]
    first: str
    last: str
    unit: str
    silent: int


@require_safe
@login_required
def overview(request: HttpRequest, code: str) -> HttpResponse:
    """Where a case stands: decisions by people, what needs a person, custody, work under way, claimed times."""
    case = visible(request, code)
    decided = Counter(
        dict(Item.objects.filter(case=case).order_by().values_list("decision__value").annotate(n=Count("pk")))
    )
    number = sum(decided.values())
    return render(
        request,
        "archive/case.html",
        {
            "case": case,
            "here": "case",
            "number": number,
            "people": CaseGrant.objects.filter(
                Q(ends_at=None) | Q(ends_at__gt=timezone.now()),
                content_object=case,
                permission__codename=access.VIEW,
                user__is_active=True,
            ).count(),
            "decisions": _decisions(case, decided),
            "broken": _broken(case),
            "needs": _needs(request, case),
            "custody": thread.state(case.custody_subject()),
            "checked": custody.last_check(case),
            "checkpoint": Checkpoint.objects.first(),
            "events": custody.number_of_events(case),
            "unread_back": Item.objects.filter(case=case, read_back_at=None).count(),
            "works": works(case),
            "arriving": _arriving(case),
            "when": _when(case, number),
            "may_add": access.can(request.user, "add_items", case) and case.status != Case.Status.CLOSED,
            "may_edit": access.can(request.user, "edit_case", case),
            "may_export": access.can(request.user, "export", case),
            "holds": Hold.objects.standing().filter(case=case, item=None).select_related("placed_by"),
            "held_items": Hold.objects.standing().filter(case=case).exclude(item=None).count(),
            "may_read_log": access.can(request.user, "read_log", case),
            "review_url": navigation.address("review", case.code),
        },
    )


BROKEN = ("empty", "damaged", "cannot decode", "too large to decode", "unsupported")


def _broken(case: Case) -> list[tuple[int, str, str]]:
    rows = Item.objects.filter(case=case, condition__in=BROKEN).order_by().values_list("condition")
    library = reverse("library", args=[case.code])
    return [
        (n, present.condition_words(Item(condition=word)), f"{library}?{urlencode({'condition': word})}")
        for word, n in rows.annotate(n=Count("pk")).order_by("-n")
    ]


def _decisions(case: Case, decided: Counter) -> list[tuple[int, str, str]]:
    library = reverse("library", args=[case.code])
    values = [v for v in Decision.Value if v != Decision.Value.WITHDRAWN]
    rows = [(decided[v.value], str(v.label), f"{library}?decision={v.value}") for v in values]
    return [*rows, (decided[None], _("not decided yet"), f"{library}?decision=none")]


def _needs(request: HttpRequest, case: Case) -> list[Need]:
    needs = []
    library, today = reverse("library", args=[case.code]), timezone.localdate()

    def need(number: int, words: str, **rest: str) -> None:
        if number:
            needs.append(Need(words % {"n": number}, **rest))

    failed = Job.objects.filter(case=case, state=Job.State.FAILED).count()
    need(
        failed,
        ngettext(
            "%(n)d step stopped after repeated failure", "%(n)d steps stopped after repeated failure", failed
        ),
        url=reverse("case-jobs", args=[case.code]),
        act=_("Look, and try again"),
        css="bad",
    )
    escalated = Item.objects.filter(case=case, decision__value=Decision.Value.ESCALATE).count()
    need(
        escalated,
        ngettext("%(n)d item was escalated", "%(n)d items were escalated", escalated),
        url=f"{library}?decision=escalate",
        act=_("Decide"),
        css="warn",
    )
    second = Item.objects.filter(case=case, decision__value=Decision.Value.SECOND_LOOK).count()
    need(
        second,
        ngettext("%(n)d item needs a second look", "%(n)d items need a second look", second),
        url=f"{library}?decision=second_look",
        act=_("Look"),
    )
    for source in Source.objects.filter(case=case, consent_ends__lte=today + CONSENT_SOON).order_by(
        "consent_ends"
    )[:5]:
        days = (source.consent_ends - today).days
        if days < 0:
            words = _("Consent of source %(code)s has ended") % {"code": source.code}
        else:
            words = ngettext(
                "Consent of source %(code)s ends in %(n)d day",
                "Consent of source %(code)s ends in %(n)d days",
                days,
            ) % {"code": source.code, "n": days}
        url = reverse("source", args=[case.code, source.code])
        needs.append(Need(words, url, _("Renew or withhold"), "bad" if days < 0 else "warn"))
    _governance(request, case, need)
    mine = Assignment.objects.filter(item__case=case, to=request.user, closed_at=None).count()
    need(
        mine,
        ngettext("%(n)d item is assigned to you", "%(n)d items are assigned to you", mine),
        url=reverse("home"),
        act=_("Open the list"),
    )
    return needs


def _governance(request: HttpRequest, case: Case, need: Callable[..., None]) -> None:
    """Requests to destroy that this person can answer, and a retention that has passed."""
    url = reverse("retention", args=[case.code])
    if access.can(request.user, "approve_disposal", case):
        asked = Disposal.objects.filter(case=case, state=Disposal.State.REQUESTED)
        number = asked.exclude(requested_by=request.user).count()
        words = ngettext(
            "%(n)d request to destroy waits for your answer",
            "%(n)d requests to destroy wait for your answer",
            number,
        )
        need(number, words, url=url, act=_("Look, and answer"), css="warn")
    passed = case.retain_until is not None and case.retain_until <= timezone.localdate()
    if passed and access.can(request.user, "request_disposal", case):
        held = Hold.objects.standing().filter(case=case, item=None).exists()
        if not held and Item.objects.filter(case=case).held().exists():
            need(
                1,
                _("The day until which the case has to be kept has passed"),
                url=url,
                act=_("Keep, or ask for disposal"),
            )


def works(case: Case) -> list[Work]:
    """Jobs of a case by kind, those under way first. Kinds that are wholly done are left out."""
    rows = Job.objects.filter(case=case).order_by().values_list("name", "state").annotate(n=Count("pk"))
    by_name: dict[str, Counter] = {}
    for name, state, n in rows:
        by_name.setdefault(name, Counter())[state] += n
    out = []
    for name, states in sorted(by_name.items()):
        if not (states["queued"] or states["running"] or states["failed"]):
            continue
        out.append(
            Work(
                words=str(JOB_WORDS.get(name, name)),
                done=states["done"],
                all=states.total(),
                failed=states["failed"],
                machine=name in KINDS and KINDS[name].queue == "analyse",
            )
        )
    return out


def _arriving(case: Case) -> dict:
    under_way = Upload.objects.filter(case=case, finished_at=None)
    return under_way.aggregate(n=Count("pk"), here=Sum("offset"), all=Sum("length"))


def _when(case: Case, number: int) -> When | None:
    claims = Claim.objects.filter(item__case=case, about=Statement.About.CAPTURED_AT).exclude(local_time="")
    found = claims.aggregate(
        first=Min("local_time"), last=Max("local_time"), items=Count("item", distinct=True)
    )
    if not found["items"]:
        return None
    try:
        first, last = (dt.date.fromisoformat(found[end][:10]) for end in ("first", "last"))
    except ValueError:
        return None
    days = (last - first).days
    length, unit = (
        (10, _("by day")) if days <= 62 else (7, _("by month")) if days <= 1900 else (4, _("by year"))
    )
    rows = claims.order_by().annotate(part=Substr("local_time", 1, length)).values_list("part")
    held = dict(rows.annotate(n=Count("item", distinct=True)))
    places = _places(first, last, length)
    most, step = max(held.values()), 1000 / len(places)
    bars = [
        Bar(
            x=round(i * step + step * 0.1, 2),
            width=round(min(step * 0.8, 60), 2),
            y=round(100 - 100 * held[place] / most, 2),
            height=round(100 * held[place] / most, 2),
            words=f"{place}: {held[place]}",
        )
        for i, place in enumerate(places)
        if place in held
    ]
    return When(bars, date_format(first, "j M Y"), date_format(last, "j M Y"), unit, number - found["items"])


def _places(first: dt.date, last: dt.date, length: int) -> list[str]:
    if length == 4:
        return [f"{year:04}" for year in range(first.year, last.year + 1)]
    if length == 7:
        months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
        return [f"{m // 12:04}-{m % 12 + 1:02}" for m in months]
    return [(first + dt.timedelta(days=i)).isoformat() for i in range((last - first).days + 1)]
