"""Real Celery workers on the real broker: they sequence, sweep, survive kills and stop when asked."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from tests.home import ROOT, Home, Launcher

pytestmark = [pytest.mark.server, pytest.mark.fault]
SLOW = "tests.faults.slow_worker"


@pytest.fixture(scope="module")
def launcher():
    process = Launcher()
    yield process
    process.close()


@pytest.fixture(scope="module")
def prepared(launcher, tmp_path_factory):
    home = Home.prepared(launcher, tmp_path_factory.mktemp("workers") / "home")
    assert home.manage("case", "open", "A1", "--title", "T").status == 0
    yield home
    home.drop()


@pytest.fixture
def home(prepared, tmp_path):
    home = prepared.fresh(tmp_path / "home")
    if home.broker_url.startswith("redis"):
        import redis

        # A database of Redis for these tests alone: a foreign worker would hear our messages.
        number = 1 + zlib.crc32(os.environ.get("PYTEST_XDIST_WORKER", "").encode()) % 15
        home.broker_url = home.broker_url.rsplit("/", 1)[0] + f"/{number}"
        redis.Redis.from_url(home.broker_url).flushdb()
    yield home
    home.drop()


class Worker:
    """One `celery worker` and all its processes."""

    def __init__(self, home: Home, *options: str, app: str = "config") -> None:
        self.home = home
        self.words = home.folder / f"worker-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-l", "WARNING"]
        command += ["--without-gossip", "--without-mingle", *(options or ("-c", "1"))]
        environment = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "CELERY_BROKER_URL")}
        with self.words.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment | home.env, stdout=out, stderr=out, start_new_session=True
            )
        self.started = time.monotonic()

    def ready(self) -> "Worker":
        until(lambda: self.home.sql("SELECT count(*) FROM archive_workerbeat")[0][0], 60, self)
        return self

    def stop(self, how: int = signal.SIGTERM) -> float:
        """Ask it to end; returns after how many seconds it did."""
        asked = time.monotonic()
        self.process.send_signal(how)
        self.process.wait(timeout=30)
        return time.monotonic() - asked

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def worker(home):
    started: list[Worker] = []

    def start(*options: str, app: str = "config") -> Worker:
        started.append(Worker(home, *options, app=app))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def until(true, limit_s: float, *workers: Worker) -> float:
    """Wait until something is true; returns how many seconds that took."""
    start = time.monotonic()
    while not true():
        for one in workers:
            assert one.process.poll() is None, one.words.read_text()
        assert time.monotonic() - start < limit_s, [one.words.read_text()[-4000:] for one in workers]
        time.sleep(0.02)
    return time.monotonic() - start


def count(home: Home, what: str) -> int:
    return home.sql(f"SELECT count(*) FROM {what}")[0][0]


def ingest(home: Home, tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert home.manage("ingest", path, "--case", "A1").status == 0


@pytest.mark.parametrize(
    "pool", [("-P", "prefork", "-c", "2"), ("-P", "threads", "-c", "2"), ("-P", "solo")], ids=str
)
def test_a_worker_runs_the_jobs_and_gives_every_event_its_position_within_two_seconds(
    home, worker, tmp_path, pool
):
    one = worker(*pool).ready()
    until(lambda: not count(home, "archive_custodypending"), 10, one)
    for number in range(3):
        ingest(home, tmp_path, f"{number}.txt", b"some text %d" % number)
        assert until(lambda: not count(home, "archive_custodypending"), 10, one) < 2
    until(lambda: not count(home, "archive_job WHERE state IN ('queued', 'running')"), 60, one)
    assert home.sql("SELECT DISTINCT state, attempts FROM archive_job") == [("done", 1)]
    assert count(home, "archive_custodyevent WHERE type = 'item.read_back'") == 3
    assert until(lambda: not count(home, "archive_custodypending"), 10, one) < 2
    assert one.stop() < 15
    assert home.manage("custody", "verify").out.count("BAD") == 0


def test_a_worker_says_which_queues_it_serves_and_takes_its_word_back_when_it_stops(home, worker):
    one = worker("-c", "1", "-Q", "default,media").ready()
    assert home.sql("SELECT queues FROM archive_workerbeat") == [("default,media",)]
    assert home.call(SLOW, "unserved").answer == ["analyse"]
    assert one.stop(signal.SIGINT) < 15
    assert home.call(SLOW, "unserved").answer == ["default", "media", "analyse"]


def test_a_killed_worker_loses_nothing_and_its_job_runs_again(home, worker):
    one = worker("-c", "1", app=SLOW).ready()
    home.call(SLOW, "enqueue")
    marks = home.folder / "marks"
    until(marks.exists, 20, one)
    one.kill()
    assert home.sql("SELECT state FROM archive_job WHERE name = 'test.slow'") == [("running",)]
    two = worker("-c", "1", app=SLOW)
    until(lambda: count(home, "archive_workerbeat") > 1, 60, two)
    time.sleep(1)
    assert marks.read_text() == "1\n", (
        "a lease that has not ended is respected, whoever's message comes again"
    )
    forward(home, "UPDATE archive_job SET lease_until = '2020-01-01 00:00:00' WHERE name = 'test.slow'")
    until(lambda: count(home, "archive_job WHERE name = 'test.slow' AND state = 'done'"), 30, two)
    assert marks.read_text() == "1\n2\n"


def test_messages_that_were_lost_cost_time_only(home, worker, tmp_path):
    one = worker().ready()
    one.kill()
    ingest(home, tmp_path, "a.txt", b"heard by nobody")
    lose_messages(home)
    two = worker()
    until(lambda: not count(home, "archive_job WHERE state IN ('queued', 'running')"), 60, two)
    lose_messages(home)
    for number in range(6):
        forward(
            home,
            "INSERT INTO archive_job (id, name, queue, payload, state, attempts, error, run_after, worker, created_at,"
            f" item_id) SELECT '{number:032x}', 'archive.read_back', 'default', '{{}}', 'queued', 0, '',"
            " '2020-01-01 00:00:00', '', '2020-01-01 00:00:00', id FROM archive_item",
        )
    assert until(lambda: not count(home, "archive_job WHERE state IN ('queued', 'running')"), 30, two) < 15


def test_two_workers_at_once_do_each_job_once(home, worker, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.txt").write_bytes(b"text %d" % number)
    assert home.manage("ingest", folder, "--case", "A1", "--recursive").status == 0
    one, two = worker("-c", "2", "-Q", "default"), worker("-c", "2", "-Q", "default")
    until(
        lambda: count(home, "archive_job WHERE name = 'archive.read_back' AND state = 'done'") == 20,
        60,
        one,
        two,
    )
    assert home.sql("SELECT DISTINCT attempts FROM archive_job WHERE name = 'archive.read_back'") == [(1,)]
    assert count(home, "archive_custodyevent WHERE type = 'item.read_back'") == 20
    until(lambda: not count(home, "archive_custodypending"), 5, one, two)
    places = home.sql("SELECT position FROM archive_custodyposition ORDER BY position")
    assert places == [(number,) for number in range(len(places))]


def forward(home: Home, statement: str) -> None:
    """Change the database of an instance by hand: let time pass, lose something."""
    if home.database_url.startswith("sqlite"):
        import sqlite3

        with sqlite3.connect(home.folder / "db.sqlite3", timeout=30) as database:
            database.execute(statement)
    else:
        import psycopg

        with psycopg.connect(home.database_url) as database:
            database.execute(statement)


def lose_messages(home: Home) -> None:
    if home.broker_url.startswith("redis"):
        import redis

        redis.Redis.from_url(home.broker_url).flushdb()
    else:
        for message in (home.folder / "broker" / "messages").iterdir():
            message.unlink(missing_ok=True)
