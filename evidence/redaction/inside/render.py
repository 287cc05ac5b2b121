"""Runs inside the sandbox: makes /out/redacted.jpg or /out/redacted.mp4 of /in/original as /in/plan.json says.

Decodes to bare pixels and samples, covers them, encodes them anew: nothing else of the original can get through. Says
on stdout what it did, as examine.py does. Our side believes none of it, and check.py looks at the result.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

sys.path.append(json.loads(sys.argv[1])["packages"])
sys.path.insert(0, "/in")
PLAN = json.load(open("/in/plan.json", encoding="utf-8"))

import av  # noqa: E402
import covering  # noqa: E402
import numpy  # noqa: E402
from examine import ORIGINAL, opened, tell, turned, upright  # noqa: E402

av.logging.set_level(av.logging.PANIC)
GROW = covering.Grow(**{name: PLAN["grow"][name] for name in ("percent", "pixels", "grid", "ms")})
REGIONS = [covering.region(one) for one in PLAN["regions"]]
MOSAICS = covering.Mosaics(PLAN["mosaic"]["cells"], PLAN["mosaic"]["noise"])
REFORMATTER = av.video.reformatter.VideoReformatter()
TIME_BASES = 1_000_000  # a finer one than this is replaced


def picture() -> None:
    """One still picture, upright, in sRGB, with nothing but its pixels."""
    from PIL import Image

    try:
        source = opened("")
    except Exception:  # noqa: BLE001 - formats that only ffmpeg opens
        with opened_recording() as container:
            flat = next(container.decode(video=0)).to_image()
    else:
        if source.width * source.height > PLAN["max_pixels"]:
            raise ValueError("it has more pixels than may be decoded")
        source.load()
        flat = upright(source, turned(source), PLAN["side"])
    pixels = numpy.array(flat.convert("RGB"))
    height, width = pixels.shape[:2]
    covered = covering.rects(REGIONS, GROW, width, height, 0, None)
    planes = [(pixels[:, :, channel], 1) for channel in range(3)]
    covering.paint(planes, covered, MOSAICS, (0, 0, 0))
    Image.fromarray(pixels).save("/out/redacted.jpg", "JPEG", quality=PLAN["quality"], subsampling=0)
    told(width, height, frames=1)


def told(width: int, height: int, **more: Any) -> None:
    from PIL import __version__ as pillow

    versions = {name: ".".join(map(str, number)) for name, number in av.library_versions.items()}
    tell("software", {"pillow": pillow, "pyav": av.__version__, "numpy": numpy.__version__, **versions})
    tell("rendered", {"width": width, "height": height, "mosaics": MOSAICS.values, **more})


def opened_recording() -> Any:
    """The original, kept to this one file: no playlists, no other protocols, no references."""
    limits = {"protocol_whitelist": "file,pipe", "format_whitelist": PLAN["av_formats"]}
    return av.open("file:" + ORIGINAL, options=limits, metadata_errors="ignore")


class Picture:
    """The video: each frame waits for the next one, which says until when it is on screen.

    The first one is shown from the start, also where the original begins with a gap: a container states such a gap in
    milliseconds only, and every frame behind it would be a little off.
    """

    def __init__(self, source: Any, out: Any, zero: Fraction) -> None:
        self.source, self.zero = source, zero
        base = source.time_base or Fraction(1, 90_000)
        self.base = base if base.numerator == 1 and base.denominator <= TIME_BASES else Fraction(1, 90_000)
        self.stream = out.add_stream("libx264", rate=source.average_rate or Fraction(25))
        self.waiting: tuple[int, Any] | None = None
        self.frames = self.dropped = 0
        self.size = (0, 0)

    def add(self, frame: Any) -> Iterator[Any]:
        """Packets that are ready once this frame has come."""
        if frame.pts is None:
            raise ValueError("a frame does not say when it is shown")
        at = round((frame.pts * frame.time_base - self.zero) / self.base) if self.waiting else 0
        if self.waiting is not None and at <= self.waiting[0]:
            self.dropped += 1  # shown at no moment of its own
            return
        yield from self._encode(until=at)
        self.waiting = (at, frame)

    def end(self) -> Iterator[Any]:
        """The last frame, and what the encoder holds."""
        yield from self._encode(until=None)
        if self.frames:
            yield from self.stream.encode(None)

    def _encode(self, until: int | None) -> Iterator[Any]:
        if self.waiting is None:
            return
        at, frame = self.waiting
        planes = upright_planes(frame)
        height, width = planes[0].shape
        if (width, height) != self.size:
            raise ValueError("the picture changes its size")
        covered = covering.rects(
            REGIONS,
            GROW,
            width,
            height,
            nanoseconds(at, self.base),
            None if until is None else nanoseconds(until, self.base, up=1),
        )
        covering.paint([(planes[0], 1), (planes[1], 2), (planes[2], 2)], covered, MOSAICS, covering.BLACK)
        whole = numpy.concatenate([plane.reshape(-1) for plane in planes]).reshape(-1, width)
        made = av.VideoFrame.from_ndarray(numpy.ascontiguousarray(whole), format="yuv420p")
        made.pts, made.time_base = at, self.base
        self.frames += 1
        yield from self.stream.encode(made)

    def begin(self, frame: Any) -> None:
        """Set the encoder up for frames like this one."""
        height, width = upright_planes(frame)[0].shape
        self.size = (width, height)
        codec = self.stream.codec_context
        codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuv420p", self.base
        codec.options = {"preset": "veryfast", "crf": str(PLAN["crf"]), "bf": "0", "g": "60", "threads": "2"}
        codec.color_range = 1  # limited, as every browser expects
        for name in ("color_primaries", "color_trc", "colorspace"):
            setattr(codec, name, getattr(frame, name))
        shape = self.source.codec_context.sample_aspect_ratio
        if shape and shape != 1:
            codec.sample_aspect_ratio = shape if quarter_turns(frame) % 2 == 0 else 1 / shape


def nanoseconds(count: int, base: Fraction, up: int = 0) -> int:
    exact = count * base * 1_000_000_000
    return -(-exact.numerator // exact.denominator) if up else exact.numerator // exact.denominator


def quarter_turns(frame: Any) -> int:
    """How often the picture is turned counterclockwise by a right angle. Raises ValueError where it is mirrored."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = numpy.frombuffer(bytes(data), numpy.int32)[:5].astype(numpy.int64)
            if a * d - b * c < 0:
                raise ValueError("the video asks to be shown mirrored")
    return round(frame.rotation / 90) % 4


def upright_planes(frame: Any) -> list[Any]:
    """Y, U and V as a player shows them: turned, 8 bits, 4:2:0, an even size."""
    width, height = frame.width & ~1, frame.height & ~1
    turns = quarter_turns(frame)
    flat = REFORMATTER.reformat(
        frame, width=width, height=height, format="yuv420p", dst_color_range="MPEG", threads=1
    ).to_ndarray()
    luma, rest = flat[:height], flat[height:].reshape(2, height // 2, width // 2)
    return [numpy.ascontiguousarray(numpy.rot90(plane, turns)) for plane in (luma, rest[0], rest[1])]


def recording() -> None:
    """A video, with its sound as the recipe says."""
    import sound as sounds

    with (
        opened_recording() as container,
        av.open("/out/redacted.mp4", "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as out,
    ):
        shown = next(
            s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic
        )
        heard = next(iter(container.streams.audio), None) if PLAN["sound"]["do"] != "remove" else None
        shown.thread_type, shown.codec_context.thread_count = "AUTO", 2  # they are rationed
        zero = Fraction(container.start_time or 0, 1_000_000)
        picture, faults, samples = Picture(shown, out, zero), 0, 0
        with opened_recording() as ahead:  # the encoder is set up before the first sound is written
            picture.begin(next(ahead.decode(ahead.streams[shown.index])))
        changed = sounds.Changed(PLAN["sound"], PLAN["grow"]["sound_ms"]) if heard else None
        track = out.add_stream("aac", rate=sounds.RATE, layout="stereo", bit_rate=128_000) if heard else None

        def hear(blocks: Iterator[Any]) -> None:
            nonlocal samples
            for block in blocks:
                frame = av.AudioFrame.from_ndarray(
                    numpy.ascontiguousarray(block), format="fltp", layout="stereo"
                )
                frame.sample_rate, frame.pts, frame.time_base = sounds.RATE, samples, Fraction(1, sounds.RATE)
                samples += block.shape[1]
                out.mux(track.encode(frame))

        for packet in container.demux([s for s in (shown, heard) if s]):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:  # a player would go on as well
                faults += 1
                continue
            for frame in frames:
                if packet.stream is shown:
                    out.mux(list(picture.add(frame)))
                    if picture.frames % 50 == 0:
                        progress(picture.frames, frame.time)
                else:
                    hear(changed.add(frame, float(frame.pts * frame.time_base - zero)))
        out.mux(list(picture.end()))
        if track:
            hear(changed.end())
            out.mux(track.encode(None))
    if not picture.frames:
        raise ValueError("no frame came out")
    if picture.dropped > 10 + picture.frames // 20:
        raise ValueError("the times of its frames run backwards")
    told(*picture.size, frames=picture.frames, dropped=picture.dropped, faults=faults, samples=samples)


def progress(frames: int, seconds: float | None) -> None:
    with open("/out/progress", "w", encoding="ascii") as file:
        file.write(f"{frames} {round(1000 * (seconds or 0))}")


try:
    picture() if PLAN["kind"] == "image" else recording()
except Exception as problem:  # noqa: BLE001 - decoders of hostile bytes raise anything; without "rendered" it failed
    tell("problem", f"{type(problem).__name__}: {problem}"[:300])
    os._exit(1)  # a decoder that is freed while its threads are at work may wait for ever
