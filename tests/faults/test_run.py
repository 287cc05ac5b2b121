"""./run from an empty folder to a stopped one, with real processes."""

import json
import os
import re
import signal
import socket
import sqlite3
import time

import pytest

from tests.running import Run, gone, settled, state_of, tree

pytestmark = [pytest.mark.fault, pytest.mark.embedded, pytest.mark.timeout(420)]


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


def test_a_file_of_the_demo_that_no_model_can_read_is_said_to_be_one(first):
    data, _ = first
    with sqlite3.connect(data / "db.sqlite3") as database:
        found = database.execute(
            "SELECT i.condition, s.state FROM archive_item i JOIN archive_acquisition a ON a.item_id = i.id "
            "JOIN triage_standing s ON s.item_id = i.id WHERE a.file_name = 'damaged.jpg'"
        ).fetchall()
    assert found == [("cannot decode", "unreadable")]


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
    assert seconds < 30, "2 s on a machine that does nothing else"


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
