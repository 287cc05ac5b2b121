#!/usr/bin/env python3
"""Check an Amparo evidence bundle, in plain words.

    python verify_bundle.py BUNDLE [--key KEY]

BUNDLE is the bundle's folder, or the .zip that holds it. KEY is the fingerprint of the archive's signing key,
or a file with that key, that you got from the archive by another way than this bundle. Steps are numbered
as in docs/verify.md, which says them so exactly that a stranger could write another verifier.

Exit status: 0 everything is good; 1 something is bad; 2 something could not be checked (never a yes).

Needs Python 3.10 or newer and the `cryptography` package. It shares no code with Amparo, opens no network
connection, writes no file, follows no link, unpacks nothing. It takes all that it reads for an enemy's work.

SPDX-License-Identifier: AGPL-3.0-or-later
"""

import argparse
import base64
import csv
import hashlib
import io
import itertools
import json
import os
import re
import stat
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

FORMAT = "amparo-bundle 1"
STATEMENT, SIGNATURE, KEY = (f"signature/{n}" for n in ("statement.json", "statement.sig", "public-key.pem"))
TAG_FILES = {"README.txt", "bag-info.txt", "bagit.txt", "manifest-sha256.txt", "verify_bundle.py"}
TABLES = ("data/metadata/items", "data/metadata/sources", "data/decisions", "data/detections")
CUSTODY = {"events.jsonl", "openings.jsonl", "positions.json", "subjects.json", "checkpoint.txt"}
REQUIRED = (
    {"tagmanifest-sha256.txt", STATEMENT, SIGNATURE, KEY, "data/report.pdf", "data/metadata/case.json"}
    | TAG_FILES
    | {f"{table}.{form}" for table in TABLES for form in ("json", "csv")}
    | {f"data/custody/{name}" for name in CUSTODY}
)
BAGIT_TXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MAX_EVENT, MAX_LINE, MAX_SMALL_FILE, PIECE = 65_535, 16 * 2**20, 2**20, 2**20
HEX64 = re.compile(r"[0-9a-f]{64}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
SUBJECT = re.compile(r"(?:item|case|source|bundle|system):[0-9A-Za-z-]{1,64}")
EVENT_KEYS = "actor number payload previous reason software subject time type version".split()
WITHHELD = {"withheld": True}
DECIDED = ("item.decided", "item.decision_withdrawn")
KEPT = {"item.stored", "item.acquired", "item.analysed", "bundle.requested", *DECIDED}
FORMULA, FORMULA_SPACE = set("=+-@'\uff1d\uff0b\uff0d\uff20"), set("\t\r\n")

Place = tuple[str, int]  # the subject of an event and its number there


class Bad(Exception):
    """Something in the bundle is false."""


class CouldNotCheck(Exception):
    """Something that an answer needs is not there, or cannot be read."""


def need(condition: Any, words: str) -> None:
    """Raise Bad unless the condition holds."""
    if not condition:
        raise Bad(words)


# --- A bundle: a folder or a zip, as named files that are only read -----------------------------------------


class Folder:
    """A bundle that lies in a folder. Links, devices and pipes are faults and are never opened."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.real: dict[str, str] = {}
        self.faults: list[str] = []
        waiting = [""]
        while waiting:
            here = waiting.pop()
            with os.scandir(os.path.join(path, here)) as entries:
                for entry in entries:
                    name, mode = here + entry.name, entry.stat(follow_symlinks=False).st_mode
                    if stat.S_ISDIR(mode):
                        waiting.append(name + "/")
                    elif not stat.S_ISREG(mode):
                        self.faults.append(f"{show(name)} is a link or a device, not a file")
                    else:
                        add(self, name, name, name)

    def open(self, name: str) -> BinaryIO:
        """Open one file for reading, refusing what has become a link or a device since."""
        flags = os.O_RDONLY | sum(getattr(os, f, 0) for f in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
        handle = os.open(os.path.join(self.path, *self.real[name].split("/")), flags)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Bad(f"{show(name)} is not a plain file")
        return os.fdopen(handle, "rb")


class Zip:
    """A bundle inside a .zip, read in place. One folder at its top; nothing is unpacked."""

    def __init__(self, path: str) -> None:
        self.zip = zipfile.ZipFile(path)
        self.real: dict[str, zipfile.ZipInfo] = {}
        self.faults: list[str] = []
        tops = set()
        for info in self.zip.infolist():
            top, _, name = info.filename.partition("/")
            tops.add(top)
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                self.faults.append(f"{show(name)} is a link or a device, not a file")
            elif info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                self.faults.append(f"{show(name)} is encrypted, or packed in a way that bundles do not use")
            elif info.filename != info.orig_filename:
                self.faults.append(f"the file name {show(info.orig_filename)} has a hidden part")
            elif not info.is_dir():
                add(self, name, info.filename, info)
        if len(tops) != 1:
            self.faults.append(f"the zip holds {len(tops)} folders at its top where a bundle has one")

    def open(self, name: str) -> IO[bytes]:
        """Open one file for reading."""
        return self.zip.open(self.real[name])


def add(bundle: Folder | Zip, name: str, whole: str, real: Any) -> None:
    """Note a file of a bundle under its name, in NFC: some file systems change the Unicode form of names."""
    why = unsafe(name) or unsafe(whole)
    normal = name if why else unicodedata.normalize("NFC", name)
    if why or normal in bundle.real:
        bundle.faults.append(f"the file name {show(whole)} {why or 'is there twice'}")
    else:
        bundle.real[normal] = real


def unsafe(name: str) -> str:
    """Say why a file name may not stand in a bundle, or return an empty text."""
    if any(part in ("", ".", "..") for part in name.split("/")) or name[0] == "~":
        return "is absolute, empty or leads out of the bundle"
    if "\\" in name or re.match("[A-Za-z]:", name):
        return "could be read as another kind of path"
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return "holds control characters or is not UTF-8"
    return ""


def show(text: Any, longest: int = 160) -> str:
    """Make a stranger's text safe to print: no control characters, nothing that turns the line around."""
    shown = (c if c.isprintable() else ascii(c)[1:-1] for c in str(text)[:longest])
    return "'" + "".join(shown) + "'"


# --- JSON, read strictly ------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    """Give the RFC 8785 bytes of a value without floats, with ASCII keys and integers within 2^53."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def no_float(text: str) -> None:
    """Refuse a number that is not a plain integer."""
    raise ValueError(text)


def parse(raw: bytes, where: str) -> Any:
    """Parse JSON that must stand in its canonical form to the byte: no second spelling, no key twice."""
    try:
        value = json.loads(raw.decode(), parse_float=no_float, parse_constant=no_float)
        again = canonical(value)
    except (ValueError, RecursionError) as error:
        raise Bad(f"{where} is no JSON without fractions ({type(error).__name__})") from None
    need(again == raw, f"{where} is not in canonical form: another program wrote or changed it")
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            need(all(key.isascii() for key in each), f"{where} has a key that is not ASCII")
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
        elif isinstance(each, int):
            need(abs(each) < 2**53, f"{where} holds an integer of 2^53 or more")
    return value


def point(document: Any, pointer: str) -> Any:
    """Follow an RFC 6901 pointer. Raises LookupError, TypeError or ValueError where it leads nowhere."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def is_hash(value: Any) -> bool:
    """Whether this is a SHA-256 as bundles write it."""
    return isinstance(value, str) and HEX64.fullmatch(value) is not None


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


# --- The steps ----------------------------------------------------------------------------------------------


class Check:
    """One run over one bundle. Each step is a method: its docstring is its title, it returns its finding."""

    def __init__(self, bundle: Folder | Zip, key: str | None, out: Callable[[str], None] = print) -> None:
        self.bundle, self.key, self.out = bundle, key, out
        self.faults: list[tuple[int, str, str]] = []  # step, kind, words
        self.unknown: list[tuple[int, str]] = []
        self.notes: list[str] = []
        self.step = 0
        self.public: bytes | None = None  # the key in the bundle, once well-formed
        self.statement: dict | None = None  # what was signed, once its signature fits
        self.listed: dict[str, str] = {}  # SHA-256 by file, as the manifests say
        self.found: dict[str, tuple[str, int]] = {}  # SHA-256 and size by file, as read
        self.lengths: dict[str, int] = {}  # number of events by subject
        self.hashes: dict[Place, str] = {}  # hash of every event, once all chains hold
        self.kept: dict[Place, dict] = {}  # events that later steps compare with
        self.opened: dict[tuple[str, int, str], Any] = {}  # disclosed values by place and pointer

    def run(self) -> int:
        """Run all steps, whatever the ones before found. Returns the exit status."""
        steps: tuple[Callable[[], str], ...] = (
            self.files,
            self.signature,
            self.manifests,
            self.content,
            self.events,
            self.openings,
        )
        steps += (self.checkpoint, self.originals, self.decisions, self.suggestions, self.tables)
        for self.step, step in enumerate(steps, 1):
            faults, unknown, said = len(self.faults), len(self.unknown), ""
            try:
                said = step()
            except Bad as fault:
                self.bad("first", str(fault))
            except (zipfile.BadZipFile, EOFError, zlib.error, UnicodeError, csv.Error) as error:
                self.bad("unreadable", f"a file is damaged: {show(error)}")
            except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
                self.bad("shape", f"a file has not the shape of docs/bundle.md ({type(error).__name__})")
            except CouldNotCheck as why:
                self.unknown.append((self.step, str(why)))
            except Exception as error:  # noqa: BLE001 - whatever else goes wrong is 'could not check', never 'good'
                self.unknown.append((self.step, f"the check failed: {type(error).__name__} {show(error)}"))
            self._tell(step.__doc__ or "", self.faults[faults:], self.unknown[unknown:], said)
        return self._conclude()

    def bad(self, kind: str, words: str) -> None:
        """Note a fault and go on."""
        self.faults.append((self.step, kind, words))

    def _tell(self, title: str, faults: list, unknown: list, said: str) -> None:
        answer = "BAD" if faults else "COULD NOT CHECK" if unknown else "good"
        self.out(f"{self.step:2}. {title} {answer}")
        for kind in dict.fromkeys(kind for _, kind, _ in faults):
            alike = [words for _, k, words in faults if k == kind]
            more = f" (and {len(alike) - 1} more of this kind)" if len(alike) > 1 else ""
            self.out(f"      BAD: {alike[0]}{more}")
        for _, words in unknown:
            self.out(f"      COULD NOT CHECK: {words}")
        if said and answer == "good":
            self.out(f"      {said}")
        for words in self.notes:
            self.out(f"      Note: {words}")
        self.notes.clear()

    def _conclude(self) -> int:
        self.out("")
        if self.faults:
            step, _, words = self.faults[0]
            self.out(f"BAD. This bundle is not what was signed, or contradicts itself. Step {step}: {words}.")
            self.out("Do not rely on it. Keep it as it is and ask the archive for another copy.")
            return 1
        if self.unknown:
            self.out(f"COULD NOT CHECK all of it. Step {self.unknown[0][0]}: {self.unknown[0][1]}.")
            self.out("Nothing false was found, but this is not a yes.")
            return 2
        if self.key:
            self.out(
                "GOOD. Every file is there, and unchanged since it was signed with the key that you named."
            )
            return 0
        self.out(
            "GOOD, as far as the bundle alone can show. Every file is there and agrees with the others. But"
        )
        self.out(
            "the key came from the bundle itself: this shows the bundle is unchanged since whoever holds this"
        )
        self.out(
            "key made it, not who that is. Ask the archive for its key's fingerprint; run again with --key."
        )
        return 0

    # --- reading

    def _open(self, name: str) -> IO[bytes]:
        if name not in self.bundle.real:
            raise CouldNotCheck(f"{show(name)} is missing (step 1)")
        return self.bundle.open(name)

    def _small(self, name: str) -> bytes:
        with self._open(name) as stream:
            raw = stream.read(MAX_SMALL_FILE + 1)
        need(len(raw) <= MAX_SMALL_FILE, f"{name} is larger than such a file can be")
        return raw

    def _digest(self, name: str) -> str:
        if name not in self.found:
            digest, size = hashlib.sha256(), 0
            with self._open(name) as stream:
                while piece := stream.read(PIECE):
                    digest.update(piece)
                    size += len(piece)
            self.found[name] = digest.hexdigest(), size
        return self.found[name][0]

    def _lines(self, name: str, limit: int = MAX_LINE) -> Iterator[tuple[str, bytes]]:
        """Give each line with words that say where it stands. The last one must end too."""
        with self._open(name) as stream:
            for number in itertools.count(1):
                line = stream.readline(limit + 1)
                if not line:
                    return
                where = f"line {number} of {name}"
                need(line.endswith(b"\n"), f"{where} is longer than {limit} bytes, or cut off")
                yield where, line[:-1]

    def _list(self, name: str) -> Iterator[tuple[str, Any]]:
        """Give the entries of a JSON list: a line '[', an entry a line with commas between, a line ']'."""
        lines = self._lines(name)
        need(next(lines, ("", b""))[1] == b"[", f"{name} does not begin with '[' on a line")
        comma = True
        for where, line in lines:
            if line == b"]":
                need(next(lines, None) is None, f"{name} goes on after its end")
                return
            need(comma, f"{where} has no comma before it")
            comma = line.endswith(b",")
            yield where, parse(line[:-1] if comma else line, where)
        raise Bad(f"{name} is cut off")

    # --- step 1 to 4: the files and what holds them together

    def files(self) -> str:
        """Files: the bundle has every file it must have and no other."""
        for words in self.bundle.faults:
            self.bad("name", words)
        names = set(self.bundle.real)
        for name in sorted(REQUIRED - names):
            self.bad("missing", f"the file {name} is missing")
        for name in sorted(n for n in names - REQUIRED if not n.startswith("data/originals/")):
            self.bad("extra", f"the file {show(name)} does not belong to a bundle")
        if "bagit.txt" in names:
            need(
                self._small("bagit.txt") == BAGIT_TXT,
                "bagit.txt does not declare BagIt 1.0 in UTF-8, exactly",
            )
        return f"{len(names)} files."

    def signature(self) -> str:
        """Signature: one Ed25519 signature holds the whole bundle together."""
        raw, signature, pem = self._small(STATEMENT), self._small(SIGNATURE), self._small(KEY)
        try:
            key = load_pem_public_key(pem)
            exact = pem == key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        except Exception as error:  # noqa: BLE001 - OpenSSL has many errors for a broken key; all mean the same
            raise Bad(f"{KEY} is not a key ({type(error).__name__})") from None
        if not (isinstance(key, Ed25519PublicKey) and exact):
            raise Bad(f"{KEY} is not a well-formed Ed25519 key")
        self.public = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        fingerprint = hashlib.sha256(self.public).hexdigest()
        if self.key and self.key != fingerprint:
            self.bad("wrong-key", f"it was signed with another key than the one you trust: {fingerprint}")
        try:
            key.verify(signature, raw)
        except InvalidSignature:
            raise Bad(
                f"the signature does not fit: {STATEMENT}, {SIGNATURE} or the key was changed"
            ) from None
        need(raw.endswith(b"\n"), f"{STATEMENT} is cut off")
        signed = parse(raw[:-1], STATEMENT)
        need(signed["format"] == FORMAT, f"this is {show(signed['format'])}; I know only '{FORMAT}'")
        need(signed["key"] == fingerprint, "the signed statement names another key than the one beside it")
        self.statement = signed
        same = self._digest("tagmanifest-sha256.txt") == signed["tagmanifest_sha256"]
        need(same, "tagmanifest-sha256.txt is not the one that was signed")
        if not self.key:
            self.notes.append(f"the key's fingerprint is {fingerprint}; it came from the bundle itself.")
        made = f"made {show(signed['created'])} by {show(signed['software'])}"
        return f"Bundle {show(signed['bundle'])} of case {show(signed['case']['code'])}, {made}."

    def manifests(self) -> str:
        """Manifests: they list every file, once, by a name that leads nowhere else."""
        data = {name for name in self.bundle.real if name.startswith("data/")}
        for manifest, wanted in (("tagmanifest-sha256.txt", TAG_FILES), ("manifest-sha256.txt", data)):
            seen: dict[str, str] = {}
            for where, line in self._lines(manifest, 16_384):
                match = re.fullmatch(r"([0-9a-f]{64})  (.+)", line.decode())
                if match is None:
                    raise Bad(f"{where} is not a SHA-256, two spaces and a path")
                need(
                    not re.search("%(?!0A|0D|25)", match[2]),
                    f"{where} has a percent sign that is not encoded",
                )
                name = match[2].replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
                need(not unsafe(name), f"{where}: the path {show(name)} {unsafe(name)}")
                name = unicodedata.normalize("NFC", name)
                need(name not in seen, f"{where} lists {show(name)} a second time")
                seen[name] = match[1]
            for name in sorted(wanted - set(seen)):
                self.bad("unlisted", f"{show(name)} stands in no manifest: it was added later")
            for name in sorted(set(seen) - wanted):
                self.bad("absent", f"{manifest} lists {show(name)}, which is not there or not its business")
            self.listed.update(seen)
        return f"{len(self.listed)} files listed."

    def content(self) -> str:
        """Content: every listed file has the SHA-256 that its manifest states."""
        octets = count = 0
        for name in sorted(set(self.listed) & set(self.bundle.real)):
            try:
                if self._digest(name) != self.listed[name]:
                    self.bad("hash", f"{show(name)} was changed: its SHA-256 is not the one in its manifest")
            except (zipfile.BadZipFile, EOFError, zlib.error) as error:
                self.bad("hash", f"{show(name)} is damaged inside the zip ({show(error)})")
            if name.startswith("data/"):
                octets, count = octets + self.found.get(name, ("", 0))[1], count + 1
        info = {}
        for where, line in self._lines("bag-info.txt", 16_384):
            label, colon, value = line.decode().partition(": ")
            need(colon and label not in info, f"{where} is not 'Label: value', or says it a second time")
            info[label] = value
        need(info.get("Payload-Oxum") == f"{octets}.{count}", "bag-info.txt states another amount of data")
        named = info.get("External-Identifier") == f"urn:uuid:{(self.statement or {}).get('bundle')}"
        need(named or not self.statement, "bag-info.txt names another bundle than the signed statement")
        with open(__file__, "rb") as own:
            running = hashlib.sha256(own.read()).hexdigest()
        if self.found.get("verify_bundle.py", ("",))[0] != running:
            self.notes.append(
                "the verifier in the bundle is not the one that runs now (another version, perhaps)."
            )
        return f"{count} files of data, {octets} bytes."

    # --- step 5 to 7: the custody log's part

    def events(self) -> str:
        """Custody events: each in canonical form, each chained to the one before it, none left out."""
        listed, hashes, here = self._list("data/custody/subjects.json"), {}, None
        number, tip = 0, ""
        nowhere: dict[str, Any] = {"subject": ""}

        def close(subject: dict | None) -> None:
            if subject is None:
                return
            name, events = subject["subject"], subject["events"]
            need(
                number == events,
                f"{name} has {number} events where {events} were signed: its end was changed",
            )
            need(tip == subject["tip"], f"the last event of {name} is not the one that was signed")

        for where, raw in self._lines("data/custody/events.jsonl", MAX_EVENT + 1):
            need(len(raw) <= MAX_EVENT, f"{where} is longer than an event can be")
            event = parse(raw, where)
            need(sorted(event) == EVENT_KEYS and event["version"] == 1, f"{where} is no event of version 1")
            subject = event["subject"]
            need(
                SUBJECT.fullmatch(subject) and TIME.fullmatch(event["time"]),
                f"{where} has a bad subject or time",
            )
            if here is None or subject != here["subject"]:
                close(here)
                need(subject not in self.lengths, f"{where}: the events of {subject} do not stand together")
                here, number, tip = next(listed, ("", nowhere))[1], 0, "0" * 64
                need(
                    here["subject"] == subject,
                    f"{where}: {subject} was not signed here: one was left out or added",
                )
                self.lengths[subject] = here["events"]
            due = type(event["number"]) is int and event["number"] == number + 1
            need(
                due,
                f"{where}: event {number + 1} of {subject} should stand here: events were removed or moved",
            )
            need(
                event["previous"] == tip,
                f"{where}: it does not follow from the event before: one was changed",
            )
            number, tip = number + 1, hashlib.sha256(b"\x00" + raw).hexdigest()
            hashes[subject, number] = tip
            if event["type"] in KEPT:
                self.kept[subject, number] = event
        close(here)
        need(next(listed, None) is None, "subjects.json names a subject that has no event here")
        if signed := self.statement:
            amounts = (len(hashes), len(self.lengths))
            need(
                amounts == (signed["events"], signed["subjects"]),
                "another number of events or subjects was signed",
            )
            need(f"case:{signed['case']['id']}" in self.lengths, "the events of the case are not here")
            request = self.kept.get((f"bundle:{signed['bundle']}", 1), {"type": ""})
            need(request["type"] == "bundle.requested", "the event of the bundle's request is not here")
            need(
                request["payload"]["set"]["key"] == signed["key"],
                "the bundle was requested under another key",
            )
        self.hashes = hashes
        return f"{len(hashes)} events of {len(self.lengths)} subjects."

    def _sound_events(self) -> None:
        if not self.hashes:
            raise CouldNotCheck("the custody events themselves did not hold (step 5)")

    def openings(self) -> str:
        """Disclosed values: each is the one that its event committed to."""
        self._sound_events()
        openings, count, committed = self._lines("data/custody/openings.jsonl"), 0, 0
        where, opening = self._opening(next(openings, None))
        for at, raw in self._lines("data/custody/events.jsonl"):
            event = parse(raw, at)
            committed += commitments(event)
            while opening and (opening["subject"], opening["number"]) == (event["subject"], event["number"]):
                salt, pointer, value = opening["salt"], opening["pointer"], opening["value"]
                made = hashlib.sha256(canonical([salt, pointer, value])).hexdigest()
                kept = is_hash(salt) and point(event, pointer) == {"commitment": made}
                need(
                    kept,
                    f"{where}: this is not the value that {event['subject']} event {event['number']} holds",
                )
                self.opened[event["subject"], event["number"], pointer] = value
                count += 1
                where, opening = self._opening(next(openings, None))
        need(opening is None, f"{where} belongs to no event, or stands out of order")
        need(count == len(self.opened), "a value is disclosed a second time")
        return f"{count} values disclosed, true to their commitments; {committed - count} withheld."

    @staticmethod
    def _opening(line: tuple[str, bytes] | None) -> tuple[str, dict | None]:
        return ("", None) if line is None else (line[0], parse(line[1], line[0]))

    def checkpoint(self) -> str:
        """Positions and checkpoint: the archive's log was this long, signed with the same key."""
        text, _, signatures = self._small("data/custody/checkpoint.txt").decode().partition("\n\n")
        origin, size, root = text.split("\n")
        whole = (
            re.fullmatch("0|[1-9][0-9]{0,15}", size) and len(b64(root)) == 32 and signatures.endswith("\n")
        )
        need(whole and origin, "data/custody/checkpoint.txt is no signed checkpoint")
        if self.public is None:
            raise CouldNotCheck("there is no sound key to check the checkpoint with (step 2)")
        key_id = hashlib.sha256(origin.encode() + b"\n\x01" + self.public).digest()[:4]
        lines, start = signatures.split("\n")[:-1], f"\u2014 {origin} "
        ours = [
            b64(s[len(start) :])[4:]
            for s in lines
            if s.startswith(start) and b64(s[len(start) :])[:4] == key_id
        ]
        need(
            len(ours) == 1,
            "the checkpoint is not signed with this bundle's key: one of the two is not the archive's",
        )
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(ours[0], (text + "\n").encode())
        except InvalidSignature:
            raise Bad("the signature of the checkpoint does not fit its text") from None
        if len(lines) > 1:
            self.notes.append(f"{len(lines) - 1} further signatures of the checkpoint were not checked.")
        self._sound_events()
        pending, taken = 0, set()
        nothing: dict[str, Any] = {}
        positions = self._list("data/custody/positions.json")
        for (subject, number), digest in self.hashes.items():
            where, row = next(positions, ("the end of positions.json", nothing))
            named = (row.get("subject"), row.get("number"), row.get("event"))
            need(named == (subject, number, digest), f"{where} is not of event {number} of {subject}")
            if row["position"] == "pending":
                pending += 1
                continue
            new = type(row["position"]) is int and row["position"] >= 0 and row["position"] not in taken
            need(new, f"{where}: the position is no number, or taken already")
            taken.add(row["position"])
        need(next(positions, None) is None, "there are positions of events that are not here")
        after = sum(position >= int(size) for position in taken)
        self.notes.append(
            "the bundle carries no proof that its events lie in that log (docs/verify.md, step 7)."
        )
        placed = f"{len(taken) - after} of these events lie before that length, {after} after it"
        return f"Log {show(origin)}, {size} events long; {placed}, {pending} had no position yet."

    # --- step 8 to 11: what the bundle says of its items

    def _kept(self, *kinds: str) -> dict[Place, dict]:
        self._sound_events()
        return {at: event for at, event in self.kept.items() if event["type"] in kinds}

    def _value(self, at: Place, field: str) -> Any:
        """What an entry must say for a field of an event: its value, or that it is withheld."""
        value = self.kept[at]["payload"]["set"][field]
        if not isinstance(value, dict):
            return value
        return self.opened.get((*at, f"/payload/set/{field}"), WITHHELD)

    def _take(self, where: str, row: dict, events: dict[Place, dict]) -> tuple[Place, dict]:
        """Give the event that an entry names, and strike it from those that must be named."""
        at = (row["subject"], row["number"])
        named = at in events and row["event"] == self.hashes[at]
        need(named, f"{where} names an event that is not here, of another kind, or named already")
        return at, events.pop(at)

    def originals(self) -> str:
        """Originals: each is the file that its item's custody events speak of."""
        stored: dict[str, list[dict]] = {}
        acquired = self._kept("item.acquired")
        for at, event in self._kept("item.stored").items():
            stored.setdefault(at[0], []).append(event["payload"]["set"])
        used, known = set(), set()
        for where, item in self._list("data/metadata/items.json"):
            subject, path = f"item:{item['id']}", item["path"]
            need(subject not in known, f"{where}: {show(subject)} stands twice")
            need(len(stored.get(subject, [])) == 1, f"{where}: {show(subject)} was not stored exactly once")
            known.add(subject)
            then = stored[subject][0]
            same = (item["sha256"], item["size"]) == (then["blob"], then["size"])
            need(same, f"{where}: SHA-256 or size are not those recorded when {subject} was stored")
            there = path.startswith("data/originals/") and path in self.listed and path not in used
            need(there, f"{where}: {show(path)} is not an original of this bundle, or is named twice")
            used.add(path)
            if self.found.get(path, ("",))[0] != then["blob"]:
                self.bad("original", f"{show(path)} is not the file that was stored as {subject}")
            for row in item["acquisitions"]:
                at, _ = self._take(where, {**row, "subject": subject}, acquired)
                need(
                    row["file_name"] == self._value(at, "file_name"),
                    f"{where}: a file name is not the recorded one",
                )
        for name in sorted(n for n in self.bundle.real if n.startswith("data/originals/") and n not in used):
            self.bad("unknown", f"{show(name)} belongs to no item")
        items = {subject for subject in self.lengths if subject.startswith("item:")}
        need(
            items == known and not acquired, "there are custody events of items that are not among the items"
        )
        if self.statement:
            need(len(known) == self.statement["items"], "another number of items was signed")
            asked = self.kept[f"bundle:{self.statement['bundle']}", 1]["payload"]["set"]["items_sha256"]
            ids = "".join(sorted(f"{subject[5:]}\n" for subject in known))
            need(
                hashlib.sha256(ids.encode()).hexdigest() == asked,
                "these are not the items that were asked for",
            )
        return f"{len(known)} originals have the SHA-256 that was recorded when they were stored."

    def decisions(self) -> str:
        """Decisions: each is what a person's event says, and none is left out."""
        waiting = self._kept(*DECIDED)
        total = len(waiting)
        for where, row in self._list("data/decisions.json"):
            at, event = self._take(where, row, waiting)
            actor = {key: event["actor"][key] for key in ("id", "kind", "role")}
            told = (row["id"], row["time"], row["actor"], row["value"], row["withdraws"], row["reason"])
            then: tuple[Any, ...] = (event["payload"]["id"], event["time"], actor)
            then += tuple(self._value(at, field) for field in ("value", "withdraws", "reason"))
            need(
                told == then,
                f"{where} does not say what event {at[1]} of {at[0]} says: the decision was edited",
            )
            need(actor["kind"] == "person", f"{where} was not made by a signed-in person")
        need(not waiting, f"{len(waiting)} decisions in the custody events are not among the decisions")
        return f"{total} decisions, each by a person."

    def suggestions(self) -> str:
        """Machine suggestions: each result is the one whose hash was recorded when the model ran."""
        waiting = self._kept("item.analysed")
        total = len(waiting)
        for where, row in self._list("data/detections.json"):
            at, event = self._take(where, row, waiting)
            for field in ("weights_sha256", "result_sha256"):
                same = row[field] == event["payload"]["set"][field]
                need(same, f"{where} names another {field} than event {at[1]} of {at[0]}")
            found = hashlib.sha256(canonical(row["result"])).hexdigest()
            need(found == row["result_sha256"], f"{where}: the detections are not those that were recorded")
        need(not waiting, f"{len(waiting)} recorded runs of a model are not among the suggestions")
        return f"{total} runs of a model: suggestions of a machine, not findings."

    def tables(self) -> str:
        """Tables: each CSV file says the same as the JSON file beside it."""
        for name in TABLES:
            cells = csv.reader((raw + b"\n").decode() for _, raw in self._lines(f"{name}.csv"))
            columns = next(cells, [""])
            need(columns[0].startswith("\ufeff"), f"{name}.csv does not begin as it should")
            columns[0] = columns[0][1:]
            for number, (entry, row) in enumerate(
                itertools.zip_longest(self._list(f"{name}.json"), cells), 1
            ):
                where = f"row {number} of {name}.csv"
                need(entry and row and len(row) == len(columns), f"{where} is missing, cut or added")
                for column, cell in zip(columns, row, strict=True):
                    need(
                        cell == as_cell(point(entry[1], f"/{column}")), f"{where}: {show(column)} was changed"
                    )
        return f"{len(TABLES)} tables agree with their JSON files."


def b64(text: str) -> bytes:
    """Decode base64, written as it must be. Raises ValueError."""
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "there is base64 that is not written as it must be")
    return raw


# --- The command --------------------------------------------------------------------------------------------


def trusted_key(given: str, bundle: str) -> str:
    """Give the fingerprint (SHA-256 of the raw 32-byte key, in hex) that the reader trusts."""
    text = given
    if os.path.isfile(given):
        if os.path.realpath(given).startswith(os.path.realpath(bundle) + os.sep):
            raise CouldNotCheck(
                "the key that you named lies inside the bundle and shows nothing about who made it"
            )
        with open(given, "rb") as file:
            text = file.read(MAX_SMALL_FILE).decode("utf-8", "replace")
    if "-----BEGIN" in text:
        try:
            key = load_pem_public_key(text.encode())
            return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()
        except Exception as error:  # noqa: BLE001 - OpenSSL has many errors for a broken key; all mean the same
            raise CouldNotCheck(
                f"--key: no Ed25519 public key in that file ({type(error).__name__})"
            ) from None
    if note := re.fullmatch(r"\s*\S+\+[0-9a-f]{8}\+(\S+)\s*", text):  # as signed-note tools write keys
        raw = b64(note[1])
        need(len(raw) == 33 and raw[0] == 1, "--key is a key of another kind than Ed25519")
        return hashlib.sha256(raw[1:]).hexdigest()
    digits = re.sub(r"[\s:]", "", text).lower()
    if not is_hash(digits):
        raise CouldNotCheck("--key is neither a file with a key nor a fingerprint of 64 hex digits")
    return digits


def main(arguments: list[str] | None = None, out: Callable[[str], None] = print) -> int:
    """Check the bundle that the command line names. Returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Check an Amparo evidence bundle.",
        epilog="Exit status: 0 everything is good; 1 something is bad; 2 something could not be checked.",
    )
    parser.add_argument("bundle", help="the bundle's folder or .zip file")
    parser.add_argument(
        "--key", help="the archive's key or its fingerprint, got by another way than the bundle"
    )
    given = parser.parse_args(arguments)
    csv.field_size_limit(MAX_LINE)
    try:
        out(f"Bundle: {show(given.bundle, 400)}")
        key = trusted_key(given.key, given.bundle) if given.key else None
        if not os.path.exists(given.bundle):
            raise CouldNotCheck("there is no such folder or file")
        bundle = Folder(given.bundle) if os.path.isdir(given.bundle) else Zip(given.bundle)
    except zipfile.BadZipFile as error:
        out(f"BAD. This is neither the folder of a bundle nor a whole .zip of one: {show(error)}.")
        return 1
    except Exception as error:  # noqa: BLE001 - whatever goes wrong here is 'could not check', never 'good'
        out(f"COULD NOT CHECK: {error or type(error).__name__}.")
        return 2
    return Check(bundle, key, out).run()


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = main()
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - a crash must never look like an answer
        status = 2
        print(f"COULD NOT CHECK: {type(error).__name__}", file=sys.stderr)
    sys.exit(status)
