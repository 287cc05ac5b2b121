"""Signing in and out, by password or one-time link, and how a person likes their screens."""

from django.conf import settings
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import activate
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from archive import custody, people
from archive.custody import Actor
from archive.errors import NotFound
from archive.models import User
from archive.views.files import back

BACKEND = "django.contrib.auth.backends.ModelBackend"
THEMES = ("light", "dark")


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def signin(request: HttpRequest) -> HttpResponse:
    """By name and password. Wrong ones are counted and slowed down (django-axes)."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    if request.user.is_authenticated and request.method != "POST":
        return redirect(_own(request, wanted))
    form = AuthenticationForm(request, request.POST or None)
    if request.method == "POST" and form.is_valid():
        enter(request, form.get_user(), by="password")
        return redirect(_own(request, wanted))
    status = 422 if request.method == "POST" else 200
    return render(request, "registration/signin.html", {"form": form, "next": wanted}, status=status)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def link(request: HttpRequest, token: str) -> HttpResponse:
    """By one-time link. Opening it shows a button, so that a preview of the link does not use it up."""
    if request.method != "POST":
        return render(request, "registration/link.html")
    try:
        person = people.use_sign_in_link(token)
    except NotFound as error:
        return render(request, "registration/link.html", {"error": error.sentence}, status=404)
    enter(request, person, by="link")
    return redirect("home" if person.has_usable_password() else "account")


def enter(request: HttpRequest, person: User, *, by: str) -> None:
    """Begin a session for a person, and record it: both or neither."""
    with transaction.atomic(durable=True):
        login(request, person, backend=BACKEND)
        request.session["entered_by"] = by
        custody.record(
            person,
            event="system.signed_in",
            actor=Actor.of(request),
            payload={"person": str(person.pk), "by": by},
        )


@require_POST
@login_required
def signout(request: HttpRequest) -> HttpResponse:
    """End the session, and with it every choice to see things unveiled."""
    with transaction.atomic(durable=True):
        custody.record(
            request.user,
            event="system.signed_out",
            actor=Actor.of(request),
            payload={"person": str(request.user.pk)},
        )
    logout(request)
    return redirect("signin")


@require_POST
def preferences(request: HttpRequest) -> HttpResponse:
    """Language (a cookie, so that the sign-in page knows it too) and light or dark (this session)."""
    response = back(request, reverse("home"))
    language = request.POST.get("language", "")
    if language in dict(settings.LANGUAGES):
        activate(language)
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            language,
            max_age=365 * 86400,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
    if "theme" in request.POST:
        theme = request.POST["theme"]
        request.session["theme"] = theme if theme in THEMES else ""
    return response


def _own(request: HttpRequest, wanted: str) -> str:
    safe = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if wanted and safe else reverse("home")
