"""What a file is, by its content: type, size, length, condition, and what it claims about itself.

`look` runs one sandbox that reads the whole file; `probe` makes sense of what came back. Every number and every text
in there was written by strangers: it is bounded and cleaned here, and stays a claim.
"""

from __future__ import annotations

import enum
import json
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from django.conf import settings

from archive.errors import SandboxUnavailable
from archive.media import claims as claiming
from archive.media import clean, formats, sandbox
from archive.media.claims import Claim

INSIDE = Path(__file__).parent / "inside" / "examine.py"
PROVENANCE = INSIDE.with_name("provenance.py")

MAX_PIXELS = 200_000_000  # of one picture or frame
MAX_FRAMES = 20_000  # of one animation
ANIMATION_PIXELS = 300_000_000  # decoded to check an animation: all its frames together
ANIMATION_TOTAL = 20_000_000_000  # more than this over all frames is a bomb, not a picture
JSON_BYTES = 4 << 20  # what exiftool or ffprobe may say
LIMITS = sandbox.Limits(
    cpu_s=60, wall_s=90, memory_mb=2048, address_mb=6144, output_mb=64, processes=48, tmp_mb=384
)


class Condition(enum.StrEnum):
    """What state a file is in. Any of them is kept; none is an error."""

    OK = "ok"
    EMPTY = "empty"
    DAMAGED = "damaged"  # decodes in part
    CANNOT_DECODE = "cannot decode"
    TOO_LARGE = "too large to decode"
    UNSUPPORTED = "unsupported"  # a kind that we do not open
    DISGUISED = "disguised"  # its name or declared type is that of another kind


class Kind(enum.StrEnum):
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"
    OTHER = "other"


# Raised whenever more is read in a file than before: `manage.py examine` reads again what an earlier release read less of
READING = 2


@dataclass(frozen=True)
class Probe:
    """What was found in the bytes. Width and height are as shown: turned as the file asks."""

    media_type: str
    kind: Kind
    condition: Condition
    detail: str  # one sentence; empty when the condition says it all
    size: int
    width: int | None = None
    height: int | None = None
    orientation: int = 1  # EXIF orientation of pictures
    rotation: int = 0  # degrees, of videos
    duration_ms: int | None = None
    frame_count: int | None = None
    frame_rate: str = ""  # exact, such as "30000/1001"
    container: str = ""
    video_codec: str = ""
    audio_codec: str = ""
    pixel_format: str = ""
    has_audio: bool = False
    claims: tuple[Claim, ...] = ()
    untrusted_metadata: dict[str, Any] = field(
        default_factory=dict
    )  # "exiftool", "ffprobe", "c2pa", "thumbnail": bounded, cleaned

    @property
    def technical(self) -> dict[str, Any]:
        """What is worth keeping beside the item, as JSON."""
        return {
            "container": self.container,
            "video_codec": self.video_codec,
            "audio_codec": self.audio_codec,
            "pixel_format": self.pixel_format,
            "frame_count": self.frame_count,
            "frame_rate": self.frame_rate,
            "has_audio": self.has_audio,
            "orientation": self.orientation,
            "rotation": self.rotation,
            "reading": READING,
            "untrusted_metadata": self.untrusted_metadata,
        }


@dataclass(frozen=True)
class Record:
    """One thing that the sandbox told us. All of it untrusted."""

    name: str
    value: Any
    data: bytes


@dataclass(frozen=True)
class Look:
    """What one run of the sandbox told, and how it ended."""

    records: tuple[Record, ...]
    finished: sandbox.Finished

    def fact(self, name: str) -> Any:
        """The first value told under this name, or None."""
        return next((record.value for record in self.records if record.name == name), None)

    def all(self, name: str) -> list[Record]:
        return [record for record in self.records if record.name == name]


def probe(source: Path | int, *, file_name: str = "", declared_type: str = "") -> Probe:
    """Examine the bytes behind a path or an open descriptor.

    `file_name` and `declared_type` are compared with the content and searched for a date; they reach no command line.
    Never raises for what the bytes are. Raises SandboxUnavailable, and FileNotFoundError.
    """
    return understand(look(source), file_name=file_name, declared_type=declared_type)


def look(
    source: Path | int,
    *,
    image_renditions: Sequence[dict[str, Any]] = (),
    video_renditions: Sequence[dict[str, Any]] = (),
    limits: sandbox.Limits = LIMITS,
) -> Look:
    """Run `inside/examine.py` once over the bytes. Raises SandboxUnavailable, also where it was not let finish."""
    if isinstance(source, Path):
        source.stat()
    asked = {
        "packages": sysconfig.get_path("platlib"),
        "max_pixels": MAX_PIXELS,
        "animation_pixels": ANIMATION_PIXELS,
        "animation_frames": 400,
        "decode_s": 30,
        "sample_s": 30,
        "json_bytes": JSON_BYTES,
        "exif": True,
        "provenance": True,
        "image_decoders": formats.IMAGE_DECODERS,
        "av_formats": ",".join(formats.AV_DEMUXERS),
        "not_media": sorted(formats.NOT_MEDIA),
        "image_renditions": list(image_renditions),
        "video_renditions": list(video_renditions),
    }
    anchors: dict[str, Path | int] = (
        {"anchors.pem": settings.PROVENANCE_ANCHORS} if settings.PROVENANCE_ANCHORS else {}
    )
    finished = sandbox.run(
        [sandbox.python(), "-I", "-S", "/in/examine.py", json.dumps(asked)],
        inputs={"original": source, "examine.py": INSIDE, "provenance.py": PROVENANCE, **anchors},
        limits=limits,
        python=True,
    )
    found = Look(tuple(records(finished.untrusted_stdout)), finished)
    if found.fact("size") is None:  # told before a byte is decoded: the fault is ours, not the file's
        said = clean.text(finished.untrusted_stderr[-300:], 300)
        raise SandboxUnavailable(f"The file could not be handed to the sandbox, and is kept. It said: {said}")
    if finished.returncode in (-9, 137) and not finished.stopped:
        raise SandboxUnavailable(
            "The system ended the examination, most likely for want of memory. The file is kept."
        )
    return found


def understand(found: Look, *, file_name: str = "", declared_type: str = "") -> Probe:
    """Make a Probe of what the sandbox told; decides the condition."""
    size = clean.whole(found.fact("size"), 1 << 62) or 0
    exif = {name: value for name, value in clean.tree(found.fact("exiftool")).items() if not _ours(name)}
    av = clean.tree(found.fact("ffprobe"))
    if isinstance(av.get("format"), dict):
        av["format"].pop("filename", None)
    others = {name: clean.tree(found.fact(name)) for name in ("c2pa", "thumbnail")}
    metadata = {name: tree for name, tree in {"exiftool": exif, "ffprobe": av, **others}.items() if tree}
    picture = clean.mapping(found.fact("image"))
    told = clean.text(found.fact("file_type"), 100)
    media_type = formats.media_type(
        told, picture_format=clean.text(picture.get("format"), 20), ffprobe=av, exif=exif
    )
    kind = Kind(formats.kind_of(media_type))
    seen: dict[str, Any] = {}
    if picture:
        seen = _picture(picture, found)
    elif av:
        seen = _recording(av)
        if kind is Kind.VIDEO and not seen["video_codec"]:
            kind, media_type = Kind.AUDIO, "audio/" + media_type.partition("/")[2]
    elif kind is Kind.IMAGE:
        seen = _pictures_claimed_size(exif)
    condition, detail = _condition(found, size, kind, media_type, seen, file_name, declared_type)
    return Probe(
        media_type=media_type,
        kind=kind,
        condition=condition,
        detail=clean.text(detail, 1000),
        size=size,
        claims=tuple(claiming.read(exif=exif, ffprobe=av, file_name=file_name)),
        untrusted_metadata=metadata,
        **seen,
    )


def _ours(tag: str) -> bool:
    """Whether exiftool speaks of the sandbox's copy here, not of the file."""
    return tag.startswith(("ExifTool:ExifToolVersion", "SourceFile", "File:Directory")) or (
        tag.startswith("File:File") and not tag.startswith("File:FileType")
    )


def records(stream: bytes) -> Iterator[Record]:
    """The records in what the sandbox wrote; what is not one ends them."""
    position = 0
    while position < len(stream):
        end = stream.find(b"\n", position)
        if end < 0:
            return
        try:
            line = json.loads(stream[position:end], parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            return
        if not isinstance(line, dict):
            return
        size = clean.whole(line.get("size"), len(stream))
        position = end + 1 + (size or 0)
        if size is None or position > len(stream):
            return
        yield Record(clean.text(line.get("record"), 40), line.get("value"), stream[end + 1 : position])


def _picture(picture: dict[str, Any], found: Look) -> dict[str, Any]:
    width, height = (
        clean.whole(picture.get("width"), (1 << 31) - 1),
        clean.whole(picture.get("height"), (1 << 31) - 1),
    )
    orientation = clean.whole(found.fact("orientation"), 8) or 1
    if orientation >= 5:
        width, height = height, width
    frames = clean.mapping(found.fact("frames"))
    return {
        "width": width,
        "height": height,
        "orientation": orientation,
        "container": clean.text(picture.get("format"), 20),
        "pixel_format": clean.text(picture.get("mode"), 20),
        "frame_count": clean.whole(frames.get("count"), (1 << 31) - 1) or 1,
    }


def _pictures_claimed_size(exif: dict[str, Any]) -> dict[str, Any]:
    """Of a picture that no decoder here opens: what its metadata say, good enough for a label."""
    for group in ("File", "QuickTime", "EXIF", "PNG", "RIFF"):
        width = clean.whole(exif.get(f"{group}:ImageWidth"), (1 << 31) - 1)
        height = clean.whole(exif.get(f"{group}:ImageHeight"), (1 << 31) - 1)
        if width and height:
            return {"width": width, "height": height}
    return {}


def _recording(av: dict[str, Any]) -> dict[str, Any]:
    streams = [stream for stream in clean.listed(av.get("streams")) if isinstance(stream, dict)]
    container = clean.mapping(av.get("format"))
    video = next((s for s in streams if s.get("codec_type") == "video" and not _attached(s)), None)
    audio = next((s for s in streams if s.get("codec_type") == "audio"), None)
    length = clean.number((video or audio or {}).get("duration"), 0, 10**8)
    if length is None:
        length = clean.number(container.get("duration"), 0, 10**8)
    seen = {
        "container": clean.text(container.get("format_name"), 60),
        "duration_ms": round(length * 1000) if length is not None else None,
        "video_codec": clean.text((video or {}).get("codec_name"), 40),
        "audio_codec": clean.text((audio or {}).get("codec_name"), 40),
        "has_audio": audio is not None,
    }
    if video is None:
        return seen
    width, height = (
        clean.whole(video.get("width"), (1 << 31) - 1),
        clean.whole(video.get("height"), (1 << 31) - 1),
    )
    rotation = _rotation(video)
    if rotation in (90, 270):
        width, height = height, width
    return {
        **seen,
        "width": width,
        "height": height,
        "rotation": rotation,
        "pixel_format": clean.text(video.get("pix_fmt"), 40),
        "frame_count": clean.whole(video.get("nb_frames"), 1 << 40),
        "frame_rate": _rate(clean.text(video.get("avg_frame_rate"), 40)),
    }


def _attached(stream: dict[str, Any]) -> bool:
    disposition = stream.get("disposition")
    return isinstance(disposition, dict) and bool(disposition.get("attached_pic"))


def _rotation(video: dict[str, Any]) -> int:
    sides = [side for side in clean.listed(video.get("side_data_list")) if isinstance(side, dict)]
    turned = next((clean.number(side["rotation"], -360, 360) for side in sides if "rotation" in side), None)
    return round(-(turned or 0) / 90) * 90 % 360


def _rate(text: str) -> str:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return ""
    return str(rate) if 0 < rate < 100_000 and rate.denominator < 10**9 else ""


def _condition(
    found: Look,
    size: int,
    kind: Kind,
    media_type: str,
    seen: dict[str, Any],
    file_name: str,
    declared_type: str,
) -> tuple[Condition, str]:
    """The gravest thing that is true of it, and a sentence for whoever reads it."""
    if not size:
        return Condition.EMPTY, "The file has no bytes."
    if media_type == "application/octet-stream" and formats.ending(file_name):
        return (
            Condition.CANNOT_DECODE,
            f"Its name ends in .{formats.ending(file_name)}, but its content is of no known format.",
        )
    disguise = formats.disguise(media_type, file_name=file_name, declared_type=declared_type)
    if kind in (Kind.DOCUMENT, Kind.OTHER) or media_type in formats.NOT_RENDERED:
        if disguise:
            return Condition.DISGUISED, disguise
        return Condition.UNSUPPORTED, f"This is {media_type}: it is kept, and not opened here."
    verdict = _too_large(found, seen) or _undecodable(found, kind, media_type, seen)
    if verdict:
        return verdict[0], f"{verdict[1]} {disguise}".strip()
    damage = _damage(found, kind)
    if damage:
        return Condition.DAMAGED, f"{damage} {disguise}".strip()
    hidden = [clean.text(mark, 40) for mark in clean.listed(found.fact("hidden"))]
    if disguise or hidden:
        also = f"The same bytes can also be read as {' and '.join(hidden)}." if hidden else ""
        return Condition.DISGUISED, f"{disguise} {also}".strip()
    return Condition.OK, ""


def _too_large(found: Look, seen: dict[str, Any]) -> tuple[Condition, str] | None:
    width, height, frames = seen.get("width") or 0, seen.get("height") or 0, seen.get("frame_count") or 1
    if width * height > MAX_PIXELS:
        return (
            Condition.TOO_LARGE,
            f"It says to be {width} x {height} pixels; up to {MAX_PIXELS} in all are decoded.",
        )
    if found.fact("image") and (frames > MAX_FRAMES or width * height * frames > ANIMATION_TOTAL):
        return (
            Condition.TOO_LARGE,
            f"It says to hold {frames} frames of {width} x {height}; only the first was decoded.",
        )
    if found.finished.stopped is sandbox.Stopped.MEMORY:
        return (
            Condition.TOO_LARGE,
            f"Decoding it took more than {LIMITS.memory_mb} MB of memory and was stopped.",
        )
    return None


def _undecodable(
    found: Look, kind: Kind, media_type: str, seen: dict[str, Any]
) -> tuple[Condition, str] | None:
    def because(reason: str) -> tuple[Condition, str]:
        return Condition.CANNOT_DECODE, reason

    if found.fact("image") and found.fact("image_undecodable"):
        return because(f"No picture could be decoded: {clean.text(found.fact('image_undecodable'), 200)}.")
    if not found.fact("image") and not found.fact("ffprobe"):
        if media_type in formats.NO_DECODER:
            return because(formats.NO_DECODER[media_type])
        if not (found.finished.stopped or found.finished.returncode):
            said = clean.text(
                found.fact("image_error") if kind is Kind.IMAGE else found.fact("av_error"), 200
            )
            return because(f"No decoder here opens it: {said or 'it was not recognised'}.")
    if found.fact("ffprobe"):
        samples = [record.value for record in found.all("sample") if isinstance(record.value, dict)]
        if samples and not any(clean.whole(part.get("frames"), 1 << 40) for part in samples):
            said = clean.text(samples[0].get("said"), 200)
            return because(f"No part of it could be decoded: {said or 'no frame came out'}.")
        if not seen.get("video_codec") and not seen.get("audio_codec"):
            return because("It holds neither moving pictures nor sound that can be decoded.")
    if found.fact("done") is None and not found.all("rendition"):
        return because(_ended(found.finished))
    return None


def _damage(found: Look, kind: Kind) -> str:
    """A sentence on what of it decodes only in part; empty where nothing was found to be wrong."""
    for name in ("image_damage", "frames_damage"):
        if found.fact(name):
            return f"Decoded only in part: {clean.text(found.fact(name), 200)}."
    missing = clean.whole(found.fact("cut_off"), 1 << 62)
    if missing:
        return f"It is cut off: its container says to have {missing} bytes more."
    for record in found.all("sample"):
        part = clean.mapping(record.value)
        where, length = clean.text(part.get("part"), 10), clean.number(part.get("length"), 0, 10**8) or 0
        frames, errors = (
            clean.whole(part.get("frames"), 1 << 40) or 0,
            clean.whole(part.get("errors"), 1 << 40) or 0,
        )
        if part.get("slow"):
            continue
        if not frames and errors:  # none and no complaint: nothing moves there
            said = clean.text(part.get("said"), 200)
            return f"The {where} of it could not be decoded, of {length:.0f} s that it says to last: {said}."
        if where == "start" and errors and not _joined_late(found):
            return f"The decoder found {errors} faults in the first 2 s: {clean.text(part.get('said'), 200)}."
    if found.fact("done") is None:
        return f"{_ended(found.finished)} What was found until then is shown."
    return ""


def _joined_late(found: Look) -> bool:
    """Broadcast formats may start in the middle of a group of pictures; then the first faults mean nothing."""
    container = clean.mapping(clean.mapping(found.fact("ffprobe")).get("format"))
    return str(container.get("format_name")) in (
        "mpegts",
        "mpeg",
        "mpegvideo",
    )


def _ended(finished: sandbox.Finished) -> str:
    """A sentence on an examination that did not come to its end."""
    if finished.stopped is sandbox.Stopped.TIME:
        reason = f"decoding took longer than {LIMITS.wall_s:.0f} s and was stopped"
    elif finished.stopped:
        reason = f"decoding used more {finished.stopped.value} than it may and was stopped"
    elif finished.returncode < 0 or finished.returncode > 128:
        reason = f"the decoder crashed (signal {abs(finished.returncode) % 128})"
    else:
        reason = f"the decoder ended with status {finished.returncode}"
    return f"It could not be examined to the end: {reason}."
