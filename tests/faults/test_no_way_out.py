"""Nothing reaches out: the whole program does its work where there is no network, and never tries to leave.

A network namespace has no route but to itself. An audit hook in every Python process of ours writes down each name
that is looked up and each address that is called; what opens strangers' files has no network in any case.
"""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import Run, settled

pytestmark = [pytest.mark.fault, pytest.mark.embedded, pytest.mark.timeout(420)]

WATCH = """
import os, socket, sys

HERE = {None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", b"localhost", b"127.0.0.1", socket.gethostname()}

def note(event, arguments):
    place = None
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg") and isinstance(arguments[1], tuple):
        place = arguments[1][0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "urllib.Request"):
        place = arguments[0]
    if place not in HERE:
        file = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, f"{event} {place!r} {sys.argv[:3]}\\n".encode())
        os.close(file)

sys.addaudithook(note)
"""
ENTER = """
import fcntl, os, socket, struct, sys

with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up and running
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """The start of a command line that runs in a namespace without a route, with every Python process watched."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch/sitecustomize.py").write_text(WATCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "watch"))
    monkeypatch.setenv("WATCHED", str(tmp_path / "attempts"))
    # The test's own settings turn these off for the processes they start; here the program has to do it itself.
    for name in (
        "YOLO_OFFLINE",
        "YOLO_AUTOINSTALL",
        "YOLO_CONFIG_DIR",
        "HF_HUB_OFFLINE",
        "OPENVINO_TELEMETRY",
    ):
        monkeypatch.delenv(name, raising=False)
    return ["unshare", "--map-root-user", "--net", sys.executable, "-c", ENTER]


def attempts(tmp_path):
    path = tmp_path / "attempts"
    return path.read_text().splitlines() if path.exists() else []


def test_the_watch_sees_an_attempt_and_there_is_no_route(inside, tmp_path):
    code = "import socket; socket.create_connection(('192.0.2.1', 443), timeout=5)"
    ran = subprocess.run([*inside, sys.executable, "-c", code], capture_output=True, text=True)
    assert "Network is unreachable" in ran.stderr
    assert any("192.0.2.1" in line for line in attempts(tmp_path))


def test_the_whole_program_works_without_a_network_and_never_tries_to_leave(inside, tmp_path):
    data = tmp_path / "instance"
    mirror = os.environ.get("MODEL_MIRROR", "")
    run = Run(data, inside=inside, MODEL_MIRROR=mirror if Path(mirror).is_absolute() else "")
    try:
        run.says("Web, workers and database work")
        settled(data)
        assert run.stop() == 0
    finally:
        run.end()
    with sqlite3.connect(data / "db.sqlite3") as database:
        types = {row[0] for row in database.execute("SELECT DISTINCT type FROM archive_custodyevent")}
    assert {"item.stored", "item.read_back", "item.analysed"} <= types
    assert attempts(tmp_path) == []
