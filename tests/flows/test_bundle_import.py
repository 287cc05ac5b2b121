"""Bags read back: a bundle of ours from another archive, any BagIt bag, and what happens when something is wrong."""

import json
import zipfile
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from archive import access, custody, ingest, vault
from archive.custody import Actor
from archive.custody.verify import verify
from archive.errors import BadInput, NotAllowed, StorageFull
from archive.models import Acquisition, Claim, CustodyEvent, Item
from evidence import bundle, importing, report
from tests import cast
from tests.flows.bundles import blank, check, rows, statement
from tests.unit.evidence.forge import Forge
from tests.unit.evidence.test_bagcheck import make, packed_bag

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(report._Maker, "_print", blank)


@pytest.fixture
def rania():
    return cast.person("researcher")


@pytest.fixture
def case(rania):
    return cast.case(owner=rania, code="INTAKE-1")


@pytest.fixture
def bag(tmp_path) -> Path:
    """A bag of somebody else, with three files of which two have the same bytes."""
    files = {"data/a.jpg": b"first", "data/b/second.jpg": b"second", "data/c/copy of a.jpg": b"first"}
    return make(tmp_path / "somebody's bag", files)


@pytest.fixture
def ours(rania, tmp_path) -> Path:
    """A bundle that was exported, of two items of which one has a claim of its own."""
    theirs = cast.case(owner=rania, code="HARBOUR-1")
    cast.share(theirs, rania, access.EXPORT)
    items = [cast.item(theirs, name=name) for name in ("صورة ٢.jpg", "bridge.jpg")]
    from django.db import transaction

    with transaction.atomic():
        claim = Claim(item=items[1], about="author", origin="exif", text="Hala", at=timezone.now())
        custody.write(claim, event="item.claim_recorded", actor=Actor.system("worker"))
    out = tmp_path / "HARBOUR"
    bundle.export(case=theirs, out=out, actor=Actor.operator(), reason="to the partner")
    return out


def events(case, kind="case.bundle_imported"):
    found = CustodyEvent.objects.filter(subject=case.custody_subject(), type=kind).order_by("number")
    return [json.loads(bytes(event.canonical))["payload"] for event in found]


def take(case, path, **options):
    return importing.take(case=case, actor=Actor.operator(), path=path, **options)


def test_a_bag_of_somebody_else_becomes_items_and_one_record(case, bag):
    done = take(case, bag)
    assert done.checked.answer == "good"
    assert {item.file_name for item in done.new} == {"a.jpg", "second.jpg"}
    assert [item.file_name for item in done.already_held] == ["a.jpg"]  # the same bytes twice: one item
    with vault.open(done.record.sha256) as stored, zipfile.ZipFile(stored) as record:
        assert sorted(record.namelist()) == [
            "bag-info.txt",
            "bagit.txt",
            "manifest-sha512.txt",
            "tagmanifest-sha512.txt",
        ]
    paths = set(Acquisition.objects.filter(item__in=done.new).values_list("path", flat=True))
    assert paths == {
        f"{bag.name}/{name}" for name in ("data/a.jpg", "data/b/second.jpg", "data/c/copy of a.jpg")
    }
    (told,) = events(case)
    assert (told["bagit"], told["new"], told["already_held"], told["record"]) == (
        "1.0",
        2,
        1,
        done.record.sha256,
    )
    assert verify().answer == "good"
    assert not list((Path(settings.DATA_DIR) / "imports").glob("*"))


def test_a_bag_in_a_zip_gives_the_same_items(case, bag, tmp_path):
    first = take(case, bag)
    again = take(case, packed_bag(bag, tmp_path / "somebody's bag.zip"))
    assert again.new == [] and {i.pk for i in again.already_held} == {i.pk for i in first.new}
    assert again.record.pk == first.record.pk and len(events(case)) == 2


def test_a_bundle_of_ours_is_verified_and_its_history_is_kept_apart(case, ours, tmp_path):
    done = take(case, ours, keys=[bundle.fingerprint()])
    told = rows(ours, "metadata/items")
    assert (done.checked.answer, done.checked.verifier) == ("good", "good")
    assert {item.sha256 for item in done.new} == {row["sha256"] for row in told}
    assert {item.file_name for item in done.new} == {"صورة ٢.jpg", "bridge.jpg"}
    bridge = next(item for item in done.new if item.file_name == "bridge.jpg")
    assert [(c.origin, c.text) for c in bridge.claims.all()] == [("bundle, claim", "Hala")]
    here = set(CustodyEvent.objects.filter(subject=bridge.custody_subject()).values_list("type", flat=True))
    assert here == {"item.hashed", "item.stored", "item.acquired", "item.claim_recorded"}
    (event,) = events(case)
    assert event["bundle"] == statement(ours)["bundle"] and event["key"] == bundle.fingerprint()
    assert event["checkpoint"] == statement(ours)["checkpoint"]
    with vault.open(done.record.sha256) as stored, zipfile.ZipFile(stored) as record:
        kept = set(record.namelist())
    assert {"signature/statement.json", "data/custody/events.jsonl"} <= kept
    assert not any(name.startswith("data/originals") for name in kept)
    assert verify().answer == "good"
    again = tmp_path / "put together again"
    with vault.open(done.record.sha256) as stored, zipfile.ZipFile(stored) as record:
        record.extractall(again)
    for acquisition in Acquisition.objects.filter(item__in=done.new).select_related("item"):
        place = again / acquisition.path.removeprefix(f"{ours.name}/")
        place.parent.mkdir(parents=True, exist_ok=True)
        with vault.open(acquisition.item.sha256) as stored:
            place.write_bytes(stored.read())
    assert check(again, tmp_path)[0] == 0


def test_without_a_key_it_is_said_that_nobody_checked_who_signed(case, ours):
    done = take(case, ours)
    assert done.checked.answer == "good" and done.checked.verifier == "could not check"
    assert any("could not check who signed" in fault.sentence for fault in done.checked.report.warnings)


def test_a_bundle_signed_with_another_key_is_bad_and_nothing_is_taken(case, ours):
    before = Item.objects.count()
    done = take(case, ours, keys=["ab" * 32])
    assert done.checked.answer == "bad" and "another key" in done.checked.report.faults[0].sentence
    assert Item.objects.count() == before and not events(case)


@pytest.mark.parametrize("claims", [5, None, "abc", [5], [[]], [{"about": [], "latitude": {}}]])
def test_claims_that_are_none_stay_in_the_record(case, tmp_path, claims):
    forge = Forge()  # whoever has a key can sign this
    forge.items[0]["claims"] = claims
    (tmp_path / "bag").mkdir()
    done = importing.take(case=case, actor=Actor.operator(), path=forge.write(tmp_path / "bag"))
    assert len(done.new) == 2 and not Claim.objects.exists()
    assert "is kept in the record alone" in "".join(f.sentence for f in done.checked.report.warnings)


def test_a_bag_with_one_changed_byte_is_named_and_nothing_is_taken(case, bag):
    (bag / "data/b/second.jpg").write_bytes(b"Second")
    done = take(case, bag)
    assert [(f.code, f.file) for f in done.checked.report.faults] == [("hash", "data/b/second.jpg")]
    assert not case.items.exists() and not events(case)


def test_a_run_that_was_stopped_goes_on_without_taking_anything_twice(case, bag, monkeypatch):
    real, calls = ingest.acquire, []

    def full(**options):
        calls.append(options["origin"].path)
        if len(calls) == 2:
            raise StorageFull("There is no room.")
        return real(**options)

    monkeypatch.setattr(ingest, "acquire", full)
    with pytest.raises(StorageFull):
        take(case, bag)
    assert case.items.count() == 1 and not events(case)
    hashed = []
    monkeypatch.setattr(importing.bagcheck.Check, "_hashes", spy(importing.bagcheck.Check._hashes, hashed))
    done = take(case, bag)
    assert len(hashed) == 7 and all(quick for quick in hashed)  # out of the journal: no file was read again
    assert len(done.new) + len(done.already_held) == 3
    assert Acquisition.objects.filter(item__case=case).count() == 4  # three files and the record, each once
    assert len(events(case)) == 1


def spy(real, told):
    def hashes(self, name, algorithms, progress, done, total):
        told.append(self.known.get(name, {}).get("mark") == self.bag.files[name][1])
        return real(self, name, algorithms, progress, done, total)

    return hashes


def test_who_may_not_add_items_may_not_import(bag, rania):
    other = cast.case(code="ELSEWHERE")
    with pytest.raises(NotAllowed):
        importing.take(case=other, actor=cast.signed_in(rania), path=bag)


# --- the command ------------------------------------------------------------------------------------------------------


def command(capsys, *arguments):
    """Run `bundle import`; returns its exit status and what it said."""
    try:
        call_command("bundle", "import", *map(str, arguments))
        status = 0
    except SystemExit as stopped:
        status = stopped.code
    return status, capsys.readouterr().out


def test_command_checks_alone_and_takes(case, bag, capsys):
    status, said = command(capsys, bag, "--check")
    assert status == 0 and "Answer: good. 3 payload files." in said and not case.items.exists()
    status, said = command(capsys, bag, "--case", case.code)
    assert status == 0 and f"Case {case.code}: 2 new items, 1 already held" in said


def test_command_names_the_file_that_is_wrong(case, bag, capsys):
    (bag / "data/a.jpg").unlink()
    status, said = command(capsys, bag, "--case", case.code)
    assert status == 1 and "BAD  missing: data/a.jpg: manifest-sha512.txt lists it" in said
    assert "Nothing was imported." in said and not case.items.exists()
    (bag / "bagit.txt").write_text("BagIt-Version: 3.0\nTag-File-Character-Encoding: UTF-8\n")
    status, said = command(capsys, bag, "--check")
    assert status == 3 and "COULD NOT CHECK  version" in said


def test_command_refuses_what_it_cannot_use(case, bag, tmp_path):
    for arguments, words in (
        ((bag,), "--case, or give --check"),
        ((bag, "--case", "NONE"), "There is no case NONE"),
        ((tmp_path / "none", "--check"), "cannot be read"),
        ((bag / "bagit.txt", "--check"), "is no folder, and no whole zip"),
    ):
        with pytest.raises(CommandError, match=words) as refused:
            call_command("bundle", "import", *map(str, arguments))
        assert refused.value.returncode == 2
    with pytest.raises(BadInput):
        importing.check(bag / "bagit.txt")
