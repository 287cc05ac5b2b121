"""PREMIS 3.0: originals as objects, custody events as events, who and what acted as agents, consent as rights."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from evidence.disclosure import WITHHELD
from evidence.formats import held
from evidence.formats.facts import BundleFacts
from evidence.formats.held import INTERCHANGE, Agents, Event, Given, Held, given, urn
from evidence.formats.words import WITHHELD_WORDS, sentence

FILE = "premis.xml"
BEGIN = """<?xml version="1.0" encoding="UTF-8"?>
<premis xmlns="http://www.loc.gov/premis/v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="3.0">
"""
TYPES = {  # the Library of Congress's words (vocabulary/preservation/eventType) where it has one
    "item.acquired": "accession",
    "item.analysed": "metadata extraction",
    "item.downloaded": "dissemination",
    "item.examined": "format identification",
    "item.exported": "information package creation",
    "item.fixity_checked": "fixity check",
    "item.hashed": "message digest calculation",
    "item.read_back": "fixity check",
    "item.rendition_made": "creation",
    "item.stored": "ingestion",
}
_UNSPEAKABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"
)  # XML 1.0 has no way to write these


def write(data: Path, about: BundleFacts) -> None:
    """Write interchange/premis.xml."""
    with (data / INTERCHANGE / FILE).open("x", encoding="utf-8", newline="\n") as file:
        file.write(BEGIN)
        for one in held.dossiers(data):
            file.writelines(_objects(one))
        for one in held.dossiers(data):
            file.writelines(_event(one, event) for event in one.events)
        file.writelines(_agents(held.agents(data)))
        file.writelines(_rights(source) for source in held.sources(data))
        file.write("</premis>\n")


def text(name: str, value: Any) -> str:
    """An element that holds text; nothing for an empty one. What XML cannot hold becomes U+FFFD."""
    if value == "":
        return ""
    words = escape(_UNSPEAKABLE.sub(chr(0xFFFD), str(value)), {"\r": "&#13;"})  # readers make LF of a bare CR
    return f"<{name}>{words}</{name}>"


def group(name: str, *inner: str) -> str:
    """An element that holds others."""
    return f"<{name}>{''.join(inner)}</{name}>"


def _identifier(name: str, value: str, *more: str) -> str:
    return group(name, text(f"{name}Type", "URN"), text(f"{name}Value", value), *more)


def _objects(one: Held) -> Iterator[str]:
    """The item as it was acquired, whether the bundle has its bytes or not, and its redactions. Events name them."""
    item = one.item
    here = next((file.path for file in one.files if file.redaction is None), "")
    original = Given(urn("item", item["id"]), here, item["sha256"], item["size"], item["media_type"])
    sources = sorted({given(row["source"]) for row in item["acquisitions"]} - {""})
    rights = [_identifier("linkingRightsStatementIdentifier", urn("rights", code)) for code in sources]
    yield _object(original, item["code"], given(item["file_name"]), rights)
    for file in one.files:
        if file.redaction:
            made = _identifier("relatedEventIdentifier", urn("event", file.redaction["event"]))
            derived = group(
                "relationship",
                text("relationshipType", "derivation"),
                text("relationshipSubType", "is redaction of"),
                _identifier("relatedObjectIdentifier", original.id),
                made,
            )
            yield _object(file, f"{item['code']}, redacted", "", [derived])


def _object(file: Given, code: str, name: str, links: list[str]) -> str:
    fixity = group("fixity", text("messageDigestAlgorithm", "SHA-256"), text("messageDigest", file.sha256))
    mime = text("formatName", file.media_type or "application/octet-stream")
    characteristics = fixity + text("size", file.size) + group("format", group("formatDesignation", mime))
    place = text("contentLocationType", "path in the bag") + text("contentLocationValue", f"data/{file.path}")
    inner = (
        _identifier("objectIdentifier", file.id),
        group(
            "objectIdentifier", text("objectIdentifierType", "item code"), text("objectIdentifierValue", code)
        ),
        group("objectCharacteristics", characteristics),
        text("originalName", name),
        group(
            "storage",
            group("contentLocation", place) if file.path else text("storageMedium", "not in this bundle"),
        ),
        *links,
    )
    return f'<object xsi:type="file">{"".join(inner)}</object>\n'


def _event(one: Held, event: Event) -> str:
    body = event.body
    kind = body["type"]
    reason = given(event.reason)
    detail = f"{sentence(event)}. Event {body['number']} of its custody, hash {event.hash}." + (
        f" Reason: {reason}" if reason else ""
    )
    return (
        group(
            "event",
            _identifier("eventIdentifier", f"urn:uuid:{event.id}"),
            text("eventType", TYPES.get(kind, kind.partition(".")[2].replace("_", " "))),
            text("eventDateTime", body["time"]),
            group("eventDetailInformation", text("eventDetail", detail)),
            _outcome(one, event),
            _identifier(
                "linkingAgentIdentifier",
                urn("actor", *event.actor_key),
                text("linkingAgentRole", "implementer"),
            ),
            _identifier(
                "linkingAgentIdentifier",
                urn("software", body["software"]),
                text("linkingAgentRole", "executing program"),
            ),
            _identifier(
                "linkingObjectIdentifier", urn("item", one.item["id"]), text("linkingObjectRole", "source")
            ),
        )
        + "\n"
    )


def _outcome(one: Held, event: Event) -> str:
    """What came of it, where the bundle says so: the decision, or what a model suggested."""
    outcome = note = ""
    for row in one.decisions:
        if row["event"] == event.hash:
            outcome = given(row["value"])
    for row in one.runs:
        if row["event"] == event.hash:
            number = WITHHELD_WORDS if row["result"] == WITHHELD else len(row["result"])
            outcome, note = f"{number} suggestions of {row['model']}", row["note"]
    if not outcome:
        return ""
    detail = group("eventOutcomeDetail", text("eventOutcomeDetailNote", note)) if note else ""
    return group("eventOutcomeInformation", text("eventOutcome", outcome), detail)


def _agents(agents: Agents) -> Iterator[str]:
    for key, name in agents.actors.items():
        kind, identity, role = key
        note = f"Role: {role}." + ("" if name or kind == "system" else " The name is withheld.")
        yield (
            group(
                "agent",
                _identifier("agentIdentifier", urn("actor", *key)),
                text("agentName", name or f"{role} {identity[:8]}".strip()),
                text("agentType", "software" if kind == "system" else "person"),
                text("agentNote", note),
            )
            + "\n"
        )
    for program in sorted(agents.software):
        name, _, version = program.partition(" ")
        yield (
            group(
                "agent",
                _identifier("agentIdentifier", urn("software", program)),
                text("agentName", name),
                text("agentType", "software"),
                text("agentVersion", version),
            )
            + "\n"
        )


def _rights(source: dict[str, Any]) -> str:
    start, end = given(source["consent_date"]), given(source["consent_ends"])
    dates = text("startDate", start) + text("endDate", end) if start else ""
    notes = (
        f"Source {source['code']}. Informed consent: {given(source['consent_informed'])}.",
        given(source["consent_scope"]),
    )
    return (
        group(
            "rights",
            group(
                "rightsStatement",
                _identifier("rightsStatementIdentifier", urn("rights", source["code"])),
                text("rightsBasis", "other"),
                group(
                    "otherRightsInformation",
                    text("otherRightsBasis", given(source["legal_basis"]) or "not stated in this bundle"),
                    group("otherRightsApplicableDates", dates) if dates else "",
                    *(text("otherRightsNote", note) for note in notes),
                ),
                _granted("hand to courts", given(source["may_go_to_courts"])),
                _granted("show in public", given(source["may_be_public"])),
            ),
        )
        + "\n"
    )


def _granted(act: str, answer: str) -> str:
    return group(
        "rightsGranted",
        text("act", act),
        text("restriction", "" if answer == "yes" else answer or "withheld"),
    )
