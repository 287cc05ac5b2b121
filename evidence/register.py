"""The register of disclosures: who got what, when, under which mandate, what was withheld, for which keys."""

import csv
import io
from collections.abc import Callable

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from archive import access, custody
from archive.custody import Actor
from archive.errors import BadInput
from archive.models import Case, User
from evidence.contents import cell
from evidence.disclosure import GROUPS
from evidence.models import Bundle, DisclosureRecord

COLUMNS = (
    "at_utc",
    "bundle",
    "volume",
    "items",
    "destination",
    "files",
    "recipient",
    "mandate_or_legal_basis",
    "approved_by",
    "way",
    "withheld",
    "keys",
    "by",
)


def record(
    bundle: Bundle, actor: Actor, way: DisclosureRecord.Way, *, volume: int | None = None
) -> Callable[[], None]:
    """What writes the record that a bundle leaves the archive on the terms it was asked for, in the caller's
    transaction.
    """
    row = _row(bundle, actor, way, volume, bundle.recipient, bundle.basis, bundle.approved_by)

    def write() -> None:
        custody.write(row, event="bundle.disclosed", actor=actor)

    return write


def hand_on(
    *, bundle: Bundle, actor: Actor, recipient: str, basis: str, approved_by: str = "", note: str = ""
) -> DisclosureRecord:
    """Record that a copy of a built bundle was handed to somebody, outside of this archive.

    Raises NotAllowed, BadInput while it is not built or where nobody is named.
    """
    access.require(actor, "export", bundle.case)
    if bundle.state != Bundle.State.BUILT:
        raise BadInput("This bundle is not built: nobody can have been given a copy.")
    if not recipient.strip():
        raise BadInput("Say who was given the copy.")
    row = _row(
        bundle,
        actor,
        DisclosureRecord.Way.HANDED_ON,
        None,
        recipient.strip(),
        basis.strip(),
        approved_by.strip(),
    )
    with transaction.atomic(durable=True):
        return custody.write(row, event="bundle.disclosed", actor=actor, reason=note.strip())


def _row(
    bundle: Bundle,
    actor: Actor,
    way: DisclosureRecord.Way,
    volume: int | None,
    recipient: str,
    basis: str,
    approved_by: str,
) -> DisclosureRecord:
    return DisclosureRecord(
        bundle=bundle,
        volume=volume,
        way=way,
        recipient=recipient,
        basis=basis,
        approved_by=approved_by,
        withheld=[name for name in GROUPS if name not in bundle.disclosed],
        recipient_keys=bundle.recipient_keys,
        recipient_names=bundle.recipient_names,
        by=actor.user,
        at=timezone.now(),
    )


def of_case(case: Case) -> "QuerySet[DisclosureRecord]":
    """A case's records, the newest first."""
    return DisclosureRecord.objects.filter(bundle__case=case).select_related("bundle__case", "by")


def table(case: Case) -> tuple[str, int]:
    """The register of a case as CSV, and how many rows it has. No cell can run in a spreadsheet."""
    out, number = io.StringIO(newline=""), 0
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in of_case(case).iterator(chunk_size=2000):
        bundle = row.bundle
        by: User | None = row.by
        writer.writerow(
            cell(value)
            for value in (
                f"{row.at:%Y-%m-%dT%H:%M:%SZ}",
                bundle.name,
                row.volume,
                bundle.item_count,
                bundle.destination,
                bundle.files,
                row.recipient,
                row.basis,
                row.approved_by,
                row.way,
                " ".join(row.withheld),
                "; ".join(f"{name}: {key}" for name, key in row.keys),
                by.name if by else "operator",
            )
        )
        number += 1
    return out.getvalue(), number
