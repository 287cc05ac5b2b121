"""The bundle's report for people: one PDF, made offline from what the bundle says and nothing else."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.template.loader import render_to_string

from archive.errors import ToolFailed
from archive.events import EVENTS
from evidence.disclosure import GROUPS, WITHHELD
from evidence.models import Bundle

if TYPE_CHECKING:
    from evidence.contents import Contents, Event, Page

PAGES = 100  # items that get a page of their own; the others are in items.csv, and the report says so
SHOWN = 40  # claims, detections and the like that one table shows
PROGRAM = Path(__file__).parent / "pdf.py"
LIMIT_S = 900
FONTS = settings.ROOT / "static" / "vendor" / "plex"
FACES = (
    ("Plex", "100 700", "ibm-plex-sans-latin-wght-normal"),
    ("Plex Extended", "100 700", "ibm-plex-sans-latin-ext-wght-normal"),
    ("Plex Cyrillic", "100 700", "ibm-plex-sans-cyrillic-wght-normal"),
    ("Plex Arabic", "400", "ibm-plex-sans-arabic-arabic-400-normal"),
    ("Plex Arabic", "600", "ibm-plex-sans-arabic-arabic-600-normal"),
    ("Plex Mono", "400", "ibm-plex-mono-latin-400-normal"),
    ("Plex Mono Extended", "400", "ibm-plex-mono-latin-ext-400-normal"),
    ("Plex Mono Cyrillic", "400", "ibm-plex-mono-cyrillic-400-normal"),
)
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


@contextmanager
def making(bundle: Bundle, contents: "Contents", folder: Path) -> Iterator[Callable[[], Path]]:
    """Start making the PDF in a process of its own; what is given waits for it and returns the file.

    Raises ToolFailed (when waited for) if that process ends badly or takes over 15 minutes.
    """
    page, pdf = folder / "report.html", folder / "report.pdf"
    page.write_text(render_to_string("evidence/report.html", _context(bundle, contents)), encoding="utf-8")
    command = [sys.executable, "-I", PROGRAM, page, pdf, FONTS]
    environment = {"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )

    def finished() -> Path:
        try:
            _, said = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise ToolFailed(
                "The report took too long. Nothing was exported: ask for fewer items."
            ) from error
        if process.returncode != 0:
            raise ToolFailed(
                f"The report could not be made (status {process.returncode}: {said[-200:].decode(errors='replace')}). "
                "Nothing was exported: try again, and tell your administrator if it stays so."
            )
        return pdf

    try:
        yield finished
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


# --- words --------------------------------------------------------------------------------------------------


def _context(bundle: Bundle, contents: "Contents") -> dict[str, Any]:
    builtin = [name for name, weights in contents.models if not weights]
    return {
        "bundle": bundle,
        "contents": contents,
        "case": {name: said(value) for name, value in contents.case.items()},
        "sources": [{name: said(value) for name, value in row.items()} for row in contents.sources],
        "request": line(contents.request),
        "key": fours(bundle.key),
        "checkpoint": contents.checkpoint.split("\n")[:3],
        "given": [group.words for name, group in GROUPS.items() if name in bundle.disclosed],
        "withheld": [group.words for name, group in GROUPS.items() if name not in bundle.disclosed],
        "models": sorted(contents.models),
        "only_builtin": bool(builtin) and len(builtin) == len(contents.models),
        "pages": [page_of(page) for page in contents.pages],
        "further": contents.items - len(contents.pages),
        "faces": FACES,
        "software": settings.SOFTWARE,
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


@dataclass(frozen=True)
class Line:
    """One event of a custody thread, in words."""

    number: int
    time: str
    what: str
    who: str
    human: bool
    reason: str
    position: str


def line(event: "Event") -> Line:
    """An event in words."""
    body, name = event.body, event.actor_name
    actor = body["actor"]
    who = {"person": f"{actor['role']} {actor['id'][:8]}", "operator": "operator at the shell"}.get(
        actor["kind"], f"machine: {actor['role']}"
    )
    return Line(
        number=body["number"],
        time=moment(body["time"]),
        what=EVENTS[body["type"]].sentence if body["type"] in EVENTS else body["type"],
        who=who if name in ("", WITHHELD) else f"{name} ({who})",
        human=actor["kind"] != "system",
        reason="" if body["reason"] == "" else said(event.reason),
        position=str(event.position),
    )


def statement(row: dict[str, Any]) -> str:
    """A claim or finding in words: each part with its precision, and no zone where none was given."""
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


def page_of(page: "Page") -> dict[str, Any]:
    """What the report shows of one item."""
    item = page.item
    return {
        "item": {name: said(value) for name, value in item.items() if not isinstance(value, list)},
        "sha256": fours(item["sha256"]),
        "received": moment(item["received_at"]),
        "read_back": moment(item["read_back_at"]) if item["read_back_at"] else "not yet read back",
        "statements": [
            {
                "about": ABOUT.get(about, about),
                "claims": [(statement(r), r["origin"]) for r in item["claims"] if r["about"] == about],
                "findings": [
                    (statement(r), said(r["basis"])) for r in item["findings"] if r["about"] == about
                ],
            }
            for about in dict.fromkeys(row["about"] for row in item["claims"] + item["findings"])
        ],
        "acquisitions": [
            {
                "at": moment(row["at"]),
                "method": row["method"],
                "tool": row["tool"],
                "name": said(row["file_name"]),
                "source": said(row["source"]),
                "url": "" if not row["url"] else said(row["url"]),
            }
            for row in item["acquisitions"]
        ],
        "decisions": [
            {
                **row,
                "reason": "no reason given" if row["reason"] == "" else said(row["reason"]),
                "at": moment(row["time"]),
            }
            for row in page.decisions
        ],
        "runs": [
            {
                **row,
                "weights": fours(row["weights_sha256"])
                if row["weights_sha256"]
                else "built into the library",
                "found": summary(row["result"]),
            }
            for row in page.runs
        ],
        "thread": [line(event) for event in page.events],
    }


def summary(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Detections by class: how many, in how many frames, and the highest score."""
    classes: dict[str, list[dict]] = {}
    for row in result:
        classes.setdefault(row["label"], []).append(row)
    return [
        {
            "label": label,
            "count": len(rows),
            "frames": len({row["at_ms"] for row in rows}),
            "score": max(row["score"] for row in rows),
        }
        for label, rows in sorted(classes.items())
    ][:SHOWN]
