"""What ./run promises about ports, folders and the processes that it starts."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from config import launch

ROOT = Path(__file__).resolve().parents[3]


def until(condition, limit_s=10):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def child(tmp_path):
    made = []

    def make(code):
        made.append(
            launch.Child("worker", [sys.executable, "-c", code], log=tmp_path / "log", env=dict(os.environ))
        )
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.end()


def test_a_taken_port_gives_way_to_the_next_free_one(monkeypatch):
    with socket.create_server((launch.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(launch, "FIRST_PORT", port)
        with launch.listen(None) as listener:
            assert port < listener.getsockname()[1] < port + launch.PORTS_TRIED


def test_a_port_that_was_asked_for_is_taken_exactly_or_refused():
    with socket.create_server((launch.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(launch.Trouble, match=f"Port {port} cannot be used.*--port N"):
            launch.listen(port)
    with launch.listen(port) as listener:
        assert listener.getsockname()[1] == port


def test_a_second_run_on_the_same_folder_says_where_the_first_one_is(tmp_path):
    with launch.claim(tmp_path / "instance") as lock:
        assert (tmp_path / "instance").stat().st_mode & 0o777 == 0o700
        lock.write("http://127.0.0.1:8123/")
        lock.flush()
        with pytest.raises(
            launch.Trouble, match=r"already serves this instance folder: http://127.0.0.1:8123/"
        ):
            launch.claim(tmp_path / "instance")
    launch.claim(tmp_path / "instance").close()


@pytest.mark.parametrize("options", [["--port", "0"], ["--port", "http"], ["--prot", "8000"], ["serve"]])
def test_a_mistyped_option_is_refused_before_anything_is_done(options, tmp_path):
    ran = subprocess.run(
        [sys.executable, ROOT / "config/launch.py", "--options", *options], cwd=tmp_path, capture_output=True
    )
    assert ran.returncode == 2
    assert not list(tmp_path.iterdir())


def test_options_are_read_by_a_python_with_nothing_installed(tmp_path):
    code = [
        sys.executable,
        "-I",
        "-S",
        ROOT / "config/launch.py",
        "--options",
        "--port",
        "8123",
        "--data",
        tmp_path,
    ]
    assert subprocess.run(code).returncode == 0


def test_a_child_that_dies_is_started_again_after_a_pause(child):
    one = child("import time; time.sleep(60)")
    first = one.process.pid
    os.kill(first, signal.SIGKILL)
    assert until(
        lambda: (sentence := one.look()) and re.search(r"signal 9\) and starts again in 1 s", sentence)
    )
    assert one.look() == "" and one.process is None
    one.due = 0
    one.look()
    assert one.process.pid != first and one.lives()


def test_the_pauses_of_a_child_that_keeps_dying_grow_to_half_a_minute(child):
    one, pauses = child("raise SystemExit(3)"), []
    for _ in range(7):
        assert until(lambda: not one.lives())
        pauses.append(int(re.search(r"status 3\) and starts again in (\d+) s", one.look())[1]))
        one.due = 0
        one.look()
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_what_a_child_started_ends_with_it(child, tmp_path):
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    one = child(code)
    assert until(lambda: one.log.read_text().strip())
    grandchild = int(one.log.read_text())
    one.end()
    assert until(lambda: not alive(grandchild))


def test_no_child_outlives_a_killed_run(tmp_path):
    """Guards: a supervisor ended by SIGKILL leaves no orphan."""
    code = (
        "import os, pathlib, sys, time; from config import launch;"
        "c = launch.Child('x', ['sleep', '60'], log=pathlib.Path(sys.argv[1]), env=dict(os.environ)); c.start();"
        "print(c.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "log"], stdout=subprocess.PIPE, cwd=ROOT
    )
    child_pid = int(parent.stdout.readline())
    assert alive(child_pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert until(lambda: not alive(child_pid))


def test_the_state_that_was_prepared_is_known_by_its_sources(tmp_path, monkeypatch):
    for name in (
        "requirements.txt",
        "config/a.py",
        "static/css/b.css",
        "archive/migrations/0001.py",
        "locale/ar/c.po",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(launch, "ROOT", tmp_path)
    amparo = object.__new__(launch.Amparo)
    amparo.env = {}
    seen = {amparo.fingerprint()}
    assert amparo.fingerprint() in seen
    for name in ("static/css/b.css", "archive/migrations/0001.py", "locale/ar/c.po"):
        (tmp_path / name).write_text("12")
        seen.add(amparo.fingerprint())
    amparo.env = {"DATABASE_URL": "postgres://elsewhere"}
    seen.add(amparo.fingerprint())
    assert len(seen) == 5
