"""Runs inside the sandbox: looks at /in/original and says on stdout what it found. Imports nothing of ours.

Given one JSON argument, see `archive.media.probe.look`. Writes records: one line of JSON with "record" and "size",
then that many bytes. Facts come as early as they are known, so that a decoder that dies takes nothing else with it.
Our side believes none of it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import mmap
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

ORIGINAL = "/in/original"
ASKED = json.loads(sys.argv[1])
sys.path.append(ASKED["packages"])  # started without site: quicker, and no start-up hooks of other packages
START = time.monotonic()
Result = TypeVar("Result")

from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError  # noqa: E402

Image.MAX_IMAGE_PIXELS = None  # we look at the header ourselves, and say what we found


def tell(record: str, value: object = None, data: bytes = b"") -> None:
    line = json.dumps({"record": record, "value": value, "size": len(data)}) + "\n"
    sys.stdout.buffer.write(line.encode("ascii") + data)
    sys.stdout.buffer.flush()


def words(problem: BaseException | str) -> str:
    return (
        f"{type(problem).__name__}: {problem}"[:300] if isinstance(problem, BaseException) else problem[:300]
    )


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds:g} s")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class Tool:
    """One helper program, started at once; its output is read up to a bound when asked for."""

    def __init__(self, argv: list[str], *, bound: int, seconds: float) -> None:
        self.bound, self.end = bound, time.monotonic() + seconds
        self.out = open(f"/tmp/out-{os.urandom(6).hex()}", "w+b")
        self.err = open(f"/tmp/err-{os.urandom(6).hex()}", "w+b")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err)

    def wait(self) -> tuple[int, bytes, str]:
        try:
            code = self.process.wait(max(0.1, self.end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = -signal.SIGALRM
        self.out.seek(0)
        self.err.seek(0)
        out, err = self.out.read(self.bound), self.err.read(65536).decode("utf-8", "replace")
        self.out.close()
        self.err.close()
        os.unlink(self.out.name)
        os.unlink(self.err.name)
        return code, out, err


# ---- still pictures ---------------------------------------------------------------------------------------------


def image(mime: str) -> bool:
    """Decode a picture whole and make its renditions. False: no picture that we can open."""
    try:
        with at_most(ASKED["decode_s"]):
            picture = opened(mime)
    except Exception as problem:  # noqa: BLE001 - decoders of hostile bytes raise anything
        tell("image_error", words(problem))
        return False
    with picture:
        size = {"width": picture.width, "height": picture.height}
        tell("image", {"format": picture.format, "mode": picture.mode, **size})
        if picture.width * picture.height > ASKED["max_pixels"] or not picture.width or not picture.height:
            return True
        damage, flat = decode(picture)
        if damage:
            tell("image_damage", damage)
        if flat is not None:
            renditions(flat, ASKED["image_renditions"])
        elif damage:
            tell("image_undecodable", damage)
    if picture.format in ("GIF", "PNG", "WEBP", "AVIF", "TIFF"):
        frames(picture.format)
    return True


def opened(mime: str) -> Image.Image:
    """The picture's header, by the one decoder that its type asks for; only if that fails by any that may run."""
    likely = [form for form, (_, types) in ASKED["image_decoders"].items() if mime in types]
    for forms in (likely, list(ASKED["image_decoders"])):
        for form in forms:
            module = importlib.import_module(f"PIL.{ASKED['image_decoders'][form][0]}")
            if form == "AVIF":  # not one thread for each core of a large machine: they are rationed
                vars(module)["DEFAULT_MAX_THREADS"] = 2
        with contextlib.suppress(UnidentifiedImageError):
            if forms:
                return Image.open(ORIGINAL, formats=forms)
    raise UnidentifiedImageError("it was not recognised as a picture")


def decode(picture: Image.Image) -> tuple[str, Image.Image | None]:
    """What is wrong with it (empty: nothing), and the picture upright, 8-bit RGB, no larger than the largest asked."""
    side = max((recipe["side"] for recipe in ASKED["image_renditions"]), default=320)
    try:
        with at_most(ASKED["decode_s"]):
            # JPEG alone: the whole stream is read, but fewer pixels are made of it.
            picture.draft(None, (side, side))
            picture.load()
            safely(lambda: thumbnail(picture), None)
            return "", upright(picture, turned(picture), side)
    except TimeoutError as problem:
        return words(problem), None
    except MemoryError:
        return "needs more memory than it may use", None
    except Exception as problem:  # noqa: BLE001
        damage = words(problem)
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with at_most(ASKED["decode_s"]), Image.open(ORIGINAL, formats=[registered(picture)]) as again:
            again.draft(None, (side, side))
            again.load()
            flat = upright(again, turned(again), side)
            return damage, flat if contrast(flat) > 4 else None
    except Exception as problem:  # noqa: BLE001
        return f"{damage}; {words(problem)}"[:300], None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def thumbnail(picture: Image.Image) -> None:
    """Tell of the small picture that EXIF holds of this one: both as light and dark over CELLS x CELLS, before turning.

    Cameras put bars beside a thumbnail whose shape is another: it is cut to the picture's shape about its middle.
    """
    held = picture.info.get("exif") or b""
    held = held[6:] if held.startswith(b"Exif\0\0") else held
    where = picture.getexif().get_ifd(ExifTags.IFD.IFD1)
    at, length = where.get(ExifTags.Base.JpegIFOffset), where.get(ExifTags.Base.JpegIFByteCount)
    if not at or not length:
        return
    with Image.open(io.BytesIO(held[at : at + length]), formats=["JPEG"]) as small:
        if max(small.size) > 1024:
            return
        fit = min(small.width / picture.width, small.height / picture.height)
        across, down = (small.width - picture.width * fit) / 2, (small.height - picture.height * fit) / 2
        cut = (across, down, small.width - across, small.height - down)
        cells = [
            one.convert("L").resize((CELLS, CELLS), Image.Resampling.BOX, box=box).tobytes().hex()
            for one, box in ((small, cut), (picture, None))
        ]
        tell(
            "thumbnail",
            {"width": small.width, "height": small.height, "cells": cells[0], "of_picture": cells[1]},
        )


CELLS = 16


def contrast(picture: Image.Image) -> float:
    """From the darkest to the lightest pixel, 0 to 255."""
    low, high = (float(str(bound)) for bound in picture.convert("L").getextrema())
    return high - low


def registered(picture: Image.Image) -> str:
    """The name of its decoder: several pictures in one JPEG are opened as the first."""
    return "JPEG" if picture.format == "MPO" else str(picture.format)


def turned(picture: Image.Image) -> int:
    """EXIF orientation, 1 to 8. Asked for after decoding only: of some formats it decodes by itself."""
    value = safely(lambda: picture.getexif().get(0x0112, 1), 1)
    value = value if isinstance(value, int) and 1 <= value <= 8 else 1
    tell("orientation", value)
    return value


def upright(picture: Image.Image, orientation: int, side: int) -> Image.Image:
    profile = picture.info.get("icc_profile")
    flat = picture
    if flat.mode in ("I", "F", "I;16", "I;16L", "I;16B", "I;16N"):
        flat = eight_bits(flat)
    elif flat.mode in ("P", "PA"):
        flat = flat.convert("RGBA" if "transparency" in flat.info or flat.mode == "PA" else "RGB")
    elif flat.mode == "1":
        flat = flat.convert("L")
    elif flat.mode == "LA" or (flat.mode == "L" and "transparency" in flat.info):
        flat = flat.convert("RGBA")
    elif flat.mode == "RGB" and "transparency" in flat.info:
        flat = flat.convert("RGBA")
    flat = smaller(flat, side)
    if flat.mode in ("RGBA", "RGBa", "La"):
        flat = flat.convert("RGBA")
        ground = Image.new("RGBA", flat.size, (200, 200, 200, 255))
        flat = Image.alpha_composite(ground, flat).convert("RGB")
    flat = standard_colours(flat, profile).convert("RGB")
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return flat.transpose(turn) if turn is not None else flat


def eight_bits(picture: Image.Image) -> Image.Image:
    """Sixteen bits by their full range, as wider ones that fit into it; others from their darkest to their lightest."""
    wide = picture.convert("F")
    low, high = (float(str(bound)) for bound in wide.getextrema())
    if picture.mode.startswith("I") and 0 <= low and high <= 65535:
        low, high = 0.0, 65535.0
    if not (high > low) or high - low == float("inf"):
        return wide.convert("L")
    scale = 255.0 / (high - low)
    return wide.point(lambda value: value * scale + (-low * scale)).convert("L")


def smaller(picture: Image.Image, side: int) -> Image.Image:
    longest = max(picture.size)
    if longest <= side:
        return picture
    if longest >= side * 3:
        picture = picture.reduce(longest // (side * 3 // 2))
    width, height = picture.size
    factor = side / max(width, height)
    return picture.resize(
        (max(1, round(width * factor)), max(1, round(height * factor))), Image.Resampling.BICUBIC
    )


def standard_colours(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Through the picture's colour profile to sRGB, where it has one that fits; else as it is."""
    if not profile or picture.mode not in ("RGB", "CMYK", "L") or b"sRGB" in profile[:4096]:
        return picture
    from PIL import ImageCms

    def converted() -> Image.Image | None:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")

    return safely(converted, None) or picture


def renditions(flat: Image.Image, recipes: list[dict]) -> None:
    for recipe in recipes:
        made = smaller(flat, recipe["side"])
        if recipe["cells"]:
            # Averages over a coarse grid first: all that is finer is gone before anything is written.
            factor = min(recipe["cells"], max(1, max(flat.size) // 8)) / max(flat.size)
            cells = (max(1, round(flat.width * factor)), max(1, round(flat.height * factor)))
            made = (
                flat.convert("L")
                .resize(cells, Image.Resampling.BOX)
                .resize(made.size, Image.Resampling.BICUBIC)
            )
        out = io.BytesIO()
        made.save(
            out, "JPEG", quality=recipe["quality"], comment=b""
        )  # not the original's, which Pillow copies
        tell(
            "rendition", {"kind": recipe["kind"], "width": made.width, "height": made.height}, out.getvalue()
        )


def frames(form: str) -> None:
    """Count the frames of an animation and decode as many as the budget allows."""
    checked, budget = 0, ASKED["animation_pixels"]
    try:
        with at_most(ASKED["decode_s"]), Image.open(ORIGINAL, formats=[form]) as picture:
            count = getattr(picture, "n_frames", 1)
            tell("frames", {"count": count})
            area = picture.width * picture.height
            if count < 2 or form == "TIFF":
                return
            while checked < min(count, ASKED["animation_frames"]) and (checked + 1) * area <= budget:
                picture.seek(checked)
                picture.load()
                checked += 1
    except TimeoutError:
        tell("frames_slow", {"checked": checked})
    except Exception as problem:  # noqa: BLE001
        tell("frames_damage", f"frame {checked + 1}: {words(problem)}")


# ---- video and sound --------------------------------------------------------------------------------------------


def guarded(*before: str) -> list[str]:
    """Input options that keep ffmpeg to this one file: no playlists, no other protocols, no references."""
    return [
        "-protocol_whitelist", "file,pipe", "-format_whitelist", ASKED["av_formats"],
        "-max_pixels", str(ASKED["max_pixels"]), *before, "-i", "file:" + ORIGINAL,
    ]  # fmt: skip


def recording(recipes: list[dict]) -> None:
    """Read a recording's streams, decode samples of it and find its poster. Pictures that only ffmpeg opens, too."""
    probe = ["/usr/bin/ffprobe", "-v", "error", *guarded()[:4], "-print_format", "json", "-show_format",
             "-show_streams", "file:" + ORIGINAL]  # fmt: skip
    code, out, err = Tool(probe, bound=ASKED["json_bytes"], seconds=30).wait()
    found = safely(lambda: json.loads(out), None)
    if code or not isinstance(found, dict) or not found.get("streams"):
        tell("av_error", (complaints(err) or ["no stream was found"])[0])
        return
    tell("ffprobe", found)
    streams = [stream for stream in found["streams"] if isinstance(stream, dict)]
    pictures = [
        stream
        for stream in streams
        if stream.get("codec_type") == "video" and not (stream.get("disposition") or {}).get("attached_pic")
    ]
    sounds = [stream for stream in streams if stream.get("codec_type") == "audio"]
    if not pictures and not sounds:
        return
    main = (pictures or sounds)[0]
    if pictures and int(main.get("width") or 0) * int(main.get("height") or 0) > ASKED["max_pixels"]:
        return
    length = seconds_of(main, found.get("format") or {})
    chosen = f"0:{int(main['index'])}"
    with ThreadPoolExecutor(2) as pool:
        shown = pool.submit(poster, chosen, recipes) if pictures and recipes else None
        parts = [("start", 0.0)]
        if length and length > 12:
            parts.append(("middle", length / 2))
        if length and length > 4:
            parts.append(("end", max(0.0, length - 2.5)))
        for part, result in zip(parts, pool.map(lambda part: sample(chosen, part[1]), parts), strict=True):
            tell("sample", {"part": part[0], "length": length or 0, **result})
        flat = shown.result() if shown else None
    if flat is not None:
        renditions(flat, recipes)


def complaints(err: str) -> list[str]:
    """ffmpeg's error lines, without addresses of its own memory."""
    lines = (re.sub(r" @ 0x[0-9a-f]+", "", line).strip() for line in err.splitlines())
    return [words(line) for line in lines if line and not line.startswith("Last message repeated")]


def cut_off(size: int) -> int:
    """How many bytes a container says to have beyond the file's end: MP4 and its kin, RIFF, Matroska. 0: none."""
    with open(ORIGINAL, "rb") as stream:
        head = stream.read(64)
        if head[:4] == b"RIFF":
            return max(0, 8 + int.from_bytes(head[4:8], "little") - size)
        if head[:4] == b"\x1aE\xdf\xa3":
            length, position = ebml_number(head, 4)
            segment = position + (length or 0)
            stream.seek(segment)
            head = stream.read(16)
            length, position = ebml_number(head, 4) if head[:4] == b"\x18S\x80g" else (None, 0)
            return max(0, segment + position + length - size) if length is not None else 0
        position = 0
        while head[4:8] in BOXES or position:
            stream.seek(position)
            head = stream.read(16)
            length = int.from_bytes(head[:4], "big")
            if len(head) < 16 or length == 0:
                return 0
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if length < 8:
                return 0
            position += length
            if position > size:
                return position - size if head[4:8] in BOXES else 0
    return 0


BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"mfra", b"uuid", b"meta", b"sidx")


def ebml_number(data: bytes, at: int) -> tuple[int | None, int]:
    """A variable-length number and the position behind it; None where the length is unknown (live recordings)."""
    if at >= len(data) or not data[at]:
        return None, at
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), at + width


def seconds_of(stream: dict, container: dict) -> float | None:
    """The stream's length in seconds, as far as the file says one."""
    for text in (
        stream.get("duration"),
        (stream.get("tags") or {}).get("DURATION"),
        container.get("duration"),
    ):
        with contextlib.suppress(TypeError, ValueError):
            parts = [float(part) for part in str(text).split(":")]
            value = sum(part * 60**place for place, part in enumerate(reversed(parts)))
            if 0 < value < 10**8:
                return value
    return None


def sample(chosen: str, start: float) -> dict:
    """Decode two seconds from `start`: how many frames came, and what the decoder complained of."""
    argv = ["/usr/bin/ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-threads", "1", "-filter_threads", "1",
            *guarded(*(["-ss", f"{start:.3f}"] if start else [])), "-map", chosen, "-t", "2", "-sn", "-dn",
            "-vsync", "passthrough", "-f", "framecrc", "-"]  # fmt: skip
    code, out, err = Tool(argv, bound=1 << 20, seconds=ASKED["sample_s"]).wait()
    count = sum(not line.startswith("#") for line in out.decode("ascii", "replace").splitlines())
    said = complaints(err)
    return {
        "frames": count,
        "errors": len(said),
        "said": said[0] if said else "",
        "slow": code == -signal.SIGALRM,
    }


def poster(chosen: str, recipes: list[dict]) -> Image.Image | None:
    """The first frame worth showing: of the first key frames, the first that is neither black nor blank."""
    side = max(recipe["side"] for recipe in recipes)
    scale = f"scale='min({side},iw)':'min({side},ih)':force_original_aspect_ratio=decrease"
    best: tuple[float, Image.Image] | None = None
    for keys in (["-skip_frame", "nokey"], []):
        argv = ["/usr/bin/ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-threads", "1", "-filter_threads", "1", *guarded(*keys),
                "-map", chosen, "-t", "40", "-vsync", "passthrough", "-frames:v", "4" if keys else "1",
                "-vf", f"{scale},format=rgb24", "-c:v", "bmp", "/tmp/poster-%d.bmp"]  # fmt: skip
        Tool(argv, bound=1024, seconds=ASKED["sample_s"]).wait()
        for number in range(1, 5):
            path = f"/tmp/poster-{number}.bmp"
            if not os.path.exists(path):
                break
            with Image.open(path, formats=["BMP"]) as frame:
                flat = frame.convert("RGB")
            range_of_light = contrast(flat.resize((32, 32), Image.Resampling.BOX))
            if range_of_light > 40:
                return flat
            if best is None or range_of_light > best[0]:
                best = (range_of_light, flat)
        if best:
            return best[1]
    return None


# ---- everything -------------------------------------------------------------------------------------------------


def safely(act: Callable[[], Result], otherwise: Result) -> Result:
    """The act's result, or `otherwise` where hostile bytes make it fail."""
    try:
        return act()
    except Exception:  # noqa: BLE001
        return otherwise


def hidden(size: int) -> list[str]:
    """Other formats whose marks stand at the head or the tail of the same bytes (polyglots)."""
    with open(ORIGINAL, "rb") as stream:
        head = stream.read(1024)
        stream.seek(max(0, size - 65557))
        tail = stream.read(65557)
    marks = [("application/pdf", b"%PDF-" in head), ("application/zip", b"PK\x05\x06" in tail),
             ("text/html", b"<html" in head.lower() or b"<script" in head.lower())]  # fmt: skip
    return [mark for mark, found in marks if found]


def signed() -> bool:
    """Whether the mark of a C2PA record stands in the file: anywhere in 256 MiB, of larger files at either end."""
    reach = 128 << 20
    with open(ORIGINAL, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as held:
        return held.find(b"c2pa", 0, reach) >= 0 or held.find(b"c2pa", max(reach, len(held) - reach)) >= 0


def main() -> None:
    size = os.stat(ORIGINAL).st_size
    tell("size", size)
    if not size:
        return
    exif = Tool(["/usr/bin/exiftool", "-config", "", "-json", "-G", "-n", "-api", "LargeFileSupport=1", "-charset",
                 "exif=utf8", ORIGINAL], bound=ASKED["json_bytes"], seconds=20) if ASKED["exif"] else None  # fmt: skip
    tell("hidden", hidden(size))
    tell("cut_off", safely(lambda: cut_off(size), 0))
    _, out, _ = Tool(["/usr/bin/file", "--mime-type", "-b", ORIGINAL], bound=200, seconds=15).wait()
    mime = out.decode("ascii", "replace").strip()[:100]
    tell("file_type", mime)
    record = None
    if ASKED["provenance"] and signed():
        record = Tool([sys.executable, "-I", "-S", "/in/provenance.py", ASKED["packages"], mime],
                      bound=ASKED["json_bytes"], seconds=30)  # fmt: skip
    try:
        done = False
        if not mime.startswith(("video/", "audio/", "text/")) and mime not in ASKED["not_media"]:
            done = image(mime)
        if not done and not mime.startswith("text/") and mime not in ASKED["not_media"]:
            recording(ASKED["image_renditions" if mime.startswith("image/") else "video_renditions"])
    finally:
        if record:
            code, out, _ = record.wait()
            found = safely(lambda: json.loads(out), None)
            if code or found:
                tell("c2pa", found or {"state": "unreadable", "said": f"its reader ended with status {code}"})
        if exif:
            _, out, _ = exif.wait()
            found = safely(lambda: json.loads(out)[0], None)
            if isinstance(found, dict):
                tell("exiftool", found)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    processor = sum(usage.ru_utime + usage.ru_stime for usage in used)
    tell("done", {"wall_s": round(time.monotonic() - START, 3), "cpu_s": round(processor, 3)})


if __name__ == "__main__":  # the redaction's renderer opens pictures by the same functions
    main()
