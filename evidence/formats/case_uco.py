"""CASE/UCO JSON-LD (CASE 1.5): files, hashes, tools, identities, and an action for each act.

A custody event becomes an InvestigativeAction, informed by the one before it; an item becomes a File and the
ProvenanceRecord that its acquisition resulted in. Working notes, tags and assignments are left out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evidence.formats import held
from evidence.formats.facts import BundleFacts
from evidence.formats.held import INTERCHANGE, Agents, Event, Given, Held, given, urn
from evidence.formats.jsonld import Graph, ref
from evidence.formats.words import sentence

FILE = "case-uco.jsonld"
UCO = "https://ontology.unifiedcyberontology.org/uco"
CONTEXT = {
    "case-investigation": "https://ontology.caseontology.org/case/investigation/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    **{f"uco-{n}": f"{UCO}/{n}/" for n in "action core identity observable tool types".split()},
}
QUIET = frozenset(
    "item.tagged item.untagged item.noted item.assigned item.assignment_closed item.postponed".split()
)


def write(data: Path, about: BundleFacts) -> None:
    """Write interchange/case-uco.jsonld."""
    agents = held.agents(data)
    with Graph(data / INTERCHANGE / FILE, CONTEXT) as graph:
        _investigation(graph, data, about)
        for entity in _agents(agents, about):
            graph.add(entity)
        tools: set[str] = set()
        for one in held.dossiers(data):
            for entity in (*_item(one), *_actions(one)):
                graph.add(entity)
            for run in one.runs:
                if _model(run) not in tools:
                    tools.add(_model(run))
                    graph.add(_tool_of(run))


def _investigation(graph: Graph, data: Path, about: BundleFacts) -> None:
    case = held.case_of(data)
    title = given(case["title"])
    entity: dict[str, Any] = {
        "@id": urn("investigation", case["id"]),
        "@type": "case-investigation:Investigation",
        "uco-core:name": f"{case['code']}: {title}" if title else case["code"],
        "uco-core:description": given(case["mandate"]) or "The mandate is withheld, or none is recorded.",
        "case-investigation:focus": "documentation of possible violations of human rights",
    }
    entries = held.listed(data / "metadata" / "items.json")
    graph.add_long(entity, "uco-core:object", (ref(urn("provenance", item["id"])) for item in entries))
    graph.add(
        {
            "@id": urn("archive", about.log),
            "@type": "uco-identity:Organization",
            "uco-core:name": about.log,
            "uco-core:description": "The archive, by the name that its custody log signs with",
        }
    )


def _agents(agents: Agents, about: BundleFacts) -> Iterator[dict[str, Any]]:
    for key, name in agents.actors.items():
        kind, identity, role = key
        if kind == "system":
            yield _tool(urn("actor", *key), f"amparo {role}", about.software.partition(" ")[2], "archive")
            continue
        yield {
            "@id": urn("actor", *key),
            "@type": "uco-identity:Person",
            "uco-core:name": name or f"{role} {identity[:8]}".strip(),
            "uco-core:description": f"Role: {role}." + ("" if name else " The name is withheld."),
        }
    for program in sorted(agents.software):
        name, _, version = program.partition(" ")
        yield _tool(urn("software", program), name, version, "archive")


def _tool(identity: str, name: str, version: str, kind: str) -> dict[str, Any]:
    return {
        "@id": identity,
        "@type": "uco-tool:Tool",
        "uco-core:name": name,
        "uco-tool:version": version,
        "uco-tool:toolType": kind,
    }


def _model(run: dict[str, Any]) -> str:
    return urn("model", run["analyser"], str(run["version"]), run["model"], run["weights_sha256"])


def _tool_of(run: dict[str, Any]) -> dict[str, Any]:
    made = _tool(_model(run), run["model"], str(run["version"]), f"{run['analyser']}, {run['task']}")
    weights = run["weights_sha256"] or "none, built into the library"
    return {**made, "uco-core:description": f"SHA-256 of its weights: {weights}. {run['note']}."}


def _item(one: Held) -> Iterator[dict[str, Any]]:
    item = one.item
    original = urn("item", item["id"])
    if not any(file.redaction is None for file in one.files):  # not in the bundle; its hash is in the log
        yield from _file(Given(original, "", item["sha256"], item["size"], item["media_type"]), item)
    for file in one.files:
        yield from _file(file, item)
    yield {
        "@id": urn("provenance", item["id"]),
        "@type": "case-investigation:ProvenanceRecord",
        "case-investigation:exhibitNumber": item["code"],
        "uco-core:description": "Custody begins at the first acquisition; what was before is the source's claim.",
        "uco-core:object": [
            ref(name) for name in dict.fromkeys([original, *(file.id for file in one.files)])
        ],
    }


def _file(file: Given, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    facets = [urn("file facet", file.id), urn("content facet", file.id)]
    digest = urn("hash", file.id, "sha256")
    size = {"@type": "xsd:integer", "@value": str(file.size)}
    yield {
        "@id": file.id,
        "@type": "uco-observable:File",
        "uco-core:name": item["code"],
        "uco-core:description": "Redacted: something was covered before it was given out."
        if file.redaction
        else "",
        "uco-core:hasFacet": [ref(facet) for facet in facets],
    }
    yield {
        "@id": facets[0],
        "@type": "uco-observable:FileFacet",
        "uco-observable:fileName": given(item["file_name"]) if file.redaction is None else "",
        "uco-observable:filePath": f"data/{file.path}" if file.path else "",
        "uco-observable:sizeInBytes": size,
    }
    yield {
        "@id": facets[1],
        "@type": "uco-observable:ContentDataFacet",
        "uco-observable:mimeType": file.media_type,
        "uco-observable:sizeInBytes": size,
        "uco-observable:hash": ref(digest),
    }
    yield {
        "@id": digest,
        "@type": "uco-types:Hash",
        "uco-types:hashMethod": "SHA256",
        "uco-types:hashValue": {"@type": "xsd:hexBinary", "@value": file.sha256.upper()},
    }


def _actions(one: Held) -> Iterator[dict[str, Any]]:
    before = None
    runs = {run["event"]: run for run in one.runs}
    redactions = {file.redaction["event"]: file.id for file in one.files if file.redaction}
    record, original = urn("provenance", one.item["id"]), urn("item", one.item["id"])
    for event in one.events:
        if event.body["type"] in QUIET:
            continue
        tools = [urn("software", event.body["software"])]
        if event.hash in runs:
            tools.append(_model(runs[event.hash]))
        result = record if event.body["type"] == "item.acquired" else redactions.get(event.hash)
        yield {
            "@id": f"urn:uuid:{event.id}",
            "@type": "case-investigation:InvestigativeAction",
            "uco-core:name": sentence(event),
            "uco-core:description": _words(event),
            "uco-action:endTime": {"@type": "xsd:dateTime", "@value": event.body["time"]},
            "uco-action:performer": ref(urn("actor", *event.actor_key)),
            "uco-action:instrument": [ref(tool) for tool in tools],
            "uco-action:object": ref(original),
            "uco-action:result": ref(result) if result else None,
            "case-investigation:wasInformedBy": ref(before) if before else None,
        }
        before = f"urn:uuid:{event.id}"


def _words(event: Event) -> str:
    place = f"Event {event.body['number']} of its custody, hash {event.hash}."
    reason = given(event.reason)
    return f"{place} Reason: {reason}" if reason else place
