"""Small media files made on the spot: honest ones with ffmpeg and Pillow, and hostile ones by hand."""

import io
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

from PIL import Image, ImageDraw


def photo(width=640, height=480, mode="RGB"):
    """A picture with detail everywhere, so that blur and damage can be measured."""
    picture = Image.effect_noise((width, height), 80).convert("RGB")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width // 2, height // 2), fill=(200, 30, 30))
    draw.rectangle((width // 2, height // 2, width, height), fill=(20, 40, 190))
    return picture.convert(mode)


def encoded(picture, form="JPEG", **options):
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def video(path: Path, *options, seconds=3, size="320x240", audio=True):
    """Encode ffmpeg's moving test picture; options are the encoder's."""
    sound = ["-f", "lavfi", "-i", f"sine=440:duration={seconds}"] if audio else []
    source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds}"]
    chosen = list(options) or [
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        "-g",
        "25",
        *(["-c:a", "aac"] * audio),
    ]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *sound, *chosen, path], check=True)
    return path


def sound(path: Path, *options, seconds=2):
    source = ["-f", "lavfi", "-i", f"sine=440:duration={seconds}"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *options, path], check=True)
    return path


def png_claiming(width, height):
    """A sound PNG header of any size, with almost nothing behind it."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def gif_of(frames, width=16, height=16):
    """An animation that costs its maker a few bytes a frame, on a canvas of any size."""
    one = encoded(Image.new("L", (16, 16)), "GIF", optimize=False)
    picture = one[one.index(b"\x2c\0\0\0\0\x10\0\x10\0") : -1]
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + (b"\x21\xf9\x04\0\x01\0\0\0" + picture) * frames + b"\x3b"


def zip_of(name="a.txt", data=b"hello"):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, data)
    return out.getvalue()


def heic_header():
    brands = b"ftypheic\0\0\0\0mif1heic"
    return (
        struct.pack(">I", 4 + len(brands))
        + brands
        + struct.pack(">I4s", 12, b"meta")
        + b"\0" * 4
        + b"\0" * 400
    )
