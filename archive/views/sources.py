"""Sources of a case: list, record, change, seal and see an identity."""

import copy

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive import access, cases
from archive.custody import Actor
from archive.errors import BadInput, NotFound
from archive.forms import ChangeSourceForm, DestructionForm, IdentityForm, SourceForm
from archive.models import Case, Source
from archive.views import thread
from archive.views.cases import visible


@require_safe
@login_required
def sources(request: HttpRequest, code: str) -> HttpResponse:
    """All sources of a case, by code."""
    case = visible(request, code)
    rows = Source.objects.filter(case=case).annotate(number=Count("items")).order_by("code")
    return render(
        request,
        "archive/sources.html",
        {
            "case": case,
            "here": "sources",
            "rows": rows,
            "today": timezone.localdate(),
            "may_edit": access.can(request.user, "edit_sources", case),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def add(request: HttpRequest, code: str) -> HttpResponse:
    """Record a source."""
    case = visible(request, code)
    access.require(request.user, "edit_sources", case)
    form = SourceForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            source = cases.add_source(case=case, actor=Actor.of(request), **form.cleaned_data)
        except BadInput as error:
            form.add_error(None, error.sentence)
        else:
            return redirect("source", case.code, source.code)
    status = 422 if request.method == "POST" else 200
    context = {"case": case, "here": "sources", "form": form}
    return render(request, "archive/source_add.html", context, status=status)


def _found(request: HttpRequest, code: str, name: str) -> tuple[Case, Source]:
    case = visible(request, code)
    return case, get_object_or_404(Source.objects.select_related("case"), case=case, code=name)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def source(request: HttpRequest, code: str, name: str) -> HttpResponse:
    """One source; a POST changes what is known of it."""
    case, found = _found(request, code, name)
    if request.method != "POST":
        return _page(request, case, found)
    access.require(request.user, "edit_sources", case)
    form = ChangeSourceForm(request.POST, instance=copy.copy(found))
    if form.is_valid():
        try:
            cases.change_source(source=found, actor=Actor.of(request), **form.cleaned_data)
        except BadInput as error:
            form.add_error(None, error.sentence)
        else:
            messages.success(request, _("The source was changed."))
            return redirect("source", case.code, found.code)
    return _page(request, case, found, form=form, status=422)


@sensitive_post_parameters("identity")
@require_POST
@login_required
def set_identity(request: HttpRequest, code: str, name: str) -> HttpResponse:
    """Seal the real identity of a source."""
    case, found = _found(request, code, name)
    access.require(request.user, "edit_sources", case)
    form = IdentityForm(request.POST)
    if form.is_valid():
        try:
            cases.set_identity(source=found, actor=Actor.of(request), **form.cleaned_data)
        except BadInput as error:
            form.add_error("identity", error.sentence)
        else:
            messages.success(
                request, _("The identity is sealed. It is not shown here again without a stated reason.")
            )
            return redirect("source", case.code, found.code)
    return _page(request, case, found, identity_form=form, status=422)


@never_cache
@require_POST
@login_required
def see_identity(request: HttpRequest, code: str, name: str) -> HttpResponse:
    """Show the identity once, on this page; that it was seen and why is recorded first."""
    case, found = _found(request, code, name)
    access.require(request.user, "see_identity", case)
    reason, identity, wrong = request.POST.get("reason", "")[:400], "", ""
    try:
        identity = cases.see_identity(source=found, actor=Actor.of(request), reason=reason)
    except (BadInput, NotFound) as error:
        wrong = error.sentence
    return _page(request, case, found, identity=identity, wrong=wrong, status=422 if wrong else 200)


def _page(
    request: HttpRequest, case: Case, found: Source, *, status: int = 200, **more: object
) -> HttpResponse:
    context = {
        "case": case,
        "here": "sources",
        "source": found,
        "form": ChangeSourceForm(instance=copy.copy(found)),
        "identity_form": IdentityForm(),
        "state": thread.state(found.custody_subject()),
        "all_url": thread.address(request.user, found),
        "items": found.items.count(),
        "today": timezone.localdate(),
        "may_edit": access.can(request.user, "edit_sources", case),
        "may_request": access.can(request.user, "request_disposal", case),
        "destruction": found.disposals.filter(state="requested").first(),
        "destroyed": found.disposals.filter(state="done").first() if found.identity_destroyed_at else None,
        "destruction_form": DestructionForm(),
        "may_see": access.can(request.user, "see_identity", case),
    }
    return render(request, "archive/source.html", context | more, status=status)
