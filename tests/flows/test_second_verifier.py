"""A verifier written from the documents alone says the same of a bundle as ours, whatever is changed in it.

Whoever does not hold the archive's key is found out by the manifests and the signature. So most changes here are made by
somebody who does: all manifests and the statement are made and signed anew, and only what the custody log proves is left.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from archive.custody import Actor
from evidence import bundle
from tests import cast, second_verifier

Change = Callable[[Path], None]
CUSTODY = "data/custody/"


# --- what an attacker has at hand ------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def read(bag: Path, name: str) -> list[Any]:
    """The entries of a list, a line each."""
    return [json.loads(line.rstrip(b",")) for line in (bag / name).read_bytes().splitlines() if len(line) > 1]


def write(bag: Path, name: str, entries: list[Any]) -> None:
    lines = [canonical(e) for e in entries]
    body = b"".join(b"%s\n" % line for line in lines)
    if name.endswith(".json"):
        body = b"[\n" + b",\n".join(lines) + (b"\n]\n" if lines else b"]\n")
    (bag / name).write_bytes(body)


def changed(name: str, change: Callable[[list[Any]], object]) -> Change:
    """A change of the entries of one list."""

    def apply(bag: Path) -> None:
        entries = read(bag, name)
        change(entries)
        write(bag, name, entries)

    return apply


def replaced(name: str, old: bytes, new: bytes) -> Change:
    def apply(bag: Path) -> None:
        before = (bag / name).read_bytes()
        assert old in before
        (bag / name).write_bytes(before.replace(old, new, 1))

    return apply


def flipped(pattern: str, place: int = -1) -> Change:
    """One bit of the first such file."""

    def apply(bag: Path) -> None:
        path = sorted(bag.glob(pattern))[0]
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)

    return apply


def both(*changes: Change) -> Change:
    def apply(bag: Path) -> None:
        for change in changes:
            change(bag)

    return apply


def stated(bag: Path) -> dict[str, Any]:
    return json.loads((bag / "signature/statement.json").read_bytes())


def state(bag: Path, signer: Ed25519PrivateKey, **fields: Any) -> None:
    """Sign the statement as it is, but for these fields."""
    statement = canonical(stated(bag) | fields) + b"\n"
    (bag / "signature/statement.json").write_bytes(statement)
    (bag / "signature/statement.sig").write_bytes(signer.sign(statement))


def seal(bag: Path, signer: Ed25519PrivateKey) -> None:
    """Make all counts and manifests anew and sign them, as only the archive can."""
    files = {p.relative_to(bag).as_posix(): p for p in sorted(bag.rglob("*")) if p.is_file()}
    data = {n: p for n, p in files.items() if n.startswith("data/")}
    info = (bag / "bag-info.txt").read_text()
    oxum = f"Payload-Oxum: {sum(p.stat().st_size for p in data.values())}.{len(data)}"
    (bag / "bag-info.txt").write_text(re.sub("Payload-Oxum: .*", oxum, info))
    others = [n for n in files if n not in data and not n.startswith(("signature/", "tagmanifest-"))]
    hashes = {}
    for kind, names in (("manifest", data), ("tagmanifest", others)):
        for algorithm in ("sha256", "sha512"):
            lines = [
                f"{hashlib.new(algorithm, files[n].read_bytes()).hexdigest()}  {n}\n" for n in sorted(names)
            ]
            hashes[algorithm] = hashlib.new(algorithm, "".join(lines).encode()).hexdigest()
            (bag / f"{kind}-{algorithm}.txt").write_text("".join(lines))
    state(
        bag,
        signer,
        events=len(read(bag, CUSTODY + "events.jsonl")),
        subjects=len(read(bag, CUSTODY + "subjects.json")),
        items=len(read(bag, "data/metadata/items.json")),
        tagmanifest_sha256=hashes["sha256"],
        tagmanifest_sha512=hashes["sha512"],
    )


def rechained(bag: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the events of the last item; then number, chain and count them anew wherever they are named."""
    events, inclusion = read(bag, CUSTODY + "events.jsonl"), read(bag, CUSTODY + "inclusion.jsonl")
    subject = events[-1]["subject"]
    mine = [e for e in events if e["subject"] == subject]
    rest = [e for e in events if e["subject"] != subject]
    change(mine)
    tip = "0" * 64
    places = [p for p in inclusion if p["subject"] == subject]
    for place, (number, event) in zip(places, enumerate(mine, 1), strict=False):
        event |= {"number": number, "previous": tip}
        tip = hashlib.sha256(b"\0" + canonical(event)).hexdigest()
        place["event"] = tip
    write(bag, CUSTODY + "events.jsonl", rest + mine)
    write(bag, CUSTODY + "inclusion.jsonl", inclusion[: len(rest) + len(mine)])
    for name, count in (("subjects.json", "events"), ("completeness.jsonl", "number")):
        new = {count: len(mine), "tip": tip}
        changed(CUSTODY + name, lambda entries, new=new: entries[-1].update(new))(bag)
    old, new = places[-1], places[len(mine) - 1]
    proof = bag / CUSTODY / f"proofs/{old['position']}.tlog-proof"
    note = proof.read_bytes().split(b"\n\n", 1)[1]
    proof.unlink()
    hashes = b"".join(base64.b64encode(bytes.fromhex(h)) + b"\n" for h in new["proof"])
    proof.with_name(f"{new['position']}.tlog-proof").write_bytes(
        b"c2sp.org/tlog-proof@v1\nindex %d\n%s\n%s" % (new["position"], hashes, note)
    )


def without_last_item(bag: Path) -> None:
    """An item and all its history are left out, wherever they are named."""
    (item,) = read(bag, "data/metadata/items.json")[-1:]
    subject = f"item:{item['id']}"
    position = [p for p in read(bag, CUSTODY + "inclusion.jsonl") if p["subject"] == subject][-1]["position"]
    for name in ("events.jsonl", "inclusion.jsonl", "openings.jsonl", "completeness.jsonl", "subjects.json"):
        write(bag, CUSTODY + name, [e for e in read(bag, CUSTODY + name) if e["subject"] != subject])
    write(bag, "data/metadata/items.json", read(bag, "data/metadata/items.json")[:-1])
    table = (bag / "data/metadata/items.csv").read_bytes().rsplit(b"\r\n", 2)[0]
    (bag / "data/metadata/items.csv").write_bytes(table + b"\r\n")
    (bag / CUSTODY / f"proofs/{position}.tlog-proof").unlink()
    (bag / item["path"]).unlink()


def other_root(bag: Path) -> None:
    note = (bag / CUSTODY / "checkpoint.txt").read_text()
    root = base64.b64encode(bytes(32)).decode()
    other = note.replace(note.split("\n")[2], root)
    for path in (bag / CUSTODY).rglob("*"):
        if path.is_file():
            path.write_text(path.read_text().replace(note, other))
    statement = stated(bag)
    statement["checkpoint"]["root"] = "0" * 64
    (bag / "signature/statement.json").write_bytes(canonical(statement))


def swap(entries: list[Any], one: int, two: int) -> None:
    entries[one], entries[two] = entries[two], entries[one]


def swap_values(entries: list[Any], *keys: str) -> None:
    for key in keys:
        entries[-1][key], entries[-2][key] = entries[-2][key], entries[-1][key]


# Without the archive's key: what is done, and the step of docs/verify.md that has to name it.
BY_ANYBODY: dict[str, tuple[int, Change]] = {
    "one bit of an original": (4, flipped("data/originals/*/*")),
    "one bit of the signature": (2, flipped("signature/statement.sig")),
    "a file more": (1, lambda bag: (bag / "data/more.txt").touch()),
    "a file less": (1, lambda bag: (bag / CUSTODY / "map.json").unlink()),
    "an original less": (3, lambda bag: sorted(bag.glob("data/originals/*/*"))[0].unlink()),
    "all signed again with another key": (2, lambda bag: forge(bag)),
}

# With it.
BY_THE_ARCHIVE: dict[str, tuple[int, Change]] = {
    "one bit of an original": (13, flipped("data/originals/*/*")),
    "another name of an original": (
        13,
        replaced("data/metadata/items.json", b'"holiday.jpg"', b'"holidax.jpg"'),
    ),
    "a byte of an event": (5, replaced(CUSTODY + "events.jsonl", b'"role":"operator"', b'"role":"operatox"')),
    "an event not in canonical form": (5, replaced(CUSTODY + "events.jsonl", b'"actor":', b'"actor": ')),
    "two events swapped": (5, changed(CUSTODY + "events.jsonl", lambda e: swap(e, -1, -2))),
    "two events swapped, chained anew": (9, lambda bag: rechained(bag, lambda e: swap(e, 0, 1))),
    "the last event of an item altered": (
        9,
        lambda bag: rechained(bag, lambda e: e[-1]["actor"].update(role="x")),
    ),
    "the last event of an item left out": (10, lambda bag: rechained(bag, lambda e: e.pop())),
    "an item left out with its history": (13, without_last_item),
    "a disclosed value": (12, replaced(CUSTODY + "openings.jsonl", b'"holiday.jpg"', b'"holidax.jpg"')),
    "a value disclosed twice": (12, changed(CUSTODY + "openings.jsonl", lambda e: e.append(e[-1]))),
    "the path of another subject": (
        10,
        changed(CUSTODY + "completeness.jsonl", lambda e: swap_values(e, "siblings")),
    ),
    "the whole proof of another subject": (
        10,
        changed(
            CUSTODY + "completeness.jsonl", lambda e: swap_values(e, "siblings", "key_proof", "number", "tip")
        ),
    ),
    "another map": (10, replaced(CUSTODY + "map.json", rb"\"entries\":", rb"\"entries\":1")),
    "another root of the log": (6, other_root),
    "a hash of an inclusion proof": (
        9,
        replaced(CUSTODY + "inclusion.jsonl", b'"proof":["', b'"proof":["' + b"0" * 64 + b'","'),
    ),
    "true for 1": (9, replaced(CUSTODY + "inclusion.jsonl", b'"number":1,', b'"number":true,')),
    "the index of a proof file": (11, lambda bag: index(bag)),
    "a proof file less": (11, lambda bag: sorted(bag.glob(CUSTODY + "proofs/*"))[0].unlink()),
}


def index(bag: Path) -> None:
    path = sorted(bag.glob(CUSTODY + "proofs/*"))[0]
    path.write_bytes(re.sub(rb"index (\d+)", rb"index 1\1", path.read_bytes()))


def forge(bag: Path) -> None:
    key = Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes_raw()
    pem = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (bag / "signature/public-key.pem").write_bytes(key.public_key().public_bytes(*pem))
    state(bag, key, key=hashlib.sha256(raw).hexdigest())


# --- the two verifiers -------------------------------------------------------------------------------------------------


def first(bag: Path, key: str) -> set[int]:
    """The steps at which the second verifier finds a fault."""
    return {int(n) for f in second_verifier.faults(bag, key) for n in re.findall(r"\d+", f.split(":")[0])}


def ours(bag: Path, key: str) -> set[int]:
    """The steps at which the product's verifier does; where it finds nothing false, those that it could not check."""
    command = [sys.executable, "-I", bag / "verify_bundle.py", bag, "--key", key]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    words = {0: "nothing", 1: "BAD", 3: "COULD NOT CHECK"}
    steps = re.findall(rf"^ ?(\d+)\. .*: {words[ran.returncode]}$", ran.stdout, re.MULTILINE)
    assert bool(steps) == bool(ran.returncode), ran.stdout
    return {int(step) for step in steps}


@pytest.mark.django_db(transaction=True)
@pytest.mark.embedded
def test_a_second_verifier_says_the_same(tmp_path: Path) -> None:
    case = cast.case()
    for seed in range(3):
        cast.acquire(case, cast.jpeg(seed=seed), name=("holiday.jpg", "boat.jpg", "بحر.jpg")[seed])
    good = tmp_path / "good"
    bundle.export(case=case, out=good, actor=Actor.operator(), reason="asked for by the court")
    signer = serialization.load_pem_private_key(Path(settings.SIGNING_KEY_FILE).read_bytes(), None)
    assert isinstance(signer, Ed25519PrivateKey)
    key = stated(good)["key"]

    again = shutil.copytree(good, tmp_path / "again")
    seal(again, signer)
    for bag in (good, again):
        assert second_verifier.faults(bag, key) == []
        assert ours(bag, key) == set()

    wrong = {}
    for sealed, changes in ((False, BY_ANYBODY), (True, BY_THE_ARCHIVE)):
        for what, (step, change) in changes.items():
            bag = shutil.copytree(good, tmp_path / "changed")
            change(bag)
            if sealed:
                seal(bag, signer)
            found = {"second": first(bag, key), "ours": ours(bag, key)}
            if not all(step in steps for steps in found.values()):
                wrong[what] = (step, found)
            shutil.rmtree(bag)
    assert wrong == {}
