"""What a bundle shows of the log: each attack that a bundle alone, a kept checkpoint, a policy or a timestamp can show."""

import base64
import copy
import datetime
import io
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from tests.unit.evidence import forge as forging
from tests.unit.evidence.forge import Forge, put, sha, vkey
from tests.unit.evidence.test_verifier import TRUSTED, assert_bad, check, rewritten, verifier, zipped

VECTORS = Path(__file__).parents[2] / "vectors" / "merkle"
NOW = 1_795_251_600  # 2026-11-21 09:00 UTC, when the forged bundle's events happened


def read(name):
    return json.loads((VECTORS / name).read_text())


def raw(text):
    return base64.b64decode(text or "")


# --- the tree: published vectors ------------------------------------------------------------------------------------


def test_inclusion_proofs_of_transparency_dev_are_judged_as_published():
    probes = read("inclusion.json")
    assert len(probes) == 98
    for probe in probes:
        path = [raw(value) for value in probe["proof"] or []]
        told = verifier.included(
            raw(probe["leafHash"]), probe["leafIdx"], probe["treeSize"], path, raw(probe["root"])
        )
        assert told is not probe["wantErr"], probe["file"]


def test_consistency_proofs_of_transparency_dev_are_judged_as_published():
    probes = read("consistency.json")
    assert len(probes) == 98
    for probe in probes:
        path = [raw(value) for value in probe["proof"] or []]
        told = verifier.consistent(
            probe["size1"], probe["size2"], path, raw(probe["root1"]), raw(probe["root2"])
        )
        assert told is not probe["wantErr"], probe["file"]


def test_every_inclusion_and_consistency_proof_of_small_trees_holds_and_no_other():
    leaves = [forging.raw_sha(b"\x00", bytes([n])) for n in range(18)]
    for size in range(1, 19):
        root = forging.tree(leaves[:size])
        for at in range(size):
            path = forging.tree_path(at, leaves[:size])
            assert verifier.included(leaves[at], at, size, path, root)
            assert not verifier.included(leaves[at], at, size, [*path, root], root)
            assert not verifier.included(leaves[at], at + 1, size, path, root)
            old, growth = forging.tree(leaves[: at + 1]), forging.tree_growth(at + 1, leaves[:size])
            assert verifier.consistent(at + 1, size, growth, old, root)
            assert not verifier.consistent(at + 1, size, [*growth, root], old, root)
            assert not growth or not verifier.consistent(at + 1, size, growth, root, root)


# --- attacks on the log that the bundle itself shows ------------------------------------------------------------------


def test_bundle_with_an_event_changed_and_its_chain_hashed_again(bundle, forge):
    forge.published()
    forge.find("item.stored")["time"] = "2026-11-21T08:59:59.000000Z"
    assert_bad(rewritten(forge, bundle), "event 1 of item:" + forging.ident("item 1") + " is not in the log")


def test_bundle_with_the_last_event_of_an_item_left_out(bundle, forge):
    forge.published()
    forge.drop(forge.find("item.decided"))
    assert_bad(rewritten(forge, bundle), "the bundle holds 3 events, but there were 4")


def test_bundle_with_the_last_event_left_out_and_its_map_entry_made_to_fit(bundle, forge):
    forge.published().completeness_lies = True
    forge.drop(forge.find("item.decided"))
    assert_bad(rewritten(forge, bundle), "the map does not say this of item:")


def test_bundle_with_the_history_of_an_item_left_out(bundle, forge):
    forge.published()
    gone = forge.items.pop()
    forge.originals.pop(gone["path"])
    for event in [e for e in forge.events if e["subject"].endswith(gone["id"])]:
        forge.drop(event)
    assert_bad(rewritten(forge, bundle), "these are not the items that were asked for")


def test_bundle_with_two_events_swapped_and_numbered_again(bundle, forge):
    forge.published()
    a, b = forge.find("item.acquired"), forge.find("item.analysed")
    i, j = forge.events.index(a), forge.events.index(b)
    forge.events[i], forge.events[j] = b, a
    a["number"], b["number"] = b["number"], a["number"]
    assert_bad(rewritten(forge, bundle), "is not in the log at position")


def test_bundle_with_an_event_invented(bundle, forge):
    forge.published()
    person = {"kind": "person", "id": forging.ident("person"), "role": "researcher"}
    forge.event(f"case:{forge.case}", "case.changed", person, {"set": {}})
    assert_bad(rewritten(forge, bundle), f"event 2 of case:{forge.case} is not in the log")


def test_bundle_with_a_back_dated_event_in_the_log(bundle, forge):
    person = {"kind": "person", "id": forging.ident("person"), "role": "researcher"}
    forge.event(f"case:{forge.case}", "case.changed", person, {"set": {}}, time="2026-11-01T00:00:00.000000Z")
    assert_bad(rewritten(forge, bundle), "was back-dated, or the archive's clock was turned back")


def test_clocks_may_differ_a_little(bundle, forge):
    person = {"kind": "person", "id": forging.ident("person"), "role": "researcher"}
    forge.event(f"case:{forge.case}", "case.changed", person, {"set": {}}, time="2026-11-21T08:55:00.000000Z")
    assert check(rewritten(forge, bundle))[0] == 0


def test_bundle_back_dated_itself(bundle, forge):
    forge.created = "2026-11-20T09:00:00.000000Z"
    assert_bad(rewritten(forge, bundle), "later than the time at which it says that it was made")


def change(bundle, forge, name, edit):
    """Change the first value of a file of JSON lines, and sign all of it again."""
    lines = (bundle / name).read_bytes().splitlines()
    row = json.loads(lines[-1])
    lines[-1] = forging.canonical(edit(row) or row)
    put(bundle, name, b"".join(line + b"\n" for line in lines))
    forge.seal(bundle)


def test_bundle_with_the_map_proof_of_another_subject(bundle, forge):
    name = "data/custody/completeness.jsonl"
    other = json.loads((bundle / name).read_bytes().splitlines()[0])
    change(bundle, forge, name, lambda row: {**other, "subject": row["subject"]})
    assert_bad(bundle, "this is not the map's key of item:")


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        (
            "completeness.jsonl",
            lambda r: r["siblings"].reverse() if len(r["siblings"]) > 1 else r["siblings"].append("00" * 32),
            "the map does not say this",
        ),
        (
            "completeness.jsonl",
            lambda r: r.update(key_proof=base64.b64encode(b"\x01" * 256).decode()),
            "not the map's key",
        ),
        ("completeness.jsonl", lambda r: r.update(siblings=["zz"]), "has not the form"),
        ("completeness.jsonl", lambda r: r.update(number=2**52), "the map does not say this"),
        ("inclusion.jsonl", lambda r: r.update(position=r["position"] - 1), "is not in the log"),
        ("inclusion.jsonl", lambda r: r["proof"].append("00" * 32), "is not in the log"),
        ("inclusion.jsonl", lambda r: r.update(position="pending"), "does not name what the events name"),
        ("inclusion.jsonl", lambda r: r.update(proof=["00" * 32] * 300), "has not the form"),
        ("map.json", lambda r: r.update(position=r["position"] - 1), "map.json is not in the log"),
        (
            "map.json",
            lambda r: r.update(event=r["event"].replace('"entries":', '"entries":1')),
            "map.json is not in the log",
        ),
        (
            "map.json",
            lambda r: r.update(event=r["event"].replace("map_root", "map_rout")),
            "has not the form",
        ),
    ],
)
def test_bundle_with_a_proof_changed(bundle, forge, name, edit, words):
    change(bundle, forge, f"data/custody/{name}", edit)
    assert_bad(bundle, words)


def test_true_is_no_number(bundle, forge):
    """Python says that True == 1; another verifier would not."""
    name = "data/custody/subjects.json"
    put(bundle, name, (bundle / name).read_bytes().replace(b'"events":1,', b'"events":true,', 1))
    forge.seal(bundle)
    assert_bad(bundle, "its end was changed")


def test_bundle_with_a_statement_of_another_map(bundle, forge):
    forge.mapped = {**forge.mapped, "root": "00" * 32}
    forge.sign(bundle)
    assert_bad(bundle, "map.json does not say what signature/statement.json says")


def test_bundle_with_a_proof_file_changed_or_added(bundle, forge):
    name = next(iter(sorted((bundle / "data/custody/proofs").iterdir())))
    whole = name.read_bytes()
    name.write_bytes(whole.replace(b"@v1\n", b"@v1\nextra aGVsbG8=\n"))
    forge.seal(bundle)
    assert check(bundle)[0] == 0  # the specification allows it, and it is not relied upon
    name.write_bytes(whole.replace(b"index ", b"index 1"))
    forge.seal(bundle)
    assert_bad(bundle, "does not prove what it should")
    name.write_bytes(whole)
    put(bundle, "data/custody/proofs/1.tlog-proof", whole)
    forge.seal(bundle)
    assert_bad(bundle, "1.tlog-proof does not prove what it should")


# --- what a kept checkpoint shows -------------------------------------------------------------------------------------


def kept(forge, tmp_path, name="kept.txt"):
    """The checkpoint of a forged log as a file that its reader kept, and the log's leaves."""
    forge.request()
    leaves = forge.log()[0]
    path = tmp_path / name
    path.write_bytes(forge.checkpoint(leaves))
    return str(path), leaves


def test_two_heads_of_the_same_size_are_named_as_a_fork(bundle, forge, tmp_path):
    other = Forge()
    other.find("item.decided")["payload"]["set"]["value"] = "not_relevant"
    fork, _ = kept(other, tmp_path)
    assert_bad(bundle, "two heads of the same log", "--known", fork)
    same, _ = kept(forge, tmp_path)
    status, said = check(bundle, "--known", same)
    assert status == 0 and "the same head as the one you kept" in said
    typed = Path(same)  # from paper, on another system
    typed.write_bytes(typed.read_bytes().rstrip(b"\n").replace(b"\n", b"\r\n"))
    assert check(bundle, "--known", same)[0] == 0


def test_a_kept_checkpoint_of_another_size_needs_a_consistency_proof(bundle, forge, tmp_path):
    older = Forge()
    older.events = older.events[:3]
    path, old_leaves = kept(older, tmp_path)
    status, said = check(bundle, "--known", path)
    assert status == 3 and "custody prove consistency 10 17" in said
    leaves = forge.log()[0]
    forged = tmp_path / "proof.json"
    forged.write_text(
        json.dumps(
            {
                "old": 10,
                "new": 17,
                "proof": [base64.b64encode(v).decode() for v in forging.tree_growth(10, leaves)],
            }
        )
    )
    assert_bad(bundle, "history was rewritten", "--known", path, "--consistency", str(forged))
    note = tmp_path / "true.txt"  # a head over the first ten events of this very log
    forge.log_key, text = (
        forge.key,
        f"{forge.origin}\n10\n{base64.b64encode(forging.tree(leaves[:10])).decode()}\n",
    )
    public = forge.key.public_key().public_bytes_raw()
    note.write_text(
        f"{text}\n{forging.signature_line(forge.origin, 1, public, forge.key.sign(text.encode()))}"
    )
    status, said = check(bundle, "--known", str(note), "--consistency", str(forged))
    assert status == 0 and "the log of 17 events begins with the log of 10 events" in said


def test_a_replaced_signing_key_is_named(bundle, tmp_path):
    before = Forge()
    before.key = before.log_key = Forge(b"the key before").key
    before.events = before.events[:3]
    path, _ = kept(before, tmp_path)
    status, said = check(bundle, "--known", path)
    assert status == 3 and "the signing key was replaced" in said
    assert_bad(bundle, "signed with another key than those you trust", key=before.fingerprint())


def test_a_checkpoint_of_another_log_shows_nothing(bundle, forge, tmp_path):
    forge.origin = "elsewhere.example"
    path, _ = kept(forge, tmp_path)
    status, said = check(bundle, "--known", path)
    assert status == 3 and "is a checkpoint of another log" in said


# --- witnesses --------------------------------------------------------------------------------------------------------

W1, W2, W3 = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))


def policy(tmp_path, forge, *lines, logs=True):
    path = tmp_path / "policy"
    first = [f"log {vkey(forge.origin, 1, forge.key)}"] if logs else []
    first += [f"witness w{n} {vkey(f'w{n}.example', 4, key)}" for n, key in enumerate((W1, W2, W3), 1)]
    path.write_text("\n".join([*first, *lines]) + "\n")
    return str(path)


def cosigned(forge, bundle, *witnesses):
    forge.witnesses = list(witnesses)
    return rewritten(forge, bundle)


def test_two_of_three_witnesses_meet_the_policy_which_also_names_the_key_to_trust(bundle, forge, tmp_path):
    cosigned(forge, bundle, ("w1.example", W1, NOW + 200), ("w3.example", W3, NOW + 210))
    rule = policy(tmp_path, forge, "group all 2 w1 w2 w3", "quorum all", "# greatest-age 86400")
    status, said = check(bundle, "--policy", rule, key=None)
    assert status == 0 and "met by 2 cosignatures" in said
    status, said = check(bundle)
    assert status == 0 and "2 cosignatures were not checked" in said


@pytest.mark.parametrize("lines", [("group g all w1 w2", "quorum g"), ("quorum w2",)])
def test_a_missing_witness_is_bad(bundle, forge, tmp_path, lines):
    cosigned(forge, bundle, ("w1.example", W1, NOW), ("w3.example", W3, NOW))
    assert_bad(bundle, "is not met: ", "--policy", policy(tmp_path, forge, *lines))


def test_bundle_that_serves_an_old_checkpoint(bundle, forge, tmp_path):
    cosigned(forge, bundle, ("w1.example", W1, NOW - 3 * 86_400))
    rule = policy(tmp_path, forge, "quorum w1", "# greatest-age 86400")
    assert_bad(bundle, "an old checkpoint is served", "--policy", rule)


def test_bundle_that_is_as_old_as_its_checkpoint_is_seen_by_when_it_was_received(bundle, forge, tmp_path):
    cosigned(forge, bundle, ("w1.example", W1, NOW + 60))
    rule = policy(tmp_path, forge, "quorum w1", "# greatest-age 86400")
    assert check(bundle, "--policy", rule)[0] == 0
    assert_bad(bundle, "an old checkpoint is served", "--policy", rule, "--received", "2026-12-24")


def test_bundle_that_says_it_was_made_before_its_witnesses_signed(bundle, forge, tmp_path):
    cosigned(forge, bundle, ("w1.example", W1, NOW + 7200))
    assert_bad(bundle, "that time is false", "--policy", policy(tmp_path, forge, "quorum w1"))


def test_a_forged_cosignature_is_bad(bundle, forge, tmp_path):
    cosigned(forge, bundle, ("w1.example", W1, NOW))
    name = "data/custody/cosigned-checkpoint.txt"
    head, _, last = (bundle / name).read_text().rstrip("\n").rpartition(" ")
    blob = bytearray(base64.b64decode(last))
    blob[-1] ^= 1
    put(bundle, name, f"{head} {base64.b64encode(blob).decode()}\n".encode())
    forge.seal(bundle)
    assert_bad(bundle, "the signature does not fit", "--policy", policy(tmp_path, forge, "quorum w1"))


def test_cosignatures_over_another_checkpoint_are_bad(bundle, forge, tmp_path):
    cosigned(forge, bundle, ("w1.example", W1, NOW))
    other = Forge()
    other.before, other.witnesses = 7, forge.witnesses
    other.request()
    put(bundle, "data/custody/cosigned-checkpoint.txt", other.cosigned(other.log()[0]))
    forge.seal(bundle)
    rule = policy(tmp_path, forge, "quorum w1")
    assert_bad(
        bundle, "cosigned-checkpoint.txt does not say what data/custody/checkpoint.txt says", "--policy", rule
    )


def test_ml_dsa_signatures_of_log_and_witness_are_checked(bundle, forge, tmp_path):
    forge.second_key, witness = MLDSA44PrivateKey.generate(), MLDSA44PrivateKey.generate()
    cosigned(forge, bundle, ("pq.example", witness, NOW))
    rule = policy(
        tmp_path,
        forge,
        f"log {vkey(forge.origin, 6, forge.second_key)}",
        f"witness pq {vkey('pq.example', 6, witness)}",
        "quorum pq",
    )
    status, said = check(bundle, "--policy", rule)
    assert status == 0, said
    assert "1 further signatures" in check(bundle)[1]
    other = MLDSA44PrivateKey.generate()
    assert_bad(bundle, "the checkpoint is not signed with the key", "--key", vkey(forge.origin, 6, other))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("quorum w4", "line 5"),
        ("group g 4 w1 w2 w3\nquorum g", "line 5"),
        ("group g any w1\ngroup h any w1\nquorum h", "line 6"),
        ("witness none x\nquorum none", "line 5"),
        ("log nonsense\nquorum none", "line 5"),
        ("quorum w1\nquorum w2", "line 6"),
        ("# no quorum", "no quorum line"),
        ("quorum w1\rquorum w2", "control character"),
        ("# greatest-age 1 day\nquorum w1", "line 5"),
        ("# greatest-age 60\n# greatest-age 999\nquorum w1", "line 6"),
        ("group g +1 w1\nquorum g", "line 5"),
    ],
)
def test_a_policy_that_cannot_be_read_is_no_answer(bundle, forge, tmp_path, line, words):
    status, said = check(bundle, "--policy", policy(tmp_path, forge, line))
    assert status == 3 and "of the policy cannot be read" in said and words in said


# --- timestamps -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A timestamp authority made with openssl: returns a function that stamps bytes, and its certificate's file."""
    home = tmp_path_factory.mktemp("tsa")
    (home / "ts.cnf").write_text(
        "[ca]\nbasicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n"
        "[tsa]\nextendedKeyUsage=critical,timeStamping\nsubjectKeyIdentifier=hash\n"
        "[tsaconf]\nserial=serial\ncrypto_device=builtin\nsigner_cert=tsa.pem\nsigner_key=tsa.key\ncerts=ca.pem\n"
        "default_policy=1.2.3.4.1\nsigner_digest=sha256\ndigests=sha256,sha512\nordering=yes\n"
    )
    (home / "serial").write_text("01\n")

    def run(command):
        subprocess.run(command.split(), cwd=home, check=True, capture_output=True)

    for name in ("ca", "tsa", "other"):
        run(f"openssl ecparam -name prime256v1 -genkey -noout -out {name}.key")
    for name in ("ca", "other"):
        run(f"openssl req -x509 -new -key {name}.key -subj /CN={name} -days 3650 -out {name}.pem")
    run("openssl req -new -key tsa.key -subj /CN=tsa -out tsa.csr")
    run(
        "openssl x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -set_serial 7 -days 3650 -extfile ts.cnf -extensions tsa -out tsa.pem"
    )

    def stamp(data, digest="sha256"):
        (home / "data").write_bytes(data)
        run(f"openssl ts -query -data data -{digest} -cert -out q.tsq")
        run("openssl ts -reply -queryfile q.tsq -config ts.cnf -section tsaconf -out r.tsr")
        return (home / "r.tsr").read_bytes()

    return stamp, home


def stamped(forge, bundle, stamp, data=None, **options):
    """The bundle, dated now, with a timestamp over its checkpoint (or other bytes)."""
    forge.created = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    forge.request()
    note = forge.checkpoint(forge.log()[0])
    forge.stamps = {"1-local.tsr": stamp(note if data is None else data, **options)}
    return rewritten(forge, bundle)


@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_a_timestamp_is_checked_up_to_the_authority_as_openssl_does(bundle, forge, authority, digest):
    stamp, home = authority
    stamped(forge, bundle, stamp, digest=digest)
    status, said = check(bundle, "--timestamp-ca", str(home / "ca.pem"))
    assert status == 0 and "1 timestamps: 20" in said
    status, said = check(bundle)
    command = (
        said[said.index("openssl ts -verify") :]
        .split("\n")[0]
        .strip("'")
        .replace("AUTHORITY.pem", f"{home}/ca.pem")
    )
    done = subprocess.run(command.split(), cwd=bundle, capture_output=True, text=True)
    assert status == 0 and done.returncode == 0, done.stderr


def test_a_timestamp_of_an_authority_that_is_not_trusted_is_bad(bundle, forge, authority):
    stamp, home = authority
    stamped(forge, bundle, stamp)
    assert_bad(
        bundle, "is not signed by an authority that you trust", "--timestamp-ca", str(home / "other.pem")
    )


def test_certificates_that_all_sign_each_other_end():
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(1))
    made = made.add_extension(x509.BasicConstraints(True, None), True)
    circle = [made.serial_number(n).sign(key, SHA256()) for n in range(1, 17)]
    assert not verifier.leads_to(circle[0], circle, [], now)
    assert verifier.leads_to(circle[0], circle[1:8], [circle[9]], now)


def test_a_timestamp_over_other_bytes_is_bad_even_without_an_authority(bundle, forge, authority):
    assert_bad(stamped(forge, bundle, authority[0], data=b"an older checkpoint"), "is over other bytes")


def test_every_bit_of_a_timestamp_matters_or_is_outside_of_what_is_signed(authority):
    """No flipped bit makes another time, another imprint, or another signer good; none ends in a crash."""
    stamp, home = authority
    whole = stamp(b"bytes")
    trusted = x509.load_pem_x509_certificates((home / "ca.pem").read_bytes())
    good = verifier.read_stamp(whole)
    assert verifier.signed_stamp(good, trusted)
    for place in range(0, len(whole)):
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << place % 8
        try:
            read = verifier.read_stamp(bytes(spoiled))
            if not verifier.signed_stamp(read, trusted):
                continue
        except (
            LookupError,
            ValueError,
            TypeError,
            StopIteration,
            NotImplementedError,
            x509.ExtensionNotFound,
            x509.InvalidVersion,
            UnsupportedAlgorithm,
        ):
            continue
        assert (read.time, read.imprint, read.content) == (good.time, good.imprint, good.content), place


def test_a_timestamp_later_than_the_bundle_says_it_was_made_is_bad(bundle, forge, authority):
    stamp, home = authority
    stamped(forge, bundle, stamp)
    forge.created = "2026-11-21T09:05:00.000000Z"
    if datetime.datetime.now(datetime.UTC) > datetime.datetime(2026, 11, 21, 9, 30, tzinfo=datetime.UTC):
        assert_bad(rewritten(forge, bundle), "that time is false", "--timestamp-ca", str(home / "ca.pem"))


def test_a_bundle_without_timestamps_cannot_be_checked_for_one(bundle, authority):
    status, said = check(bundle, "--timestamp-ca", str(authority[1] / "ca.pem"))
    assert status == 3 and "there is no timestamp" in said


# --- redactions and volumes -------------------------------------------------------------------------------------------


def redacted(forge):
    """Each item gets a redaction that is given out in the original's stead."""
    system = {"kind": "system", "id": "", "role": "worker"}
    for number, item in enumerate(forge.items, 1):
        data, recipe = b"black boxes %d" % number, {"boxes": []}
        path = f"data/redacted/H1-000{number}/photo.jpg"
        made_by = sha(json.dumps(recipe, separators=(",", ":")).encode())
        made = {"blob": sha(data), "original_sha256": item["sha256"], "kind": "redacted"}
        made |= {"recipe": f"amparo-redaction/1 {made_by}", "media_type": "image/jpeg"}
        person = {"kind": "person", "id": "p1", "role": "researcher"}
        at = forge.event(f"item:{item['id']}", "item.rendition_made", system, {"set": made})
        yes = {
            "id": f"r{number}",
            "sha256": sha(data),
            "recipe_sha256": made_by,
            "set": {"state": "approved"},
        }
        forge.event(f"item:{item['id']}", "item.redaction_approved", person, yes)
        item["redactions"] = [
            {
                **at,
                "redaction": f"r{number}",
                "recipe_sha256": made_by,
                "media_type": "image/jpeg",
                "path": path,
                "sha256": sha(data),
                "size": len(data),
                "original_sha256": item["sha256"],
                "recipe": recipe,
            }
        ]
        forge.originals.pop(item["path"])
        forge.originals[path], item["path"] = data, None
    forge.files = "redacted"
    return forge


def test_bundle_of_redactions_is_good_and_each_lie_about_them_is_not(bundle, forge):
    status, said = check(rewritten(redacted(forge), bundle))
    assert status == 0, said
    assert "0 originals and 2 redacted files" in said
    row, honest = forge.items[0]["redactions"][0], copy.deepcopy(forge.items[0]["redactions"][0])
    for lie, words in (
        ({"original_sha256": "00" * 32}, "does not say what event"),
        ({"recipe": {"boxes": [1]}}, "does not say what event"),
        ({"media_type": "video/mp4"}, "does not say what event"),
        ({"recipe_sha256": "00" * 32}, "does not say what event"),
        ({"redaction": "r2"}, "no signed-in person approved this redacted file"),
        ({"size": 1}, "does not say what"),
        ({"path": "data/redacted/none.jpg"}, "is no file of this bundle"),
        ({"number": 1}, "names an event that is not here"),
    ):
        row.update(lie)
        assert_bad(rewritten(forge, bundle), words)
        row.update(honest)
    forge.originals[row["path"]] = b"no box at all"
    assert_bad(rewritten(forge, bundle), "is not the file that the custody events speak of")
    forge.files = "originals"
    assert_bad(rewritten(forge, bundle), "should not be here")


def volume(forge, number):
    """Cut the forged bundle to one of its two volumes."""
    rows = [{"code": i["code"], "item": i["id"], "volume": n} for n, i in enumerate(forge.items, 1)]
    forge.volume, forge.volumes = {"number": number, "of": 2}, rows
    forge.published()
    gone = forge.items.pop(2 - number)
    forge.originals.pop(gone["path"])
    for event in [e for e in forge.events if e["subject"].endswith(gone["id"])]:
        forge.drop(event)
    return forge


@pytest.mark.parametrize("number", [1, 2])
def test_a_volume_is_a_whole_bundle_by_itself(bundle, forge, number):
    status, said = check(rewritten(volume(forge, number), bundle))
    assert status == 0 and f"This is volume {number} of 2" in said, said


def test_a_volume_with_an_item_of_another_is_bad(bundle, forge):
    volume(forge, 1).volumes[1]["volume"] = 1
    assert_bad(rewritten(forge, bundle), "these are not the items that were asked for")
    forge.volumes.pop()
    assert_bad(rewritten(forge, bundle), "these are not the items that were asked for")


# --- hostile zips -----------------------------------------------------------------------------------------------------


def test_zip_whose_files_overlap(bundle, tmp_path):
    """As in D. Fifield's zip bombs: two names for the same bytes."""
    file = zipped(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(file, "a") as z:
        first = copy.copy(z.getinfo("bag/README.txt"))
        first.filename = first.orig_filename = "bag/data/originals/H1-0001/again.jpg"
        z.filelist.append(first)
        z.NameToInfo[first.filename] = first
        z._didModify = True
    assert_bad(file, "overlaps another file inside the zip")


@pytest.mark.parametrize("where", ["before", "between", "behind"])
def test_zip_with_bytes_that_other_programs_may_take_for_files(bundle, tmp_path, where):
    file = zipped(bundle, tmp_path / "b.zip")
    if where == "between":  # in no list, but any program that reads from the start finds it
        with zipfile.ZipFile(file, "a") as z:
            z.writestr("bag/data/originals/H1-0001/hidden.jpg", b"hidden")
            z.filelist.pop()
            z._didModify = True
    else:
        whole = file.read_bytes()
        file.write_bytes(bytes(1000) + whole if where == "before" else whole + bytes(1000))
    assert_bad(file, "bytes that belong to no file")


def test_zip_with_a_file_of_two_names_or_a_folder_with_content(bundle, tmp_path):
    second = zipfile.ZipInfo("bag/data/originals/H1-0001/a.jpg")
    second.extra = b"\x75\x70\x0a\x00\x01\x00\x00\x00\x00evil\x00"
    for odd in (second, zipfile.ZipInfo("bag/data/originals/H1-0003/")):
        file = zipped(bundle, tmp_path / "b.zip")
        with zipfile.ZipFile(file, "a") as z:
            z.writestr(odd, b"content")
        assert_bad(file, "in a way that bundles do not use")


def _two_lists(raw, first, end):
    """Records of zip64 that name all files, before an old record that names all but the first."""
    count, size, start = struct.unpack("<HLL", raw[end + 10 : end + 20])
    less = 46 + sum(struct.unpack("<3H", raw[start + 28 : start + 34]))
    wide = struct.pack("<4sQHHLL4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    wide += struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    old = struct.pack("<4s4HLLH", b"PK\5\6", 0, 0, count - 1, count - 1, size - less, start + less, 0)
    return raw[:end] + wide + old


@pytest.mark.parametrize(
    "change",
    [
        _two_lists,
        lambda raw, first, end: raw[: end + 8] + b"\1\0\1\0" + raw[end + 12 :],  # one file, says the end
        lambda raw, first, end: raw[: first + 8] + b"\x08\0" + raw[first + 10 :],  # another packing
        lambda raw, first, end: raw[: first + 18] + b"\1\0\0\0\1\0\0\0" + raw[first + 26 :],  # another size
        lambda raw, first, end: raw[: first + 14] + bytes(4) + raw[first + 18 :],  # another checksum
        lambda raw, first, end: b"PK\3\4" + raw,
    ],
    ids="two-lists count packing size checksum before".split(),
)
def test_zip_in_which_two_programs_see_different_files(bundle, tmp_path, change):
    """Some go by the list at the end, some by its older or newer form, some by the header before each file."""
    file = zipped(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(file) as z:
        first = z.getinfo("bag/README.txt").header_offset
    raw = file.read_bytes()
    file.write_bytes(change(raw, first, raw.rindex(b"PK\5\6")))
    assert_bad(file, "the zip holds" if change is _two_lists else "BAD")


def test_zip_of_a_program_that_writes_as_it_reads_is_good(bundle, tmp_path):
    class Pipe(io.RawIOBase):
        def write(self, content):
            return file.write(content)

        def writable(self):
            return True

    with (tmp_path / "b.zip").open("wb") as file, zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as z:
        for path in sorted(bundle.rglob("*")):
            if path.is_file():
                with z.open(f"bag/{path.relative_to(bundle)}", "w", force_zip64=True) as out:
                    out.write(path.read_bytes())
    assert check(tmp_path / "b.zip")[0] == 0


def test_bundle_with_a_list_that_other_readers_of_json_refuse(bundle, forge):
    name = "data/decisions.json"
    put(bundle, name, (bundle / name).read_bytes().replace(b"}\n]", b"},\n]"))
    forge.seal(bundle)
    forge.seal(bundle)
    forge.sign(bundle)
    assert_bad(bundle, f"{name} has not the form")


def test_zip_bomb_is_named_and_not_unpacked(bundle, tmp_path):
    file = zipped(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as z:
        z.writestr("bag/data/originals/H1-0001/zeros.jpg", bytes(30 * 2**20))
    status, said = check(file)
    assert "more than 200 times its size" in said and status == 3


def test_zip_with_two_folders_at_its_top(bundle, tmp_path):
    file = zipped(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(file, "a") as z:
        z.writestr("other/README.txt", "x")
    assert_bad(file, "2 folders at its top")


@pytest.mark.parametrize("raw_file", [b"", b"PK\x05\x06" + bytes(18), b"not a zip", bytes(70_000)])
def test_what_is_no_bundle_is_never_good(tmp_path, raw_file):
    (tmp_path / "b.zip").write_bytes(raw_file)
    assert check(tmp_path / "b.zip")[0] == 1


# --- languages and the report -----------------------------------------------------------------------------------------


def test_all_words_are_there_in_four_languages_with_the_same_gaps():
    import re
    import string

    source = Path(verifier.__file__).read_text()
    for code, sentences in verifier.WORDS.items():
        assert len(sentences) == 4 and all(sentences), code
        gaps = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in sentences]
        assert gaps == [gaps[0]] * 4, code
        assert re.search(r"[\u0600-\u06ff]", sentences[3]), code
        used = re.search(f"""["']{code}["']""", source) or {code, code.removesuffix("-found")} & set(
            verifier.STEPS
        )
        assert used, f"{code} is never said"
    said = set(re.findall(r'(?:Bad|CouldNotCheck|NotAsked|remark|bad|Say)\(\s*"([a-z0-9-]+)"', source))
    assert said <= verifier.WORDS.keys()


@pytest.mark.parametrize("language", ["fr", "es", "ar"])
def test_good_and_bad_are_said_in_each_language_under_the_same_numbers(bundle, forge, language):
    status, said = check(bundle, "--language", language)
    place = verifier.LANGUAGES.index(language)
    assert status == 0 and verifier.WORDS["answer-good"][place] in said
    assert all(f"{step:2}. " in said for step in range(1, 17))
    put(bundle, next(iter(forge.originals)), b"spoiled")
    status, said = check(bundle, "--language", language)
    assert status == 1 and verifier.WORDS["bad"][place] in said and "GOOD" not in said and "BAD" not in said


def test_report_says_tool_time_trust_and_each_steps_result(bundle, tmp_path):
    out = tmp_path / "report"
    assert check(bundle, "--report", str(out))[0] == 0
    facts, text = json.loads((tmp_path / "report.json").read_text()), (tmp_path / "report.txt").read_text()
    assert (
        facts["tool"]["sha256"] == sha(Path(verifier.__file__).read_bytes())
        and facts["tool"]["sha256"] in text
    )
    assert facts["trusted"] == [f"--key {TRUSTED}"] and TRUSTED in text
    assert (facts["answer"], facts["exit_status"], len(facts["steps"])) == ("good", 0, 16)
    assert facts["statement_sha256"] == sha((bundle / "signature/statement.json").read_bytes())
    for place in (
        out,
        bundle / "report",
    ):  # an older report is never overwritten, the bundle never written to
        with pytest.raises(SystemExit) as stopped:
            check(bundle, "--report", str(place))
        assert stopped.value.code == 2


def test_report_of_a_bad_bundle_names_each_fault(bundle, forge, tmp_path):
    put(bundle, next(iter(forge.originals)), b"spoiled")
    assert check(bundle, "--report", str(tmp_path / "r"))[0] == 1
    facts = json.loads((tmp_path / "r.json").read_text())
    assert facts["answer"] == "bad" and [s["number"] for s in facts["steps"] if s["bad"]] == [4, 13]
    assert check(tmp_path / "none", "--report", str(tmp_path / "s"))[0] == 3
    assert json.loads((tmp_path / "s.json").read_text())["answer"] == "could not check"


def test_a_crash_is_neither_good_nor_bad_nor_could_not_check(bundle):
    """What cannot be told is no answer: here the terminal's disk is full."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-I", verifier.__file__, str(bundle), "--key", TRUSTED],
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert done.returncode not in (0, 1, 3)
    assert b"this is no answer" in done.stderr
