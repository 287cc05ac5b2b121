"""Figures about a bundle, counted in one pass over its data folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evidence.formats import held


@dataclass
class Overview:
    """What a bundle holds, and what vouches for its log."""

    case: dict[str, Any]
    request: held.Event
    checkpoint: tuple[str, str, str]  # origin, size, root
    cosigned: bool
    timestamps: int
    items: int = 0
    originals: int = 0
    redactions: int = 0
    events: int = 0
    decisions: int = 0
    runs: int = 0
    models: set[tuple[str, str]] = field(default_factory=set)  # name and weights' SHA-256 (empty: built in)
    acquired: list[str] = field(default_factory=list)  # first and last time
    tools: set[str] = field(default_factory=set)  # that the files came in by


def overview(data: Path) -> Overview:
    """Count."""
    custody = data / "custody"
    origin, size, root = (custody / "checkpoint.txt").read_text(encoding="utf-8").split("\n")[:3]
    own = next(events for subject, events in held.chains(data) if subject.startswith("bundle:"))
    seen = Overview(
        case=held.case_of(data),
        request=own[0],
        checkpoint=(origin, size, root),
        cosigned=(custody / "cosigned-checkpoint.txt").exists(),
        timestamps=len(list((custody / "timestamps").glob("*.tsr"))),
    )
    seen.events = sum(row["events"] for row in held.listed(custody / "subjects.json"))
    seen.decisions = sum(1 for _ in held.listed(data / "decisions.json"))
    for run in held.listed(data / "detections.json"):
        seen.runs += 1
        seen.models.add((run["model"], run["weights_sha256"]))
    for item in held.listed(data / "metadata" / "items.json"):
        seen.items += 1
        seen.originals += item["path"] is not None
        seen.redactions += len(item["redactions"])
        for row in item["acquisitions"]:
            ends = seen.acquired or [row["at"], row["at"]]
            seen.acquired = [min(ends[0], row["at"]), max(ends[1], row["at"])]
            seen.tools.add(held.given(row["tool"]))
    return seen
