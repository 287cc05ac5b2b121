"""Models and rules of a question: what suggests, what orders the review, what a change would move, all versions."""

from dataclasses import asdict
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Case
from archive.views.cases import visible
from triage import asking, pipeline, preview, questions, registry, scoring, standing
from triage.models import Analysis, Criteria, Question
from triage.views.questions import number_of, of_case, within
from triage.views.rule_forms import KINDS, Rules, as_row


class VersionForm(forms.Form):
    """What goes with a new version."""

    name = forms.CharField(label=gettext_lazy("Name of this version"), max_length=120)
    reason = forms.CharField(label=gettext_lazy("Why (kept in the custody log)"), max_length=1000)


class QueueForm(forms.Form):
    """How a question's queue is put together."""

    audit_percent = forms.IntegerField(
        label=gettext_lazy("Places in 100 that go to items drawn by lot"), min_value=0, max_value=50
    )
    refit_after = forms.IntegerField(
        label=gettext_lazy("A new order after so many answers"), min_value=1, max_value=1000
    )
    waiting_days = forms.IntegerField(
        label=gettext_lazy("Days of waiting that raise an item by one point"), min_value=1, max_value=3650
    )
    reason = forms.CharField(label=gettext_lazy("Why (kept in the custody log)"), max_length=1000)


def _found(request: HttpRequest, code: str) -> tuple[Case, Question]:
    case = visible(request, code)
    return case, questions.numbered(case, number_of(request.GET.get("question", "")))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def criteria(request: HttpRequest, code: str) -> HttpResponse:
    """Show models and rules; a POST makes a new version of the rules."""
    case, question = _found(request, code)
    if request.method != "POST":
        return _page(request, case, question, _rows(case, question), VersionForm())
    access.require(request.user, "edit_criteria", case)
    rows, version = Rules(request.POST, prefix="row"), VersionForm(request.POST)
    if rows.is_valid() and version.is_valid():
        try:
            pipeline.set_criteria(
                case=case,
                question=question,
                actor=Actor.of(request),
                rules=_written(rows),
                **version.cleaned_data,
            )
        except (BadInput, Conflict) as error:
            version.add_error(None, error.sentence)
        else:
            messages.success(request, _("The new rules are in force; the items are being scored again."))
            return redirect(reverse("criteria", args=[case.code]) + within(question.number))
    return _page(request, case, question, rows, version, status=422)


@require_POST
@login_required
def look_ahead(request: HttpRequest, code: str) -> HttpResponse:
    """What the rules in the form would move. Nothing is saved."""
    case, question = _found(request, code)
    access.require(request.user, "edit_criteria", case)
    rows, fault, moves = Rules(request.POST, prefix="row"), "", None
    if rows.is_valid():
        try:
            moves = preview.of(question=question, rules=_written(rows))
        except BadInput as error:
            fault = error.sentence
    else:
        fault = _("A rule is not complete yet.")
    version = VersionForm(initial={name: request.POST.get(name, "") for name in ("name", "reason")})
    return _page(request, case, question, rows, version, moves=moves, fault=fault)


@require_POST
@login_required
def again(request: HttpRequest, code: str, number: int) -> HttpResponse:
    """Put an earlier version in force again, as a new one."""
    case, question = _found(request, code)
    access.require(request.user, "edit_criteria", case)
    earlier = get_object_or_404(Criteria, case=case, question=question.number, number=number)
    try:
        pipeline.set_criteria(
            case=case,
            question=question,
            actor=Actor.of(request),
            name=earlier.name,
            rules=earlier.rules,
            reason=request.POST.get("reason", "")[:1000],
        )
    except (BadInput, Conflict) as error:
        messages.error(request, error.sentence)
    else:
        messages.success(request, _("The rules of version %(n)d are in force again.") % {"n": number})
    return redirect(reverse("criteria", args=[case.code]) + within(question.number))


@require_POST
@login_required
def queue_settings(request: HttpRequest, code: str) -> HttpResponse:
    """Change how a question's queue is put together."""
    case, question = _found(request, code)
    access.require(request.user, "edit_criteria", case)
    form = QueueForm(request.POST)
    if not form.is_valid():
        return _page(request, case, question, _rows(case, question), VersionForm(), queue=form, status=422)
    asking.set_settings(question=question, actor=Actor.of(request), **form.cleaned_data)
    messages.success(request, _("The queue is being put together anew."))
    return redirect(reverse("criteria", args=[case.code]) + within(question.number))


def _rows(case: Case, question: Question) -> Any:
    now = standing.rules_of(case, question.number)
    return Rules(initial=[as_row(criterion) for criterion in now.rules["criteria"]], prefix="row")


def _written(rows: Any) -> dict[str, Any]:
    return {
        "format": scoring.FORMAT,
        "criteria": [criterion for row in rows if (criterion := row.criterion())],
    }


def _page(
    request: HttpRequest,
    case: Case,
    question: Question,
    rows: Any,
    version: VersionForm,
    *,
    moves: "preview.Preview | None" = None,
    fault: str = "",
    queue: QueueForm | None = None,
    status: int = 200,
) -> HttpResponse:
    used = (
        Analysis.objects.filter(item__case=case)
        .values("model", "version", "weights_sha256", "task")
        .annotate(items=Count("item", distinct=True), last=Max("finished_at"))
        .order_by("model", "version")
    )
    for number, row in enumerate(rows.forms, 1):
        row.number = number
    written = rows.forms[: rows.initial_form_count()]
    context = {
        "case": case,
        "here": "criteria",
        "question": question,
        "asked": of_case(case, question.number, route="criteria"),
        "within": within(question.number),
        "now": standing.rules_of(case, question.number),
        "rows": rows,
        "written": written,
        "blank": rows.forms[len(written) :],
        "form": version,
        "queue": queue or QueueForm(initial=asdict(asking.settings_of(question))),
        "moves": moves,
        "fault": fault,
        "classes": scoring.known_classes(),
        "tags": case.tags.values_list("name", flat=True)[:500],
        "sources": case.sources.values_list("code", flat=True)[:500],
        "used": [row | {"words": Analysis.Task(row["task"]).label} for row in used],
        "notice": registry.notice(),
        "history": _history(case, question),
        "may_edit": access.can(request.user, "edit_criteria", case),
    }
    return render(request, "triage/criteria.html", context, status=status)


def _history(case: Case, question: Question) -> list[dict[str, Any]]:
    """All versions, the newest first, each with its rules in a few words."""
    versions = Criteria.objects.filter(case=case, question=question.number).select_related("by")
    return [
        {
            "version": version,
            "lines": [
                (line["name"], KINDS[line["kind"]], line.get("each", line.get("weight")))
                for line in version.rules["criteria"]
            ],
        }
        for version in versions
    ]
