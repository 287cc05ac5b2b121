"""Killed before each durable step of its jobs, a worker loses nothing, and the next one doubles nothing."""

import subprocess

import pytest

from tests import cast

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]
SOUND = "tests.faults.sound"
STORED, SEEN = ("archive.read_back", "archive.examine"), ("archive.proxy",)


@pytest.fixture(scope="module")
def with_photo(prepared, tmp_path_factory):
    """One photograph taken in; no job has run."""
    folder = tmp_path_factory.mktemp("photo")
    (folder / "photo.jpg").write_bytes(cast.jpeg(320, 240, seed=3))
    yield from taken(prepared, folder, "photo.jpg")


@pytest.fixture(scope="module")
def with_video(prepared, tmp_path_factory):
    """A video that browsers do not play, examined: what it lacks is its proxy."""
    folder = tmp_path_factory.mktemp("video")
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10:duration=1"]
    subprocess.run([*command, "-c:v", "mpeg4", folder / "old.avi"], check=True)
    for home in taken(prepared, folder, "old.avi"):
        found = home.call(SOUND, "recover", *STORED).answer
        assert ["archive.proxy", "queued"] in found["jobs"], found
        yield home


def taken(prepared, folder, name):
    home = prepared.fresh(folder / "home")
    assert home.manage("ingest", folder / name, "--case", "A1").status == 0
    yield home
    home.drop()


def kill_at_each_step(home, tmp_path, name: str, recover: tuple[str, ...], at_most: int) -> tuple[list, dict]:
    """Run a kind of job and kill it before its steps (all, or evenly spread ones); return them and what a whole run gives."""
    whole = home.fresh(tmp_path / "whole")
    ended = whole.call(SOUND, "run", name, count=True)
    assert ended.answer == 1, ended.out
    steps, expected = ended.steps, whole.call(SOUND, "recover", *recover).answer
    assert expected["faults"] == [] and expected["errors"] == [], expected
    whole.drop()
    every = max(1, -(-len(steps) // at_most))
    chosen = sorted({*range(1, len(steps) + 1, every), len(steps)})
    for step in chosen:
        copy = home.fresh(tmp_path / f"home{step}")
        killed = copy.call(SOUND, "run", name, kill_before=step)
        assert killed.killed, killed.out
        found = copy.call(SOUND, "recover", *recover).answer
        # The row keeps the words of the attempt that was killed until another ends well: it may not have got that far.
        assert {k: v for k, v in found.items() if k != "errors"} == {
            k: v for k, v in expected.items() if k != "errors"
        }, f"killed before step {step} of {steps}"
        copy.drop()
    return chosen, expected


def test_reading_back_survives(with_photo, tmp_path):
    """Until the bytes were read back an item says so, and it is said once."""
    points, expected = kill_at_each_step(with_photo, tmp_path, "archive.read_back", STORED, 20)
    assert len(points) >= 3 and expected["read_back"] == 1


def test_examining_survives(with_photo, tmp_path):
    """Type, claims and renditions are found once, whatever was half done."""
    points, expected = kill_at_each_step(with_photo, tmp_path, "archive.examine", STORED, 6)
    assert len(points) >= 5
    assert len(expected["renditions"]) >= 2


@pytest.mark.embedded
def test_making_a_proxy_survives(with_video, tmp_path):
    """A browser-playable copy is made once, and no plaintext is left behind."""
    points, expected = kill_at_each_step(with_video, tmp_path, "archive.proxy", SEEN, 4)
    assert len(points) >= 4 and expected["renditions"].count("proxy") == 1


def test_analysing_survives(with_photo, tmp_path):
    """What a model saw is recorded once for each recipe."""
    home = with_photo.fresh(tmp_path / "examined")
    assert home.call(SOUND, "recover", *STORED).answer["faults"] == []
    points, expected = kill_at_each_step(home, tmp_path, "triage.analyse", ("triage.analyse",), 20)
    assert len(points) >= 2
    assert expected["analyses"]["all"] >= 1 and expected["analyses"]["doubled"] == 0
    home.drop()
