"""Jobs: what runs, waits and stopped, with its error and a second chance."""

from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from archive import access
from archive import jobs as work
from archive.models import Case, Job
from archive.views.cases import JOB_WORDS, visible
from archive.views.files import back

SHOWN = 50


def visible_to(request: HttpRequest) -> QuerySet[Job]:
    """Jobs of the cases that a person sees; administrators see those of no case too, never another case's."""
    shared = Job.objects.filter(case__in=Case.objects.visible_to(request.user))
    if access.can(request.user, "see_all_jobs"):
        shared = shared | Job.objects.filter(case=None)
    return shared


@require_safe
@login_required
def jobs(request: HttpRequest) -> HttpResponse:
    """Jobs of all cases that this person sees."""
    return _page(request, visible_to(request), None)


@require_safe
@login_required
def case_jobs(request: HttpRequest, code: str) -> HttpResponse:
    """Jobs of one case."""
    case = visible(request, code)
    return _page(request, visible_to(request).filter(case=case), case)


@require_POST
@login_required
def retry(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Queue a stopped job again."""
    row = get_object_or_404(visible_to(request).select_related("case"), pk=job_id)
    if row.case:
        access.require(request.user, "annotate", row.case)
    if work.retry(row):
        messages.success(request, _("The step waits again and will be tried from its first attempt."))
    else:
        messages.warning(request, _("That step is waiting or running already. Nothing was changed."))
    return back(request, reverse("jobs"))


def _page(request: HttpRequest, found: QuerySet[Job], case: Case | None) -> HttpResponse:
    counts = dict(found.order_by().values_list("state").annotate(n=Count("pk")))
    hour = found.filter(state="done", finished_at__gte=timezone.now() - timedelta(hours=1)).count()
    rows = {
        state: list(found.filter(state=state).select_related("item__case", "case").order_by(order)[:SHOWN])
        for state, order in (("failed", "-finished_at"), ("running", "started_at"), ("queued", "run_after"))
    }
    for job in (job for some in rows.values() for job in some):
        job.words = JOB_WORDS.get(job.name, job.name)
        job.most = work.KINDS[job.name].attempts if job.name in work.KINDS else None
    context = {
        "here": "case-jobs" if case else "jobs",
        "rows": rows,
        "counts": counts,
        "hour": hour,
        "shown": SHOWN,
    }
    if case:
        context |= {"case": case, "may_retry": access.can(request.user, "annotate", case)}
    else:
        context["may_retry"] = bool(request.user.roles() & access.RULES["annotate"].roles)
    return render(request, "archive/jobs.html", context)
