"""A real case, exported and checked by the standalone verifier, away from the project and isolated from it."""

import csv
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import bagit
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone
from pypdf import PdfReader

from archive import access, annotate, custody, jobs
from archive.custody import Actor
from archive.custody.verify import verify
from archive.errors import BadInput, Damaged, NotAllowed
from archive.models import Case, CustodyEvent, Decision, Item, Job
from evidence import bag, bundle, contents, report
from evidence.disclosure import DEFAULT
from evidence.models import Bundle
from tests import cast
from triage import questions, results, review
from triage.models import Analysis, Detection

pytestmark = pytest.mark.django_db(transaction=True)
HOSTILE_NAMES = [
    "=cmd|' /C calc'!A0.jpg",
    "../../etc/passwd",
    "صورة ٢.jpg",
    "100% \u202egpj.exe",
    "n" * 900 + ".jpg",
]


@pytest.fixture(autouse=True)
def _pages(request, monkeypatch):
    """Printing takes seconds: only tests that read the pages wait for it."""
    if "printed" not in request.fixturenames:
        monkeypatch.setattr(report._Maker, "_print", blank)


@pytest.fixture
def printed():
    """Asked for by tests that read the pages."""


def blank(self, printed: dict[str, str]) -> list[Path]:
    """Files in the place of those that were printed."""
    for name in printed:
        (self.folder / name).write_bytes(b"%PDF-1.4\n%%EOF\n")
    return [self.folder / name for name in printed]


@pytest.fixture
def rania() -> "cast.User":
    return cast.person("researcher")


@pytest.fixture
def case(rania) -> Case:
    """A case of five items with hostile names, a duplicate, decisions, a finding, suggestions and a note."""
    made = cast.case(owner=rania, code="HARBOUR-1", mandate="Document the crossing.")
    cast.share(made, rania, access.EXPORT, access.MANAGE)
    items = [cast.item(made, name=name) for name in HOSTILE_NAMES]
    cast.acquire(made, cast.jpeg(seed=0), name="again.jpg")
    cast.acquire(made, cast.jpeg(seed=0), name="and again.jpg")
    actor = cast.signed_in(rania)
    review.decide(item=items[0], actor=actor, value="relevant", reason="The bridge is seen, says Dr. Öz.")
    first = review.decide(item=items[1], actor=actor, value="not_relevant")
    review.withdraw(decision=first, actor=actor, reason="Looked again")
    asked = questions.ask(case=made, actor=actor, text="Does it show damage to a medical facility?")
    questions.answer(item=items[0], question=asked, actor=actor, value="yes", reason="The sign.", shown={})
    annotate.note(item=items[0], actor=actor, text="Ask Hala about this.")
    analyse(items[0], "yolo11n", "ab" * 32, [("person", "0.9421"), ("car", "0.5000")])
    analyse(items[1], "people, OpenCV 4.14", "", [])
    return made


def analyse(item, model, weights, found):
    """Record what a model found, as the pipeline does."""
    box = tuple(Decimal(n) for n in ("0.10000", "0.20000", "0.30000", "0.40000"))
    rows = [results.Found(0, label, Decimal(score), box) for label, score in found]
    with transaction.atomic(durable=True):
        analysis = custody.write(
            Analysis(
                item=item,
                task="detect",
                analyser="yolo",
                version=1,
                model=model,
                weights_sha256=weights,
                parameters={"confidence": "0.25"},
                recipe="cd" * 32,
                started_at=timezone.now(),
                finished_at=timezone.now(),
                frames=1,
                looked_at_ms=[0],
                found=len(rows),
                result_sha256=results.result_sha256(rows),
            ),
            event="item.analysed",
            actor=Actor.system("worker"),
        )
        Detection.objects.bulk_create(
            Detection(analysis=analysis, at_ms=0, label=r.label, confidence=r.score, x=box[0], y=box[1], width=box[2], height=box[3])
            for r in rows
        )  # fmt: skip


def check(made: Path, tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """Run the verifier that lies in the project, copied away from it, in Python's isolated mode."""
    away = tmp_path / "away"
    away.mkdir(exist_ok=True)
    copy = shutil.copy(bundle.VERIFIER, away)
    command = [sys.executable, "-I", copy, str(made), "--key", bundle.fingerprint(), *arguments]
    done = subprocess.run(command, cwd=away, capture_output=True, text=True, env={"PATH": "/nowhere"})
    return done.returncode, done.stdout + done.stderr


def exported(case: Case, out: Path, **options) -> Bundle:
    return bundle.export(case=case, out=out, actor=Actor.operator(), **options)


def rows(folder: Path, name: str) -> list[dict]:
    return json.loads((folder / "data" / f"{name}.json").read_text())


# --- it works ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("printed")
def test_exported_case_is_verified_by_a_stranger(case, tmp_path):
    out = tmp_path / "bundle"
    made = exported(case, out, reason="For the court")
    status, said = check(out, tmp_path)
    assert status == 0, said
    assert "6 originals" in said and "4 decisions" in said and "2 runs of a model" in said
    assert check(out, tmp_path)[0] == 0
    answers = [row for row in rows(out, "decisions") if row["question"] is not None]
    (asked,) = [
        q for q in rows(out, "metadata/case")["questions"] if str(q["id"]) == str(answers[0]["question"])
    ]
    assert (asked["text"], answers[0]["value"]) == ("Does it show damage to a medical facility?", "yes")
    text = next((out / "data/interchange").rglob("*0001*.txt")).read_text()
    assert "Answered by a person to 'Does it show damage to a medical facility?'" in text
    assert bagit.Bag(str(out)).validate()
    assert made.state == Bundle.State.BUILT
    for item in Item.objects.filter(case=case):
        row = next(r for r in rows(out, "metadata/items") if r["id"] == str(item.pk))
        with bundle.vault.open(item.sha256) as original:
            assert (out / row["path"]).read_bytes() == original.read()
    assert verify().answer == "good"


@pytest.mark.embedded
def test_bagit_on_the_command_line_validates_it(case, tmp_path):
    exported(case, tmp_path / "bundle")
    done = subprocess.run(
        [sys.executable, bagit.__file__, "--validate", tmp_path / "bundle"], capture_output=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.embedded
def test_one_bit_flipped_in_each_file_in_turn_is_caught(case, tmp_path):
    out = tmp_path / "bundle"
    exported(case, out)
    every = sorted(f for f in out.rglob("*") if f.is_file())
    files = list({(f.parent if f.suffix in (".jpg", ".tlog-proof") else f): f for f in every}.values())
    assert {"manifest-sha512.txt", "map.json", "completeness.jsonl", "report.pdf"} <= {f.name for f in files}
    for file in files:
        whole = file.read_bytes()
        spoiled = bytearray(whole)
        spoiled[len(whole) // 2] ^= 4
        file.write_bytes(spoiled)
        status, said = check(out, tmp_path)
        assert status == 1, f"{file.relative_to(out)}:\n{said}"
        file.write_bytes(whole)
    assert check(out, tmp_path)[0] == 0


def test_web_request_is_built_by_a_worker_and_downloaded(case, rania, tmp_path):
    browser = cast.browser(rania)
    page = browser.get("/cases/HARBOUR-1/bundles/")
    assert page.status_code == 200
    assert re.search(r'name="pictures"[^>]* checked', page.content.decode())
    asked = browser.post(
        "/cases/HARBOUR-1/bundles/",
        {"items": "1, 3-4", "disclosed": list(DEFAULT), "reason": "For the court"},
    )
    assert asked.status_code == 302, asked.content.decode()
    made = Bundle.objects.get()
    assert browser.get(f"/bundles/{made.pk}/").status_code == 200
    assert browser.post(f"/bundles/{made.pk}/download").status_code == 422
    assert jobs.run_waiting("evidence.build") == 1
    made.refresh_from_db()
    assert made.state == Bundle.State.BUILT, made.problem
    answer = browser.post(f"/bundles/{made.pk}/download")
    assert answer["Content-Disposition"] == f'attachment; filename="{made.name}.zip"'
    file = tmp_path / "got.zip"
    file.write_bytes(answer.getvalue())
    status, said = check(file, tmp_path)
    assert status == 0 and "3 originals" in said, said
    types = CustodyEvent.objects.filter(subject=made.custody_subject()).values_list("type", flat=True)
    assert list(types) == [
        "bundle.requested",
        "bundle.volume_built",
        "bundle.built",
        "bundle.downloaded",
        "bundle.disclosed",
    ]
    exports = CustodyEvent.objects.filter(type="item.exported")
    assert exports.count() == 3 and verify().answer == "good"
    with zipfile.ZipFile(file) as z:
        z.extractall(tmp_path / "unzipped")
    assert bagit.Bag(str(tmp_path / "unzipped" / made.name)).validate()
    assert b"Verified" in browser.get(f"/bundles/{made.pk}/").content


def test_command_writes_a_folder_or_a_zip(case, tmp_path, capsys):
    call_command(
        "bundle",
        "export",
        "--case",
        "HARBOUR-1",
        "--item",
        "1",
        "--item",
        "HARBOUR-1/0002",
        "--no-pictures",
        "--out",
        str(tmp_path / "b"),
    )
    call_command("bundle", "export", "--case", "HARBOUR-1", "--out", str(tmp_path / "b.zip"), "--zip")
    call_command("bundle", "key")
    assert bundle.fingerprint() in capsys.readouterr().out
    assert [made.pictures for made in Bundle.objects.order_by("requested_at")] == [False, True]
    for name, count in (("b", 2), ("b.zip", 6)):
        status, said = check(tmp_path / name, tmp_path)
        assert status == 0 and f"{count} originals" in said, said
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "b.zip").stat().st_mode & 0o777 == 0o600


# --- what it says -----------------------------------------------------------------------------------------------


@pytest.mark.embedded
def test_names_in_the_bag_are_safe_and_the_true_ones_are_in_the_metadata(case, tmp_path):
    exported(case, tmp_path / "b")
    items = rows(tmp_path / "b", "metadata/items")
    assert [i["file_name"] for i in items][:5] == HOSTILE_NAMES
    names = [Path(i["path"]).name for i in items]
    assert names[2] == "صورة ٢.jpg" and len(names[4].encode()) <= 160 and names[4].endswith(".jpg")
    assert names[1] == "_etc_passwd" or "/" not in names[1] and not names[1].startswith(".")
    assert "\u202e" not in names[3] and "%" not in names[3]
    table = list(csv.DictReader(io.StringIO((tmp_path / "b/data/metadata/items.csv").read_text("utf-8-sig"))))
    assert table[0]["file_name"] == "'" + HOSTILE_NAMES[0]
    again = items[5]["acquisitions"]
    assert [a["file_name"] for a in again] == ["again.jpg", "and again.jpg"]


def test_people_sources_and_notes_are_withheld_unless_chosen(case, tmp_path, rania):
    cast.item(case, name="statement.Maria Lopez")
    exported(case, tmp_path / "b")
    everything = b"".join(f.read_bytes() for f in (tmp_path / "b/data").rglob("*.*") if f.suffix != ".jpg")
    for secret in (rania.name, rania.username, "Ask Hala", Actor.operator().name):
        assert secret.encode() not in everything or secret == "root", secret
    assert "says Dr. Öz".encode() in everything
    exported(case, tmp_path / "c", disclosed=[*DEFAULT, "names", "notes"])
    openings = (tmp_path / "c/data/custody/openings.jsonl").read_text()
    assert rania.name in openings and "Ask Hala" in openings
    exported(case, tmp_path / "d", disclosed=[])
    assert not (tmp_path / "d/data/custody/openings.jsonl").read_bytes()
    assert rows(tmp_path / "d", "metadata/items")[0]["file_name"] == {"withheld": True}
    assert rows(tmp_path / "d", "decisions")[0]["reason"] == {"withheld": True}
    assert rows(tmp_path / "d", "metadata/case")["questions"][-1]["text"] == {"withheld": True}
    paths = [row["path"] for row in rows(tmp_path / "d", "metadata/items")]
    assert paths[0].endswith("HARBOUR-1-0001/original.jpg") and paths[-1].endswith("/original")
    for name in "bcd":
        assert check(tmp_path / name, tmp_path)[0] == 0


def test_sealed_identity_of_a_source_is_never_exported(rania, tmp_path):
    from archive import cases

    case = cast.case(code="S-1")
    source = cast.source(
        case, code="S-014", pseudonym="the ferryman", may_go_to_courts="yes", consent_informed="yes"
    )
    cases.set_identity(source=source, identity="Yusuf Karim", actor=Actor.operator())
    item = cast.item(case)
    with transaction.atomic(durable=True):
        from archive.models import Acquisition

        row = Acquisition(
            item=item, at=timezone.now(), by="x", method="command", tool="t", file_name="f", source=source
        )
        custody.write(row, event="item.acquired", actor=Actor.operator())
    exported(case, tmp_path / "b", disclosed=[*DEFAULT, "names", "notes", "origins"])
    assert rows(tmp_path / "b", "metadata/sources")[0]["pseudonym"] == "the ferryman"
    assert rows(tmp_path / "b", "metadata/items")[0]["acquisitions"][1]["source"] == "S-014"
    assert not any(b"Yusuf" in f.read_bytes() for f in (tmp_path / "b").rglob("*.*"))
    assert check(tmp_path / "b", tmp_path)[0] == 0


@pytest.mark.usefixtures("printed")
@pytest.mark.embedded
def test_report_keeps_people_and_machines_apart(case, tmp_path):
    exported(case, tmp_path / "b")
    text = "\n".join(page.extract_text() for page in PdfReader(tmp_path / "b/data/report.pdf").pages)
    words = " ".join(text.split())
    assert "Machine suggestions are not findings" in words and "uncalibrated" in words
    assert "The bridge is seen" in words and "Nobody has decided" in words
    assert "yolo11n" in words and "Only the simple detectors" not in words
    assert "Looked again" in words and "withdrawn" in words
    sha256 = Item.objects.get(case=case, number=1).sha256
    assert report.fours(sha256)[:30] in words


@pytest.mark.usefixtures("printed")
@pytest.mark.embedded
def test_report_says_so_when_only_built_in_detectors_ran_and_no_picture_was_wanted(tmp_path):
    case = cast.case(code="PLAIN")
    analyse(cast.item(case), "people, OpenCV 4.14", "", [("person", "0.7000")])
    exported(case, tmp_path / "b", pictures=False)
    text = " ".join(
        " ".join(p.extract_text() for p in PdfReader(tmp_path / "b/data/report.pdf").pages).split()
    )
    assert "Only the simple detectors that come inside OpenCV were used" in text
    assert "No picture: pictures were left out of this report." in text


@pytest.mark.embedded
def test_report_fetches_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        there = f"http://127.0.0.1:{listening.getsockname()[1]}"
        (tmp_path / "secret.svg").write_text(
            "<svg xmlns='http://www.w3.org/2000/svg'><text>SECRET</text></svg>"
        )
        hostile = (
            f'<img src="{there}/x"><img src="{(tmp_path / "secret.svg").as_uri()}"><a href="{there}">link</a>'
        )
        (tmp_path / "out.pdf.html").write_text(f'{hostile}<style>@import "{there}/x.css";</style>text')
        command = [
            sys.executable,
            "-I",
            report.PROGRAM,
            report.FONTS,
            tmp_path / "out.pdf.html",
        ]
        subprocess.run(command, check=True)
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert PdfReader(tmp_path / "out.pdf").pages[0].extract_text().strip() == "linktext"


def test_export_is_in_every_chain_and_in_the_next_bundle(case, tmp_path):
    exported(case, tmp_path / "a")
    exported(case, tmp_path / "b")
    events = (tmp_path / "b/data/custody/events.jsonl").read_text()
    assert events.count('"item.exported"') == 6


# --- it refuses -------------------------------------------------------------------------------------------------


def test_without_the_export_permission_nobody_exports(case, tmp_path):
    stranger, seer = cast.person("researcher"), cast.person("researcher")
    cast.share(case, seer)
    for user in (stranger, seer):
        with pytest.raises(NotAllowed):
            bundle.request(case=case, actor=cast.signed_in(user))
    page = cast.browser(seer).get("/cases/HARBOUR-1/bundles/")
    assert page.status_code == 200 and b"Build the bundle" not in page.content
    assert cast.browser(seer).post("/cases/HARBOUR-1/bundles/", {"reason": "x"}).status_code == 404
    assert cast.browser(stranger).get("/cases/HARBOUR-1/bundles/").status_code == 404
    assert not Bundle.objects.exists()


def test_download_needs_the_export_permission(case, rania):
    made = bundle.request(case=case, actor=cast.signed_in(rania))
    jobs.run_waiting("evidence.build")
    seer, stranger = cast.person("researcher"), cast.person("researcher")
    cast.share(case, seer)
    assert cast.browser(seer).get(f"/bundles/{made.pk}/").status_code == 200
    for user in (seer, stranger):
        assert cast.browser(user).post(f"/bundles/{made.pk}/download").status_code == 404
    assert cast.browser(stranger).get(f"/bundles/{made.pk}/").status_code == 404


def test_no_worker_can_ask_for_or_take_out_a_bundle(case, rania):
    actor = cast.signed_in(rania)
    with custody.unattended(), pytest.raises(NotAllowed):
        bundle.request(case=case, actor=actor)


def test_items_of_another_case_are_refused(case, tmp_path):
    other = cast.item()
    with pytest.raises(BadInput, match="not in case HARBOUR-1"):
        exported(case, tmp_path / "b", items=[other.pk])
    with pytest.raises(BadInput, match="no item to export"):
        exported(cast.case(), tmp_path / "b")
    with pytest.raises(CommandError, match="no item 77"):
        call_command("bundle", "export", "--case", "HARBOUR-1", "--item", "77", "--out", str(tmp_path / "b"))
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("items", ["x", "3-1", "99", "1-", "-3"])
def test_item_numbers_that_make_no_sense_are_refused_in_the_form(case, rania, items):
    answer = cast.browser(rania).post("/cases/HARBOUR-1/bundles/", {"items": items, "reason": "x"})
    assert answer.status_code == 422 and not Bundle.objects.exists()


def test_existing_path_is_left_alone(case, tmp_path):
    (tmp_path / "b").write_text("mine")
    with pytest.raises(BadInput, match="exists already"):
        exported(case, tmp_path / "b")
    assert (tmp_path / "b").read_text() == "mine" and not Bundle.objects.exists()


@pytest.mark.parametrize("as_zip", [False, True])
def test_failed_export_leaves_nothing_but_its_events(case, tmp_path, monkeypatch, as_zip):
    """Guards: no half bag is ever found under its name, and the log says that it failed."""
    monkeypatch.setattr(bag, "sync" if not as_zip else "zip_pieces", _broken)
    with pytest.raises(BadInput, match="No space|cannot be written"):
        exported(case, tmp_path / "b", as_zip=as_zip)
    assert not list(tmp_path.iterdir())
    made = Bundle.objects.get()
    assert made.state == Bundle.State.FAILED
    types = CustodyEvent.objects.filter(subject=made.custody_subject()).values_list("type", flat=True)
    assert list(types) == ["bundle.requested", "bundle.failed"]
    assert not CustodyEvent.objects.filter(type="item.exported").exists()


def _broken(*_):
    raise OSError(5, "No space")


def test_damaged_original_is_not_exported(case, tmp_path):
    item = Item.objects.get(case=case, number=2)
    file = next(Path(settings.VAULT_DIR).rglob(bundle.vault.name_of(item.sha256)))
    os.chmod(file, 0o600)
    raw = bytearray(file.read_bytes())
    raw[-20] ^= 1
    file.write_bytes(raw)
    with pytest.raises(Damaged):
        exported(case, tmp_path / "b")
    assert not (tmp_path / "b").exists() and Bundle.objects.get().state == Bundle.State.FAILED


def test_broken_custody_chain_is_not_exported(case, tmp_path):
    from tests.superuser import superuser

    event = CustodyEvent.objects.filter(type="item.decided").first()
    spoiled = bytes(event.canonical).replace(b"relevant", b"escalate")
    with superuser(), connection.cursor() as cursor:
        cursor.execute("UPDATE archive_custodyevent SET canonical = %s WHERE id = %s", [spoiled, event.pk])
    with pytest.raises(Damaged, match="does not hold at event"):
        exported(case, tmp_path / "b")


def test_changed_detection_is_not_exported(case, tmp_path):
    Detection.objects.filter(label="car").update(label="weapon")
    with pytest.raises(Damaged, match="not those that its event"):
        exported(case, tmp_path / "b")


def test_build_that_fails_says_so_and_can_be_tried_again(case, rania, monkeypatch):
    made = bundle.request(case=case, actor=cast.signed_in(rania))
    with monkeypatch.context() as broken:
        broken.setattr(contents, "write", _broken)
        for _ in range(3):
            Job.objects.filter(name="evidence.build").update(run_after=timezone.now())
            jobs.run_waiting("evidence.build")
    made.refresh_from_db()
    assert made.state == Bundle.State.FAILED
    page = cast.browser(rania).get(f"/bundles/{made.pk}/").content.decode()
    assert "could not be built" in page
    assert jobs.retry(Job.objects.get(name="evidence.build"))
    jobs.run_waiting("evidence.build")
    made.refresh_from_db()
    assert made.state == Bundle.State.BUILT
    assert CustodyEvent.objects.filter(type="item.exported").count() == 6
    assert verify().answer == "good"


def test_second_run_of_the_same_build_doubles_nothing(case, rania):
    bundle.request(case=case, actor=cast.signed_in(rania))
    jobs.run_waiting("evidence.build")
    row = Job.objects.get(name="evidence.build")
    bundle.build(row, case)
    assert CustodyEvent.objects.filter(type="item.exported").count() == 6
    assert CustodyEvent.objects.filter(type="bundle.built").count() == 1


def test_scratch_is_empty_afterwards(case, tmp_path):
    exported(case, tmp_path / "b")
    assert not list(Path(settings.SCRATCH_DIR).glob("tmp*"))


def test_no_decision_comes_out_of_an_export(case, tmp_path):
    before = Decision.objects.count()
    exported(case, tmp_path / "b")
    assert Decision.objects.count() == before
