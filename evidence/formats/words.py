"""What a bundle says, in words: the same ones in the report, the load files' text and the certification."""

from typing import Any

from archive.events import EVENTS
from evidence.disclosure import WITHHELD
from evidence.formats.held import Event

WITHHELD_WORDS = "withheld"
JOINERS = "\u200c\u200d\n"  # letters of Persian and other scripts need the first two
ABOUT = {
    "captured_at": "When captured",
    "place": "Where captured",
    "device": "Device",
    "software": "Software",
    "author": "Author",
    "title": "Title",
}


def said(value: Any) -> str:
    """A value in words: withheld and unknown are said, not left blank; characters that hide others are shown."""
    if value == WITHHELD:
        return WITHHELD_WORDS
    if value is None or value == "":
        return "unknown"
    return "".join(c if c.isprintable() or c in JOINERS else f"[{ascii(c)[1:-1]}]" for c in str(value))


def fours(digits: str) -> str:
    """A hash in groups of four."""
    return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))


def moment(text: str) -> str:
    """A moment of the log (UTC) for reading, to the second."""
    return f"{text[:10]} {text[11:19]} UTC"


def sentence(event: Event) -> str:
    """What an event says happened."""
    kind = event.body["type"]
    return EVENTS[kind].sentence if kind in EVENTS else kind


def actor(event: Event) -> str:
    """Who acted: the role and the beginning of the id, and the name where it is given out."""
    who, name = event.body["actor"], event.actor_name
    role = {"person": f"{who['role']} {who['id'][:8]}", "operator": "operator at the shell"}.get(
        who["kind"], f"machine: {who['role']}"
    )
    return role if name in ("", WITHHELD) else f"{said(name)} ({role})"


def statement(row: dict[str, Any]) -> str:
    """A claim or finding: each part with its precision, and no zone where none was given."""
    parts = []
    if row["text"]:
        parts.append(said(row["text"]))
    if row["local_time"]:
        zone = row["utc_offset"] or "no time zone"
        parts.append(f"{said(row['local_time'])} ({zone}, precision: {row['precision']})")
    if row["latitude"] is not None:
        radius = "radius unknown" if row["radius_m"] is None else f"within {row['radius_m']} m"
        parts.append(f"{said(row['latitude'])}, {said(row['longitude'])} ({radius})")
    return "; ".join(parts) or "unknown"


def summary(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Detections and tags by class: how many, in how many frames, and the highest score."""
    classes: dict[str, list[dict]] = {}
    for row in (
        row for row in result if "label" in row
    ):  # none in one that is withheld, or that names nothing
        classes.setdefault(row["label"], []).append(row)
    return [
        {
            "label": label,
            "count": len(rows),
            "frames": len({row["at_ms"] for row in rows}),
            "score": max(row["score"] for row in rows),
        }
        for label, rows in sorted(classes.items())
    ]
