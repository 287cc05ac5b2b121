"""/healthz: whether this instance works. For supervisors and load balancers, so it needs no sign-in."""

from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from archive import jobs


@never_cache
@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """200 once web, database and a worker for every queue work; otherwise 503. Says which, no more."""
    state = {"web": "ok", "database": "ok", "worker": "ok", "unserved_queues": []}
    try:
        state["unserved_queues"] = jobs.unserved_queues()
        if state["unserved_queues"]:
            state["worker"] = "a queue has no living worker"
    except DatabaseError:
        state |= {"database": "unreachable", "worker": "unknown"}
    works = state["database"] == state["worker"] == "ok"
    response = JsonResponse({"works": works, **state}, status=200 if works else 503)
    response._has_been_logged = True  # Django would log each 503 as an error of the program
    return response
