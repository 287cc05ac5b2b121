"""Our end of the model process: start it confined, feed it items, check what it says, kill and replace it.

    with ModelProcess(analysers) as process:
        for outcome in process.look(works):     # in any order of ends; one outcome for each work
            ...
        for some in process.look_together(works):   # the same, by the dozen
            ...

Items are sent ahead of those that are looked at. A process that dies, hangs or runs out of memory fails only the item
that it was on: where several had begun, they are tried again one at a time, and the one that does it again fails.
"""

import contextlib
import logging
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

from django.utils import timezone
from django.utils.translation import gettext_noop

from archive.errors import AmparoError, ModelUnavailable, SandboxUnavailable
from archive.media import clean, sandbox
from triage import plugins, registry
from triage.analysers.base import Analyser, Task
from triage.analysers.base import Vector as Direction
from triage.results import BoxOf, Caption, Found, Looked, Tag, Vector, Words
from triage.runtimes import wire
from triage.runtimes.decode import Sampling

log = logging.getLogger("amparo.triage")

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGE_LIMIT = 256 * wire.MIB
AHEAD_LIMIT = 128 * wire.MIB  # bytes of images that wait in the process
MAX_LANES = 4
QUEUED = 16  # images that wait in the process: it goes on while we store what it said
TOGETHER, WITHIN_S = 32, 1.0  # outcomes that are handed over together, and how long the first of them waits
MAX_FOUND, MAX_FRAMES, MAX_TEXT = 50_000, 20_000, 500

# What the process may answer instead of a result, in words for people. The original is kept in every case.
SENTENCES = {
    "cannot-decode": gettext_noop(
        "No whole picture could be decoded from this file, so no model has looked at it."
    ),
    "no-frames": gettext_noop("This file holds no moving picture, so no model has looked at it."),
    "empty": gettext_noop("This file is empty, so no model has looked at it."),
    "too-large": gettext_noop(
        "Its picture has more than 150 million pixels, or its file more than 256 MiB; no model has looked at it."
    ),
    "words-refused": gettext_noop(
        "The model makes nothing of these words: there are none that it knows, or more than it takes. Try fewer or others."
    ),
}
FAILURES = {
    "memory": "The model process ran out of memory on this item. Other items are not affected.",
    "model-failed": "The model failed on this item. Other items are not affected.",
    "unreadable": "The original could not be read to its end. Run: manage.py vault check",
    "time": "The model process took too long over this item and was replaced. Other items are not affected.",
    "died": "The model process died on this item and was replaced. Other items are not affected.",
    "nonsense": "The model process answered with something that is no result, and was replaced.",
}


@dataclass(frozen=True)
class Cut:
    """A part of a picture, or of a moment of a video: left, top, width and height in 100,000ths of the frame."""

    at_ms: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Work:
    """One item to look at. `open` gives its bytes; it is called in another thread. `limit_s` bounds it by the clock.

    With a `cut` that part alone is looked at, and by those only that make vectors. Words (UTF-8) are read by the
    `tower` alone: the analyser of that name makes their vector.
    """

    key: Any
    kind: str  # "image", "video" or "words"
    size: int
    open: Callable[[], BinaryIO]
    limit_s: float = 300.0
    facts: dict[str, Any] = field(
        default_factory=dict
    )  # what the archive read in its metadata, as plain JSON
    cut: Cut | None = None
    tower: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a work. `looked`: one for each analyser; `shots`: of a video, in ms. Else `code` says why not.

    `undecodable` says that there is nothing to look at, which will not change; any other code is a failure of ours.
    """

    work: Work
    looked: tuple[Looked, ...] = ()
    shots: tuple[tuple[int, int], ...] = ()
    code: str = ""
    error: AmparoError | None = None
    seconds: float = 0.0
    ended_at: datetime = field(default_factory=timezone.now)

    @property
    def undecodable(self) -> bool:
        return self.code in SENTENCES

    @property
    def sentence(self) -> str:
        """For the person who reads it; empty for a result."""
        if self.error:
            return self.error.sentence
        return SENTENCES.get(self.code) or FAILURES.get(self.code, "")


@dataclass(frozen=True)
class Limits:
    """When the process is replaced. `stall_s` is the longest silence in an item that has begun."""

    memory_mb: int = 2048
    soft_memory_mb: int = 1536
    items: int = 20_000
    open_s: float = 180.0
    stall_s: float = 90.0
    threads: int = 512


@dataclass
class _Sent:
    """An item that the process has. `number` is its name on the wire."""

    number: int
    work: Work
    stream: BinaryIO | None = None
    begun: float = 0.0
    heard: float = 0.0
    error: AmparoError | None = None


@dataclass
class _Run:
    """One life of the process, with the threads that write to it and read from it."""

    process: "subprocess.Popen[bytes]"
    to_it: IO[bytes]
    from_it: IO[bytes]
    outgoing: "queue.Queue[Any]" = field(default_factory=queue.Queue)
    events: "queue.Queue[dict[str, Any]]" = field(default_factory=lambda: queue.Queue(maxsize=256))
    sent: dict[int, _Sent] = field(default_factory=dict)
    items: int = 0
    memory: int = 0
    versions: dict[str, str] = field(default_factory=dict)


class ModelProcess:
    """A confined process with these analysers open. It starts with the first item and is one model load long.

    Not for several threads at once. Raises SandboxUnavailable, or ModelUnavailable when the weights cannot be opened.
    """

    def __init__(
        self,
        analysers: list[Analyser],
        *,
        weights: Path | None = None,
        limits: Limits | None = None,
        sampling: Sampling | None = None,
        host: str = "triage.runtimes.host",
        extra_paths: tuple[Path, ...] = (),
    ) -> None:
        """`host` and `extra_paths` put another program at the other end of the pipe."""
        self.analysers = analysers
        self.weights = weights or registry.folder()
        self.limits = limits or Limits()
        self.sampling = sampling or Sampling()
        self.host, self.extra_paths = host, extra_paths
        self.lanes = min(os.cpu_count() or 1, MAX_LANES)
        self.ahead = self.lanes + QUEUED
        self.replaced = 0
        self._run: _Run | None = None
        self._number = 0

    def __enter__(self) -> "ModelProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def memory(self) -> int:
        """Bytes that it last said it holds; 0 before its first result."""
        return self._run.memory if self._run else 0

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries that take part, once it has started."""
        return dict(self._run.versions) if self._run else {}

    def start(self) -> _Run:
        """Start the process and wait until its models are open. Nothing to do when it runs."""
        if self._run:
            return self._run
        entries = [a.entry for a in self.analysers if a.entry]
        folders = [self.weights / entry.name for entry in entries]
        packages = sorted({a.package for a in self.analysers if a.package})
        paths = (ROOT, *self.extra_paths, *(package.parent for package in packages))
        process = sandbox.popen(
            [sys.executable, "-s", "-m", self.host, str(self.weights)],
            read_only=[ROOT / "triage", ROOT / "archive", *folders, *self.extra_paths, *packages],
            limits=sandbox.Limits(
                cpu_s=0,
                wall_s=0,
                address_mb=0,
                memory_mb=self.limits.memory_mb,
                processes=self.limits.threads,
                files=512,
                tmp_mb=512,
                output_mb=512,
            ),
            env={"PYTHONPATH": ":".join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"},
            stderr=subprocess.DEVNULL,
        )
        if process.stdin is None or process.stdout is None:
            raise AssertionError("sandbox.popen gives both pipes")
        run = self._run = _Run(process, process.stdin, process.stdout)
        threading.Thread(target=_write, args=(run,), name="model-in", daemon=True).start()
        threading.Thread(target=_read, args=(run,), name="model-out", daemon=True).start()
        run.outgoing.put(
            {
                "do": "open",
                "analysers": [a.name for a in self.analysers],
                "entries": {entry.name: [file.name for file in entry.files] for entry in entries},
                "plugins": [str(package / plugins.FILE) for package in packages],
                "sampling": asdict(self.sampling),
                "lanes": self.lanes,
            }
        )
        try:
            event = run.events.get(timeout=self.limits.open_s)
        except queue.Empty:
            event = {"gone": True}
        ready = event.get("ready")
        if not isinstance(ready, dict) or ready.get("analysers") != [a.name for a in self.analysers]:
            self._kill()
            if event.get("refused") == "plug-in":
                raise ModelUnavailable(
                    "The code of a plug-in cannot be opened. Nothing was lost: jobs wait. Mend its package, or take its "
                    "name out of AMPARO_ANALYSERS."
                )
            if event.get("refused"):
                raise ModelUnavailable(
                    "Installed weights are not the registered ones, so they were not opened. "
                    "Run: manage.py models verify, then manage.py models pull"
                )
            raise ModelUnavailable(
                "The model process did not start. Nothing was lost: jobs wait. Run: manage.py models verify"
            )
        run.versions = _versions(ready.get("versions"))
        return run

    def close(self) -> None:
        """End the process."""
        self._kill()

    def look(self, works: Iterable[Work]) -> Iterator[Outcome]:
        """Look at each work and yield its outcome. `works` is drawn from only as far as the process keeps up."""
        return (outcome for outcome in self._looking(works) if outcome)

    def look_together(self, works: Iterable[Work]) -> Iterator[list[Outcome]]:
        """As `look`, for what is dealt with together: up to 32 outcomes, or fewer once the first is a second old.

        Those left are handed over as soon as no work is: a single item does not wait.
        """
        some: list[Outcome] = []
        since = 0.0
        for outcome in self._looking(works):
            if outcome:
                since = since if some else time.monotonic()
                some.append(outcome)
            if some and (len(some) >= TOGETHER or time.monotonic() - since >= WITHIN_S):
                yield some
                some = []
        if some:
            yield some

    def _looking(self, works: Iterable[Work]) -> Iterator[Outcome | None]:
        """The outcomes as they come; None at least once in `WITHIN_S` while there is none."""
        waiting = iter(works)
        alone: deque[Work] = deque()  # begun when a process died: tried again one at a time
        again: deque[Work] = deque()  # sent but not begun: tried again as they are
        ended = False
        while True:
            if self._run and self._is_worn() and not self._run.sent:
                self._kill()
            while not ended and self._has_room(alone=bool(alone)):
                work = alone[0] if alone else again.popleft() if again else next(waiting, None)
                if work is None:
                    ended = True
                    break
                if work.kind == "image" and work.size > IMAGE_LIMIT:
                    yield Outcome(work, code="too-large")
                    continue
                self._send(work)
                if alone:
                    break
            if not self._run or not self._run.sent:
                if ended and not again and not alone:
                    return
                ended = ended and not (again or alone)
                continue
            outcome, suspects = self._await(self._run)
            if outcome and alone and outcome.work is alone[0]:
                alone.popleft()
            if self._run or outcome:
                yield outcome
                continue
            # the process is gone
            begun = [s.work for s in suspects if s.begun]
            rest = [s.work for s in suspects if not s.begun]
            again.extendleft(reversed(rest))
            if len(begun) <= 1:
                work = begun[0] if begun else (again.popleft() if again else None)
                if work is not None:
                    if alone and work is alone[0]:
                        alone.popleft()
                    yield Outcome(work, code=self._cause)
            else:
                alone.extend(begun)
            ended = False

    # --- one life of the process ------------------------------------------------------------------------------

    _cause = "died"

    def _has_room(self, *, alone: bool) -> bool:
        """Whether a further item may be sent now."""
        run = self._run
        if run is None or not run.sent:
            return not self._is_worn()
        waiting = sum(sent.work.size for sent in run.sent.values() if sent.work.kind == "image")
        return not alone and len(run.sent) < self.ahead and waiting < AHEAD_LIMIT and not self._is_worn()

    def _is_worn(self) -> bool:
        run = self._run
        return run is not None and (
            run.items >= self.limits.items or run.memory > self.limits.soft_memory_mb * wire.MIB
        )

    def _send(self, work: Work) -> None:
        run = self.start()
        self._number += 1
        sent = run.sent[self._number] = _Sent(self._number, work)
        run.outgoing.put(sent)

    def _await(self, run: _Run) -> tuple[Outcome | None, list[_Sent]]:
        """What comes next: an outcome, or none; and the items that were in the process if it is gone now."""
        try:
            event = run.events.get(timeout=WITHIN_S)
        except queue.Empty:
            event = {}
        now = time.monotonic()
        sent = run.sent.get(event.get("item", 0))
        if event.get("gone"):
            return None, self._kill("died")
        if sent and event["is"] in ("done", "failed"):
            del run.sent[sent.number]
            run.items += 1
            outcome = self._outcome(sent, event)
            if outcome.code == "memory":
                run.items = self.limits.items  # whatever it still holds, a fresh process does not
            if outcome.code == "nonsense":
                left = self._kill("nonsense")
                self._resend(left)
            return outcome, []
        if sent and event["is"] in ("begun", "alive"):
            sent.begun = sent.begun or event["at"]
            sent.heard = now
        if any(self._is_overdue(s, now) for s in run.sent.values()):
            return None, self._kill("time")
        return None, []

    def _resend(self, left: list[_Sent]) -> None:
        for sent in left:
            self._send(sent.work)

    def _is_overdue(self, sent: _Sent, now: float) -> bool:
        return bool(sent.begun) and (
            now - sent.heard > self.limits.stall_s
            or now - sent.begun > sent.work.limit_s + self.limits.stall_s
        )

    def _outcome(self, sent: _Sent, event: dict[str, Any]) -> Outcome:
        seconds = event["at"] - sent.begun if sent.begun else 0.0
        if sent.error:
            return Outcome(sent.work, code="unreadable", error=sent.error, seconds=seconds)
        if event["is"] == "failed":
            code = event["untrusted"].get("code")
            known = isinstance(code, str) and (code in SENTENCES or code in FAILURES)
            return Outcome(sent.work, code=code if known else "model-failed", seconds=seconds)
        try:
            kind = "video" if sent.work.kind == "video" and not sent.work.cut else "image"
            looked = checked(event["untrusted"], event["body"], self.analysers, kind)
            shots = checked_shots(event["untrusted"])
            return Outcome(sent.work, looked=looked, shots=shots, seconds=seconds)
        except (ValueError, TypeError, KeyError, IndexError):
            return Outcome(sent.work, code="nonsense", seconds=seconds)

    def _kill(self, cause: str = "") -> list[_Sent]:
        """End the process and forget it. Returns the items it had, in the order they were sent."""
        run, self._run = self._run, None
        if run is None:
            return []
        run.process.kill()
        run.outgoing.put(None)
        run.process.wait()
        for pipe in (run.to_it, run.from_it):
            with contextlib.suppress(OSError):
                pipe.close()
        if cause:
            self._cause = cause
            self.replaced += 1
            log.warning("model process replaced", extra={"cause": cause, "items": run.items})
        return list(run.sent.values())


def _write(run: _Run) -> None:
    """Send what is put into the queue, and the bytes that the process asks for. The only thread that reads originals."""
    pipe = run.to_it
    try:
        while (task := run.outgoing.get()) is not None:
            if isinstance(task, _Sent):
                _write_item(pipe, task, run)
            elif "read" in task:
                _write_bytes(pipe, task, run)
            else:
                wire.send(pipe, task)
    except (OSError, ValueError):
        return  # the pipe is closed: the process is gone, and its reader says so
    finally:
        for sent in list(run.sent.values()):
            if sent.stream:
                sent.stream.close()


def _write_item(pipe: IO[bytes], sent: _Sent, run: _Run) -> None:
    work = sent.work
    head = {"do": "look", "id": sent.number, "kind": work.kind, "size": work.size, "facts": work.facts}
    if work.cut:
        head["cut"] = asdict(work.cut)
    if work.tower:
        head["tower"] = work.tower
    body = b""
    try:
        sent.stream = sent.work.open()
        if sent.work.kind != "video":
            body = sent.stream.read()
            sent.stream.close()
    except AmparoError as error:
        sent.error = error
        failed = {"is": "failed", "item": sent.number, "at": time.monotonic()}
        run.events.put({**failed, "untrusted": {"code": "unreadable"}})
        return
    wire.send(pipe, head, body)


def _write_bytes(pipe: IO[bytes], asked: dict[str, Any], run: _Run) -> None:
    sent, body, ok = run.sent.get(asked["read"]), b"", False
    if sent and sent.stream and not sent.error:
        try:
            sent.stream.seek(asked["at"])
            body, ok = sent.stream.read(asked["size"]), True
        except AmparoError as error:
            sent.error = error
    wire.send(pipe, {"do": "bytes", "id": asked["read"], "ok": ok}, body)


def _read(run: _Run) -> None:
    """Sort what the process says. What it says is bounded and believed in nothing but its form.

    Of each item the first end counts, so that no more results wait here than items were sent.
    """
    ended: set[int] = set()
    try:
        while True:
            untrusted, body = wire.receive(run.from_it, body_limit=wire.RESULT_LIMIT)
            if "ready" in untrusted or "refused" in untrusted:
                run.events.put(untrusted)
                continue
            memory = untrusted.get("memory")
            if isinstance(memory, int) and _whole(memory, 1 << 50):
                run.memory = memory
            for name in ("read", "begun", "alive", "done", "failed"):
                if _whole(number := untrusted.get(name), 1 << 50):
                    event = {"is": name, "item": number, "at": time.monotonic()}
                    if name in ("done", "failed"):
                        if number in run.sent and number not in ended:
                            ended.add(number)
                            run.events.put({**event, "untrusted": untrusted, "body": body})
                    elif name != "read":
                        run.events.put(event)
                    elif _whole(untrusted.get("at"), 1 << 50) and _whole(untrusted.get("size"), wire.MIB):
                        run.outgoing.put({k: untrusted[k] for k in ("read", "at", "size")})
                    break
    except (wire.WireError, OSError, ValueError):
        run.events.put({"gone": True})


def checked(
    untrusted: dict[str, Any], untrusted_body: bytes, analysers: list[Analyser], kind: str
) -> tuple[Looked, ...]:
    """The result that a process sent, if it is one: numbers in their bounds. Raises ValueError and its like."""
    at_ms = untrusted["at_ms"]
    kinds = ("found", "tags", "spans", "words", "captions", "vectors")
    rows = {name: untrusted.get(name, []) for name in kinds}
    if not 0 < len(at_ms) <= MAX_FRAMES or any(len(some) > MAX_FOUND for some in rows.values()):
        raise ValueError("more frames or results than can be")
    if not all(_whole(ms, 1 << 40) for ms in at_ms) or any(
        a > b for a, b in zip(at_ms, at_ms[1:], strict=False)
    ):
        raise ValueError("frame times are not in order")
    strides = untrusted.get("strides", [1] * len(analysers))
    if not all(_whole(stride, MAX_FRAMES) and stride for stride in strides):
        raise ValueError("an analyser looked at no frame")
    truncated = untrusted.get("truncated", [])
    parts = [Parts([], [], [], [], []) for _ in analysers]
    for row in rows["found"]:
        which, frame, label, *rest = _numbers(row, 8)
        name = analysers[which].classes[label]
        parts[which].found.append(Found(at_ms[frame], name, _score(rest[0]), _box(rest[1:])))
    for row in rows["tags"]:
        which, frame, label, score = _numbers(row, 4)
        parts[which].tags.append(Tag(at_ms[frame], analysers[which].classes[label], _score(score)))
    for row in rows["spans"]:
        which, start, end, label, score = _numbers(row, 5)
        if start > end:
            raise ValueError("a span ends before it begins")
        parts[which].tags.append(
            Tag(start, analysers[which].classes[label], _score(score), end if end else None)
        )
    for which, frame, text, *rest in rows["words"]:
        who, where, score, *place = _numbers([which, frame, *rest], 7)
        if said := _text(text, analysers[who], Task.TEXT):
            parts[who].words.append(Words(at_ms[where], said, _score(score), _box(place)))
    for which, frame, text, *rest in rows["captions"]:
        who, where, score = _numbers([which, frame, *rest], 3)
        if said := _text(text, analysers[who], Task.CAPTION):
            parts[who].captions.append(Caption(at_ms[where], said, _score(score)))
    _vectors(rows["vectors"], untrusted_body, analysers, at_ms, kind, parts)
    return tuple(
        Looked(
            analyser.name,
            () if analyser.takes is None else tuple(at_ms[::stride]),
            tuple(sorted(part.found, key=Found.order)),
            which in truncated,
            tuple(sorted(part.tags, key=Tag.order)),
            tuple(sorted(part.words, key=Words.order)),
            tuple(part.vectors),
            tuple(sorted(part.captions, key=Caption.order)),
        )
        for which, (analyser, stride, part) in enumerate(zip(analysers, strides, parts, strict=True))
    )


def checked_shots(untrusted: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    """The shots that a process told, if they are some: one after the other. Raises ValueError and its like."""
    shots = [_numbers(row, 2) for row in untrusted.get("shots", [])]
    times = [ms for shot in shots for ms in shot]
    if len(shots) > MAX_FOUND or times != sorted(times):
        raise ValueError("shots are not in order")
    if any(a[1] == b[0] for a, b in zip(shots, shots[1:], strict=False)):
        raise ValueError("shots lie on each other")
    return tuple((first, last) for first, last in shots)


class Parts(NamedTuple):
    """Of one analyser, what was checked so far."""

    found: list[Found]
    tags: list[Tag]
    words: list[Words]
    vectors: list[Vector]
    captions: list[Caption]


def _text(untrusted: Any, analyser: Analyser, task: Task) -> str:
    """Plain text of an analyser whose task is to give such: bundles withhold it by that task."""
    if not isinstance(untrusted, str) or analyser.task is not task:
        raise ValueError("no text, or text of an analyser for something else")
    return clean.text(untrusted, MAX_TEXT)


def _numbers(row: Any, count: int) -> list[int]:
    if len(row) != count or not all(_whole(number, 1 << 40) for number in row):
        raise ValueError(f"a row is not {count} whole numbers in bounds")
    return list(row)


def _score(units: int) -> Decimal:
    if units > 10_000:
        raise ValueError("a score lies outside")
    return Decimal(units).scaleb(-4)


def _box(units: list[int]) -> BoxOf:
    x, y, w, h = units
    if x + w > 100_000 or y + h > 100_000 or not w or not h:
        raise ValueError("a box lies outside")
    left, top, width, height = (Decimal(v).scaleb(-5) for v in units)
    return left, top, width, height


def _vectors(
    rows: list[Any],
    untrusted_body: bytes,
    analysers: list[Analyser],
    at_ms: list[int],
    kind: str,
    parts: list[Parts],
) -> None:
    """Cut the body into vectors of the declared widths, each of length 1; a video gets the mean of its frames too."""
    if not rows:
        if untrusted_body:
            raise ValueError("bytes that belong to no vector")
        return
    import numpy

    found: dict[int, dict[int, bytes]] = {}
    place = 0
    for row in rows:
        which, frame = _numbers(row, 2)
        end = place + 2 * analysers[which].width
        if end == place or end > len(untrusted_body) or at_ms[frame] in found.setdefault(which, {}):
            raise ValueError("a vector where none can be")
        found[which][at_ms[frame]] = untrusted_body[place:end]
        place = end
    if place != len(untrusted_body):
        raise ValueError("bytes that belong to no vector")
    for which, values in found.items():
        matrix = numpy.frombuffer(b"".join(values.values()), "<f2").reshape(len(values), -1)
        lengths = numpy.linalg.norm(matrix.astype(numpy.float64), axis=1)
        if not (abs(lengths - 1) < 0.01).all():  # no number that is none passes either
            raise ValueError("a vector is not of length 1")
        some = parts[which].vectors
        some += [Vector(at, data, kind == "image") for at, data in sorted(values.items())]
        if kind == "video":
            with contextlib.suppress(ValueError):  # directions that cancel out have no mean
                some.append(Vector(0, Direction.of(matrix.mean(axis=0, dtype=numpy.float64)).values, True))


def _whole(value: object, limit: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= limit


def _versions(untrusted: object) -> dict[str, str]:
    if not isinstance(untrusted, dict) or len(untrusted) > 20:
        return {}
    plain = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,40}\Z")
    return {
        k: v for k, v in untrusted.items() if isinstance(v, str) and plain.match(str(k)) and plain.match(v)
    }


__all__ = ["Limits", "ModelProcess", "Outcome", "SandboxUnavailable", "Work"]
