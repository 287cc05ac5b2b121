"""Append and verify rates of the custody log, each against its floor in the same run.

    python benchmarks/custody.py [--events 30000] [--rounds 3] [--json]

Append, one event a transaction, against a bare INSERT of the same bytes with its COMMIT: what the disk allows. Append in
batches (as ingest does), against bare INSERTs of the same bytes in transactions of the same size. Verify, all six
steps, against SHA-256 of the same bytes alone. The sides take turns. SQLite in a temporary instance, or the server
that DATABASE_URL names (in a database that is made and dropped).
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SINGLE, TOGETHER = 300, 250
BARE = "INSERT INTO bare (subject, number, canonical, hash) VALUES (%s, %s, %s, %s)"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="amparo-benchmark-") as folder:
        os.environ |= {
            "AMPARO_DATA": folder,
            "AMPARO_LOG_LEVEL": "ERROR",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        import django

        django.setup()
        from django.db import connection
        from django.test.utils import setup_databases, teardown_databases

        from config import instance

        instance.create()
        if connection.vendor == "sqlite":
            connection.settings_dict["TEST"]["NAME"] = str(Path(folder) / "benchmark.sqlite3")
        made = setup_databases(0, interactive=False)
        try:
            figures = measure(options.events, options.rounds)
        finally:
            teardown_databases(made, 0)
    return report(figures, options.json)


def rate(count: int, act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return count / (time.perf_counter() - began)


def measure(events: int, rounds: int) -> dict[str, float]:
    """Rates in events a second, medians of the rounds."""
    from django.db import connection

    from archive.custody.sequence import sequence

    with connection.cursor() as cursor:
        kind = "BYTEA" if connection.vendor == "postgresql" else "BLOB"
        cursor.execute(
            f"CREATE TABLE bare (subject VARCHAR(80), number BIGINT, canonical {kind}, hash VARCHAR(64))"
        )
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for number in range(rounds):
        share = events // rounds
        sides = [
            ("append one by one", SINGLE, lambda n=number: append_single(n)),
            ("bare insert one by one", SINGLE, lambda: insert_bare(SINGLE, 1)),
            ("append in batches", share, lambda n=number, s=share: append_batches(n, s)),
            ("bare insert in batches", share, lambda s=share: insert_bare(s, TOGETHER)),
        ]
        for name, count, act in sides if number % 2 == 0 else sides[::-1]:
            note(name, rate(count, act))
    waiting = total()
    note("sequence", rate(waiting, sequence))
    for _ in range(rounds):
        note("verify", rate(total(), verify_all))
        note("bare SHA-256", rate(total(), hash_bare))
    return {name: statistics.median(values) for name, values in found.items()} | {"events": total()}


def total() -> int:
    from archive.models import CustodyEvent

    return CustodyEvent.objects.count()


def payload(number: int) -> dict:
    from archive.custody import Private

    return {
        "sha256": hashlib.sha256(str(number).encode()).hexdigest(),
        "size": number,
        "file_name": Private(f"{number}.jpg"),
    }


def append_single(salt: int) -> None:
    from django.db import transaction

    from archive.custody import Actor, record

    actor = Actor.operator()
    for number in range(SINGLE):
        with transaction.atomic(durable=True):
            record(
                f"item:{salt}-{number % 50}",
                event="item.fixity_checked",
                actor=actor,
                payload=payload(number),
            )


def append_batches(salt: int, count: int) -> None:
    from django.db import transaction

    from archive.custody import Actor
    from archive.custody.batch import Batch
    from archive.models import Item

    actor = Actor.operator()
    for start in range(0, count, TOGETHER):
        batch = Batch(actor)
        for number in range(start, min(start + TOGETHER, count)):
            if number % 3 == 0:
                item = Item()
            batch.record(item, event="item.fixity_checked", payload=payload(number))
        with transaction.atomic(durable=True):
            batch.append()


def insert_bare(count: int, together: int) -> None:
    from django.db import connection, transaction

    row = ("item:00000000-0000-0000-0000-000000000000", 1, b"x" * 620, "0" * 64)
    with connection.cursor() as cursor:
        for start in range(0, count, together):
            with transaction.atomic(durable=True):
                cursor.executemany(BARE, [row] * min(together, count - start))


def verify_all() -> None:
    from archive.custody.verify import verify

    report = verify()
    assert not report.faults, report.faults


def hash_bare() -> None:
    from archive.models import CustodyEvent

    for body in CustodyEvent.objects.values_list("canonical", flat=True).iterator(chunk_size=5000):
        hashlib.sha256(b"\x00" + bytes(body)).digest()


def report(figures: dict[str, float], as_json: bool) -> int:
    """Print the rates beside their floors."""
    if as_json:
        print(json.dumps(figures))
        return 0
    print(f"{figures['events']:,} events, {os.cpu_count()} cores\n")
    print(f"{'':28}{'events/s':>12}   {'floor':28}{'events/s':>12}   share")
    for ours, floor in (
        ("append one by one", "bare insert one by one"),
        ("append in batches", "bare insert in batches"),
        ("verify", "bare SHA-256"),
    ):
        share = figures[ours] / figures[floor]
        print(f"{ours:28}{figures[ours]:>12,.0f}   {floor:28}{figures[floor]:>12,.0f}   {share:.2f}")
    print(f"{'sequence':28}{figures['sequence']:>12,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
