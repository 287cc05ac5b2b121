"""Killed before each of its durable steps, an ingest loses nothing that it confirmed and doubles nothing."""

import itertools
import json

import pytest

from tests import cast

pytestmark = pytest.mark.fault
SOUND = "tests.faults.sound"


def test_ingest_survives_a_kill_before_each_durable_step(prepared, photo, tmp_path):
    """What was confirmed is never lost, and nothing is doubled."""
    killed = 0
    for step in itertools.count(1):
        home = prepared.fresh(tmp_path / f"home{step}")
        ended = home.manage("ingest", photo, "--case", "A1", kill_before=step)
        confirmed = "1 new" in ended.out
        again = home.manage("ingest", photo, "--case", "A1", "--json")
        assert again.status == 0, again.out
        if confirmed:
            assert json.loads(again.out.splitlines()[0])["state"] == "already held"
        home.call("archive.vault", "clean")
        found = home.call(SOUND, "facts").answer
        assert found["faults"] == []
        assert (found["items"], found["stored"]) == (1, 1)
        assert (
            found["acquisitions"] == found["acquired"] == 2 - (not confirmed and found["acquisitions"] == 1)
        )
        home.drop()
        if not ended.killed:
            break
        killed += 1
    assert killed > 4, (
        "file, key, folder and COMMIT were not all seen: does the launcher still stand in the way?"
    )


def test_ingest_of_many_survives_kills_all_along(prepared, tmp_path):
    """Of a batch, each file is either confirmed and kept, or taken by the second run."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.jpg").write_bytes(cast.jpeg(seed=number))
    home = prepared.fresh(tmp_path / "whole")
    steps = len(home.manage("ingest", folder, "--recursive", "--case", "A1", count=True).steps)
    home.drop()
    assert steps >= 6 * 5
    for step in range(2, steps + 1, 4):
        home = prepared.fresh(tmp_path / f"home{step}")
        ended = home.manage("ingest", folder, "--recursive", "--case", "A1", "--json", kill_before=step)
        assert ended.killed
        confirmed = [json.loads(line)["path"] for line in ended.out.splitlines() if '"state": "new"' in line]
        again = home.manage("ingest", folder, "--recursive", "--case", "A1", "--json")
        states = {}
        for line in again.out.splitlines()[:-1]:
            told = json.loads(line)
            states[told["path"]] = told["state"]
        assert len(states) == 6
        assert all(states[path] == "already held" for path in confirmed), "a confirmed file was lost"
        home.call("archive.vault", "clean")
        found = home.call(SOUND, "facts").answer
        assert found["faults"] == [] and (found["items"], found["stored"]) == (6, 6)
        home.drop()


def test_the_order_of_durable_steps_survives_a_power_cut(prepared, photo, tmp_path):
    """Power loss may undo what was not synced: so file, name, folder, and only then the row that names them."""
    home = prepared.fresh(tmp_path / "home")
    steps = home.manage("ingest", photo, "--case", "A1", count=True).steps
    home.drop()
    files = [i for i, step in enumerate(steps) if step.startswith("fsync") and step.endswith(".part")]
    names = [i for i, step in enumerate(steps) if step.startswith("rename")]
    commits = [i for i, step in enumerate(steps) if step.startswith("commit")]
    key, blob = names[-2:]
    assert steps[key].endswith(".key") and not steps[blob].endswith(".key")
    folder = steps[blob].rsplit(" ", 1)[1].rsplit("/", 1)[0]
    synced = steps.index(f"fsync {folder}", blob)
    assert max(files) < key < blob < synced < commits[0], steps
    for name in (key, blob):
        temporary = steps[name].split(" ")[1]
        assert steps.index(f"fsync {temporary}") < name, (
            "a file gets its name only when its bytes are on the disk"
        )


def test_the_database_waits_for_the_disk(prepared):
    """COMMIT is durable when it returns."""
    if prepared.database_url.startswith("sqlite"):
        assert prepared.call("tests.faults.test_ingest", "synchronous").answer == [2, "wal"]


def synchronous() -> list:
    """SQLite's promise on a connection of ours: 2 is FULL."""
    from django.db import connection

    with connection.cursor() as cursor:
        full = cursor.execute("PRAGMA synchronous").fetchone()[0]
        return [full, cursor.execute("PRAGMA journal_mode").fetchone()[0]]
