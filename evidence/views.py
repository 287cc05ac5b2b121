"""Bundles on screen: the list of a case, asking for one, looking after it, taking it out."""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive import access
from archive.custody import Actor
from archive.errors import BadInput
from archive.models import Case, Item, Job
from archive.views import files, thread
from evidence import bundle as verbs
from evidence.disclosure import GROUPS
from evidence.forms import BundleForm
from evidence.models import Bundle

PAGE = 50
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def bundles(request: HttpRequest, code: str) -> HttpResponse:
    """A case's bundles, the newest first; asking for a further one."""
    case = get_object_or_404(Case.objects.visible_to(request.user), code=code)
    form = BundleForm(request.POST if request.method == "POST" else None)
    status = 200
    if request.method == "POST":
        access.require(request.user, "export", case)
        status = 422
        if form.is_valid():
            try:
                made = verbs.request(
                    case=case,
                    actor=Actor.of(request),
                    items=_chosen(case, form.cleaned_data["items"]),
                    disclosed=form.cleaned_data["disclosed"],
                    reason=form.cleaned_data["reason"],
                )
                return redirect("bundle", made.pk)
            except BadInput as error:
                form.add_error(None, error.sentence)
    found = Bundle.objects.filter(case=case).select_related("case", "requested_by")
    before = request.GET.get("next", "")
    if before.isdecimal() and len(before) <= 17:  # microseconds: the key of the last one on the page before
        found = found.filter(requested_at__lt=EPOCH + timedelta(microseconds=int(before)))
    page = list(found[: PAGE + 1])
    context = {
        "case": case,
        "here": "bundles",
        "bundles": page[:PAGE],
        "number": Bundle.objects.filter(case=case).count(),
        "next": (page[PAGE - 1].requested_at - EPOCH) // timedelta(microseconds=1)
        if len(page) > PAGE
        else None,
        "form": form,
        "may_export": access.can(request.user, "export", case),
        "items": Item.objects.filter(case=case).count(),
    }
    return render(request, "evidence/bundles.html", context, status=status)


@require_safe
@login_required
def bundle(request: HttpRequest, bundle_id: UUID) -> HttpResponse:
    """One bundle: how far it is, what is in it, how its recipient checks it."""
    found = _visible(request, bundle_id)
    subject = found.custody_subject()
    context = {
        "case": found.case,
        "here": "bundles",
        "bundle": found,
        "job": Job.objects.filter(name="evidence.build", payload__bundle=str(found.pk)).first(),
        "given": [group.words for name, group in GROUPS.items() if name in found.disclosed],
        "withheld": [group.words for name, group in GROUPS.items() if name not in found.disclosed],
        "may_export": access.can(request.user, "export", found.case),
        "verifier_sha256": hashlib.sha256(verbs.VERIFIER.read_bytes()).hexdigest(),
        "custody": thread.state(subject),
        "events": thread.lines(subject),
    }
    return render(request, "evidence/bundle.html", context)


@require_POST
@login_required
def download(request: HttpRequest, bundle_id: UUID) -> HttpResponseBase:
    """Take a built bundle out. The download is recorded before the first byte leaves."""
    found = _visible(request, bundle_id)
    verbs.download(bundle=found, actor=Actor.of(request))
    response = files.whole(found.blob_id, "application/zip")
    response["Content-Disposition"] = content_disposition_header(True, f"{found.name}.zip")
    return response


def _visible(request: HttpRequest, bundle_id: UUID) -> Bundle:
    rows = Bundle.objects.visible_to(request.user).select_related("case", "requested_by")
    return get_object_or_404(rows, pk=bundle_id)


def _chosen(case: Case, ranges: list[tuple[int, int]]) -> list[UUID] | None:
    """Ids of the items with these numbers; None for all. Raises BadInput when a range holds none."""
    if not ranges:
        return None
    wanted = Q()
    for first, last in ranges:
        here = Q(number__gte=first, number__lte=last)
        if not Item.objects.filter(here, case=case).exists():
            raise BadInput(
                f"There is no item {first if first == last else f'{first} to {last}'} in this case."
            )
        wanted |= here
    return list(Item.objects.filter(wanted, case=case).values_list("pk", flat=True))
