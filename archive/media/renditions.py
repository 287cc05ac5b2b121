"""Pictures and videos made from an original, each by a named recipe that is stored with it.

examine(source)   one sandbox: what the file is, and its small pictures (in memory, never on disk)
proxy(source)     a video or sound that browsers play, for what they do not
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from archive.errors import MediaError
from archive.media import clean, formats, probe, sandbox
from archive.media.probe import Condition, Kind, Probe


@dataclass(frozen=True)
class Recipe:
    """How a rendition is made. Change a parameter, raise the version: old renditions keep their own recipe's text."""

    kind: str  # thumbnail, veil, view, poster or proxy
    name: str
    version: int
    side: int  # longest side in pixels, at most
    quality: int = 80  # JPEG
    cells: int = 0  # over 0: the picture is first averaged to so many cells along its longest side, in grey

    def __str__(self) -> str:
        parameters = {"side": self.side, "quality": self.quality} | (
            {"cells": self.cells} if self.cells else {}
        )
        return f"{self.name}/{self.version} " + json.dumps(parameters, sort_keys=True, separators=(",", ":"))


THUMBNAIL = Recipe("thumbnail", "jpeg-thumbnail", 1, side=320)
VIEW = Recipe("view", "jpeg-view", 1, side=1600, quality=86)
POSTER = Recipe("poster", "jpeg-poster", 1, side=1600, quality=84)
# 32 grey averages along the longest side are all that is left of the picture, whatever is done to the JPEG afterwards.
VEIL = Recipe("veil", "grey-veil", 1, side=320, quality=70, cells=32)

PROXY_VIDEO = "mp4-proxy/1 h264 crf26 veryfast 2500k 720p30max aac96k faststart"
PROXY_AUDIO = "m4a-proxy/1 aac128k faststart"
# A recording may begin at another moment than 0 (cut from a stream). Chromium then counts from that moment, Firefox from
# 0: what a person marks at a time would lie elsewhere. Up to one frame, redactions make up for it.
START_S = 0.034
IMAGE_RECIPES = (VEIL, THUMBNAIL, VIEW)
VIDEO_RECIPES = (VEIL, THUMBNAIL, POSTER)
RECIPES = {recipe.kind: recipe for recipe in (*IMAGE_RECIPES, *VIDEO_RECIPES)}

MAX_JPEG = 8 << 20
SMALL = 64 << 20  # originals up to this size are given through memory; see `in_memory`


@dataclass(frozen=True)
class Rendered:
    """One finished rendition, checked: a JPEG in memory or a file in the caller's scratch folder."""

    kind: str
    recipe: str
    media_type: str
    width: int | None
    height: int | None
    size: int
    data: bytes | None = None
    path: Path | None = None

    def open(self) -> BinaryIO:
        """The bytes, from the start; the caller closes."""
        if self.path is not None:
            return self.path.open("rb")
        return io.BytesIO(self.data or b"")

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        with self.open() as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()


@dataclass(frozen=True)
class Examination:
    """What one look found: what the file is, and the pictures that could be made of it."""

    probe: Probe
    renditions: tuple[Rendered, ...]


def examine(source: Path | int, *, file_name: str = "", declared_type: str = "") -> Examination:
    """Probe a file and make its small pictures, in one sandbox.

    `source` is a path or an open descriptor (see `in_memory`). Never raises for what the bytes are: the condition
    says it, and what could be drawn is there. Raises SandboxUnavailable (try again), and FileNotFoundError.
    """
    found = probe.look(
        source,
        image_renditions=[_asked(recipe) for recipe in IMAGE_RECIPES],
        video_renditions=[_asked(recipe) for recipe in VIDEO_RECIPES],
    )
    about = probe.understand(found, file_name=file_name, declared_type=declared_type)
    made: dict[str, Rendered] = {}
    for record in found.all("rendition"):
        value = clean.mapping(record.value)
        kind = clean.text(value.get("kind"), 20)
        if kind in RECIPES and kind not in made:
            rendered = _jpeg(kind, record.data)
            if rendered is not None:
                made[kind] = rendered
    if "veil" not in made:
        made.clear()  # nothing is ever shown that has no veil to lie under
    return Examination(about, tuple(made.values()))


def browser_can_play(about: Probe) -> bool:
    """Whether every common browser plays the original as it is, and counts a video's time from the same moment."""
    told = clean.mapping(clean.mapping(about.untrusted_metadata.get("ffprobe")).get("format"))
    start = clean.number(told.get("start_time"), -1e12, 1e12) or 0
    return _is_played(about) and (about.kind is not Kind.VIDEO or abs(start) <= START_S)


def _is_played(about: Probe) -> bool:
    return about.condition in (Condition.OK, Condition.DISGUISED) and formats.browser_plays(
        about.media_type, about.video_codec, about.audio_codec, about.pixel_format
    )


def needs_proxy(about: Probe) -> bool:
    """Whether there is something to play, and no browser plays it as it is."""
    playable = about.condition in (Condition.OK, Condition.DISGUISED, Condition.DAMAGED)
    return playable and about.kind in (Kind.VIDEO, Kind.AUDIO) and not browser_can_play(about)


def proxy(source: Path | int, about: Probe, *, workdir: Path) -> Rendered:
    """Make a video (at most 720p) or sound that browsers play, in `workdir` (private, empty, kept by the caller).

    Takes about as long as the recording, at most four times. Raises MediaError (the original is kept), and
    SandboxUnavailable.
    """
    seconds = (about.duration_ms or 3_600_000) / 1000
    limits = sandbox.Limits(
        cpu_s=int(120 + 8 * seconds),
        wall_s=120 + 4 * seconds,
        memory_mb=2048,
        address_mb=6144,
        output_mb=int(64 + seconds * 0.4),
        tmp_mb=64,
    )
    name = "proxy.mp4" if about.kind is Kind.VIDEO else "proxy.m4a"
    line = ["/usr/bin/ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-threads", "2", "-filter_threads", "1", *_input_options(),
            *(_VIDEO if about.kind is Kind.VIDEO else _AUDIO),
            "-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact", "-movflags", "+faststart",
            "-max_muxing_queue_size", "1024", "-f", "mp4", f"/out/{name}"]  # fmt: skip
    done = sandbox.run(line, inputs={"original": source}, outputs=workdir, limits=limits)
    if done.stopped or done.returncode:
        raise MediaError(f"No playable copy could be made: {_why(done)}. The original is kept.")
    return _checked_proxy(workdir / name, about, limits)


def in_memory(data: bytes) -> int:
    """A descriptor of bytes that never touch the disk, for `examine`; the caller closes it."""
    descriptor = os.memfd_create("original", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as stream:
        stream.write(data)
    return descriptor


# The short side at most 720, the long one at most 1280 pixels; at most 30 frames a second.
_VIDEO = [
    "-map", "0:v:0", "-map", "0:a:0?", "-sn", "-dn",
    "-vf", "scale=w='if(gte(iw,ih),min(1280,iw),min(720,iw))':h='if(gte(iw,ih),min(720,ih),min(1280,ih))'"
    ":force_original_aspect_ratio=decrease:force_divisible_by=2,setsar=1,format=yuv420p",
    "-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-maxrate", "2500k", "-bufsize", "5000k",
    "-profile:v", "high", "-g", "60", "-fpsmax", "30", "-threads", "2", "-c:a", "aac", "-b:a", "96k", "-ac", "2",
]  # fmt: skip
_AUDIO = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-c:a", "aac", "-b:a", "128k", "-ac", "2"]


def _input_options() -> list[str]:
    return ["-protocol_whitelist", "file,pipe", "-format_whitelist", ",".join(formats.AV_DEMUXERS),
            "-max_pixels", str(probe.MAX_PIXELS), "-i", "file:/in/original"]  # fmt: skip


def _asked(recipe: Recipe) -> dict[str, object]:
    return {name: value for name, value in asdict(recipe).items() if name not in ("name", "version")}


def _why(done: sandbox.Finished) -> str:
    if done.stopped:
        return f"it used more {done.stopped.value} than it may"
    said = [line for line in done.untrusted_stderr.splitlines() if line.strip()]
    return clean.text(said[-1], 200) if said else f"ffmpeg ended with status {done.returncode}"


def _jpeg(kind: str, data: bytes) -> Rendered | None:
    """A rendition, if the bytes are one whole JPEG within the recipe's size; its size is read from the bytes."""
    size = jpeg_size(data) if len(data) <= MAX_JPEG else None
    recipe = RECIPES[kind]
    if size is None or max(size) > recipe.side or not min(size):
        return None
    return Rendered(kind, str(recipe), "image/jpeg", *size, size=len(data), data=data)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a plain JPEG without application data of its own, or None. Reads headers, decodes nothing.

    Only the segments that our encoder writes may stand in it: a rendition carries no metadata, comment or trailer.
    """
    if not data.startswith(b"\xff\xd8") or not data.endswith(b"\xff\xd9"):
        return None
    position, size = 2, None
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        if marker == 0xDA:
            return size
        if marker not in (0xE0, 0xDB, 0xC4, 0xDD, 0xC0, 0xC1, 0xC2) or length < 2:
            return None
        if marker in (0xC0, 0xC1, 0xC2):
            height, width = (int.from_bytes(data[position + at : position + at + 2]) for at in (5, 7))
            size = (width, height)
        position += 2 + length
    return None


def _checked_proxy(path: Path, about: Probe, limits: sandbox.Limits) -> Rendered:
    size = sandbox.check_plain(path, limit=limits.output_mb << 20)
    with open(path, "rb") as stream:
        head = stream.read(12)
    found = probe.probe(path)
    fits = head[4:8] == b"ftyp" and _is_played(found) and max(found.width or 0, found.height or 0) <= 1280
    if not fits or found.kind is not about.kind:
        raise MediaError(
            "The playable copy was not one that browsers play, and was thrown away. The original is kept."
        )
    recipe = PROXY_VIDEO if about.kind is Kind.VIDEO else PROXY_AUDIO
    media_type = "video/mp4" if about.kind is Kind.VIDEO else "audio/mp4"
    return Rendered("proxy", recipe, media_type, found.width, found.height, size=size, path=path)
