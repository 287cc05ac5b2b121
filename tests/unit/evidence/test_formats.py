"""What formats do with what is hostile, withheld, missing or much: on a data folder made by hand."""

import csv
import hashlib
import io
import json
import re
import shutil
import tracemalloc
import xml.etree.ElementTree as ET
from pathlib import Path

import bagit
import pytest
from PIL import Image

from archive import pdf
from archive.custody.canonical import canonical, event_hash
from evidence import bag, formats, report
from evidence.formats import held, profile
from evidence.formats.held import Held
from evidence.formats.loadfile import BREAK, PART, QUOTE
from tests.unit.evidence.profiles import faults

WITHHELD = {"withheld": True}
TIME = "2026-11-21T09:00:00.000000Z"
PERSON = {
    "kind": "person",
    "id": "7c1f0e52-0000-4000-8000-000000000001",
    "role": "researcher",
    "name": {"commitment": "ab" * 32},
}
SECRET = "Rania Haddad"
HOSTILE = "=cmd|' /C calc'!A0 þ\x14® \x07\u202e\r\nsecond line.jpg"
PREMIS = "{http://www.loc.gov/premis/v3}"


def facts(items: int, **more) -> formats.BundleFacts:
    given = {
        "bundle": "5b165467-0000-4000-8000-000000000000",
        "name": "H1-2026-11-21-5b165467",
        "requested_at": TIME,
        "software": "amparo 0.1.0",
        "log": "archive.example",
        "key": "ab" * 32,
        "disclosed": ("case",),
        "items": items,
    }
    return formats.BundleFacts(**given | more)


class Made:
    """A data folder as evidence.contents leaves it, without proofs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "metadata").mkdir(parents=True)
        (folder / "custody").mkdir()
        self.events, self.items, self.decisions, self.runs, self.openings = [], [], [], [], []
        self.event("case:1", "case.opened", 1)
        self.event(f"bundle:{facts(1).bundle}", "bundle.requested", 1)

    def event(self, subject, kind, number, payload=None, actor=PERSON):
        body = {
            "actor": actor,
            "number": number,
            "payload": payload or {},
            "previous": "0" * 64,
            "reason": "",
        }
        body |= {"software": "amparo 0.1.0", "subject": subject, "time": TIME, "type": kind, "version": 1}
        self.events.append(canonical(body))
        return {"subject": subject, "number": number, "event": event_hash(self.events[-1]).hex()}

    def item(self, number, name=HOSTILE, **more):
        pk, code = f"00000000-0000-4000-8000-{number:012d}", f"H1/{number:04d}"
        self.event(f"item:{pk}", "item.stored", 1)
        got = self.event(f"item:{pk}", "item.acquired", 2)
        row = {name: "" for name in "kind media_type condition condition_detail".split()}
        row |= {name: None for name in "width height duration_ms examined_at read_back_at decision".split()}
        row |= {name: [] for name in "claims findings renditions redactions notes tags".split()}
        row |= {
            "id": pk,
            "code": code,
            "path": f"data/originals/H1-{number:04d}/photo.jpg",
            "file_name": name,
        }
        row |= {
            "sha256": hashlib.sha256(code.encode()).hexdigest(),
            "size": 7,
            "source": "S-1",
            "received_at": TIME,
        }
        row["acquisitions"] = [
            {**got, "at": TIME, "method": "upload", "tool": "web", "source": "S-1", "file_name": name}
        ]
        self.items.append(row | more)
        return self.items[-1]

    def write(self) -> Path:
        folder, custody = self.folder, self.folder / "custody"
        source = {
            "code": "S-1",
            "id": "1",
            "kind": "witness",
            "pseudonym": WITHHELD,
            "consent_date": "2026-01-01",
        }
        source |= dict.fromkeys(("consent_informed", "may_be_public", "may_go_to_courts"), "unknown")
        source |= {"consent_scope": WITHHELD, "legal_basis": WITHHELD, "consent_ends": None}
        case = {"id": "1", "code": "H1", "title": WITHHELD, "mandate": WITHHELD}
        (folder / "metadata/case.json").write_bytes(canonical(case) + b"\n")
        for name, rows in (
            ("metadata/items", self.items),
            ("metadata/sources", [source]),
            ("decisions", self.decisions),
            ("detections", self.runs),
            ("custody/subjects", [{"events": len(self.events), "subject": "all", "tip": ""}]),
        ):
            text = b",\n".join(canonical(row) for row in rows)
            (folder / f"{name}.json").write_bytes(b"[\n" + text + (b"\n]\n" if rows else b"]\n"))
        (custody / "events.jsonl").write_bytes(b"".join(event + b"\n" for event in self.events))
        (custody / "openings.jsonl").write_bytes(b"".join(canonical(row) + b"\n" for row in self.openings))
        places = (canonical({"position": n}) + b"\n" for n in range(len(self.events)))
        (custody / "inclusion.jsonl").write_bytes(b"".join(places))
        (custody / "checkpoint.txt").write_text("archive.example\n9\nAAAA\n\n")
        return folder


@pytest.fixture
def made(tmp_path) -> Made:
    return Made(tmp_path / "data")


def documents(data: Path) -> list[dict[str, str]]:
    """The DAT file as a loader reads it."""
    text = (data / "interchange/loadfile.dat").read_bytes().decode("utf-8-sig")
    assert text.endswith("\r\n") and "\n" not in text.replace("\r\n", "")
    return list(csv.DictReader(io.StringIO(text), delimiter=PART, quotechar=QUOTE))


# --- load files -------------------------------------------------------------------------------------------------


def test_load_file_keeps_fields_apart_and_runs_in_no_spreadsheet(made):
    made.item(7)
    made.item(8, name="þorn þ.jpg")
    data = made.write()
    formats.write_all(data, facts(2))
    first, second = documents(data)
    assert first["FILENAME"].replace(BREAK, "\n") == "'=cmd|' /C calc'!A0 þ (R) \x07\u202e\nsecond line.jpg"
    assert second["FILENAME"] == "þorn þ.jpg"
    assert (
        first["DOCID"] == first["BEGATTACH"] == first["ENDATTACH"] == "H1-00000007"
        and first["PARENTID"] == ""
    )
    assert first["CUSTODIAN"] == "S-1" and first["NATIVELINK"] == "..\\originals\\H1-0007\\photo.jpg"
    assert (
        (data / "interchange" / first["TEXTLINK"].replace("\\", "/")).read_text().startswith("Item H1/0007\n")
    )
    opt = (data / "interchange/loadfile.opt").read_bytes().decode().split("\r\n")
    assert opt[0] == "H1-00000007,VOL001,..\\originals\\H1-0007\\photo.jpg,Y,,,1" and opt[2] == ""


def test_file_names_hold_no_comma_that_would_part_an_opticon_line():
    assert bag.safe_name("a, b.jpg") == "a_ b.jpg"


def test_redactions_stand_in_for_the_original_or_below_it(made):
    row = {
        "path": "data/redacted/H1-0001/photo.png",
        "sha256": "cd" * 32,
        "size": 3,
        "media_type": "image/png",
    }
    for number in (1, 2):
        item = made.item(number)
        at = made.event(f"item:{item['id']}", "item.rendition_made", 3)
        item["redactions"] = [{**at, **row, "original_sha256": item["sha256"], "recipe": "r"}]
    made.items[0]["path"] = None
    data = made.write()
    formats.write_all(data, facts(2))
    alone, parent, child = documents(data)
    assert alone["REDACTED"] == "Y" and alone["SHA256"] == "cd" * 32 != alone["ORIGINALSHA256"]
    assert parent["REDACTED"] == "N" and parent["ENDATTACH"] == child["DOCID"] == "H1-00000002-R1"
    assert child["PARENTID"] == parent["DOCID"] and child["REDACTED"] == "Y"
    assert b"originals/H1-0001" not in b"".join(f.read_bytes() for f in data.rglob("interchange/*.*"))
    objects = ET.parse(data / "interchange/premis.xml").findall(f"{PREMIS}object")
    assert [len(each.findall(f"{PREMIS}relationship")) for each in objects] == [0, 1, 0, 1]


def test_disposed_item_is_listed_without_a_file(made):
    item = made.item(1, path=None)
    made.event(f"item:{item['id']}", "item.disposed", 3)
    data = made.write()
    formats.write_all(data, facts(1))
    (row,) = documents(data)
    assert row["NATIVELINK"] == "" and row["SHA256"] == item["sha256"]
    assert not (data / "interchange/loadfile.opt").read_bytes()
    assert (
        data / "certification-items.txt"
    ).read_text() == f"H1/0001  not in this bundle  {item['sha256']}\n"


# --- pictures in the report -------------------------------------------------------------------------------------


def rendition(made, item, number, kind, blob):
    at = made.event(
        f"item:{item['id']}", "item.rendition_made", number, {"id": f"r{number}", "set": {"blob": blob}}
    )
    item["renditions"].append({**at, "kind": kind, "blob": blob})
    return at


def test_report_of_redacted_files_shows_no_picture_of_an_original(made):
    """Guards the promise that nothing of an original is left where only its redaction is given."""
    item = made.item(1)
    for number, kind in enumerate(("thumbnail", "poster", "storyboard"), 3):
        rendition(made, item, number, kind, f"{kind} of the original")
    shown = {
        "path": "data/redacted/H1-0001/a.mp4",
        "sha256": "the redacted video",
        "size": 3,
        "media_type": "video/mp4",
    }
    item["redactions"] = [rendition(made, item, 6, "redacted", "the redacted video") | shown]
    rendition(made, item, 7, "redacted_thumbnail", "thumbnail of the redacted video")
    rendition(made, item, 8, "redacted_thumbnail", "thumbnail of another attempt")
    one = next(held.dossiers(made.write()))
    assert report.blobs(one) == ["storyboard of the original"]
    item["path"] = None
    assert report.blobs(Held(item, one.events)) == []
    change = {"record": "evidence.redaction", "set": {"rendition": "r6", "thumbnail": "r7"}}
    made.event(f"item:{item['id']}", "item.redaction_rendered", 9, change)
    assert report.blobs(next(held.dossiers(made.write()))) == ["thumbnail of the redacted video"]
    item["redactions"][0] |= {"media_type": "image/png", "sha256": "the redacted picture"}
    assert report.blobs(next(held.dossiers(made.write()))) == ["the redacted picture"]


def test_picture_is_drawn_again_without_what_its_file_holds(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = SECRET
    Image.new("RGB", (2000, 1000), "red").save(tmp_path / "large.jpg", exif=exif, comment=SECRET.encode())
    drawn = pdf.small(tmp_path / "large.jpg")
    assert SECRET.encode() not in drawn and Image.open(io.BytesIO(drawn)).size == (900, 450)
    sheet = Image.new("RGB", (3 * 40 + 2 * 4, 30), "black")
    sheet.paste("lime", (88, 0, 128, 30))
    sheet.save(tmp_path / "sheet.png")
    field = Image.open(io.BytesIO(pdf.small(tmp_path / "sheet.png", 2, 3, 1, 4)))
    assert field.size == (40, 30) and field.convert("RGB").getpixel((1, 1))[1] > 200
    (tmp_path / "none.svg").write_text("<svg/>")
    with pytest.raises(OSError):
        pdf.small(tmp_path / "none.svg")


# --- XML and JSON-LD ---------------------------------------------------------------------------------------------


def test_premis_holds_what_xml_cannot_write_as_a_mark(made):
    made.item(1)
    data = made.write()
    formats.write_all(data, facts(1))
    name = ET.parse(data / "interchange/premis.xml").find(f".//{PREMIS}originalName").text
    assert name == "=cmd|' /C calc'!A0 þ\ufffd® \ufffd\u202e\r\nsecond line.jpg"


def test_identifiers_can_be_found_again_and_name_what_exists(made):
    made.item(1)
    data = made.write()
    formats.write_all(data, facts(1))
    graph = json.loads((data / "interchange/case-uco.jsonld").read_text())["@graph"]
    names = [entity["@id"] for entity in graph]
    assert len(names) == len(set(names))
    named = re.findall(r'\{"@id":"([^"]+)"\}', (data / "interchange/case-uco.jsonld").read_text())
    assert named and set(named) <= set(names)
    assert held.urn("item", made.items[0]["id"]) in names


# --- all ---------------------------------------------------------------------------------------------------------


def test_withheld_values_are_left_out_with_a_note(made):
    made.item(1, name=WITHHELD, condition_detail=WITHHELD, tags=WITHHELD)
    data = made.write()
    formats.write_all(data, facts(1))
    for file in (*data.glob("interchange/*.*"), *data.glob("*.txt"), *data.glob("ro-crate*")):
        assert '"withheld"' not in file.read_text() and "{'withheld'" not in file.read_text(), file
    (row,) = documents(data)
    assert row["FILENAME"] == "" and row["WITHHELD"] == "condition_detail; file_name; tags"
    assert "The name that it came with is withheld." in (data / "ro-crate-metadata.json").read_text()
    assert "The name is withheld." in (data / "interchange/premis.xml").read_text()


def test_names_of_people_stand_where_they_are_given_out(made):
    made.item(1)
    opened = {"number": 1, "pointer": "/actor/name", "salt": "s", "subject": "case:1", "value": SECRET}
    made.openings.append(opened)
    data = made.write()
    formats.write_all(data, facts(1))
    for name in ("interchange/premis.xml", "interchange/case-uco.jsonld", "ro-crate-metadata.json"):
        assert SECRET in (data / name).read_text()


def test_same_bundle_gives_the_same_bytes(made, tmp_path):
    for number in (1, 2):
        made.item(number)
    data = made.write()
    again = shutil.copytree(data, tmp_path / "again" / "data")
    for folder in (data, again):
        formats.write_all(folder, facts(2))
    files = [file.relative_to(data) for file in data.rglob("*") if file.is_file()]
    assert len(files) == 21
    assert all((data / name).read_bytes() == (again / name).read_bytes() for name in files)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_items(tmp_path):
    """Guards the promise that a bundle may hold 100,000 items: ten times as many take no more memory."""
    peaks = []
    for count in (50, 500):
        made = Made(tmp_path / str(count) / "data")
        for number in range(1, count + 1):
            made.item(number)
        data = made.write()
        del made
        tracemalloc.start()
        formats.write_all(data, facts(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000, peaks


def test_events_of_another_item_are_a_fault(made):
    made.item(1)
    made.items[0]["id"] = "00000000-0000-4000-8000-00000000ffff"
    with pytest.raises(ValueError, match="stands where the events of H1/0001 should"):
        list(held.dossiers(made.write()))


# --- the BagIt profile ---------------------------------------------------------------------------------------------


@pytest.fixture
def good(tmp_path) -> Path:
    """A bag that keeps to the profile."""
    folder = tmp_path / "bag"
    info = {**formats.bag_info(), "Bag-Software-Agent": "x", "Bagging-Date": "2026-11-21"}
    info |= {"External-Description": "x", "External-Identifier": "urn:uuid:1", "Payload-Oxum": "1.1"}
    tags = {"README.txt": b"x", "verify_bundle.py": b"x", **formats.tags()}
    signed = {f"signature/{name}": b"x" for name in ("statement.json", "statement.sig", "public-key.pem")}
    bag.write_folder(bag.bag([bag.Entry("data/a", [b"a"])], tags, lambda _: info, lambda _: signed), folder)
    assert bagit.Bag(str(folder)).validate()
    return folder


def test_profile_is_published_as_it_is_shipped_and_passes_its_own_rules(good):
    published = Path(formats.__file__).parents[2] / "docs" / "bagit-profile-v2.json"
    assert published.read_bytes() == profile.text() == (good / profile.NAME).read_bytes()
    assert json.loads(profile.text())["BagIt-Profile-Info"]["BagIt-Profile-Identifier"] == profile.IDENTIFIER
    assert faults(good, json.loads(profile.text())) == []


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda bag: (bag / "manifest-sha512.txt").unlink(), "manifest sha512 is missing"),
        (lambda bag: (bag / "tagmanifest-sha256.txt").unlink(), "tagmanifest sha256 is missing"),
        (lambda bag: (bag / "manifest-md5.txt").touch(), "manifest md5 is not allowed"),
        (lambda bag: (bag / "fetch.txt").touch(), "fetch.txt is not allowed"),
        (lambda bag: (bag / "extra.txt").touch(), "tag file extra.txt is not allowed"),
        (
            lambda bag: (bag / "signature/statement.sig").unlink(),
            "tag file signature/statement.sig is missing",
        ),
        (lambda bag: (bag / "bagit.txt").write_text("BagIt-Version: 0.97\n"), "version 0.97 is not allowed"),
        (
            lambda bag: (bag / "bag-info.txt").write_text("Bagging-Date: 1\n"),
            "BagIt-Profile-Identifier is missing",
        ),
    ],
)
def test_profile_names_the_fault(good, spoil, fault):
    spoil(good)
    assert fault in faults(good, json.loads(profile.text()))
