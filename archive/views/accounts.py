"""People who can sign in: for administrators."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive import access, people
from archive.custody import Actor
from archive.errors import BadInput
from archive.forms import PersonForm, RolesForm
from archive.models import User


@require_safe
@login_required
def accounts(request: HttpRequest) -> HttpResponse:
    """All accounts, with their roles."""
    access.require(request.user, "manage_people")
    rows = User.objects.prefetch_related("groups").order_by("-is_active", "name", "username")
    return render(
        request, "archive/accounts.html", {"here": "accounts", "rows": rows, "number": rows.count()}
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def add(request: HttpRequest) -> HttpResponse:
    """Add a person. They get a one-time link, shown once, and choose their own password."""
    access.require(request.user, "manage_people")
    form = PersonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given, actor = form.cleaned_data, Actor.of(request)
        try:
            person = people.add(
                username=given["username"], name=given["name"], roles=tuple(given["roles"]), actor=actor
            )
        except BadInput as error:
            form.add_error("username", error.sentence)
        else:
            return _person(request, person, link=_link(request, person, actor), status=201)
    status = 422 if request.method == "POST" else 200
    return render(request, "archive/account_add.html", {"here": "accounts", "form": form}, status=status)


@never_cache
@require_safe
@login_required
def person(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """One account."""
    access.require(request.user, "manage_people")
    return _person(request, get_object_or_404(User, pk=person_id))


def _person(
    request: HttpRequest, found: User, *, form: RolesForm | None = None, link: str = "", status: int = 200
) -> HttpResponse:
    form = form or RolesForm(initial={"roles": sorted(found.roles())})
    context = {"here": "accounts", "person": found, "form": form, "link": link}
    return render(request, "archive/account_person.html", context, status=status)


@require_POST
@login_required
def roles(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """Set which roles a person has."""
    access.require(request.user, "manage_people")
    found = get_object_or_404(User, pk=person_id)
    form = RolesForm(request.POST)
    if not form.is_valid():
        return _person(request, found, form=form, status=422)
    try:
        people.set_roles(person=found, roles=tuple(form.cleaned_data["roles"]), actor=Actor.of(request))
        messages.success(request, _("The roles are set."))
    except BadInput as error:
        messages.error(request, error.sentence)
    return redirect("account-of", found.pk)


@require_POST
@login_required
def active(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """Close an account, or open it again."""
    access.require(request.user, "manage_people")
    found = get_object_or_404(User, pk=person_id)
    opened = request.POST.get("active") == "yes"
    try:
        people.set_active(person=found, active=opened, actor=Actor.of(request))
        messages.success(request, _("The account is open again.") if opened else _("The account is closed."))
    except BadInput as error:
        messages.error(request, error.sentence)
    return redirect("account-of", found.pk)


@never_cache
@require_POST
@login_required
def link(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """Make a link that signs this person in once; with it they choose a new password. Shown once."""
    access.require(request.user, "manage_people")
    found = get_object_or_404(User, pk=person_id, is_active=True)
    return _person(request, found, link=_link(request, found, Actor.of(request)), status=201)


def _link(request: HttpRequest, found: User, actor: Actor) -> str:
    token = people.make_sign_in_link(person=found, actor=actor)
    return request.build_absolute_uri(reverse("signin-link", args=[token]))
