"""Publishing: one checkpoint pins tree and map; what was left out can be shown, and what never was."""

import base64
import hashlib
import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from archive import custody
from archive.custody import Actor, map, proofs, publish_dir, showing, tiles
from archive.custody.canonical import event_hash
from archive.custody.checkpoint import parse_note, public_bytes, signed_by, signing_key
from archive.custody.map_key import public_key_der
from archive.custody.publish import publish, stages
from archive.custody.tree import root
from archive.errors import BadProof, KeyUnavailable, NotFound
from archive.models import Checkpoint, CustodyEvent, CustodyPosition, MapHead
from tests.superuser import superuser

pytestmark = [pytest.mark.django_db(transaction=True)]
OPERATOR = Actor.operator()
BLOB = "ab" * 32


def happen(subject: str, *, blob: str = "", times: int = 1) -> None:
    """Some events of a subject; `item.stored` of a file when a blob is named."""
    with transaction.atomic():
        for _ in range(times):
            payload = {"record": "test.item", "set": {"blob": blob}} if blob else {"n": "1"}
            kind = "item.stored" if blob else "item.hashed"
            custody.record(subject, event=kind, actor=Actor.system("test"), payload=payload)


def leaves(upto: int) -> list[bytes]:
    rows = CustodyPosition.objects.filter(position__lt=upto).order_by("position")
    return [event_hash(bytes(body)) for body in rows.values_list("event__canonical", flat=True)]


def test_one_signature_pins_tree_and_map():
    happen("item:a", blob=BLOB)
    happen("item:b", times=3)
    row = publish(actor=OPERATOR)
    parsed = parse_note(row.note)
    assert signed_by(parsed, parsed.origin, public_bytes(signing_key()))
    assert parsed.root == root(leaves(parsed.size))
    stated = json.loads(bytes(row.map.event.canonical))["payload"]
    assert stated == {
        "size": 4,
        "entries": 3,
        "root": row.map.root,
        "key": base64.b64encode(public_key_der()).decode(),
    }
    assert row.map.event.position.position < row.size
    for name, number in (
        ("item:a", 1),
        ("item:b", 3),
        (f"file:{BLOB}", 1),
        ("item:c", 0),
        ("system:main", 0),
    ):
        proof = map.prove(name, row.map)
        assert proof.number == number, name
        map.verify(bytes.fromhex(row.map.root), proof, public_key_der())


def test_an_earlier_checkpoint_still_proves_what_was_and_was_not_there_on_its_day():
    happen("item:a")
    before = publish(actor=OPERATOR)
    happen("item:a", times=2)
    happen("item:b", blob=BLOB)
    happen("item:c", blob=BLOB)
    after = publish(actor=OPERATOR)
    assert [map.prove("item:a", row.map).number for row in (before, after)] == [1, 3]
    assert [map.prove(f"file:{BLOB}", row.map).number for row in (before, after)] == [0, 2]
    proofs.verify_consistency(
        before.size,
        after.size,
        proofs.consistency(before.size, after.size),
        bytes.fromhex(before.root),
        bytes.fromhex(after.root),
    )


def test_without_news_nothing_is_signed_and_the_newest_is_given():
    happen("item:a")
    row = publish(actor=OPERATOR)
    assert publish(actor=OPERATOR) == row == Checkpoint.objects.get()
    assert publish(actor=OPERATOR, force=True) != row


def test_many_names_come_into_the_map_in_steps(monkeypatch):
    from archive.custody import publish as module

    monkeypatch.setattr(module, "MAP_STEP", 7)
    for i in range(20):
        happen(f"item:{i}")
    row = publish(actor=OPERATOR)
    assert MapHead.objects.count() >= 3 and row.map.size >= 20
    assert all(map.prove(f"item:{i}", row.map).number == 1 for i in range(20))


def test_stages_tell_how_far_events_came_and_since_when_they_wait():
    happen("item:a")
    by_name = {stage.name: stage for stage in stages()}
    assert [by_name[n].events for n in ("recorded", "sequenced", "integrated", "published")] == [1, 0, 0, 0]
    assert by_name["sequenced"].waiting_since and by_name["integrated"].waiting_since
    publish(actor=OPERATOR)
    by_name = {stage.name: stage for stage in stages()}
    assert by_name["published"].events == 2 and by_name["published"].lag_s == 0
    assert by_name["recorded"].events == 3, "the checkpoint's own event is recorded, and waits"


@pytest.mark.parametrize("lost", ["MAP_KEY_FILE", "SIGNING_KEY_FILE"])
def test_without_a_key_nothing_is_signed(lost, settings, tmp_path):
    happen("item:a")
    setattr(settings, lost, tmp_path / "lost")
    with pytest.raises(KeyUnavailable, match="lost"):
        publish(actor=OPERATOR)
    assert not Checkpoint.objects.exists()


def test_another_map_key_is_refused(settings, tmp_path):
    from archive.custody.map_key import new_key

    happen("item:a")
    publish(actor=OPERATOR)
    happen("item:b")
    settings.MAP_KEY_FILE = tmp_path / "map.key"
    settings.MAP_KEY_FILE.write_bytes(new_key())
    settings.MAP_KEY_FILE.chmod(0o600)
    with pytest.raises(KeyUnavailable, match="put the former key back"):
        publish(actor=OPERATOR)


def test_what_is_changed_after_integration_no_longer_agrees_with_the_signed_tree():
    happen("item:a", times=3)
    row = publish(actor=OPERATOR)
    with superuser() as hand:
        pk = CustodyEvent.objects.get(subject="item:a", number=2).pk
        hand.put_body(pk, bytes(CustodyEvent.objects.get(pk=pk).canonical) + b" ", rehash=True)
    happen("item:a")
    after = publish(actor=OPERATOR)
    assert root(leaves(after.size)) != bytes.fromhex(after.root), "the tree still holds the event as it was"
    proofs.verify_consistency(
        row.size,
        after.size,
        proofs.consistency(row.size, after.size),
        bytes.fromhex(row.root),
        bytes.fromhex(after.root),
    )


def test_a_tile_client_reads_the_published_folder(tmp_path):
    happen("item:a", times=300)
    call_command("custody", "publish", str(tmp_path / "log"), stdout=io.StringIO())
    first = parse_note((tmp_path / "log/checkpoint").read_text())
    happen("item:a", times=400)
    call_command("custody", "publish", str(tmp_path / "log"), stdout=io.StringIO())
    parsed = parse_note((tmp_path / "log/checkpoint").read_text())
    assert parsed.size > first.size + 400
    read = read_as_a_client(tmp_path / "log", parsed.size)
    assert root(hashlib.sha256(b"\x00" + entry).digest() for entry in read) == parsed.root
    tile = (tmp_path / "log/tile/1/000.p" / str(parsed.size // 256)).read_bytes()
    whole = (tmp_path / "log/tile/0/000").read_bytes()
    assert tile[:32] == tiles.perfect([whole[i : i + 32] for i in range(0, 8192, 32)])


def read_as_a_client(folder, size: int) -> list[bytes]:
    """All entries, by the specification alone."""
    entries = []
    for index in range(-(-size // 256)):
        width = min(256, size - index * 256)
        name = f"{index:03d}" if width == 256 else f"{index:03d}.p/{width}"
        data = (folder / "tile/entries" / name).read_bytes()
        while data:
            length = int.from_bytes(data[:2], "big")
            entries.append(data[2 : 2 + length])
            data = data[2 + length :]
    return entries


def test_paths_of_tiles_are_those_of_the_specification():
    assert publish_dir.tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert publish_dir.tile_path("entries", 5, 12) == "tile/entries/005.p/12"
    assert publish_dir.tile_path(2, 1000) == "tile/2/x001/000"


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    happen("item:a")
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(CommandError, match="holds other things"):
        call_command("custody", "publish", str(tmp_path), stdout=io.StringIO())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letter.txt"]


def test_a_folder_that_cannot_be_a_logs_is_named_and_one_of_a_killed_run_is_taken_up(tmp_path):
    happen("item:a")
    (tmp_path / "file").touch()
    for name, make in (
        ("binary", lambda path: path.write_bytes(b"\xff\xfe")),
        ("folder", lambda path: path.mkdir()),
    ):
        (tmp_path / name).mkdir()
        make(tmp_path / name / "checkpoint")
    for name in ("file", "binary", "folder"):
        with pytest.raises(CommandError, match="cannot be written, or is no folder of a log"):
            call_command("custody", "publish", str(tmp_path / name), stdout=io.StringIO())
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".checkpoint.0a1b2c3d").touch()
    call_command("custody", "publish", str(tmp_path / "killed"), stdout=io.StringIO())
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["checkpoint", "tile"]


@pytest.mark.parametrize("name", ["tile/0/000", "tile/entries/000"])
def test_a_published_tile_that_differs_is_named_and_neither_kept_nor_written_over(tmp_path, name):
    """It may be the only witness of what the log said before."""
    happen("item:a", times=300)
    call_command("custody", "publish", str(tmp_path), stdout=io.StringIO())
    note, file = (tmp_path / "checkpoint").read_bytes(), tmp_path / name
    file.write_bytes(changed := file.read_bytes()[:-1] + b"?")
    happen("item:a")
    with pytest.raises(CommandError, match="is not what this log holds there"):
        call_command("custody", "publish", str(tmp_path), stdout=io.StringIO())
    assert (file.read_bytes(), (tmp_path / "checkpoint").read_bytes()) == (changed, note)


@pytest.mark.parametrize("size", [3, 4, 900])
def test_a_checkpoint_that_the_log_does_not_continue_is_not_written_over(tmp_path, size):
    """A log that was rolled back or rewritten: also in the last tile, which is not full and has another name each time."""
    happen("item:a", times=9)
    publish(actor=OPERATOR)
    head, ours = tmp_path / "checkpoint", Checkpoint.objects.first().note.split("\n")[0]
    head.write_text(f"{ours}\n{size}\n{base64.b64encode(bytes(32)).decode()}\n\n" + "\u2014 x AAAAAAAA\n")
    before = head.read_bytes()
    with pytest.raises(CommandError, match="does not begin with"):
        call_command("custody", "publish", str(tmp_path), stdout=io.StringIO())
    assert head.read_bytes() == before and not (tmp_path / "tile").exists()


def test_hashes_only_leaves_the_events_out(tmp_path):
    happen("item:a")
    call_command("custody", "publish", str(tmp_path / "log"), "--hashes-only", stdout=io.StringIO())
    assert (tmp_path / "log/tile/0/000.p/2").exists() and not (tmp_path / "log/tile/entries").exists()


def test_proofs_by_command():
    happen("item:a", blob=BLOB, times=2)
    publish(actor=OPERATOR)

    def prove(*words: str) -> str:
        out = io.StringIO()
        call_command("custody", "prove", *words, stdout=out)
        return out.getvalue()

    assert prove("event", "1").startswith("c2sp.org/tlog-proof@v1\nindex 1\n")
    history = json.loads(prove("history", "item:a"))
    assert [event["number"] for event in history["events"]] == [1, 2]
    assert history["entry"]["number"] == 2 and history["entry"]["tip"] == history["events"][1]["event"]
    assert json.loads(prove("file", BLOB))["entry"]["number"] == 2
    assert json.loads(prove("file", "cd" * 32))["entry"]["tip"] is None
    agreed = json.loads(prove("consistency", "1", "3"))
    proofs.verify_consistency(
        1, 3, *([base64.b64decode(p) for p in agreed["proof"]],), tiles.root(1), tiles.root(3)
    )
    for words in (
        ("event", "x"),
        ("consistency", "1"),
        ("file", "xyz"),
        ("event", "99"),
        ("consistency", "2", "9"),
    ):
        with pytest.raises(CommandError):
            prove(*words)


def test_the_pinned_map_is_under_the_checkpoint():
    happen("item:a")
    row = publish(actor=OPERATOR)
    pinned = showing.pinned_map(row)
    leaf = event_hash(pinned["event"].encode())
    proof = [bytes.fromhex(value) for value in pinned["proof"]]
    proofs.verify_inclusion(leaf, pinned["position"], row.size, proof, bytes.fromhex(row.root))
    with pytest.raises(BadProof):
        proofs.verify_inclusion(leaf, pinned["position"] - 1, row.size, proof, bytes.fromhex(row.root))
    with pytest.raises(NotFound):
        showing.checkpoint(row.size + 1)
