"""How bags are packed: names, manifests, streams, cells. What exporter and verifier must agree on, they do."""

import hashlib
import importlib.util
import io
import zipfile
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.custody.canonical import canonical
from archive.errors import BadInput, Damaged, LimitExceeded
from evidence import bag, contents, report
from evidence.disclosure import DEFAULT, GROUPS, Disclosure
from tests.unit.evidence.forge import VERIFIER

spec = importlib.util.spec_from_file_location("verify_bundle", VERIFIER)
verifier = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verifier)


@given(st.text(max_size=400))
def test_any_name_becomes_one_that_every_reader_can_hold(name):
    safe = bag.safe_name(name)
    assert verifier.unsafe(safe) == "" and "/" not in safe
    assert (
        0 < len(safe.encode()) <= 255
        and not safe.startswith((".", " ", "-"))
        and not safe.endswith((".", " "))
    )
    assert bag.encoded(safe) == safe, "bagit.py does not decode percent signs"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("صورة ٢.jpg", "صورة ٢.jpg"),
        ("cafe\u0301.png", "café.png"),
        ("../../etc/passwd", "__.._etc_passwd"),
        ("a\r\nb%.jpg", "a__b_.jpg"),
        ("CON.jpg", "_CON.jpg"),
        ("gpj\u202eexe.jpg", "gpj_exe.jpg"),
        ("", "original"),
        ("x" * 500 + ".mp4", "x" * 156 + ".mp4"),
        ("ع" * 500 + ".mp4", "ع" * 78 + ".mp4"),
    ],
)
def test_names(name, safe):
    assert bag.safe_name(name) == safe


def test_manifest_encodes_line_ends_and_percent_signs_and_nothing_else():
    assert bag.encoded("data/50% à\r\n x") == "data/50%25 à%0D%0A x"


def test_wrong_bytes_of_an_original_end_the_export(tmp_path):
    for pieces in ([b"x"], [bytes(2**20)] * 40):
        payload = [bag.Entry("data/a", pieces, sha256="0" * 64), bag.Entry("data/b", [b"y"])]
        durable = []
        with pytest.raises(Damaged):
            bag.write_folder(bag.bag(payload, {}, lambda _: {}, lambda _: {}), tmp_path, durable.append)
        assert "data/a" not in [entry.path for entry in durable]


def test_both_hashes_are_noted_in_one_pass_and_known_files_are_not_read_again():
    known = bag.Digests("a" * 64, "b" * 128, 7)
    payload = [bag.Entry("data/x", [b"one", bytes(2**20)]), bag.Entry("data/y", None, digests=known)]
    told: dict[str, bytes] = {}
    hashes: dict[str, str] = {}
    for entry in bag.bag(
        payload, {}, lambda m: {"Payload-Oxum": f"{m.octets}.{m.files}"}, lambda h: hashes.update(h) or {}
    ):
        told[entry.path] = b"".join(entry.pieces)
    assert "data/y" not in told and told["bag-info.txt"] == b"Payload-Oxum: 1048586.2\n"
    whole = b"one" + bytes(2**20)
    for algorithm, other in (("sha256", known.sha256), ("sha512", known.sha512)):
        lines = told[f"manifest-{algorithm}.txt"].decode().splitlines()
        assert lines == [f"{hashlib.new(algorithm, whole).hexdigest()}  data/x", f"{other}  data/y"]
        tags = told[f"tagmanifest-{algorithm}.txt"]
        assert hashes[algorithm] == hashlib.new(algorithm, tags).hexdigest()
        assert {line.split("  ")[1] for line in tags.decode().splitlines()} == {
            "bagit.txt",
            "bag-info.txt",
            "manifest-sha256.txt",
            "manifest-sha512.txt",
        }


def test_folder_is_written_over_what_an_earlier_attempt_left(tmp_path):
    (tmp_path / "b/data").mkdir(parents=True)
    (tmp_path / "b/data/a").write_text("half of it")
    durable = []
    size = bag.write_folder([bag.Entry("data/a", [b"whole"])], tmp_path / "b", durable.append)
    assert size == 5 and (tmp_path / "b/data/a").read_bytes() == b"whole" and durable[0].path == "data/a"


def test_zip_streams_and_opens():
    entries = [bag.Entry("a.txt", [b"one", b"", b"two"]), bag.Entry("data/ü", [b"x" * 3_000_000])]
    stream = bag.Stream(bag.zip_pieces(entries, "top", datetime(2026, 11, 21, tzinfo=UTC)))
    with zipfile.ZipFile(io.BytesIO(stream.read())) as z:
        assert z.namelist() == ["top/a.txt", "top/data/ü"] and z.testzip() is None
        assert z.read("top/a.txt") == b"onetwo"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=8,
)


@given(JSON)
def test_exporter_and_verifier_write_cells_and_json_alike(value):
    assert contents.cell(value) == verifier.as_cell(value)
    assert verifier.parse(canonical(value), "here") == value


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "\r=1", "＝1", "'quoted"])
def test_cell_that_a_spreadsheet_could_run_is_made_text(text):
    assert contents.cell(text) == "'" + text


def test_disclosure_withholds_what_no_group_names():
    event = {"subject": "item:1", "payload": {"record": "archive.user", "set": {}}}
    everything = Disclosure(GROUPS)
    assert not everything.opens(event, "/payload/identity")
    assert not everything.opens({**event, "payload": {}}, "/payload/set/file_name")
    assert everything.opens(event, "/payload/set/name") and not Disclosure().opens(event, "/payload/set/name")
    assert everything.opens(event, "/actor/name") and not Disclosure().opens(event, "/actor/name")
    assert Disclosure().opens(event, "/reason") and not Disclosure().opens(
        {**event, "subject": "case:1"}, "/reason"
    )
    assert Disclosure().groups == DEFAULT
    with pytest.raises(BadInput, match="Unknown group"):
        Disclosure(["identities"])


def test_report_shows_characters_that_hide_others():
    assert report.said("gpj\u202eexe.jpg") == "gpj[\\u202e]exe.jpg"
    assert report.said({"withheld": True}) == "withheld" and report.said(None) == "unknown"


def test_entry_that_no_verifier_would_read_is_refused(tmp_path):
    (tmp_path / "metadata").mkdir()
    table = contents.Table(tmp_path, "metadata/sources")
    row = dict.fromkeys(contents.COLUMNS["metadata/sources"], "x")
    with pytest.raises(LimitExceeded):
        table.add({**row, "legal_basis": "x" * contents.MAX_LINE})
    table.add(row)
    table.close()
    assert contents.MAX_LINE < verifier.MAX_LINE
    assert (tmp_path / "metadata/sources.json").read_bytes().count(b"\n") == 3
