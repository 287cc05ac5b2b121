"""./run from an empty folder to a stopped one, with real processes."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.fault, pytest.mark.timeout(420)]


class Run:
    """One ./run on a folder, without its set-up stage; its words are collected as they come."""

    def __init__(self, data, *options):
        left_out = (
            "AMPARO_DATA",
            "DATABASE_URL",
            "CELERY_BROKER_URL",
            "MODEL_MIRROR",
            "DJANGO_SETTINGS_MODULE",
        )
        env = {name: value for name, value in os.environ.items() if name not in left_out}
        self.words = data.with_suffix(".words")
        with self.words.open("wb") as out:
            command = [sys.executable, ROOT / "config/launch.py", "--data", data, *options]
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=env)
        self.started = time.monotonic()

    def says(self, pattern, limit_s=180):
        """Wait for a line; returns its match and the seconds since the start."""
        while not (found := re.search(pattern, self.words.read_text())):
            assert self.process.poll() is None, self.words.read_text()
            assert time.monotonic() - self.started < limit_s, self.words.read_text()
            time.sleep(0.05)
        return found, time.monotonic() - self.started

    def port(self):
        return int(self.says(r"Amparo     http://127\.0\.0\.1:(\d+)/")[0][1])

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def children(self):
        return children(self.process.pid)

    def stop(self):
        """Ctrl-C. Returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def children(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def tree(pid):
    """This process and all that it started, directly or not."""
    return [pid, *(below for child in children(pid) for below in tree(child))]


def gone(pids, limit_s=30):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        left = [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]
        if not left:
            return True
        time.sleep(0.1)
    return False


def state_of(data):
    """What a second start must not change: keys, vault, custody log, people."""
    digest = {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("keys", "vault")
        for path in sorted((data / folder).rglob("*"))
        if path.is_file()
    }
    with sqlite3.connect(data / "db.sqlite3") as database:
        for table in (
            "archive_custodyevent",
            "archive_user",
            "archive_item",
            "archive_signinlink",
            "archive_case",
        ):
            digest[table] = database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
    return digest


def settled(data, limit_s=180):
    """Wait until the workers have nothing left to do."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        with sqlite3.connect(data / "db.sqlite3", timeout=30) as database:
            left = database.execute(
                "SELECT count(*) FROM archive_job WHERE state IN ('queued', 'running')"
            ).fetchone()
            pending = database.execute("SELECT count(*) FROM archive_custodypending").fetchone()
        if left == pending == (0,):
            return
        time.sleep(0.5)
    pytest.fail("the workers did not come to an end")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A first start, stopped again when the demo has been worked through."""
    data = tmp_path_factory.mktemp("run") / "instance"
    run = Run(data)
    try:
        run.says("Web, workers and database work")
        link = run.says(r"Sign in    http://127\.0\.0\.1:\d+(/\S+)")[0][1]
        told = {
            "health": run.get("/healthz"),
            "door": run.get(link)[0],
            "words": run.words.read_text(),
            "pids": tree(run.process.pid),
        }
        settled(data)
        told["status"] = run.stop()
        yield data, told
    finally:
        run.end()


def test_the_first_start_makes_an_instance_that_works(first):
    data, told = first
    status, body = told["health"]
    assert status == 200 and json.loads(body)["works"] is True
    assert data.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in (data / "keys").iterdir()} == {0o600}
    assert (data / "sign-ins.txt").stat().st_mode & 0o777 == 0o600


def test_it_prints_a_link_for_the_first_administrator_and_a_sign_in_for_each_role(first):
    _, told = first
    assert told["door"] in (200, 302)
    for role in ("administrator", "researcher", "reviewer", "legal", "data scientist", "observer"):
        assert re.search(role.replace(" ", "[ _]"), told["words"]), role
    assert "demo" in told["words"].lower()


def test_ctrl_c_stops_every_process(first):
    _, told = first
    assert told["status"] == 0
    assert len(told["pids"]) > 5 and gone(told["pids"])


def test_a_second_start_takes_seconds_and_changes_nothing(first):
    data, _ = first
    before = state_of(data)
    run = Run(data)
    try:
        _, seconds = run.says("Amparo     http")
        run.says("Web, workers and database work")
        assert run.stop() == 0
    finally:
        run.end()
    assert state_of(data) == before
    assert seconds < 15, "5 s on a machine that does nothing else"


def test_a_killed_web_server_and_worker_come_back(first):
    """Guards: killing web or worker at any moment loses nothing; here, that somebody starts them again."""
    data, _ = first
    before = state_of(data)
    run = Run(data)
    try:
        run.says("Web, workers and database work")
        for pid in (killed := run.children()):
            os.kill(pid, signal.SIGKILL)
        run.says(r"web ended \(signal 9\)")
        run.says(r"worker-media ended \(signal 9\)")
        run.says(r"worker-analyse ended \(signal 9\)")
        end = time.monotonic() + 60
        while len(set(run.children()) - set(killed)) < 3 or run.get("/healthz")[0] != 200:
            assert time.monotonic() < end, run.words.read_text()
            time.sleep(0.2)
        assert run.stop() == 0
    finally:
        run.end()
    assert state_of(data) == before


def test_a_killed_run_leaves_no_process_behind(first):
    data, _ = first
    run = Run(data)
    try:
        run.says("Web, workers and database work")
        pids = tree(run.process.pid)
        run.process.kill()
        run.process.wait()
        assert gone(pids)
    finally:
        run.end()


def test_a_port_that_is_taken_is_said_and_nothing_is_made(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = Run(tmp_path / "instance", "--port", str(taken.getsockname()[1]))
        assert run.process.wait(timeout=20) == 1
    assert "cannot be used" in run.words.read_text()
    assert not (tmp_path / "instance" / "keys").exists()
