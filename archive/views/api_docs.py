"""The API's description for people. Its scripts lie in files of their own: the page runs under the same policy as all."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
@login_required
def docs(request: HttpRequest) -> HttpResponse:
    """Swagger UI over /api/schema/."""
    return render(request, "archive/api_docs.html", {"here": "api"})
