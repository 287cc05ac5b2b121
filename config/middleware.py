"""Our errors become pages or JSON in one place; every request leaves one log line without names."""

import time
from collections.abc import Callable
from typing import Any

import structlog
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import resolve
from rest_framework.response import Response
from rest_framework.views import exception_handler

from archive.errors import AmparoError, NotAllowed

log = structlog.get_logger("amparo.web")


class RequestLog:
    """One structured line for each request: route name, status, time, person's id. Never a path or a name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.monotonic()
        response = self.get_response(request)
        match = request.resolver_match
        if match is None or match.view_name != "healthz":
            log.info(
                "request",
                method=request.method,
                route=match.view_name if match else "none",
                status=response.status_code,
                ms=round((time.monotonic() - started) * 1000),
                person=str(request.user.pk) if getattr(request, "user", None) and request.user.pk else None,
            )
        return response


class OurErrors:
    """Turn an AmparoError into a page that says what happened and what to do next (JSON for the API)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Django calls this for an exception that a view let pass."""
        if not isinstance(error, AmparoError):
            return None
        if error.status >= 500:
            log.error("failed", code=error.code, route=resolve(request.path_info).view_name)
        if wants_json(request):
            return JsonResponse(as_json(error), status=error.status)
        if isinstance(error, NotAllowed) and request.user.is_authenticated or error.status == 404:
            return render(request, "404.html", status=404)
        return render(request, "error.html", {"error": error}, status=error.status)


class OwnPassword:
    """Who signed in with a password that somebody else chose goes to their account first, and chooses one."""

    OPEN = frozenset({"account", "signout", "signin", "signin-link", "preferences", "healthz"})

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_view: object) -> HttpResponse | None:
        """Django calls this when the route is known."""
        user = request.user
        if not (user.is_authenticated and user.must_change_password):
            return None
        if request.resolver_match.view_name in self.OPEN:
            return None
        if wants_json(request):
            return JsonResponse(
                {"code": "password", "detail": "Choose a password of your own first."}, status=403
            )
        return redirect("account")


def wants_json(request: HttpRequest) -> bool:
    """Whether the client is a program or a script of ours."""
    return request.path.startswith("/api/") or request.headers.get("Accept", "").startswith(
        "application/json"
    )


def as_json(error: AmparoError) -> dict[str, Any]:
    """The one JSON form of an error. Forbidden is worded as absent."""
    if error.status == 404:
        return {"code": "not-found", "detail": "There is nothing here, or nothing that was shared with you."}
    return {"code": error.code, "detail": error.sentence, "retry": error.retry}


def api_error(error: Exception, context: dict) -> Response | None:
    """DRF's exception handler."""
    if isinstance(error, AmparoError):
        return Response(as_json(error), status=error.status)
    if isinstance(error, Http404):
        return Response(as_json(NotAllowed("")), status=404)
    return exception_handler(error, context)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The form is too old or came from elsewhere."""
    if wants_json(request):
        return JsonResponse(
            {"code": "csrf", "detail": "The form is too old: load the page again."}, status=403
        )
    return render(request, "403_csrf.html", status=403)
