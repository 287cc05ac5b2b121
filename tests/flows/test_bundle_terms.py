"""For whom a bundle is, and whether they may have it: consent, policy, age keys, redactions, the register."""

import csv
import io
import json
import shutil
import subprocess
from types import SimpleNamespace

import pyrage
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from archive import access, cases, custody, jobs
from archive.custody import Actor
from archive.custody.verify import verify
from archive.errors import BadInput, NotAllowed
from archive.models import CustodyEvent, Item
from evidence import bag, bundle, consent, recipients, register, report, terms
from evidence.models import Bundle, ConsentOverride, DisclosureRecord
from evidence.work import NotWitnessed
from tests import cast
from tests.flows.bundles import blank, check, rows, statement

pytestmark = pytest.mark.django_db(transaction=True)
COURT = {"destination": "court", "recipient": "Court of Beira", "basis": "Order 7/2026"}
HOLDER = pyrage.x25519.Identity.generate()
KEY = ("Court of Beira", str(HOLDER.to_public()))


@pytest.fixture(autouse=True)
def _pages(monkeypatch):
    monkeypatch.setattr(report._Maker, "_print", blank)


@pytest.fixture
def rania():
    return cast.person("researcher")


@pytest.fixture
def case(rania):
    """Two items of a source that consented to a court, and one of which no source is known."""
    made = cast.case(owner=rania, code="HARBOUR-1", mandate="Document the crossing.")
    cast.share(made, rania, access.EXPORT, access.MANAGE)
    source = cast.source(
        made, code="S-1", consent_informed="yes", may_go_to_courts="yes", legal_basis="Consent of 3 May"
    )
    for _ in range(2):
        of(source, cast.item(made))
    cast.item(made)
    return made


def of(source, item) -> Item:
    """Say that an item came from a source, as a further acquisition does."""
    from django.db import transaction

    from archive.models import Acquisition

    row = Acquisition(
        item=item, at=timezone.now(), by="x", method="command", tool="t", file_name="f", source=source
    )
    with transaction.atomic(durable=True):
        custody.write(row, event="item.acquired", actor=Actor.operator())
    return item


def exported(case, out, **options) -> Bundle:
    return bundle.export(case=case, out=out, actor=Actor.operator(), **options)


def events(subject: str) -> list[str]:
    rows = CustodyEvent.objects.filter(subject=subject).order_by("number")
    return list(rows.values_list("type", flat=True))


# --- consent --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "destination", "rules"),
    [
        ({"consent_informed": "yes", "may_go_to_courts": "yes"}, "court", ()),
        ({"consent_informed": "yes"}, "court", ("not_for_courts",)),
        ({"consent_informed": "yes", "may_go_to_courts": "no"}, "partner", ()),
        ({"consent_informed": "yes", "may_be_public": "unknown"}, "public", ("not_public",)),
        ({"legal_basis": "Public archive"}, "partner", ()),
        ({"consent_informed": "no", "legal_basis": "Order"}, "partner", ("refused",)),
        ({"consent_informed": "no", "legal_basis": "Order"}, "internal", ()),
        ({}, "internal", ("no_basis",)),
        ({"consent_informed": "yes", "consent_ends": "2020-01-01"}, "internal", ("ended",)),
    ],
)
def test_what_stands_against_a_destination(fields, destination, rules):
    case = cast.case()
    if "consent_ends" in fields:
        fields = fields | {"consent_ends": timezone.localdate().replace(year=2020)}
    item = of(cast.source(case, **fields), cast.item(case))
    looked = consent.look([item.pk], destination)
    assert [c.rules for c in looked.conflicts] == ([rules] if rules else []) and looked.sources == 1
    assert looked.without_source == 0


def test_conflict_refuses_the_export_and_leaves_nothing(case, tmp_path):
    with pytest.raises(
        consent.ConsentConflict, match="S-1: it is not recorded that it may be shown in public"
    ):
        exported(case, tmp_path / "b", **{**COURT, "destination": "public"})
    assert not list(tmp_path.iterdir()) and not Bundle.objects.exists()
    assert exported(case, tmp_path / "b", **COURT).state == Bundle.State.BUILT
    said = statement(tmp_path / "b")
    assert said["destination"] == "court" and said["format"] == "amparo-bundle 2"


def test_override_is_recorded_for_each_source_with_its_conflicts_and_the_name(case, tmp_path):
    other = cast.source(case, code="S-2")
    of(other, Item.objects.get(case=case, number=3))
    made = exported(
        case, tmp_path / "b", **{**COURT, "destination": "public"}, override="The families asked for it."
    )
    told = CustodyEvent.objects.filter(type="source.consent_overridden")
    payloads = {e.subject: json.loads(bytes(e.canonical))["payload"]["set"] for e in told}
    assert {tuple(p["conflicts"]) for p in payloads.values()} == {("not_public",), ("no_basis", "not_public")}
    assert {p["bundle"] for p in payloads.values()} == {str(made.pk)}
    opened = [o.value for e in told for o in e.openings.all()]
    assert opened.count("The families asked for it.") == 4  # reason and field, for each of two sources
    assert Actor.operator().name in opened
    assert check(tmp_path / "b", tmp_path)[0] == 0 and verify().answer == "good"


def test_no_worker_overrides_consent(case, rania):
    actor = cast.signed_in(rania)
    with custody.unattended(), pytest.raises(NotAllowed):
        bundle.request(case=case, actor=actor, override="because", **{**COURT, "destination": "public"})
    with pytest.raises(NotAllowed):
        bundle.request(
            case=case, actor=Actor.system(), override="because", **{**COURT, "destination": "public"}
        )
    assert not ConsentOverride.objects.exists()


def test_consent_withdrawn_after_the_request_stops_building_and_download(case, rania):
    actor = cast.signed_in(rania)
    made = bundle.request(case=case, actor=actor, **COURT)
    source = case.sources.get(code="S-1")
    cases.change_source(source=source, actor=actor, may_go_to_courts="no")
    jobs.run_waiting("evidence.build")
    made.refresh_from_db()
    assert made.state == Bundle.State.FAILED and "handed to courts" in made.problem
    cases.change_source(source=source, actor=actor, may_go_to_courts="yes")
    made = bundle.request(case=case, actor=actor, **COURT)
    jobs.run_waiting("evidence.build")
    made.refresh_from_db()
    cases.change_source(source=source, actor=actor, may_go_to_courts="no")
    with pytest.raises(consent.ConsentConflict):
        bundle.download(bundle=made, actor=actor)
    assert not DisclosureRecord.objects.exists()


def test_conflict_is_shown_and_only_what_was_shown_can_be_overridden(case, rania):
    web = cast.browser(rania)
    asked = {"reason": "For the exhibition", **COURT, "destination": "public", "disclosed": ["case"]}
    page = web.post("/cases/HARBOUR-1/bundles/", asked)
    assert page.status_code == 422 and b"S-1" in page.content and b"shown in public" in page.content
    seen = page.context["seen"]
    assert web.post("/cases/HARBOUR-1/bundles/", {**asked, "override": "Asked for"}).status_code == 422
    of(cast.source(case, code="S-9"), Item.objects.get(case=case, number=3))
    assert (
        web.post("/cases/HARBOUR-1/bundles/", {**asked, "override": "Asked for", "seen": seen}).status_code
        == 422
    )
    seen = web.post("/cases/HARBOUR-1/bundles/", asked).context["seen"]
    done = web.post("/cases/HARBOUR-1/bundles/", {**asked, "override": "Asked for", "seen": seen})
    assert done.status_code == 302
    made = Bundle.objects.get()
    assert made.overrides.count() == 2 and made.overrides.first().by == rania
    page = web.get(done.url).content.decode()
    assert "Exported although consent stands against it" in page and "Asked for" in page


def test_shell_overrides_by_name_with_a_reason(case, tmp_path, capsys):
    options = ["--case", "HARBOUR-1", "--out", str(tmp_path / "b"), "--for", "public"]
    options += ["--recipient", "Museum", "--basis", "Agreement 4"]
    with pytest.raises(CommandError, match="S-1"):
        call_command("bundle", "export", *options)
    call_command("bundle", "export", *options, "--override-consent", "The families asked")
    assert events(f"source:{case.sources.get(code='S-1').pk}")[-1] == "source.consent_overridden"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"destination": "court"}, "who gets this bundle"),
        ({"destination": "moon"}, "Unknown: moon"),
        ({"volume_size": 10}, "A volume holds at least"),
        ({"keys": (("X", "age1nonsense"),)}, "not an age key"),
        ({"keys": (KEY, KEY)}, "named twice"),
    ],
)
def test_terms_that_make_no_sense_are_refused(case, tmp_path, said, words):
    with pytest.raises(BadInput, match=words):
        exported(case, tmp_path / "b", **said)
    assert not Bundle.objects.exists()


def test_sizes_and_keys_as_people_write_them():
    assert [terms.size_of(t) for t in ("4GiB", "700 MB", "12", "1k", "1.5")[:4]] == [
        2**32,
        7 * 10**8,
        12,
        1000,
    ]
    assert terms.key_of(f" Court  of Beira = {KEY[1]}") == ("Court of Beira", KEY[1])
    for bad in ("big", "1.5G", "-4"):
        with pytest.raises(BadInput):
            terms.size_of(bad)
    with pytest.raises(BadInput, match="whose key"):
        terms.key_of(KEY[1])


# --- the policy -----------------------------------------------------------------------------------------------------


def test_bundle_is_not_signed_without_the_witnesses_that_the_policy_asks_for(case, tmp_path, settings):
    from archive.custody.notes import COSIGNATURE, VerifierKey

    witness = VerifierKey("witness.example", COSIGNATURE, bytes(range(32)))
    settings.POLICY_FILE = tmp_path / "policy"
    settings.POLICY_FILE.write_text(f"witness beira {witness}\nquorum beira\n")
    with pytest.raises(NotWitnessed, match="The bundle is not signed.*beira"):
        exported(case, tmp_path / "b")
    assert [f.name for f in tmp_path.iterdir()] == ["policy"]
    assert Bundle.objects.get().state == Bundle.State.FAILED
    settings.POLICY_FILE.write_text("quorum none\n")
    assert exported(case, tmp_path / "b").state == Bundle.State.BUILT


# --- age ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path):
    """The private key of the holder, as the age program reads it."""
    file = tmp_path / "court.key"
    file.write_text(f"{HOLDER}\n")
    return file


@pytest.mark.embedded
def test_encrypted_bundle_opens_with_the_age_program(case, tmp_path, keys):
    if shutil.which("age") is None:
        pytest.skip(
            "NOT RUN: the age program is not installed (apt-get install age); pyrage alone is not the proof"
        )
    made = exported(
        case,
        tmp_path / "b.zip.age",
        keys=(KEY, ("Second", str(pyrage.x25519.Identity.generate().to_public()))),
    )
    command = ["age", "-d", "-i", str(keys), "-o", str(tmp_path / "b.zip"), str(tmp_path / "b.zip.age")]
    subprocess.run(command, check=True)
    status, said = check(tmp_path / "b.zip", tmp_path)
    assert status == 0 and "3 originals" in said, said
    assert [name for name, _ in made.keys] == ["Court of Beira", "Second"]


@pytest.mark.embedded
def test_encrypted_bundle_from_the_screen_is_what_its_holder_opens(case, rania, tmp_path):
    web = cast.browser(rania)
    asked = {"reason": "x", **COURT, "keys": f"Court of Beira = {KEY[1]}\n"}
    assert web.post("/cases/HARBOUR-1/bundles/", asked).status_code == 302
    jobs.run_waiting("evidence.build")
    made = Bundle.objects.get()
    answer = web.post(f"/bundles/{made.pk}/download")
    assert answer["Content-Disposition"].endswith('.zip.age"')
    (tmp_path / "b.zip").write_bytes(pyrage.decrypt(answer.getvalue(), [HOLDER]))
    assert check(tmp_path / "b.zip", tmp_path)[0] == 0
    assert "Court of Beira" in web.get(f"/bundles/{made.pk}/").content.decode()


def test_encryption_keeps_memory_and_says_what_broke():
    def pieces():
        yield b"x" * 3_000_000
        raise KeyError("boom")

    out = io.BytesIO()
    with pytest.raises(KeyError):
        recipients.encrypt(pieces(), [KEY[1]], out)
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(out.getvalue(), [HOLDER])
    with pytest.raises(KeyError):
        recipients.encrypted(pieces(), [KEY[1]], lambda stream: stream.read())
    with pytest.raises(ZeroDivisionError):
        recipients.encrypted(iter([b"x" * 3_000_000]), [KEY[1]], lambda stream: stream.read(10) and 1 // 0)
    whole = recipients.encrypted(iter([b"x" * 3_000_000]), [KEY[1]], lambda stream: stream.read())
    assert pyrage.decrypt(whole, [HOLDER]) == b"x" * 3_000_000


# --- redactions -----------------------------------------------------------------------------------------------------


@pytest.fixture
def redacted(case, monkeypatch):
    """Items 1 and 2 have an approved redaction each."""
    from django.db import transaction

    from archive import vault
    from archive.models import Blob, Rendition
    from evidence import redaction
    from evidence.models import Redaction

    released = {}
    for item in Item.objects.filter(case=case, number__lt=3):
        stored = vault.put(io.BytesIO(cast.jpeg(seed=1_000_000 + item.number)))
        Blob.objects.bulk_create([Blob(sha256=stored.sha256, size=stored.size, stored_at=timezone.now())])
        row = Rendition(
            item=item,
            kind=Rendition.Kind.REDACTED,
            original_sha256=item.sha256,
            recipe="redaction",
            blob_id=stored.sha256,
            media_type="image/jpeg",
            made_at=timezone.now(),
        )
        by = cast.person("researcher")
        now = timezone.now()
        done = Redaction(
            item=item,
            number=1,
            state="approved",
            begun_by=by,
            begun_at=now,
            draft={"boxes": []},
            draft_sha256="0" * 64,
            recipe_sha256="1" * 64,
            confirmed_by=by,
            confirmed_at=now,
            rendition=row,
            approved_by=by,
            approved_at=now,
        )
        with transaction.atomic(durable=True):
            custody.write(row, event="item.rendition_made", actor=Actor.system())
            custody.write(done, event="item.redaction_approved", actor=cast.signed_in(by))
        record = {
            "redaction": str(done.pk),
            "size": stored.size,
            "recipe": {"boxes": []},
            "recipe_sha256": "1" * 64,
        }
        released[item.pk] = [SimpleNamespace(rendition=row, record=record)]
    monkeypatch.setattr(redaction, "approved", lambda item: released.get(item.pk, []))
    return Item.objects.filter(case=case, number__lt=3)


@pytest.mark.embedded
def test_redacted_bundle_holds_no_byte_of_an_original(case, redacted, tmp_path):
    exported(case, tmp_path / "b", items=[i.pk for i in redacted], files="redacted")
    assert statement(tmp_path / "b")["files"] == "redacted" and not (tmp_path / "b/data/originals").exists()
    everything = b"".join(f.read_bytes() for f in (tmp_path / "b").rglob("*") if f.is_file())
    hashes = {
        bag.hashlib.sha256(f.read_bytes()).hexdigest() for f in (tmp_path / "b").rglob("*") if f.is_file()
    }
    for item in redacted:
        row = next(r for r in rows(tmp_path / "b", "metadata/items") if r["id"] == str(item.pk))
        assert row["path"] is None and row["sha256"] == item.sha256 and item.sha256 not in hashes
        (given,) = row["redactions"]
        assert given["original_sha256"] == item.sha256 and given["recipe"] == {"boxes": []}
        assert (
            bag.hashlib.sha256((tmp_path / "b" / given["path"]).read_bytes()).hexdigest() == given["sha256"]
        )
        with bundle.vault.open(item.sha256) as original:
            assert original.read()[-600:] not in everything
        for rendition in item.renditions.exclude(kind="redacted"):
            assert rendition.blob_id not in hashes


def test_item_without_approved_redaction_is_refused_by_name(case, redacted, tmp_path):
    with pytest.raises(BadInput, match="1 of these items have no approved redaction .HARBOUR-1/0003"):
        exported(case, tmp_path / "b", files="redacted")
    assert not list(tmp_path.iterdir())
    exported(case, tmp_path / "b", files="both")
    given = rows(tmp_path / "b", "metadata/items")
    assert [len(r["redactions"]) for r in given] == [1, 1, 0] and all(r["path"] for r in given)


# --- the register ---------------------------------------------------------------------------------------------------


def test_each_way_out_is_in_the_register(case, rania, tmp_path):
    actor = cast.signed_in(rania)
    exported(case, tmp_path / "b", approved_by="Lucía Ferrer", **COURT)
    made = bundle.request(case=case, actor=actor, keys=(KEY,), **COURT)
    jobs.run_waiting("evidence.build")
    made.refresh_from_db()
    bundle.download(bundle=made, actor=actor)
    register.hand_on(bundle=made, actor=actor, recipient="=Defence", basis="Rule 66", note="By courier")
    assert events(made.custody_subject())[-3:] == [
        "bundle.downloaded",
        "bundle.disclosed",
        "bundle.disclosed",
    ]
    records = list(register.of_case(case))
    assert [r.way for r in records] == ["handed_on", "download", "shell"]
    assert [r.recipient for r in records] == ["=Defence", "Court of Beira", "Court of Beira"]
    assert records[1].recipient_keys == [KEY[1]] and "names" in records[1].withheld
    assert records[2].approved_by == "Lucía Ferrer" and records[2].by is None
    web = cast.browser(rania)
    page = web.get("/cases/HARBOUR-1/bundles/register").content.decode()
    assert "Rule 66" in page and "Order 7/2026" in page and "Names of staff" in page
    table = web.post("/cases/HARBOUR-1/bundles/register.csv")
    given = list(csv.DictReader(io.StringIO(table.content.decode("utf-8-sig"))))
    assert [r["recipient"] for r in given] == ["'=Defence", "Court of Beira", "Court of Beira"]
    assert given[1]["keys"] == f"Court of Beira: {KEY[1]}" and "names" in given[1]["withheld"]
    assert CustodyEvent.objects.filter(type="case.list_exported").count() == 1
    assert verify().answer == "good"
    with pytest.raises(BadInput, match="Say who"):
        register.hand_on(bundle=made, actor=actor, recipient=" ", basis="x")


def test_request_states_who_gets_it_and_bundle_says_so_where_reasons_are_given(case, tmp_path):
    exported(case, tmp_path / "b", approved_by="Lucía Ferrer", keys=(), **COURT)
    openings = (tmp_path / "b/data/custody/openings.jsonl").read_text()
    assert "Order 7/2026" in openings and "Lucía" not in openings
    exported(case, tmp_path / "c", disclosed=["names"], approved_by="Lucía Ferrer", **COURT)
    openings = (tmp_path / "c/data/custody/openings.jsonl").read_text()
    assert "Order 7/2026" not in openings and "Lucía" in openings


def test_hand_on_from_the_page(case, rania, tmp_path):
    made = exported(case, tmp_path / "b")
    web = cast.browser(rania)
    assert web.post(f"/bundles/{made.pk}/hand-on", {"recipient": "X"}).status_code == 422
    assert web.post(f"/bundles/{made.pk}/hand-on", {"recipient": "X", "basis": "Y"}).status_code == 302
    assert made.disclosures.count() == 2


# --- for programs ---------------------------------------------------------------------------------------------------


def test_api_asks_follows_and_downloads(case, rania, tmp_path):
    web = cast.browser(rania)
    asked = {"reason": "For the court", **COURT, "recipients": [f"Court = {KEY[1]}"]}
    made = web.post("/api/cases/HARBOUR-1/bundles/", json.dumps(asked), content_type="application/json")
    assert made.status_code == 201 and made.json()["pictures"], made.content
    one = f"/api/bundles/{made.json()['id']}/"
    assert web.get(one).json()["state"] == "requested"
    jobs.run_waiting("evidence.build")
    said = web.get(one).json()
    assert (
        said["state"] == "built"
        and said["volumes"][0]["of"] == 1
        and said["recipients"] == [f"Court={KEY[1]}"]
    )
    answer = web.post(f"{one}download")
    (tmp_path / "b.zip").write_bytes(pyrage.decrypt(answer.getvalue(), [HOLDER]))
    assert check(tmp_path / "b.zip", tmp_path)[0] == 0
    assert web.post(f"{one}download?volume=2").status_code == 404
    assert web.post(f"{one}cancel").status_code == 409
    listed = web.get("/api/cases/HARBOUR-1/bundles/").json()["results"]
    assert [b["id"] for b in listed] == [made.json()["id"]]
    assert web.get("/api/cases/HARBOUR-1/disclosures/").json()["results"][0]["basis"] == "Order 7/2026"


def test_api_names_the_conflict(case, rania):
    web = cast.browser(rania)
    asked = {"reason": "x", **COURT, "destination": "public"}
    answer = web.post("/api/cases/HARBOUR-1/bundles/", json.dumps(asked), content_type="application/json")
    assert answer.status_code == 422 and answer.json()["code"] == "consent-conflict"
    asked["override_consent"] = "The families asked"
    assert (
        web.post(
            "/api/cases/HARBOUR-1/bundles/", json.dumps(asked), content_type="application/json"
        ).status_code
        == 201
    )
