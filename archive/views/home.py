"""Home: what waits for this person, and the cases they see."""

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from archive import access
from archive.models import Assignment, Case, Item, Upload


@dataclass(frozen=True)
class Row:
    """One case in the list, with its numbers."""

    case: Case
    items: int
    unseen: int
    mine: int


def rows(request: HttpRequest) -> list[Row]:
    """The cases that this person sees, by code, with how many items they hold and how many nobody decided."""
    cases = list(Case.objects.visible_to(request.user).order_by("code"))
    of = Item.objects.filter(case__in=cases).order_by().values_list("case")
    held = dict(of.annotate(n=Count("pk")))
    unseen = dict(of.annotate(n=Count("pk", filter=Q(decision=None))))
    mine = Assignment.objects.filter(to=request.user, closed_at=None, item__case__in=cases).order_by()
    given = dict(mine.values_list("item__case").annotate(n=Count("pk")))
    return [Row(c, held.get(c.pk, 0), unseen.get(c.pk, 0), given.get(c.pk, 0)) for c in cases]


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Assigned to me, unfinished uploads of mine, my cases."""
    visible = Case.objects.visible_to(request.user)
    mine = Assignment.objects.filter(to=request.user, closed_at=None, item__case__in=visible)
    unfinished = Upload.objects.filter(by=request.user, finished_at=None, case__in=visible)
    return render(
        request,
        "archive/home.html",
        {
            "here": "home",
            "rows": rows(request),
            "assigned": mine.select_related("item__case", "by").order_by("at")[:20],
            "assigned_number": mine.count(),
            "unfinished": unfinished.order_by()
            .values("case__code")
            .annotate(n=Count("pk"))
            .order_by("case__code"),
            "may_open": access.can(request.user, "create_case"),
        },
    )
