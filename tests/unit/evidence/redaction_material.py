"""Pictures and videos to redact, made so that what must vanish can be told by its colour or its noise."""

import io
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from evidence.redaction import document

SIZE = (320, 240)
GREEN = (30, 220, 40)


def recipe(kind: str, regions: list[dict], *, sound: dict | None = None, ms: int = 0) -> dict[str, Any]:
    """A recipe as `document.recipe` writes it."""
    return {
        "format": document.FORMAT,
        "item": "0" * 8,
        "redaction": "1" * 8,
        "original_sha256": "0" * 64,
        "kind": kind,
        "regions": regions,
        "rejected_suggestions": 0,
        "sound": sound or {"do": "remove", "ranges": []},
        "grow": document.GROW | {"ms": ms},
        "mosaic": document.MOSAIC,
        "encoding": {"crf": 20, "quality": 92, "side": 12_000},
    }


def region(
    *keys: tuple[int | None, tuple[float, float, float, float]],
    start: int | None = None,
    end: int | None = None,
    fill: str = "solid",
    name: str = "r1",
) -> dict[str, Any]:
    """A region with a box at each of these moments."""
    boxes = [{"at_ms": at, "box": [f"{v:.5f}" for v in box]} for at, box in keys]
    return {
        "id": name, "kind": "other", "fill": fill, "from_ms": start, "to_ms": end, "keys": boxes, "origin": "drawn",
    }  # fmt: skip


def noisy(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Noise on a ramp: nothing of it is smooth, so that anything left of it shows."""
    random = numpy.random.default_rng(seed)
    pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=numpy.uint8)
    return Image.fromarray(pixels)


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=95, **options)
    return out.getvalue()


def ffmpeg(*arguments: str, stdin: bytes | None = None) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, input=stdin)


@cache
def moving(frames: int = 50, rate: int = 25) -> bytes:
    """Raw frames, grey, in which a green square of 40 pixels moves 4 pixels a frame to the right and 2 down."""
    parts = []
    for n in range(frames):
        picture = numpy.full((SIZE[1], SIZE[0], 3), 120, numpy.uint8)
        x, y = square(n)
        picture[y : y + 40, x : x + 40] = GREEN
        parts.append(picture.tobytes())
    return b"".join(parts)


def square(frame: int) -> tuple[int, int]:
    return 20 + 4 * frame, 30 + 2 * frame


def video(path: Path, *options: str, frames: int = 50, rate: int = 25) -> Path:
    """The moving square as a file; ffmpeg's options say as which."""
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{SIZE[0]}x{SIZE[1]}", "-r", str(rate), "-i", "-")
    ffmpeg(*raw, *options, str(path), stdin=moving(frames, rate))
    return path


UPRIGHT, QUARTER, MIRRORED = (1, 0, 0, 0, 1), (0, 1, 0, -1, 0), (-1, 0, 0, 0, 1)


def shown_as(path: Path, matrix: tuple[int, ...]) -> Path:
    """Change the display matrix of an MP4's video track, as phones write it: the upper left five numbers."""
    data = path.read_bytes()
    packed = [
        b"".join((n * 65536).to_bytes(4, "big", signed=True) for n in five) for five in (UPRIGHT, matrix)
    ]
    at = data.index(packed[0], data.index(b"tkhd"))
    path.write_bytes(data[:at] + packed[1] + data[at + len(packed[1]) :])
    return path


def decoded(path: Path, *, turned: bool = False) -> list[tuple[float, numpy.ndarray]]:
    """Seconds and RGB pixels of each frame, decoded by a program that had no part in the rendering.

    `turned`: its display matrix turns it by a quarter.
    """
    size = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height:frame=pts_time",
         "-of", "csv=p=0", str(path)], check=True, capture_output=True, text=True
    ).stdout.split()  # fmt: skip
    width, height = map(int, size[-1].strip(",").split(",")[:2])
    width, height = (height, width) if turned else (width, height)
    times = [float(line.strip(",")) for line in size[:-1]]
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    pixels = numpy.frombuffer(raw, numpy.uint8).reshape(-1, height, width, 3)
    assert len(pixels) == len(times)
    return list(zip(times, pixels, strict=True))


def green(pixels: numpy.ndarray) -> int:
    """How many pixels are of the moving square's colour."""
    r, g, b = (pixels[..., channel].astype(int) for channel in range(3))
    return int(((g > 150) & (r < 110) & (b < 110)).sum())


def samples(path: Path) -> numpy.ndarray:
    """The sound as decoded by ffmpeg: float samples of both channels at 48,000 a second."""
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-ac", "2", "-ar", "48000", "-"],
        check=True,
        capture_output=True,
    ).stdout
    return numpy.frombuffer(raw, numpy.float32).reshape(-1, 2)
