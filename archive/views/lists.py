"""A case's list of items as CSV. That a list left the archive is recorded with its hash, before a byte of it leaves."""

import csv
import hashlib
import io
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST

from archive import access, custody
from archive.custody import Actor
from archive.custody.batch import record_each
from archive.models import Case, Item
from archive.views.cases import visible

HEAD = (
    "item",
    "sha256",
    "size_bytes",
    "kind",
    "media_type",
    "condition",
    "file_name",
    "received_at_utc",
    "source",
    "read_back_at_utc",
    "decision",
    "decided_at_utc",
    "decided_by",
    "disposed_at_utc",
)


@require_POST
@login_required
def items(request: HttpRequest, code: str) -> HttpResponse:
    """All items of a case. Needs the permission to export."""
    case = visible(request, code)
    access.require(request.user, "export", case)
    text, items = _table(case)
    body = text.encode("utf-8-sig")
    actor, told = Actor.of(request), {"list": "items", "sha256": hashlib.sha256(body).hexdigest()}
    with transaction.atomic(durable=True):
        custody.record(case, event="case.list_exported", actor=actor, payload=told | {"rows": len(items)})
        record_each((Item(pk=pk) for pk in items), event="item.listed", actor=actor, payload=told)
    response = HttpResponse(body, content_type="text/csv; charset=utf-8")
    name = f"{case.code}-items-{timezone.now():%Y%m%dT%H%MZ}.csv"
    response["Content-Disposition"] = content_disposition_header(True, name)
    response["Cache-Control"] = "private, no-store"
    return response


def _table(case: Case) -> tuple[str, list[UUID]]:
    """The list, and the ids of the items that it names."""
    out, listed = io.StringIO(newline=""), []
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(HEAD)
    rows = Item.objects.filter(case=case).select_related("source", "decision__by").order_by("number")
    for item in rows.iterator(chunk_size=2000):
        item.case = case
        decision = item.decision
        writer.writerow(
            [
                inert(item.code),
                item.sha256,
                item.size,
                item.kind,
                inert(item.media_type),
                inert(item.condition),
                inert(item.file_name),
                _utc(item.received_at),
                inert(item.source.code if item.source else ""),
                _utc(item.read_back_at),
                decision.value if decision else "",
                _utc(decision.at) if decision else "",
                inert(decision.by.name) if decision else "",
                _utc(item.disposed_at),
            ]
        )
        listed.append(item.pk)
    return out.getvalue(), listed


def inert(text: str) -> str:
    """A text that no spreadsheet runs as a formula: what starts like one gets an apostrophe."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else text


def _utc(moment: object) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""
