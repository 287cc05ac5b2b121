"""What becomes of the sound: muted or shifted in pitch, sample by sample. Runs inside the sandbox; imports nothing of ours."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import av
import numpy

RATE = 48_000
MS = RATE // 1000
GAP = RATE // 20  # holes and overlaps shorter than this are the container's rounding


class Changed:
    """A recording's sound from its start, at 48,000 samples a second and two channels, with what the recipe says."""

    def __init__(self, plan: dict[str, Any], grow_ms: int) -> None:
        """`plan`: {"do": keep, mute, pitch or ranges, "ranges": [{"do", "from_ms", "to_ms"}]}."""
        whole = {"mute": "mute", "pitch": "pitch"}.get(plan["do"])
        self.ranges = [(0, 1 << 62, whole)] if whole else []
        for one in plan["ranges"] if plan["do"] == "ranges" else []:
            start, end = max(0, one["from_ms"] - grow_ms) * MS, (one["to_ms"] + grow_ms) * MS
            self.ranges.append((start, end, one["do"]))
        self.resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)
        self.shifter = Shifter() if any(do == "pitch" for _, _, do in self.ranges) else None
        self.came = self.gone = 0
        self.waiting = numpy.zeros((2, 0), numpy.float32)

    def add(self, frame: Any, start_s: float) -> Iterator[Any]:
        """Blocks that are ready after this frame, which begins so many seconds after the recording does."""
        missing = round(start_s * RATE) - self.came
        for part in self.resampler.resample(frame):
            block = part.to_ndarray()
            if missing > (GAP if self.came else 0):
                yield from self._take(numpy.zeros((2, missing), numpy.float32))
            elif missing < -GAP or (missing < 0 and not self.came):
                block = block[:, -missing:]
            missing = 0
            yield from self._take(block)

    def end(self) -> Iterator[Any]:
        """What is left."""
        if self.shifter:
            self.shifter.end()
        yield from self._ready(last=True)

    def _take(self, block: Any) -> Iterator[Any]:
        self.came += block.shape[1]
        self.waiting = numpy.concatenate([self.waiting, block], axis=1)
        if self.shifter:
            self.shifter.add(block)
        yield from self._ready(last=False)

    def _ready(self, *, last: bool) -> Iterator[Any]:
        length = self.waiting.shape[1]
        if self.shifter and not last:
            length = min(length, self.shifter.ready)
        if not length:
            return
        block, self.waiting = self.waiting[:, :length].copy(), self.waiting[:, length:]
        other = self.shifter.take(length) if self.shifter else None
        for wanted in ("pitch", "mute"):  # where both were asked for, nothing is heard
            for start, end, do in self.ranges:
                a, b = max(0, start - self.gone), min(length, end - self.gone)
                if do == wanted and a < b:
                    block[:, a:b] = 0 if do == "mute" or other is None else other[:, a:b]
        self.gone += length
        yield block


class Shifter:
    """The same sound, lower: by a factor from 0.70 to 0.80 that is drawn anew each time and kept nowhere; and without
    what lies over 3.4 kHz."""

    def __init__(self) -> None:
        factor = 0.70 + secrets.randbelow(1001) / 10_000
        graph = av.filter.Graph()
        steps = [
            graph.add_abuffer(format="fltp", sample_rate=RATE, layout="stereo", time_base=None),
            graph.add("asetrate", str(round(RATE * factor))),
            graph.add("aresample", str(RATE)),
            graph.add("atempo", f"{1 / factor:.6f}"),
            graph.add("lowpass", "f=3400"),
            graph.add("aformat", f"sample_fmts=fltp:sample_rates={RATE}:channel_layouts=stereo"),
            graph.add("abuffersink"),
        ]
        for before, after in zip(steps, steps[1:], strict=False):
            before.link_to(after)
        graph.configure()
        self.graph, self.first, self.last, self.came = graph, steps[0], steps[-1], 0
        self.held = numpy.zeros((2, 0), numpy.float32)

    @property
    def ready(self) -> int:
        """How many samples can be taken."""
        return int(self.held.shape[1])

    def add(self, block: Any) -> None:
        """Give it more."""
        frame = av.AudioFrame.from_ndarray(numpy.ascontiguousarray(block), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = RATE, self.came
        self.came += block.shape[1]
        self.first.push(frame)
        self._pull()

    def end(self) -> None:
        """Nothing more comes."""
        self.first.push(None)
        self._pull()

    def take(self, length: int) -> Any:
        """So many samples; silence where it has fewer."""
        part, self.held = self.held[:, :length], self.held[:, length:]
        short = length - part.shape[1]
        return numpy.pad(part, ((0, 0), (0, short))) if short else part

    def _pull(self) -> None:
        parts = [self.held]
        while True:
            try:
                parts.append(self.last.pull().to_ndarray())
            except (av.BlockingIOError, av.EOFError):
                break
        self.held = numpy.concatenate(parts, axis=1)
