"""Read a bag back: our own bundles, and any BagIt bag. docs/bundle.md, "Reading a bag back", says what becomes of what.

check      the rules of RFC 8493 (evidence.bagcheck) and, for a bundle of ours, the standalone verifier
take       when nothing is wrong: each file becomes an item through the one way in, what is left goes in as one record,
           and the case's chain says which bag it was
A journal in the instance's data remembers what was hashed, so that a run that was killed goes on where it stopped.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from archive import custody, ingest, search, vault
from archive.custody import Actor
from archive.errors import BadInput, ToolFailed
from archive.models import Acquisition, Case, Claim, Item
from archive.vault import Progress, silent
from evidence import bagcheck
from evidence.bagcheck import Bag, Fault, Report, open_bag

VERIFIER = Path(__file__).parent / "verifier" / "verify_bundle.py"
STATEMENT = "signature/statement.json"
OURS = ("data/originals/", "data/redacted/")  # what of a bundle of ours becomes items; the rest is its record
TOOL = f"{settings.SOFTWARE} bundle import"
CLAIMED = ("about", "precision", "utc_offset", "radius_m", "text", "local_time", "latitude", "longitude")
MAX_LINE = 16 * 2**20


@dataclass
class Checked:
    """What a check came to; `statement` is what a bundle of ours states, `verifier` the answer of its verifier."""

    report: Report
    statement: dict[str, Any] | None = None
    statement_sha256: str = ""
    verifier: str = ""

    @property
    def answer(self) -> str:
        """good, bad, or could not check."""
        return self.report.answer


@dataclass
class Imported:
    """What an import came to."""

    checked: Checked
    new: list[Item] = field(default_factory=list)
    already_held: list[Item] = field(default_factory=list)
    record: Item | None = None


class Journal:
    """What earlier runs over the same bag came to, a JSON line each, in the instance's data."""

    def __init__(self, path: Path) -> None:
        name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
        self.file = Path(settings.DATA_DIR) / "imports" / f"{name}.jsonl"
        self.hashed: dict[str, Any] = {}
        self.begun: str | None = None  # the case that an import which did not end was for
        with contextlib.suppress(FileNotFoundError):
            for line in self.file.read_text().splitlines():
                with contextlib.suppress(ValueError):  # the last line of a run that was killed
                    self._hear(json.loads(line))

    def _hear(self, entry: dict[str, Any]) -> None:
        if "case" in entry:
            self.begun = entry["case"]
        else:
            self.hashed[entry["path"]] = entry

    def write(self, **entry: Any) -> None:
        """Add a line."""
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as out:
            out.write(json.dumps(entry) + "\n")
        self._hear(entry)

    def forget(self) -> None:
        """The bag is done with."""
        self.file.unlink(missing_ok=True)


# --- checking ---------------------------------------------------------------------------------------------------


def check(path: Path, *, keys: list[str] | None = None, progress: Progress = silent) -> Checked:
    """Check a bag and take nothing. `keys` are those to trust for a bundle of ours. Raises BadInput if unreadable."""
    bag, journal = open_bag(path), Journal(path)
    try:
        checked = _check(bag, path, journal, keys or [], progress)
    finally:
        bag.close()
    if journal.begun is None:
        journal.forget()
    return checked


def _check(bag: Bag, path: Path, journal: Journal, keys: list[str], progress: Progress) -> Checked:
    report = bagcheck.check(
        bag,
        progress=progress,
        known=journal.hashed,
        tell=lambda name, entry: journal.write(path=name, **entry),
    )
    checked = Checked(report)
    if report.answer == "good" and STATEMENT in bag.files:
        _read_statement(bag, checked)
        if checked.statement:
            progress("verify", 0)
            _verify(checked, path, keys)
    return checked


def _read_statement(bag: Bag, checked: Checked) -> None:
    """Note the statement of a bundle of ours; the file of that name may be somebody else's."""
    with bag.open(STATEMENT) as file:
        raw = file.read(2**20)
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(raw)
        if isinstance(said, dict) and str(said.get("format", "")).startswith("amparo-bundle "):
            checked.statement, checked.statement_sha256 = said, hashlib.sha256(raw).hexdigest()


def _verify(checked: Checked, path: Path, keys: list[str]) -> None:
    """Ask the standalone verifier, as any recipient would: in a process of its own, isolated from us."""
    trusted = [word for key in keys for word in ("--key", key)]
    with vault.scratch() as folder:
        report = folder / "report"
        done = subprocess.run(
            [sys.executable, "-I", str(VERIFIER), str(path.absolute()), *trusted, "--report", str(report)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={},
        )
        if done.returncode not in (0, 1, 3):
            raise ToolFailed(f"The verifier did not run ({done.stderr.strip()[:200]}). Nothing was imported.")
        facts = json.loads(report.with_suffix(".json").read_text())
    checked.verifier = facts["answer"]
    for step in facts["steps"]:
        for said in step["bad"]:
            checked.report.faults.append(Fault("verifier", f"step {step['number']}", said["words"]))
        for said in step["could_not_check"]:
            about = checked.report.warnings if said["code"] == "who" else checked.report.unknown
            about.append(Fault("verifier", f"step {step['number']}", said["words"]))


# --- taking -----------------------------------------------------------------------------------------------------


def take(
    *, case: Case, actor: Actor, path: Path, keys: list[str] | None = None, progress: Progress = silent
) -> Imported:
    """Check a bag and, if it is good, take it into a case. Otherwise nothing is taken; `checked` says why.

    Raises NotAllowed, BadInput (closed case, unreadable), LimitExceeded, StorageFull: what was taken by then stays,
    and the same command goes on from there.
    """
    ingest.require_open(case, actor, ingest.Origin(ingest.COMMAND, TOOL, ""))
    bag, journal = open_bag(path), Journal(path)
    try:
        checked = _check(bag, path, journal, keys or [], progress)
        done = Imported(checked)
        if checked.answer == "good":
            resumed = journal.begun == str(case.pk)
            if not resumed:
                journal.write(case=str(case.pk))
            _Taking(bag, case, actor, done, resumed=resumed).run(progress)
            journal.forget()
        elif journal.begun is None:
            journal.forget()
        return done
    finally:
        bag.close()


class _Taking:
    def __init__(self, bag: Bag, case: Case, actor: Actor, done: Imported, *, resumed: bool) -> None:
        self.bag, self.case, self.actor, self.done, self.resumed = bag, case, actor, done, resumed
        self.report, self.statement = done.checked.report, done.checked.statement

    def run(self, progress: Progress) -> None:
        """Items first, then the record, last the event of the case that says that all of it is here."""
        told = dict(self._told()) if self.statement else {}
        names = [name for name in self.report.payload if not self.statement or name.startswith(OURS)]
        total, at = sum(self.report.sizes[name] for name in names), 0
        for name in names:
            entry = told.get(name, {})
            acquired = self._acquire(name, entry)
            (self.done.already_held if acquired.already_held else self.done.new).append(acquired.item)
            self._claim(acquired.item, entry)
            at += self.report.sizes[name]
            progress("import", at, total)
        rest = sorted(self.bag.files.keys() - set(names))
        file_name = f"{self.bag.name[:200]} - record of the bag.zip"
        with vault.scratch() as folder, (folder / "record.zip").open("w+b") as record:
            bagcheck.write_record(self.bag, rest, record)
            record.seek(0)
            digest = hashlib.file_digest(record, "sha256").hexdigest()
            record.seek(0)
            self.done.record = self._once(record, self._origin(file_name, ""), digest).item
        with transaction.atomic(durable=True):
            custody.record(self.case, event="case.bundle_imported", actor=self.actor, payload=self._payload())

    def _payload(self) -> dict[str, Any]:
        signed = self.statement or {}
        manifests = {
            name: h["sha256"] for name, h in self.report.hashes.items() if name.startswith("manifest-")
        }
        return {
            "bagit": self.report.version,
            "manifests": manifests,
            "new": len(self.done.new),
            "already_held": len(self.done.already_held),
            "record": self.done.record.sha256 if self.done.record else "",
            "bundle": str(signed.get("bundle", "")),
            "key": str(signed.get("key", "")),
            "statement": self.done.checked.statement_sha256,
            "checkpoint": signed.get("checkpoint"),
            "verifier": self.done.checked.verifier,
        }

    def _origin(self, file_name: str, path: str) -> ingest.Origin:
        longest = Acquisition._meta.get_field("path").max_length or 0
        return ingest.Origin(
            ingest.COMMAND, TOOL, file_name[:1024], path=f"{self.bag.name}/{path}"[-longest:]
        )

    def _acquire(self, name: str, entry: dict[str, Any]) -> ingest.Acquired:
        stated = entry.get("file_name")
        file_name = stated if isinstance(stated, str) and stated else name.rpartition("/")[2]
        with self.bag.open(name) as stream:
            return self._once(stream, self._origin(file_name, name), self.report.hashes[name]["sha256"])

    def _once(self, stream: IO[bytes], origin: ingest.Origin, sha256: str) -> ingest.Acquired:
        """Take one file, unless the run that was killed before this one has taken it."""
        if self.resumed:
            held = Acquisition.objects.filter(
                item__case=self.case, item__blob_id=sha256, tool=TOOL, path=origin.path
            )
            if row := held.select_related("item").first():
                return ingest.Acquired(row.item, already_held=True)
        return ingest.acquire(
            case=self.case, actor=self.actor, stream=cast(Any, stream), origin=origin, expected_sha256=sha256
        )

    # --- what a bundle of ours says of its files: kept as claims, never as if it had happened here

    def _told(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with self.bag.open("data/metadata/items.json") as file:
            for line in _lines(file):
                entry = json.loads(line.rstrip(b",")) if line not in (b"[", b"]") else {}
                if entry.get("path"):
                    yield unicodedata.normalize("NFC", entry["path"]), entry
                for redacted in entry.get("redactions", []):
                    yield unicodedata.normalize("NFC", redacted["path"]), {}

    def _claim(self, item: Item, entry: dict[str, Any]) -> None:
        """Claims and findings of the other archive, as claims whose origin is the bundle; each is recorded once."""
        known = {
            (c.about, c.origin, c.text, c.local_time, c.latitude, c.longitude) for c in item.claims.all()
        }
        with transaction.atomic(durable=True):
            for kind in ("claims", "findings"):
                said = entry.get(kind, [])
                for row in said if isinstance(said, list) else [said]:
                    if not isinstance(row, dict):
                        why = f"One of the {kind} of {item.code} is none; it is kept in the record alone."
                        self.report.warnings.append(Fault("claim", "data/metadata/items.json", why))
                        continue
                    values = {
                        name: row[name]
                        for name in CLAIMED
                        if row.get(name) not in (None, "", {"withheld": True})
                    }
                    origin = f"bundle, {kind[:-1]}"
                    claim = Claim(item=item, at=timezone.now(), origin=origin, **values)
                    try:
                        claim.clean_fields(
                            exclude=[f.name for f in Claim._meta.fields if f.name not in values]
                        )
                    except ValidationError as error:
                        why = f"A {kind[:-1]} of {item.code} is kept in the record alone: {error.messages[0]}"
                        self.report.warnings.append(Fault("claim", "data/metadata/items.json", why))
                        continue
                    mark = (
                        claim.about,
                        origin,
                        claim.text,
                        claim.local_time,
                        claim.latitude,
                        claim.longitude,
                    )
                    if mark not in known:
                        known.add(mark)
                        custody.write(claim, event="item.claim_recorded", actor=self.actor)
            search.refresh([item.pk])


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines of a file without their ends. Raises BadInput for one that no bundle has."""
    while line := file.readline(MAX_LINE + 1):
        if not line.endswith(b"\n"):
            raise BadInput(
                "data/metadata/items.json has a line that no bundle has. Nothing more was imported."
            )
        yield line[:-1]
