#!/usr/bin/env python3
"""Check an Amparo evidence bundle (format 2), in plain words.

    python verify_bundle.py BUNDLE --key KEY [--policy FILE] [--known CHECKPOINT] [--timestamp-ca FILE] ...

BUNDLE is the bundle's folder, or the .zip that holds it. KEY is the fingerprint of the archive's signing key, or a
file with that key, that you got from the archive by another way than this bundle. Steps are numbered as in
docs/verify.md, which says them so exactly that a stranger could write another verifier.

Exit status: 0 everything is good; 1 something is bad; 3 something could not be checked (never a yes);
any other: the program did not run, and that is no answer.

Needs Python 3.10 or newer and the `cryptography` package (42 or newer). It shares no code with Amparo, opens no
network connection, follows no link, unpacks nothing, and writes nothing but the report that you ask for. It takes
all that it reads for an enemy's work. Its parts: reading (folder, zip, JSON); proofs (tree, map, signed notes,
policy, timestamps); the sixteen steps; the command; and the words, in four languages, at the end.

SPDX-License-Identifier: AGPL-3.0-or-later
"""

import argparse
import base64
import contextlib
import csv
import hashlib
import io
import itertools
import json
import os
import re
import stat
import struct
import sys
import unicodedata
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import IO, Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
except ImportError:  # an older `cryptography`: such signatures could not be checked, and are said so
    MLDSA44PublicKey = None  # type: ignore[assignment, misc]

UTC = timezone.utc  # noqa: UP017 - Python 3.10 has no datetime.UTC
FORMAT, VERSION, LANGUAGES = "amparo-bundle 2", "2", ("en", "fr", "es", "ar")
STATEMENT, SIGNATURE, KEY = (f"signature/{n}" for n in ("statement.json", "statement.sig", "public-key.pem"))
ALGORITHMS = ("sha256", "sha512")
TAGMANIFESTS = [f"tagmanifest-{name}.txt" for name in ALGORITHMS]
TABLES = ("data/metadata/items", "data/metadata/sources", "data/decisions", "data/detections")
LOG = "data/custody/"
CHECKPOINT, COSIGNED = f"{LOG}checkpoint.txt", f"{LOG}cosigned-checkpoint.txt"
REQUIRED = (
    {"README.txt", "bag-info.txt", "bagit.txt", "verify_bundle.py", STATEMENT, SIGNATURE, KEY, *TAGMANIFESTS}
    | {f"manifest-{name}.txt" for name in ALGORITHMS}
    | {"data/metadata/case.json", CHECKPOINT}
    | {f"{table}.{form}" for table in TABLES for form in ("json", "csv")}
    | {f"{LOG}{n}.jsonl" for n in ("events", "openings", "inclusion", "completeness")}
    | {f"{LOG}{n}.json" for n in ("subjects", "map")}
)
ALLOWED = re.compile(  # beside these, a bundle may hold
    r"bagit-profile\.json|data/ro-crate-(metadata\.json|preview\.html)|data/report(-\d{3,})?\.pdf"
    r"|data/(certification(-items)?|custody-statement)\.\w+|data/volumes\.json"
    r"|data/(originals|redacted|interchange)/.+"
    r"|data/custody/(cosigned-checkpoint\.txt|timestamps/\d+-[\w.-]+\.tsr|proofs/\d+\.tlog-proof)",
    re.ASCII | re.DOTALL,
)
BAGIT_TXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MAX_EVENT, MAX_LINE, MAX_SMALL_FILE, PIECE = 65_535, 16 * 2**20, 2**20, 2**20
MAX_CERTIFICATES = 16  # in a timestamp: so that a chain is soon followed to its end
CLOCKS_DIFFER = 600  # seconds that two honest clocks, or two events written at once, may be apart
HEX64 = re.compile(r"[0-9a-f]{64}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
SUBJECT = re.compile(r"(?:item|case|source|bundle|system):[0-9A-Za-z-]{1,64}")
EVENT_KEYS = "actor number payload previous reason software subject time type version".split()
WITHHELD = {"withheld": True}
DECIDED = ("item.decided", "item.decision_withdrawn", "item.answered")
GONE = ("item.disposed", "item.held_again")  # bytes destroyed, and taken in again
KEPT = {"item.stored", "item.acquired", "item.analysed", "item.rendition_made", "bundle.requested"}
KEPT |= {*GONE, *DECIDED, "item.redaction_approved"}
FORMULA, FORMULA_SPACE = set("=+-@'\uff1d\uff0b\uff0d\uff20"), set("\t\r\n")

Place = tuple[str, int]  # the subject of an event and its number there


@dataclass(frozen=True)
class Say:
    """A sentence out of the table of words at the end of this file, and what stands in its gaps."""

    code: str
    gaps: tuple = ()

    def in_(self, language: str) -> str:
        """The sentence in a language. What comes from a stranger is made safe to print."""
        gaps = [gap.in_(language) if isinstance(gap, Say) else show(gap) for gap in self.gaps]
        if language == "ar":  # keeps paths and hashes whole in a line that runs from right to left
            gaps = [f"\u2068{gap}\u2069" for gap in gaps]
        return WORDS[self.code][LANGUAGES.index(language)].format(*gaps)


class Finding(Exception):
    """Ends a step, with a sentence."""

    def __init__(self, code: str, *gaps: Any) -> None:
        super().__init__(Say(code, gaps).in_("en"))
        self.say = Say(code, gaps)


class Bad(Finding):
    """Something in the bundle is false."""


class CouldNotCheck(Finding):
    """Something that an answer needs is not there, or cannot be read."""


class NotAsked(Finding):
    """A check for which the reader has given nothing to check against."""


def need(condition: Any, code: str, *gaps: Any) -> None:
    """Raise Bad unless the condition holds."""
    if not condition:
        raise Bad(code, *gaps)


def show(text: Any, longest: int = 200) -> str:
    """Make a stranger's text safe to print: no control characters, nothing that turns the line around."""
    if isinstance(text, Text):
        return str(text)
    text = str(text)
    if re.fullmatch(r"[\w./:+@-]{1,200}", text, re.ASCII):
        return text
    return "'" + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:longest]) + "'"


class Text(str):
    """Words that were made safe already."""


def line_of(number: int, name: str) -> Say:
    """Words for a place in a file."""
    return Say("line", (number, name))


def event_of(place: Place) -> Say:
    """Words for an event."""
    return Say("event", (place[1], place[0]))


# --- Reading: a folder or a zip, as named files that are only read -------------------------------------------


class Folder:
    """A bundle that lies in a folder. Links, devices and pipes are faults and are never opened."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.real: dict[str, Any] = {}
        self.faults: list[Finding] = []
        waiting = [""]
        while waiting:
            here = waiting.pop()
            with os.scandir(os.path.join(path, here)) as entries:
                for entry in entries:
                    name, mode = here + entry.name, entry.stat(follow_symlinks=False).st_mode
                    if stat.S_ISDIR(mode):
                        waiting.append(name + "/")
                    elif not stat.S_ISREG(mode):
                        self.faults.append(Bad("link", name))
                    else:
                        add(self, name, name, name)

    def open(self, name: str) -> IO[bytes]:
        """Open one file for reading, refusing what has become a link or a device since."""
        flags = os.O_RDONLY | sum(getattr(os, f, 0) for f in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
        handle = os.open(os.path.join(self.path, *self.real[name].split("/")), flags)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Bad("link", name)
        return os.fdopen(handle, "rb")


class Zip:
    """A bundle inside a .zip, read in place. One folder at its top; nothing is unpacked."""

    def __init__(self, path: str) -> None:
        self.zip = zipfile.ZipFile(path)
        self.real: dict[str, Any] = {}
        self.faults: list[Finding] = []
        tops, end, follows, hidden = set(), 0, 0, not self._ends_well()
        folders = set()
        for info in sorted(self.zip.infolist(), key=lambda i: i.header_offset):
            top, _, name = info.filename.partition("/")
            tops.add(top)
            begun, (end, said_once) = end, self._header(info)
            hidden |= info.header_offset > begun + follows
            follows = 24 if info.flag_bits & 8 else 0  # what may follow a file: its sizes and checksum
            if info.header_offset < begun or end > self.zip.start_dir:
                self.faults.append(Bad("zip-overlap", name))
            elif not said_once or info.volume or (info.is_dir() and (info.file_size or info.compress_size)):
                self.faults.append(Bad("zip-packing", name))
            elif stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                self.faults.append(Bad("link", name))
            elif (
                info.flag_bits & 1
                or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                or info.filename != info.orig_filename
            ):
                self.faults.append(Bad("zip-packing", name))
            elif info.file_size > 200 * info.compress_size + PIECE:
                self.faults.append(CouldNotCheck("zip-bomb", name))
            elif not info.is_dir():
                add(self, name, info.filename, info)
            elif why := unsafe(info.filename[:-1]) or (name and unsafe(name[:-1])):
                self.faults.append(Bad(why, info.filename))
            else:
                folders.add(unicodedata.normalize("NFC", name[:-1]))
        for name in sorted(folders & set(self.real)):
            self.faults.append(Bad("name-twice", name))
        if len(tops) != 1:
            self.faults.append(Bad("zip-tops", len(tops)))
        if hidden or self.zip.start_dir > end + follows:
            self.faults.append(Bad("zip-hidden"))

    def _file(self) -> IO[bytes]:
        if self.zip.fp is None:
            raise zipfile.BadZipFile("closed")
        return self.zip.fp

    def _ends_well(self) -> bool:
        """Whether all records at the end name this one list of files and no other, with nothing after it."""
        file = self._file()
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 98))
        tail = file.read()
        count, start = len(self.zip.infolist()), self.zip.start_dir
        wide = tail[-42:-38] == b"PK\6\7"  # the larger records of zip64: they must not name another list
        length = size - start - (98 if wide else 22)
        said = struct.unpack("<4s4HLLH", tail[-22:])
        due = (b"PK\5\6", 0, 0, count, count, length, start, 0)
        fits = all(a == b or (wide and a in (0xFFFF, 0xFFFFFFFF)) for a, b in zip(said, due, strict=True))
        if not wide:
            return fits
        record = struct.unpack("<4sQ4xLL4Q4sLQL", tail[:76])
        other = (b"PK\6\7", 0, start + length, 1)
        return fits and record == (b"PK\6\6", 44, 0, 0, count, count, length, start, *other)

    def _header(self, info: zipfile.ZipInfo) -> tuple[int, bool]:
        """Where a file's bytes end; and whether the header before them says what the list of files says.

        Some programs go by the one, some by the other, and some by a second name in an extra field (0x7075).
        """
        file = self._file()
        file.seek(info.header_offset)
        header = file.read(30)
        if len(header) < 30:
            return info.header_offset, False
        mark, flags, method, crc, packed, size, name, extra = struct.unpack("<4s2xHH4xLLLHH", header)
        end = info.header_offset + 30 + name + extra + info.compress_size
        spelled, fields = file.read(name), dict[int, bytes]()
        for rest in (info.extra, file.read(extra)):
            while len(rest) >= 4:
                kind, length = struct.unpack("<HH", rest[:4])
                fields[kind], rest = rest[4 : 4 + length], rest[4 + length :]
        if len(fields.get(1, b"")) >= 16 and 0xFFFFFFFF in (size, packed):
            size, packed = struct.unpack("<QQ", fields[1][:16])
        later = bool(flags & 8)  # its sizes and checksum follow the file
        stated = ((crc, info.CRC), (size, info.file_size), (packed, info.compress_size))
        same = all(a == b or (later and a == 0) for a, b in stated)
        same = same and (mark, flags, method) == (b"PK\3\4", info.flag_bits, info.compress_type)
        same = same and spelled.decode("utf-8" if flags & 0x800 else "cp437", "replace") == info.orig_filename
        return end, same and 0x7075 not in fields

    def open(self, name: str) -> IO[bytes]:
        """Open one file for reading."""
        return self.zip.open(self.real[name])


def add(bundle: Folder | Zip, name: str, whole: str, real: Any) -> None:
    """Note a file of a bundle under its name, in NFC: some file systems change the Unicode form of names."""
    why = unsafe(name) or unsafe(whole)
    normal = name if why else unicodedata.normalize("NFC", name)
    if why or normal in bundle.real:
        bundle.faults.append(Bad(why or "name-twice", whole))
    else:
        bundle.real[normal] = real


def unsafe(name: str) -> str:
    """Say by a code why a file name may not stand in a bundle, or return an empty text."""
    if any(part in ("", ".", "..") for part in name.split("/")) or name[0] == "~":
        return "name-leads-out"
    if "\\" in name or re.match("[A-Za-z]:", name):
        return "name-unsafe"
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return "name-unsafe"
    return ""


# --- Reading: JSON and base64, strictly ----------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    """Give the RFC 8785 bytes of a value without floats, with ASCII keys and integers within 2^53."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def no_float(text: str) -> None:
    """Refuse a number that is not a plain integer."""
    raise ValueError(text)


def integer(text: str) -> int:
    """Read an integer that every JSON reader holds exactly: within 2^53."""
    if len(text) > 17 or abs(int(text)) >= 2**53:
        raise ValueError("an integer of 2^53 or more")
    return int(text)


def parse(raw: bytes, where: Say | str) -> Any:
    """Parse JSON that must stand in its canonical form to the byte: no second spelling, no key twice."""
    try:
        value = json.loads(raw.decode(), parse_float=no_float, parse_constant=no_float, parse_int=integer)
        again = canonical(value)
    except (ValueError, RecursionError):
        raise Bad("json", where) from None
    need(again == raw, "json", where)
    if not raw.isascii():
        waiting = [value]
        while waiting:
            each = waiting.pop()
            if isinstance(each, dict):
                need(all(key.isascii() for key in each), "json", where)
                waiting.extend(each.values())
            elif isinstance(each, list):
                waiting.extend(each)
    return value


def point(document: Any, pointer: str) -> Any:
    """Follow an RFC 6901 pointer. Raises LookupError, TypeError or ValueError where it leads nowhere."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def is_count(value: Any) -> bool:
    """Whether this is a number, which `true` is not, though Python would say that it equals 1."""
    return type(value) is int and value >= 0


def is_hash(value: Any) -> bool:
    """Whether this is a SHA-256 as bundles write it."""
    return isinstance(value, str) and HEX64.fullmatch(value) is not None


def path_of(values: Any) -> list[bytes]:
    """Read the hashes of a proof. Raises ValueError."""
    if not isinstance(values, list) or len(values) > 256 or not all(map(is_hash, values)):
        raise ValueError("a proof is a list of at most 256 hashes")
    return [bytes.fromhex(value) for value in values]


def b64(text: str) -> bytes:
    """Decode base64, written as it must be. Raises ValueError."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("base64 of another spelling")
    return raw


def commitments(value: Any) -> int:
    """Count the commitments in an event."""
    if isinstance(value, dict):
        if list(value) == ["commitment"] and is_hash(value["commitment"]):
            return 1
        value = list(value.values())
    return sum(commitments(each) for each in value) if isinstance(value, list) else 0


def as_cell(value: Any) -> str:
    """Write a JSON value as a CSV cell, an apostrophe before what a spreadsheet could take for a formula."""
    text = "" if value is None else value if isinstance(value, str) else canonical(value).decode()
    risky = text[:1] in FORMULA_SPACE or text.lstrip()[:1] in FORMULA
    return "'" + text if text and risky else text


def moment(text: str) -> datetime:
    """Read a time as the log writes it. Raises ValueError."""
    if not TIME.fullmatch(text):
        raise ValueError("a time of another form")
    return datetime.fromisoformat(text[:-1] + "+00:00")


# --- Proofs: the tree (RFC 6962, RFC 9162) and the map (docs/custody-log.md) ------------------------------------


def sha(*parts: bytes) -> bytes:
    """SHA-256 over some bytes, one after the other."""
    return hashlib.sha256(b"".join(parts)).digest()


def included(leaf: bytes, position: int, size: int, proof: list[bytes], root: bytes) -> bool:
    """Whether a leaf hash stands at a position of the tree with this size and root (RFC 9162, 2.1.3.2)."""
    if not 0 <= position < size or len(leaf) != 32:
        return False
    at, last, value = position, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            value = sha(b"\x01", sibling, value)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            value = sha(b"\x01", value, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and value == root


def consistent(old: int, new: int, proof: list[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether the tree of `new` leaves begins with the tree of `old` leaves (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == 0 or old == new:
        return 0 < old == new and not proof and old_root == new_root
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = sha(b"\x01", sibling, first), sha(b"\x01", sibling, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = sha(b"\x01", second, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def map_root(key: bytes, number: int, tip: bytes, siblings: list[bytes]) -> bytes:
    """The root of a map in which this entry stands below these siblings, given from the root downwards."""
    value = sha(b"\x02", key, number.to_bytes(8, "big"), tip)
    for depth in range(len(siblings) - 1, -1, -1):
        right = key[depth // 8] >> (7 - depth % 8) & 1
        value = sha(b"\x03", siblings[depth], value) if right else sha(b"\x03", value, siblings[depth])
    return value


# --- Proofs: signed notes (c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature) ------------------------------

ED25519, COSIGNATURE, ML_DSA = 1, 4, 6
KEY_BYTES = {ED25519: 32, COSIGNATURE: 32, ML_DSA: 1312}


class Note(NamedTuple):
    """A checkpoint: its text as signed, what that says, and its signature lines (name, key id, signature)."""

    text: bytes
    origin: str
    size: int
    root: bytes
    lines: list[tuple[str, bytes, bytes]]


class Vkey(NamedTuple):
    """A public key with the name that it signs under."""

    name: str
    type: int
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes by which signature lines name the key."""
        return sha(self.name.encode(), b"\n", bytes([self.type]), self.public)[:4]


def read_note(raw: bytes) -> Note:
    """Read a checkpoint without trusting it. Raises ValueError."""
    whole = raw.decode()
    text, _, tail = whole.rpartition("\n\n")
    origin, size, root, *more = text.split("\n")
    lines = []
    for line in tail.split("\n")[:-1]:
        dash, name, blob = line.split(" ")
        lines.append((name, b64(blob)[:4], b64(blob)[4:]))
        if dash != "\u2014" or not name or "+" in name:
            raise ValueError("signature line")
    sound = origin and "" not in more and tail.endswith("\n") and len(lines) <= 256 and len(b64(root)) == 32
    if not sound or not re.fullmatch("0|[1-9][0-9]{0,15}", size) or re.search(r"[\x00-\x09\x0b-\x1f]", whole):
        raise ValueError("not a checkpoint")
    return Note(f"{text}\n".encode(), origin, int(size), b64(root), lines)


def read_vkey(text: str) -> Vkey:
    """Read a verifier key, name+id+base64. Raises ValueError."""
    name, identity, encoded = text.split("+", 2)
    raw = b64(encoded)
    key = Vkey(name, raw[0], raw[1:])
    if not name or KEY_BYTES.get(key.type) != len(key.public) or key.id.hex() != identity:
        raise ValueError("a key of an unknown kind, or damaged")
    return key


def signed_at(note: Note, key: Vkey) -> int | None:
    """When this key says that it signed (seconds since 1970; 0: it says no time). None: it has not signed.

    Raises InvalidSignature where a line in its name does not hold, CouldNotCheck without ML-DSA on this machine.
    """
    latest = None
    for name, identity, blob in note.lines:
        if (name, identity) != (key.name, key.id):
            continue
        if key.type == ED25519:
            stated, message = 0, note.text
        else:
            stated, blob = int.from_bytes(blob[:8], "big"), blob[8:]
            message = b"cosignature/v1\ntime %d\n" % stated + note.text
        if key.type == ML_DSA:
            names = [bytes([len(n)]) + n for n in (name.encode(), note.origin.encode())]
            message = b"subtree/v1\n\x00" + names[0] + stated.to_bytes(8, "big") + names[1] + bytes(8)
            message += note.size.to_bytes(8, "big") + note.root
        verify_raw(key, blob, message)
        latest = max(stated, latest or 0)
    return latest


def verify_raw(key: Vkey, signature: bytes, message: bytes) -> None:
    """Check a bare signature. Raises InvalidSignature, CouldNotCheck."""
    try:
        if key.type != ML_DSA:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
        elif MLDSA44PublicKey is None:
            raise CouldNotCheck("no-ml-dsa", key.name)
        else:
            MLDSA44PublicKey.from_public_bytes(key.public).verify(signature, message)
    except ValueError:
        raise InvalidSignature from None
    except UnsupportedAlgorithm:
        raise CouldNotCheck("no-ml-dsa", key.name) from None


# --- Proofs: who must have cosigned (c2sp.org/tlog-policy) --------------------------------------------------------


@dataclass
class Policy:
    """Logs and witnesses that are known, and which of them must have cosigned. Ages are in seconds."""

    logs: list[Vkey] = field(default_factory=list)
    witnesses: dict[bytes, Vkey] = field(default_factory=dict)
    groups: dict[bytes, tuple[int, list[bytes]]] = field(default_factory=dict)
    quorum: bytes | None = None
    greatest_age: int | None = None

    def met(self, name: bytes, cosigned: set[bytes]) -> bool:
        """Whether a witness or group has cosigned. Groups name only what stands before them: no circles."""
        if name not in self.groups:
            return name in cosigned
        threshold, members = self.groups[name]
        return sum(self.met(member, cosigned) for member in members) >= threshold


def read_policy(raw: bytes) -> Policy:
    """Read a policy file. Raises CouldNotCheck that names the first line at fault."""
    policy = Policy()
    used: set[bytes] = set()
    number = 0
    try:
        for number, line in enumerate(raw.removesuffix(b"\n").split(b"\n"), 1):  # noqa: B007 - named below
            words = [word for word in re.split(rb"[ \t]+", line) if word]
            if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", line):
                raise ValueError("control character")
            if not words or words[0].startswith(b"#"):
                if found := re.fullmatch(rb"[ \t]*#[ \t]*greatest-age(.*)", line):
                    age = re.fullmatch(rb"[ \t]+([1-9][0-9]{0,9})[ \t]*", found[1])
                    if age is None or policy.greatest_age is not None:
                        raise ValueError("greatest-age is one number of seconds")
                    policy.greatest_age = int(age[1])
                continue
            verb, *rest = words
            known = policy.witnesses.keys() | policy.groups.keys()
            if verb == b"log" and len(rest) in (1, 2):
                key = read_vkey(rest[0].decode())
                sound = key.type != COSIGNATURE and key.public not in {k.public for k in policy.logs}
                policy.logs.append(key)
            elif verb == b"witness" and len(rest) in (2, 3):
                key = read_vkey(rest[1].decode())
                sound = key.type != ED25519 and rest[0] not in known | {b"none"}
                sound = sound and key.public not in {k.public for k in policy.witnesses.values()}
                policy.witnesses[rest[0]] = key
            elif verb == b"group" and len(rest) > 2:
                name, rule, *members = rest
                digits = re.fullmatch(rb"[1-9][0-9]{0,5}", rule)
                count = int(rule) if digits else {b"any": 1, b"all": len(members)}.get(rule, 0)
                sound = 1 <= count <= len(members) and name not in known | {b"none"} and known >= set(members)
                sound = sound and len(set(members)) == len(members) and not used & set(members)
                used |= set(members)
                policy.groups[name] = count, members
            else:
                sound = verb == b"quorum" and len(rest) == 1 and policy.quorum is None
                sound = sound and rest[0] in known | {b"none"}
                policy.quorum = rest[0] if sound else None
            if not sound:
                raise ValueError("a name, key or count that does not fit")
        if policy.quorum is None:
            raise ValueError("no quorum line")
    except ValueError as error:
        raise CouldNotCheck("policy-line", number, error) from None
    return policy


# --- Proofs: timestamps (RFC 3161), by a small reader of DER ------------------------------------------------------

OID = {
    "1.2.840.113549.1.7.2": "signed data",
    "1.2.840.113549.1.9.16.1.4": "timestamp",
    "1.2.840.113549.1.9.3": "content type",
    "1.2.840.113549.1.9.4": "digest",
    "1.2.840.113549.1.9.16.2.12": "certificate, by SHA-1",
    "1.2.840.113549.1.9.16.2.47": "certificate",
    "1.2.840.113549.1.1.1": "rsa",
    **{f"1.2.840.113549.1.1.{n}": "rsa" for n in (11, 12, 13)},
    **{f"1.2.840.10045.4.3.{n}": "ecdsa" for n in (2, 3, 4)},
    **{f"2.16.840.1.101.3.4.2.{n}": name for n, name in enumerate(("sha256", "sha384", "sha512"), 1)},
}
HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


def walk(raw: bytes) -> list[tuple[int, bytes, bytes]]:
    """Split DER into its elements: tag, content, and the whole with its header. Raises ValueError."""
    found, at = [], 0
    while at < len(raw):
        if at + 2 > len(raw) or raw[at] & 31 == 31:
            raise ValueError("DER")
        length, start = raw[at + 1], at + 2
        if length > 127:
            start, length = start + length - 128, int.from_bytes(raw[start : start + length - 128], "big")
        if raw[at + 1] == 128 or raw[at + 1] > 132 or start + length > len(raw):
            raise ValueError("DER")
        found.append((raw[at], raw[start : start + length], raw[at : start + length]))
        at = start + length
    return found


def named(raw: bytes) -> str:
    """What an object identifier stands for, or its numbers."""
    numbers, value = [raw[0] // 40, raw[0] % 40] if raw[0] < 80 else [2, raw[0] - 80], 0
    for byte in raw[1:]:
        value = value << 7 | byte & 127
        if byte < 128:
            numbers, value = [*numbers, value], 0
    text = ".".join(map(str, numbers))
    return OID.get(text, text)


class Stamp(NamedTuple):
    """A timestamp response, read but not yet trusted: the time it states, over which hash, and who signed what."""

    time: datetime
    imprint: tuple[str, bytes]
    content: bytes  # the TSTInfo
    certificates: list[x509.Certificate]
    signer: tuple[int, bytes]
    digest: str
    attributes: bytes
    signature: tuple[str, bytes]


def read_stamp(raw: bytes) -> Stamp:
    """Read a TimeStampResp. Raises ValueError, IndexError where it is none."""
    ((_, response, _),) = walk(raw)
    (_, status, _), (_, token, _) = walk(response)
    if walk(status)[0][1] not in (b"\x00", b"\x01"):
        raise ValueError("the authority did not grant it")
    (_, kind, _), (_, wrapped, _) = walk(token)
    data = walk(walk(wrapped)[0][1])
    (_, inner_kind, _), (_, boxed, _) = walk(data[2][1])
    if (named(kind), named(inner_kind)) != ("signed data", "timestamp"):
        raise ValueError("not a timestamp")
    content = walk(boxed)[0][1]
    certificates = [
        x509.load_der_x509_certificate(w) for tag, c, _ in data if tag == 0xA0 for _, _, w in walk(c)
    ]
    ((_, info, _),) = walk(data[-1][1])
    if len(certificates) > MAX_CERTIFICATES:
        raise ValueError("too many certificates")
    signer = walk(info)
    attributes = next(w for tag, _, w in signer[2:] if tag == 0xA0)
    kept = [each for each in signer[3:] if each[0] not in (0xA0, 0xA1)]
    facts = walk(walk(content)[0][1])
    algorithm, imprint = walk(facts[2][1])
    stated = re.fullmatch(rb"(\d{14})(\.\d{1,6})?\d*Z", facts[4][1])
    if stated is None or len(kept) != 2:
        raise ValueError("time or signature")
    time = datetime.strptime(stated[1].decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return Stamp(
        time,
        (named(walk(algorithm[1])[0][1]), imprint[1]),
        content,
        certificates,
        (signer[1][0], signer[1][1]),
        named(walk(signer[2][1])[0][1]),
        b"\x31" + attributes[1:],
        (named(walk(kept[0][1])[0][1]), kept[1][1]),
    )


def signed_stamp(stamp: Stamp, trusted: list[x509.Certificate]) -> bool:
    """Whether an authority whose certificate leads to a trusted one signed this. NotImplementedError: another algorithm."""
    if stamp.digest not in HASHES:
        raise NotImplementedError(stamp.digest)
    method = HASHES[stamp.digest]
    said = {named(walk(a)[0][1]): walk(walk(a)[1][1])[0] for _, a, _ in walk(walk(stamp.attributes)[0][1])}
    if named(said["content type"][1]) != "timestamp":
        return False
    if said["digest"][1] != hashlib.new(stamp.digest, stamp.content).digest():
        return False
    for certificate in [*stamp.certificates, *trusted]:
        der = certificate.public_bytes(Encoding.DER)
        if "certificate" in said:
            first = walk(walk(walk(said["certificate"][1])[0][1])[0][1])
            name = named(walk(first[0][1])[0][1]) if first[0][0] == 0x30 else "sha256"
            stated = next(content for tag, content, _ in first if tag == 4)
        else:
            first = walk(walk(walk(said["certificate, by SHA-1"][1])[0][1])[0][1])
            name, stated = "sha1", first[0][1]
        if hashlib.new(name, der).digest() != stated or not _is_signer(certificate, stamp.signer):
            continue
        with contextlib.suppress(InvalidSignature):
            key = certificate.public_key()
            if isinstance(key, rsa.RSAPublicKey) and stamp.signature[0] == "rsa":
                key.verify(stamp.signature[1], stamp.attributes, padding.PKCS1v15(), method)
            elif isinstance(key, ec.EllipticCurvePublicKey) and stamp.signature[0] == "ecdsa":
                key.verify(stamp.signature[1], stamp.attributes, ec.ECDSA(method))
            else:
                raise NotImplementedError(stamp.signature[0])
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
            meant = list(usage.value) == [x509.ExtendedKeyUsageOID.TIME_STAMPING]
            return meant and leads_to(certificate, stamp.certificates, trusted, stamp.time)
    return False


def _is_signer(certificate: x509.Certificate, named_as: tuple[int, bytes]) -> bool:
    tag, content = named_as
    if tag == 0x80:
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return identifier.value.digest == content
    (_, _, issuer), (_, serial, _) = walk(content)
    same = int.from_bytes(serial, "big", signed=True) == certificate.serial_number
    return same and issuer == certificate.issuer.public_bytes()


def leads_to(
    certificate: x509.Certificate,
    others: list[x509.Certificate],
    trusted: list[x509.Certificate],
    at: datetime,
) -> bool:
    """Whether a chain of certificates, all valid at that time, leads from this one to a trusted one."""
    reached = [certificate]
    for one in reached:  # grows; each is looked at once, so that certificates that sign each other end
        if not one.not_valid_before_utc <= at <= one.not_valid_after_utc:
            continue
        if one in trusted:
            return True
        for issuer in [*trusted, *others]:
            with contextlib.suppress(InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
                if issuer not in reached:
                    one.verify_directly_issued_by(issuer)
                    if issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                        reached.append(issuer)
    return False


# --- The steps ----------------------------------------------------------------------------------------------------


@dataclass
class Given:
    """What the reader trusts, and asks for."""

    fingerprints: set[str] = field(default_factory=set)  # of Ed25519 keys, got by another way than the bundle
    keys: list[Vkey] = field(default_factory=list)  # with the name that they sign notes under
    policy: Policy | None = None
    received: datetime | None = None
    known: list[tuple[str, Note]] = field(default_factory=list)
    links: list[dict] = field(default_factory=list)  # what `custody prove consistency` printed
    authorities: list[x509.Certificate] = field(default_factory=list)
    language: str = "en"


@dataclass
class Result:
    """What a step found. Faults are gathered by kind: the first of each, and how many."""

    number: int
    name: str
    faults: dict[str, list] = field(default_factory=dict)
    unknown: list[Say] = field(default_factory=list)
    notes: list[Say] = field(default_factory=list)
    not_asked: list[Say] = field(default_factory=list)
    said: Say | None = None

    @property
    def answer(self) -> str:
        """In one word: the code of what is printed beside the step's title."""
        if self.faults or self.unknown:
            return "bad" if self.faults else "unknown"
        return "good" if self.said else "not-asked"


STEPS = (
    "files signature manifests content events checkpoint witnesses timestamps inclusion completeness proofs openings "
    "originals decisions suggestions tables"
).split()


class Check:
    """One run over one bundle. Each step is a method that returns its finding, or raises what ends it."""

    def __init__(self, bundle: Folder | Zip, given: Given, out: Callable[[str], None] = print) -> None:
        self.bundle, self.given, self.out = bundle, given, out
        self.results: list[Result] = []
        self.reading = ""  # the file that was opened last
        self.public: bytes | None = None  # the key in the bundle, once well-formed
        self.statement_sha256 = ""
        self.statement: dict | None = None  # what was signed, once its signature fits
        self.listed: dict[str, dict[str, str]] = {name: {} for name in ALGORITHMS}  # hash by file, as stated
        self.found: dict[str, tuple[str, str, int]] = {}  # SHA-256, SHA-512 and size by file, as read
        self.tips: dict[str, tuple[int, str]] = {}  # number and hash of each subject's last event
        self.hashes: dict[Place, str] = {}  # hash of every event, once all chains hold
        self.times = array("q")  # in microseconds, in the same order
        self.kept: dict[Place, dict] = {}  # events that later steps compare with
        self.note: Note | None = None  # the checkpoint, once its signature and the statement fit it
        self.positions: dict[str, int] = {}  # of the last event by subject, once all are in the log
        self.map_position = -1  # of the event that states the map's root, once it is in the log
        self.codes: dict[str, str] = {}  # what the lists call each item, by subject
        self.opened: dict[tuple[str, int, str], Any] = {}  # disclosed values by place and pointer

    def run(self) -> int:
        """Run all steps, whatever the ones before found. Returns the exit status."""
        for number, name in enumerate(STEPS, 1):
            self.now = Result(number, name)
            self.results.append(self.now)
            try:
                self.now.said = getattr(self, name)()
            except NotAsked as why:
                self.now.not_asked.append(why.say)
            except Finding as finding:
                self.add(finding)
            except (zipfile.BadZipFile, EOFError, zlib.error, UnicodeError, csv.Error) as error:
                self.bad("damaged", self.reading, error)
            except (LookupError, TypeError, ValueError, AttributeError, RecursionError, OverflowError):
                self.bad("form", self.reading)
            except Exception as error:  # noqa: BLE001 - whatever else goes wrong is 'could not check', never 'good'
                self.add(CouldNotCheck("crash", type(error).__name__, error))
            self._tell(self.now)
        return self._conclude()

    def bad(self, code: str, *gaps: Any) -> None:
        """Note a fault and go on."""
        self.add(Bad(code, *gaps))

    def add(self, finding: Finding) -> None:
        """Note what was found and go on."""
        if isinstance(finding, Bad):
            self.now.faults.setdefault(finding.say.code, [finding.say, 0])[1] += 1
        else:
            self.now.unknown.append(finding.say)

    def remark(self, code: str, *gaps: Any) -> None:
        """Note what the reader should know, good or bad."""
        self.now.notes.append(Say(code, gaps))

    def words(self, code: str, *gaps: Any) -> str:
        """A sentence in the reader's language."""
        return Say(code, gaps).in_(self.given.language)

    def _tell(self, result: Result) -> None:
        language = self.given.language
        title, _, why = self.words(result.name).partition(": ")
        self.out(f"{result.number:2}. {title}: {self.words(result.answer)}")
        self.out(f"      {why[:1].upper()}{why[1:]}")
        for first, count in result.faults.values():
            more = " " + self.words("more", count - 1) if count > 1 else ""
            self.out(f"    ! {self.words('bad')}: {first.in_(language)}{more}")
        for say in result.unknown:
            self.out(f"    ? {self.words('unknown')}: {say.in_(language)}")
        for say in [result.said] if result.said and not result.faults else []:
            self.out(f"      {say.in_(language)}")
        for say in result.not_asked + result.notes:
            self.out(f"    - {say.in_(language)}")

    def _conclude(self) -> int:
        language = self.given.language
        self.out("")
        for result in self.results:
            for first, _ in result.faults.values():
                self.out(self.words("answer-bad", result.number, Text(first.in_(language))))
                self.out(self.words("advice-bad"))
                return 1
        unknown = [(result.number, say) for result in self.results for say in result.unknown]
        if unknown:
            self.out(self.words("answer-unknown", unknown[0][0], Text(unknown[0][1].in_(language))))
            if [say.code for _, say in unknown] == ["who"]:
                self.out(self.words("advice-who"))
            return 3
        self.out(self.words("answer-good"))
        return 0

    # --- reading

    def _open(self, name: str) -> IO[bytes]:
        if name not in self.bundle.real:
            raise CouldNotCheck("missing", name)
        self.reading = name
        return self.bundle.open(name)

    def _small(self, name: str) -> bytes:
        with self._open(name) as stream:
            raw = stream.read(MAX_SMALL_FILE + 1)
        need(len(raw) <= MAX_SMALL_FILE, "too-long", name, MAX_SMALL_FILE)
        return raw

    def _digest(self, name: str) -> tuple[str, str, int]:
        """SHA-256, SHA-512 and size of a file, read once; the second hash is made beside the first."""
        if name not in self.found:
            first, second, size = hashlib.sha256(), hashlib.sha512(), 0
            beside: Future | None = None
            with self._open(name) as stream:
                while piece := stream.read(PIECE):
                    if beside:
                        beside.result()
                    beside = HELPER.submit(second.update, piece) if len(piece) == PIECE else None
                    first.update(piece)
                    if not beside:
                        second.update(piece)
                    size += len(piece)
            if beside:
                beside.result()
            self.found[name] = first.hexdigest(), second.hexdigest(), size
        return self.found[name]

    def _lines(self, name: str, limit: int = MAX_LINE) -> Iterator[tuple[Say, bytes]]:
        """Give each line with words that say where it stands. The last one must end too."""
        with self._open(name) as stream:
            for number in itertools.count(1):
                line = stream.readline(limit + 1)
                if not line:
                    return
                where = line_of(number, name)
                need(line.endswith(b"\n"), "too-long", where, limit)
                yield where, line[:-1]

    def _values(self, name: str) -> Iterator[tuple[Say, Any]]:
        """Give the values of a file of JSON lines."""
        for where, raw in self._lines(name):
            yield where, parse(raw, where)

    def _list(self, name: str) -> Iterator[tuple[Say, Any]]:
        """Give the entries of a JSON list: a line '[', an entry a line with commas between, a line ']'."""
        lines = self._lines(name)
        need(next(lines, ("", b""))[1] == b"[", "form", name)
        comma: bool | None = None
        for where, line in lines:
            if line == b"]":
                need(not comma and next(lines, None) is None, "form", name)
                return
            need(comma is not False, "form", name)
            comma = line.endswith(b",")
            yield where, parse(line[:-1] if comma else line, where)
        raise Bad("form", name)

    # --- step 1 to 4: the files and what holds them together

    def files(self) -> Say:
        """The bundle holds every file that it must hold, and no other."""
        for finding in self.bundle.faults:
            self.add(finding)
        names = set(self.bundle.real)
        for name in sorted(REQUIRED - names):
            self.bad("missing", name)
        for name in sorted(n for n in names - REQUIRED if not ALLOWED.fullmatch(n)):
            self.bad("extra", name)
        need("bagit.txt" not in names or self._small("bagit.txt") == BAGIT_TXT, "form", "bagit.txt")
        return Say("files-found", (len(names),))

    def signature(self) -> Say:
        """One Ed25519 signature holds everything together."""
        raw, signature, pem = self._small(STATEMENT), self._small(SIGNATURE), self._small(KEY)
        try:
            key = load_pem_public_key(pem)
            exact = pem == key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        except Exception:  # noqa: BLE001 - OpenSSL has many errors for a broken key; all mean the same
            raise Bad("form", KEY) from None
        if not (isinstance(key, Ed25519PublicKey) and exact):
            raise Bad("form", KEY)
        self.public = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        fingerprint = hashlib.sha256(self.public).hexdigest()
        if not self.given.fingerprints:
            self.add(CouldNotCheck("who", fingerprint))
        elif fingerprint not in self.given.fingerprints:
            self.bad("wrong-key", fingerprint)
        try:
            key.verify(signature, raw)
        except InvalidSignature:
            raise Bad("unsigned", STATEMENT, KEY) from None
        self.statement_sha256 = hashlib.sha256(raw).hexdigest()
        need(raw.endswith(b"\n"), "too-long", STATEMENT, MAX_SMALL_FILE)
        signed = parse(raw[:-1], STATEMENT)
        need(signed["format"] == FORMAT, "format", signed["format"], FORMAT)
        need(signed["key"] == fingerprint, "differs", STATEMENT, KEY)
        self.statement = signed
        for place, name in enumerate(TAGMANIFESTS):
            stated = signed[f"tagmanifest_{ALGORITHMS[place]}"]
            need(self._digest(name)[place] == stated, "differs", name, STATEMENT)
        self.remark("signer", fingerprint)
        moment(signed["created"])
        volume, code = signed["volume"], signed["case"]["code"]
        if volume["of"] > 1:
            self.remark("volume", volume["number"], volume["of"])
        return Say("signature-found", (signed["bundle"], code, signed["created"], signed["software"]))

    def manifests(self) -> Say:
        """The manifests list every file, once, by a name that leads nowhere else."""
        names = set(self.bundle.real)
        data = {name for name in names if name.startswith("data/")}
        tags = {name for name in names - data if not name.startswith("signature/")} - set(TAGMANIFESTS)
        for algorithm, digits in zip(ALGORITHMS, (64, 128), strict=True):
            form = re.compile(rf"([0-9a-f]{{{digits}}})  ([^\r\n]+)")
            for manifest, wanted in (
                (f"tagmanifest-{algorithm}.txt", tags),
                (f"manifest-{algorithm}.txt", data),
            ):
                seen: dict[str, str] = {}
                for where, line in self._lines(manifest, 16_384):
                    match = form.fullmatch(line.decode())
                    if match is None:
                        raise Bad("form", where)
                    need(not re.search("%(?!0A|0D|25)", match[2]), "form", where)
                    name = match[2].replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
                    need(not unsafe(name), "manifest-path", where, name)
                    name = unicodedata.normalize("NFC", name)
                    need(name not in seen, "twice", where, name)
                    if name in wanted:
                        seen[name] = match[1]
                    else:
                        self.bad("absent", manifest, name)
                for name in sorted(wanted - set(seen)):
                    self.bad("unlisted", name, manifest)
                self.listed[algorithm].update(seen)
        return Say("manifests-found", (len(self.listed["sha256"]),))

    def content(self) -> Say:
        """Each file has the hashes that the manifests state."""
        octets = count = 0
        for name in sorted(set(self.listed["sha256"]) & set(self.bundle.real)):
            try:
                *found, size = self._digest(name)
            except (zipfile.BadZipFile, EOFError, zlib.error) as error:
                self.bad("damaged", name, error)
                continue
            if found != [self.listed[algorithm].get(name) for algorithm in ALGORITHMS]:
                self.bad("hash", name)
            if name.startswith("data/"):
                octets, count = octets + size, count + 1
        info: dict[str, str] = {}
        for where, line in self._lines("bag-info.txt", 16_384):
            label, colon, value = line.decode().partition(": ")
            need(colon and label not in info, "form", where)
            info[label] = value
        need(info.get("Payload-Oxum") == f"{octets}.{count}", "differs", "Payload-Oxum", "data/")
        signed = self.statement or {}
        named = info.get("External-Identifier") == f"urn:uuid:{signed.get('bundle')}"
        need(named or not signed, "differs", "External-Identifier", STATEMENT)
        if self.found.get("verify_bundle.py", ("",))[0] != own_hash():
            self.remark("other-verifier")
        return Say("content-found", (count, octets))

    # --- step 5 to 11: the custody log

    def events(self) -> Say:
        """Each event is canonical, and chained to the one before it."""
        listed, hashes = self._list(f"{LOG}subjects.json"), {}
        tips: dict[str, tuple[int, str]] = {}
        here: dict[str, Any] = {}
        number, tip = 0, "0" * 64

        def close() -> None:
            if here:
                whole = is_count(here["events"]) and number == here["events"]
                need(whole, "end-changed", here["subject"], number, here["events"])
                last = here["subject"], number
                need(tip == here["tip"], "differs", event_of(last), f"{LOG}subjects.json")
                tips[here["subject"]] = number, tip

        for where, raw in self._lines(f"{LOG}events.jsonl", MAX_EVENT + 1):
            event = parse(raw, where)
            need(sorted(event) == EVENT_KEYS and event["version"] == 1, "form", where)
            subject = event["subject"]
            need(SUBJECT.fullmatch(subject) and TIME.fullmatch(event["time"]), "form", where)
            if subject != here.get("subject"):
                close()
                need(subject not in tips, "twice", where, subject)
                here, number, tip = next(listed, ("", {"subject": ""}))[1], 0, "0" * 64
                need(here["subject"] == subject, "subject", where, subject)
            due = is_count(event["number"]) and event["number"] == number + 1
            need(due, "number", where, number + 1, subject)
            need(event["previous"] == tip, "previous", where)
            number, tip = number + 1, hashlib.sha256(b"\x00" + raw).hexdigest()
            hashes[subject, number] = tip
            self.times.append(int((moment(event["time"]) - EPOCH) / MICROSECOND))
            if event["type"] in KEPT:
                self.kept[subject, number] = event
        close()
        need(next(listed, None) is None, "left-out", f"{LOG}events.jsonl")
        if signed := self.statement:
            amounts, case = (signed["events"], signed["subjects"]), f"case:{signed['case']['id']}"
            need((len(hashes), len(tips)) == amounts, "differs", f"{LOG}events.jsonl", STATEMENT)
            need(case in tips, "no-event", case)
            place = f"bundle:{signed['bundle']}", 1
            request = self.kept.get(place, {"type": ""})
            need(request["type"] == "bundle.requested", "no-event", "bundle.requested")
            need(request["payload"]["set"]["key"] == signed["key"], "differs", STATEMENT, event_of(place))
        self.hashes, self.tips = hashes, tips
        return Say("events-found", (len(hashes), len(tips)))

    def _sound_events(self) -> None:
        if not self.hashes:
            raise CouldNotCheck("needs", 5)

    def _sound_note(self) -> Note:
        if self.note is None or self.statement is None:
            raise CouldNotCheck("needs", 6)
        return self.note

    def _read_note(self, name: str) -> Note:
        try:
            return read_note(self._small(name))
        except (ValueError, IndexError):
            raise Bad("form", name) from None

    def checkpoint(self) -> Say:
        """The log's head is signed, is the one of the statement, and agrees with those the reader kept."""
        note = self._read_note(CHECKPOINT)
        if self.public is None or self.statement is None:
            raise CouldNotCheck("needs", 2)
        key = Vkey(note.origin, ED25519, self.public)
        need(self._holds(note, key) is not None, "not-signed", key.id.hex())
        vouched = [each for each in self.given.keys if (each.type, each.public) == (ED25519, self.public)]
        for each in vouched if key not in vouched else []:
            self.bad("not-signed", f"{each.name}+{each.id.hex()}")
        stated = {"origin": note.origin, "size": note.size, "root": note.root.hex()}
        need(self.statement["checkpoint"] == stated, "differs", CHECKPOINT, STATEMENT)
        known = [k for k in self.given.keys if k.name == note.origin and k != key]
        known += [k for k in self.given.policy.logs if k.name == note.origin] if self.given.policy else []
        for other in known:
            if other.type == ML_DSA:
                need(self._holds(note, other) is not None, "not-signed", other.id.hex())
        checked = {(k.name, k.id) for k in (key, *known)}
        if others := {(name, identity) for name, identity, _ in note.lines} - checked:
            self.remark("lines-not-checked", len(others))
        for name, kept in self.given.known:
            self._compare(name, kept, note, key)
        if not self.given.known:
            self.remark("no-known")
        self.note = note
        return Say("checkpoint-found", (note.origin, note.size))

    def _holds(self, note: Note, key: Vkey) -> int | None:
        """When a key signed a note, or None; Bad where a line in its name does not hold."""
        try:
            return signed_at(note, key)
        except InvalidSignature:
            raise Bad("unsigned", CHECKPOINT, f"{key.name}+{key.id.hex()}") from None

    def _compare(self, name: str, kept: Note, note: Note, key: Vkey) -> None:
        """Hold a checkpoint that the reader kept against the bundle's: two heads, or one log?"""
        if kept.origin != note.origin:
            self.add(CouldNotCheck("known-other-log", name, kept.origin))
        elif kept.size == note.size and kept.root != note.root:
            self.bad("fork", name, note.size)
        elif all(self._holds(kept, each) is None for each in (key, *self.given.keys)):
            self.add(CouldNotCheck("known-key", name))
        elif kept.size == note.size:
            self.remark("known-same", name)
        else:
            old, new = sorted((kept, note), key=lambda each: each.size)
            link = next((k for k in self.given.links if (k["old"], k["new"]) == (old.size, new.size)), None)
            if old.size == 0:
                self.remark("known-linked", name, old.size, new.size)
            elif link is None:
                self.add(CouldNotCheck("known-no-link", name, old.size, new.size))
            elif consistent(old.size, new.size, [b64(h) for h in link["proof"]], old.root, new.root):
                self.remark("known-linked", name, old.size, new.size)
            else:
                self.bad("known-broken", name, old.size, new.size)

    def witnesses(self) -> Say:
        """Those whom the policy asks for have cosigned the checkpoint, not too long ago."""
        note, policy, count = self._sound_note(), self.given.policy, 0
        if COSIGNED in self.bundle.real:
            own, note = note, self._read_note(COSIGNED)
            need(self._small(COSIGNED).startswith(self._small(CHECKPOINT)), "differs", COSIGNED, CHECKPOINT)
            count = len(note.lines) - len(own.lines)
        if policy is None:
            raise NotAsked("no-policy", count)
        logs = [key for key in policy.logs if key.name == note.origin and self._holds(note, key) is not None]
        need(logs or not policy.logs, "policy-log", note.origin)
        made = moment(self._signed("created"))
        reference, counted, told = max(made, self.given.received or made).timestamp(), set(), []
        for label, key in policy.witnesses.items():
            at = self._holds(note, key)
            if at is None:
                continue
            if at > made.timestamp() + CLOCKS_DIFFER:
                self.bad("made-before", key.name, utc(at))
            elif policy.greatest_age is not None and reference - at > policy.greatest_age:
                self.remark("cosignature-old", key.name, utc(at), policy.greatest_age)
            else:
                counted.add(label)
                told.append(f"{key.name} {utc(at)}")
        quorum = policy.quorum or b"none"
        met, name = quorum == b"none" or policy.met(quorum, counted), quorum.decode(errors="replace")
        need(met, "quorum", name, len(counted))
        return Say("witnesses-found", (name, len(told), "; ".join(told)))

    def _signed(self, name: str) -> Any:
        """What the signed statement says."""
        if self.statement is None:
            raise CouldNotCheck("needs", 2)
        return self.statement[name]

    def timestamps(self) -> Say:
        """Authorities for time have stamped this checkpoint."""
        names = sorted(n for n in self.bundle.real if n.startswith(f"{LOG}timestamps/"))
        raw = self._small(CHECKPOINT)
        told: list[str] = []
        for name in names:
            command = f"openssl ts -verify -data {CHECKPOINT} -in {name} -CAfile AUTHORITY.pem"
            try:
                stamp = read_stamp(self._small(name))
            except (ValueError, IndexError, TypeError, StopIteration, x509.InvalidVersion):
                raise Bad("form", name) from None
            if stamp.imprint[0] not in HASHES:
                self.add(CouldNotCheck("timestamp-by-hand", name, stamp.imprint[0], command))
                continue
            if hashlib.new(stamp.imprint[0], raw).digest() != stamp.imprint[1]:
                self.bad("timestamp-other", name)
            elif not self.given.authorities:
                self.remark("timestamp-unchecked", name, utc(stamp.time.timestamp()), command)
            else:
                self._stamped(name, stamp, command, told)
        if not self.given.authorities:
            raise NotAsked("no-authority", len(names))
        if not names:
            raise CouldNotCheck("no-timestamps")
        return Say("timestamps-found", (len(told), "; ".join(told)))

    def _stamped(self, name: str, stamp: Stamp, command: str, told: list[str]) -> None:
        try:
            good = signed_stamp(stamp, self.given.authorities)
        except (NotImplementedError, UnsupportedAlgorithm) as why:
            self.add(CouldNotCheck("timestamp-by-hand", name, why, command))
            return
        except (LookupError, ValueError, TypeError, StopIteration, x509.ExtensionNotFound):
            good = False
        if not good:
            self.bad("timestamp-signature", name)
        elif stamp.time > moment(self._signed("created")) + timedelta(seconds=CLOCKS_DIFFER):
            self.bad("made-before", name, utc(stamp.time.timestamp()))
        else:
            told.append(utc(stamp.time.timestamp()))

    def inclusion(self) -> Say:
        """Each event lies in the log that the checkpoint covers, in the order of time."""
        self._sound_events()
        note, covered = self._sound_note(), self._signed("map")["size"]
        rows, order = self._values(f"{LOG}inclusion.jsonl"), []
        last: dict[str, int] = {}
        nothing: dict[str, Any] = {}
        for at, ((subject, number), digest) in enumerate(self.hashes.items()):
            where, row = next(rows, (line_of(at + 1, f"{LOG}inclusion.jsonl"), nothing))
            same = (row.get("subject"), row.get("number"), row.get("event")) == (subject, number, digest)
            need(same and is_count(row["number"]), "left-out", where)
            position, proof = row["position"], path_of(row["proof"])
            need(is_count(position), "left-out", where)
            proved = included(bytes.fromhex(digest), position, note.size, proof, note.root)
            need(proved, "not-in-log", event_of((subject, number)), position)
            need(position < covered, "order", event_of((subject, number)))
            need(position > last.get(subject, -1), "order", event_of((subject, number)))
            last[subject] = position
            order.append(position << 96 | self.times[at] << 32 | at)
        need(next(rows, None) is None, "left-out", f"{LOG}inclusion.jsonl")
        self._clock(sorted(order))
        self.positions = last
        return Say("inclusion-found", (len(self.hashes), note.size))

    def _clock(self, order: list[int]) -> None:
        """Events stand in the log in the order in which they happened: a time far before an earlier one's is false."""
        latest, margin, places = 0, CLOCKS_DIFFER * 1_000_000, list(self.hashes)
        for packed in order:
            time = packed >> 32 & 2**64 - 1
            if time < latest - margin:
                place = places[packed & 2**32 - 1]
                self.bad("back-dated", event_of(place), utc(time / 1e6), utc(latest / 1e6))
            latest = max(latest, time)
        made = (moment(self._signed("created")) - EPOCH) / MICROSECOND
        need(latest <= made + margin, "statement-back-dated", utc(latest / 1e6), self._signed("created"))

    def completeness(self) -> Say:
        """The map says of each subject that these events are all."""
        self._sound_events()
        note, pinned = self._sound_note(), self._signed("map")
        name = f"{LOG}map.json"
        raw = self._small(name)
        need(raw.endswith(b"\n"), "too-long", name, MAX_SMALL_FILE)
        stated = parse(raw[:-1], name)
        text, position = stated["event"].encode(), stated["position"]
        event = parse(text, name)
        kind = (sorted(event), event["version"], event["subject"], event["type"])
        need(kind == (EVENT_KEYS, 1, "system:main", "system.map_root"), "form", name)
        proved = included(sha(b"\x00", text), position, note.size, path_of(stated["proof"]), note.root)
        need(proved and len(text) <= MAX_EVENT, "not-in-log", name, position)
        said = event["payload"]
        same = {"size": said["size"], "root": said["root"]} == pinned and said["size"] <= position
        need(same, "differs", name, STATEMENT)
        key, root = load_der_public_key(b64(said["key"])), bytes.fromhex(said["root"])
        if not isinstance(key, rsa.RSAPublicKey) or (key.key_size, key.public_numbers().e) != (2048, 65_537):
            raise Bad("form", name)
        rows = self._values(f"{LOG}completeness.jsonl")
        nothing: tuple[Say, dict[str, Any]] = line_of(0, ""), {}
        for subject, (number, tip) in self.tips.items():
            where, row = next(rows, nothing)
            need(row.get("subject") == subject, "left-out", f"{LOG}completeness.jsonl")
            blinded = f"amparo-map-key/1\n{note.origin}\n{subject}".encode()
            try:
                key.verify(b64(row["key_proof"]), blinded, padding.PKCS1v15(), hashes.SHA256())
            except InvalidSignature:
                raise Bad("key-proof", where, subject) from None
            entry = sha(b64(row["key_proof"])), row["number"], bytes.fromhex(row["tip"])
            need(map_root(*entry, path_of(row["siblings"])) == root, "not-in-map", where, subject)
            same = is_count(row["number"]) and (row["number"], row["tip"]) == (number, tip)
            need(same, "incomplete", subject, number, row["number"])
        need(next(rows, None) is None, "left-out", f"{LOG}completeness.jsonl")
        self.map_position = position
        return Say("completeness-found", (len(self.tips), said["size"]))

    def proofs(self) -> Say:
        """The proofs as files of their own say the same."""
        note = self._sound_note()
        if not self.positions or self.map_position < 0:
            raise CouldNotCheck("needs", 9 if not self.positions else 10)
        shown = self._small(COSIGNED if COSIGNED in self.bundle.real else CHECKPOINT)
        leaves = {self.positions[subject]: tip for subject, (_, tip) in self.tips.items()}
        text = parse(self._small(f"{LOG}map.json")[:-1], f"{LOG}map.json")["event"].encode()
        leaves[self.map_position] = sha(b"\x00", text).hex()
        for position, leaf in leaves.items():
            name = f"{LOG}proofs/{position}.tlog-proof"
            head, _, checkpoint = self._small(name).partition(b"\n\n")
            first, *lines = head.decode().split("\n")
            lines = lines[1:] if lines and lines[0].startswith("extra ") else lines
            form = first == "c2sp.org/tlog-proof@v1" and lines and lines[0] == f"index {position}"
            need(form and checkpoint == shown, "tlog-proof", name)
            proof = [b64(line) for line in lines[1:]]
            need(included(bytes.fromhex(leaf), position, note.size, proof, note.root), "tlog-proof", name)
        held = {n for n in self.bundle.real if n.startswith(f"{LOG}proofs/")}
        for name in sorted(held - {f"{LOG}proofs/{position}.tlog-proof" for position in leaves}):
            self.bad("tlog-proof", name)
        return Say("proofs-found", (len(leaves),))

    # --- step 12 to 16: what the bundle says of its items

    def openings(self) -> Say:
        """Each disclosed value is the one that its event committed to."""
        self._sound_events()
        openings, count, committed = self._values(f"{LOG}openings.jsonl"), 0, 0

        def after() -> tuple[Say, Any]:
            end = line_of(0, ""), ...  # no JSON value is this; many are as good as false
            where, opening = next(openings, end)
            need(opening is ... or "pointer" in opening, "form", where)
            return where, opening

        where, opening = after()
        for _, event in self._values(f"{LOG}events.jsonl"):
            committed += commitments(event)
            at = event["subject"], event["number"]
            while opening is not ... and (opening["subject"], opening["number"]) == at:
                self.reading = f"{LOG}openings.jsonl"
                salt, pointer, value = opening["salt"], opening["pointer"], opening["value"]
                made = hashlib.sha256(canonical([salt, pointer, value])).hexdigest()
                kept = is_hash(salt) and is_count(opening["number"])
                kept = kept and point(event, pointer) == {"commitment": made}
                need(kept, "opening", where, event_of(at))
                self.opened[*at, pointer] = value
                count += 1
                where, opening = after()
        need(opening is ..., "names-no-event", where)
        need(count == len(self.opened), "twice", f"{LOG}openings.jsonl", "/")
        return Say("openings-found", (count, committed - count))

    def _kept(self, *kinds: str) -> dict[Place, dict]:
        self._sound_events()
        return {at: event for at, event in self.kept.items() if event["type"] in kinds}

    def _value(self, at: Place, name: str) -> Any:
        """What an entry must say for a field of an event: its value, or that it is withheld."""
        value = self.kept[at]["payload"]["set"][name]
        if not isinstance(value, dict) or list(value) != ["commitment"]:
            return value
        return self.opened.get((*at, f"/payload/set/{name}"), WITHHELD)

    def _take(self, where: Say, row: dict, events: dict[Place, dict]) -> tuple[Place, dict]:
        """Give the event that an entry names, and strike it from those that must be named."""
        at = (row["subject"], row["number"])
        named = is_count(row["number"]) and at in events and row["event"] == self.hashes[at]
        need(named, "names-no-event", where)
        code = self.codes.get(at[0])
        need(code in (None, row.get("item", code)), "differs", where, "data/metadata/items.json")
        return at, events.pop(at)

    def originals(self) -> Say:
        """Each file is the one of which the events speak, and these are the items that were asked for."""
        stored: dict[str, list[dict]] = {}
        acquired, made = self._kept("item.acquired"), self._kept("item.rendition_made")
        approved = self._approved()
        for at, event in self._kept("item.stored").items():
            stored.setdefault(at[0], []).append(event["payload"]["set"])
        wanted, files = self._signed("files"), 0
        gone = {at[0]: event["type"] == GONE[0] for at, event in self._kept(*GONE).items()}  # the last holds
        used: set[str] = set()
        known: set[str] = set()
        for where, item in self._list("data/metadata/items.json"):
            subject = f"item:{item['id']}"
            need(subject not in known, "twice", where, subject)
            need(len(stored.get(subject, [])) == 1, "stored-once", where, subject)
            known.add(subject)
            self.codes[subject] = item["code"]
            then = stored[subject][0]
            same = is_count(item["size"]) and (item["sha256"], item["size"]) == (then["blob"], then["size"])
            need(same, "differs", where, Say("stored", (subject,)))
            without = wanted == "redacted" or gone.get(subject, False)
            need((item["path"] is None) == without, "item-path", where, item["path"])
            if item["path"] is not None:
                self._file(where, item["path"], then["blob"], "data/originals/", used)
                files += 1
            redactions = item.get("redactions", [])
            lacks = wanted == "redacted" and not redactions and not gone.get(subject)
            need(not lacks, "item-path", where, "data/redacted/")
            need(not (redactions and wanted == "originals"), "item-path", where, "data/redacted/")
            for row in redactions:
                at, event = self._take(where, {**row, "subject": subject}, made)
                rendition = event["payload"]["set"]
                same = row["sha256"] == rendition["blob"]
                same = same and row["original_sha256"] == rendition["original_sha256"] == then["blob"]
                recipe = hashlib.sha256(canonical(row["recipe"])).hexdigest()
                same = same and rendition["recipe"] == f"amparo-redaction/1 {recipe}"
                same = same and row["media_type"] == rendition["media_type"]
                need(same and row["recipe_sha256"] == recipe, "differs", where, event_of(at))
                person = approved.get((subject, row["redaction"], row["sha256"], recipe)) == "person"
                need(person, "redaction-person", where)
                need(
                    self.found.get(row["path"], (row["size"],))[-1] == row["size"],
                    "differs",
                    where,
                    row["path"],
                )
                self._file(where, row["path"], rendition["blob"], "data/redacted/", used)
            for row in item["acquisitions"]:
                at, _ = self._take(where, {**row, "subject": subject}, acquired)
                need(row["file_name"] == self._value(at, "file_name"), "differs", where, event_of(at))
        for name in sorted(self.bundle.real):
            if name.startswith(("data/originals/", "data/redacted/")) and name not in used:
                self.bad("no-item", name)
        items = {subject for subject in self.tips if subject.startswith("item:")}
        need(items == known and not acquired, "left-out", "data/metadata/items.json")
        need(len({*self.codes.values()}) == len(known), "code-twice")
        need(
            is_count(self._signed("items")) and len(known) == self._signed("items"),
            "differs",
            "data/metadata/items.json",
            STATEMENT,
        )
        self._asked_for(known)
        return Say("originals-found", (files, len(used) - files))

    def _approved(self) -> dict[tuple[str, str, str, str], str]:
        """Who approved which redacted file: by item, redaction, hash of the file and hash of the recipe."""
        said = [(at[0], event) for at, event in self._kept("item.redaction_approved").items()]
        return {
            (subject, *(event["payload"][key] for key in ("id", "sha256", "recipe_sha256"))): event["actor"][
                "kind"
            ]
            for subject, event in said
        }

    def _file(self, where: Say, path: str, digest: str, folder: str, used: set[str]) -> None:
        """Strike a file that an entry names, and compare it with the event."""
        there = path.startswith(folder) and path in self.listed["sha256"] and path not in used
        need(there, "item-path", where, path)
        used.add(path)
        if self.found.get(path, ("",))[0] != digest:
            self.bad("original", path)

    def _asked_for(self, known: set[str]) -> None:
        """The items are those that the request names; of several volumes, those of this one."""
        volume, ids = self._signed("volume"), {subject[5:] for subject in known}
        if volume["of"] > 1:
            rows = [row for _, row in self._list("data/volumes.json")]
            need({r["item"] for r in rows if r["volume"] == volume["number"]} == ids, "other-items")
            ids = {row["item"] for row in rows}
        asked = self.kept[f"bundle:{self._signed('bundle')}", 1]["payload"]["set"]["items_sha256"]
        listed = "".join(sorted(f"{each}\n" for each in ids))
        need(hashlib.sha256(listed.encode()).hexdigest() == asked, "other-items")

    def decisions(self) -> Say:
        """Each decision is what a person's event says, and none is left out."""
        waiting = self._kept(*DECIDED)
        total = len(waiting)
        for where, row in self._list("data/decisions.json"):
            at, event = self._take(where, row, waiting)
            actor = {key: event["actor"][key] for key in ("id", "kind", "role")}
            told: tuple[Any, ...] = (row["id"], row["time"], row["actor"], row.get("question"))
            told += (row["value"], row["withdraws"], row["reason"])
            asked = event["payload"]["set"].get("question")
            then: tuple[Any, ...] = (event["payload"]["id"], event["time"], actor, asked)
            then += tuple(self._value(at, name) for name in ("value", "withdraws", "reason"))
            need(told == then, "differs", where, event_of(at))
            need(actor["kind"] == "person", "decision-person", where)
        need(not waiting, "left-out", "data/decisions.json")
        return Say("decisions-found", (total,))

    def suggestions(self) -> Say:
        """Each result is the one whose hash was recorded when the model ran."""
        waiting = self._kept("item.analysed")
        total = len(waiting)
        for where, row in self._list("data/detections.json"):
            at, event = self._take(where, row, waiting)
            for name in ("weights_sha256", "result_sha256"):
                need(row[name] == event["payload"]["set"][name], "differs", where, event_of(at))
            found = hashlib.sha256(canonical(row["result"])).hexdigest()
            withheld = row["result"] == WITHHELD and event["payload"]["set"]["task"] in ("text", "caption")
            need(withheld or found == row["result_sha256"], "differs", where, event_of(at))
        need(not waiting, "left-out", "data/detections.json")
        return Say("suggestions-found", (total,))

    def tables(self) -> Say:
        """Each CSV file says the same as the JSON file beside it."""
        for name in TABLES:
            cells = csv.reader((raw + b"\n").decode() for _, raw in self._lines(f"{name}.csv"))
            columns = next(cells, [""])
            need(columns[0].startswith("\ufeff"), "form", f"{name}.csv")
            columns[0] = columns[0][1:]
            for number, (entry, row) in enumerate(
                itertools.zip_longest(self._list(f"{name}.json"), cells), 1
            ):
                where = Say("row", (number, f"{name}.csv"))
                need(entry and row and len(row) == len(columns), "differs", where, f"{name}.json")
                for column, cell in zip(columns, row, strict=True):
                    need(cell == as_cell(point(entry[1], f"/{column}")), "differs", where, f"{name}.json")
        self.remark("not-compared")
        return Say("tables-found", (len(TABLES),))


EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=timezone.utc), timedelta(microseconds=1)  # noqa: UP017
HELPER = ThreadPoolExecutor(1, "sha512")


def utc(seconds: float) -> str:
    """A time in seconds since 1970, for people."""
    try:
        return f"{EPOCH + timedelta(seconds=int(seconds)):%Y-%m-%dT%H:%M:%SZ}"
    except OverflowError:
        return str(seconds)


def own_hash() -> str:
    """SHA-256 of the program that runs now."""
    with open(__file__, "rb") as own:
        return hashlib.sha256(own.read()).hexdigest()


# --- The command and its report -----------------------------------------------------------------------------------


OPTIONS = (
    (
        "--key",
        "append",
        "KEY",
        "a key to trust, got by another way than the bundle: fingerprint, PEM, verifier key",
    ),
    (
        "--policy",
        "store",
        "FILE",
        "which logs to trust, and which witnesses must have cosigned (C2SP tlog-policy)",
    ),
    (
        "--received",
        "store",
        "TIME",
        "when you got the bundle: cosignatures may not be older than allowed by then",
    ),
    ("--known", "append", "CHECKPOINT", "a checkpoint of the same log that was kept elsewhere"),
    ("--consistency", "append", "FILE", "a proof between two sizes (manage.py custody prove consistency)"),
    ("--timestamp-ca", "store", "FILE", "certificates (PEM) of the timestamp authorities that you trust"),
    ("--report", "store", "OUT", "write OUT.txt and OUT.json, which must not exist"),
)


def given_file(path: str, bundle: str, limit: int = MAX_SMALL_FILE) -> bytes:
    """Read a file that the reader names as trusted. What lies inside the bundle shows nothing about who made it."""
    if os.path.realpath(path).startswith(os.path.realpath(bundle) + os.sep):
        raise CouldNotCheck("given-inside", path)
    try:
        with open(path, "rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise CouldNotCheck("given-unreadable", path, error.strerror) from None
    if len(raw) > limit:
        raise CouldNotCheck("given-unreadable", path, f"> {limit}")
    return raw


def trust_key(text: str, bundle: str, given: Given) -> None:
    """Take a key that the reader trusts: a fingerprint, or a verifier key or PEM, as text or in a file."""
    shown = text
    if os.path.isfile(text):
        text = given_file(text, bundle).decode("utf-8", "replace")
    digits = re.sub(r"[\s:]", "", text).lower()
    try:
        if "-----BEGIN" in text:
            raw = load_pem_public_key(text.encode()).public_bytes(Encoding.Raw, PublicFormat.Raw)
            Ed25519PublicKey.from_public_bytes(raw)
            given.fingerprints.add(hashlib.sha256(raw).hexdigest())
        elif is_hash(digits):
            given.fingerprints.add(digits)
        else:
            for line in text.split():
                given.keys.append(read_vkey(line))
            if not given.keys:
                raise ValueError("no key")
    except Exception as error:  # noqa: BLE001 - OpenSSL has many errors for a broken key; all mean the same
        raise CouldNotCheck("bad-key", shown, type(error).__name__) from None


def read_given(options: argparse.Namespace) -> tuple[Given, list[str]]:
    """Read all that the reader trusts; gives it, and a line about each thing for the report. Raises CouldNotCheck."""
    given, told, bundle = Given(language=options.language), [], options.bundle
    for text in options.key:
        trust_key(text, bundle, given)
        told.append(f"--key {text}")
    named = [("--policy", options.policy)] if options.policy else []
    named += [("--known", path) for path in options.known]
    named += [("--consistency", path) for path in options.consistency]
    named += [("--timestamp-ca", options.timestamp_ca)] if options.timestamp_ca else []
    for option, path in named:
        raw = given_file(path, bundle)
        told.append(f"{option} {path} (SHA-256 {hashlib.sha256(raw).hexdigest()})")
        try:
            if option == "--policy":
                given.policy = read_policy(raw)
            elif option == "--known":
                typed = (
                    raw.replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"
                )  # from paper, or scanned: ends may differ
                given.known.append((path, read_note(typed)))
            elif option == "--consistency":
                link = json.loads(raw)
                given.links.append(
                    {"old": int(link["old"]), "new": int(link["new"]), "proof": [*link["proof"]]}
                )
            else:
                given.authorities = x509.load_pem_x509_certificates(raw)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise CouldNotCheck("given-unreadable", path, error) from None
    if options.received:
        told.append(f"--received {options.received}")
        try:
            stated = datetime.fromisoformat(options.received.replace("Z", "+00:00"))
            given.received = stated if stated.tzinfo else stated.replace(tzinfo=UTC)
        except ValueError as error:
            raise CouldNotCheck("given-unreadable", "--received", error) from None
    vouched = given.keys + (given.policy.logs if given.policy else [])
    given.fingerprints |= {hashlib.sha256(key.public).hexdigest() for key in vouched if key.type == ED25519}
    return given, told


def write_report(
    out: str, options: argparse.Namespace, told: list[str], said: list[str], status: int, check: Any
) -> None:
    """Write OUT.txt and OUT.json: what was checked, with what, when, what was trusted, and what each step found."""

    def in_words(says: list[Say]) -> list[dict[str, str]]:
        return [{"code": say.code, "words": say.in_("en")} for say in says]

    tool = {
        "name": "verify_bundle.py",
        "version": VERSION,
        "sha256": own_hash(),
        "python": sys.version.split()[0],
    }
    facts: dict[str, Any] = {
        "tool": tool,
        "checked_at": utc(datetime.now(UTC).timestamp()),
        "bundle": os.path.abspath(options.bundle),
        "statement_sha256": check.statement_sha256 if check else None,
        "trusted": told,
        "answer": {0: "good", 1: "bad"}.get(status, "could not check"),
        "exit_status": status,
        "steps": [],
    }
    for result in check.results if check else []:
        step = {"number": result.number, "name": result.name, "answer": Say(result.answer).in_("en")}
        step["bad"] = [{**in_words([say])[0], "count": count} for say, count in result.faults.values()]
        step["could_not_check"] = in_words(result.unknown)
        step["found"] = result.said.in_("en") if result.said else None
        step["notes"] = in_words(result.not_asked + result.notes)
        facts["steps"].append(step)
    used = f"verify_bundle.py {VERSION}, SHA-256 {tool['sha256']}, Python {tool['python']}"
    head = [Say("report-title").in_(options.language), ""]
    for code, value in (
        ("report-tool", used),
        ("report-time", facts["checked_at"]),
        ("report-statement", facts["statement_sha256"]),
        ("report-trusted", "; ".join(map(show, told)) or "-"),
    ):
        head.append(f"{Say(code).in_(options.language)}: {value}")
    texts = {".txt": "\n".join([*head, "", *said]), ".json": json.dumps(facts, ensure_ascii=False, indent=1)}
    for ending, text in texts.items():
        with open(out + ending, "x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text + "\n")


def main(arguments: list[str] | None = None, out: Callable[[str], None] = print) -> int:
    """Check the bundle that the command line names. Returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Check an Amparo evidence bundle.",
        epilog="Exit status: 0 everything is good; 1 something is bad; 3 something could not be checked; any other: it did not run.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle's folder or .zip file")
    for flag, action, name, text in OPTIONS:
        parser.add_argument(
            flag, action=action, metavar=name, help=text, default=[] if action == "append" else None
        )
    parser.add_argument("--language", choices=LANGUAGES, default="en")
    parser.add_argument(
        "--version", action="version", version=f"verify_bundle.py {VERSION}, SHA-256 {own_hash()}"
    )
    options = parser.parse_args(arguments)
    csv.field_size_limit(MAX_LINE)
    said: list[str] = []
    check: Check | None = None
    told: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        out(line)

    def end(finding: Finding) -> int:
        code = "bad" if isinstance(finding, Bad) else "unknown"
        tell(f"{Say(code).in_(options.language)}: {finding.say.in_(options.language)}")
        return 1 if code == "bad" else 3

    place, inside = options.report, os.path.realpath(options.bundle) + os.sep
    if place and any(os.path.lexists(place + ending) for ending in (".txt", ".json")):
        parser.error(f"{place}.txt or .json exists already: an older report is never overwritten")
    if place and os.path.realpath(place).startswith(inside):
        parser.error("a report that lies in the bundle would be a file too many there: name another place")
    try:
        given, told = read_given(options)
        tell(Say("bundle", (options.bundle,)).in_(options.language))
        if not os.path.exists(options.bundle):
            raise CouldNotCheck("no-bundle", options.bundle)
        bundle = Folder(options.bundle) if os.path.isdir(options.bundle) else Zip(options.bundle)
        check = Check(bundle, given, tell)
        status = check.run()
    except zipfile.BadZipFile as error:
        status = end(Bad("not-a-zip", error))
    except Finding as finding:
        status = end(finding)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong here is 'could not check', never 'good'
        status = end(CouldNotCheck("crash", type(error).__name__, error))
    if options.report:
        write_report(options.report, options, told, said, status, check)
    return status


# --- The words: a code, then the sentence in English, French, Spanish and Arabic -----------------------------------

_LINES = """\
line
line {0} of {1}
ligne {0} de {1}
línea {0} de {1}
السطر {0} من {1}
row
row {0} of {1}
rangée {0} de {1}
fila {0} de {1}
الصف {0} من {1}
event
event {0} of {1}
l’événement {0} de {1}
el evento {0} de {1}
الحدث {0} من {1}
stored
the event by which {0} was stored
l’événement par lequel {0} a été enregistré
el evento con el que se guardó {0}
الحدث الذي حُفظ به {0}
good
good
bon
correcto
سليم
bad
BAD
FAUX
FALSO
زائف
unknown
COULD NOT CHECK
NON VÉRIFIABLE
NO SE PUDO COMPROBAR
تعذّر التحقق
not-asked
not asked for
non demandé
no solicitado
لم يُطلب
more
(and {0} more of this kind)
(et {0} autres du même genre)
(y {0} más del mismo tipo)
(و{0} غيرها من النوع نفسه)
bundle
Bundle: {0}
Paquet : {0}
Paquete: {0}
الحزمة: {0}
answer-good
GOOD. Every file is there, unchanged since it was signed with a key that you trust, and agrees with the custody log.
BON. Chaque fichier est présent, inchangé depuis sa signature par une clé en laquelle vous avez confiance, et conforme au registre de conservation.
CORRECTO. Todos los archivos están, sin cambios desde que se firmaron con una clave en la que usted confía, y concuerdan con el registro de custodia.
سليم. كل ملف موجود ولم يتغيّر منذ توقيعه بمفتاح تثق به، ويوافق سجلّ الحيازة.
answer-bad
BAD. This bundle is not what was signed, or contradicts itself. Step {0}: {1}
FAUX. Ce paquet n’est pas ce qui a été signé, ou se contredit. Étape {0} : {1}
FALSO. Este paquete no es lo que se firmó, o se contradice. Paso {0}: {1}
زائف. هذه الحزمة ليست ما وُقّع عليه، أو يناقض بعضها بعضًا. الخطوة {0}: {1}
advice-bad
Do not rely on it. Keep it as it is, and ask the archive for another copy.
Ne vous y fiez pas. Conservez-le tel quel et demandez une autre copie à l’archive.
No se fíe de él. Consérvelo tal como está y pida otra copia al archivo.
لا تعتمد عليها. احفظها كما هي واطلب نسخة أخرى من الأرشيف.
answer-unknown
COULD NOT CHECK all of it: nothing false was found, but this is not a yes. Step {0}: {1}
NON VÉRIFIABLE en entier : rien de faux n’a été trouvé, mais ce n’est pas un oui. Étape {0} : {1}
NO SE PUDO COMPROBAR todo: no se encontró nada falso, pero esto no es un sí. Paso {0}: {1}
تعذّر التحقق منها كلها: لم يُعثر على زيف، لكن هذا ليس تأكيدًا. الخطوة {0}: {1}
advice-who
All else is good: the bundle is unchanged since whoever holds that key made it. Ask the archive for its key's fingerprint by another way, and run again with --key.
Tout le reste est bon : le paquet est inchangé depuis que le détenteur de cette clé l’a fait. Demandez l’empreinte de la clé à l’archive par une autre voie et relancez avec --key.
Todo lo demás es correcto: el paquete no ha cambiado desde que lo hizo quien tiene esa clave. Pida al archivo la huella de su clave por otra vía y repita con --key.
كل ما عدا ذلك سليم: لم تتغيّر الحزمة منذ أن صنعها حامل ذلك المفتاح. اطلب بصمة المفتاح من الأرشيف بطريق آخر، وأعد التشغيل مع ‎--key.
report-title
Verification report
Rapport de vérification
Informe de verificación
تقرير التحقق
report-tool
Checked with
Vérifié avec
Comprobado con
أداة التحقق
report-time
Checked at
Vérifié le
Comprobado el
وقت التحقق
report-statement
SHA-256 of the signed statement
SHA-256 de la déclaration signée
SHA-256 de la declaración firmada
‏SHA-256 للبيان الموقَّع
report-trusted
Given as trusted
Donné comme digne de confiance
Dado por confiable
ما عُدّ موثوقًا
files
Files: the bundle has every file that it must have and no other, under names that lead nowhere else.
Fichiers : le paquet contient tous les fichiers requis et aucun autre, sous des noms qui ne mènent nulle part ailleurs.
Archivos: el paquete tiene todos los archivos que debe tener y ninguno más, con nombres que no llevan a otra parte.
الملفات: في الحزمة كل ملف يجب أن يكون فيها ولا شيء سواه، بأسماء لا تقود إلى مكان آخر.
files-found
{0} files.
{0} fichiers.
{0} archivos.
عدد الملفات: {0}.
signature
Signature: one Ed25519 signature holds the whole bundle together; whoever has not the key cannot change a byte.
Signature : une seule signature Ed25519 tient tout le paquet ; sans la clé, nul ne peut changer un octet.
Firma: una sola firma Ed25519 sostiene todo el paquete; quien no tiene la clave no puede cambiar ni un byte.
التوقيع: توقيع Ed25519 واحد يجمع الحزمة كلها؛ ومن لا يملك المفتاح لا يقدر أن يغيّر بايتًا واحدًا.
signature-found
Bundle {0} of case {1}, made {2} by {3}.
Paquet {0} de l’affaire {1}, fait le {2} par {3}.
Paquete {0} del caso {1}, hecho el {2} por {3}.
الحزمة {0} من القضية {1}، صُنعت في {2} بواسطة {3}.
signer
The signing key's fingerprint is {0}.
L’empreinte de la clé de signature est {0}.
La huella de la clave de firma es {0}.
بصمة مفتاح التوقيع هي {0}.
volume
This is volume {0} of {1}; it is checked by itself. Check the others too.
Ceci est le volume {0} sur {1} ; il est vérifié seul. Vérifiez aussi les autres.
Este es el volumen {0} de {1}; se comprueba por sí solo. Compruebe también los demás.
هذا المجلد {0} من {1}، ويُتحقق منه وحده. تحقق من البقية أيضًا.
who
could not check who signed: the key came from the bundle itself. Its fingerprint is {0}
impossible de vérifier qui a signé : la clé vient du paquet lui-même. Son empreinte est {0}
no se pudo comprobar quién firmó: la clave vino del propio paquete. Su huella es {0}
تعذّر التحقق ممّن وقّع: المفتاح جاء من الحزمة نفسها. بصمته {0}
wrong-key
it was signed with another key than those you trust: {0}. If the archive has changed its key, ask for the change that the old key signed.
il a été signé avec une autre clé que celles en lesquelles vous avez confiance : {0}. Si l’archive a changé de clé, demandez le changement signé par l’ancienne.
se firmó con una clave distinta de aquellas en las que usted confía: {0}. Si el archivo cambió de clave, pida el cambio firmado por la anterior.
وُقّعت بمفتاح غير الذي تثق به: {0}. إن كان الأرشيف قد غيّر مفتاحه فاطلب التغيير الموقَّع بالمفتاح القديم.
unsigned
the signature does not fit: {0} or {1} was changed
la signature ne correspond pas : {0} ou {1} a été modifié
la firma no corresponde: {0} o {1} fue alterado
التوقيع لا يطابق: غُيّر {0} أو {1}
format
this is of the form {0}; I know only {1}
ceci est de la forme {0} ; je ne connais que {1}
esto tiene la forma {0}; solo conozco {1}
هذه بالصيغة {0}، ولا أعرف إلا {1}
manifests
Manifests: they list every file, once, by a name that leads nowhere else, with two kinds of hashes.
Manifestes : ils énumèrent chaque fichier une fois, sous un nom qui ne mène nulle part ailleurs, avec deux sortes d’empreintes.
Manifiestos: enumeran cada archivo una vez, con un nombre que no lleva a otra parte y con dos tipos de resumen.
قوائم الملفات: تذكر كل ملف مرة واحدة، باسم لا يقود إلى مكان آخر، وبنوعين من البصمات.
manifests-found
{0} files listed.
{0} fichiers énumérés.
{0} archivos enumerados.
عدد الملفات المذكورة: {0}.
manifest-path
{0} names {1}, which leads out of the bundle or is no safe name
{0} nomme {1}, qui mène hors du paquet ou n’est pas un nom sûr
{0} nombra {1}, que lleva fuera del paquete o no es un nombre seguro
{0}: يذكر {1}، وهو يقود إلى خارج الحزمة أو ليس اسمًا مأمونًا
absent
{0} lists {1}, which is not there or not its business
{0} énumère {1}, qui est absent ou n’est pas de son ressort
{0} enumera {1}, que no está o no le corresponde
{0}: يذكر {1}، وهو غير موجود أو ليس من شأنه
unlisted
{0} does not stand in {1}: it was added later
{0} ne figure pas dans {1} : il a été ajouté après coup
{0} no figura en {1}: se añadió después
{0}: غير مذكور في {1}، فقد أُضيف لاحقًا
content
Content: every listed file has the SHA-256 and SHA-512 that its manifests state.
Contenu : chaque fichier a les empreintes SHA-256 et SHA-512 que ses manifestes indiquent.
Contenido: cada archivo tiene los SHA-256 y SHA-512 que indican sus manifiestos.
المحتوى: لكل ملف بصمتا SHA-256 وSHA-512 المذكورتان في قوائمه.
content-found
{0} files of data, {1} bytes.
{0} fichiers de données, {1} octets.
{0} archivos de datos, {1} bytes.
ملفات البيانات: {0}، وحجمها {1} بايت.
hash
{0} was changed: its hash is not the one in its manifest
{0} a été modifié : son empreinte n’est pas celle du manifeste
{0} fue alterado: su resumen no es el del manifiesto
{0}: غُيّر، فبصمته ليست التي في القائمة
other-verifier
The verifier in the bundle is not the one that runs now (another version, perhaps).
Le vérificateur contenu dans le paquet n’est pas celui qui s’exécute (une autre version, peut-être).
El verificador del paquete no es el que se ejecuta ahora (quizá otra versión).
برنامج التحقق الذي في الحزمة ليس الذي يعمل الآن (لعله إصدار آخر).
events
Custody events: each stands in canonical form and is chained to the one before, from number 1 on.
Événements de conservation : chacun est en forme canonique et enchaîné au précédent, à partir du numéro 1.
Eventos de custodia: cada uno está en forma canónica y encadenado al anterior, desde el número 1.
أحداث الحيازة: كل حدث بصيغته القانونية ومربوط بالذي قبله، ابتداءً من الرقم 1.
events-found
{0} events of {1} subjects.
{0} événements de {1} sujets.
{0} eventos de {1} sujetos.
عدد الأحداث {0}، وعدد الموضوعات {1}.
number
{0}: event {1} of {2} should stand here; events were removed, moved or added
{0} : l’événement {1} de {2} devrait être ici ; des événements ont été retirés, déplacés ou ajoutés
{0}: aquí debería estar el evento {1} de {2}; se quitaron, movieron o añadieron eventos
{0}: كان ينبغي أن يكون هنا الحدث {1} من {2}؛ فقد حُذفت أحداث أو نُقلت أو أُضيفت
previous
{0}: it does not follow from the event before; one of the two was changed
{0} : il ne découle pas de l’événement précédent ; l’un des deux a été modifié
{0}: no se sigue del evento anterior; uno de los dos fue alterado
{0}: لا يتصل بالحدث الذي قبله؛ فقد غُيّر أحدهما
subject
{0}: the events of {1} were not signed here; a history was left out or added
{0} : les événements de {1} n’ont pas été signés ici ; un historique a été omis ou ajouté
{0}: los eventos de {1} no se firmaron aquí; se omitió o añadió un historial
{0}: أحداث {1} لم يُوقَّع عليها هنا؛ فقد أُسقط تاريخ أو أُضيف
end-changed
{0} has {1} events where {2} were signed: its end was changed
{0} a {1} événements alors que {2} ont été signés : sa fin a été modifiée
{0} tiene {1} eventos donde se firmaron {2}: se alteró su final
{0}: فيه {1} من الأحداث والموقَّع عليه {2}، فقد غُيّر آخره
no-event
the events of {0} are not here
les événements de {0} ne sont pas ici
los eventos de {0} no están aquí
أحداث {0} ليست هنا
checkpoint
Checkpoint: the head of the whole log is signed with the same key, and agrees with those that you kept.
Point de contrôle : la tête de tout le registre est signée avec la même clé et concorde avec celles que vous avez gardées.
Punto de control: la cabeza de todo el registro está firmada con la misma clave y concuerda con las que usted guardó.
نقطة التثبيت: رأس السجل كله موقَّع بالمفتاح نفسه، ويوافق ما احتفظتَ به.
checkpoint-found
Log {0}, {1} events long.
Registre {0}, long de {1} événements.
Registro {0}, de {1} eventos.
السجل {0}، وطوله {1} من الأحداث.
not-signed
the checkpoint is not signed with the key {0}: one of the two is not the archive's
le point de contrôle n’est pas signé avec la clé {0} : l’un des deux n’est pas de l’archive
el punto de control no está firmado con la clave {0}: uno de los dos no es del archivo
نقطة التثبيت غير موقَّعة بالمفتاح {0}: أحدهما ليس للأرشيف
lines-not-checked
{0} further signatures of the checkpoint were not checked: their keys were not given.
{0} autres signatures du point de contrôle n’ont pas été vérifiées : leurs clés n’ont pas été données.
No se comprobaron otras {0} firmas del punto de control: no se dieron sus claves.
لم يُتحقق من {0} من توقيعات نقطة التثبيت الأخرى، إذ لم تُعطَ مفاتيحها.
no-known
No checkpoint kept elsewhere was given (--known): whether others were shown another log cannot be seen.
Aucun point de contrôle gardé ailleurs n’a été donné (--known) : on ne peut voir si un autre registre a été montré à d’autres.
No se dio ningún punto de control guardado en otro lugar (--known): no se puede ver si a otros se les mostró otro registro.
لم تُعطَ نقطة تثبيت محفوظة في مكان آخر (‎--known): فلا يُعرف هل عُرض على غيرك سجل آخر.
known-same
{0}: the same head as the one you kept.
{0} : la même tête que celle que vous avez gardée.
{0}: la misma cabeza que usted guardó.
{0}: الرأس نفسه الذي احتفظتَ به.
known-linked
{0}: the log of {2} events begins with the log of {1} events.
{0} : le registre de {2} événements commence par celui de {1} événements.
{0}: el registro de {2} eventos comienza con el de {1} eventos.
{0}: السجل ذو {2} من الأحداث يبدأ بالسجل ذي {1} منها.
fork
two heads of the same log: the checkpoint that you kept ({0}) and the bundle's both have {1} events, but not the same
deux têtes du même registre : le point de contrôle gardé ({0}) et celui du paquet ont tous deux {1} événements, mais pas les mêmes
dos cabezas del mismo registro: el punto de control guardado ({0}) y el del paquete tienen {1} eventos, pero no los mismos
رأسان لسجل واحد: نقطة التثبيت المحفوظة ({0}) ونقطة الحزمة كلتاهما بعدد {1} من الأحداث، لكنها ليست الأحداث نفسها
known-broken
{0}: the proof does not show that the log of {2} events begins with the log of {1} events; history was rewritten, or the proof is of something else
{0} : la preuve ne montre pas que le registre de {2} événements commence par celui de {1} ; l’histoire a été réécrite, ou la preuve porte sur autre chose
{0}: la prueba no muestra que el registro de {2} eventos comience con el de {1}; se reescribió la historia, o la prueba es de otra cosa
{0}: لا يُظهر البرهان أن السجل ذا {2} من الأحداث يبدأ بالسجل ذي {1} منها؛ فقد أُعيدت كتابة التاريخ أو أن البرهان لشيء آخر
known-no-link
{0}: nothing shows that the log of {2} events begins with the log of {1} events. Ask the archive for `custody prove consistency {1} {2}` and give it with --consistency
{0} : rien ne montre que le registre de {2} événements commence par celui de {1}. Demandez à l’archive `custody prove consistency {1} {2}` et donnez-le avec --consistency
{0}: nada muestra que el registro de {2} eventos comience con el de {1}. Pida al archivo `custody prove consistency {1} {2}` y délo con --consistency
{0}: لا شيء يُظهر أن السجل ذا {2} من الأحداث يبدأ بالسجل ذي {1} منها. اطلب من الأرشيف `custody prove consistency {1} {2}` وأعطه مع ‎--consistency
known-other-log
{0} is a checkpoint of another log, {1}
{0} est un point de contrôle d’un autre registre, {1}
{0} es un punto de control de otro registro, {1}
{0}: نقطة تثبيت لسجل آخر هو {1}
known-key
the checkpoint that you kept ({0}) is signed with another key than the bundle: the signing key was replaced. Ask the archive for the change that the old key signed
le point de contrôle gardé ({0}) est signé avec une autre clé que le paquet : la clé de signature a été remplacée. Demandez à l’archive le changement signé par l’ancienne clé
el punto de control guardado ({0}) está firmado con otra clave que el paquete: se reemplazó la clave de firma. Pida al archivo el cambio firmado por la clave anterior
نقطة التثبيت المحفوظة ({0}) موقَّعة بمفتاح غير مفتاح الحزمة: فقد استُبدل مفتاح التوقيع. اطلب من الأرشيف التغيير الموقَّع بالمفتاح القديم
witnesses
Witnesses: others, whom your policy names, saw the same log and cosigned it in time.
Témoins : d’autres, que votre politique nomme, ont vu le même registre et l’ont cosigné à temps.
Testigos: otros, que su política nombra, vieron el mismo registro y lo cofirmaron a tiempo.
الشهود: آخرون تسمّيهم سياستك رأوا السجل نفسه ووقّعوا عليه في الوقت المناسب.
witnesses-found
The quorum {0} is met by {1} cosignatures: {2}
Le quorum {0} est atteint par {1} cosignatures : {2}
El quórum {0} se alcanza con {1} cofirmas: {2}
اكتمل النصاب {0} بتوقيعات شهود عددها {1}: {2}
no-policy
No policy was given (--policy): {0} cosignatures were not checked.
Aucune politique n’a été donnée (--policy) : {0} cosignatures n’ont pas été vérifiées.
No se dio ninguna política (--policy): no se comprobaron {0} cofirmas.
لم تُعطَ سياسة (‎--policy): لم يُتحقق من {0} من توقيعات الشهود.
policy-log
no log of the policy has signed the checkpoint of {0}
aucun registre de la politique n’a signé le point de contrôle de {0}
ningún registro de la política firmó el punto de control de {0}
لم يوقّع أي سجل في السياسة نقطة التثبيت الخاصة بـ{0}
quorum
the quorum {0} is not met: {1} cosignatures count. The log may have been shown to nobody, or an old head is served
le quorum {0} n’est pas atteint : {1} cosignatures comptent. Le registre n’a peut-être été montré à personne, ou une ancienne tête est servie
no se alcanza el quórum {0}: cuentan {1} cofirmas. Quizá no se mostró el registro a nadie, o se sirve una cabeza antigua
لم يكتمل النصاب {0}: عدد التوقيعات المعتبرة {1}. لعل السجل لم يُعرض على أحد، أو أن رأسًا قديمًا يُقدَّم
cosignature-old
The cosignature of {0} is of {1}, older than the {2} seconds that the policy allows: an old checkpoint is served.
La cosignature de {0} est du {1}, plus ancienne que les {2} secondes permises par la politique : un ancien point de contrôle est servi.
La cofirma de {0} es del {1}, más antigua que los {2} segundos que permite la política: se sirve un punto de control antiguo.
توقيع الشاهد {0} بتاريخ {1}، وهو أقدم مما تسمح به السياسة ({2} ثانية): تُقدَّم نقطة تثبيت قديمة.
made-before
{0} signed at {1}, after the time at which the bundle says that it was made: that time is false
{0} a signé le {1}, après l’heure à laquelle le paquet dit avoir été fait : cette heure est fausse
{0} firmó el {1}, después de la hora en que el paquete dice haberse hecho: esa hora es falsa
{0}: وقّع في {1}، بعد الوقت الذي تقول الحزمة إنها صُنعت فيه: فذلك الوقت زائف
no-ml-dsa
this machine's `cryptography` cannot check the ML-DSA-44 signature of {0}: install a newer one
le module `cryptography` de cette machine ne sait pas vérifier la signature ML-DSA-44 de {0} : installez-en un plus récent
el módulo `cryptography` de esta máquina no puede comprobar la firma ML-DSA-44 de {0}: instale uno más reciente
لا تستطيع حزمة `cryptography` على هذا الجهاز التحقق من توقيع ML-DSA-44 لـ{0}: ثبّت إصدارًا أحدث
policy-line
line {0} of the policy cannot be read: {1}
la ligne {0} de la politique est illisible : {1}
no se puede leer la línea {0} de la política: {1}
تعذّرت قراءة السطر {0} من السياسة: {1}
timestamps
Timestamps: an authority that you trust says that this checkpoint existed at that time.
Horodatages : une autorité en laquelle vous avez confiance dit que ce point de contrôle existait à ce moment.
Sellos de tiempo: una autoridad en la que usted confía dice que este punto de control existía en ese momento.
أختام الوقت: جهة تثق بها تقول إن نقطة التثبيت هذه كانت موجودة في ذلك الوقت.
timestamps-found
{0} timestamps: {1}
{0} horodatages : {1}
{0} sellos de tiempo: {1}
أختام الوقت {0}: {1}
no-authority
No authority was given (--timestamp-ca): the signatures of {0} timestamps were not checked.
Aucune autorité n’a été donnée (--timestamp-ca) : les signatures de {0} horodatages n’ont pas été vérifiées.
No se dio ninguna autoridad (--timestamp-ca): no se comprobaron las firmas de {0} sellos de tiempo.
لم تُعطَ جهة ختم (‎--timestamp-ca): لم يُتحقق من توقيعات {0} من أختام الوقت.
no-timestamps
there is no timestamp in this bundle
il n’y a pas d’horodatage dans ce paquet
no hay ningún sello de tiempo en este paquete
لا يوجد ختم وقت في هذه الحزمة
timestamp-unchecked
{0} is over this checkpoint and says {1}; who signed it can be checked with: {2}
{0} porte sur ce point de contrôle et dit {1} ; son signataire se vérifie avec : {2}
{0} es sobre este punto de control y dice {1}; quién lo firmó se comprueba con: {2}
{0}: على نقطة التثبيت هذه ويقول {1}؛ ويُتحقق ممّن وقّعه بالأمر: {2}
timestamp-other
{0} is over other bytes than this checkpoint
{0} porte sur d’autres octets que ce point de contrôle
{0} es sobre otros bytes que este punto de control
{0}: على بايتات غير نقطة التثبيت هذه
timestamp-signature
{0} is not signed by an authority that you trust, or was changed
{0} n’est pas signé par une autorité en laquelle vous avez confiance, ou a été modifié
{0} no está firmado por una autoridad en la que usted confía, o fue alterado
{0}: لم توقّعه جهة تثق بها، أو غُيّر
timestamp-by-hand
{0} uses {1}, which this program does not know. Check it with: {2}
{0} utilise {1}, que ce programme ne connaît pas. Vérifiez-le avec : {2}
{0} usa {1}, que este programa no conoce. Compruébelo con: {2}
{0}: يستعمل {1}، وهو ما لا يعرفه هذا البرنامج. تحقق منه بالأمر: {2}
inclusion
Inclusion: a proof shows for each event that it stands in the log under that checkpoint, in the order of time.
Inclusion : une preuve montre que chaque événement figure au registre sous ce point de contrôle, dans l’ordre du temps.
Inclusión: una prueba muestra que cada evento figura en el registro bajo ese punto de control, en el orden del tiempo.
الإدراج: برهان لكل حدث أنه في السجل تحت نقطة التثبيت تلك، وعلى ترتيب الزمن.
inclusion-found
{0} events are in the log of {1}.
{0} événements figurent au registre, qui en compte {1}.
{0} eventos figuran en el registro de {1}.
عدد الأحداث المدرجة {0} في سجل طوله {1}.
not-in-log
{0} is not in the log at position {1}: it was changed, or never stood there
{0} n’est pas au registre à la position {1} : il a été modifié, ou n’y a jamais figuré
{0} no está en el registro en la posición {1}: fue alterado, o nunca estuvo ahí
{0}: ليس في السجل عند الموضع {1}؛ فقد غُيّر أو لم يكن هناك قط
order
{0} stands at a position where it cannot stand: events were swapped, or it came after the map was made
{0} se trouve à une position impossible : des événements ont été intervertis, ou il est venu après la carte
{0} está en una posición imposible: se intercambiaron eventos, o llegó después del mapa
{0}: في موضع لا يمكن أن يكون فيه؛ فقد بُدّلت أحداث أو جاء بعد صنع الخريطة
back-dated
{0} says {1}, but stands in the log after an event of {2}: it was back-dated, or the archive's clock was turned back
{0} dit {1}, mais figure au registre après un événement du {2} : il a été antidaté, ou l’horloge de l’archive a été reculée
{0} dice {1}, pero figura en el registro después de un evento del {2}: se antedató, o se atrasó el reloj del archivo
{0}: يقول {1}، لكنه في السجل بعد حدث بتاريخ {2}؛ فقد أُرّخ بتاريخ سابق أو أُرجعت ساعة الأرشيف
statement-back-dated
the bundle holds an event of {0}, later than the time at which it says that it was made, {1}
le paquet contient un événement du {0}, postérieur à l’heure à laquelle il dit avoir été fait, {1}
el paquete contiene un evento del {0}, posterior a la hora en que dice haberse hecho, {1}
في الحزمة حدث بتاريخ {0}، بعد الوقت الذي تقول إنها صُنعت فيه، {1}
completeness
Completeness: the map that the log pins says of each subject how many events there were, and which was the last.
Exhaustivité : la carte fixée par le registre dit de chaque sujet combien d’événements il y avait et quel était le dernier.
Exhaustividad: el mapa que fija el registro dice de cada sujeto cuántos eventos había y cuál fue el último.
الاكتمال: الخريطة المثبّتة في السجل تقول عن كل موضوع كم كان عدد أحداثه وأيها الأخير.
completeness-found
The events of {0} subjects are all that there were before position {1} of the log.
Les événements de {0} sujets sont tous ceux qui existaient avant la position {1} du registre.
Los eventos de {0} sujetos son todos los que había antes de la posición {1} del registro.
أحداث {0} من الموضوعات هي كل ما كان قبل الموضع {1} من السجل.
key-proof
{0}: this is not the map's key of {1}, but of another subject or of nobody
{0} : ceci n’est pas la clé de {1} dans la carte, mais celle d’un autre sujet ou de personne
{0}: esta no es la clave de {1} en el mapa, sino la de otro sujeto o de nadie
{0}: ليس هذا مفتاح {1} في الخريطة، بل لغيره أو لا لأحد
not-in-map
{0}: the map does not say this of {1}
{0} : la carte ne dit pas cela de {1}
{0}: el mapa no dice esto de {1}
{0}: لا تقول الخريطة هذا عن {1}
incomplete
{0}: the bundle holds {1} events, but there were {2}, or others; the last were left out or changed
{0} : le paquet contient {1} événements, mais il y en avait {2}, ou d’autres ; les derniers ont été omis ou modifiés
{0}: el paquete contiene {1} eventos, pero había {2}, u otros; se omitieron o alteraron los últimos
{0}: في الحزمة {1} من الأحداث، وقد كانت {2} أو غيرها؛ فأُسقط آخرها أو غُيّر
proofs
Proof files: the proofs in the form that other programs read say the same.
Fichiers de preuve : les preuves dans la forme que lisent d’autres programmes disent la même chose.
Archivos de prueba: las pruebas en la forma que leen otros programas dicen lo mismo.
ملفات البراهين: البراهين بالصيغة التي تقرؤها البرامج الأخرى تقول الشيء نفسه.
proofs-found
{0} proof files.
{0} fichiers de preuve.
{0} archivos de prueba.
عدد ملفات البراهين: {0}.
tlog-proof
{0} does not prove what it should
{0} ne prouve pas ce qu’il devrait
{0} no prueba lo que debería
{0}: لا يبرهن ما ينبغي أن يبرهنه
openings
Disclosed values: each is the one to which its event committed.
Valeurs divulguées : chacune est celle sur laquelle son événement s’est engagé.
Valores revelados: cada uno es aquel con el que su evento se comprometió.
القيم المكشوفة: كل قيمة هي التي التزم بها حدثها.
openings-found
{0} values disclosed, true to their commitments; {1} withheld.
{0} valeurs divulguées, fidèles à leurs engagements ; {1} retenues.
{0} valores revelados, fieles a sus compromisos; {1} retenidos.
القيم المكشوفة {0} وتوافق التزاماتها؛ والمحجوبة {1}.
opening
{0}: this is not the value that {1} holds
{0} : ce n’est pas la valeur que contient {1}
{0}: este no es el valor que contiene {1}
{0}: ليست هذه هي القيمة التي يحملها {1}
originals
Originals: each file is the one of which the custody events speak, and these are the items that were asked for.
Originaux : chaque fichier est celui dont parlent les événements, et ce sont bien les pièces demandées.
Originales: cada archivo es aquel del que hablan los eventos, y son las piezas que se pidieron.
الأصول: كل ملف هو الذي تتحدث عنه أحداث الحيازة، وهذه هي المواد المطلوبة.
originals-found
{0} originals and {1} redacted files are those that were recorded.
{0} originaux et {1} fichiers caviardés sont ceux qui ont été enregistrés.
{0} originales y {1} archivos tachados son los que se registraron.
الأصول {0} والملفات المحجوب بعضها {1}: هي نفسها المسجَّلة.
original
{0} is not the file that the custody events speak of
{0} n’est pas le fichier dont parlent les événements de conservation
{0} no es el archivo del que hablan los eventos de custodia
{0}: ليس الملف الذي تتحدث عنه أحداث الحيازة
stored-once
{0}: {1} was not stored exactly once
{0} : {1} n’a pas été enregistré exactement une fois
{0}: {1} no se guardó exactamente una vez
{0}: لم يُحفظ {1} مرة واحدة بالضبط
item-path
{0}: {1} is no file of this bundle, is named twice, or should not be here
{0} : {1} n’est pas un fichier de ce paquet, est nommé deux fois ou ne devrait pas être ici
{0}: {1} no es un archivo de este paquete, se nombra dos veces o no debería estar aquí
{0}: ليس {1} ملفًا في هذه الحزمة، أو ذُكر مرتين، أو لا ينبغي أن يكون هنا
code-twice
data/metadata/items.json gives two items the same code
data/metadata/items.json donne le même code à deux pièces
data/metadata/items.json da el mismo código a dos piezas
يعطي data/metadata/items.json مادتين الرمز نفسه
no-item
{0} belongs to no item
{0} n’appartient à aucune pièce
{0} no pertenece a ninguna pieza
{0}: لا يخص أي مادة
other-items
these are not the items that were asked for: some were left out or added
ce ne sont pas les pièces demandées : certaines ont été omises ou ajoutées
estas no son las piezas que se pidieron: se omitieron o añadieron algunas
ليست هذه هي المواد المطلوبة: فقد أُسقط بعضها أو أُضيف
decisions
Decisions: each is what a person's event says, and none is left out.
Décisions : chacune est ce que dit l’événement d’une personne, et aucune ne manque.
Decisiones: cada una es lo que dice el evento de una persona, y no falta ninguna.
القرارات: كل قرار هو ما يقوله حدث شخص، ولم يُسقط منها شيء.
decisions-found
{0} decisions, each by a person.
{0} décisions, chacune par une personne.
{0} decisiones, cada una de una persona.
عدد القرارات {0}، وكلها من أشخاص.
redaction-person
{0}: no signed-in person approved this redacted file
{0} : aucune personne connectée n’a approuvé ce fichier expurgé
{0}: ninguna persona identificada aprobó este archivo censurado
{0}: لم يوافق أي شخص مسجَّل الدخول على هذا الملف المحجوب
decision-person
{0} was not made by a signed-in person
{0} n’a pas été prise par une personne connectée
{0}: no la tomó una persona identificada
{0}: لم يتخذه شخص مسجَّل الدخول
suggestions
Machine suggestions: each result is the one whose hash was recorded when the model ran.
Suggestions de la machine : chaque résultat est celui dont l’empreinte fut enregistrée quand le modèle a tourné.
Sugerencias de la máquina: cada resultado es aquel cuyo resumen se registró cuando se ejecutó el modelo.
اقتراحات الآلة: كل نتيجة هي التي سُجّلت بصمتها حين عمل النموذج.
suggestions-found
{0} runs of a model: suggestions of a machine, not findings.
{0} exécutions d’un modèle : suggestions d’une machine, non des constatations.
{0} ejecuciones de un modelo: sugerencias de una máquina, no hallazgos.
عدد مرات تشغيل النماذج {0}: اقتراحات آلة لا نتائج.
tables
Tables: each CSV file says the same as the JSON file beside it.
Tableaux : chaque fichier CSV dit la même chose que le fichier JSON voisin.
Tablas: cada archivo CSV dice lo mismo que el archivo JSON de al lado.
الجداول: كل ملف CSV يقول ما يقوله ملف JSON المجاور له.
tables-found
{0} tables agree with their JSON files.
{0} tableaux concordent avec leurs fichiers JSON.
{0} tablas concuerdan con sus archivos JSON.
عدد الجداول الموافقة لملفات JSON: {0}.
not-compared
The reports and statements, data/interchange/, case.json, sources.json and all in items.json that no step names are signed, but compared with nothing: they are the word of whoever signed.
Les rapports et déclarations, data/interchange/, case.json, sources.json et tout ce que nulle étape ne nomme dans items.json sont signés, mais comparés à rien : c’est la parole du signataire.
Los informes y declaraciones, data/interchange/, case.json, sources.json y lo que ningún paso nombra en items.json están firmados, pero no se comparan con nada: son la palabra de quien firmó.
التقارير والبيانات وdata/interchange/ وcase.json وsources.json وكل ما لا تذكره خطوة في items.json موقَّعة لكنها لم تُقارن بشيء: فهي قول الموقِّع.
link
{0} is a link or a device, not a file
{0} est un lien ou un périphérique, pas un fichier
{0} es un enlace o un dispositivo, no un archivo
{0}: رابط أو جهاز، وليس ملفًا
name-twice
the file name {0} is there twice
le nom de fichier {0} figure deux fois
el nombre de archivo {0} aparece dos veces
اسم الملف {0} مكرر
name-leads-out
the file name {0} is absolute, empty or leads out of the bundle
le nom de fichier {0} est absolu, vide ou mène hors du paquet
el nombre de archivo {0} es absoluto, vacío o lleva fuera del paquete
اسم الملف {0} مطلق أو فارغ أو يقود إلى خارج الحزمة
name-unsafe
the file name {0} holds control characters, is not UTF-8, or could be read as another kind of path
le nom de fichier {0} contient des caractères de contrôle, n’est pas en UTF-8 ou peut être lu comme un autre genre de chemin
el nombre de archivo {0} tiene caracteres de control, no es UTF-8 o puede leerse como otro tipo de ruta
في اسم الملف {0} محارف تحكّم، أو ليس بترميز UTF-8، أو قد يُقرأ مسارًا من نوع آخر
zip-overlap
{0} overlaps another file inside the zip
{0} chevauche un autre fichier dans le zip
{0} se superpone a otro archivo dentro del zip
{0}: يتداخل مع ملف آخر داخل ملف zip
zip-packing
{0} is encrypted, packed or named in a way that bundles do not use
{0} est chiffré, compressé ou nommé d’une façon que les paquets n’emploient pas
{0} está cifrado, comprimido o nombrado de un modo que los paquetes no usan
{0}: مشفّر أو مضغوط أو مسمّى بطريقة لا تستعملها الحزم
zip-hidden
the zip holds bytes that belong to no file of it, before, between or behind them: other programs may find files there
le zip contient des octets qui n’appartiennent à aucun de ses fichiers, avant, entre ou après eux : d’autres programmes peuvent y trouver des fichiers
el zip contiene bytes que no pertenecen a ninguno de sus archivos, antes, entre o después de ellos: otros programas pueden encontrar ahí archivos
في ملف zip بايتات لا تنتمي إلى أي من ملفاته، قبلها أو بينها أو بعدها؛ فقد تجد برامج أخرى فيها ملفات
zip-bomb
{0} would unpack to more than 200 times its size. Unpack it with a program that you trust, and check the folder
{0} se décompresserait à plus de 200 fois sa taille. Décompressez-le avec un programme de confiance et vérifiez le répertoire
{0} se descomprimiría a más de 200 veces su tamaño. Descomprímalo con un programa de confianza y compruebe la carpeta
{0}: يزيد حجمه عند فك الضغط على 200 ضعف. فُكّه ببرنامج تثق به وتحقق من المجلد
zip-tops
the zip holds {0} folders at its top where a bundle has one
le zip contient {0} répertoires au sommet alors qu’un paquet en a un
el zip tiene {0} carpetas en la raíz donde un paquete tiene una
في ملف zip من المجلدات العليا {0}، وللحزمة واحد
missing
the file {0} is missing
le fichier {0} manque
falta el archivo {0}
الملف {0} مفقود
extra
the file {0} does not belong to a bundle
le fichier {0} n’appartient pas à un paquet
el archivo {0} no pertenece a un paquete
الملف {0} لا ينتمي إلى الحزمة
damaged
{0} is damaged: {1}
{0} est endommagé : {1}
{0} está dañado: {1}
{0}: تالف: {1}
form
{0} has not the form that docs/bundle.md gives it
{0} n’a pas la forme que lui donne docs/bundle.md
{0} no tiene la forma que le da docs/bundle.md
{0}: ليس بالصيغة المبيّنة في docs/bundle.md
json
{0} is not JSON in its canonical form, to the byte: another program wrote or changed it
{0} n’est pas du JSON en forme canonique, à l’octet près : un autre programme l’a écrit ou modifié
{0} no es JSON en su forma canónica, byte por byte: otro programa lo escribió o alteró
{0}: ليس JSON بصيغته القانونية بالبايت؛ فقد كتبه برنامج آخر أو غيّره
too-long
{0} is longer than {1} bytes, or cut off
{0} dépasse {1} octets, ou est tronqué
{0} supera los {1} bytes, o está cortado
{0}: أطول من {1} بايت، أو مبتور
differs
{0} does not say what {1} says
{0} ne dit pas ce que dit {1}
{0} no dice lo que dice {1}
{0}: لا يقول ما يقوله {1}
left-out
{0} does not name what the events name, each once and in order: something was left out or added
{0} ne nomme pas ce que nomment les événements, chacun une fois et dans l’ordre : il y a une omission ou un ajout
{0} no nombra lo que nombran los eventos, cada uno una vez y en orden: algo se omitió o se añadió
{0}: لا يذكر ما تذكره الأحداث، كلًّا مرة واحدة وعلى ترتيبها؛ فقد أُسقط شيء أو أُضيف
names-no-event
{0} names an event that is not here, is of another kind, or is named already
{0} nomme un événement qui n’est pas ici, est d’un autre genre ou est déjà nommé
{0} nombra un evento que no está aquí, es de otro tipo o ya fue nombrado
{0}: يذكر حدثًا ليس هنا، أو من نوع آخر، أو سبق ذكره
twice
{0} names {1} a second time, or in another place than its own
{0} nomme {1} une seconde fois, ou à une autre place que la sienne
{0} nombra {1} por segunda vez, o en un lugar que no es el suyo
{0}: يذكر {1} مرة ثانية، أو في غير مكانه
needs
step {0}, on which this one rests, did not succeed
l’étape {0}, sur laquelle repose celle-ci, n’a pas réussi
no tuvo éxito el paso {0}, en el que se apoya este
لم تنجح الخطوة {0} التي تقوم عليها هذه
crash
the check itself failed: {0} {1}
la vérification elle-même a échoué : {0} {1}
falló la propia comprobación: {0} {1}
أخفق التحقق نفسه: {0} {1}
no-bundle
there is no folder or file {0}
il n’y a pas de répertoire ou de fichier {0}
no existe la carpeta o el archivo {0}
لا يوجد مجلد أو ملف {0}
not-a-zip
this is neither the folder of a bundle nor a whole .zip of one: {0}
ce n’est ni le répertoire d’un paquet, ni un .zip entier : {0}
esto no es ni la carpeta de un paquete ni un .zip completo: {0}
ليس هذا مجلد حزمة ولا ملف ‎.zip كاملًا لها: {0}
given-inside
{0} lies inside the bundle: it shows nothing about who made it
{0} se trouve dans le paquet : cela ne montre rien de qui l’a fait
{0} está dentro del paquete: no muestra nada sobre quién lo hizo
{0}: داخل الحزمة، فلا يدل على من صنعها
given-unreadable
{0} cannot be read: {1}
{0} est illisible : {1}
no se puede leer {0}: {1}
تعذّرت قراءة {0}: {1}
bad-key
{0} is no fingerprint of 64 hex digits, no Ed25519 key as PEM and no verifier key ({1})
{0} n’est ni une empreinte de 64 chiffres hexadécimaux, ni une clé Ed25519 en PEM, ni une clé de vérification ({1})
{0} no es una huella de 64 dígitos hexadecimales, ni una clave Ed25519 en PEM, ni una clave de verificación ({1})
{0}: ليس بصمة من 64 رقمًا ست عشريًا، ولا مفتاح Ed25519 بصيغة PEM، ولا مفتاح تحقق ({1})
""".splitlines()
WORDS = {_LINES[at]: _LINES[at + 1 : at + 5] for at in range(0, len(_LINES), 5)}


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = main()
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - a crash must never look like an answer
        code = 2
        print(f"The program failed; this is no answer: {type(error).__name__} {show(error)}", file=sys.stderr)
    sys.exit(code)
