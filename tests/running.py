"""./run as the tests start it: with real processes, on a folder of its own, without the set-up stage."""

import contextlib
import hashlib
import http.client
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Run:
    """One ./run; its words are collected as they come. `inside` starts the command line, `more` is environment."""

    def __init__(self, data, *options, inside=(), **more):
        left_out = (
            "AMPARO_DATA",
            "DATABASE_URL",
            "CELERY_BROKER_URL",
            "MODEL_MIRROR",
            "DJANGO_SETTINGS_MODULE",
        )
        env = {name: value for name, value in os.environ.items() if name not in left_out} | more
        self.words = data.with_suffix(".words")
        with self.words.open("wb") as out:
            command = [*inside, sys.executable, ROOT / "config/launch.py", "--data", data, *options]
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
