"""Outside programs read a real bundle: bagit.py, the RO-Crate validator offline, case_validate, the schema of PREMIS."""

import csv
import ctypes
import ctypes.util
import hashlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import bagit
import pytest
import urllib3
from django.conf import settings
from pypdf import PdfReader
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests_cache import CachedSession

from archive import access, annotate, jobs
from archive.custody import Actor
from archive.models import Item
from evidence import bundle, report
from evidence.formats import BundleFacts, facts, profile
from evidence.formats.loadfile import PART, QUOTE
from tests import cast
from tests.unit.evidence.profiles import faults
from triage import review

pytestmark = [pytest.mark.embedded, pytest.mark.django_db(transaction=True)]
BIN = Path(sys.executable).parent
VECTORS = Path(__file__).parents[1] / "vectors"
CONTEXT = "https://w3id.org/ro/crate/1.2/context"


@dataclass(frozen=True)
class Made:
    """A bundle in a folder, and the hashes of its items."""

    folder: Path
    sha256: list[str]
    facts: BundleFacts

    @property
    def data(self) -> Path:
        return self.folder / "data"


@pytest.fixture(scope="module")
def made(django_db_setup, django_db_blocker, tmp_path_factory) -> Made:
    """One real bundle for all tests here: a picture, a video, a damaged file; a source, a decision, a finding.

    Its rows go with the first test's; all others look at files alone.
    """
    with django_db_blocker.unblock():
        return _make(tmp_path_factory.mktemp("formats") / "bundle")


def _make(out: Path) -> Made:
    rania = cast.person("researcher")
    case = cast.case(owner=rania, code="FORMATS-1", mandate="Document the crossing.")
    cast.share(case, rania, access.EXPORT)
    cast.source(case, code="S-014", pseudonym="the ferryman", consent_informed="yes", legal_basis="consent")
    picture = cast.item(case, cast.jpeg(1600, 1000, seed=77), name="the bridge, from below.jpg")
    for data, name in (
        (cast.mp4(), "clip.mp4"),
        (cast.jpeg(seed=2)[:200], "corrupt.jpg"),
        (cast.jpeg(seed=3), "=1+1.jpg"),
    ):
        cast.item(case, data, name=name)
    for name in ("archive.read_back", "archive.examine", "archive.storyboard"):
        jobs.run_waiting(name)
    actor = cast.signed_in(rania)
    review.decide(item=picture, actor=actor, value="relevant", reason="The bridge is seen.")
    annotate.establish(item=picture, about="place", basis="The pier is unique.", actor=actor, text="Harbour")
    built = bundle.export(case=case, out=out, actor=Actor.operator(), reason="For the court")
    about = BundleFacts(
        bundle=str(built.pk),
        name=built.name,
        requested_at="2026-11-21T09:00:00.000000Z",
        software=settings.SOFTWARE,
        log=settings.NAME_IN_LOG,
        key=built.key,
        disclosed=tuple(built.disclosed),
        items=4,
    )
    return Made(
        out, list(Item.objects.filter(case=case).order_by("number").values_list("blob_id", flat=True)), about
    )


def run(*command: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=100)


# --- outside validators ---------------------------------------------------------------------------------------------


def test_bagit_and_the_profile_pass(made):
    done = run(sys.executable, bagit.__file__, "--validate", made.folder)
    assert done.returncode == 0, done.stderr
    info = bagit.Bag(str(made.folder)).info
    assert info["BagIt-Profile-Identifier"] == profile.IDENTIFIER
    assert faults(made.folder, json.loads((made.folder / profile.NAME).read_text())) == []


class _Shelf(BaseAdapter):
    """Answers for the one address that the validator needs, from tests/vectors; for no other."""

    def send(self, request: PreparedRequest, **_) -> Response:
        assert request.url == CONTEXT
        body = io.BytesIO((VECTORS / "ro-crate/context-1.2.jsonld").read_bytes())
        answer = Response()
        answer.status_code, answer.url, answer.request = 200, request.url, request
        answer.headers["Content-Type"] = "application/ld+json"
        answer.raw = urllib3.HTTPResponse(
            body=body, headers=answer.headers, status=200, preload_content=False, request_url=request.url
        )
        return answer

    def close(self) -> None:
        """Nothing is open."""


def test_ro_crate_validator_passes_offline(made, tmp_path):
    cache = tmp_path / "cache"
    with CachedSession(cache_name=str(cache), backend="sqlite", expire_after=-1) as session:
        session.mount("https://", _Shelf())
        session.get(CONTEXT)
    check = [
        BIN / "rocrate-validator",
        "-y",
        "validate",
        "--offline",
        "--cache-path",
        cache,
        "-v",
        "--no-paging",
    ]
    done = run(*check, "-p", "ro-crate-1.2", "-l", "required", made.data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is a valid ro-crate-1.2" in done.stdout


def test_case_validate_passes_without_allowing_warnings(made):
    done = run(BIN / "case_validate", made.data / "interchange/case-uco.jsonld")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "Validation Report\nConforms: True\n"


def test_premis_is_valid_by_its_schema(made, tmp_path):
    premis = made.data / "interchange/premis.xml"
    assert valid(VECTORS / "premis/premis-v3-0.xsd", premis)
    spoiled = tmp_path / "spoiled.xml"
    spoiled.write_text(
        premis.read_text().replace("<eventType>", "<eventKind>").replace("</eventType>", "</eventKind>")
    )
    assert not valid(VECTORS / "premis/premis-v3-0.xsd", spoiled)


def valid(schema: Path, file: Path) -> bool:
    """Whether libxml2, which ffmpeg brings along, finds a file valid by an XML schema."""
    name = ctypes.util.find_library("xml2")
    assert name, "libxml2 is not installed: apt-get install libxml2"
    xml, pointer, text = ctypes.CDLL(name), ctypes.c_void_p, ctypes.c_char_p
    for function, arguments in (
        ("xmlSchemaNewParserCtxt", [text]),
        ("xmlSchemaParse", [pointer]),
        ("xmlSchemaNewValidCtxt", [pointer]),
    ):
        getattr(xml, function).argtypes, getattr(xml, function).restype = arguments, pointer
    xml.xmlSchemaValidateFile.argtypes = [pointer, text, ctypes.c_int]
    parsed = xml.xmlSchemaParse(xml.xmlSchemaNewParserCtxt(str(schema).encode()))
    assert parsed, "the schema itself cannot be read"
    return xml.xmlSchemaValidateFile(xml.xmlSchemaNewValidCtxt(parsed), str(file).encode(), 0) == 0


def test_loader_finds_each_native_with_its_hash(made):
    folder = made.data / "interchange"
    table = (folder / "loadfile.dat").read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(table), delimiter=PART, quotechar=QUOTE))
    assert [row["SHA256"] for row in rows] == made.sha256
    for row, line in zip(rows, (folder / "loadfile.opt").read_text().splitlines(), strict=True):
        native = folder / row["NATIVELINK"].replace("\\", "/")
        assert hashlib.sha256(native.read_bytes()).hexdigest() == row["SHA256"]
        assert (folder / row["TEXTLINK"].replace("\\", "/")).read_text().startswith(f"Item {row['ITEM']}\n")
        assert line.split(",") == [row["DOCID"], "VOL001", row["NATIVELINK"], "Y", "", "", "1"]
    assert rows[0]["DECISIONREASON"] == "The bridge is seen." and rows[3]["FILENAME"] == "'=1+1.jpg"


# --- PDF files -------------------------------------------------------------------------------------------------------


def words(file: Path) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(file).pages).split())


def test_report_shows_each_item_with_a_small_picture(made):
    text = words(made.data / "report.pdf")
    assert "Harbour (basis: The pier is unique.; by researcher" in text and "by researcher" in text
    for sha256 in made.sha256:
        assert report.fours(sha256)[:30] in text
    assert "Frames of the film, 0:01.000 long" in text and "0:00.300 0:00.800" in text
    assert (
        text.count("A small copy, for orientation") == 2
        and "No picture: none could be made of this file" in text
    )
    pages = PdfReader(made.data / "report.pdf").pages
    drawn = [page["/Resources"].get("/XObject", {}).values() for page in pages]
    pictures = [
        each.get_object() for objects in drawn for each in objects
    ]  # Pillow's open may be another's by now
    sizes = {(each["/Width"], each["/Height"]) for each in pictures if each["/Subtype"] == "/Image"}
    assert sizes == {(64, 48), (160, 120), (900, 563)}
    assert (made.data / "report.pdf").read_bytes().count(b"Exif") == 0


def test_more_items_make_more_reports_and_the_same_words_the_same_bytes(made, tmp_path, monkeypatch):
    monkeypatch.setattr(facts, "ITEMS_PER_REPORT", 3)
    monkeypatch.setattr(report, "ITEMS_PER_REPORT", 3)
    assert made.facts.reports == ("report-001.pdf", "report-002.pdf")
    with report.making(made.data, made.facts, tmp_path, pictures=False) as finished:
        files = finished()
    assert [file.name for file in files] == list(made.facts.pdfs)
    assert all(file.read_bytes() == (made.data / file.name).read_bytes() for file in files[2:])
    second = words(files[1])
    assert "FORMATS-1/0004" in second and "FORMATS-1/0003" not in second
    assert "pictures were left out" in second and "spread over 2 reports" in second


def test_certification_is_prepared_and_not_signed(made):
    for text in (
        words(made.data / "certification.pdf"),
        " ".join((made.data / "certification.txt").read_text().split()),
    ):
        listed = hashlib.sha256((made.data / "certification-items.txt").read_bytes()).hexdigest()
        assert "Prepared for signature; not signed." in text and "902(13)" in text and "902(14)" in text
        assert report.fours(listed) in text and "Signature" in text and "under penalty of perjury" in text
    assert [
        line.split("  ")[2] for line in (made.data / "certification-items.txt").read_text().splitlines()
    ] == made.sha256


def test_statement_says_that_nobody_outside_has_seen_the_log(made):
    text = " ".join((made.data / "custody-statement.txt").read_text().split())
    assert "Here nobody outside did: the checkpoint has neither cosignatures nor timestamps" in text
    assert "Custody begins when a file comes in" in words(made.data / "custody-statement.pdf")
