"""Two statements as plain text; `evidence.report` prints the same words as PDF.

certification.txt       prepared for a person to complete and sign: FRE 902(13) and (14), Berkeley Protocol. Never signed here
certification-items.txt the list that it identifies by SHA-256
custody-statement.txt   where custody begins, and what cannot be claimed
"""

import hashlib
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evidence.formats import held
from evidence.formats.facts import BundleFacts
from evidence.formats.overview import Overview, overview
from evidence.formats.words import fours, moment, said

CERTIFICATION, ITEMS, BEGINNING = "certification.txt", "certification-items.txt", "custody-statement.txt"
WIDTH = 100
BLANK = "_" * 50


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, and lines to be filled in by hand."""

    heading: str
    paragraphs: tuple[str, ...]
    blanks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statement:
    """A document in words."""

    title: str
    note: str
    sections: tuple[Section, ...]


def write(data: Path, about: BundleFacts) -> None:
    """Write the three text files."""
    _write_items(data)
    seen = overview(data)
    (data / CERTIFICATION).write_text(
        _plain(certification(data, about, seen)), encoding="utf-8", newline="\n"
    )
    (data / BEGINNING).write_text(_plain(beginning(about, seen)), encoding="utf-8", newline="\n")


def _write_items(data: Path) -> None:
    with (data / ITEMS).open("x", encoding="utf-8", newline="\n") as file:
        for one in held.dossiers(data):
            for given in one.files:
                kind = "redacted" if given.redaction else "original"
                file.write(
                    f"{one.item['code']}  {kind}  {given.sha256}  {given.size} bytes  data/{given.path}\n"
                )
            if not one.files:
                file.write(f"{one.item['code']}  not in this bundle  {one.item['sha256']}\n")


def _plain(statement: Statement) -> str:
    return "\n".join(_lines(statement)) + "\n"


def _lines(statement: Statement) -> Iterator[str]:
    yield from (statement.title.upper(), "", *textwrap.wrap(statement.note, WIDTH))
    for number, section in enumerate(statement.sections, 1):
        yield from ("", f"{number}. {section.heading}")
        for paragraph in section.paragraphs:
            yield from ("", *textwrap.wrap(paragraph, WIDTH))
        for blank in section.blanks:
            yield from ("", f"{blank}: {BLANK}")


# --- certification ------------------------------------------------------------------------------------------


def certification(data: Path, about: BundleFacts, seen: Overview) -> Statement:
    """The certification, with blanks for what only the person who signs can say."""
    listed = hashlib.sha256()
    with (data / ITEMS).open("rb") as file:
        while piece := file.read(2**20):
            listed.update(piece)
    origin, size, root = seen.checkpoint
    part = f", volume {about.volume} of {about.volumes}" if about.volumes > 1 else ""
    return Statement(
        "Certification of records of an electronic system and of data copied from it",
        "Prepared for signature; not signed. A machine filled in what the archive's log states. It has no effect until a "
        "qualified person has completed it, struck out what they cannot confirm, and signed. Made for Rules 902(13) and "
        "902(14) of the US Federal Rules of Evidence and for the Berkeley Protocol on Digital Open Source Investigations; "
        "other courts ask for other words. Whoever offers it gives the other party reasonable written notice, and the "
        "records and this certification for inspection (Rule 902(11)). Take advice from counsel.",
        (
            Section(
                "Who certifies",
                ("I make this certification as a person qualified to do so.",),
                ("Full name", "Position", "Organisation", "Address"),
            ),
            Section(
                "Qualification",
                (
                    "State training, experience, and your part in running or using the system, so that a court can see why you "
                    f"can describe its process. The system is {about.software}; its custody log is named {origin}.",
                ),
                ("Qualification", "Since when I have worked with this system"),
            ),
            Section(
                "The process (Rule 902(13))",
                (
                    "The system takes in files. While a file comes in, its SHA-256 is computed over its bytes; the bytes are "
                    "stored encrypted and are not changed afterwards. They are read back and hashed again, and the answer is "
                    "recorded. Each act on a file is recorded as an event at the time it is done, in one transaction with the act. "
                    "An event holds the hash of the event before it of the same file; all events lie in one Merkle tree "
                    "(RFC 6962), whose head is signed.",
                    f"The files of this bundle came in between {moment(seen.acquired[0])} and {moment(seen.acquired[1])}, "
                    f"by: {', '.join(said(tool) for tool in sorted(seen.tools))}.",
                    "To my knowledge the system was working properly during that time, or its faults did not affect these "
                    "records, except as I state here.",
                ),
                ("Exceptions",),
            ),
            Section(
                "Digital identification (Rule 902(14))",
                (
                    "The files in this bundle were copied from the system and identified by their hash values. A file whose "
                    "SHA-256 differs from the one recorded when it came in is refused, and no bundle is made. Equal SHA-256 values "
                    "show that the copy has the same bytes as the file that came in. The bundle lists SHA-256 and SHA-512 of each "
                    "file (manifest-sha256.txt, manifest-sha512.txt).",
                    f"Bundle {about.name} (urn:uuid:{about.bundle}{part}): {seen.originals} originals and {seen.redactions} redacted "
                    f"files of {seen.items} items. A redacted file is not a copy of the original; it names the SHA-256 of the "
                    "original it was made from.",
                    f"The list of items is data/{ITEMS}; its SHA-256 is {fours(listed.hexdigest())}.",
                    f"Head of the log: {origin}, {size} events, root {root}. SHA-256 of the signing key: {fours(about.key)}.",
                ),
            ),
            Section(
                "Collection and preservation (Berkeley Protocol)",
                (
                    "Who brought each item, when, by what means, and under which name are in data/metadata/items.json "
                    "(acquisitions), by role and id where names are withheld. Sources appear by pseudonym, with consent and legal "
                    "basis, in data/metadata/sources.json. Web addresses and folders that files came from are there where they are "
                    "given out. What a file or source says is kept apart from what people of the archive established.",
                    "What was done before a file came in, and what custody does not show, is stated in data/custody-statement.txt, "
                    "which is part of this certification.",
                ),
                ("Further steps of collection that I took or know of",),
            ),
            Section(
                "Check",
                ("I checked this bundle before signing, with the program and the key named below.",),
                ("Program and version", "Result", "Checked on"),
            ),
            Section(
                "Declaration",
                (
                    "Strike out the one that does not apply.",
                    "Signed within the United States: I declare under penalty of perjury that the foregoing is true and correct.",
                    "Signed outside the United States: I declare under penalty of perjury under the laws of the United States of "
                    "America that the foregoing is true and correct (28 U.S.C. 1746; Rule 902(12) asks that a false statement would be "
                    "punishable where it is signed).",
                ),
                ("Place", "Date", "Signature"),
            ),
        ),
    )


# --- where custody begins -----------------------------------------------------------------------------------


def beginning(about: BundleFacts, seen: Overview) -> Statement:
    """Where custody begins, what the bundle can show and what it cannot."""
    origin, size, root = seen.checkpoint
    outside = [
        "the checkpoint is cosigned by witnesses (data/custody/cosigned-checkpoint.txt)"
        if seen.cosigned
        else "",
        f"it carries {seen.timestamps} timestamp(s) of outside authorities (data/custody/timestamps)"
        if seen.timestamps
        else "",
    ]
    vouched = " and ".join(filter(None, outside))
    anchor = (
        f"Here {vouched}."
        if vouched
        else "Here nobody outside did: the checkpoint has neither cosignatures nor timestamps, and whoever holds the archive's "
        "key could have written another history before this bundle was made."
    )
    return Statement(
        "Where custody begins, and what cannot be claimed",
        f"About evidence bundle {about.name} (urn:uuid:{about.bundle}) of case {seen.case['code']}, {seen.items} items, made by "
        f"{about.software} from the custody log {origin}.",
        (
            Section(
                "Where custody begins",
                (
                    "Custody begins when a file comes in: at the events “Hashed while it streamed in”, “Stored in the vault” "
                    "and “Acquired” of each item. From there on each act that the system carried out is an event with its time, its "
                    "actor and its place in the log.",
                    f"The first of these files came in at {moment(seen.acquired[0])}, the last at {moment(seen.acquired[1])}. The same "
                    "bytes may have come in more than once; each time is listed.",
                    "Everything before that is what somebody says: who filmed, when and where, who held the file, what was done to "
                    "it. Such statements, and dates and places inside the files, are listed as claims with their origin.",
                ),
            ),
            Section(
                "What the bundle shows",
                (
                    "That each original has the bytes that came in (SHA-256). That these events were recorded, in this order, and "
                    f"that they are all that the log held of each item at its head of {size} events, root {root}. Who decided what, "
                    "by account. How to check all this without the archive is in verify.md, and step by step in the verifier.",
                    f"That the log was not written anew later is vouched for by those outside who saw its head. {anchor}",
                ),
            ),
            Section(
                "What cannot be claimed",
                (
                    "That what a file shows is true, complete, or what it is said to show; that it was not staged, edited or made by "
                    "a machine before it came in.",
                    "That a stated time or place of capture is right, unless people established it; then the basis is stated. Names of "
                    "devices and dates inside files can be written by anyone.",
                    "Who sat at the keyboard: an event names an account. That the archive's clock was right: an event's time is the "
                    "archive's own; a timestamp of an outside authority shows only that the log's head existed by then.",
                    "That nobody saw or copied anything outside the system: the log holds what the system did, not what was done to "
                    "its machines.",
                    "Anything from models. They mark what may be seen, with uncalibrated scores; they miss things and mark what is not "
                    "there. A suggestion is not a finding, and that nothing was marked says nothing.",
                    "Anything from what is withheld: withheld values stand in the events as commitments and can be opened later. "
                    "Items that are not in this bundle are not spoken of.",
                    "A redacted file shows less than its original, on purpose. It is tied to the original by hash; what was covered "
                    "cannot be recovered from it.",
                ),
            ),
        ),
    )
