"""Models and rules of a case: what suggests, what orders the review, and a form to write a new version."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max
from django.forms import formset_factory
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Case
from archive.views.cases import visible
from triage import pipeline, registry, scoring, standing
from triage.models import Analysis, Criteria

KINDS = {
    "seen": gettext_lazy("is seen"),
    "count": gettext_lazy("how many at once"),
    "together": gettext_lazy("together in one frame"),
    "source": gettext_lazy("source reliability"),
    "recency": gettext_lazy("captured recently"),
}


class CriterionForm(forms.Form):
    """One criterion as a row. Which fields count depends on its kind; `criterion` says it as a rule."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120, required=False)
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=list(KINDS.items()), initial="seen")
    classes = forms.CharField(
        label=gettext_lazy("Classes"), required=False, widget=forms.TextInput(attrs={"list": "classes"})
    )
    points = forms.CharField(label=gettext_lazy("Points"), max_length=12, required=False)
    confidence = forms.CharField(label=gettext_lazy("From confidence"), max_length=12, required=False)
    beyond = forms.IntegerField(label=gettext_lazy("Beyond"), required=False, min_value=0)
    at_most = forms.CharField(label=gettext_lazy("At most"), max_length=12, required=False)
    days = forms.IntegerField(label=gettext_lazy("Half after days"), required=False, min_value=1)

    def criterion(self) -> dict[str, Any] | None:
        """The row as a criterion of scoring.py; None when it has no name, which takes it out."""
        given = self.cleaned_data
        name, kind = given.get("name", "").strip(), given.get("kind")
        if not name:
            return None
        rule: dict[str, Any] = {"name": name, "kind": kind}
        groups = [
            [label.strip() for label in group.split(",") if label.strip()]
            for group in given["classes"].split(";")
        ]
        if kind == "count":
            rule |= {"any_of": groups[0], "each": given["points"], "at_most": given["at_most"]}
            rule |= {"beyond": given["beyond"]} if given["beyond"] is not None else {}
        else:
            rule["weight"] = given["points"]
        if kind == "seen":
            rule["any_of"] = groups[0]
        elif kind == "together":
            rule["all_of"] = groups
        elif kind == "recency":
            rule["half_life_days"] = given["days"]
        if kind in ("seen", "count", "together") and given["confidence"]:
            rule["from_confidence"] = given["confidence"]
        return rule


def as_row(criterion: dict[str, Any]) -> dict[str, Any]:
    """A criterion as the initial values of a CriterionForm."""
    groups = criterion.get("all_of") or [criterion.get("any_of", [])]
    return {
        "name": criterion["name"],
        "kind": criterion["kind"],
        "classes": "; ".join(", ".join(group) for group in groups),
        "points": criterion.get("each", criterion.get("weight", "")),
        "confidence": criterion.get("from_confidence", ""),
        "beyond": criterion.get("beyond"),
        "at_most": criterion.get("at_most", ""),
        "days": criterion.get("half_life_days"),
    }


Rows = formset_factory(CriterionForm, extra=2, max_num=scoring.MOST_CRITERIA)


class VersionForm(forms.Form):
    """What goes with a new version."""

    name = forms.CharField(label=gettext_lazy("Name of this version"), max_length=120)
    reason = forms.CharField(label=gettext_lazy("Why (kept in the custody log)"), max_length=1000)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def criteria(request: HttpRequest, code: str) -> HttpResponse:
    """Show models and rules; a POST makes a new version of the rules."""
    case = visible(request, code)
    now = standing.rules_of(case)
    if request.method != "POST":
        rows = Rows(initial=[as_row(criterion) for criterion in now.rules["criteria"]], prefix="row")
        return _page(request, case, now, rows, VersionForm())
    access.require(request.user, "edit_criteria", case)
    rows, version = Rows(request.POST, prefix="row"), VersionForm(request.POST)
    if rows.is_valid() and version.is_valid():
        written = [criterion for row in rows if (criterion := row.criterion())]
        try:
            pipeline.set_criteria(
                case=case,
                actor=Actor.of(request),
                rules={"format": scoring.FORMAT, "criteria": written},
                **version.cleaned_data,
            )
        except (BadInput, Conflict) as error:
            version.add_error(None, error.sentence)
        else:
            messages.success(request, _("The new rules are in force; the items are being scored again."))
            return redirect("criteria", case.code)
    return _page(request, case, now, rows, version, status=422)


def _page(
    request: HttpRequest, case: Case, now: standing.Rules, rows: Any, version: VersionForm, status: int = 200
) -> HttpResponse:
    used = (
        Analysis.objects.filter(item__case=case)
        .values("model", "version", "weights_sha256", "task")
        .annotate(items=Count("item", distinct=True), last=Max("finished_at"))
        .order_by("model", "version")
    )
    context = {
        "case": case,
        "here": "criteria",
        "now": now,
        "rows": rows,
        "form": version,
        "classes": scoring.known_classes(),
        "used": [row | {"words": Analysis.Task(row["task"]).label} for row in used],
        "entries": registry.models(),
        "notice": registry.notice(),
        "history": Criteria.objects.filter(case=case).select_related("by"),
        "may_edit": access.can(request.user, "edit_criteria", case),
    }
    return render(request, "triage/criteria.html", context, status=status)
