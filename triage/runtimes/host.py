"""The model process: `python -m triage.runtimes.host WEIGHTS`, started confined by process.py.

It reads items from stdin and writes back numbers. Several lanes each decode an item and look at it, so one decodes
while another infers. It holds no state between items but the open networks, and may be killed at any moment.

    us  -> it   {"do": "open", "analysers": [...], "entries": {model: [its files, ...]}, "plugins": [...]}
    it  -> us   {"ready": {...}} or {"refused": code}
    us  -> it   {"do": "look", "id": 1, "kind": "image", "facts": {...}} + bytes, or "video" without; a "cut" where only
                a part of a frame is to be looked at; or "words" + UTF-8, and the "tower" that reads them
    it  -> us   {"read": 1, "at": offset, "size": n}      us -> it  {"do": "bytes", "id": 1} + bytes
    it  -> us   {"begun": 1}, {"alive": 1}, {"done": 1, ...} + vectors, or {"failed": 1, "code": code}
"""

import os
import queue
import resource
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from io import RawIOBase
from pathlib import Path
from typing import Any

from archive.errors import ModelUnavailable
from triage import analysers, plugins, registry
from triage.analysers.base import (
    About,
    Analyser,
    Caption,
    FrameBatch,
    Frames,
    Result,
    Span,
    Tag,
    Task,
    Text,
    Vector,
    WordsRefused,
)
from triage.runtimes import decode, wire
from triage.runtimes.base import Runtime
from triage.runtimes.shots import Shots

BATCH = 8
MAX_FOUND, MAX_WORDS, MAX_TEXT = 50_000, 2_000, 500
BLOCK = 1 << 20
SCORE_UNIT, BOX_UNIT = 10_000, 100_000


class Line:
    """Our end of the pipe: many threads may send, one receives."""

    def __init__(self) -> None:
        self.incoming = sys.stdin.buffer
        # Libraries print to stdout; the protocol gets a descriptor of its own and stdout becomes stderr.
        self.outgoing = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self.lock = threading.Lock()
        self.items: queue.Queue[dict[str, Any]] = queue.Queue()
        self.answers: dict[int, queue.Queue[bytes | None]] = {}

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame."""
        with self.lock:
            wire.send(self.outgoing, head, body)

    def listen(self) -> None:
        """Sort what comes in until the pipe closes, then end the process: nobody is left to work for."""
        try:
            while True:
                head, body = wire.receive(self.incoming)
                if head["do"] == "look":
                    if head["kind"] == "video":
                        self.answers[head["id"]] = queue.Queue()
                    self.items.put({**head, "body": body})
                elif head["do"] == "bytes" and head["id"] in self.answers:
                    self.answers[head["id"]].put(body if head.get("ok") else None)
        except wire.WireError:
            os._exit(0)

    def fetch(self, number: int, at: int, size: int) -> bytes:
        """Ask for some of an original's bytes. Raises OSError when they cannot be had."""
        self.send({"read": number, "at": at, "size": size})
        answer = self.answers[number].get()
        if answer is None:
            raise OSError("the bytes cannot be had")
        return answer


class Remote(RawIOBase):
    """An original that stays where it is: what a decoder reads is fetched over the pipe, in blocks."""

    def __init__(self, line: Line, number: int, size: int) -> None:
        self.line, self.number, self.size, self.place = line, number, size, 0
        self.blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.place = max(
            0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        )
        return self.place

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes: at most what one block still holds."""
        left = self.size - self.place
        if left <= 0 or size == 0:
            return b""
        block, start = divmod(self.place, BLOCK)
        data = self._block(block)[start:]
        data = data[: min(left, size if size > 0 else left)]
        self.place += len(data)
        return data

    def _block(self, block: int) -> bytes:
        if block not in self.blocks:
            at = block * BLOCK
            data = self.line.fetch(self.number, at, min(BLOCK, self.size - at))
            if not data:
                raise OSError("the bytes end early")
            self.blocks[block] = data
            if len(self.blocks) > 8:
                self.blocks.popitem(last=False)
        self.blocks.move_to_end(block)
        return self.blocks[block]


def frames_of(
    line: Line, head: dict[str, Any], sampling: decode.Sampling, shots: Shots | None
) -> Iterator[FrameBatch]:
    """The frames of one item to look at, in order; `shots` gets all of them. Raises decode.Undecodable, OSError, MemoryError."""
    cut = head.get("cut")
    if head["kind"] == "image":
        pixels = decode.image(head["body"])
        yield FrameBatch([decode.part(pixels, cut["box"]) if cut else pixels], [0])
        return
    remote = Remote(line, head["id"], head["size"])
    if cut:
        frame = decode.moment(remote, cut["at_ms"], lambda frames: line.send({"alive": head["id"]}))
        yield FrameBatch([decode.part(frame, cut["box"])], [0])
        return
    waiting: list[Any] = []
    at_ms: list[int] = []
    alive = {"alive": head["id"]}
    for moment, frame in decode.video(remote, sampling, lambda frames: line.send(alive), shots):
        waiting.append(frame)
        at_ms.append(moment)
        if len(waiting) == BATCH or sum(p.nbytes for p in waiting) > 64 * wire.MIB:
            yield FrameBatch(waiting, at_ms)
            waiting, at_ms = [], []
    if waiting:
        yield FrameBatch(waiting, at_ms)


def ahead(batches: Iterator[FrameBatch]) -> Iterator[FrameBatch]:
    """The same, decoded in a thread of its own while the batch before is looked at."""
    ready: queue.Queue[FrameBatch | BaseException | None] = queue.Queue(maxsize=1)

    def decoding() -> None:
        try:
            for batch in batches:
                ready.put(batch)
            ready.put(None)
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            ready.put(error)

    threading.Thread(target=decoding, daemon=True).start()
    while (batch := ready.get()) is not None:
        if isinstance(batch, BaseException):
            raise batch
        yield batch


class Looked:
    """What was found in one item so far, as the whole numbers and the bytes that go over the pipe."""

    def __init__(self, chosen: list[Analyser], about: About, *, vectors_only: bool = False) -> None:
        """Of "words" nothing is looked at: they are read by one tower."""
        self.chosen = chosen
        seen = about.kind != "words"
        self.at_work = [a for a in chosen if seen and (a.task is Task.EMBED or not vectors_only)]
        self.at_ms: list[int] = []
        # By analyser: of every so many frames it looks at one. Doubled when an item has more than it takes.
        self.strides = [1] * len(chosen)
        kinds = ("found", "tags", "spans", "words", "captions")
        self.rows: dict[str, list[list[Any]]] = {name: [] for name in kinds}
        self.vectors: list[tuple[int, int, bytes]] = []
        self.truncated: set[int] = set()
        for analyser in self.at_work:
            analyser.begin(about if analyser.reads_facts else About(about.kind))

    def add(self, frames: FrameBatch) -> None:
        """Run every analyser on these frames."""
        first = len(self.at_ms)
        self.at_ms += frames.at_ms
        for which, analyser in enumerate(self.chosen):
            if analyser.takes is None or analyser not in self.at_work:
                continue
            if picked := self._picked(which, analyser.takes, first):
                side = analyser.takes.side
                part = frames.part(picked, f"at most {side}", partial(decode.at_most, side=side))
                for index, results in zip(picked, analyser.analyse(part), strict=True):
                    for result in results:
                        self._keep(which, first + index, analyser, result)

    def read(self, tower: str, text: str) -> None:
        """Let the text tower of that name read words. Raises WordsRefused."""
        self.at_ms = [0]
        which = [analyser.name for analyser in self.chosen].index(tower)
        self._keep(which, 0, self.chosen[which], self.chosen[which].words(text))

    def end(self) -> None:
        """Ask every analyser what it says of the item as a whole."""
        last = self.at_ms[-1] if self.at_ms else 0
        for which, analyser in enumerate(self.chosen):
            for said in analyser.end() if analyser in self.at_work else ():
                span = said if isinstance(said, Span) else Span(0, last, said)
                label, score = analyser.classes.index(span.tag.label), _units(span.tag.score)
                self._add("spans", [which, span.at_ms, span.until_ms, label, score])

    def head(self) -> dict[str, Any]:
        """What is told of it in the frame's head. The body is the vectors, in the order of their rows."""
        return {
            "at_ms": self.at_ms,
            "strides": self.strides,
            "truncated": sorted(self.truncated),
            "vectors": [row[:2] for row in self.vectors],
            **self.rows,
        }

    def body(self) -> bytes:
        """The vectors' bytes."""
        return b"".join(row[2] for row in self.vectors)

    def _picked(self, which: int, takes: Frames, first: int) -> list[int]:
        """Which of the newest frames it looks at; where they are too many by now, what lies between is given up."""
        while takes.most and -(-len(self.at_ms) // self.strides[which]) > takes.most:
            stride = self.strides[which] = self.strides[which] * 2
            for name in ("found", "tags", "words", "captions"):
                self.rows[name] = [r for r in self.rows[name] if r[0] != which or r[1] % stride == 0]
            self.vectors = [r for r in self.vectors if r[0] != which or r[1] % stride == 0]
        return [i for i in range(len(self.at_ms) - first) if (first + i) % self.strides[which] == 0]

    def _keep(self, which: int, frame: int, analyser: Analyser, result: Result) -> None:
        if isinstance(result, Vector):
            if len(result.values) != 2 * analyser.width:
                raise ValueError(f"{analyser.name} gives a vector of another width than it declares")
            if (len(self.vectors) + 1) * len(result.values) > wire.RESULT_LIMIT // 2:
                self.truncated.add(which)
            else:
                self.vectors.append((which, frame, result.values))
        elif isinstance(result, Tag):
            self._add("tags", [which, frame, analyser.classes.index(result.label), _units(result.score)])
        elif isinstance(result, Caption):
            self._add("captions", [which, frame, result.text[:MAX_TEXT], _units(result.score)])
        elif box := _box(result.box):
            if isinstance(result, Text):
                self._add("words", [which, frame, result.text[:MAX_TEXT], _units(result.score), *box])
            else:
                label = analyser.classes.index(result.label)
                self._add("found", [which, frame, label, _units(result.score), *box])

    def _add(self, name: str, row: list[Any]) -> None:
        if len(self.rows[name]) >= (MAX_WORDS if name == "words" else MAX_FOUND):
            self.truncated.add(row[0])
        else:
            self.rows[name].append(row)


def _units(score: float) -> int:
    return min(SCORE_UNIT, max(0, round(score * SCORE_UNIT)))


def _box(box: tuple[float, float, float, float]) -> list[int]:
    """The part of a box that lies in the frame, in whole units; empty where none does."""
    x, y, w, h = box
    left, top = _clip(x), _clip(y)
    width, height = _clip(x + w) - left, _clip(y + h) - top
    if width <= 0 or height <= 0:
        return []
    units = [round(v * BOX_UNIT) for v in (left, top, width, height)]
    units[2], units[3] = min(units[2], BOX_UNIT - units[0]), min(units[3], BOX_UNIT - units[1])
    return units if units[2] > 0 and units[3] > 0 else []


def _clip(share: float) -> float:
    return min(1.0, max(0.0, share))


def lane(line: Line, chosen: list[Analyser], sampling: decode.Sampling) -> None:
    """Take item after item, look at it and send back what was found. Several lanes run side by side."""
    while True:
        head = line.items.get()
        number, body = head["id"], b""
        line.send({"begun": number})
        try:
            about = About(head["kind"], head.get("facts", {}))
            looked = Looked(chosen, about, vectors_only="cut" in head)
            shots = Shots() if head["kind"] == "video" and "cut" not in head else None
            if about.kind == "words":
                looked.read(head["tower"], head["body"].decode())
            else:
                batches = frames_of(line, head, sampling, shots)
                for batch in ahead(batches) if shots else batches:
                    looked.add(batch)
                    line.send({"alive": number})
            looked.end()
        except decode.Undecodable as error:
            answer: dict[str, Any] = {"failed": number, "code": error.code}
        except WordsRefused:
            answer = {"failed": number, "code": "words-refused"}
        except MemoryError:
            answer = {"failed": number, "code": "memory"}
        except OSError:
            answer = {"failed": number, "code": "unreadable"}
        except Exception as error:  # noqa: BLE001  a model's failure belongs to this item, not to the next
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            answer = {"failed": number, "code": "model-failed"}
        else:
            told = shots.told() if shots else []
            answer, body = {"done": number, "shots": told, **looked.head()}, looked.body()
        line.answers.pop(number, None)
        line.send({**answer, "memory": _memory()}, body)


def _memory() -> int:
    """Resident memory now, in bytes."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()


def main(weights: str) -> None:
    """Open what we are told to, then work until the pipe closes."""
    line = Line()
    head, _ = wire.receive(line.incoming)
    plugins.take(head["plugins"])
    entries = [registry.get(name, Path(weights)).only(files) for name, files in head["entries"].items()]
    sampling = decode.Sampling(**head["sampling"])
    runtime = Runtime(Path(weights), lanes=head["lanes"])
    lanes = []
    try:
        for _ in range(head["lanes"]):
            lanes.append([a for a in analysers.plan(entries) if a.name in head["analysers"]])
            for analyser in lanes[-1]:
                analyser.open(runtime)
                _warm(analyser)
    except ModelUnavailable as error:
        print(error.sentence, file=sys.stderr)
        line.send({"refused": "plug-in" if isinstance(error, plugins.PluginUnusable) else "weights"})
        return
    line.send(
        {"ready": {"analysers": [a.name for a in lanes[0]], "versions": _versions()}, "memory": _memory()}
    )
    for chosen in lanes:
        threading.Thread(target=lane, args=(line, chosen, sampling), daemon=True).start()
    line.listen()


def _warm(analyser: Analyser) -> None:
    """Run once on an empty frame: networks finish opening at their first use."""
    import numpy

    analyser.begin(About("image"))
    if analyser.takes is not None:
        analyser.analyse(FrameBatch([numpy.zeros((128, 128, 3), numpy.uint8)], [0]))


def _versions() -> dict[str, str]:
    """The libraries that take part, as they say themselves."""
    import av  # noqa: F401  every video goes through it

    names = {
        "cv2": "opencv",
        "av": "av",
        "ultralytics": "ultralytics",
        "openvino": "openvino",
        "torch": "torch",
    }
    found = {
        name: str(sys.modules[m].__version__).split("-")[0] for m, name in names.items() if m in sys.modules
    }
    if reader := sys.modules.get("tesserocr"):
        found["tesseract"] = reader.tesseract_version().split()[1]  # "tesseract 5.5.4", then its libraries
    return found


if __name__ == "__main__":
    main(sys.argv[1])
