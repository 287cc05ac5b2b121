"""Legal holds and disposal of a case: placing and lifting, asking and answering, the certificate."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from archive import access, certificate, disposal, holds
from archive.custody import Actor
from archive.errors import BadInput, Conflict, NotFound
from archive.forms import DestructionForm, DisposalForm, HoldForm, ItemDisposalForm
from archive.models import Case, Disposal, Hold, Item, Job, Source
from archive.templatetags.amparo import ROLES
from archive.views import thread
from archive.views.cases import visible
from archive.views.files import back

SHOWN = 100
PAGE = 30


@require_safe
@login_required
def retention(request: HttpRequest, code: str) -> HttpResponse:
    """What keeps a case and what was asked for: retention, holds, requests."""
    return _page(request, visible(request, code))


def _page(request: HttpRequest, case: Case, *, status: int = 200, **forms: object) -> HttpResponse:
    user, before = request.user, request.GET.get("next", "")
    requests = Disposal.objects.filter(case=case).select_related("source", "requested_by", "answered_by")
    page = list(_before(requests, before)[: PAGE + 1])
    context = {
        "case": case,
        "here": "retention",
        "holds": Hold.objects.standing().filter(case=case).select_related("item__case", "placed_by"),
        "lifted": Hold.objects.filter(case=case)
        .exclude(lifted_at=None)
        .select_related("item__case", "placed_by", "lifted_by")
        .order_by("-lifted_at")[:SHOWN],
        "disposals": page[:PAGE],
        "number": requests.count(),
        "next": page[PAGE - 1].pk if len(page) > PAGE else "",
        "obstacle": disposal.obstacle(case),
        "may_hold": access.can(user, "hold", case),
        "may_request": access.can(user, "request_disposal", case),
        "may_edit": access.can(user, "edit_case", case),
        "may_read_log": access.can(user, "read_log", case),
        "held": Item.objects.filter(case=case).held().count(),
        "hold_form": HoldForm(),
        "disposal_form": DisposalForm(),
    }
    return render(request, "archive/retention.html", context | forms, status=status)


def _before(requests: QuerySet[Disposal], key: str) -> QuerySet[Disposal]:
    """Those after the one with this key in the list, the newest first."""
    last = requests.filter(pk=_uuid(key)).first()
    if last is None:
        return requests
    older = Q(requested_at__lt=last.requested_at) | Q(requested_at=last.requested_at, pk__lt=last.pk)
    return requests.filter(older)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


# --- holds ------------------------------------------------------------------------------------------------------


@require_POST
@login_required
def place(request: HttpRequest, code: str) -> HttpResponse:
    """Place a legal hold on a case, or on the item of it that the form numbers."""
    case = visible(request, code)
    access.require(request.user, "hold", case)
    form = HoldForm(request.POST)
    if form.is_valid():
        number = form.cleaned_data["item"]
        item = Item.objects.filter(case=case, number=number).first() if number else None
        if number and item is None:
            form.add_error("item", _("There is no such item in this case."))
        else:
            holds.place(
                case=case,
                item=item,
                actor=Actor.of(request),
                reason=form.cleaned_data["reason"],
                identities=form.cleaned_data["identities"],
            )
            messages.success(request, _("The hold stands: nothing that it covers can be destroyed."))
            return back(request, _address(case))
    return _page(request, case, hold_form=form, status=422)


@require_POST
@login_required
def lift(request: HttpRequest, hold_id: UUID) -> HttpResponse:
    """Lift a hold, with a reason."""
    found = get_object_or_404(
        Hold.objects.filter(case__in=Case.objects.visible_to(request.user)).select_related("case", "item"),
        pk=hold_id,
    )
    access.require(request.user, "hold", found.case)
    try:
        holds.lift(hold=found, actor=Actor.of(request), reason=request.POST.get("reason", ""))
        messages.success(request, _("The hold was lifted. Nothing is destroyed by that."))
    except (BadInput, Conflict) as error:
        messages.error(request, error.sentence)
    return back(request, _address(found.case))


def _address(case: Case) -> str:
    return reverse("retention", args=[case.code])


# --- asking -----------------------------------------------------------------------------------------------------


@require_POST
@login_required
def ask(request: HttpRequest, code: str) -> HttpResponse:
    """Ask for the disposal of a case's items, or of all that it holds."""
    case = visible(request, code)
    access.require(request.user, "request_disposal", case)
    form = DisposalForm(request.POST)
    if form.is_valid():
        try:
            made = disposal.request(
                case=case,
                actor=Actor.of(request),
                items=_numbered(case, form.cleaned_data["items"]),
                reason=form.cleaned_data["reason"],
                authority=form.cleaned_data["authority"],
            )
            return redirect("disposal", made.pk)
        except BadInput as error:
            form.add_error(None, error.sentence)
    return _page(request, case, disposal_form=form, status=422)


def _numbered(case: Case, ranges: list[tuple[int, int]]) -> list[UUID] | None:
    """Ids of the items with these numbers; None for all."""
    if not ranges:
        return None
    chosen = Q()
    for first, last in ranges:
        chosen |= Q(number__range=(first, last))
    return list(Item.objects.filter(chosen, case=case).held().order_by().values_list("pk", flat=True))


@require_POST
@login_required
def ask_item(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Ask for the disposal of one item, from its page."""
    item = get_object_or_404(Item.objects.visible_to(request.user).select_related("case"), pk=item_id)
    access.require(request.user, "request_disposal", item.case)
    form = ItemDisposalForm(request.POST)
    if form.is_valid():
        try:
            made = disposal.request(
                case=item.case, actor=Actor.of(request), items=[item.pk], **form.cleaned_data
            )
            return redirect("disposal", made.pk)
        except BadInput as error:
            messages.error(request, error.sentence)
    else:
        messages.error(request, _("Say why, and on which authority. Nothing was asked for."))
    return redirect("item", item.pk)


@require_POST
@login_required
def ask_identity(request: HttpRequest, code: str, name: str) -> HttpResponse:
    """Ask for the destruction of a source's identity."""
    case = visible(request, code)
    source = get_object_or_404(Source.objects.select_related("case"), case=case, code=name)
    access.require(request.user, "request_disposal", case)
    form = DestructionForm(request.POST)
    if form.is_valid():
        try:
            made = disposal.request_destruction(source=source, actor=Actor.of(request), **form.cleaned_data)
            return redirect("disposal", made.pk)
        except (BadInput, Conflict, NotFound) as error:
            messages.error(request, error.sentence)
    else:
        messages.error(request, _("Say why, and on which authority. Nothing was asked for."))
    return redirect("source", case.code, source.code)


# --- one request ------------------------------------------------------------------------------------------------


def _found(request: HttpRequest, disposal_id: UUID) -> Disposal:
    rows = Disposal.objects.visible_to(request.user)
    return get_object_or_404(
        rows.select_related("case", "source__case", "requested_by", "answered_by"), pk=disposal_id
    )


@require_safe
@login_required
def one(request: HttpRequest, disposal_id: UUID) -> HttpResponse:
    """One request: what it names, what stands in the way, the answer, how far it is carried out."""
    return _one(request, _found(request, disposal_id))


def _one(request: HttpRequest, found: Disposal, *, wrong: str = "", status: int = 200) -> HttpResponse:
    case, user = found.case, request.user
    waits, own = found.state == Disposal.State.REQUESTED, found.requested_by_id == user.pk
    entries = found.entries.select_related("item__case").order_by("item__number")
    size = found.entries.aggregate(n=Sum("item__size"))["n"] or 0
    stopped = Job.objects.filter(
        name="archive.dispose", payload__disposal=str(found.pk), state=Job.State.FAILED
    ).first()
    context = {
        "case": case,
        "here": "retention",
        "disposal": found,
        "items": found.what == Disposal.What.ITEMS,
        "entries": entries[:SHOWN],
        "shown": SHOWN,
        "size": size,
        "done": found.entries.exclude(disposed_at=None).count(),
        "obstacle": disposal.obstacle_of(found) if waits else "",
        "stopped": stopped if found.state == Disposal.State.APPROVED else None,
        "own": own,
        "may_answer": waits and not own and access.can(user, "approve_disposal", case),
        "may_withdraw": waits and own and access.can(user, "request_disposal", case),
        "answerers": [p for p in access.who_can("approve_disposal", case) if p.pk != found.requested_by_id]
        if waits
        else [],
        "may_retry": access.can(user, "annotate", case),
        "may_read_log": access.can(user, "read_log", case),
        "custody": thread.state(found.custody_subject()),
        "wrong": wrong,
        "given": request.POST.get("answer", ""),
    }
    return render(request, "archive/disposal.html", context, status=status)


@require_POST
@login_required
def answer(request: HttpRequest, disposal_id: UUID, how: str) -> HttpResponse:
    """Approve, decline or withdraw."""
    found = _found(request, disposal_id)
    words, actor = request.POST.get("answer", ""), Actor.of(request)
    try:
        if how == "approve":
            found = disposal.approve(disposal=found, actor=actor, answer=words)
            if found.what == Disposal.What.IDENTITY:
                messages.success(request, _("The identity is destroyed. Nobody can read it again."))
            else:
                messages.success(request, _("Approved. A worker destroys the bytes now."))
        elif how == "decline":
            disposal.decline(disposal=found, actor=actor, answer=words)
            messages.success(request, _("Declined. Nothing was destroyed."))
        else:
            disposal.withdraw(disposal=found, actor=actor)
            messages.success(request, _("Withdrawn. Nothing was destroyed."))
    except (BadInput, Conflict) as error:
        return _one(request, _found(request, disposal_id), wrong=error.sentence, status=error.status)
    return redirect("disposal", found.pk)


@require_safe
@login_required
def show_certificate(request: HttpRequest, disposal_id: UUID) -> HttpResponse:
    """The certificate of what was destroyed, to be printed."""
    found = _found(request, disposal_id)
    if found.state not in (Disposal.State.APPROVED, Disposal.State.DONE):
        raise Http404
    after = request.GET.get("next", "")
    sheet = certificate.of(found, after=int(after) if after.isdecimal() else 0)
    context = {
        "case": found.case,
        "here": "retention",
        "disposal": found,
        "items": found.what == Disposal.What.ITEMS,
        "sheet": sheet,
        "role": _(", ").join(str(ROLES.get(r, r)) for r in sheet.approver_role.split("+")),
        "next": sheet.after,
        "log": settings.NAME_IN_LOG,
    }
    return render(request, "archive/certificate.html", context)
