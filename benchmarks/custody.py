"""Append, verify and proof rates of the custody log, each against its floor in the same run.

    python benchmarks/custody.py [--small] [--json]

Starts a PostgreSQL of its own, with fsync, in a temporary folder.

Append: 8 writer processes, each transaction one event (or ten), each event with a commitment and its opening, while
another process sequences and integrates; against the same writers with bare INSERTs of as many bytes. The sides take
turns. A verification runs while they write, and one when they are done: both must say good.

Verify: a log of 1,000,000 events under one checkpoint, in as many processes as there are cores, PostgreSQL's own work
on the same cores included; against SHA-256 alone of the same bytes, on one core, without reading them. The log is
made by bulk SQL (benchmarks/bulk_log.py), its tree, map and checkpoint by the product.

Beside each rate stands what it cost in CPU time, of Python and PostgreSQL together: on a machine that others use too,
the clock on the wall says little.

Proofs: from that log, each with nothing read before: inclusion and consistency in the tree, completeness in the map.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
WRITERS = 8
SERVER = "source tests/servers.sh; start_servers on >&2 && echo $TEST_POSTGRES_URL; read -r; stop_servers"
BARE = "INSERT INTO bare (subject, number, canonical, hash) VALUES (%s, %s, %s, %s)"
GOALS = {"append, one a transaction": 2_000, "append, ten a transaction": 2_000, "verify, per core": 150_000}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a quick try: 40,000 events, short rounds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.small)))
        return 0
    figures: dict[str, float] = {}
    with server() as url:
        for part in PARTS:
            figures |= run(part, url, small=options.small)
    if options.json:
        print(json.dumps(figures))
    else:
        table(figures)
    return 0


@contextmanager
def server() -> Iterator[str]:
    """The address of a private PostgreSQL that waits for the disk."""
    process = subprocess.Popen(
        ["bash", "-c", SERVER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        url = process.stdout.readline().strip()
        if not url:
            sys.exit("PostgreSQL could not be started: see the messages above.")
        yield url
    finally:
        process.stdin.close()
        process.wait()


def run(part: str, url: str, *, small: bool) -> dict[str, float]:
    """Run a part in a process, an instance and a database of its own."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as database:
        database.execute(f'CREATE DATABASE "{part}"')
    with tempfile.TemporaryDirectory(prefix="amparo-benchmark-") as folder:
        own = {
            "AMPARO_DATA": folder,
            "AMPARO_LOG_LEVEL": "ERROR",
            "DATABASE_URL": urlunsplit(urlsplit(url)._replace(path=f"/{part}")),
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        command = [sys.executable, __file__, "--part", part, *(["--small"] if small else [])]
        done = subprocess.run(command, env=os.environ | own, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def prepare() -> None:
    """Set up Django, the instance's keys and the tables."""
    import django

    django.setup()
    from django.core.management import call_command

    from config import instance

    instance.create()
    call_command("migrate", verbosity=0)


def cpu_s() -> float:
    """CPU seconds so far of this process, the server, and all processes that either started."""
    return sum(cpu_of_each_s())


def cpu_of_each_s() -> tuple[float, float]:
    """The same apart: of this process with all that it started, and of the server with all that it started."""
    from django.db import connection

    if not _postmaster:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_read_file('postmaster.pid')")
            _postmaster.append(int(cursor.fetchone()[0].split()[0]))
    parents, spent = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        parents[int(path.parent.name)] = int(fields[1])
        spent[int(path.parent.name)] = sum(map(int, fields[11:15]))  # its own, and of children that ended
    sums = []
    for first in (os.getpid(), *_postmaster):
        family = {first}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        sums.append(sum(spent.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK"))
    return sums[0], sums[1]


_postmaster: list[int] = []


# --- appending ----------------------------------------------------------------------------------------------------


def append(small: bool) -> dict[str, float]:
    """Events a second of all writers, medians of the rounds."""
    prepare()
    from django.db import connection

    from archive.custody import Actor
    from archive.custody.publish import publish
    from archive.custody.verify import verify
    from archive.models import CustodyEvent

    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bare (subject VARCHAR(80), number BIGINT, canonical BYTEA, hash VARCHAR(64))"
        )
    rounds, seconds = (1, 2.0) if small else (3, 6.0)
    found: dict[str, list[float]] = {}
    with sequencer():
        for number in range(rounds):
            sides = [(kind, each) for each in (1, 10) for kind in ("append", "bare insert")]
            for kind, each in sides if number % 2 == 0 else sides[::-1]:
                name = f"{kind}, {'one' if each == 1 else 'ten'} a transaction"
                rate, cost = all_writers(kind, each, seconds)
                found.setdefault(name, []).append(rate)
                found.setdefault(f"{name}: CPU us", []).append(cost)
        watched: list[str] = []
        all_writers("append", 1, seconds, meanwhile=lambda: watched.append(verify(jobs=1).answer))
    publish(actor=Actor.operator())
    report = verify()
    events = CustodyEvent.objects.count()
    if watched != ["good"] or report.answer != "good" or report.events != events:
        sys.exit(f"The log is not good after appending: {watched} {report}")
    return {name: statistics.median(values) for name, values in found.items()} | {
        "appended and verified": events,
    }


@contextmanager
def sequencer() -> Iterator[None]:
    """Sequences and integrates in a process of its own until left."""
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    process = spawn.Process(target=sequence, args=(stop,))
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join()
    if process.exitcode:
        sys.exit("The sequencer ended with an error: see above.")


def sequence(stop: "multiprocessing.synchronize.Event") -> None:
    import django

    django.setup()
    from archive.custody.sequence import advance

    while not stop.is_set():
        advance()
        stop.wait(0.5)


def all_writers(
    kind: str, each: int, seconds: float, meanwhile: Callable[[], object] | None = None
) -> tuple[float, float]:
    """Events a second of all writers together, and microseconds of CPU that one event cost."""
    spawn = multiprocessing.get_context("spawn")
    ready, results = spawn.Barrier(WRITERS + 1), spawn.Queue()
    processes = [
        spawn.Process(target=writer, args=(number, kind, each, seconds, ready, results))
        for number in range(WRITERS)
    ]
    for process in processes:
        process.start()
    ready.wait()
    before = cpu_s()
    if meanwhile:
        meanwhile()
    told = [results.get() for _ in processes]
    cost = cpu_s() - before
    for process in processes:
        process.join()
    return sum(rate for rate, _ in told), cost / sum(count for _, count in told) * 1e6


def writer(number: int, kind: str, each: int, seconds: float, ready, results) -> None:
    import django

    django.setup()
    from django.db import connection

    act = insert if kind == "bare insert" else record_events
    for at in range(5):
        act(number, at, each)
    ready.wait()
    began = time.perf_counter()
    count = 0
    while (passed := time.perf_counter() - began) < seconds:
        act(number, count, each)
        count += each
    results.put((count / passed, count))
    connection.close()


def record_events(number: int, at: int, each: int) -> None:
    from django.db import transaction

    from archive.custody import Actor, Private, record

    with transaction.atomic(durable=True):
        for i in range(at, at + each):
            record(
                f"item:{number}-{i % 50}",
                event="item.fixity_checked",
                actor=Actor.system(),
                payload={
                    "sha256": hashlib.sha256(b"%d" % i).hexdigest(),
                    "size": i,
                    "file_name": Private(f"{i}.jpg"),
                },
            )


def insert(number: int, at: int, each: int) -> None:
    from django.db import connection, transaction

    with transaction.atomic(durable=True), connection.cursor() as cursor:
        for i in range(at, at + each):
            cursor.execute(BARE, (f"item:{number}", i, b"x" * 620, "0" * 64))


# --- verifying and proving ----------------------------------------------------------------------------------------


def verifying(small: bool) -> dict[str, float]:
    """Rates over a large log, and milliseconds of proofs from it."""
    prepare()
    import bulk_log

    from archive.custody import Actor
    from archive.custody.publish import publish
    from archive.custody.verify import verify
    from archive.models import CustodyEvent

    count, cores = 40_000 if small else 1_000_000, os.cpu_count() or 1
    bulk_log.build(count)
    checkpoint = publish(actor=Actor.operator())
    from archive.custody.verify.events import RANGE

    rates, costs, own, bare, parts = [], [], [], [], {}
    for _ in range(1 if small else 3):
        samples = [cpu_of_each_s()]
        report = verify(jobs=cores, progress=lambda _, samples=samples: samples.append(cpu_of_each_s()))
        if report.answer != "good" or report.events < count:
            sys.exit(f"The log is not good: {report}")
        rates.append(report.events / report.seconds["log"] / cores)
        (before, served_before), (after, served) = samples[0], samples[-(-count // RANGE)]
        own.append((after - before) / report.events * 1e6)
        costs.append(own[-1] + (served - served_before) / report.events * 1e6)
        parts = report.seconds
        spent = bytes_ = 0
        for start in range(0, count, 50_000):
            found = CustodyEvent.objects.filter(pk__gt=start, pk__lte=start + 50_000)
            bodies = [b"\x00" + bytes(body) for body in found.values_list("canonical", flat=True)]
            began = time.perf_counter()
            for body in bodies:
                hashlib.sha256(body).digest()
            spent, bytes_ = spent + time.perf_counter() - began, bytes_ + sum(map(len, bodies))
        bare.append(count / spent)
    return {
        "events": report.events,
        "bytes an event": bytes_ / count,
        "cores": cores,
        "verify, per core": statistics.median(rates),
        "verify, per core: CPU us": statistics.median(costs),
        "verify, per core: CPU us without PostgreSQL": statistics.median(own),
        "bare SHA-256, one core": statistics.median(bare),
        "bare SHA-256, one core: CPU us": 1e6 / statistics.median(bare),
        "map: seconds": parts["map"],
        "map: entries": checkpoint.map.entries,
        "openings and rows, per core": report.events / parts["rows"] / cores,
        "openings": report.openings,
    } | proofs(checkpoint, 50 if small else 300)


def proofs(checkpoint, times: int) -> dict[str, float]:
    """Median and worst milliseconds of proofs and what one cost, each checked after it was timed."""
    from archive.custody import map, proofs, tiles
    from archive.custody.canonical import event_hash
    from archive.models import CustodyPosition, MapEntry

    root, size, head = bytes.fromhex(checkpoint.root), checkpoint.size, checkpoint.map
    chance = random.Random(7)
    names = list(MapEntry.objects.order_by("key").values_list("name", flat=True)[:5_000])
    public = map_public_key(head)
    spent: dict[str, list[float]] = {"inclusion": [], "consistency": [], "completeness": []}
    costs = dict.fromkeys(spent, 0.0)

    def timed(name: str, prove: Callable[..., Any], *given: Any) -> Any:
        cost, began = time.process_time(), time.perf_counter()
        proof = prove(*given)
        spent[name].append(time.perf_counter() - began)
        costs[name] += time.process_time() - cost
        return proof

    for _ in range(times):
        position, old, name = chance.randrange(size), chance.randrange(1, size), chance.choice(names)
        path = timed("inclusion", proofs.inclusion, position, size)
        body = CustodyPosition.objects.values_list("event__canonical", flat=True).get(position=position)
        proofs.verify_inclusion(event_hash(bytes(body)), position, size, path, root)
        path = timed("consistency", proofs.consistency, old, size)
        proofs.verify_consistency(old, size, path, tiles.root(old), root)
        found = timed("completeness", map.prove, name, head)
        map.verify(bytes.fromhex(head.root), found, public)
    return {
        f"{name} proof: {what}": value * 1000
        for name, values in spent.items()
        for what, value in (
            ("ms", statistics.median(values)),
            ("ms at most", max(values)),
            ("CPU ms", costs[name] / times),
        )
    }


def map_public_key(head) -> bytes:
    import base64

    return base64.b64decode(json.loads(bytes(head.event.canonical))["payload"]["key"])


PARTS = {"append": append, "verify": verifying}


def table(figures: dict[str, float]) -> None:
    """Print the rates beside their floors and goals."""
    print(
        f"{WRITERS} writers, {figures['cores']} cores, load average {os.getloadavg()[0]:.1f}; events a second, and "
        "microseconds of CPU an event\n"
    )
    print(f"{'':28}{'rate':>9}{'CPU':>8}   {'floor':32}{'rate':>9}{'CPU':>8}  share     goal")
    for ours, floor in (
        ("append, one a transaction", "bare insert, one a transaction"),
        ("append, ten a transaction", "bare insert, ten a transaction"),
        ("verify, per core", "bare SHA-256, one core"),
    ):
        share = figures[ours] / figures[floor]
        print(
            f"{ours:28}{figures[ours]:>9,.0f}{figures[f'{ours}: CPU us']:>8.1f}   "
            f"{floor:32}{figures[floor]:>9,.0f}{figures[f'{floor}: CPU us']:>8.1f}   {share:.2f}{GOALS[ours]:>9,}"
        )
    print(
        f"\n{figures['appended and verified']:,.0f} events appended while they were sequenced and integrated; verified "
        f"meanwhile and after: good.\n{figures['events']:,.0f} events of {figures['bytes an event']:.0f} bytes "
        f"verified; of the CPU time {figures['verify, per core: CPU us without PostgreSQL']:.1f} us an event are the "
        "verifier's own, starting its processes included, the rest PostgreSQL's.\n"
        f"Beside it: the map of {figures['map: entries']:,.0f} entries in {figures['map: seconds']:.1f} s; "
        f"openings ({figures['openings']:,.0f}) and rows at {figures['openings and rows, per core']:,.0f} events a "
        "second and core.\n"
    )
    for name in ("inclusion", "consistency", "completeness"):
        print(
            f"{name + ' proof':30}{figures[f'{name} proof: ms']:>10.2f} ms, at most "
            f"{figures[f'{name} proof: ms at most']:.2f} ms; {figures[f'{name} proof: CPU ms']:.2f} ms of CPU in Python; "
            "goal 5 ms"
        )


if __name__ == "__main__":
    sys.exit(main())
