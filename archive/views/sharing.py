"""People with access to a case: who sees it, what they may do, until when."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from archive import access
from archive.custody import Actor
from archive.errors import BadInput
from archive.forms import ShareForm
from archive.models import Case, CaseGrant, User
from archive.views.cases import visible

WORDS = dict(ShareForm.base_fields["permissions"].choices)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def people(request: HttpRequest, code: str) -> HttpResponse:
    """Share a case, or change a person's access. Open to those who may share it."""
    case = visible(request, code)
    access.require(request.user, "share", case)
    form = ShareForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        person = User.objects.filter(username__iexact=form.cleaned_data["username"], is_active=True).first()
        if person is None:
            form.add_error(
                "username", _("No one signs in by that name. Nothing was shared: check the spelling.")
            )
        else:
            try:
                access.share(
                    case=case,
                    person=person,
                    actor=Actor.of(request),
                    permissions=tuple(form.cleaned_data["permissions"]),
                    ends_at=form.ends_at(),
                )
            except BadInput as error:
                form.add_error(None, error.sentence)
            else:
                messages.success(request, _("The access of %(name)s is set.") % {"name": person.name})
                return redirect(
                    "people" if access.can(request.user, "share", case) else "cases", *_of(request, case)
                )
    status = 422 if request.method == "POST" else 200
    context = {"case": case, "here": "people", "form": form, "rows": _rows(case), "now": timezone.now()}
    return render(request, "archive/case_people.html", context, status=status)


@require_POST
@login_required
def unshare(request: HttpRequest, code: str, person_id: UUID) -> HttpResponse:
    """End a person's access to a case at once."""
    case = visible(request, code)
    person = get_object_or_404(User.objects.filter(casegrant__content_object=case).distinct(), pk=person_id)
    access.share(case=case, person=person, actor=Actor.of(request), permissions=())
    messages.success(request, _("The access of %(name)s has ended.") % {"name": person.name})
    return redirect("people" if access.can(request.user, "share", case) else "cases", *_of(request, case))


def _of(request: HttpRequest, case: Case) -> list[str]:
    return [case.code] if access.can(request.user, "share", case) else []


def _rows(case: Case) -> list[dict]:
    grants = CaseGrant.objects.filter(content_object=case).select_related("user", "permission")
    by_person: dict[UUID, dict] = {}
    for grant in grants.order_by("user__name", "pk"):
        row = by_person.setdefault(
            grant.user_id,
            {"person": grant.user, "ends_at": grant.ends_at, "since": grant.granted_at, "may": []},
        )
        row["may"].append(WORDS.get(grant.permission.codename, grant.permission.codename))
    return list(by_person.values())
