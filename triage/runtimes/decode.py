"""From a stranger's bytes to frames: an image whole, a video decoded once and sampled. Runs confined.

A video's frames are looked at as follows. The first one; then one whenever `every_ms` have passed since the last; and beyond
these, as far as the budget of `per_minute` frames goes, the first one of each shot and whatever has moved since the frame that
was looked at last. What the budget has no room for is made up as soon as it has. So a still minute costs 60 looks, a busy
one the whole budget in even steps, and a short movement is followed in half these steps.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from triage.runtimes.shots import Shots, small

Pixels = Any  # numpy array, height x width x 3, BGR, 8 bit
MAX_PIXELS = 150_000_000


class Undecodable(Exception):
    """Nothing here to look at. `code` is one of those in triage.runtimes.process.SENTENCES."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Sampling:
    """How densely a video is looked at. Part of an analysis's parameters.

    A frame has moved when one in `moved_of` parts of its area differs by `moved_by` of 255 in brightness.
    """

    every_ms: int = 1000
    per_minute: int = 240
    frames: int = 3600
    moved_by: int = 12
    moved_of: int = 200

    def stretched(self, duration_ms: int) -> "Sampling":
        """The same with wider steps where the whole would not fit into `frames`."""
        fits = self.frames * 60_000 // max(1, duration_ms)
        return replace(
            self,
            every_ms=max(self.every_ms, duration_ms // self.frames),
            per_minute=max(1, min(self.per_minute, fits)),
        )


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
    stream: BinaryIO,
    sampling: Sampling,
    alive: Callable[[int], None] = lambda frames: None,
    shots: Shots | None = None,
) -> Iterator[tuple[int, Pixels]]:
    """Decode a video once and yield (milliseconds from its start, frame) for the frames to look at.

    `alive` is told now and then how many frames were decoded; `shots` gets every frame, so that it can tell the shots when the
    video has ended. A video that breaks off is looked at as far as it goes. Raises Undecodable when not one frame came
    out.
    """
    import av

    shots = shots or Shots()

    try:
        container = av.open(stream, mode="r", buffer_size=1 << 18, metadata_errors="ignore")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise Undecodable("cannot-decode") from error
    with container:
        track = _track(container)
        duration = int(container.duration / 1000) if container.duration else 0
        choose = Chooser(sampling.stretched(duration))
        seen = taken = 0
        before_ms = -1
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
                # a file may tell times that run backwards; what is stored of it runs forwards
                at_ms = before_ms = max(before_ms + 1, round((moment - first) * 1000))
                picture = small(frame)
                if choose.takes(at_ms, picture, new_shot=shots.add(at_ms, picture)):
                    taken += 1
                    yield at_ms, upright(frame)
                    if taken >= sampling.frames:
                        return
        except (av.FFmpegError, ValueError) as error:
            if not taken:
                raise Undecodable("cannot-decode") from error
        if not taken:
            raise Undecodable("no-frames")


def moment(stream: BinaryIO, at_ms: int, alive: Callable[[int], None] = lambda frames: None) -> Pixels:
    """The frame that a video shows so many milliseconds from its start. `alive` as for `video`. Raises Undecodable."""
    import av

    try:
        with av.open(stream, mode="r", buffer_size=1 << 18, metadata_errors="ignore") as container:
            track = _track(container)
            first = container.start_time or 0
            wanted = first / 1e6 + at_ms / 1000
            container.seek(first + at_ms * 1000)  # to the last key frame before it
            shown = None
            for seen, frame in enumerate(container.decode(track)):
                if seen % 50 == 0:
                    alive(seen)
                if shown is not None and frame.time is not None and frame.time > wanted + 0.0005:
                    break
                shown = frame
    except (av.FFmpegError, ValueError, OSError) as error:
        raise Undecodable("cannot-decode") from error
    if shown is None:
        raise Undecodable("no-frames")
    return upright(shown)


def _track(container: Any) -> Any:
    """The stream of pictures that is decoded. Raises Undecodable."""
    if not container.streams.video:
        raise Undecodable("no-frames")
    track = container.streams.video[0]
    if track.codec_context is None:  # a format that FFmpeg names and has no decoder for, such as SVG
        raise Undecodable("cannot-decode")
    if (track.codec_context.width or 1) * (track.codec_context.height or 1) > MAX_PIXELS:
        raise Undecodable("too-large")
    track.thread_type = "AUTO"
    return track


def part(pixels: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    """What lies in a box (left, top, width, height in 100,000ths of the frame), at least one pixel of it."""
    import numpy

    high, wide = pixels.shape[:2]
    x, y, width, height = (share / 100_000 for share in box)
    left, top = min(int(x * wide), wide - 1), min(int(y * high), high - 1)
    right, bottom = max(left + 1, round((x + width) * wide)), max(top + 1, round((y + height) * high))
    return numpy.ascontiguousarray(pixels[top:bottom, left:right])


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


class Chooser:
    """Decides frame by frame which ones are looked at. The same frames give the same choice."""

    STILL_MS = 10_000  # stillness is saved up for so long

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.even_ms = 60_000 / sampling.per_minute
        self.saved_ms = float(self.STILL_MS)
        self.last: Pixels = None
        self.last_ms = self.now_ms = 0
        self.owed = False

    def takes(self, at_ms: int, picture: Pixels, *, new_shot: bool = False) -> bool:
        """Whether to look at the frame at this time with this small picture."""
        self.saved_ms = min(self.STILL_MS, self.saved_ms + at_ms - self.now_ms)
        self.now_ms = at_ms
        self.owed = self.owed or new_shot
        if self.last is None or at_ms - self.last_ms >= self.sampling.every_ms:
            return self._take(at_ms, picture)
        # the first of a shot goes at once, movement in steps of half the even ones
        if self.saved_ms >= self.even_ms and (
            self.owed or (at_ms - self.last_ms >= self.even_ms / 2 and self._moved(picture))
        ):
            return self._take(at_ms, picture)
        return False

    def _take(self, at_ms: int, picture: Pixels) -> bool:
        self.saved_ms = max(0.0, self.saved_ms - self.even_ms)
        self.last, self.last_ms, self.owed = picture, at_ms, False
        return True

    def _moved(self, picture: Pixels) -> bool:
        import cv2

        now, then = (cv2.cvtColor(one, cv2.COLOR_BGR2GRAY) for one in (picture, self.last))
        moved = cv2.absdiff(now, then) >= self.sampling.moved_by
        return cv2.countNonZero(moved.astype("uint8")) * self.sampling.moved_of >= moved.size
