"""A second verifier of evidence bundles, written from docs/ by somebody who had not seen the product's code.

It reads a folder, not a zip, and trusts the archive's key alone: known checkpoints, witnesses and timestamps (in steps 6
to 8 of docs/verify.md) are left out, and so are decisions, suggestions and tables (14 to 16), which only repeat events.

    python second_verifier.py BUNDLE FINGERPRINT
"""

import hashlib
import json
import re
import sys
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

Event = dict[str, Any]
Reference = tuple[str, int]  # an event: its subject and number
ZERO = bytes(32)
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z", re.ASCII)
SUBJECT = re.compile(f"(item|case|source|bundle):{UUID}|system:main")
PARTS = set("version subject number previous type time actor reason software payload".split())
TAGS = "tagmanifest-sha256.txt tagmanifest-sha512.txt".split()
SIGNED = "signature/statement.json signature/statement.sig signature/public-key.pem".split()
REQUIRED = {*TAGS, *SIGNED} | set(
    """bagit.txt bag-info.txt manifest-sha256.txt manifest-sha512.txt README.txt verify_bundle.py
    data/metadata/case.json data/metadata/items.json data/metadata/items.csv data/metadata/sources.json
    data/metadata/sources.csv data/decisions.json data/decisions.csv data/detections.json data/detections.csv
    data/custody/events.jsonl data/custody/openings.jsonl data/custody/subjects.json data/custody/inclusion.jsonl
    data/custody/completeness.jsonl data/custody/map.json data/custody/checkpoint.txt""".split()
)
ALLOWED = re.compile(
    r"bagit-profile\.json|data/(report(-\d{3,})?\.pdf|certification(-items)?\.txt|custody-statement\.txt|volumes\.json"
    r"|(certification|custody-statement)\.pdf|ro-crate-(metadata\.json|preview\.html)|interchange/.+"
    r"|(originals|redacted)/[^/]+/[^/]+"
    r"|custody/(cosigned-checkpoint\.txt|timestamps/\d+-[^/]+\.tsr|proofs/\d+\.tlog-proof))"
)


class Wrong(Exception):  # noqa: N818 - it is the bundle that is wrong
    """A fault, in words."""


def need(holds: object, fault: str) -> None:
    if not holds:
        raise Wrong(fault)


@dataclass
class Bundle:
    """What the steps have found out so far."""

    folder: Path
    key: str
    names: dict[str, Path] = field(default_factory=dict)
    statement: dict[str, Any] = field(default_factory=dict)
    public_key: ed25519.Ed25519PublicKey | None = None
    events: dict[Reference, Event] = field(default_factory=dict)
    hashes: dict[Reference, bytes] = field(default_factory=dict)
    ends: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # of each chain: number and hash
    origin: str = ""
    size: int = 0
    root: bytes = b""
    positions: dict[Reference, int] = field(default_factory=dict)
    proofs: dict[int, list[str]] = field(default_factory=dict)
    opened: dict[tuple[str, int, str], Any] = field(default_factory=dict)

    def read(self, name: str) -> bytes:
        return self.names[name].read_bytes()

    def entries(self, name: str) -> list[Any]:
        """Of a .jsonl, or of a .json list: `[`, an entry a line, `]`."""
        lines = split(self.read(name))
        if name.endswith(".json"):
            need((lines[0], lines[-1]) == (b"[", b"]"), f"{name} is not a list of lines")
            need(all(line.endswith(b",") for line in lines[1:-2]), f"{name} is a list without a comma")
            lines = [line.removesuffix(b",") for line in lines[1:-2]] + lines[1:-1][-1:]
        return [parse(line) for line in lines]

    def hash_of(self, name: str, algorithm: str = "sha256") -> str:
        with self.names[name].open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()

    def of(self, subject: str, *types: str) -> list[Reference]:
        return [r for r, e in self.events.items() if r[0] == subject and e["type"] in types]

    def meant(self, subject: str, entry: dict[str, Any], kind: str) -> Reference:
        """The event to which an entry of an item refers; entries of items.json leave out the subject."""
        reference = subject, entry["number"]
        need(type(reference[1]) is int, "not a number of an event")
        need(unhex(entry["event"]) == self.hashes[reference], f"{reference}: another event is meant")
        need(self.events[reference]["type"] == kind, f"{reference}: not an event {kind}")
        return reference


# --- how things are written ---------------------------------------------------------------------------------------


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def unhex(text: str) -> bytes:
    need(re.fullmatch("[0-9a-f]{64}", text), f"not a SHA-256 in lowercase hex: {text!r:.80}")
    return bytes.fromhex(text)


def unbase64(text: str) -> bytes:
    raw = b64decode(text, validate=True)
    need(b64encode(raw).decode() == text, "base64 in another spelling")
    return raw


def split(data: bytes) -> list[bytes]:
    need(not data or data.endswith(b"\n"), "no line feed at the end")
    return data.split(b"\n")[:-1]


def canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def no_fraction(text: str) -> None:
    raise Wrong(f"a number that is no integer: {text:.40}")


def parse(data: bytes) -> Any:
    value = json.loads(data.decode(), parse_float=no_fraction, parse_constant=no_fraction)
    need(canonical(value) == data and narrow(value), "JSON that is not in canonical form")
    return value


def same(one: Any, other: Any) -> bool:
    """To Python 1 and true are one, to JSON they are not."""
    return canonical(one) == canonical(other)


def narrow(value: Any) -> bool:
    if isinstance(value, dict):
        return all(key.isascii() for key in value) and all(map(narrow, value.values()))
    if isinstance(value, list):
        return all(map(narrow, value))
    return not isinstance(value, int) or abs(value) < 2**53


def when(text: str) -> datetime:
    need(TIME.fullmatch(text), f"not a time: {text!r:.60}")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def at(value: Any, pointer: str) -> Any:
    """RFC 6901."""
    need(pointer == "" or pointer.startswith("/"), "not a JSON pointer")
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def event_of(line: bytes) -> Event:
    need(len(line) <= 65535, "an event that is too long")
    event = parse(line)
    need(event.keys() == PARTS and event["version"] == 1, "not an event of version 1")
    need(SUBJECT.fullmatch(event["subject"]) and when(event["time"]), "not a subject")
    return event


# --- trees ----------------------------------------------------------------------------------------------------------


def log_root(leaf: bytes, index: int, size: int, proof: list[str]) -> bytes:
    """RFC 9162, 2.1.3.2."""
    need(0 <= index < size and len(proof) <= 256, "a position beyond the log")
    here, last = index, size - 1
    for sibling in map(unhex, proof):
        need(last, "an inclusion proof that is too long")
        if here & 1 or here == last:
            leaf = sha256(b"\1", sibling, leaf)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            leaf = sha256(b"\1", leaf, sibling)
        here, last = here >> 1, last >> 1
    need(not last, "an inclusion proof that is too short")
    return leaf


def map_root(key: bytes, number: int, tip: bytes, siblings: list[str]) -> bytes:
    need(len(siblings) <= 256, "a path longer than a key")
    here = sha256(b"\2", key, number.to_bytes(8, "big"), tip)
    for depth, beside in reversed(list(enumerate(map(unhex, siblings)))):
        right = key[depth // 8] >> 7 - depth % 8 & 1
        here = sha256(b"\3", beside, here) if right else sha256(b"\3", here, beside)
    return here


# --- the steps of docs/verify.md --------------------------------------------------------------------------------------


def files(b: Bundle) -> None:
    for path in sorted(b.folder.rglob("*")):
        need(path.is_dir() or path.is_file(), f"neither file nor folder: {path.name}")
        need(not path.is_symlink(), f"a link: {path.name}")
        if path.is_file():
            b.names[unicodedata.normalize("NFC", path.relative_to(b.folder).as_posix())] = path
    odd = [n for n in b.names if n not in REQUIRED and not ALLOWED.fullmatch(n)]
    need(not odd, f"does not belong there: {', '.join(odd)}")
    need(b.names.keys() >= REQUIRED, f"missing: {', '.join(sorted(REQUIRED - b.names.keys()))}")
    bagit = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    need(b.read("bagit.txt") == bagit, "bagit.txt is not that of BagIt 1.0")


def signature(b: Bundle) -> None:
    statement, pem = b.read("signature/statement.json"), b.read("signature/public-key.pem")
    key = serialization.load_pem_public_key(pem)
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    need(isinstance(key, ed25519.Ed25519PublicKey), "the key is not Ed25519")
    need(key.public_bytes(*form) == pem, "the key is not written as it should be")
    need(sha256(key.public_bytes_raw()).hex() == b.key, "signed with another key than the archive's")
    key.verify(b.read("signature/statement.sig"), statement)
    need(statement.endswith(b"\n"), "the statement has no line feed at its end")
    b.public_key, b.statement = key, parse(statement[:-1])
    need(b.statement["format"] == "amparo-bundle 2" and when(b.statement["created"]), "another format")
    need(b.statement["key"] == b.key, "the statement names another key")
    need("code" in b.statement["case"] and "software" in b.statement, "the statement says too little")
    for tag in TAGS:
        algorithm = tag[12:18]
        need(b.statement[f"tagmanifest_{algorithm}"] == b.hash_of(tag, algorithm), f"another {tag}")


def manifests(b: Bundle) -> None:
    payload = {n for n in b.names if n.startswith("data/")}
    others = b.names.keys() - payload - {*TAGS, *SIGNED}
    for algorithm, digits in (("sha256", 64), ("sha512", 128)):
        for manifest, expected in (
            (f"manifest-{algorithm}.txt", payload),
            (f"tagmanifest-{algorithm}.txt", others),
        ):
            listed: dict[str, str] = {}
            for line in split(b.read(manifest)):
                found = re.fullmatch(f"([0-9a-f]{{{digits}}})  ((?:[^%]|%0A|%0D|%25)+)", line.decode())
                need(found, f"{manifest}: not a line of a manifest: {line!r:.200}")
                name = found[2].replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
                need(name not in listed, f"{manifest}: twice: {name}")
                listed[name] = found[1]
            odd = sorted(listed.keys() ^ expected)
            need(not odd, f"{manifest}: {', '.join(odd)[:200]} listed or there, not both")
            wrong = [n for n, digest in listed.items() if b.hash_of(n, algorithm) != digest]
            need(not wrong, f"{manifest}: changed: {', '.join(wrong)[:200]}")
    labels = [line.decode().split(": ", 1) for line in split(b.read("bag-info.txt"))]
    info = dict(labels)
    need(len(info) == len(labels), "bag-info.txt: a label twice")
    size = sum(b.names[n].stat().st_size for n in payload)
    need(info["Payload-Oxum"] == f"{size}.{len(payload)}", "bag-info.txt: another Payload-Oxum")
    need(info["External-Identifier"] == f"urn:uuid:{b.statement['bundle']}", "bag-info.txt: another bundle")


def events(b: Bundle) -> None:
    last, number, tip = "", 0, ZERO
    for line in split(b.read("data/custody/events.jsonl")):
        event = event_of(line)
        if event["subject"] != last:
            last, number, tip = event["subject"], 0, ZERO
            need(last not in b.ends, f"the events of {last} do not stand together")
        number += 1
        need(event["number"] == number, f"{last}: number {event['number']} where {number} should be")
        need(unhex(event["previous"]) == tip, f"{last} {number} does not follow from the event before")
        tip = sha256(b"\0", line)
        b.events[last, number], b.hashes[last, number], b.ends[last] = event, tip, (number, tip)
    stated = [[s["subject"], s["events"], s["tip"]] for s in b.entries("data/custody/subjects.json")]
    chains = [[s, number, tip.hex()] for s, (number, tip) in b.ends.items()]
    need(same(stated, chains), "subjects.json does not say what the chains are")
    need(len(b.events) == b.statement["events"], "not as many events as the statement says")
    need(len(b.ends) == b.statement["subjects"], "not as many subjects as the statement says")
    need(f"case:{b.statement['case']['id']}" in b.ends, "the case's chain is missing")
    request = b.events[f"bundle:{b.statement['bundle']}", 1]
    need(request["type"] == "bundle.requested", "the bundle's chain does not begin with its request")
    need(request["payload"]["set"]["key"] == b.key, "the request names another key")


def checkpoint(b: Bundle) -> None:
    text, signatures = b.read("data/custody/checkpoint.txt").split(b"\n\n")
    b.origin, size, root, *_ = text.decode().split("\n")
    need(re.fullmatch("0|[1-9][0-9]*", size, re.ASCII), "not a size of a checkpoint")
    b.size, b.root = int(size), unbase64(root)
    stated = {"origin": b.origin, "size": b.size, "root": b.root.hex()}
    need(stated == b.statement["checkpoint"], "the checkpoint is not that of the statement")
    key_id, held = sha256(b.origin.encode(), b"\n\1", b.public_key.public_bytes_raw())[:4], 0
    for line in split(signatures):
        found = re.fullmatch(r"— ([^\s+]+) ([A-Za-z0-9+/=]+)", line.decode())
        need(found, "not a signature line of a checkpoint")
        signature = unbase64(found[2])
        if (found[1], signature[:4]) == (b.origin, key_id):
            b.public_key.verify(signature[4:], text + b"\n")
            held += 1
    need(held, "the checkpoint bears no signature of the archive's key")


def inclusion(b: Bundle) -> None:
    entries = b.entries("data/custody/inclusion.jsonl")
    order = [[e["subject"], e["number"]] for e in entries]
    need(same(order, [*map(list, b.events)]), "not a proof for each event, in order")
    for entry, (reference, leaf) in zip(entries, b.hashes.items(), strict=True):
        position, before = entry["position"], b.positions.get((reference[0], reference[1] - 1), -1)
        need(unhex(entry["event"]) == leaf, f"{reference}: a proof of another event")
        root = log_root(leaf, position, b.size, entry["proof"])
        need(root == b.root, f"{reference}: not in the log under this checkpoint")
        need(before < position < b.statement["map"]["size"], f"{reference}: at an impossible position")
        b.positions[reference], b.proofs[position] = position, entry["proof"]
    latest, minutes = datetime.min.replace(tzinfo=UTC), timedelta(minutes=10)
    for reference in sorted(b.positions, key=b.positions.__getitem__):
        time = when(b.events[reference]["time"])
        need(latest - time <= minutes, f"{reference}: dated before what stands earlier in the log")
        need(time - when(b.statement["created"]) <= minutes, f"{reference}: dated later than the bundle")
        latest = max(latest, time)


def completeness(b: Bundle) -> None:
    line = b.read("data/custody/map.json")
    stated = parse(line.removesuffix(b"\n"))
    event, position = event_of(stated["event"].encode()), stated["position"]
    payload = event["payload"]
    need((event["subject"], event["type"]) == ("system:main", "system.map_root"), "map.json: another event")
    root = log_root(sha256(b"\0", stated["event"].encode()), position, b.size, stated["proof"])
    need(root == b.root and line.endswith(b"\n"), "the map's event is not in the log under this checkpoint")
    need({k: payload[k] for k in ("root", "size")} == b.statement["map"], "not the map of the statement")
    need(payload["size"] <= position, "the map speaks of events after its own")
    key = serialization.load_der_public_key(unbase64(payload["key"]))
    need(isinstance(key, rsa.RSAPublicKey), "the map's key is not RSA")
    need((key.key_size, key.public_numbers().e) == (2048, 65537), "the map's key is not as it should be")
    entries = b.entries("data/custody/completeness.jsonl")
    need([e["subject"] for e in entries] == list(b.ends), "not a proof for each subject, in order")
    for entry in entries:
        subject, tip, key_proof = entry["subject"], unhex(entry["tip"]), unbase64(entry["key_proof"])
        name = f"amparo-map-key/1\n{b.origin}\n{subject}".encode()
        key.verify(key_proof, name, padding.PKCS1v15(), hashes.SHA256())
        root = map_root(sha256(key_proof), entry["number"], tip, entry["siblings"])
        need(root == unhex(payload["root"]), f"the map does not say this of {subject}")
        number, end = b.ends[subject]
        need(tip == end and same(entry["number"], number), f"{subject} has other events than the map says")
    b.positions["map", 0], b.proofs[position] = position, stated["proof"]


def proof_files(b: Bundle) -> None:
    own = b.read("data/custody/checkpoint.txt")
    cosigned = b.names.get("data/custody/cosigned-checkpoint.txt")
    note = cosigned.read_bytes() if cosigned else own
    need(note.startswith(own), "the cosigned checkpoint is another")
    ends = [b.positions["map", 0], *(b.positions[s, number] for s, (number, _) in b.ends.items())]
    expected = {f"data/custody/proofs/{p}.tlog-proof": p for p in ends}
    odd = sorted(expected.keys() ^ {n for n in b.names if n.startswith("data/custody/proofs/")})
    need(not odd, f"missing or too many: {', '.join(odd)[:200]}")
    for name, position in expected.items():
        head, rest = b.read(name).split(b"\n\n", 1)
        first, *lines = head.decode().split("\n")
        lines = lines[lines[0].startswith("extra ") :]
        head = ["c2sp.org/tlog-proof@v1", f"index {position}"]
        need([first, lines[0]] == head, f"{name}: of another event")
        # These hashes led to the root in steps 9 and 10 already.
        need([unbase64(h).hex() for h in lines[1:]] == b.proofs[position], f"{name}: another proof")
        need(rest == note, f"{name}: another checkpoint")


def openings(b: Bundle) -> None:
    order, before = {reference: n for n, reference in enumerate(b.events)}, -1
    for opening in b.entries("data/custody/openings.jsonl"):
        salt, pointer, value = unhex(opening["salt"]).hex(), opening["pointer"], opening["value"]
        reference = opening["subject"], opening["number"]
        need(type(reference[1]) is int, "not a number of an event")
        need(before <= order[reference], "disclosed values that are not in the order of events")
        need((*reference, pointer) not in b.opened, f"{reference} {pointer}: disclosed twice")
        held = {"commitment": sha256(canonical([salt, pointer, value])).hex()}
        need(at(b.events[reference], pointer) == held, f"{reference} {pointer}: holds another value")
        b.opened[*reference, pointer], before = value, order[reference]


def originals(b: Bundle) -> None:
    items, given = b.entries("data/metadata/items.json"), b.statement["files"]
    ids, there = [i["id"] for i in items], []
    need(len({*ids}) == len(ids) == b.statement["items"], "not as many items as the statement says")
    chains = {s.removeprefix("item:") for s in b.ends if s.startswith("item:")}
    need({*ids} == chains, "other items than the events'")
    for item in items:
        code, subject, redactions = item["code"], f"item:{item['id']}", item["redactions"]
        (stored,) = b.of(subject, "item.stored")
        was = [b.events[stored]["payload"]["set"][k] for k in ("blob", "size")]
        need(same(was, [item["sha256"], item["size"]]), f"{code}: other bytes were stored")
        fate = b.of(subject, "item.disposed", "item.held_again")[-1:]
        disposed = bool(fate) and b.events[fate[0]]["type"] == "item.disposed"
        need((item["path"] is None) == (disposed or given == "redacted"), f"{code}: is there, or is not")
        need(not redactions or given != "originals", f"{code}: a redaction that nobody asked for")
        need(redactions or disposed or given != "redacted", f"{code}: nothing in its stead")
        in_bag = [("originals", item)] * (item["path"] is not None) + [("redacted", r) for r in redactions]
        for folder, file in in_bag:
            need(file["path"].startswith(f"data/{folder}/"), f"{code}: a file in another place")
            need(b.hash_of(file["path"]) == file["sha256"], f"{code}: not the file of its events")
            there.append(file["path"])
        for redaction in redactions:
            made = b.events[b.meant(subject, redaction, "item.rendition_made")]["payload"]["set"]
            recipe = sha256(canonical(redaction["recipe"])).hex()
            need(redaction["recipe_sha256"] == recipe, f"{code}: another recipe")
            need(made["recipe"] == f"amparo-redaction/1 {recipe}", f"{code}: redacted by another recipe")
            need(redaction["sha256"] == made["blob"], f"{code}: another redaction")
            need(redaction["original_sha256"] == item["sha256"], f"{code}: a redaction of another item")
            need(made["original_sha256"] == item["sha256"], f"{code}: a redaction of another item")
        came = {b.meant(subject, a, "item.acquired"): a["file_name"] for a in item["acquisitions"]}
        need(sorted(came) == b.of(subject, "item.acquired"), f"{code}: was acquired otherwise")
        for reference, name in came.items():
            held = at(b.events[reference], "/payload/set/file_name")
            held = b.opened.get((*reference, "/payload/set/file_name"), {"withheld": True}) if held else held
            need(name == held, f"{code}: came with another name")
    files = [n for n in b.names if n.startswith(("data/originals/", "data/redacted/"))]
    need(sorted(there) == sorted(files), "a file that belongs to no item, or to two")
    if b.statement["volume"]["of"] > 1:
        volumes = b.entries("data/volumes.json")
        mine = [v["item"] for v in volumes if v["volume"] == b.statement["volume"]["number"]]
        need(sorted(mine) == sorted(ids), "other items than volumes.json says")
        ids = [v["item"] for v in volumes]
    asked = b.events[f"bundle:{b.statement['bundle']}", 1]["payload"]["set"]["items_sha256"]
    need(asked == sha256(*(f"{i}\n".encode() for i in sorted(ids))).hex(), "other items than were asked for")


STEPS: dict[str, Callable[[Bundle], None]] = {
    "1 files": files,
    "2 signature": signature,
    "3 and 4 manifests and content": manifests,
    "5 events": events,
    "6 checkpoint": checkpoint,
    "9 inclusion": inclusion,
    "10 completeness": completeness,
    "11 proof files": proof_files,
    "12 disclosed values": openings,
    "13 originals": originals,
}
UNREADABLE = (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError)


def faults(folder: Path, key: str) -> list[str]:
    """What is wrong with this bundle: the first fault of each step. Empty: it is good."""
    bundle, found = Bundle(folder, key), []
    for name, step in STEPS.items():
        try:
            step(bundle)
        except Wrong as fault:
            found.append(f"{name}: {fault}")
        except InvalidSignature:
            found.append(f"{name}: a signature does not hold")
        except UNREADABLE as fault:  # often for what an earlier step did not find
            found.append(f"{name}: cannot be read, {fault!r:.200}")
    return found


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]), sys.argv[2])
    print("\n".join(wrong) or "good")
    sys.exit(bool(wrong))
