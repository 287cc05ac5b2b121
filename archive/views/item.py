"""One item: everything about it, and what people may add to it."""

from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from archive import access, annotate, disposal, holds
from archive.custody import Actor
from archive.errors import BadInput
from archive.forms import ItemDisposalForm
from archive.models import Assignment, Item, ItemTag, Job
from archive.models.items import Statement
from archive.views import present, suggestions, thread
from archive.views.files import back


class FindingForm(forms.Form):
    """What was established, and on which basis."""

    about = forms.ChoiceField(label=gettext_lazy("What"), choices=Statement.About.choices)
    text = forms.CharField(label=gettext_lazy("In words"), max_length=1000, required=False)
    local_time = forms.DateTimeField(
        label=gettext_lazy("Local time"),
        required=False,
        help_text=gettext_lazy("As 2026-03-14 15:22, the time of day at the place."),
    )
    utc_offset = forms.RegexField(
        label=gettext_lazy("Zone"),
        regex=r"^(Z|[+-]\d\d:\d\d)\Z",
        required=False,
        help_text=gettext_lazy("As +03:00, or Z for UTC; empty if not established."),
    )
    precision = forms.ChoiceField(
        label=gettext_lazy("Precision"), choices=Statement.Precision.choices, initial="unknown"
    )
    latitude = forms.DecimalField(label=gettext_lazy("Latitude"), required=False, min_value=-90, max_value=90)
    longitude = forms.DecimalField(
        label=gettext_lazy("Longitude"), required=False, min_value=-180, max_value=180
    )
    radius_m = forms.IntegerField(label=gettext_lazy("Radius in metres"), required=False, min_value=0)
    basis = forms.CharField(
        label=gettext_lazy("On which basis"), max_length=4000, widget=forms.Textarea({"rows": 2})
    )

    def clean_local_time(self) -> str:
        """As ISO 8601 without zone, the way statements keep it."""
        moment = self.cleaned_data["local_time"]
        return moment.replace(tzinfo=None).isoformat() if moment else ""


def visible(request: HttpRequest, item_id: UUID) -> Item:
    """An item that this person may see, with what its screens need. Raises Http404."""
    return get_object_or_404(present.with_pictures(Item.objects.visible_to(request.user)), pk=item_id)


@require_safe
@login_required
def item(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Everything about one item."""
    return _page(request, visible(request, item_id), FindingForm())


def _page(request: HttpRequest, found: Item, form: FindingForm, status: int = 200) -> HttpResponse:
    case, user = found.case, request.user
    full, notes = suggestions.source().full(found), present.notes(found)
    may_assign = access.can(user, "assign", case)
    standing = holds.of_item(found)
    asked = disposal.open_entries(case).filter(item=found).select_related("disposal").first()
    context = {
        "case": case,
        "here": "library",
        "item": found,
        "viewer": present.viewer(request, found, full, notes=notes),
        "suggested": full,
        "pixels": f"{found.width}×{found.height}" if found.width else "",
        "read_back": present.bad_fixity(found) or _read_back(found),
        "blob": found.blob,
        "has_second_copy": bool(settings.SECOND_COPY),
        "condition": condition(found),
        "failed_jobs": Job.objects.filter(item=found, state=Job.State.FAILED),
        "statements": _statements(found),
        "acquisitions": found.acquisitions.select_related("source"),
        "renditions": found.renditions.select_related("blob").order_by("kind", "made_at"),
        "technical": _technical(found),
        "decisions": present.decisions(found),
        "notes": notes,
        "tags": found.item_tags.select_related("tag"),
        "known_tags": case.tags.all()[:200],
        "assignments": found.assignments.filter(closed_at=None).select_related("to"),
        "people": access.who_can("view", case).order_by("name") if may_assign else [],
        "holds": standing,
        "asked": asked,
        "may_hold": found.disposed_at is None and access.can(user, "hold", case),
        "may_request": not (found.disposed_at or standing or asked)
        and access.can(user, "request_disposal", case),
        "disposal_form": ItemDisposalForm(),
        "custody": thread.state(found.custody_subject()),
        "all_url": thread.address(user, found),
        "finding_form": form,
        "may_annotate": access.can(user, "annotate", case),
        "may_assign": may_assign,
        "may_download": found.disposed_at is None and access.can(user, "download", case),
        "review_url": _upper("review-item", found),
        "redact_url": _upper("redact", found)
        if found.disposed_at is None and access.can(user, "redact", case)
        else "",
    }
    return render(request, "archive/item.html", context, status=status)


def _read_back(found: Item) -> str:
    if found.disposed_at:
        return _("disposed of")
    return _("read back, the bytes match") if found.read_back_at else _("not yet read back")


def _upper(route: str, found: Item) -> str:
    """The address of an upper floor's screen for this item; empty where no floor has one."""
    try:
        return reverse(route, args=[found.pk])
    except NoReverseMatch:
        return ""


def condition(found: Item) -> dict[str, str] | None:
    """What is wrong with the file, in a sentence; None for one that is what it says."""
    if found.condition in ("", "ok"):
        return None
    kept = _("The original is kept as it came, under its hash.")
    return {"css": "warn", "sentence": format_html("{}. {}", present.condition_words(found), kept)}


def _statements(found: Item) -> list[dict]:
    claims, findings = list(found.claims.all()), list(found.findings.select_related("by"))
    shown = {s.about for s in (*claims, *findings)} | {"captured_at", "place", "device"}
    return [
        {
            "words": label,
            "claims": present.agreeing(c for c in claims if c.about == about),
            "findings": [present.said(f) for f in findings if f.about == about],
        }
        for about, label in Statement.About.choices
        if about in shown
    ]


def _technical(found: Item) -> list[tuple[str, str]]:
    facts = dict(found.technical or {})
    told = facts.pop("untrusted_metadata", {})
    rows = [(name, str(value)) for name, value in facts.items() if value not in (None, "", [], {})]
    return rows + _flat(told if isinstance(told, dict) else {})


def _flat(told: dict, prefix: str = "", deep: int = 0) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in told.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and deep < 4:
            rows += _flat(value, f"{path}.", deep + 1)
        elif isinstance(value, list) and deep < 4:
            rows += _flat({str(i): v for i, v in enumerate(value)}, f"{path}.", deep + 1)
        elif value not in (None, ""):
            rows.append((path, str(value)[:500]))
    return rows[:500]


# --- what people add --------------------------------------------------------------------------------------------


def _done(request: HttpRequest, found: Item) -> HttpResponse:
    return back(request, reverse("item", args=[found.pk]))


@require_POST
@login_required
def note(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Write a note, for the moment of the video that was shown where there is one."""
    found = visible(request, item_id)
    at = request.POST.get("frame_ms", "")
    frame = int(at) if at.isdecimal() and found.duration_ms and int(at) > 0 else None
    try:
        annotate.note(item=found, text=request.POST.get("text", ""), actor=Actor.of(request), frame_ms=frame)
    except BadInput as error:
        messages.error(request, error.sentence)
    return _done(request, found)


@require_POST
@login_required
def tag(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Put a tag on."""
    found = visible(request, item_id)
    try:
        annotate.tag(item=found, name=request.POST.get("tag", ""), actor=Actor.of(request))
    except BadInput as error:
        messages.error(request, error.sentence)
    return _done(request, found)


@require_POST
@login_required
def untag(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Take a tag off."""
    found = visible(request, item_id)
    held = (
        ItemTag.objects.filter(item=found, tag__name=request.POST.get("tag", ""))
        .select_related("item__case")
        .first()
    )
    if held:
        annotate.untag(item_tag=held, actor=Actor.of(request))
    return _done(request, found)


@require_POST
@login_required
def assign(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Give the item to a person who sees its case."""
    found = visible(request, item_id)
    person = get_object_or_404(access.who_can("view", found.case), pk=_uuid(request.POST.get("to", "")))
    annotate.assign(item=found, to=person, actor=Actor.of(request))
    return _done(request, found)


@require_POST
@login_required
def unassign(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Close an assignment."""
    found = visible(request, item_id)
    held = get_object_or_404(Assignment, item=found, to__pk=_uuid(request.POST.get("to", "")), closed_at=None)
    annotate.close_assignment(assignment=held, actor=Actor.of(request))
    return _done(request, found)


@require_POST
@login_required
def finding(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Record what was established."""
    found = visible(request, item_id)
    access.require(request.user, "annotate", found.case)
    form = FindingForm(request.POST)
    if form.is_valid():
        try:
            annotate.establish(item=found, actor=Actor.of(request), **form.cleaned_data)
            return _done(request, found)
        except BadInput as error:
            form.add_error(None, error.sentence)
    return _page(request, found, form, status=422)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
