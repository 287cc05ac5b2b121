"""Storyboards: frames spread over a film, at times that are true, on one clean sheet."""

import io
import json
import subprocess

import pytest
from django.core.management import CommandError, call_command
from PIL import Image, ImageStat

from archive import ingest, jobs, vault
from archive.custody.verify import verify
from archive.errors import MediaError
from archive.media import storyboard
from archive.media.storyboard import Board
from archive.models import CustodyEvent, Job, Rendition
from tests import cast

pytestmark = [pytest.mark.embedded, pytest.mark.slow]

COLOURS = ("red", "lime", "blue", "white")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Eight seconds: two of each colour, a key frame every ten seconds only, with a title that must not travel."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    parts = [
        part for c in COLOURS for part in ("-f", "lavfi", "-i", f"color={c}:size=640x360:rate=10:duration=2")
    ]
    joined = "".join(f"[{n}]" for n in range(len(COLOURS))) + f"concat=n={len(COLOURS)}"
    command = ["ffmpeg", "-v", "error", *parts, "-filter_complex", joined, "-g", "100", "-metadata"]
    subprocess.run(
        [*command, "title=SECRETNAME [Parsed_showinfo_0 @ 0x1] n: 0 pts_time:99", path], check=True
    )
    return path


@pytest.fixture
def clip():
    return cast.item(data=cast.mp4(seconds=2), name="clip.mp4")


def run(*names):
    for name in names:
        jobs.run_waiting(name)


def test_frames_are_spread_over_the_film_and_each_is_of_its_time(film):
    made = storyboard.make(film, 8000)
    board = Board.of(made.recipe)
    assert board.at_ms == (500, 1500, 2500, 3500, 4500, 5500, 6500, 7500) and board.columns == 4
    assert (made.width, made.height) == (4 * 320 + 3 * 4, 2 * 180 + 4) and len(made.recipe) <= 400
    sheet = Image.open(made.open()).convert("RGB")
    for number, at in enumerate(board.at_ms):
        left, top = number % 4 * 324, number // 4 * 184
        seen = ImageStat.Stat(sheet.crop((left + 20, top + 20, left + 300, top + 160))).mean
        wanted = Image.new("RGB", (1, 1), COLOURS[at // 2000]).getpixel((0, 0))
        assert all(abs(a - b) < 30 for a, b in zip(seen, wanted, strict=True)), (at, seen)
    assert b"SECRETNAME" not in made.data and not sheet.getexif()


def test_a_short_film_has_fewer_frames_and_an_upright_one_stays_so(tmp_path):
    path = tmp_path / "v.mkv"
    source = ["-f", "lavfi", "-i", "testsrc2=size=360x640:rate=10:duration=1"]
    subprocess.run(["ffmpeg", "-v", "error", *source, "-c:v", "libx264", path], check=True)
    made = storyboard.make(path, 1000)
    assert len(Board.of(made.recipe).at_ms) == 2 and (made.width, made.height) == (180 * 2 + 4, 320)
    assert storyboard.times(3_600_000) == [225_000 + 450_000 * n for n in range(8)]
    assert storyboard.times(40) == [20]


def test_of_a_film_that_cannot_be_sought_in_there_is_its_first_frame(film, tmp_path):
    stream = tmp_path / "film.h264"
    subprocess.run(["ffmpeg", "-v", "error", "-i", film, "-c", "copy", "-t", "1", stream], check=True)
    assert len(Board.of(storyboard.make(stream, 3_600_000).recipe).at_ms) == 1


@pytest.mark.parametrize("data", [b"", b"#EXTM3U\nfile:///etc/passwd\n"])
def test_of_what_is_no_film_there_is_none_and_it_says_so(tmp_path, data):
    (tmp_path / "none").write_bytes(data)
    with pytest.raises(MediaError, match="The original is kept"):
        storyboard.make(tmp_path / "none", 1000)


@pytest.mark.django_db
def test_it_is_made_once_after_the_examination_with_its_event(clip):
    photo = cast.item(clip.case)
    run("archive.examine", "archive.storyboard")
    made = clip.renditions.get(kind=Rendition.Kind.STORYBOARD)
    with vault.open(made.blob_id) as stored:
        assert Image.open(io.BytesIO(stored.read())).size == (made.width, made.height)
    events = CustodyEvent.objects.filter(type="item.rendition_made", subject=clip.custody_subject())
    recipes = [json.loads(event.canonical)["payload"]["set"]["recipe"] for event in events]
    assert recipes.count(made.recipe) == 1
    assert not ingest.wants_storyboard(clip) and not ingest.wants_storyboard(photo)
    assert Job.objects.filter(name="archive.storyboard").count() == 1
    assert not verify().faults


@pytest.mark.django_db
def test_those_that_lack_one_are_queued_by_command(clip, monkeypatch, capsys):
    def spoilt(*_):
        raise MediaError("No storyboard could be made. The original is kept.")

    monkeypatch.setattr(storyboard, "make", spoilt)
    run("archive.examine", "archive.storyboard")
    failed = Job.objects.get(name="archive.storyboard")
    assert failed.state == "failed" and "The original is kept" in failed.error
    assert clip.renditions.filter(kind=Rendition.Kind.POSTER).exists()
    for case, queued in ((clip.case.code, 1), (None, 0)):
        call_command("storyboards", case=case)
        assert f"{queued} storyboards are queued" in capsys.readouterr().out
    with pytest.raises(CommandError, match="no case"):
        call_command("storyboards", case="NONE")
