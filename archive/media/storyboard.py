"""Frames spread over a film, on one sheet: to see what is in it without playing it, and to print it.

The recipe's text says when each frame is and how they lie on the sheet; `Board.of` reads it back.
"""

from __future__ import annotations

import json
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from archive.errors import MediaError, SandboxUnavailable
from archive.media import clean, formats, probe, sandbox
from archive.media.renditions import MAX_JPEG, Rendered, jpeg_size

INSIDE = Path(__file__).parent / "inside" / "storyboard.py"
KIND, NAME = "storyboard", "jpeg-storyboard/1"
FRAMES, COLUMNS, SIDE, GAP, QUALITY = 8, 4, 320, 4, 80  # at most so many; longest side of a frame in pixels
APART_MS = 500  # frames of a short film are at least so far apart
FRAME_S, ALL_S = 15, 60  # seconds: for one frame, and for all of them
LIMITS = sandbox.Limits(
    cpu_s=60, wall_s=90, memory_mb=2048, address_mb=6144, output_mb=16, processes=32, tmp_mb=64
)


@dataclass(frozen=True)
class Board:
    """How a sheet is laid out: frames row by row, all of one size, `gap` pixels between them."""

    at_ms: tuple[int, ...]
    columns: int
    gap: int = GAP
    side: int = SIDE
    quality: int = QUALITY

    def __str__(self) -> str:
        return f"{NAME} " + json.dumps(vars(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def of(cls, recipe: str) -> Board:
        """The layout that a rendition's recipe tells. Raises ValueError for another recipe."""
        name, _, told = recipe.partition(" ")
        if name != NAME:
            raise ValueError(f"{name} is not the recipe of a storyboard that is known here.")
        facts = json.loads(told)
        return cls(**{**facts, "at_ms": tuple(facts["at_ms"])})


def times(length_ms: int) -> list[int]:
    """When to take frames of a film of this length: in the middle of equal parts."""
    count = max(1, min(FRAMES, length_ms // APART_MS))
    return [length_ms * (2 * number + 1) // (2 * count) for number in range(count)]


def make(source: Path | int, length_ms: int) -> Rendered:
    """Make the storyboard of a film, in one sandbox and about a second, at most 90.

    Fewer frames than asked for where some cannot be decoded in time. Raises MediaError where none can (the original is
    kept), and SandboxUnavailable.
    """
    asked = {
        "packages": sysconfig.get_path("platlib"),
        "max_pixels": probe.MAX_PIXELS,
        "av_formats": ",".join(formats.AV_DEMUXERS),
        "at_ms": times(length_ms),
        "columns": COLUMNS,
        "side": SIDE,
        "gap": GAP,
        "quality": QUALITY,
        "frame_s": FRAME_S,
        "all_s": ALL_S,
    }
    done = sandbox.run(
        [sandbox.python(), "-I", "-S", "/in/storyboard.py", json.dumps(asked)],
        inputs={"original": source, "storyboard.py": INSIDE, "examine.py": probe.INSIDE},
        limits=LIMITS,
        python=True,
    )
    if done.returncode in (-9, 137) and not done.stopped:
        raise SandboxUnavailable(
            "The system ended the storyboard, most likely for want of memory. The original is kept."
        )
    told = {record.name: record for record in probe.records(done.untrusted_stdout)}
    if KIND not in told:
        said = clean.text(told["no_frame"].value, 200) if "no_frame" in told else ""
        why = (
            f"it used more {done.stopped.value} than it may"
            if done.stopped
            else said or "no frame could be decoded"
        )
        raise MediaError(f"No storyboard could be made: {why}. The original is kept.")
    return _checked(told[KIND], length_ms)


def _checked(record: probe.Record, length_ms: int) -> Rendered:
    """The sheet, if it is one whole JPEG without metadata, of frames that lie as told within the film."""
    facts, size = clean.mapping(record.value), jpeg_size(record.data)
    told = clean.listed(facts.get("at_ms"))
    at_ms = [at for one in told if (at := clean.whole(one, length_ms + 60_000)) is not None]
    columns = clean.whole(facts.get("columns"), COLUMNS)
    if not (
        len(record.data) <= MAX_JPEG
        and size
        and columns
        and 0 < len(at_ms) <= FRAMES
        and len(at_ms) == len(told)
        and at_ms == sorted(set(at_ms))
        and size[0] <= columns * (SIDE + GAP)
        and size[1] <= -(-len(at_ms) // columns) * (SIDE + GAP)
    ):
        raise MediaError(
            "The storyboard was not one sheet of small frames, and was thrown away. The original is kept."
        )
    recipe = str(Board(tuple(at_ms), columns))
    return Rendered(KIND, recipe, "image/jpeg", *size, size=len(record.data), data=record.data)
