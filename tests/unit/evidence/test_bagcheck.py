"""RFC 8493 bag by bag: the Library of Congress's conformance suite, and our own bad bags, each named by its fault."""

import hashlib
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from archive.errors import BadInput
from evidence import bagcheck

SUITE = Path(__file__).parents[2] / "vectors" / "bagit" / "conformance-suite.zip"
CATEGORIES = ("valid", "invalid", "warning", "linux-only", "windows-only")
with zipfile.ZipFile(SUITE) as packed:
    BAGS = sorted({"/".join(name.split("/")[:3]) for name in packed.namelist() if name.count("/") > 2})
ODD = {  # not what they were meant to be, as git holds them: tests/vectors/bagit/README.md
    "v0.97/warning/duplicate-file-with-different-case": "bad",
    "v0.97/warning/special-system-files": "bad",
    "v0.97/warning/same-filename-listed-twice-with-different-normalization": "could not check",
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    with zipfile.ZipFile(SUITE) as packed:
        packed.extractall(folder)
    return folder


@pytest.mark.parametrize("name", BAGS)
def test_conformance_suite(suite, name):
    report = check(suite / name)
    expected = ODD.get(name) or ("good" if name.split("/")[1] in ("valid", "warning") else "bad")
    assert report.answer == expected, report.faults
    if name.split("/")[1] == "warning" and name not in ODD:
        assert report.warnings


def test_the_suite_is_whole():
    assert len(BAGS) == 46 and {name.split("/")[1] for name in BAGS} == set(CATEGORIES)


# --- our own ----------------------------------------------------------------------------------------------------------


def check(path, **options):
    bag = bagcheck.open_bag(path)
    try:
        return bagcheck.check(bag, **options)
    finally:
        bag.close()


def line(name, data, algorithm="sha512"):
    return f"{hashlib.new(algorithm, data).hexdigest()}  {name}\n"


def make(folder, files=None, version="1.0", **tags):
    """A good bag of two files, with these tag files changed (None: left out), its tag manifest made last."""
    files = files or {"data/a.jpg": b"first", "data/b/ç%.jpg": b"second"}
    encoded = {name: name.replace("%", "%25") if version == "1.0" else name for name in files}
    held = {
        "bagit.txt": f"BagIt-Version: {version}\nTag-File-Character-Encoding: UTF-8\n".encode(),
        "manifest-sha512.txt": "".join(line(encoded[n], data) for n, data in files.items()).encode(),
        "bag-info.txt": f"Payload-Oxum: {sum(map(len, files.values()))}.{len(files)}\n".encode(),
    }
    held |= {name.replace("_", "-").replace("--", "."): data for name, data in tags.items()}
    held = {name: data for name, data in held.items() if data is not None}
    if "tagmanifest-sha512.txt" not in held:
        held["tagmanifest-sha512.txt"] = "".join(line(n, data) for n, data in held.items()).encode()
    for name, data in {**files, **held}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def codes(report):
    return {fault.code for fault in report.faults}


@pytest.mark.parametrize("version", ["0.97", "1.0"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_good_bag_in_every_way_to_end_a_line(tmp_path, version, end):
    make(tmp_path, version=version)
    for name in ("bagit.txt", "bag-info.txt", "manifest-sha512.txt"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"\n", end))
    os.unlink(tmp_path / "tagmanifest-sha512.txt")
    report = check(tmp_path)
    assert report.answer == "good" and not report.warnings, report.faults
    assert report.payload == ["data/a.jpg", "data/b/ç%.jpg"]
    assert report.hashes["data/a.jpg"]["sha256"] == hashlib.sha256(b"first").hexdigest()


def test_good_bag_in_a_zip(tmp_path):
    report = check(packed_bag(make(tmp_path / "bag"), tmp_path / "bag.zip"))
    assert report.answer == "good" and len(report.payload) == 2


def packed_bag(folder, to, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(to, "w", compression) as packed:
        for file in sorted(folder.rglob("*")):
            packed.write(file, f"bag/{file.relative_to(folder)}")
    return to


M = "manifest_sha512__txt"
GOOD = line("data/a.jpg", b"first").encode()
OTHER = line("data/b/ç%25.jpg", b"second").encode()
BAD_10 = {
    "bag_without_declaration": ({"bagit__txt": None}, "no-declaration"),
    "bag_with_space_before_the_colon": ({"bagit__txt": b"BagIt-Version : 1.0\nTag-File-Character-Encoding: UTF-8\n"}, "declaration"),
    "bag_with_space_after_the_version": ({"bagit__txt": b"BagIt-Version: 1.0 \nTag-File-Character-Encoding: UTF-8\n"}, "declaration"),
    "bag_with_lines_of_the_declaration_swapped": ({"bagit__txt": b"Tag-File-Character-Encoding: UTF-8\nBagIt-Version: 1.0\n"}, "declaration"),
    "bag_with_a_third_line_in_the_declaration": ({"bagit__txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\nMore: 1\n"}, "declaration"),
    "bag_with_a_byte_order_mark": ({"bagit__txt": b"\xef\xbb\xbfBagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"}, "byte-order-mark"),
    "bag_with_a_byte_order_mark_in_the_manifest": ({M: b"\xef\xbb\xbf" + GOOD + OTHER}, "byte-order-mark"),
    "bag_without_manifest": ({M: None}, "no-manifest"),
    "bag_with_a_manifest_that_is_not_utf8": ({M: GOOD + OTHER + b"\xff\xfe\n"}, "encoding"),
    "bag_with_a_manifest_line_without_path": ({M: GOOD + OTHER + b"00\n"}, "manifest-line"),
    "bag_with_a_short_hash": ({M: GOOD + OTHER[1:]}, "manifest-line"),
    "bag_with_an_empty_line": ({M: GOOD + b"\n" + OTHER}, "manifest-line"),
    "bag_with_a_file_listed_twice": ({M: GOOD + GOOD + OTHER}, "listed-twice"),
    "bag_with_a_file_not_listed": ({M: GOOD}, "unlisted"),
    "bag_with_a_file_missing": ({M: GOOD + OTHER + line("data/c", b"").encode()}, "missing"),
    "bag_with_a_wrong_hash": ({M: GOOD + line("data/b/ç%25.jpg", b"other").encode()}, "hash"),
    "bag_with_a_percent_sign_not_encoded": ({M: GOOD + line("data/b/ç%.jpg", b"second").encode()}, "percent"),
    "bag_with_a_space_encoded": ({M: GOOD + OTHER + line("data/a%20b", b"").encode()}, "percent"),
    "bag_with_an_asterisk": ({M: GOOD.replace(b"  ", b" *") + OTHER}, "not-payload"),
    "bag_with_a_dot_and_slash": ({M: GOOD.replace(b"data", b"./data") + OTHER}, "leads-out"),
    "bag_with_a_tag_file_in_the_manifest": ({M: GOOD + OTHER + line("bag-info.txt", b"").encode()}, "not-payload"),
    "bag_with_a_folder_in_the_manifest": ({M: GOOD + OTHER + line("data/b", b"").encode()}, "missing"),
    "bag_with_a_path_up": ({M: GOOD + OTHER + line("data/../../etc/passwd", b"").encode()}, "leads-out"),
    "bag_with_an_absolute_path": ({M: GOOD + OTHER + line("/etc/passwd", b"").encode()}, "leads-out"),
    "bag_with_a_home_folder": ({M: GOOD + OTHER + line("~root/x", b"").encode()}, "leads-out"),
    "bag_with_a_drive_letter": ({M: GOOD + OTHER + line("C:/x", b"").encode()}, "leads-out"),
    "bag_with_backslashes": ({M: GOOD + OTHER + line("data\\..\\..\\x", b"").encode()}, "leads-out"),
    "bag_with_a_tag_manifest_that_lists_payload": ({"tagmanifest_sha512__txt": GOOD}, "tag-lists-payload"),
    "bag_with_a_tag_manifest_that_omits_the_manifest": ({"tagmanifest_sha512__txt": b""}, "tag-omits-manifest"),
    "bag_with_a_tag_manifest_that_lists_a_tag_manifest": ({"tagmanifest_sha512__txt": line("tagmanifest-md5.txt", b"").encode()}, "tag-lists-itself"),
    "bag_with_two_manifests_that_differ": ({"manifest_md5__txt": line("data/a.jpg", b"first", "md5").encode()}, "unlisted"),
    "bag_with_two_manifests_of_which_one_is_wrong": ({"manifest_md5__txt": b"".join(line(n, d, "md5").encode() for n, d in (("data/a.jpg", b"x"), ("data/b/\xc3\xa7%25.jpg".encode("latin-1").decode(), b"second")))}, "hash"),
    "bag_with_metadata_without_space": ({"bag_info__txt": b"Contact-Name:Ana\n"}, "bag-info-line"),
    "bag_with_metadata_with_space_before_the_colon": ({"bag_info__txt": b"Contact-Name : Ana\n"}, "bag-info-line"),
    "bag_with_metadata_without_colon": ({"bag_info__txt": b"nothing\n"}, "bag-info-line"),
    "bag_with_a_continuation_of_nothing": ({"bag_info__txt": b"  more\n"}, "bag-info-line"),
    "bag_with_a_wrong_sum": ({"bag_info__txt": b"Payload-Oxum: 12.2\n"}, "oxum"),
    "bag_with_two_sums": ({"bag_info__txt": b"Payload-Oxum: 11.2\nPayload-Oxum: 11.2\n"}, "oxum-twice"),
    "bag_with_a_fetch_line_without_length": ({"fetch__txt": b"http://example.org/a data/a.jpg\n"}, "fetch-line"),
    "bag_with_a_fetch_line_without_uri": ({"fetch__txt": b"a - data/a.jpg\n"}, "fetch-line"),
    "bag_that_fetches_a_tag_file": ({"fetch__txt": b"http://example.org/a - bag-info.txt\n"}, "fetch-tag-file"),
    "bag_that_fetches_what_no_manifest_lists": ({"fetch__txt": b"http://example.org/a - data/zz\n"}, "fetch-unlisted"),
    "bag_that_fetches_to_a_drive": ({"fetch__txt": b"http://example.org/a - C:\\Windows\\x\n"}, "leads-out"),
    "bag_that_fetches_to_a_variable": ({"fetch__txt": b"http://example.org/a - %HomeDrive%\\x\n"}, "percent"),
    "bag_that_fetches_to_another_machine": ({"fetch__txt": b"http://example.org/a - \\\\?\\UNC\\server\\x\n"}, "leads-out"),
    "bag_with_a_file_yet_to_be_fetched": (
        {M: GOOD + OTHER + line("data/c", b"").encode(), "fetch__txt": b"http://127.0.0.1:9/c - data/c\n"},
        "not-fetched",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_10)
def test_bad_bag_of_version_1_0(tmp_path, name):
    change, code = BAD_10[name]
    report = check(make(tmp_path, **change))
    assert report.answer == "bad" and code in codes(report), report.faults
    assert all(fault.file and fault.sentence for fault in report.faults)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({M: GOOD + GOOD + line("data/b/ç%.jpg", b"second").encode()}, "listed-twice"),
        ({M: GOOD.replace(b"  ", b" *") + line("data/b/ç%.jpg", b"second").encode()}, "asterisk"),
        ({M: GOOD.replace(b"data", b"./data") + line("data/b/ç%.jpg", b"second").encode()}, "dot-slash"),
    ],
)
def test_what_version_0_97_bears_with_a_warning(tmp_path, change, code):
    report = check(make(tmp_path, version="0.97", **change))
    assert report.answer == "good" and {fault.code for fault in report.warnings} == {code}


def test_version_0_97_wants_a_file_in_one_manifest_and_bears_space_around_colons(tmp_path):
    md5 = line("data/a.jpg", b"first", "md5").encode()
    rest = line("data/b/ç%.jpg", b"second").encode()
    info = b"Contact-Name  :   Ana\n   Pereira\nContact-Name: B\n"
    report = check(make(tmp_path, version="0.97", manifest_md5__txt=md5, bag_info__txt=info, **{M: rest}))
    assert report.answer == "good", report.faults
    assert report.info == [("Contact-Name", "Ana Pereira"), ("Contact-Name", "B")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"bagit__txt": b"BagIt-Version: 2.0\nTag-File-Character-Encoding: UTF-8\n"}, "version"),
        ({"bagit__txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: rot13\n"}, "encoding-unknown"),
        ({"manifest_sha3256__txt": b"00  data/a.jpg\n"}, "algorithm"),
    ],
)
def test_what_is_not_known_could_not_be_checked(tmp_path, change, code):
    report = check(make(tmp_path, **change))
    assert report.answer == "could not check" and [fault.code for fault in report.unknown] == [code]


def test_bag_without_payload_folder(tmp_path):
    (tmp_path / "bagit.txt").write_bytes(b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    (tmp_path / "manifest-sha512.txt").write_bytes(b"")
    assert codes(check(tmp_path)) == {"no-payload-folder"}
    (tmp_path / "data").mkdir()
    assert check(tmp_path).answer == "good"


def test_names_in_another_unicode_form_are_found_and_noted(tmp_path):
    make(tmp_path, {"data/c\u0327.jpg": b"x"}, manifest_sha512__txt=line("data/ç.jpg", b"x").encode())
    report = check(tmp_path)
    assert report.answer == "good" and [fault.code for fault in report.warnings] == ["normalization"]


def test_line_breaks_in_names_are_decoded(tmp_path):
    make(tmp_path, {"data/a\nb\r": b"x"}, manifest_sha512__txt=line("data/a%0Ab%0d", b"x").encode())
    assert check(tmp_path).answer == "good"


def test_links_and_pipes_are_named_and_not_followed(tmp_path):
    bag, secret = make(tmp_path / "bag"), tmp_path / "secret"
    secret.write_bytes(b"first")
    (bag / "data/a.jpg").unlink()
    (bag / "data/a.jpg").symlink_to(secret)
    os.mkfifo(bag / "data/pipe")
    assert {"link", "missing"} <= codes(check(bag))
    (tmp_path / "elsewhere").mkdir()
    (bag / "linked").symlink_to(tmp_path / "elsewhere")
    assert ("link", "linked") in {(fault.code, fault.file) for fault in check(bag).faults}


def test_a_folder_that_becomes_a_link_after_it_was_listed_is_not_followed(tmp_path):
    bag = bagcheck.open_bag(make(tmp_path / "bag"))
    (tmp_path / "bag/data").rename(tmp_path / "data")
    (tmp_path / "bag/data").symlink_to(tmp_path / "data")
    report = bagcheck.check(bag)
    assert report.answer == "could not check" and {fault.code for fault in report.unknown} == {"unreadable"}


def test_hostile_zips_are_named(tmp_path):
    bag = make(tmp_path / "bag")
    for number, (name, attributes) in enumerate(
        (("bag/../x", 0o100644), ("/x", 0o100644), ("bag/a\\b", 0o100644), ("bag/link", stat.S_IFLNK | 0o777))
    ):
        file = packed_bag(bag, tmp_path / f"{number}.zip")
        with zipfile.ZipFile(file, "a") as packed:
            info = zipfile.ZipInfo(name)
            info.external_attr = attributes << 16
            packed.writestr(info, "/etc/passwd")
        assert "zip" in codes(check(file)), name
    file = packed_bag(bag, tmp_path / "twice.zip")
    with pytest.warns(UserWarning), zipfile.ZipFile(file, "a") as packed:
        packed.writestr("bag/bagit.txt", "x")
    assert "zip" in codes(check(file))
    file = packed_bag(bag, tmp_path / "cut.zip", zipfile.ZIP_STORED)
    file.write_bytes(file.read_bytes().replace(b"first", b"fIrst"))
    assert "damaged" in codes(check(file))
    file = packed_bag(bag, tmp_path / "patched.zip", zipfile.ZIP_STORED)
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # says that it is a patch to another file
        raw = bytearray(file.read_bytes())
        raw[raw.index(mark) + at] |= 0x20
        file.write_bytes(raw)
    assert "zip" in codes(check(file))
    end = struct.pack("<4sQHHLL4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 2**64 - 1, 0)
    end += struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1) + struct.pack(
        "<4s4HLLH", b"PK\5\6", 0, 0, 1, 1, 2**32 - 1, 0, 0
    )
    (tmp_path / "huge.zip").write_bytes(end)
    for no_bag in (make(tmp_path / "other") / "bagit.txt", tmp_path / "huge.zip"):
        with pytest.raises(BadInput, match="Nothing was imported"):
            check(no_bag)


def test_hashes_of_an_earlier_run_are_not_made_again_unless_the_file_changed(tmp_path):
    make(tmp_path)
    journal = {}
    assert check(tmp_path, tell=journal.__setitem__).answer == "good"
    again = []
    assert check(tmp_path, known=journal, tell=lambda name, _: again.append(name)).answer == "good"
    assert again == []
    (tmp_path / "data/a.jpg").write_bytes(b"FIRST")
    assert codes(check(tmp_path, known=journal, tell=lambda name, _: again.append(name))) == {"hash"}
    assert again == ["data/a.jpg"]


def test_progress_is_told_in_bytes(tmp_path):
    told = []
    check(make(tmp_path), progress=lambda step, done, total=None: told.append((step, done, total)))
    assert told[-1][0] == "check" and told[-1][1] == told[-1][2] > 0


@pytest.mark.parametrize(
    ("name", "line", "code"),
    [("bag-info.txt", b" c\n", "too-large"), ("tagmanifest-sha256.txt", b"\n", "manifest-line")],
    ids=["continued", "empty"],
)
def test_a_small_zip_of_millions_of_lines_is_soon_judged(tmp_path, name, line, code):
    """Packed a thousand times smaller: joined one by one, or each told as a fault, they would never end."""
    with zipfile.ZipFile(tmp_path / "bag.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bag/bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
        packed.writestr("bag/data/a", "")
        packed.writestr("bag/manifest-sha256.txt", f"{hashlib.sha256().hexdigest()}  data/a\n")
        packed.writestr(f"bag/{name}", b"a: b\n" * (name == "bag-info.txt") + line * (2**24 // len(line)))
    report = bagcheck.check(bagcheck.open_bag(tmp_path / "bag.zip"))
    found = [fault.code for fault in report.faults + report.unknown]
    assert code in found and len(found) <= bagcheck.MAX_FAULTS + 1


def test_lines_that_go_on_are_joined(tmp_path):
    folder = tmp_path / "bag"
    (folder / "data").mkdir(parents=True)
    (folder / "bagit.txt").write_text("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    (folder / "manifest-sha256.txt").write_text(f"{hashlib.sha256().hexdigest()}  data/a\n")
    (folder / "data" / "a").touch()
    (folder / "bag-info.txt").write_text("A: b\n" + " c\n" * 100_000)
    report = bagcheck.check(bagcheck.open_bag(folder))
    assert report.answer == "good" and report.info == [("A", "b" + " c" * 100_000)]
