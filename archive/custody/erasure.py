"""Destroy openings for good (crypto-shredding): the one door through which anything leaves the log's tables.

A certificate event lists what it destroys, in its payload, as `"destroyed": {pointer: [numbers of events]}`, all of its
own subject and before it. `carry_out` destroys exactly that: for each opening a row of CustodyErasure that names the
certificate, then the opening itself, which the database lets go only under such a row. The events stay as they are;
their commitments can never be opened again.
"""

import json
from collections.abc import Iterator

from django.db import connection

from archive.custody.log import recording, require_transaction
from archive.errors import UnrecordedChange
from archive.models import CustodyErasure, CustodyEvent, CustodyOpening

CERTIFICATES = ("source.identity_destroyed",)
CHUNK = 500


def listed(canonical: bytes) -> dict[str, list[int]]:
    """What a certificate says that it destroys: numbers of events of its subject, by pointer."""
    try:
        told = json.loads(bytes(canonical))["payload"].get("destroyed")
        if all(type(number) is int for numbers in told.values() for number in numbers):
            return told
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # no certificate, or damaged, which `custody verify` names: it destroys nothing
    return {}


def carry_out(certificate: CustodyEvent) -> int:
    """Destroy the openings that a certificate lists, in its transaction; return how many there were.

    Raises UnrecordedChange for an event that is no certificate.
    """
    require_transaction()
    if certificate.type not in CERTIFICATES:
        raise UnrecordedChange("Openings are destroyed by a certificate event and by nothing else.")
    gone = 0
    with connection.cursor() as cursor, recording():
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA secure_delete = ON")  # freed pages are overwritten with zeros
        for pointer, numbers in listed(certificate.canonical).items():
            for start in range(0, len(numbers), CHUNK):
                found = CustodyOpening.objects.filter(
                    event__subject=certificate.subject,
                    event__number__lt=certificate.number,
                    event__number__in=numbers[start : start + CHUNK],
                    pointer=pointer,
                )
                pairs = dict(found.values_list("pk", "event_id"))
                CustodyErasure.objects.bulk_create(
                    CustodyErasure(event_id=event, pointer=pointer, certificate=certificate)
                    for event in pairs.values()
                )
                CustodyOpening.objects.filter(pk__in=list(pairs))._raw_delete("default")
                gone += len(pairs)
    return gone


def scrub() -> None:
    """After COMMIT: empty SQLite's write-ahead log, where the destroyed bytes still stand. See docs/retention.md.

    Waits a second for readers at most; where one stays longer, the log is written over when it has gone.
    """
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        usual = int(connection.settings_dict["OPTIONS"].get("timeout", 5) * 1000)
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 1000")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.execute(f"PRAGMA busy_timeout = {usual}")


def faults() -> Iterator[tuple[str, str]]:
    """Erasures that no certificate lists, and openings that are there although one was to destroy them.

    Yields place and sentence. Called by `custody verify`, which takes an erased opening for destroyed, not for missing.
    """
    told: dict[int, dict[str, list[int]]] = {}
    erased = CustodyErasure.objects.select_related("event", "certificate").order_by("certificate_id", "pk")
    for row in erased.iterator(chunk_size=CHUNK):
        by = row.certificate
        if by.pk not in told:
            told = {by.pk: listed(by.canonical) if by.type in CERTIFICATES else {}}
        place = f"{row.pointer} of event {row.event.number} of {row.event.subject}"
        if row.event.subject != by.subject or row.event.number not in told[by.pk].get(row.pointer, ()):
            yield place, f"it was destroyed, and event {by.number} of {by.subject} does not say so"
    for event in CustodyEvent.objects.filter(type__in=CERTIFICATES).iterator(chunk_size=CHUNK):
        for pointer, numbers in listed(event.canonical).items():
            for start in range(0, len(numbers), CHUNK):
                left = CustodyOpening.objects.filter(
                    event__subject=event.subject,
                    event__number__in=numbers[start : start + CHUNK],
                    pointer=pointer,
                )
                for number in left.values_list("event__number", flat=True):
                    place = f"{pointer} of event {number} of {event.subject}"
                    yield place, f"it is still there, although event {event.number} destroyed it"
