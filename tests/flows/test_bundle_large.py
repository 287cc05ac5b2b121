"""Bundles that are large, interrupted, cancelled, or of the whole archive."""

import hashlib
import json
import threading
from pathlib import Path

import bagit
import pyrage
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from archive import access, jobs, vault
from archive.custody import Actor
from archive.custody.verify import verify
from archive.errors import BadInput, Conflict, Missing, NotFound
from archive.models import Blob, Case, CustodyEvent, Item, Job
from evidence import bag, bundle, making, report, whole
from evidence.draft import Draft
from evidence.models import Bundle, BundleWork
from evidence.work import Stopped
from tests import cast
from tests.flows.bundles import blank, check, rows, statement

pytestmark = pytest.mark.django_db(transaction=True)
KIB = 2**10
SAME = (
    "data/originals/",
    "data/metadata/",
    "data/decisions",
    "data/detections",
    "README.txt",
    "verify_bundle.py",
)


@pytest.fixture(autouse=True)
def _pages(monkeypatch):
    monkeypatch.setattr(report._Maker, "_print", blank)


@pytest.fixture
def rania():
    return cast.person("researcher", "administrator")


@pytest.fixture
def case(rania) -> Case:
    """Five items of 40 KiB."""
    made = cast.case(owner=rania, code="HARBOUR-1")
    cast.share(made, rania, access.EXPORT, access.MANAGE)
    for number in range(5):
        cast.item(made, bytes([number]) * 40 * KIB, name=f"{number}.bin")
    return made


def exported(case, out, **options) -> Bundle:
    return bundle.export(case=case, out=out, actor=Actor.operator(), **options)


def killed(*_, **__):
    """Ends the process's work as SIGKILL does: nothing is tidied up."""
    raise SystemExit("killed")


def left_by_a_kill(case, out, monkeypatch, *, after: int, **options) -> Bundle:
    """An export of which only `after` originals were made durable before it was killed."""
    with monkeypatch.context() as patch:
        reading, given = making._stored_pieces, []

        def pieces(sha256, *arguments):
            if len(given) == after:
                killed()
            given.append(sha256)
            return reading(sha256, *arguments)

        patch.setattr(making, "_stored_pieces", pieces)
        patch.setattr(bundle, "_fail", lambda *_: None)
        patch.setattr(Draft, "discard", lambda self: self._journal.close())
        with pytest.raises(SystemExit):
            exported(case, out, **options)
    return Bundle.objects.first()


def types(made) -> list[str]:
    events = CustodyEvent.objects.filter(subject=made.custody_subject())
    return list(events.order_by("number").values_list("type", flat=True))


# --- the same again -------------------------------------------------------------------------------------------------


def test_same_items_twice_give_the_same_bytes(case, tmp_path):
    """But for signature, time, and what the log grew by in between."""
    for name in ("a", "b"):
        exported(case, tmp_path / name)
    one, two = (
        {
            str(f.relative_to(tmp_path / name)): f.read_bytes()
            for f in (tmp_path / name).rglob("*")
            if f.is_file()
        }
        for name in ("a", "b")
    )
    compared = [path for path in one if path.startswith(SAME)]
    assert len(compared) >= 15
    for path in compared:
        assert one[path] == two[path], path
    for algorithm in ("sha256", "sha512"):
        lines = [set(bytes.splitlines(side[f"manifest-{algorithm}.txt"])) for side in (one, two)]
        assert len([line for line in lines[0] & lines[1] if b"data/originals" in line]) == 5
    undated = [
        [line for line in side["bag-info.txt"].splitlines() if line.split(b":")[0] not in DATED]
        for side in (one, two)
    ]
    assert undated[0] == undated[1]
    kept = [json.loads(side["signature/statement.json"]) for side in (one, two)]
    for name in ("case", "destination", "disclosed", "files", "format", "items", "key", "subjects", "volume"):
        assert kept[0][name] == kept[1][name], name


DATED = (b"Bagging-Date", b"External-Identifier", b"Payload-Oxum")


# --- volumes --------------------------------------------------------------------------------------------------------


def test_volumes_are_whole_bundles_under_one_checkpoint(case, tmp_path):
    made = exported(case, tmp_path / "out", volume_size=100 * KIB)
    names = sorted(f.name for f in (tmp_path / "out").iterdir())
    assert names == [f"{made.name}-{n}-of-3" for n in (1, 2, 3)]
    checkpoints, listed = set(), []
    for number, name in enumerate(names, 1):
        folder = tmp_path / "out" / name
        assert check(folder, tmp_path)[0] == 0, check(folder, tmp_path)[1]
        assert bagit.Bag(str(folder)).validate()
        said = statement(folder)
        assert said["volume"] == {"number": number, "of": 3} and said["bundle"] == str(made.pk)
        assert f"Bag-Count: {number} of 3" in (folder / "bag-info.txt").read_text()
        checkpoints.add(json.dumps(said["checkpoint"]))
        index = rows(folder, "volumes")
        here = [row["item"] for row in index if row["volume"] == number]
        assert here == [row["id"] for row in rows(folder, "metadata/items")]
        listed += here
        ids = "".join(sorted(f"{row['item']}\n" for row in index))
        assert hashlib.sha256(ids.encode()).hexdigest() == made.items_sha256
    assert len(checkpoints) == 1 and len(listed) == len(set(listed)) == 5
    assert types(made) == [
        "bundle.requested",
        *["bundle.volume_built"] * 3,
        "bundle.built",
        "bundle.disclosed",
    ]


def test_item_larger_than_a_volume_has_one_of_its_own(case, tmp_path):
    cast.item(case, b"x" * 200 * KIB, name="large.bin")
    cast.item(case, b"y" * 10 * KIB, name="small.bin")
    made = exported(case, tmp_path / "out", volume_size=80 * KIB, as_zip=True)
    assert [v.item_count for v in made.volumes.all()] == [2, 2, 1, 1, 1]
    files = sorted((tmp_path / "out").iterdir())
    assert all(f.suffix == ".zip" for f in files) and check(files[3], tmp_path)[0] == 0
    assert made.size == sum(f.stat().st_size for f in files)


def test_volumes_in_the_vault_are_downloaded_one_by_one(case, rania, tmp_path):
    key = pyrage.x25519.Identity.generate()
    made = bundle.request(
        case=case, actor=cast.signed_in(rania), volume_size=120 * KIB, keys=(("X", str(key.to_public())),)
    )
    jobs.run_waiting("evidence.build")
    web = cast.browser(rania)
    page = web.get(f"/bundles/{made.pk}/").content.decode()
    assert "2-of-2" in page
    for number in ("1", "2"):
        answer = web.post(f"/bundles/{made.pk}/download", {"volume": number})
        (tmp_path / "v.zip").write_bytes(pyrage.decrypt(answer.getvalue(), [key]))
        assert check(tmp_path / "v.zip", tmp_path)[0] == 0
    assert web.post(f"/bundles/{made.pk}/download", {"volume": "3"}).status_code == 404
    assert made.disclosures.count() == 2


# --- going on, and giving up ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("volume_size", [0, 100 * KIB])
def test_killed_export_goes_on_where_it_stopped(case, tmp_path, monkeypatch, volume_size):
    """Guards: what is durable is not written again, and the bundle is as good as if nothing had happened."""
    made = left_by_a_kill(case, tmp_path / "b", monkeypatch, after=3, volume_size=volume_size)
    left = Draft.left(tmp_path / "b")
    assert len(left) == 1 and left[0].bundle() == made.pk
    left[0]._journal.close()
    (folder,) = tmp_path.glob(".b.*.partial")
    written = [line for line in (folder / "journal").read_text().splitlines() if "data/originals/" in line]
    read: list[str] = []
    reading = making._stored_pieces
    monkeypatch.setattr(
        making, "_stored_pieces", lambda sha256, *a: read.append(sha256) or reading(sha256, *a)
    )
    done = bundle.resume(out=tmp_path / "b", actor=Actor.operator())
    assert done == made and done.state == Bundle.State.BUILT and len(read) == 5 - len(written)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["b"]
    for folder in [tmp_path / "b"] if not volume_size else (tmp_path / "b").iterdir():
        assert check(folder, tmp_path)[0] == 0 and bagit.Bag(str(folder)).validate()
    assert CustodyEvent.objects.filter(type="item.exported").count() == 5
    assert verify().answer == "good"


def test_spoiled_leftover_is_written_anew(case, tmp_path, monkeypatch):
    left_by_a_kill(case, tmp_path / "b", monkeypatch, after=3)
    (folder,) = tmp_path.glob(".b.*.partial")
    (folder / "whole/data/originals/HARBOUR-1-0001/0.bin").write_bytes(b"cut")
    (folder / "whole/data/stray.txt").write_text("stray")
    with (folder / "journal").open("a") as journal:
        journal.write('{"volume": 1, "path": "data/orig')  # cut off by the kill
    bundle.resume(out=tmp_path / "b", actor=Actor.operator())
    assert check(tmp_path / "b", tmp_path)[0] == 0


def test_leftover_is_removed_by_the_next_export_to_the_same_path(case, tmp_path, monkeypatch):
    made = left_by_a_kill(case, tmp_path / "b", monkeypatch, after=2)
    again = exported(case, tmp_path / "b")
    made.refresh_from_db()
    assert made.state == Bundle.State.FAILED and again.state == Bundle.State.BUILT
    assert [f.name for f in tmp_path.iterdir()] == ["b"]


def test_nothing_to_go_on_with_is_said(case, tmp_path):
    with pytest.raises(NotFound, match="leave out --resume"):
        bundle.resume(out=tmp_path / "b", actor=Actor.operator())
    draft = Draft.begin(tmp_path / "b", exported(case, tmp_path / "other"))
    with pytest.raises(Conflict, match="writing to"):
        exported(case, tmp_path / "b")
    draft.discard()


def test_finished_bundle_that_was_killed_before_its_name_appears(case, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Draft, "publish", killed)
        patch.setattr(Draft, "discard", lambda self: self._journal.close())
        with pytest.raises(SystemExit):
            exported(case, tmp_path / "b")
    assert Bundle.objects.get().state == Bundle.State.BUILT and not (tmp_path / "b").exists()
    with pytest.raises(Conflict, match="--resume gives it its name"):
        exported(case, tmp_path / "b")
    call_command("bundle", "export", "--resume", "--out", str(tmp_path / "b"))
    assert check(tmp_path / "b", tmp_path)[0] == 0 and [f.name for f in tmp_path.glob(".*")] == []


def test_ctrl_c_leaves_nothing_and_says_who_stopped_it(case, tmp_path, monkeypatch, capsys):
    def interrupted(*_):  # as Python does in the main thread after SIGINT
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "_stored_pieces", interrupted)
    with pytest.raises(SystemExit) as ended:
        call_command("bundle", "export", "--case", "HARBOUR-1", "--out", str(tmp_path / "b"))
    assert ended.value.code == 130 and not list(tmp_path.iterdir())
    assert types(Bundle.objects.get()) == ["bundle.requested", "bundle.cancelled"]
    assert not list(Path(settings.SCRATCH_DIR).glob("tmp*"))


def test_cancelled_build_stops_and_takes_its_volumes_out_of_the_vault(case, rania, monkeypatch):
    actor = cast.signed_in(rania)
    made = bundle.request(case=case, actor=actor, volume_size=100 * KIB)
    storing = vault.put
    stored = []

    def put(stream, **options):
        found = storing(stream, **options)
        stored.append(found.sha256)
        if len(stored) == 1:  # by a person, not in the worker
            person = threading.Thread(target=cancel)
            person.start()
            person.join()
        return found

    def cancel():
        bundle.cancel(bundle=Bundle.objects.get(pk=made.pk), actor=actor)
        connections.close_all()

    monkeypatch.setattr(vault, "put", put)
    jobs.run_waiting("evidence.build")
    made.refresh_from_db()
    assert made.state == Bundle.State.CANCELLED and 1 <= len(stored) < 3
    for sha256 in stored:
        with pytest.raises(Missing):
            vault.open(sha256).close()
    assert set(Blob.objects.expected().values_list("sha256", flat=True)) == set(
        Item.objects.values_list("blob_id", flat=True)
    )
    assert "bundle.cancelled" in types(made) and "bundle.built" not in types(made)
    assert verify().answer == "good"
    page = cast.browser(rania).get(f"/bundles/{made.pk}/").content.decode()
    assert "What was written of it is removed" in page and "Download" not in page


def test_waiting_bundle_is_cancelled_by_its_button(case, rania):
    web = cast.browser(rania)
    assert web.post("/cases/HARBOUR-1/bundles/", {"whole": "yes"}).status_code == 302
    made = Bundle.objects.get()
    assert made.item_count == 5 and made.destination == "internal"
    assert "It waits for a worker" in web.get(f"/bundles/{made.pk}/").content.decode()
    assert web.get(f"/bundles/{made.pk}/progress").json()["state"] == "requested"
    assert web.post(f"/bundles/{made.pk}/cancel").status_code == 302
    jobs.run_waiting("evidence.build")
    made.refresh_from_db()
    assert made.state == Bundle.State.CANCELLED and not made.volumes.exists()
    assert Job.objects.get(name="evidence.build").state == "done"


def test_progress_is_told_to_the_page_and_stops_a_cancelled_export(case, rania, tmp_path, monkeypatch):
    steps: list[tuple] = []

    def progress(step, done, total=None):
        steps.append((step, done, total))
        if step == "write" and done:
            bundle.cancel(bundle=Bundle.objects.get(), actor=cast.signed_in(rania))

    monkeypatch.setattr("evidence.work.EVERY_S", 0)
    with pytest.raises(Stopped):
        exported(case, tmp_path / "b", progress=progress)
    assert not list(tmp_path.iterdir())
    assert [s for s in dict.fromkeys(s for s, _, _ in steps)] == ["publish", "gather", "describe", "write"]
    work = BundleWork.objects.get()
    assert work.step == "write" and work.total == 5 * 40 * KIB


def test_worker_that_is_killed_goes_on_with_the_next_volume(case, rania, monkeypatch):
    made = bundle.request(case=case, actor=cast.signed_in(rania), volume_size=100 * KIB)
    with monkeypatch.context() as patch:
        storing, done = bundle._record_volume, []

        def record(*arguments):
            if done:
                killed()
            done.append(storing(*arguments))

        patch.setattr(bundle, "_record_volume", record)
        with pytest.raises(SystemExit):
            bundle.build(Job.objects.get(name="evidence.build"), case)
    assert made.volumes.count() == 1
    Job.objects.filter(name="evidence.build").update(state="queued", run_after=timezone.now())
    jobs.run_waiting("evidence.build")
    made.refresh_from_db()
    assert made.state == Bundle.State.BUILT and made.volumes.count() == 3
    assert types(made).count("bundle.volume_built") == 3


# --- leaving --------------------------------------------------------------------------------------------------------


def test_whole_archive_goes_out_in_one_command(case, tmp_path, capsys):
    other = cast.case(code="OTHER-1")
    cast.item(other)
    cast.case(code="EMPTY-1")
    out = tmp_path / "all"
    call_command("bundle", "export", "--all", "--out", str(out), "--reason", "We move")
    index = json.loads((out / "index.json").read_text())
    assert [(row["case"], row["items"], row["path"]) for row in index] == [
        ("EMPTY-1", 0, None),
        ("HARBOUR-1", 5, "HARBOUR-1"),
        ("OTHER-1", 1, "OTHER-1"),
    ]
    for name in ("HARBOUR-1", "OTHER-1"):
        assert check(out / name, tmp_path)[0] == 0
        raw = (out / name / "signature/statement.json").read_bytes()
        row = next(row for row in index if row["case"] == name)
        assert row["volumes"][0]["statement_sha256"] == hashlib.sha256(raw).hexdigest()
    assert sorted(f.name for f in out.iterdir()) == ["HARBOUR-1", "OTHER-1", "index.json"]
    with pytest.raises(CommandError, match="exists already"):
        call_command("bundle", "export", "--all", "--out", str(out), "--resume")


def test_whole_archive_goes_on_with_the_case_where_it_was_killed(case, tmp_path, monkeypatch):
    cast.item(cast.case(code="A-1"))
    exporting = bundle.export

    def export(*, case, **options):
        return killed() if case.code == "HARBOUR-1" else exporting(case=case, **options)

    with monkeypatch.context() as patch:
        patch.setattr(bundle, "export", export)
        with pytest.raises(SystemExit):
            whole.export(out=tmp_path / "all", actor=Actor.operator())
    assert not (tmp_path / "all/index.json").exists()
    with pytest.raises(BadInput, match="add --resume"):
        whole.export(out=tmp_path / "all", actor=Actor.operator())
    index = whole.export(out=tmp_path / "all", actor=Actor.operator(), resume=True)
    assert [row["path"] for row in index] == ["A-1", "HARBOUR-1"] and Bundle.objects.count() == 2


def test_button_takes_out_the_cases_that_an_administrator_may_export(case, rania):
    hidden, seen = cast.case(code="HIDDEN-1"), cast.case(rania, code="SEEN-1")
    for each in (hidden, seen):
        cast.item(each)
    web = cast.browser(rania)
    page = web.get("/bundles/").content.decode()
    assert "HIDDEN" not in page and "Take out the whole archive" in page
    assert web.post("/bundles/").status_code == 302
    assert [b.case.code for b in Bundle.objects.all()] == ["HARBOUR-1"]
    assert cast.browser(cast.person("researcher")).get("/bundles/").status_code == 404


# --- memory ---------------------------------------------------------------------------------------------------------


def test_manifests_do_not_grow_in_memory():
    import tracemalloc

    def info(listed):
        return {"Payload-Oxum": f"{listed.octets}.{listed.files}"}

    many = (bag.Entry(f"data/originals/{n:06d}/{'x' * 60}", [b"."]) for n in range(4_000))
    tracemalloc.start()
    for entry in bag.bag(many, {}, info, lambda hashes: {}):
        size = sum(len(piece) for piece in entry.pieces)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size and used < 3_000_000, used
