"""Which redactions of an item are released, checked against the custody log and not by the table alone."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import QuerySet

from archive.custody.canonical import timestamp
from archive.errors import Damaged
from archive.models import CustodyEvent, Item
from evidence.redaction import Approved, document
from evidence.redaction.models import Redaction


def rows(item: Item) -> QuerySet[Redaction]:
    """Redactions in the state approved, the newest first."""
    found = Redaction.objects.filter(item=item, state=Redaction.State.APPROVED)
    return found.select_related("item__case", "rendition__blob", "thumbnail__blob")


def checked(row: Redaction) -> Approved:
    """One of them as it may be handed out. Raises Damaged unless recipe, report and files are those of its events."""
    said = _approval(row)
    sound = (
        document.sha256(row.recipe) == row.recipe_sha256 == said.get("recipe_sha256")
        and document.sha256(row.report) == row.report_sha256
        and row.recipe["original_sha256"]
        == row.rendition.original_sha256
        == row.item.sha256
        == said.get("original")
        and row.report["result_sha256"] == row.rendition.blob_id == said.get("sha256")
        and row.report["thumbnail_sha256"] == row.thumbnail.blob_id
    )
    if not sound:
        raise Damaged(
            f"Redaction {row.number} of item {row.item.code} is not the one that the custody log says was approved. "
            "Nothing was handed out: run `manage.py custody verify` and keep the database as it is."
        )
    return Approved(row.rendition, row.thumbnail, record(row))


def _approval(row: Redaction) -> dict[str, Any]:
    """What the event of its approval says; empty where there is none."""
    events = CustodyEvent.objects.filter(subject=row.custody_subject(), type="item.redaction_approved")
    payloads = (json.loads(bytes(event.canonical))["payload"] for event in events.order_by("-number"))
    return next((payload for payload in payloads if payload["id"] == str(row.pk)), {})


def record(row: Redaction) -> dict[str, Any]:
    """What goes with a redacted file: how it was made, and from which original."""
    return {
        "format": "amparo-redaction-record 1",
        "redaction": str(row.pk),
        "number": row.number,
        "original_sha256": row.item.sha256,
        "sha256": row.rendition.blob_id,
        "media_type": row.rendition.media_type,
        "size": row.rendition.blob.size,
        "confirmed_at": timestamp(row.confirmed_at),
        "approved_at": timestamp(row.approved_at),
        "recipe": row.recipe,
        "recipe_sha256": row.recipe_sha256,
        "report": row.report,
        "report_sha256": row.report_sha256,
    }
