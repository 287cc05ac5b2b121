"""RO-Crate metadata: data/ is the crate's root, so that the bag's manifests hold the metadata like any other payload.

Version 1.2 is the newest that both is a recommendation with a context of its own and is understood by the validators
in use; 1.3, which libraries write when nobody says otherwise, came too late for the readers that courts have.
"""

import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evidence.formats import held
from evidence.formats.facts import BundleFacts
from evidence.formats.held import Agents, Held, given
from evidence.formats.jsonld import Graph, ref

VERSION = "https://w3id.org/ro/crate/1.2"
METADATA, PREVIEW = "ro-crate-metadata.json", "ro-crate-preview.html"
TYPES = {
    ".csv": "text/csv",
    ".dat": "text/plain",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".jsonld": "application/ld+json",
    ".opt": "text/csv",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".xml": "application/xml",
}
PROOFS = "custody/proofs"
FOLDERS = {  # too many files to name each; the manifests do
    PROOFS: "A proof for each event that a checkpoint pins (C2SP tlog-proof)",
    "custody/timestamps": "Timestamps of the log's checkpoint (RFC 3161)",
    "interchange/text": "What is known of each item, as text, for the load files",
}
UNNAMED = "The name that it came with is withheld."
REDACTED = "Redacted: something was covered before it was given out."
CONDITIONS = (
    "No licence is granted. The files are given out for the purpose that the bundle's request states, under the consent "
    "and legal basis of each source in metadata/sources.json. What is withheld is not to be sought out."
)


def write(data: Path, about: BundleFacts) -> None:
    """Write ro-crate-metadata.json and a plain page beside it."""
    others = sorted(_others(data))
    with Graph(data / METADATA, f"{VERSION}/context") as graph:
        _root(graph, data, about, others)
        agents = held.agents(data)
        for entity in (*_around(data, about, agents), *_acting(data, agents)):
            graph.add(entity)
        for path in others:
            graph.add(_file(data, path))
        for one in held.dossiers(data):
            for entity in _item(one):
                graph.add(entity)
    (data / PREVIEW).write_text(_preview(about, others), encoding="utf-8")


def _others(data: Path) -> Iterator[str]:
    """All files that belong to no item and are written by now, and the folders of many."""
    yield from (f"{name}/" for name in FOLDERS if (data / name).is_dir() or name == PROOFS)
    for folder, folders, names in os.walk(data):
        folders[:] = [
            name for name in folders if Path(folder, name).relative_to(data).as_posix() not in FOLDERS
        ]
        for name in names:
            path = Path(folder, name).relative_to(data).as_posix()
            if path not in (METADATA, PREVIEW):
                yield path


def _root(graph: Graph, data: Path, about: BundleFacts, others: list[str]) -> None:
    graph.add(
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "conformsTo": ref(VERSION),
            "about": ref("./"),
            "name": "What this crate holds",
        }
    )
    case = held.case_of(data)
    part = f", volume {about.volume} of {about.volumes}" if about.volumes > 1 else ""
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Evidence bundle {about.name}{part}",
        "description": f"Originals of case {case['code']}, what is claimed and established about them, and the events "
        "of the custody log that say what happened to them. The bag that this folder lies in is signed.",
        "identifier": f"urn:uuid:{about.bundle}",
        "datePublished": about.requested_at,
        "license": ref("#conditions"),
        "publisher": ref("#archive"),
        "mentions": [ref("#made")],
    }

    def parts() -> Iterator[dict[str, str]]:
        for path in [*others, *about.pdfs]:
            yield ref(quote(path))
        for one in held.dossiers(data):
            for file in one.files:
                yield ref(quote(file.path))

    graph.add_long(root, "hasPart", parts())


def _around(data: Path, about: BundleFacts, agents: Agents) -> Iterator[dict[str, Any]]:
    yield {
        "@id": "#conditions",
        "@type": "CreativeWork",
        "name": "Conditions of use",
        "description": CONDITIONS,
    }
    yield {"@id": "#archive", "@type": "Organization", "name": about.log, "url": f"https://{about.log}/"}
    for program in sorted(agents.software | {about.software}):
        name, _, version = program.partition(" ")
        yield {
            "@id": _program(program),
            "@type": "SoftwareApplication",
            "name": name,
            "version": version,
            "url": f"https://{about.log}/",
        }
    own = next(events for subject, events in held.chains(data) if subject == f"bundle:{about.bundle}")
    yield {
        "@id": "#made",
        "@type": "CreateAction",
        "name": "The bundle was asked for and made",
        "description": given(own[0].reason),
        "agent": ref(_person(own[0].actor_key)),
        "instrument": ref(_program(about.software)),
        "startTime": own[0].body["time"],
        "result": ref("./"),
    }
    for path in about.pdfs:
        yield {
            "@id": quote(path),
            "@type": "File",
            "name": path,
            "encodingFormat": "application/pdf",
        }


def _acting(data: Path, agents: Agents) -> Iterator[dict[str, Any]]:
    """People and parts of the archive by role and id, sources by code; names only where they are given out."""
    for key, name in agents.actors.items():
        kind, identity, role = key
        yield {
            "@id": _person(key),
            "@type": "SoftwareApplication" if kind == "system" else "Person",
            **({"version": "as each event says", "url": "#archive"} if kind == "system" else {}),
            "name": name or f"{role} {identity[:8]}".strip(),
            "description": "" if name or kind == "system" else "The name is withheld.",
            "identifier": identity,
            "jobTitle": role if kind != "system" else "",
        }
    for source in held.sources(data):
        yield {
            "@id": _source(source["code"]),
            "@type": "Thing",
            "name": f"Source {source['code']}",
            "alternateName": given(source["pseudonym"]),
            "description": f"Kind: {source['kind']}. Informed consent: {source['consent_informed']}. May go to courts: "
            f"{source['may_go_to_courts']}. May be public: {source['may_be_public']}.",
        }


def _person(key: tuple[str, str, str]) -> str:
    return f"#actor-{held.named('actor', *key)}"


def _source(code: str) -> str:
    return f"#source-{quote(code)}"


def _program(software: str) -> str:
    return f"#software-{quote(software.replace(' ', '-'))}"


def _file(data: Path, path: str) -> dict[str, Any]:
    if path.endswith("/"):
        return {"@id": path, "@type": "Dataset", "name": path, "description": FOLDERS[path[:-1]]}
    return {
        "@id": quote(path),
        "@type": "File",
        "name": path,
        "encodingFormat": TYPES.get(Path(path).suffix, "application/octet-stream"),
        "contentSize": str((data / path).stat().st_size),
    }


def _item(one: Held) -> Iterator[dict[str, Any]]:
    item = one.item
    events = {event.hash: event for event in one.events}
    name = given(item["file_name"])
    for file in one.files:
        yield {
            "@id": quote(file.path),
            "@type": "File",
            "name": f"{item['code']}: {name}" if name else item["code"],
            "description": " ".join(
                filter(None, (REDACTED if file.redaction else "", "" if name else UNNAMED))
            ),
            "identifier": file.id,
            "encodingFormat": file.media_type or "application/octet-stream",
            "contentSize": str(file.size),
            "sha256": file.sha256,
        }
    for acquisition in item["acquisitions"]:
        event = events[acquisition["event"]]
        source = given(acquisition["source"])
        yield {
            "@id": f"#event-{event.hash}",
            "@type": "CreateAction",
            "name": f"{item['code']} was acquired",
            "description": f"Tool: {given(acquisition['tool'])}. Event {event.body['number']} of its custody.",
            "agent": ref(_person(event.actor_key)),
            "instrument": ref(_program(event.body["software"])),
            "participant": ref(_source(source)) if source else None,
            "endTime": acquisition["at"],
            "result": [ref(quote(file.path)) for file in one.files if not file.redaction],
        }


def _preview(about: BundleFacts, others: list[str]) -> str:
    rows = "".join(
        f'<li><a href="{escape(quote(path))}">{escape(path)}</a></li>\n' for path in [*about.pdfs, *others]
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{escape(about.name)}</title></head>
<body>
<h1>Evidence bundle {escape(about.name)}</h1>
<p>{about.items} items. The originals lie under originals/, each with its SHA-256 in metadata/items.csv. {CONDITIONS}</p>
<ul>
{rows}</ul>
</body>
</html>
"""
