"""data/custody of a bundle: the events, what opens them, and the proofs that they are in the log and all there were.

docs/bundle.md says the files byte by byte.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from archive.custody import map, proofs
from archive.custody.anchors import cosigned_note
from archive.custody.canonical import canonical
from archive.custody.showing import pinned_map
from archive.custody.tiles import Tiles
from archive.errors import Conflict, Damaged
from archive.models import Checkpoint
from evidence import bag

if TYPE_CHECKING:
    from evidence.contents import Event

MOST_PAGES, MOST_NODES = 2_000, 100_000  # of the map and of the tree, kept while proofs are made
TIPS = "tips"  # in the spool folder: position of each subject's last event, a line each


class Nodes(Tiles):
    """Tiles that keep the nodes inside them too: proofs of events that lie near each other share most of theirs."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._nodes: dict[tuple[int, int], bytes] = {}

    def perfect_node(self, height: int, index: int) -> bytes:
        """As Tiles.perfect_node."""
        found = self._nodes.get((height, index))
        if found is None:
            if len(self._nodes) > MOST_NODES:
                self._nodes.clear()
            found = self._nodes[height, index] = super().perfect_node(height, index)
        return found


class Lines:
    """A JSON list without a table beside it, one entry a line."""

    def __init__(self, file: Path) -> None:
        self._file, self._count = file.open("xb"), 0
        self._file.write(b"[\n")

    def add(self, row: dict) -> None:
        """Add an entry."""
        self._file.write((b",\n" if self._count else b"") + canonical(row))
        self._count += 1

    def close(self) -> None:
        """End the file."""
        self._file.write(b"\n]\n" if self._count else b"]\n")
        self._file.close()


class Custody:
    """The files under data/custody but single proofs, written subject by subject against one checkpoint."""

    def __init__(self, folder: Path, spool: Path, checkpoint: Checkpoint) -> None:
        self.events = self.subjects = self.opened = 0
        self._folder, self._checkpoint = folder, checkpoint
        self._tiles, self._pages = Nodes(checkpoint.size), {}
        names = ("events", "openings", "inclusion", "completeness")
        self._events, self._openings, self._inclusion, self._completeness = (
            (folder / f"{name}.jsonl").open("xb") for name in names
        )
        self._subjects = Lines(folder / "subjects.json")
        self._tips = (spool / TIPS).open("x")

    def add(self, subject: str, events: "list[Event]") -> None:
        """Add one subject's whole chain. Raises Damaged when it does not end as the map says, Conflict when the
        checkpoint does not cover it.
        """
        if len(self._pages) > MOST_PAGES:
            self._pages = {}
        proof = map.prove(subject, self._checkpoint.map, pages=self._pages)
        if not events and not proof.number:
            raise Conflict(
                f"The log was published before {subject} was in it. Nothing was exported: try again."
            )
        if proof.number != len(events) or proof.tip.hex() != events[-1].hash:
            raise Damaged(
                f"The custody chain of {subject} does not end as the log's map says: it has {len(events)} events, the map "
                f"says {proof.number}. Nothing was exported: run `manage.py custody verify` and keep the database as it is."
            )
        for event in events:
            self._events.write(event.raw + b"\n")
            path = proofs.inclusion(event.position, self._checkpoint.size, tiles=self._tiles)
            row = {**event.place, "position": event.position, "proof": [value.hex() for value in path]}
            self._inclusion.write(canonical(row) + b"\n")
            at = {"subject": subject, "number": event.body["number"]}
            for pointer, (salt, value) in sorted(event.opened.items()):
                opening = canonical({**at, "pointer": pointer, "salt": salt, "value": value})
                self._openings.write(opening + b"\n")
            self.opened += len(event.opened)
        self._completeness.write(canonical(map.as_json(proof)) + b"\n")
        self._subjects.add({"subject": subject, "events": len(events), "tip": events[-1].hash})
        self._tips.write(f"{events[-1].position}\n")
        self.events, self.subjects = self.events + len(events), self.subjects + 1

    def close(self) -> None:
        """End all files."""
        for each in (
            self._events,
            self._openings,
            self._inclusion,
            self._completeness,
            self._subjects,
            self._tips,
        ):
            each.close()

    def pin(self) -> None:
        """Write the checkpoint, the map's place under it, and what witnesses and timestamp authorities gave to it."""
        folder, checkpoint = self._folder, self._checkpoint
        (folder / "map.json").write_bytes(canonical(pinned_map(checkpoint)) + b"\n")
        (folder / "checkpoint.txt").write_bytes(checkpoint.note.encode())
        if (cosigned := cosigned_note(checkpoint)) != checkpoint.note:
            (folder / "cosigned-checkpoint.txt").write_bytes(cosigned.encode())
        for number, row in enumerate(checkpoint.timestamps.order_by("pk"), 1):
            (folder / "timestamps").mkdir(exist_ok=True)
            (folder / "timestamps" / f"{number}-{slug(row.authority)}.tsr").write_bytes(bytes(row.response))


def slug(name: str) -> str:
    """A name as part of a file name: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "authority"


def single(spool: Path, checkpoint: Checkpoint) -> Iterator[bag.Entry]:
    """The files of data/custody/proofs: one for the map's event and one for the last event of each subject."""
    tiles, note = Nodes(checkpoint.size), cosigned_note(checkpoint)
    with (spool / TIPS).open() as tips:
        for position in itertools.chain(
            [checkpoint.map.event.position.position], (int(line) for line in tips)
        ):
            text = proofs.tlog_proof(position, note, tiles=tiles)
            yield bag.Entry(f"data/custody/proofs/{position}.tlog-proof", [text.encode()])
