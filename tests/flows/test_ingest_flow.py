"""The command line takes in real files, honest and not, twice, and the workers say what each of them is."""

import json
import os

import pytest
from django.core.management import CommandError, call_command

from archive import jobs
from archive.custody.verify import verify
from archive.models import Acquisition, CustodyEvent, Item
from tests import cast
from tests.unit.archive import media_files

pytestmark = pytest.mark.django_db
LONG = "x" * 210 + ".jpg"


@pytest.fixture
def folder(tmp_path):
    """A card as it comes out of a camera, and worse."""
    root = cast.media_folder(tmp_path / "card")
    (root / "huge.png").write_bytes(media_files.png_claiming(60_000, 60_000))
    (root / "new\nline.jpg").write_bytes(cast.jpeg(seed=21))
    (root / "bidi\u202egpj.exe.jpg").write_bytes(cast.jpeg(seed=22))
    (root / LONG).write_bytes(cast.jpeg(seed=23))
    (root / "notes.txt").write_bytes("Zeugin: über die Brücke".encode())
    with open(os.fsencode(root) + b"/latin\xe9.jpg", "wb") as file:
        file.write(cast.jpeg(seed=24))
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "same.jpg").write_bytes(cast.jpeg(seed=1))  # the bytes of photo.jpg
    (root / "link.jpg").symlink_to(root / "photo.jpg")
    (root / "away").symlink_to("/etc")
    os.mkfifo(root / "pipe.jpg")
    return root


def run(capsys, *words, expect: int | None = None) -> tuple[list[dict], dict]:
    try:
        call_command("ingest", *map(str, words), "--json")
        status = 0
    except SystemExit as ended:
        status = ended.code
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert expect is None or status == expect
    return lines[:-1], lines[-1]["summary"]


def test_a_card_is_taken_whole_and_a_second_time_nothing_twice(folder, capsys):
    case = cast.case(code="A1")
    told, summary = run(capsys, folder, "--case", "A1", "--recursive", expect=1)
    assert summary == {"new": 11, "already_held": 1, "not_taken": 3}
    refused = {
        line["path"].rsplit("/", 1)[1]: line["reason"] for line in told if line["state"] == "not taken"
    }
    assert refused == {
        "link.jpg": "is a link: give the path it leads to",
        "away": "is a link: give the path it leads to",
        "pipe.jpg": "is neither a file nor a folder",
    }
    names = set(Acquisition.objects.values_list("file_name", flat=True))
    assert {"new\nline.jpg", "bidi\u202egpj.exe.jpg", LONG, "latin\\xe9.jpg", "same.jpg"} <= names
    assert "card/deep/er/same.jpg" in Acquisition.objects.values_list("path", flat=True)
    told, summary = run(capsys, folder, "--case", "A1", "--recursive")
    assert summary == {"new": 0, "already_held": 12, "not_taken": 3}
    assert case.items.count() == 11 and Acquisition.objects.count() == 24
    assert CustodyEvent.objects.filter(type="item.stored").count() == 11
    assert not verify().faults


def test_the_workers_say_what_each_file_is_and_none_is_dropped(folder, capsys):
    cast.case(code="A1")
    run(capsys, folder, "--case", "A1", "--recursive")
    for name in ("archive.read_back", "archive.examine", "archive.proxy"):
        jobs.run_waiting(name)
    found = {item.file_name: item for item in Item.objects.all()}
    assert len(found) == 11 and all(item.read_back_at and item.examined_at for item in found.values())
    assert (found["photo.jpg"].kind, found["photo.jpg"].media_type) == ("image", "image/jpeg")
    assert found["photo.jpg"].width == 64 and found["photo.jpg"].renditions.count() >= 2
    assert (found["clip.mp4"].kind, found["clip.mp4"].duration_ms) == ("video", 1000)
    assert found["disguised.jpg"].media_type == "application/pdf"
    conditions = {name: item.condition for name, item in found.items()}
    for name in ("photo.jpg", "clip.mp4", "new\nline.jpg", "latin\\xe9.jpg", LONG):
        assert conditions[name] == conditions["photo.jpg"], name
    for name in ("empty.jpg", "corrupt.jpg", "huge.png", "disguised.jpg"):
        assert conditions[name] != conditions["photo.jpg"], name
        assert found[name].condition, name
    assert not verify().faults


def test_without_recursive_a_folder_is_named_and_files_are_taken(folder, capsys):
    cast.case(code="A1")
    told, summary = run(capsys, folder, folder / "photo.jpg", "--case", "A1", expect=1)
    assert summary == {"new": 1, "already_held": 0, "not_taken": 1}
    assert "--recursive" in told[0]["reason"]


def test_a_source_is_kept_with_the_item(folder, capsys):
    case = cast.case(code="A1")
    source = cast.source(case, code="S1")
    run(capsys, folder / "photo.jpg", "--case", "A1", "--source", "S1", expect=0)
    assert Item.objects.get().source == source and Acquisition.objects.get().source == source


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--case", "NONE"], "There is no case NONE"), (["--case", "A1", "--source", "S9"], "has no source S9")],
)
def test_a_case_or_source_that_is_not_there_is_said_before_anything_is_taken(folder, words, sentence):
    cast.case(code="A1")
    with pytest.raises(CommandError, match=sentence):
        call_command("ingest", str(folder / "photo.jpg"), *words)
    assert not Item.objects.exists()


def test_a_path_that_is_not_there_is_told_and_the_others_are_taken(folder, capsys):
    cast.case(code="A1")
    told, summary = run(capsys, folder / "nothing.jpg", folder / "photo.jpg", "--case", "A1", expect=1)
    assert summary["new"] == 1 and "No such file" in told[0]["reason"]


def test_words_for_people(folder, capsys):
    cast.case(code="A1")
    call_command("ingest", str(folder / "photo.jpg"), "--case", "A1")
    assert (
        "1 new; 0 already held (nothing taken twice, the acquisition noted); 0 not taken"
        in capsys.readouterr().out
    )
