"""Runs inside the sandbox: decodes /in/redacted and compares every frame with what the recipe wants to be painted there.

Tells "checked" only where all of it is as it should be; "wrong" says what is not.
"""

from __future__ import annotations

import json
import os
import sys
from fractions import Fraction
from typing import Any, NoReturn

ASKED = json.loads(sys.argv[1])
sys.path.append(ASKED["packages"])
sys.path.insert(0, "/in")
PLAN = json.load(open("/in/plan.json", encoding="utf-8"))

import av  # noqa: E402
import covering  # noqa: E402
import numpy  # noqa: E402

av.logging.set_level(av.logging.PANIC)
GROW = covering.Grow(**{name: PLAN["grow"][name] for name in ("percent", "pixels", "grid", "ms")})
REGIONS = [covering.region(one) for one in PLAN["regions"]]
MOSAICS = covering.Mosaics(0, 0, PLAN["rendered"]["mosaics"])
# What a lossy encoder may do to what was painted: mean difference of 255, and how many of 1,000 pixels may be further
# off than FAR. What is left over of an original picture is far beyond both: see docs/redaction.md.
MEAN, FAR, FAR_PER_MILLE = 4.0, 40, 10
EDGE = 8  # pixels at the rim of a region into which the encoder may smear what lies outside
SILENT = 1 / 32768 / 2
RIM = 4096  # samples at the ends of silence into which the encoder may smear what lies outside


class Wrong(Exception):
    """The result is not what the recipe wants."""


def tell(record: str, value: object) -> None:
    sys.stdout.write(json.dumps({"record": record, "value": value, "size": 0}) + "\n")


class Seen:
    """What was measured, over all frames."""

    def __init__(self) -> None:
        self.frames = self.covered = 0
        self.mean = self.far = 0.0

    def compare(
        self, planes: covering.Planes, rects: list[covering.Rect], black: tuple[int, ...], edge: int
    ) -> None:
        """Paint what should be there over a copy of what is there; nothing may change but a little."""
        self.frames += 1
        wanted = [(plane.copy(), span) for plane, span in planes]
        covering.paint(wanted, rects, MOSAICS, black)
        for rect in rects:
            for (is_, span), (should, _) in zip(planes, wanted, strict=True):
                window = inner(rect, span, edge, is_.shape)
                off = numpy.abs(is_[window].astype(numpy.int16) - should[window])
                if not off.size:
                    continue
                mean, far = float(off.mean()), 1000 * float((off > FAR).mean())
                self.mean, self.far = max(self.mean, mean), max(self.far, far)
                if mean > MEAN or far > FAR_PER_MILLE:
                    raise Wrong(
                        f"region {rect.region.name}, frame {self.frames}: {mean:.1f} from what was painted"
                    )
            self.covered += 1


def inner(rect: covering.Rect, span: int, edge: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """A region without its rim; what lies at the picture's own edge has no rim there."""
    height, width = shape
    bounds = []
    for low, high, size in ((rect.top, rect.bottom, height * span), (rect.left, rect.right, width * span)):
        start, end = low + (edge if low > 0 else 0), high - (edge if high < size else 0)
        bounds.append(slice(-(-start // span), end // span))
    return bounds[0], bounds[1]


def picture(seen: Seen) -> None:
    from PIL import Image, JpegImagePlugin  # noqa: F401

    with Image.open("/in/redacted", formats=["JPEG"]) as found:
        pixels = numpy.array(found.convert("RGB"))
    height, width = pixels.shape[:2]
    expect_size(width, height)
    planes = [(pixels[:, :, channel], 1) for channel in range(3)]
    seen.compare(planes, covering.rects(REGIONS, GROW, width, height, 0, None), (0, 0, 0), 0)


def recording(seen: Seen) -> None:
    with av.open("/in/redacted", format="mp4") as container:
        kinds = sorted(stream.type for stream in container.streams)
        wanted = ["audio", "video"] if PLAN["rendered"]["samples"] else ["video"]
        if kinds != wanted:
            raise Wrong(f"it has streams {kinds}, not {wanted}")
        told = {name for tags in (container, *container.streams) for name in tags.metadata}
        if told - {
            "major_brand",
            "minor_version",
            "compatible_brands",
            "language",
            "handler_name",
            "vendor_id",
        }:
            raise Wrong(f"it carries metadata: {sorted(told)}")
        if container.chapters():
            raise Wrong("it carries chapters")
        waiting = None
        track = container.streams.video[0]
        track.thread_type, track.codec_context.thread_count = "AUTO", 2
        for frame in container.decode(video=0):
            if waiting is not None:
                one_frame(seen, waiting, until=frame.pts)
            waiting = frame
        if waiting is not None:
            one_frame(seen, waiting, until=None)
    if seen.frames != PLAN["rendered"]["frames"]:
        raise Wrong(f"it has {seen.frames} frames, and {PLAN['rendered']['frames']} were rendered")
    silences = muted()
    if PLAN["rendered"]["samples"] and silences:
        silence(silences)


def one_frame(seen: Seen, frame: Any, until: int | None) -> None:
    expect_size(frame.width, frame.height)
    base, height, width = frame.time_base, frame.height, frame.width
    flat = frame.to_ndarray(format="yuv420p")
    rest = flat[height:].reshape(2, height // 2, width // 2)
    rects = covering.rects(
        REGIONS,
        GROW,
        width,
        height,
        nanoseconds(frame.pts, base),
        None if until is None else nanoseconds(until, base, up=1),
    )
    seen.compare([(flat[:height], 1), (rest[0], 2), (rest[1], 2)], rects, covering.BLACK, EDGE)


def nanoseconds(count: int, base: Fraction, up: int = 0) -> int:
    exact = count * base * 1_000_000_000
    return -(-exact.numerator // exact.denominator) if up else exact.numerator // exact.denominator


def expect_size(width: int, height: int) -> None:
    if (width, height) != (PLAN["rendered"]["width"], PLAN["rendered"]["height"]):
        raise Wrong(f"it is {width} x {height} pixels")


def muted() -> list[tuple[int, int]]:
    """Ranges of samples that must be silent."""
    plan, ms = PLAN["sound"], 48
    if plan["do"] == "mute":
        return [(0, 1 << 62)]
    if plan["do"] != "ranges":
        return []
    return [(one["from_ms"] * ms, one["to_ms"] * ms) for one in plan["ranges"] if one["do"] == "mute"]


def silence(ranges: list[tuple[int, int]]) -> None:
    with av.open("/in/redacted", format="mp4") as container:
        at = 0
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=48_000)
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                block = numpy.abs(part.to_ndarray()).max(axis=0)
                for start, end in ranges:
                    a = max(0, start + (RIM if start else 0) - at)
                    b = max(0, min(block.size, end - RIM - at))
                    if block[a:b].size and float(block[a:b].max()) > SILENT:
                        raise Wrong(f"it is not silent {(at + a) / 48_000:.2f} s after its start")
                at += block.size


def bounded() -> None:
    """No mosaic may say more than the recipe allows."""
    most, allowed = PLAN["mosaic"]["cells"], {one.name for one in REGIONS if one.fill == "mosaic"}
    for name, planes in MOSAICS.values.items():
        cells = [value for rows in planes for row in rows for value in row]
        shapes = {len(rows) for rows in planes} | {len(row) for rows in planes for row in rows}
        plain = all(isinstance(value, int) and 0 <= value <= 255 for value in cells)
        if name not in allowed or len(planes) != 3 or not plain or not 0 < max(shapes, default=0) <= most:
            raise Wrong("its mosaics are finer than they may be")


def end(record: str, value: object) -> NoReturn:
    """Tell, and be gone: a decoder that is freed while its threads are at work may wait for ever."""
    tell(record, value)
    sys.stdout.flush()
    os._exit(0)


try:
    result = Seen()
    bounded()
    picture(result) if PLAN["kind"] == "image" else recording(result)
except Wrong as wrong:
    end("wrong", str(wrong))
except Exception as problem:  # noqa: BLE001 - without "checked" nothing is kept
    end("wrong", f"{type(problem).__name__}: {problem}"[:300])
seen = {"frames": result.frames, "covered": result.covered}
end("checked", seen | {"mean": f"{result.mean:.2f}", "far_per_mille": f"{result.far:.2f}"})
