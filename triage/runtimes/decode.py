"""From a stranger's bytes to frames: an image whole, a video decoded once and sampled. Runs confined.

A video's frames are looked at as follows. The first one; then one whenever `every_ms` have passed since the last;
and the first one after each change of scene, as far as the budget of `per_minute` frames goes. A change that the
budget has no room for is made up as soon as it has.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy

Pixels = Any  # numpy array, height x width x 3, BGR, 8 bit
MAX_PIXELS = 150_000_000


class Undecodable(Exception):
    """Nothing here to look at. `code` is one of those in triage.runtimes.process.SENTENCES."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Sampling:
    """How densely a video is looked at. Part of an analysis's parameters."""

    every_ms: int = 1000
    per_minute: int = 90
    frames: int = 3600

    def stretched(self, duration_ms: int) -> "Sampling":
        """The same with a wider step where the whole would not fit into `frames`."""
        return Sampling(max(self.every_ms, duration_ms // self.frames), self.per_minute, self.frames)


def image(data: bytes) -> Pixels:
    """Decode a picture, turned upright as its EXIF says. Raises Undecodable."""
    import cv2
    import numpy

    if not data:
        raise Undecodable("empty")
    try:
        pixels = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # more pixels than OPENCV_IO_MAX_IMAGE_PIXELS, or a broken header
        raise Undecodable("too-large" if "pixels" in str(error).lower() else "cannot-decode") from error
    if pixels is not None:
        return pixels
    for _, pixels in video(io.BytesIO(data), Sampling(frames=1)):  # formats that only FFmpeg knows
        return pixels
    raise Undecodable("cannot-decode")


def video(
    stream: BinaryIO, sampling: Sampling, alive: Callable[[int], None] = lambda frames: None
) -> Iterator[tuple[int, Pixels]]:
    """Decode a video once and yield (milliseconds from its start, frame) for the frames to look at.

    `alive` is told now and then how many frames were decoded. A video that breaks off is looked at as far as it
    goes. Raises Undecodable when not one frame came out.
    """
    import av

    try:
        container = av.open(stream, mode="r", buffer_size=1 << 18, metadata_errors="ignore")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise Undecodable("cannot-decode") from error
    with container:
        if not container.streams.video:
            raise Undecodable("no-frames")
        track = container.streams.video[0]
        if (track.codec_context.width or 1) * (track.codec_context.height or 1) > MAX_PIXELS:
            raise Undecodable("too-large")
        track.thread_type = "AUTO"
        duration = int(container.duration / 1000) if container.duration else 0
        choose = Chooser(sampling.stretched(duration))
        seen = taken = 0
        try:
            first = container.start_time / 1e6 if container.start_time is not None else None
            for frame in container.decode(track):
                seen += 1
                if seen % 50 == 1:
                    alive(seen)
                moment = frame.time
                if moment is None:
                    moment = (first or 0.0) + seen / float(track.average_rate or 25)
                first = moment if first is None else first  # as players and redactions count, sound included
                at_ms = max(0, round((moment - first) * 1000))
                if choose.takes(at_ms, signature(frame)):
                    taken += 1
                    yield at_ms, upright(frame)
                    if taken >= sampling.frames:
                        return
        except (av.FFmpegError, ValueError) as error:
            if not taken:
                raise Undecodable("cannot-decode") from error
        if not taken:
            raise Undecodable("no-frames")


def upright(frame: Any) -> Pixels:
    """The frame as a player shows it: 8-bit BGR, turned as its display matrix says."""
    import numpy

    pixels = frame.to_ndarray(format="bgr24")
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return numpy.ascontiguousarray(numpy.rot90(pixels, quarter_turns)) if quarter_turns else pixels


def at_most(pixels: Pixels, side: int) -> Pixels:
    """The frame with its longer side at most `side`; never enlarged."""
    height, width = pixels.shape[:2]
    if not side or max(height, width) <= side:
        return pixels
    import cv2

    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def signature(frame: Any) -> "numpy.ndarray[Any, Any]":
    """About 64 x 36 brightness samples of a frame, cheaply: straight out of the luma plane where there is one."""
    import numpy

    kind = frame.format
    if kind.components and kind.components[0].bits == 8 and kind.is_planar and not kind.is_rgb:
        plane = frame.planes[0]
        luma = numpy.frombuffer(plane, numpy.uint8).reshape(-1, plane.line_size)[
            : frame.height, : frame.width
        ]
    else:
        luma = frame.reformat(width=64, height=36, format="gray").to_ndarray()
    return luma[:: max(1, luma.shape[0] // 36), :: max(1, luma.shape[1] // 64)].astype(numpy.int16)


class Chooser:
    """Decides frame by frame which ones are looked at. The same frames give the same choice."""

    LEAST_CHANGE = 14  # mean difference of brightness, of 255
    TIMES_USUAL = 3.0

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.before: numpy.ndarray[Any, Any] | None = None
        self.usual: float | None = None
        self.last_ms: int | None = None
        self.tokens = float(self.allowance)
        self.tokens_ms = 0
        self.owed = False

    @property
    def allowance(self) -> float:
        """How many changes of scene a minute have room beside the regular frames."""
        return max(0.0, self.sampling.per_minute - 60_000 / self.sampling.every_ms)

    def takes(self, at_ms: int, now: "numpy.ndarray[Any, Any]") -> bool:
        """Whether to look at the frame at this time that looks like this."""
        if self._is_cut(now):
            self.owed = True
        self.tokens = min(self.allowance, self.tokens + (at_ms - self.tokens_ms) * self.allowance / 60_000)
        self.tokens_ms = at_ms
        if self.last_ms is None or at_ms - self.last_ms >= self.sampling.every_ms:
            self.last_ms, self.owed = at_ms, False
            return True
        if self.owed and self.tokens >= 1:
            self.tokens -= 1
            self.last_ms, self.owed = at_ms, False
            return True
        return False

    def _is_cut(self, now: "numpy.ndarray[Any, Any]") -> bool:
        before, self.before = self.before, now
        if before is None or before.shape != now.shape:
            return before is not None
        change = float(abs(now - before).mean())
        self.usual = change if self.usual is None else self.usual
        cut = change >= self.LEAST_CHANGE and change >= self.TIMES_USUAL * self.usual
        self.usual = self.usual * 0.9 + min(change, self.LEAST_CHANGE) * 0.1
        return cut
