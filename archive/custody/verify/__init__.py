"""Check the whole custody log and name the first fault of each kind.

Steps (the same numbers stand in docs/custody-log.md):
 1. every event's bytes are canonical and hash to the stored hash; the searchable columns repeat them
 2. every subject's chain: numbers 1, 2, 3 ...; each names the hash of the one before; the tip is the last
 3. the global order: positions 0, 1, 2 ... without gaps; a subject's events in the order of their numbers
 4. the tree: stored tiles hold the hashes of the events, and of the tiles below
 5. checkpoints: signed by the log's keys; the root over the events they cover is the root they state
 6. confirmations from outside: cosignatures and timestamps hold; the policy is satisfied
 7. time: the clock did not run backwards; no event is older or younger than an outside confirmation allows
 8. the map: its versions stand in events; the newest is what the events add up to
 9. openings: each stored value is what its event commits to
10. rows: what a record's events add up to is the row as it stands today; so are the roles that people have

Three answers: good, bad, could not check.
"""

import os
import time
from collections.abc import Callable
from typing import Any

from archive.custody.verify import pool as pools
from archive.custody.verify.chains import Checker
from archive.custody.verify.events import RANGE
from archive.custody.verify.heads import TOLERANCE, Heads, check_heads
from archive.custody.verify.maps import Files, check_map
from archive.custody.verify.openings import Fold
from archive.custody.verify.reader import Reader, event_columns, one_moment
from archive.custody.verify.report import Fault, Report, part, take
from archive.custody.verify.rows import Rows
from archive.custody.verify.state import State
from archive.custody.verify.times import judge_time
from archive.custody.verify.tips import check_tips
from archive.custody.verify.tree import Whole, integrated_size
from archive.models import MapHead

__all__ = ["Fault", "Progress", "Report", "verify", "verify_subject"]

Progress = Callable[[int], None]
CHUNK = 2_000
NO_EVENT = "NOT EXISTS (SELECT 1 FROM archive_custodyevent e WHERE e.id = {}.event_id)"
CONFIRMED = {
    "system.checkpoint_witnessed": ("witnesses", "line_sha256", "witness"),
    "system.checkpoint_timestamped": ("timestamps", "response_sha256", "authority"),
}


def verify(
    *,
    known: str = "",
    public_key: bytes | None = None,
    policy: str = "",
    progress: Progress | None = None,
    jobs: int | None = None,
    resume: bool = False,
) -> Report:
    """Check everything; never raises for a lie, only for a database that cannot be read.

    `known` is a checkpoint kept elsewhere, whole text; `public_key` (32 bytes) the Ed25519 key that the log's
    checkpoints must be signed with, else the instance's own; `policy` the text of a tlog-policy file, else that of the
    settings. `jobs` processes share the work (as many as there are cores; a small log needs none). With `resume`,
    ranges that an interrupted run found good or bad are not checked again if they are as they were.
    """
    report = Report()
    jobs = _jobs(jobs)
    with pools.opened(jobs) as pool:
        reader, heads = pool.reader, Heads()
        integrated = integrated_size(reader)
        with part(report, "checkpoints"):
            heads = check_heads(
                report, known=known, public_key=public_key, policy=policy, integrated=integrated
            )
        began = time.perf_counter()
        log = _Log(report, pool, heads, integrated)
        with part(report, "the log"):
            log.check(State(resume=resume), progress)
        report.seconds["log"] = time.perf_counter() - began
        began = time.perf_counter()
        if log.complete and log.done:
            with part(report, "the map"):
                check_map(report, reader, log.maps, log.files)
        report.seconds["map"] = time.perf_counter() - began
        began = time.perf_counter()
        with part(report, "rows"):
            _check_rows(report, pool, log.end, progress)
        report.seconds["rows"] = time.perf_counter() - began
    _say_unopened(report)
    return report


def verify_subject(name: str) -> Report:
    """Check one subject's chain, openings and rows (steps 1, 2, 9 and 10). The rest needs `verify`."""
    report = Report()
    with one_moment():
        reader = Reader()
        checker, rows = Checker(reader), Rows(report)
        number = 0
        while found := reader.rows(
            f"SELECT p.position, {event_columns(reader)} FROM archive_custodyevent e "
            "LEFT JOIN archive_custodyposition p ON p.event_id = e.id "
            f"WHERE e.subject = %s AND e.number > {number:d} ORDER BY e.number LIMIT {CHUNK:d}",
            [name],
        ):
            number = found[-1][3]
            checker.take(found)
            fold = Fold(reader, rows.models)
            fold.take(found)
            rows.take(fold.told())
        checker.link_firsts()
        take(report, checker.found.told())
        take(report, check_tips(reader, name))
        rows.compare(only=name)
    _say_unopened(report)
    return report


def _jobs(wanted: int | None) -> int:
    """As many processes as were asked for, and no more than there are ranges to share."""
    return max(1, min(wanted or os.cpu_count() or 1, _end(Reader()) // RANGE + 1))


def _end(reader: Reader) -> int:
    """One more than the last position; 0 where there is none that is a number."""
    last = reader.one("SELECT MAX(position) FROM archive_custodyposition")
    return last + 1 if type(last) is int else 0


def _say_unopened(report: Report) -> None:
    if report.unopened:
        report.unchecked.append(f"{report.unopened} commitments whose openings are no longer there")
    if report.destroyed:
        report.remarks.append(
            f"{report.destroyed} openings were destroyed under a certificate; what they held is gone, nothing is missing"
        )


class _Log:
    """Steps 1 to 5 and 7 over all events: ranges in parallel, then what is pending, then the whole."""

    def __init__(self, report: Report, pool: pools.Pool, heads: Heads, integrated: int) -> None:
        self.report, self.pool, self.reader = report, pool, pool.reader
        self.heads, self.integrated, self.spans = heads, integrated, heads.spans()
        self.end = _end(self.reader)
        self.files = Files(self._map_size())
        self.maps: dict[int, tuple[int | None, Any]] = {}
        # Checkpoints that events tell of, by size and root: the event's place, and what it says of the columns.
        self.told: dict[tuple[Any, Any], tuple[str, dict[str, Any]]] = {}
        # Cosignatures and timestamps that events tell of, by SHA-256 and whose they are.
        self.confirmed: dict[tuple[str, str], str] = {}
        self.complete, self.done = True, False

    def _map_size(self) -> int:
        newest = MapHead.objects.order_by("-size").first()
        return newest.size if newest else 0

    def check(self, state: State, progress: Progress | None) -> None:
        """Check all of it."""
        tolerance = int(TOLERANCE.total_seconds())
        whole = Whole(
            self.reader, signed=self.heads.signed, integrated=self.integrated, tolerance_s=tolerance
        )
        tasks = [self._task(start, tolerance) for start in range(0, self.end, RANGE)]
        answers = self.pool.answers(
            [{"what": "tips"}, *(task | {"mark": state.mark(task)} for task in tasks)]
        )
        tips, spared = next(answers), 0
        for task, answer in zip(tasks, answers, strict=True):
            if answer is None:
                self.complete = False
                self.report.unchecked.append(
                    f"positions {task['start']} to {task['end'] - 1}: the process that checked them ended"
                )
                continue
            if answer.get("same"):
                answer, spared = state.answer(task), spared + task["end"] - task["start"]
            elif len(tasks) > 1:
                state.keep(task, answer)
            take(self.report, answer)
            self._note(answer["noted"])
            if self.complete:
                whole.take(answer)
            if progress:
                progress(self.report.events)
        if spared:
            self.report.remarks.append(
                f"{spared:,} events are as they were when an interrupted run checked them: they were read and hashed "
                "again, and the rest of that run's answer is trusted."
            )
        if self.complete:
            whole.end(self._there())
            take(self.report, whole.found.told())
            state.done()
        self._pending()
        self._marks()
        if tips is None:
            self.report.unchecked.append("the tips of chains: the process that checked them ended")
        else:
            take(self.report, tips)
        self._checkpoints()
        self.done = True

    def _task(self, start: int, tolerance: int) -> dict[str, Any]:
        end = min(start + RANGE, self.end)
        first = max((i for i, span in enumerate(self.spans) if span.start <= start), default=0)
        return {
            "what": "log",
            "start": start,
            "end": end,
            "sizes": sorted({size for _, size, _ in self.heads.signed if start < size <= end}),
            "spans": [list(span) for span in self.spans[first:] if span.start < end],
            "integrated": self.integrated if start < self.integrated < end else min(self.integrated, end),
            "tolerance_s": tolerance,
        }

    def _note(self, noted: list[list[Any]]) -> None:
        """What the events say of checkpoints, maps and files."""
        for kind, position, digest, place, payload in noted:
            if kind == "item.stored":
                self.files.take(position, digest, payload)
                continue
            try:
                if kind == "system.map_root":
                    self.maps[int(payload["size"])] = (position, payload)
                elif kind == "system.checkpoint_signed":
                    said = {name: payload[name] for name in ("note", "signed_at") if name in payload}
                    said |= {"map": payload["map"]["size"]} if "map" in payload else {}
                    self.told[payload["size"], payload["root"]] = place, said
                else:
                    what, name, who = CONFIRMED[kind]
                    self.confirmed |= {(row[name], row[who]): place for row in payload[what]}
            except (ValueError, KeyError, TypeError):
                self.report.add("altered event", place, "it does not say what was signed")

    def _there(self) -> int:
        return self.reader.one("SELECT COUNT(*) FROM archive_custodyposition")

    def _pending(self) -> None:
        """Events without a position, in the order of recording."""
        last = 0
        checker = Checker(self.reader)
        while rows := self.reader.rows(
            f"SELECT NULL, {event_columns(self.reader)} FROM archive_custodypending q "
            f"JOIN archive_custodyevent e ON e.id = q.event_id WHERE e.id > {last:d} "
            f"AND NOT EXISTS (SELECT 1 FROM archive_custodyposition p WHERE p.event_id = e.id) "
            f"ORDER BY e.id LIMIT {CHUNK:d}"
        ):
            last = rows[-1][1]
            checker.take(rows)
            self.report.pending += len(rows)
            for when, row in zip(checker.times, rows, strict=True):
                judge_time(checker.found, self.spans[-1]._replace(latest=""), when, row)
        checker.link_firsts()
        take(self.report, checker.found.told())
        self._note(checker.noted)

    def _marks(self) -> None:
        """Step 3: each event has a position or is pending, never both, never neither; and only events are."""
        both = self.reader.one(
            "SELECT COUNT(*) FROM archive_custodypending q JOIN archive_custodyposition p ON p.event_id = q.event_id"
        )
        all_of_them = self.reader.one("SELECT COUNT(*) FROM archive_custodyevent")
        neither = abs(all_of_them - self.report.events) if self.complete else 0
        none = self.reader.one(f"SELECT COUNT(*) FROM archive_custodypending q WHERE {NO_EVENT.format('q')}")
        if both or neither or none:
            self.report.add(
                "lost pending mark",
                "the sequencer's list",
                f"{neither + both + none} events are not as it says",
            )

    def _checkpoints(self) -> None:
        """Steps 5 and 6: a checkpoint, cosignature or timestamp that an event tells of is there."""
        if not self.heads.whole:
            return
        for checkpoint, (place, said) in self.told.items():
            if checkpoint not in self.heads.columns:
                self.report.add("missing checkpoint", place, "the checkpoint that it tells of is gone")
            elif any(row | said != row for row in self.heads.columns[checkpoint]):
                self.report.add(
                    "altered checkpoint", place, "its columns do not say what this event says of it"
                )
        for confirmation, place in self.confirmed.items():
            if confirmation not in self.heads.confirmed:
                self.report.add(
                    "missing confirmation", place, "the cosignature or timestamp it tells of is gone"
                )


def _check_rows(report: Report, pool: pools.Pool, end: int, progress: Progress | None) -> None:
    """Steps 9 and 10."""
    rows = Rows(report)
    tasks: list[dict[str, Any]] = [
        {"what": "openings", "start": at, "end": min(at + RANGE, end), "labels": list(rows.models)}
        for at in range(0, end, RANGE)
    ]
    missed = False
    for task, answer in zip(tasks, pool.answers(tasks), strict=True):
        if answer is None:
            missed = True
            place = f"positions {task['start']} to {task['end'] - 1}"
            report.unchecked.append(f"openings of {place}: the process that checked them ended")
        else:
            rows.take(answer)
        if progress:
            progress(report.events)
    last = 0
    while found := pool.reader.rows(
        f"SELECT NULL, {event_columns(pool.reader)} FROM archive_custodypending q "
        f"JOIN archive_custodyevent e ON e.id = q.event_id WHERE e.id > {last:d} ORDER BY e.id LIMIT {CHUNK:d}"
    ):
        last = found[-1][1]
        fold = Fold(pool.reader, rows.models)
        fold.take(found)
        rows.take(fold.told())
    if not missed:
        _check_strays(report, pool.reader)
        rows.compare()


def _check_strays(report: Report, reader: Reader) -> None:
    """Openings of no event. They are counted first: to look for each one's event takes longer."""
    if reader.one("SELECT COUNT(*) FROM archive_custodyopening") != report.openings:
        stray = reader.one(f"SELECT COUNT(*) FROM archive_custodyopening o WHERE {NO_EVENT.format('o')}")
        if stray:
            report.add("altered opening", "the openings", f"{stray} belong to no event")
