"""The bundle's PDF files: the report, a page or more for each item, and the statements. All made offline, from what the
bundle says and nothing else but small pictures.

Memory stays the same however many items there are: ITEMS_PER_REPORT of them become one file, made by a process of its own.
SIDE_BY_SIDE of these run at a time.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Event as Flag
from typing import Any

from django.template.loader import render_to_string
from django.utils.translation import override

from archive import vault
from archive.errors import Damaged, ToolFailed
from archive.media.storyboard import KIND as STORYBOARD
from archive.media.storyboard import Board
from archive.printing import FACES, FONTS, PROGRAM
from evidence.disclosure import GROUPS, WITHHELD
from evidence.formats import BundleFacts, held, statements
from evidence.formats.facts import ITEMS_PER_REPORT
from evidence.formats.held import Event, Held
from evidence.formats.overview import Overview, overview
from evidence.formats.words import ABOUT, actor, fours, moment, said, sentence, statement, summary
from triage import indicators
from triage.models import Analysis

LIMIT_S = 900  # for one file
SIDE_BY_SIDE = min(4, os.cpu_count() or 1)
MAX_PICTURE = 64 * 2**20  # bytes of a rendition that is still looked at
SHOWN = 40  # kinds of detections, frames of a storyboard and the like that one page shows
PICTURED = ("view", STORYBOARD, "poster", "thumbnail")  # renditions, the best first


@dataclass(frozen=True)
class Picture:
    """A picture that a page shows, and when in its film it is."""

    address: str  # as archive/pdf.py takes it
    time: str = ""


@contextmanager
def making(
    data: Path, about: BundleFacts, folder: Path, *, pictures: bool = True
) -> Iterator[Callable[[], list[Path]]]:
    """Start making the PDF files; what is given waits for them and returns them in the order of `about.pdfs`.

    `data` is complete but for originals and redactions; `folder` gets the files. Raises ToolFailed (when waited for) if
    one cannot be made or takes over 15 minutes.
    """
    maker = _Maker(data, about, folder, pictures)
    with ThreadPoolExecutor(1, "report") as pool:
        made = pool.submit(maker.make)
        try:
            yield made.result
        finally:
            maker.stop()


class _Maker:
    """Makes the files, some side by side; can be stopped."""

    def __init__(self, data: Path, about: BundleFacts, folder: Path, pictures: bool) -> None:
        self.data, self.about, self.folder, self.pictures = data, about, folder, pictures
        self._stopped = Flag()
        self._running: set[subprocess.Popen[bytes]] = set()

    def stop(self) -> None:
        """End what is running; nothing more is begun."""
        self._stopped.set()
        for process in tuple(self._running):
            process.kill()

    def make(self) -> list[Path]:
        """Make all of them."""
        seen, dossiers = overview(self.data), held.dossiers(self.data)
        files: list[Future[list[Path]]] = []
        with ThreadPoolExecutor(SIDE_BY_SIDE, "report-file") as pool:
            for number, name in enumerate(self.about.reports, 1):
                if number > SIDE_BY_SIDE:  # so that pages and pictures do not pile up
                    files[-SIDE_BY_SIDE].result()
                gallery = self.folder / f"{name}.pictures"
                gallery.mkdir()
                pages = [
                    _page(one, self._pictures(one, gallery)) for one in islice(dossiers, ITEMS_PER_REPORT)
                ]
                context = _context(self.data, self.about, seen, pages, number, self.pictures)
                printed = {name: render_to_string("evidence/report.html", context)}
                if number == len(self.about.reports):  # rather than start one more process
                    printed |= self._statements(seen)
                files.append(pool.submit(self._print, printed))
        return [file for each in files for file in each.result()]

    def _statements(self, seen: Overview) -> dict[str, str]:
        """Both statements as HTML, by the names of their files."""
        words = {
            "certification.pdf": statements.certification(self.data, self.about, seen),
            "custody-statement.pdf": statements.beginning(self.about, seen),
        }
        same = {"faces": FACES, "software": self.about.software, "name": self.about.name}
        return {
            name: render_to_string("evidence/statement.html", {"statement": statement, **same})
            for name, statement in words.items()
        }

    def _print(self, printed: dict[str, str]) -> list[Path]:
        """Make these PDF files of their HTML, in one process, each with the pictures that lie ready for it."""
        pdfs = [self.folder / name for name in printed]
        pages = [pdf.with_name(f"{pdf.name}.html") for pdf in pdfs]
        for page, html in zip(pages, printed.values(), strict=True):
            page.write_text(html, encoding="utf-8")
        if self._stopped.is_set():
            raise ToolFailed("The report was stopped. Nothing was exported.")
        process = subprocess.Popen(
            [sys.executable, "-I", PROGRAM, FONTS, *pages],
            env={  # fonts are stamped with a time: always the same one
                "PATH": os.defpath,
                "HOME": str(self.folder),
                "LANG": "C.UTF-8",
                "SOURCE_DATE_EPOCH": "0",
            },
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._running.add(process)
        if self._stopped.is_set():  # meanwhile
            process.kill()
        try:
            _, words = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise ToolFailed(
                "The report took too long. Nothing was exported: ask for fewer items."
            ) from error
        finally:
            self._running.discard(process)
        if process.returncode != 0:
            raise ToolFailed(
                f"The report could not be made (status {process.returncode}: "
                f"{words[-200:].decode(errors='replace')}). Nothing was exported: try again, and tell your administrator if "
                "it stays so."
            )
        for pdf, page in zip(pdfs, pages, strict=True):
            page.unlink()
            gallery = pdf.with_name(f"{pdf.name}.pictures")
            if gallery.exists():
                shutil.rmtree(gallery)
        return pdfs

    def _pictures(self, one: Held, gallery: Path) -> list[Picture]:
        """An item's pictures, which now lie in the gallery; none where there are none or none are wanted."""
        shown: list[Picture] = []
        for number, blob in enumerate(blobs(one) if self.pictures else (), 1):
            name = f"{one.item['id']}-{number}"
            try:
                with vault.open(blob) as stream:
                    (gallery / name).write_bytes(stream.read(MAX_PICTURE))
            except (
                Damaged,
                FileNotFoundError,
            ):  # destroyed or damaged: the page says that there is no picture
                continue
            shown += _fields(name, board) if (board := _board(one, blob)) else [Picture(name)]
        return shown


def blobs(one: Held) -> list[str]:
    """Which stored pictures may stand for an item: small ones of the original, or, where it is not given, of what is."""
    if one.item["path"] is not None:
        made = {row["kind"]: row["blob"] for row in one.item["renditions"]}
        return next(([made[kind]] for kind in PICTURED if kind in made), [])
    return [blob for file in one.files if (blob := _redacted_picture(one, file))]


def _board(one: Held, blob: str) -> Board | None:
    """How the frames lie, where this picture is the storyboard of the original."""
    rows = (row for row in one.item["renditions"] if (row["kind"], row["blob"]) == (STORYBOARD, blob))
    return next((Board.of(row["recipe"]) for row in rows), None)


def _fields(name: str, board: Board) -> list[Picture]:
    """Each frame of a storyboard by itself, with its time from the start of the film."""
    rows = -(-len(board.at_ms) // board.columns)
    return [
        Picture(f"{name}/{number}-{board.columns}-{rows}-{board.gap}", _clock(at_ms))
        for number, at_ms in enumerate(board.at_ms)
    ]


def _clock(ms: int) -> str:
    """1:02:03.456, or 2:03.456 below an hour."""
    minutes, left = divmod(ms, 60_000)
    seconds = f"{left // 1000:02d}.{left % 1000:03d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds}" if minutes >= 60 else f"{minutes}:{seconds}"


def _redacted_picture(one: Held, file: held.Given) -> str | None:
    """The redacted picture itself, or the thumbnail that was made with the redacted video."""
    if file.media_type.startswith("image/"):
        return file.sha256
    made = {
        event.body["payload"]["id"]: event
        for event in one.events
        if event.body["type"] == "item.rendition_made"
    }
    rendition = next(
        (name for name, event in made.items() if event.hash == (file.redaction or {}).get("event")), None
    )
    for event in one.events:
        values = event.body["payload"].get("set", {})
        if rendition and values.get("rendition") == rendition and values.get("thumbnail") in made:
            return made[values["thumbnail"]].body["payload"]["set"]["blob"]
    return None


# --- words --------------------------------------------------------------------------------------------------


def _context(
    data: Path, about: BundleFacts, seen: Overview, pages: list[dict], number: int, pictured: bool
) -> dict[str, Any]:
    builtin = [name for name, weights in seen.models if not weights]
    return {
        "about": about,
        "seen": seen,
        "number": number,
        "of": len(about.reports),
        "case": {name: said(value) for name, value in seen.case.items() if not isinstance(value, list)},
        "sources": [{name: said(value) for name, value in row.items()} for row in held.sources(data)]
        if number == 1
        else [],
        "request": _line(seen.request),
        "key": fours(about.key),
        "given": [group.words for name, group in GROUPS.items() if name in about.disclosed],
        "withheld": [group.words for name, group in GROUPS.items() if name not in about.disclosed],
        "models": sorted(seen.models),
        "only_builtin": bool(builtin) and len(builtin) == len(seen.models),
        "pages": pages,
        "pictured": pictured,
        "faces": FACES,
    }


@dataclass(frozen=True)
class Line:
    """One event of a custody thread, in words."""

    number: int
    time: str
    what: str
    who: str
    human: bool
    reason: str
    position: int | None


def _indicators(run: dict[str, Any]) -> dict[str, Any] | None:
    """What a run of that task points to, with what it means and does not, and how often it is wrong; None for another task."""
    if run["task"] != Analysis.Task.INDICATOR:
        return None
    with override("en"):  # as the rest of the report
        error = indicators.error(run["parameters"])
        found = [
            {
                "words": indicators.words(row["label"]),
                "meaning": indicators.meaning(row["label"]),
                "score": row["score"] if error else "",
            }
            for row in run["result"]
        ]
    return {"found": found, "error": error}


def _line(event: Event) -> Line:
    return Line(
        number=event.body["number"],
        time=moment(event.body["time"]),
        what=sentence(event),
        who=actor(event),
        human=event.body["actor"]["kind"] != "system",
        reason="" if event.body["reason"] == "" else said(event.reason),
        position=event.position,
    )


def _page(one: Held, pictures: list[Picture]) -> dict[str, Any]:
    """What the report shows of one item."""
    item = one.item
    disposed = next((event for event in one.events if event.body["type"] == "item.disposed"), None)
    by = {event.hash: actor(event) for event in one.events}
    return {
        "item": {name: said(value) for name, value in item.items() if not isinstance(value, list)},
        "sha256": fours(item["sha256"]),
        "files": [
            {
                "path": f"data/{file.path}",
                "sha256": fours(file.sha256),
                "size": file.size,
                "redacted": file.redaction,
            }
            for file in one.files
        ],
        "pictures": pictures,
        "length": _clock(item["duration_ms"]) if any(picture.time for picture in pictures) else "",
        "shown": "redacted" if item["path"] is None else "",
        "disposed": _line(disposed) if disposed else None,
        "received": moment(item["received_at"]),
        "read_back": moment(item["read_back_at"]) if item["read_back_at"] else "not yet read back",
        "statements": [
            {
                "about": ABOUT.get(about, about),
                "claims": [(statement(r), r["origin"]) for r in item["claims"] if r["about"] == about],
                "findings": [
                    (statement(r), said(r["basis"]), by.get(r["event"], "unknown"))
                    for r in item["findings"]
                    if r["about"] == about
                ],
            }
            for about in dict.fromkeys(row["about"] for row in item["claims"] + item["findings"])
        ],
        "acquisitions": [
            {
                "at": moment(row["at"]),
                "method": row["method"],
                "tool": said(row["tool"]),
                "name": said(row["file_name"]),
                "source": said(row["source"]),
                "by": by.get(row["event"], "unknown"),
                "url": "" if not row["url"] else said(row["url"]),
            }
            for row in item["acquisitions"]
        ],
        "decisions": [
            {
                **row,
                "asked": said(row["asked"]) if row["asked"] else "",
                "reason": "no reason given" if row["reason"] == "" else said(row["reason"]),
                "at": moment(row["time"]),
                "by": by.get(row["event"], "unknown"),
            }
            for row in one.decisions
        ],
        "runs": [
            {
                **row,
                "model": said(row["model"]),
                "weights": fours(row["weights_sha256"])
                if row["weights_sha256"]
                else "built into the library",
                "found": summary(row["result"])[:SHOWN],
                "captions": [said(one["caption"]) for one in row["result"] if "caption" in one][:SHOWN],
                "withheld": row["result"] == WITHHELD,
                "indicators": _indicators(row),
            }
            for row in one.runs
        ],
        "thread": [_line(event) for event in one.events],
    }
