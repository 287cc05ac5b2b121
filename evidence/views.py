"""Bundles on screen: the list of a case, asking for one, looking after it, taking it out, the register."""

import hashlib
import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.html import strip_tags
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive import access, custody
from archive.custody import Actor
from archive.errors import BadInput
from archive.models import Case, Item, Job
from archive.templatetags.amparo import count, weight
from archive.views import files, thread
from evidence import bundle as verbs
from evidence import register as records
from evidence import whole
from evidence.consent import RULES, ConsentConflict, Looked
from evidence.disclosure import DEFAULT, GROUPS
from evidence.forms import BundleForm, HandOnForm
from evidence.models import Bundle, BundleWork, DisclosureRecord

PAGE = 50
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CSV = "text/csv; charset=utf-8"


# --- asking -------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def bundles(request: HttpRequest, code: str) -> HttpResponse:
    """A case's bundles, the newest first; asking for a further one, or for the whole case by one button."""
    case = get_object_or_404(Case.objects.visible_to(request.user), code=code)
    form, looked, status = BundleForm(), None, 200
    if request.method == "POST":
        access.require(request.user, "export", case)
        form = BundleForm(_whole_case() if "whole" in request.POST else request.POST)
        made, looked = _ask(case, form, Actor.of(request))
        if made:
            return redirect("bundle", made.pk)
        status = 422
    found = Bundle.objects.filter(case=case).select_related("case", "requested_by")
    page, following = _page(request, found)
    context = {
        "case": case,
        "here": "bundles",
        "bundles": page,
        "number": Bundle.objects.filter(case=case).count(),
        "disclosures": records.of_case(case).count(),
        "next": following,
        "form": form,
        "looked": looked,
        "seen": _digest(looked) if looked else "",
        "may_export": access.can(request.user, "export", case),
        "items": Item.objects.filter(case=case).count(),
    }
    return render(request, "evidence/bundles.html", context, status=status)


def _whole_case() -> dict[str, Any]:
    return {
        "destination": Bundle.Destination.INTERNAL,
        "disclosed": list(DEFAULT),
        "pictures": True,
        "reason": _("The whole case, as a copy to keep or to move"),
    }


def _ask(case: Case, form: BundleForm, actor: Actor) -> tuple[Bundle | None, Looked | None]:
    """Ask for what the form says: a bundle, or what stands against it. The form tells other faults."""
    if not form.is_valid():
        return None, None
    terms = form.terms()
    items, reason = form.cleaned_data["items"], form.cleaned_data["reason"]
    try:
        chosen = _chosen(case, items)
        try:
            return verbs.request(
                case=case, actor=actor, items=chosen, reason=reason, **{**terms, "override": ""}
            ), None
        except ConsentConflict as conflict:
            if not terms["override"].strip() or form.cleaned_data["seen"] != _digest(conflict.looked):
                return None, conflict.looked  # only what was shown can be overridden
            return verbs.request(case=case, actor=actor, items=chosen, reason=reason, **terms), None
    except BadInput as error:
        form.add_error(None, error.sentence)
        return None, None


def _digest(looked: Looked) -> str:
    """What stands for all the conflicts that somebody was shown."""
    shown = json.dumps([conflict.stated for conflict in looked.conflicts])
    return hashlib.sha256(shown.encode()).hexdigest()


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


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def everything(request: HttpRequest) -> HttpResponse:
    """The whole archive: bundles of all cases that this person sees; asking for one of each case they may export."""
    access.require(request.user, "export_all")
    cases = Case.objects.visible_to(request.user)
    may = cases.filter(pk__in=access.shared_case_ids(request.user, access.EXPORT))
    if request.method == "POST":
        reason = _("The whole archive, as a copy to keep or to move")
        made, refused = whole.request_all(user=request.user, actor=Actor.of(request), reason=reason)
        for sentence in refused:
            messages.error(request, sentence)
        asked = ngettext("%(n)s bundle is being built.", "%(n)s bundles are being built.", len(made))
        messages.success(request, asked % {"n": _plain(count(len(made)))})
        return redirect("bundles-all")
    found = Bundle.objects.visible_to(request.user).select_related("case", "requested_by")
    page, following = _page(request, found)
    context = {
        "here": "bundles-all",
        "bundles": page,
        "next": following,
        "number": found.count(),
        "may": may.count(),
    }
    return render(request, "evidence/bundles_all.html", context | {"cases": cases.count()})


def _page(request: HttpRequest, found: Any) -> tuple[list[Bundle], int | None]:
    """One page of bundles, and the key of the next."""
    before = request.GET.get("next", "")
    if before.isdecimal() and len(before) <= 17:  # microseconds: the key of the last one on the page before
        found = found.filter(requested_at__lt=EPOCH + timedelta(microseconds=int(before)))
    page = list(found[: PAGE + 1])
    last = page[PAGE - 1].requested_at if len(page) > PAGE else None
    return page[:PAGE], (last - EPOCH) // timedelta(microseconds=1) if last else None


# --- looking after it ---------------------------------------------------------------------------------------


@require_safe
@login_required
def bundle(request: HttpRequest, bundle_id: UUID) -> HttpResponse:
    """One bundle: how far it is, what is in it, how its recipient checks it, who got it."""
    found = _visible(request, bundle_id)
    return _bundle_page(request, found, HandOnForm())


def _bundle_page(request: HttpRequest, found: Bundle, form: HandOnForm, status: int = 200) -> HttpResponse:
    subject = found.custody_subject()
    context = {
        "case": found.case,
        "here": "bundles",
        "bundle": found,
        "volumes": found.volumes.all(),
        "progress": _progress(found),
        "given": _groups(found.disclosed),
        "withheld": _groups(set(GROUPS) - set(found.disclosed)),
        "overrides": [
            (row, [RULES[code].words for code in row.conflicts if code in RULES])
            for row in found.overrides.select_related("source", "by").order_by("source__code")
        ],
        "disclosures": found.disclosures.select_related("by"),
        "hand_on": form,
        "may_export": access.can(request.user, "export", found.case),
        "verifier_sha256": hashlib.sha256(verbs.VERIFIER.read_bytes()).hexdigest(),
        "custody": thread.state(subject),
        "events": thread.lines(subject) if access.can(request.user, "read_log", found.case) else [],
    }
    return render(request, "evidence/bundle.html", context, status=status)


def _groups(names: Collection[str]) -> list[str]:
    """Groups of values in words, in their order."""
    return [str(group.words) for name, group in GROUPS.items() if name in names]


@require_safe
@login_required
def progress(request: HttpRequest, bundle_id: UUID) -> JsonResponse:
    """How far a bundle is, for the page that shows it."""
    answer = JsonResponse(_progress(_visible(request, bundle_id)))
    answer["Cache-Control"] = "private, no-store"
    return answer


def _progress(found: Bundle) -> dict[str, Any]:
    """State, step in words, and how much of it is done (`total` 0: that is not known)."""
    work = BundleWork.objects.filter(bundle=found).first()
    job = Job.objects.filter(name="evidence.build", payload__bundle=str(found.pk)).first()
    words = _waiting(found, job) if work is None or not work.step else _words(work)
    if work is not None and work.volumes > 1:
        at = {"n": _plain(count(work.volume)), "of": _plain(count(work.volumes))}
        words = f"{_('Volume %(n)s of %(of)s') % at}: {words}"
    return {
        "state": found.state,
        "words": words,
        "done": work.done if work else 0,
        "total": (work.total or 0) if work else 0,
        "error": job.error if job else "",
    }


def _waiting(found: Bundle, job: Job | None) -> str:
    if found.kept == Bundle.Kept.SHELL:
        return _("It is being written at the shell.")
    if job is not None and job.state == Job.State.RUNNING:
        return _("It is being built now.")
    return _("It waits for a worker.")


def _words(work: BundleWork) -> str:
    sizes = {"done": _plain(weight(work.done)), "all": _plain(weight(work.total or 0))}
    numbers = {"done": _plain(count(work.done)), "all": _plain(count(work.total or 0))}
    return {
        "publish": _("The log is published, so that the bundle ends at a signed checkpoint."),
        "gather": _("Custody events and proofs: %(done)s of %(all)s items") % numbers,
        "describe": _("The forms that other programs read are written."),
        "write": _("Files: %(done)s of %(all)s written") % sizes,
        "report": _("The report is made."),
    }.get(work.step, work.step)


def _plain(number: str) -> str:
    """A number as text that keeps its direction without markup."""
    return f"\u2066{strip_tags(number)}\u2069"


@require_POST
@login_required
def cancel(request: HttpRequest, bundle_id: UUID) -> HttpResponse:
    """Stop a bundle that is being made. What was written of it is removed."""
    found = _visible(request, bundle_id)
    verbs.cancel(bundle=found, actor=Actor.of(request))
    return redirect("bundle", found.pk)


# --- taking it out ------------------------------------------------------------------------------------------


@require_POST
@login_required
def download(request: HttpRequest, bundle_id: UUID) -> HttpResponseBase:
    """Take a volume of a built bundle out. Download and disclosure are recorded before the first byte leaves."""
    found = _visible(request, bundle_id)
    number = request.POST.get("volume", "1")
    return taken_out(found, Actor.of(request), int(number) if number.isdecimal() and len(number) < 9 else 0)


def taken_out(found: Bundle, actor: Actor, number: int) -> HttpResponseBase:
    """The bytes of a volume, once the verb has let them go."""
    volume = verbs.download(bundle=found, actor=actor, number=number)
    media_type = "application/octet-stream" if found.recipient_keys else "application/zip"
    response = files.whole(volume.blob_id, media_type)
    response["Content-Disposition"] = content_disposition_header(True, f"{volume.name}{found.ending}")
    return response


@require_POST
@login_required
def hand_on(request: HttpRequest, bundle_id: UUID) -> HttpResponse:
    """Record that a copy was handed to somebody."""
    found = _visible(request, bundle_id)
    access.require(request.user, "export", found.case)
    form = HandOnForm(request.POST)
    if not form.is_valid():
        return _bundle_page(request, found, form, status=422)
    records.hand_on(bundle=found, actor=Actor.of(request), **form.cleaned_data)
    messages.success(request, _("It is in the register."))
    return redirect("bundle", found.pk)


@require_safe
@login_required
def register(request: HttpRequest, code: str) -> HttpResponse:
    """A case's register of disclosures, the newest first."""
    case = get_object_or_404(Case.objects.visible_to(request.user), code=code)
    found = records.of_case(case)
    before = request.GET.get("next", "")
    rows = found.filter(pk__lt=int(before)) if before.isdecimal() and len(before) <= 17 else found
    page: list[DisclosureRecord] = list(rows.order_by("-pk")[: PAGE + 1])
    context = {
        "case": case,
        "here": "bundles",
        "rows": [(row, _groups(row.withheld)) for row in page[:PAGE]],
        "number": found.count(),
        "next": page[PAGE - 1].pk if len(page) > PAGE else None,
        "may_export": access.can(request.user, "export", case),
    }
    return render(request, "evidence/register.html", context)


@require_POST
@login_required
def register_csv(request: HttpRequest, code: str) -> HttpResponse:
    """The register as CSV. That it left the archive is recorded first. Needs the permission to export."""
    case = get_object_or_404(Case.objects.visible_to(request.user), code=code)
    access.require(request.user, "export", case)
    text, number = records.table(case)
    body = text.encode("utf-8-sig")
    with transaction.atomic(durable=True):
        custody.record(
            case,
            event="case.list_exported",
            actor=Actor.of(request),
            payload={"list": "disclosures", "rows": number, "sha256": hashlib.sha256(body).hexdigest()},
        )
    response = HttpResponse(body, content_type=CSV)
    name = f"{case.code}-disclosures-{timezone.now():%Y%m%dT%H%MZ}.csv"
    response["Content-Disposition"] = content_disposition_header(True, name)
    response["Cache-Control"] = "private, no-store"
    return response


def _visible(request: HttpRequest, bundle_id: UUID) -> Bundle:
    rows = Bundle.objects.visible_to(request.user).select_related("case", "requested_by")
    return get_object_or_404(rows, pk=bundle_id)
