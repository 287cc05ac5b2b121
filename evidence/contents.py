"""What lies in a bundle's data folder, made from the custody log: docs/bundle.md says every file and field.

What a reader can compare with an event (items, acquisitions, claims, decisions, runs of models) is taken out of the
events themselves, not out of the tables, so that a bundle cannot say what the log does not.
"""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from archive.custody.canonical import ZERO_HASH, canonical, event_hash
from archive.errors import BadInput, Damaged, LimitExceeded
from archive.media import formats
from archive.models import Checkpoint, CustodyEvent, Item, Source
from archive.vault import Progress, silent
from evidence import bag, redaction
from evidence.disclosure import WITHHELD, Disclosure
from evidence.models import Bundle
from evidence.proofs import Custody, Lines
from triage import stored
from triage.models import Analysis

CHUNK = 100
MAX_LINE = 15 * 2**20  # bytes; verifiers read lines of at most 16 MiB
NOT_A_FINDING = "machine suggestion, not a finding; score uncalibrated"
FILES = "files.jsonl"  # in the spool folder: what lies under data/originals and data/redacted
ENDINGS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "video/mp4": ".mp4",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/flac": ".flac",
}
DECIDED = ("item.decided", "item.decision_withdrawn", "item.answered")
COLUMNS = {
    "metadata/items": (
        "code id file_name path sha256 size kind media_type condition width height duration_ms received_at source "
        "decision acquisitions claims findings renditions redactions tags notes"
    ).split(),
    "metadata/sources": (
        "code id pseudonym kind reliability consent_informed consent_scope consent_date consent_ends may_be_public "
        "may_go_to_courts legal_basis"
    ).split(),
    "decisions": "item question value reason time actor/id actor/role withdraws id subject number event".split(),
    "detections": (
        "item note task model analyser version weights_sha256 parameters frames truncated result result_sha256 time "
        "subject number event"
    ).split(),
}


# --- the log, read for a bundle -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """One event of the log, with those of its values that are given out."""

    body: dict[str, Any]
    raw: bytes
    hash: str
    position: int
    opened: dict[str, tuple[str, Any]]  # salt and value by pointer

    @property
    def place(self) -> dict[str, Any]:
        """What names this event in another file."""
        return {"subject": self.body["subject"], "number": self.body["number"], "event": self.hash}

    def value(self, pointer: str, committed: Any) -> Any:
        """A field's value: as it stands, as it was opened, or that it is withheld."""
        if not isinstance(committed, dict) or list(committed) != ["commitment"]:
            return committed
        return self.opened[pointer][1] if pointer in self.opened else WITHHELD

    def values(self) -> dict[str, Any]:
        """The fields that a change set."""
        fields = self.body["payload"].get("set", {})
        return {name: self.value(f"/payload/set/{name}", value) for name, value in fields.items()}

    @property
    def reason(self) -> Any:
        """The reason that was given for the act."""
        return self.value("/reason", self.body["reason"])

    @property
    def actor_name(self) -> Any:
        """The actor's name, or that it is withheld."""
        return self.value("/actor/name", self.body["actor"]["name"])


def chains(subjects: list[str], disclosure: Disclosure, size: int) -> Iterator[tuple[str, list[Event]]]:
    """Each subject's events at positions below `size`, in order.

    Raises Damaged where a chain does not hold: nothing unsound goes out.
    """
    rows = CustodyEvent.objects.filter(subject__in=subjects, position__position__lt=size)
    held: dict[str, list[Event]] = {subject: [] for subject in subjects}
    for row in rows.order_by("subject", "number").select_related("position").prefetch_related("openings"):
        raw = bytes(row.canonical)
        body = json.loads(raw)
        before = held[row.subject][-1].hash if held[row.subject] else ZERO_HASH
        sound = event_hash(raw).hex() == row.hash and body["previous"] == before
        if not sound or body["number"] != len(held[row.subject]) + 1:
            raise Damaged(
                f"The custody chain of {row.subject} does not hold at event {row.number}. Nothing was exported: run "
                "`manage.py custody verify` and keep the database as it is."
            )
        opened = {
            o.pointer: (o.salt, o.value) for o in row.openings.all() if disclosure.opens(body, o.pointer)
        }
        held[row.subject].append(Event(body, raw, row.hash, row.position.position, opened))
    yield from held.items()


# --- writing ------------------------------------------------------------------------------------------------


def cell(value: Any) -> str:
    """A JSON value as a CSV cell; an apostrophe goes before what a spreadsheet could take for a formula."""
    text = "" if value is None else value if isinstance(value, str) else canonical(value).decode()
    risky = text[:1] in ("\t", "\r", "\n") or text.lstrip()[:1] in tuple("=+-@'＝＋－＠")
    return "'" + text if text and risky else text


def pick(row: dict, column: str) -> Any:
    """The value of a column: a path of keys with slashes between."""
    value: Any = row
    for key in column.split("/"):
        value = value[key]
    return value


class Table:
    """A JSON list, one entry a line, and the CSV file that says the same."""

    def __init__(self, folder: Path, name: str) -> None:
        self.columns, self.count = COLUMNS[name], 0
        self._json = (folder / f"{name}.json").open("xb")
        self._csv = (folder / f"{name}.csv").open("x", encoding="utf-8-sig", newline="")
        self._rows = csv.writer(self._csv)
        self._rows.writerow(self.columns)
        self._json.write(b"[\n")

    def add(self, row: dict) -> None:
        """Add an entry to both. Raises LimitExceeded for one that verifiers would refuse to read."""
        raw, cells = canonical(row), [cell(pick(row, column)) for column in self.columns]
        if max(len(raw), sum(2 * len(text.encode()) for text in cells)) > MAX_LINE:
            raise LimitExceeded(
                f"What is known of {row.get('item') or row.get('code')} does not fit into a bundle. Nothing was "
                "exported: leave that item out, or withhold its notes."
            )
        self._json.write((b",\n" if self.count else b"") + raw)
        self._rows.writerow(cells)
        self.count += 1

    def close(self) -> None:
        """End both files."""
        self._json.write(b"\n]\n" if self.count else b"]\n")
        self._json.close()
        self._csv.close()


# --- the whole ----------------------------------------------------------------------------------------------


@dataclass
class Page:
    """What the bundle says of one item."""

    item: dict[str, Any]
    events: list[Event]
    decisions: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Contents:
    """What was written, for the statement."""

    case: dict[str, Any]
    items: int = 0
    events: int = 0
    subjects: int = 0
    octets: int = 0  # of the items' files


class Files:
    """The originals and redactions of a bag, in order: path, SHA-256 and size. Kept in a file, however many."""

    def __init__(self, file: Path) -> None:
        self._file, self.octets = file.open("x", encoding="utf-8"), 0

    def add(self, path: str, sha256: str, size: int) -> None:
        """Add one."""
        self._file.write(f"{json.dumps([path, sha256, size])}\n")
        self.octets += size

    def close(self) -> None:
        """End it."""
        self._file.close()

    @staticmethod
    def read(file: Path) -> Iterator[tuple[str, str, int]]:
        """All of them again."""
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                path, sha256, size = json.loads(line)
                yield path, sha256, size


class _Writers:
    """All open files of a data folder, closed together."""

    def __init__(self, data: Path, spool: Path, checkpoint: Checkpoint) -> None:
        for name in ("metadata", "custody"):
            (data / name).mkdir()
        self.items, self.sources = Table(data, "metadata/items"), Table(data, "metadata/sources")
        self.decisions, self.detections = Table(data, "decisions"), Table(data, "detections")
        self.custody = Custody(data / "custody", spool, checkpoint)
        self.files = Files(spool / FILES)

    def __enter__(self) -> "_Writers":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for each in (self.items, self.sources, self.decisions, self.detections, self.custody, self.files):
            each.close()


def write(
    bundle: Bundle,
    data: Path,
    spool: Path,
    checkpoint: Checkpoint,
    *,
    volume: int,
    of: int,
    progress: Progress = silent,
) -> Contents:
    """Write everything of a volume but the files of its items, the report and single proofs into an empty folder.

    What is said is cut at the checkpoint's map. `spool` gets the list of the items' files (FILES). Raises Damaged,
    BadInput for an item that may only go out redacted and is not.
    """
    disclosure = Disclosure(bundle.disclosed)
    with _Writers(data, spool, checkpoint) as out:
        contents = _begin(bundle, disclosure, out, checkpoint)
        sources: set[str] = set()
        number = bundle.entries.filter(volume=volume).count()
        for item, events in _items(bundle, volume, disclosure, checkpoint.map.size):
            page = _page(item, events, disclosure, bundle.files)
            out.custody.add(item.custody_subject(), events)
            out.items.add(page.item)
            for row in page.decisions:
                out.decisions.add(row)
            for row in page.runs:
                out.detections.add(row)
            if page.item["path"]:
                out.files.add(page.item["path"], item.sha256, item.size)
            for row in page.item["redactions"]:
                out.files.add(row["path"], row["sha256"], row["size"])
            sources |= {
                s for s in (page.item["source"], *(a["source"] for a in page.item["acquisitions"])) if s
            }
            progress("gather", out.items.count, number)
        out.custody.pin()
        for source in Source.objects.filter(case=bundle.case, code__in=sources).order_by("code"):
            out.sources.add(_source(source))
        contents.items, contents.events, contents.subjects = (
            out.items.count,
            out.custody.events,
            out.custody.subjects,
        )
        contents.octets = out.files.octets
    (data / "metadata" / "case.json").write_bytes(canonical(contents.case) + b"\n")
    if of > 1:
        _index(bundle, data / "volumes.json")
    return contents


def _index(bundle: Bundle, file: Path) -> None:
    """In which volume each item of the bundle lies: the same file in every volume."""
    lines = Lines(file)
    entries = bundle.entries.order_by("item__number").values_list("item_id", "item__number", "volume")
    for item, number, volume in entries.iterator(chunk_size=2000):
        lines.add({"code": f"{bundle.case.code}/{number:04d}", "item": str(item), "volume": volume})
    lines.close()


def _begin(bundle: Bundle, disclosure: Disclosure, out: _Writers, checkpoint: Checkpoint) -> Contents:
    case = bundle.case
    held = dict(chains([case.custody_subject(), bundle.custody_subject()], disclosure, checkpoint.map.size))
    case_events, own = held.values()
    out.custody.add(case.custody_subject(), case_events)
    out.custody.add(bundle.custody_subject(), own)
    facts: dict[str, Any] = {"id": str(case.pk), "questions": []}
    for event in case_events:
        record = event.body["payload"].get("record")
        if record == "archive.case":
            facts |= event.values()
        elif record == "triage.question" and event.body["type"] == "case.question_asked":
            values = event.values()
            facts["questions"].append(
                {"id": event.body["payload"]["id"], "number": values["number"], "text": values["text"]}
            )
    return Contents(facts)


def _items(
    bundle: Bundle, volume: int, disclosure: Disclosure, size: int
) -> Iterator[tuple[Item, list[Event]]]:
    chosen = Item.objects.filter(bundle_entries__bundle=bundle, bundle_entries__volume=volume)
    chosen = chosen.select_related("case").order_by("number")
    after = 0
    while batch := list(chosen.filter(number__gt=after)[:CHUNK]):
        held = dict(chains([item.custody_subject() for item in batch], disclosure, size))
        for item in batch:
            yield item, held.pop(item.custody_subject())
        after = batch[-1].number


def _page(item: Item, events: list[Event], disclosure: Disclosure, files: str) -> Page:
    """Fold an item's events into what the bundle says of it."""
    state: dict[str, Any] = {}
    lists: dict[str, list] = {
        name: [] for name in ("acquisitions", "claims", "findings", "renditions", "notes")
    }
    kinds = {
        "item.acquired": "acquisitions",
        "item.claim_recorded": "claims",
        "item.finding_recorded": "findings",
        "item.rendition_made": "renditions",
        "item.noted": "notes",
    }
    decisions, runs = [], []
    for event in events:
        kind, payload = event.body["type"], event.body["payload"]
        if payload.get("record") == "archive.item":
            state |= event.values()
        elif kind in kinds:
            values = {k: v for k, v in event.values().items() if k != "item"}
            lists[kinds[kind]].append({**values, "number": event.body["number"], "event": event.hash})
        elif kind in DECIDED:
            decisions.append(_decision(item, event))
        elif kind == "item.analysed":
            runs.append(_run(item, event, disclosure, redacted=files == Bundle.Files.REDACTED))
    codes = (
        dict(Source.objects.filter(case_id=item.case_id).values_list("pk", "code")) if state["source"] else {}
    )
    for acquisition in lists["acquisitions"]:
        acquisition["source"] = _code(acquisition["source"], codes, item)
    first = lists["acquisitions"][0]["file_name"]
    ending = formats.ending(item.file_name)  # of a known type: what else stands behind a point may be a name
    name = bag.safe_name(first if isinstance(first, str) else f"original.{ending}".rstrip("."))
    folder = bag.safe_name(item.code.replace("/", "-"))
    given = files != Bundle.Files.REDACTED and not state.get("disposed_at")
    lists["redactions"] = [] if files == Bundle.Files.ORIGINALS else _redactions(item, events, folder, name)
    if files == Bundle.Files.REDACTED and not lists["redactions"]:
        raise BadInput(
            f"Item {item.code} has no approved redaction, and this bundle holds redacted files only. Nothing was exported: "
            "redact it, or leave it out."
        )
    row = {
        "id": str(item.pk),
        "code": item.code,
        "file_name": first,
        "path": f"data/originals/{folder}/{name}" if given else None,
        "sha256": state["blob"],
        "size": state["size"],
        "source": _code(state["source"], codes, item),
        "decision": next((d["value"] for d in decisions if d["id"] == state["decision"]), None),
        "tags": list(item.item_tags.values_list("tag__name", flat=True))
        if "notes" in disclosure.groups
        else WITHHELD,
        **{k: state[k] for k in ("kind", "media_type", "condition", "condition_detail", "width", "height")},
        **{k: state[k] for k in ("duration_ms", "received_at", "examined_at", "read_back_at")},
        **lists,
    }
    return Page(row, events, decisions, runs)


def _redactions(item: Item, events: list[Event], folder: str, name: str) -> list[dict[str, Any]]:
    """The approved redactions of an item, as far as its chain knows of their approval by now."""
    released = {
        event.body["payload"].get("id") for event in events if event.body["type"] == "item.redaction_approved"
    }
    made = {
        str(row.rendition.pk): row for row in redaction.approved(item) if row.record["redaction"] in released
    }
    found: list[dict[str, Any]] = []
    for event in events:
        row = made.get(event.body["payload"].get("id", ""))
        if event.body["type"] != "item.rendition_made" or row is None:
            continue
        values = event.values()
        number = f"-{len(found) + 1}" if found else ""
        ending = ENDINGS.get(values["media_type"], "")
        found.append(
            {
                **event.place,
                "path": f"data/redacted/{folder}/{bag.safe_name(Path(name).stem)}{number}{ending}",
                "sha256": values["blob"],
                "size": row.record["size"],
                **{key: values[key] for key in ("media_type", "original_sha256")},
                **{key: row.record[key] for key in ("redaction", "recipe", "recipe_sha256")},
            }
        )
    return found


def _code(source: str | None, codes: dict, item: Item) -> str | None:
    if source is None:
        return None
    known = {str(pk): code for pk, code in codes.items()}
    return known.get(source) or Source.objects.filter(case_id=item.case_id).get(pk=source).code


def _decision(item: Item, event: Event) -> dict[str, Any]:
    values, actor = event.values(), event.body["actor"]
    return {
        **event.place,
        "item": item.code,
        "id": event.body["payload"]["id"],
        "question": values.get("question"),  # None: a decision, whether the item is relevant to the case
        "value": values["value"],
        "withdraws": values["withdraws"],
        "reason": values["reason"],
        "time": event.body["time"],
        "actor": {key: actor[key] for key in ("id", "kind", "role")},
    }


def _run(item: Item, event: Event, disclosure: Disclosure, *, redacted: bool) -> dict[str, Any]:
    """One model's look at the item; what it says in words is withheld where the original is not given (`redacted`).

    A caption is withheld unless captions are given out: it reads like testimony, and nobody testified to it.
    Raises Damaged when its suggestions are no longer those that were recorded.
    """
    values = event.values()
    result = stored.of(Analysis.objects.get(pk=event.body["payload"]["id"])).canonical
    if hashlib.sha256(result).hexdigest() != values["result_sha256"]:
        raise Damaged(
            f"The stored suggestions for item {item.pk} are not those that its event {event.body['number']} recorded. "
            "Nothing was exported: run `manage.py custody verify` and keep the database as it is."
        )
    kept_back = {Analysis.Task.TEXT, Analysis.Task.CAPTION} if redacted else set()
    if "captions" not in disclosure.groups:
        kept_back.add(Analysis.Task.CAPTION)
    named = ("task", "analyser", "version", "model", "weights_sha256", "parameters", "frames", "truncated")
    return {
        **event.place,
        "item": item.code,
        "note": NOT_A_FINDING,
        **{name: values[name] for name in named},
        "result": WITHHELD if values["task"] in kept_back else json.loads(result),
        "result_sha256": values["result_sha256"],
        "time": event.body["time"],
    }


def _source(source: Source) -> dict[str, Any]:
    """A source by its pseudonym. Its identity is sealed and never part of a bundle."""
    row: dict[str, Any] = {"id": str(source.pk)}
    for name in COLUMNS["metadata/sources"]:
        value = getattr(source, "pk" if name == "id" else name)
        row[name] = value if value is None or isinstance(value, int) else str(value)
    return row
