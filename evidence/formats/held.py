"""What lies in a bundle's data folder, read back piece by piece: item by item, each with its events."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from archive.custody.canonical import event_hash
from evidence.disclosure import WITHHELD

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "bundle.amparo")
INTERCHANGE = "interchange"


@dataclass(frozen=True)
class Event:
    """One event of the log, with those of its values that the bundle gives out."""

    body: dict[str, Any]
    hash: str
    position: int | None  # in the log; None where the bundle does not say
    opened: dict[str, Any]  # values by pointer

    def value(self, pointer: str, committed: Any) -> Any:
        """A field's value: as it stands, as it was opened, or that it is withheld."""
        if not isinstance(committed, dict) or list(committed) != ["commitment"]:
            return committed
        return self.opened.get(pointer, WITHHELD)

    @property
    def reason(self) -> Any:
        """The reason that was given for the act."""
        return self.value("/reason", self.body["reason"])

    @property
    def actor_name(self) -> Any:
        """The actor's name, or that it is withheld; empty for what has none."""
        return self.value("/actor/name", self.body["actor"]["name"])

    @property
    def actor_key(self) -> tuple[str, str, str]:
        """What tells one actor from another: kind, id and role. Names are no part of it."""
        actor = self.body["actor"]
        return actor["kind"], actor["id"], actor["role"]

    @property
    def id(self) -> str:
        """A name that is the same in every bundle that holds this event."""
        return named("event", self.hash)


@dataclass
class Held:
    """All that a bundle says of one item."""

    item: dict[str, Any]
    events: list[Event]
    decisions: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def files(self) -> "list[Given]":
        """The files of the item that are in the bundle: its original, its redactions, both, or none."""
        item = self.item
        found = []
        if isinstance(item["path"], str):
            name, size = urn("item", item["id"]), item["size"]
            found.append(
                Given(name, item["path"].removeprefix("data/"), item["sha256"], size, item["media_type"])
            )
        for row in item["redactions"]:
            name, path = urn("redaction", row["event"]), row["path"].removeprefix("data/")
            found.append(Given(name, path, row["sha256"], row["size"], row["media_type"], row))
        return found


@dataclass(frozen=True)
class Given:
    """A file of an item that is in the bundle."""

    id: str
    path: str  # below data/
    sha256: str
    size: int
    media_type: str
    redaction: dict[str, Any] | None = None  # its entry in items.json; None for the original


@lru_cache(maxsize=128)
def named(*parts: str) -> str:
    """A UUID that anyone can find again from what it names."""
    return str(uuid.uuid5(NAMESPACE, "\n".join(parts)))


def urn(*parts: str) -> str:
    """The same as a URN."""
    return f"urn:uuid:{named(*parts)}"


def given(value: Any) -> str:
    """A value as text; nothing where it is withheld, unknown or empty."""
    return "" if value is None or value == WITHHELD else str(value)


# --- reading ------------------------------------------------------------------------------------------------


def listed(file: Path) -> Iterator[dict[str, Any]]:
    """Entries of a JSON list that has one a line."""
    with file.open("rb") as lines:
        for line in lines:
            entry = line.rstrip(b",\n")
            if entry not in (b"[", b"]"):
                yield json.loads(entry)


def lines(file: Path) -> Iterator[dict[str, Any]]:
    """Entries of a file with one JSON value a line."""
    with file.open("rb") as rows:
        for row in rows:
            yield json.loads(row)


def chains(data: Path) -> Iterator[tuple[str, list[Event]]]:
    """Each subject's events, in the order of the bundle: case, bundle, then items."""
    for subject, group in groupby(_events(data / "custody"), key=lambda event: event.body["subject"]):
        yield subject, list(group)


def _events(custody: Path) -> Iterator[Event]:
    openings, places = lines(custody / "openings.jsonl"), lines(custody / "inclusion.jsonl")
    waiting = next(openings, None)
    with (custody / "events.jsonl").open("rb") as file:
        for line in file:
            raw = line.rstrip(b"\n")
            body, opened = json.loads(raw), {}
            place = body["subject"], body["number"]
            while waiting and (waiting["subject"], waiting["number"]) == place:
                opened[waiting["pointer"]] = waiting["value"]
                waiting = next(openings, None)
            yield Event(body, event_hash(raw).hex(), next(places)["position"], opened)


def dossiers(data: Path) -> Iterator[Held]:
    """Each item of the bundle with all that belongs to it, in the order of metadata/items.json."""
    threads = ((subject, events) for subject, events in chains(data) if subject.startswith("item:"))
    questions = {str(row["id"]): row["text"] for row in case_of(data).get("questions", ())}
    decided_rows = (
        {**row, "asked": questions.get(str(row.get("question")), "")}
        for row in listed(data / "decisions.json")
    )
    decisions = groupby(decided_rows, key=lambda row: row["item"])
    runs = groupby(listed(data / "detections.json"), key=lambda row: row["item"])
    decided, looked = next(decisions, None), next(runs, None)
    for item in listed(data / "metadata" / "items.json"):
        subject, events = next(threads)
        if subject != f"item:{item['id']}":
            raise ValueError(f"{subject} stands where the events of {item['code']} should")
        held = Held(item, events)
        if decided and decided[0] == item["code"]:
            held.decisions, decided = list(decided[1]), next(decisions, None)
        if looked and looked[0] == item["code"]:
            held.runs, looked = list(looked[1]), next(runs, None)
        yield held


def case_of(data: Path) -> dict[str, Any]:
    """The case's fields."""
    return json.loads((data / "metadata" / "case.json").read_bytes())


def sources(data: Path) -> Iterator[dict[str, Any]]:
    """The sources of these items, by code and pseudonym."""
    return listed(data / "metadata" / "sources.json")


@dataclass(frozen=True)
class Agents:
    """Everyone and everything that acted."""

    actors: dict[tuple[str, str, str], str]  # kind, id and role; the name where the bundle gives it out
    software: frozenset[str]  # that recorded the events


def agents(data: Path) -> Agents:
    """Who and what acted in any event of the bundle."""
    actors: dict[tuple[str, str, str], str] = {}
    software = set()
    for _, events in chains(data):
        for event in events:
            actors[event.actor_key] = actors.get(event.actor_key) or given(event.actor_name)
            software.add(event.body["software"])
    return Agents(dict(sorted(actors.items())), frozenset(software))
