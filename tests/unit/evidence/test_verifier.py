"""The standalone verifier: a good bundle is good, every lie that we could think of is named."""

import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import zipfile

import pytest

from tests.unit.evidence import forge as forging
from tests.unit.evidence.forge import VERIFIER, Forge, put, sha

spec = importlib.util.spec_from_file_location("verify_bundle", VERIFIER)
verifier = sys.modules["verify_bundle"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verifier)
TRUSTED = Forge().fingerprint()


def check(bundle, *arguments, key=TRUSTED):
    """Run the verifier; returns its exit status and all that it said."""
    said = []
    trust = ["--key", key] if key else []
    return verifier.main([str(bundle), *trust, *arguments], out=said.append), "\n".join(said)


def assert_bad(bundle, words, *arguments, key=TRUSTED):
    status, said = check(bundle, *arguments, key=key)
    assert status == 1, said
    assert words in said, said


def rewritten(forge, bundle):
    """Write what the forger now says over the bundle, signed again with the forger's key."""
    shutil.rmtree(bundle)
    bundle.mkdir()
    return forge.write(bundle)


def zipped(bundle, to, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(to, "w", compression) as z:
        for file in sorted(bundle.rglob("*")):
            z.write(file, f"bag/{file.relative_to(bundle)}")
    return to


# --- good ---------------------------------------------------------------------------------------------------


def test_without_a_key_nobody_can_say_who_signed(bundle):
    status, said = check(bundle, key=None)
    assert status == 3
    assert "could not check who signed" in said and "this is not a yes" in said and "All else is good" in said
    assert [step for step in range(1, 17) if f"{step:2}. " not in said] == []


def test_good_bundle_with_the_right_key(bundle, forge, tmp_path):
    fingerprint = forge.fingerprint()
    grouped = ":".join(fingerprint[i : i + 4].upper() for i in range(0, 64, 4))
    pem = tmp_path / "archive.pem"
    shutil.copy(bundle / "signature/public-key.pem", pem)
    for key in (fingerprint, grouped, str(pem), forging.vkey(forge.origin, 1, forge.key)):
        status, said = check(bundle, key=key)
        assert status == 0 and "GOOD." in said and "who signed" not in said


def test_good_bundle_runs_isolated_away_from_the_project(bundle, tmp_path):
    away = tmp_path / "elsewhere"
    away.mkdir()
    copy = shutil.copy(bundle / "verify_bundle.py", away)
    done = subprocess.run(
        [sys.executable, "-I", copy, bundle, "--key", TRUSTED],
        cwd=away,
        capture_output=True,
        text=True,
        env={},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_good_bundle_in_a_zip(bundle, tmp_path, compression):
    assert check(zipped(bundle, tmp_path / "b.zip", compression))[0] == 0


def test_bagit_agrees_that_the_good_bundle_is_a_bag(bundle):
    import bagit

    assert bagit.Bag(str(bundle)).validate()


def test_openssl_verifies_the_signature_without_us(bundle):
    command = "openssl pkeyutl -verify -pubin -inkey public-key.pem -rawin"
    command += " -in statement.json -sigfile statement.sig"
    done = subprocess.run(command.split(), cwd=bundle / "signature", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- one flipped bit, anywhere ------------------------------------------------------------------------------


def names():
    """All files of the forged bundle (its shape is the same for every test)."""
    return sorted(verifier.REQUIRED | set(Forge().data()), key=lambda n: (not n.startswith("signature"), n))


@pytest.mark.parametrize("name", names())
def test_bundle_with_one_bit_flipped(bundle, name):
    """Guards the promise of the bundle: one flipped bit in any file is caught."""
    file = bundle / name
    whole = file.read_bytes()
    every = (
        1
        if name.endswith((".sig", ".pem"))
        else 7
        if name.startswith("signature")
        else max(1, len(whole) // 12)
    )
    places = {*range(0, len(whole), every), len(whole) - 1}
    for place in sorted(places):
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << (place % 8)
        file.write_bytes(spoiled)
        status, said = check(bundle)
        assert status == 1, f"bit {place % 8} of byte {place} of {name}:\n{said}"
    file.write_bytes(whole)
    assert check(bundle)[0] == 0


@pytest.mark.parametrize("name", names())
def test_bundle_with_a_file_missing(bundle, name):
    (bundle / name).unlink()
    assert_bad(bundle, "missing" if name in verifier.REQUIRED else "not its business")


@pytest.mark.parametrize("name", names())
def test_bundle_with_a_file_cut_or_grown(bundle, name):
    whole = (bundle / name).read_bytes()
    for spoiled in (whole[:-1], whole + b"\n", b""):
        (bundle / name).write_bytes(spoiled)
        assert check(bundle)[0] == 1


ADDED = "extra.txt data/extra.jpg data/originals/H1-0001/b.jpg signature/x fetch.txt manifest-md5.txt .hidden"


@pytest.mark.parametrize("name", [*ADDED.split(), "data/custody/.DS_Store"])
def test_bundle_with_a_file_added(bundle, name):
    put(bundle, name, b"added")
    assert_bad(bundle, "added later" if verifier.ALLOWED.fullmatch(name) else "does not belong to a bundle")


# --- a forger without the key -------------------------------------------------------------------------------


def test_bundle_with_original_replaced_and_manifests_made_anew(bundle, forge):
    path = next(iter(forge.originals))
    put(bundle, path, b"another picture")
    kept = (
        (bundle / "signature/statement.json").read_bytes(),
        (bundle / "signature/statement.sig").read_bytes(),
    )
    forge.seal(bundle)
    (bundle / "signature/statement.json").write_bytes(kept[0])
    (bundle / "signature/statement.sig").write_bytes(kept[1])
    assert_bad(bundle, "tagmanifest-sha256.txt does not say what signature/statement.json says")


def test_bundle_with_key_swapped_and_signed_again(bundle, forge):
    """The rest is untouched: log and request still name the archive's key, even where no key is given."""
    forge.key = Forge(b"thief").key
    forge.sign(bundle)
    assert_bad(bundle, "the checkpoint is not signed with the key", key=None)
    assert_bad(bundle, "statement.json does not say what event 1 of bundle:", key=None)
    assert_bad(bundle, "signed with another key than those you trust")


def test_bundle_rewritten_whole_under_another_key_is_caught_by_the_key_alone(bundle, forge):
    """What nobody can see without an outside key, the verifier must not claim to see."""
    fingerprint = forge.fingerprint()
    forge.key = forge.log_key = Forge(b"thief").key
    rewritten(forge, bundle)
    status, said = check(bundle, key=None)
    assert status == 3 and "could not check who signed" in said
    assert_bad(bundle, "signed with another key than those you trust", key=fingerprint)


def test_bundle_with_key_of_another_kind(bundle):
    done = subprocess.run("openssl ecparam -name prime256v1 -genkey -noout".split(), capture_output=True)
    pem = subprocess.run("openssl ec -pubout".split(), input=done.stdout, capture_output=True).stdout
    (bundle / "signature/public-key.pem").write_bytes(pem)
    assert_bad(bundle, "public-key.pem has not the form")


# --- a forger with the key: the bundle contradicts itself ---------------------------------------------------


def test_bundle_with_event_removed_from_the_middle(bundle, forge):
    forge.events.remove(forge.find("item.acquired"))
    assert_bad(rewritten(forge, bundle), "events were removed, moved or added")


def test_bundle_with_last_event_removed(bundle, forge):
    data = forge.data()
    lines = data["data/custody/events.jsonl"].splitlines(keepends=True)
    put(bundle, "data/custody/events.jsonl", b"".join(lines[:-1]))
    forge.seal(bundle)
    assert_bad(bundle, "its end was changed")


def test_bundle_with_event_changed_but_not_rehashed(bundle, forge):
    lines = (bundle / "data/custody/events.jsonl").read_bytes().splitlines(True)
    lines[2] = lines[2].replace(b'"2026-11', b'"2025-11')
    put(bundle, "data/custody/events.jsonl", b"".join(lines))
    forge.seal(bundle)
    assert_bad(bundle, "it does not follow from the event before")


def test_bundle_with_two_events_swapped(bundle, forge):
    a, b = forge.find("item.acquired"), forge.find("item.analysed")
    i, j = forge.events.index(a), forge.events.index(b)
    forge.events[i], forge.events[j] = b, a
    assert_bad(rewritten(forge, bundle), "events were removed, moved or added")


def test_bundle_with_subject_removed(bundle, forge):
    data = forge.data()
    keep = [
        line for line in data["data/custody/events.jsonl"].splitlines(True) if b'"subject":"case:' not in line
    ]
    put(bundle, "data/custody/events.jsonl", b"".join(keep))
    forge.seal(bundle)
    assert_bad(bundle, "were not signed here; a history was left out or added")


def test_bundle_without_its_case(bundle, forge):
    forge.drop(forge.find("case.opened"))
    assert_bad(rewritten(forge, bundle), f"the events of case:{forge.case} are not here")


def test_bundle_without_its_request(bundle, forge):
    forge.drop(forge.find("bundle.requested"))
    assert_bad(rewritten(forge, bundle), "the events of bundle.requested are not here")


def test_bundle_with_event_in_another_spelling(bundle, forge):
    raw = (bundle / "data/custody/events.jsonl").read_bytes()
    put(bundle, "data/custody/events.jsonl", raw.replace(b'"version":1', b'"version": 1', 1))
    forge.seal(bundle)
    assert_bad(bundle, "is not JSON in its canonical form")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"x": 1.5}, "canonical form"),
        ({"x": 2**53}, "canonical form"),
        ({"ключ": 1}, "canonical form"),
        ({"x": "y" * 66_000}, "longer than"),
    ],
)
def test_bundle_with_event_that_no_archive_writes(bundle, forge, extra, words):
    forge.find("item.decided")["payload"]["more"] = extra
    assert_bad(rewritten(forge, bundle), words)


def test_bundle_with_disclosed_value_changed(bundle, forge):
    opening = next(o for o in forge.openings if o["pointer"] == "/payload/set/file_name")
    opening["value"] = "other.jpg"
    assert_bad(rewritten(forge, bundle), "this is not the value that")


def test_bundle_with_opening_of_no_event(bundle, forge):
    forge.openings.append({**forge.openings[-1], "number": 99})
    assert_bad(rewritten(forge, bundle), "names an event that is not here")


def test_bundle_with_opening_twice(bundle, forge):
    forge.openings.append(forge.openings[-1])
    assert_bad(rewritten(forge, bundle), "a second time")


@pytest.mark.parametrize("empty", [b"{}", b"null", b"0", b'""'])
def test_no_opening_hides_behind_an_empty_line(bundle, forge, empty):
    """Whatever a line says, those after it are checked too."""
    name, honest = "data/custody/openings.jsonl", forge.data
    false = forging.canonical({**forge.openings[0], "value": "a lie"})
    forge.data = lambda: {**(files := honest()), name: files[name] + empty + b"\n" + false + b"\n"}
    assert_bad(rewritten(forge, bundle), "openings.jsonl has not the form")


def test_bundle_with_opening_that_points_at_an_open_field(bundle, forge):
    opening = next(o for o in forge.openings if o["pointer"] == "/payload/set/reason")
    opening["pointer"] = "/payload/set/value"
    assert_bad(rewritten(forge, bundle), "this is not the value that")


def test_bundle_with_withheld_reason_is_good(bundle, forge):
    forge.openings = [o for o in forge.openings if o["pointer"] != "/payload/set/reason"]
    for row in forge.decisions:
        row["reason"] = {"withheld": True}
    assert check(rewritten(forge, bundle))[0] == 0


def test_bundle_that_states_a_reason_it_does_not_open(bundle, forge):
    forge.openings = [o for o in forge.openings if o["pointer"] != "/payload/set/reason"]
    assert_bad(rewritten(forge, bundle), "data/decisions.json does not say what event")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("value", "not_relevant"),
        ("reason", "never said"),
        ("time", "2026-11-22T09:00:00.000000Z"),
        ("actor", {"kind": "person", "id": "somebody", "role": "researcher"}),
        ("id", "another"),
        ("withdraws", "another"),
    ],
)
def test_bundle_with_decision_edited(bundle, forge, field, value):
    forge.decisions[0][field] = value
    assert_bad(rewritten(forge, bundle), "data/decisions.json does not say what event")


@pytest.mark.parametrize("table", ["decisions", "detections"])
def test_bundle_that_lays_a_decision_or_suggestion_to_another_item(bundle, forge, table):
    """The reference names the true item; the code, which people read, another."""
    rows = getattr(forge, table)
    rows[0]["item"], rows[1]["item"] = rows[1]["item"], rows[0]["item"]
    assert_bad(rewritten(forge, bundle), "does not say what data/metadata/items.json says")


def test_bundle_with_two_items_of_one_code(bundle, forge):
    forge.items[1]["code"] = forge.decisions[1]["item"] = forge.detections[1]["item"] = forge.items[0]["code"]
    assert_bad(rewritten(forge, bundle), "gives two items the same code")


def test_bundle_with_decision_left_out(bundle, forge):
    forge.decisions.pop()
    assert_bad(rewritten(forge, bundle), "data/decisions.json does not name what the events name")


def test_bundle_with_decision_invented(bundle, forge):
    forge.decisions.append({**forge.decisions[0]})
    assert_bad(rewritten(forge, bundle), "names an event that is not here")


def test_bundle_with_decision_by_a_machine(bundle, forge):
    actor = {"kind": "system", "id": "", "role": "worker"}
    forge.find("item.decided")["actor"] = {**actor, "name": ""}
    forge.decisions[0]["actor"] = actor
    assert_bad(rewritten(forge, bundle), "was not made by a signed-in person")


def test_bundle_with_detection_changed(bundle, forge):
    forge.detections[0]["result"] = [{**forge.detections[0]["result"][0], "label": "weapon"}]
    assert_bad(rewritten(forge, bundle), "data/detections.json does not say what event")


def test_bundle_with_other_weights_named(bundle, forge):
    forge.detections[0]["weights_sha256"] = "cd" * 32
    assert_bad(rewritten(forge, bundle), "data/detections.json does not say what event")


def test_bundle_with_detections_left_out(bundle, forge):
    forge.detections.pop()
    assert_bad(rewritten(forge, bundle), "data/detections.json does not name what the events name")


def test_bundle_with_original_replaced(bundle, forge):
    path = next(iter(forge.originals))
    forge.originals[path] = b"another picture"
    assert_bad(rewritten(forge, bundle), "is not the file that the custody events speak of")


def test_bundle_with_original_and_metadata_replaced(bundle, forge):
    path = next(iter(forge.originals))
    forge.originals[path] = b"another picture"
    forge.items[0].update(sha256=sha(b"another picture"), size=15)
    assert_bad(rewritten(forge, bundle), "does not say what the event by which item:")


def test_bundle_with_originals_of_two_items_exchanged(bundle, forge):
    a, b = forge.items
    a["path"], b["path"] = b["path"], a["path"]
    assert_bad(rewritten(forge, bundle), "is not the file that the custody events speak of")


def test_bundle_with_file_name_changed(bundle, forge):
    forge.items[0]["acquisitions"][0]["file_name"] = "innocent.jpg"
    assert_bad(rewritten(forge, bundle), "data/metadata/items.json does not say what event")


def test_bundle_with_item_left_out_of_the_list(bundle, forge):
    gone = forge.items.pop()
    forge.originals.pop(gone["path"])
    assert_bad(rewritten(forge, bundle), "items.json does not name what the events name")


def test_bundle_with_item_left_out_with_all_its_events(bundle, forge):
    gone = forge.items.pop()
    forge.originals.pop(gone["path"])
    for event in [e for e in forge.events if e["subject"].endswith(gone["id"])]:
        forge.drop(event)
    assert_bad(rewritten(forge, bundle), "these are not the items that were asked for")


def test_bundle_with_original_of_no_item(bundle, forge):
    forge.originals["data/originals/H1-0009/a.jpg"] = b"planted"
    assert_bad(rewritten(forge, bundle), "belongs to no item")


def test_bundle_with_table_that_differs(bundle, forge):
    raw = (bundle / "data/decisions.csv").read_bytes()
    put(bundle, "data/decisions.csv", raw.replace(b"relevant", b"escalate", 1))
    forge.seal(bundle)
    assert_bad(bundle, "row 1 of data/decisions.csv does not say what data/decisions.json says")


def test_bundle_with_a_formula_in_a_table(bundle, forge):
    raw = (bundle / "data/metadata/items.csv").read_bytes()
    assert b"'=cmd.jpg" in raw
    put(bundle, "data/metadata/items.csv", raw.replace(b"'=cmd.jpg", b"=cmd.jpg"))
    forge.seal(bundle)
    assert_bad(bundle, "row 1 of data/metadata/items.csv does not say")


def test_bundle_with_row_of_a_table_removed(bundle, forge):
    raw = (bundle / "data/detections.csv").read_bytes()
    put(bundle, "data/detections.csv", b"".join(raw.splitlines(True)[:-1]))
    forge.seal(bundle)
    assert_bad(bundle, "row 2 of data/detections.csv does not say")


def test_bundle_with_checkpoint_of_another_key(bundle, forge):
    forge.log_key = Forge(b"other").key
    assert_bad(rewritten(forge, bundle), "the checkpoint is not signed with the key")


def test_bundle_of_another_log_than_the_key_was_given_for(bundle, forge):
    assert_bad(
        bundle, "is not signed with the key other.example", key=forging.vkey("other.example", 1, forge.key)
    )


def test_bundle_with_checkpoint_changed(bundle, forge):
    raw = (bundle / "data/custody/checkpoint.txt").read_bytes()
    put(bundle, "data/custody/checkpoint.txt", raw.replace(b"\n17\n", b"\n16\n"))
    forge.seal(bundle)
    assert_bad(bundle, "the signature does not fit: data/custody/checkpoint.txt")


# --- hostile bags -------------------------------------------------------------------------------------------


def resign(bundle, forge, manifest):
    put(bundle, "manifest-sha256.txt", manifest)
    tags = ["README.txt", "bag-info.txt", "bagit.txt", "verify_bundle.py"]
    tags += ["manifest-sha256.txt", "manifest-sha512.txt"]
    put(bundle, "tagmanifest-sha256.txt", forging.manifest(bundle, [bundle / t for t in tags]))
    put(bundle, "tagmanifest-sha512.txt", forging.manifest(bundle, [bundle / t for t in tags], "sha512"))
    forge.sign(bundle)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("../../etc/passwd", "leads out of the bundle or is no safe name"),
        ("/etc/passwd", "leads out of the bundle or is no safe name"),
        ("data/../../x", "leads out of the bundle or is no safe name"),
        ("./data/x", "leads out of the bundle or is no safe name"),
        ("data//x", "leads out of the bundle or is no safe name"),
        ("~/x", "leads out of the bundle or is no safe name"),
        ("data\\..\\x", "leads out of the bundle or is no safe name"),
        ("C:/x", "leads out of the bundle or is no safe name"),
        ("data/a%0Ab", "leads out of the bundle or is no safe name"),
        ("data/a\x00b", "leads out of the bundle or is no safe name"),
        ("data/a%2e%2e", "has not the form"),
        ("data/gone.jpg", "which is not there"),
    ],
)
def test_bundle_with_hostile_path_in_manifest(bundle, forge, line, words):
    raw = (bundle / "manifest-sha256.txt").read_bytes() + f"{'0' * 64}  {line}\n".encode()
    resign(bundle, forge, raw)
    assert_bad(bundle, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw + raw.splitlines(True)[0], "a second time"),
        (lambda raw: b"\xef\xbb\xbf" + raw, "has not the form"),
        (lambda raw: raw.replace(b"\n", b"\r\n"), "has not the form"),
        (lambda raw: raw.upper(), "has not the form"),
        (lambda raw: raw.replace(b"  data", b" *data"), "has not the form"),
        (lambda raw: raw + b"\n", "has not the form"),
        (lambda raw: raw + b"\xff\xfe\n", "damaged"),
        (lambda raw: b"", "does not stand in"),
        (lambda raw: raw + b"0" * 20_000, "cut off"),
    ],
)
def test_bundle_with_malformed_manifest(bundle, forge, change, words):
    resign(bundle, forge, change((bundle / "manifest-sha256.txt").read_bytes()))
    assert_bad(bundle, words)


def test_bundle_with_link_in_place_of_a_file(bundle, forge, tmp_path):
    path = bundle / next(iter(forge.originals))
    outside = tmp_path / "outside"
    shutil.move(path, outside)
    path.symlink_to(outside)
    assert_bad(bundle, "is a link or a device")


def test_bundle_with_link_to_a_folder(bundle, tmp_path):
    shutil.move(bundle / "data/metadata", tmp_path / "metadata")
    (bundle / "data/metadata").symlink_to(tmp_path / "metadata")
    assert_bad(bundle, "is a link or a device")


def test_bundle_with_a_pipe_does_not_hang(bundle):
    os.mkfifo(bundle / "data/pipe")
    assert_bad(bundle, "is a link or a device")


def test_bundle_with_a_name_that_is_not_text(bundle):
    with open(os.fsencode(bundle) + b"/data/\xff\xfe.jpg", "wb") as file:
        file.write(b"x")
    assert_bad(bundle, "is not UTF-8")


@pytest.mark.parametrize(
    "nest",
    [b"[" * 60_000, b'{"a":' * 12_000, b"9" * 60_000, b"1e999", b"NaN", b'"\\ud800"', b'{"a":1,"a":1}'],
)
def test_bundle_with_hostile_json(bundle, forge, nest):
    put(bundle, "data/custody/events.jsonl", nest + b"\n")
    forge.seal(bundle)
    status, said = check(bundle)
    assert status == 1, said


def test_bundle_with_a_line_without_end(bundle, forge):
    with open(bundle / "data/custody/events.jsonl", "ab") as file:
        file.truncate(40 * 2**20)
    forge.seal(bundle)
    assert_bad(bundle, "line 11 of data/custody/events.jsonl is longer than")


READ = sorted(n for n in verifier.REQUIRED if n.endswith((".json", ".jsonl", ".csv", ".txt")))
SHAPES = [b"[]\n", b"null\n", b"{}\n", b"[\n{}\n]\n", b"[\nnull\n]\n", b'"x"\n', b"\x00" * 9, b"3\n"]


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("content", SHAPES)
def test_bundle_with_a_file_of_the_wrong_shape_is_never_good_and_never_crashes(bundle, forge, name, content):
    put(bundle, name, content)
    if not name.startswith(("signature", "tagmanifest", "manifest", "bag-info")):
        forge.seal(bundle)
    status, said = check(bundle)
    assert "the check itself failed" not in said, said
    # What a README or the case's words say, nothing else in the bundle can contradict.
    assert status == (0 if name in ("README.txt", "data/metadata/case.json") else 1), said


def test_bundle_with_names_made_to_fool_the_terminal(bundle):
    put(bundle, "data/\u202egnp.exe", b"x")
    _, said = check(bundle)
    assert "\u202e" not in said and "\\u202e" in said


# --- zips ---------------------------------------------------------------------------------------------------


def test_zip_with_one_bit_of_an_original_flipped(bundle, forge, tmp_path):
    file = zipped(bundle, tmp_path / "b.zip")
    raw = file.read_bytes()
    file.write_bytes(raw.replace(b"\xff\xd8 first", b"\xff\xd8 fIrst"))
    assert_bad(file, "is damaged: ")


def test_zip_with_a_link(bundle, tmp_path):
    file = zipped(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(file, "a") as z:
        link = zipfile.ZipInfo("bag/data/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        z.writestr(link, "/etc/passwd")
    assert_bad(file, "is a link or a device")


@pytest.mark.parametrize("name", ["../x", "/x", "bag/../x", "bag/a\\b"])
def test_zip_with_a_path_that_leads_out(bundle, tmp_path, name):
    file = zipped(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(file, "a") as z:
        z.writestr(name, "x")
    assert check(file)[0] == 1


@pytest.mark.parametrize(
    "name", ["bag/../../x/", "bag//etc/", "bag/a\\..\\x/", "bag/\x1b[31m/", "../", "bag/README.txt/"]
)
def test_zip_with_a_folder_that_leads_out_or_is_a_file_too(bundle, tmp_path, name):
    with zipfile.ZipFile(zipped(bundle, tmp_path / "b.zip"), "a") as z:
        z.writestr(name, b"")
    assert_bad(tmp_path / "b.zip", "the file name")


def test_zip_with_a_file_twice(bundle, tmp_path):
    file = zipped(bundle, tmp_path / "b.zip")
    with pytest.warns(UserWarning), zipfile.ZipFile(file, "a") as z:
        z.writestr("bag/README.txt", "x")
    assert_bad(file, "is there twice")


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_zip_cut_off(bundle, tmp_path, cut):
    file = zipped(bundle, tmp_path / "b.zip")
    file.write_bytes(file.read_bytes()[:-cut])
    assert check(file)[0] == 1


# --- could not check ----------------------------------------------------------------------------------------


def test_nothing_there_could_not_be_checked(tmp_path):
    assert check(tmp_path / "nowhere")[0] == 3


@pytest.mark.parametrize("key", ["no key", "ab" * 31])
def test_key_that_is_none_could_not_be_checked(bundle, key):
    assert check(bundle, key=key)[0] == 3


def test_key_from_inside_the_bundle_is_no_outside_key(bundle):
    status, said = check(bundle, key=str(bundle / "signature/public-key.pem"))
    assert status == 3 and "inside the bundle" in said


def test_fault_of_the_machine_is_not_an_answer(bundle, monkeypatch):
    def broken(*_):
        raise OSError("disk")

    monkeypatch.setattr(verifier.Check, "events", broken)
    status, said = check(bundle)
    assert status == 3 and "this is not a yes" in said


def test_first_fault_of_each_kind_is_named_with_a_count(bundle, forge):
    for name in list(forge.originals):
        put(bundle, name, b"spoiled")
    _, said = check(bundle)
    assert "was changed: its hash" in said and "(and 1 more of this kind)" in said


def test_fingerprint_is_of_the_raw_key(forge):
    raw = forge.key.public_key().public_bytes_raw()
    assert forge.fingerprint() == hashlib.sha256(raw).hexdigest()
