"""Write the log as a folder that any C2SP tlog-tiles client can read from a web server or from disk.

checkpoint               the newest checkpoint with its cosignatures
tile/<L>/<N>[.p/<W>]     hashes of the tree
tile/entries/<N>[.p/<W>] the events themselves, each with its length before it (16 bits, big-endian)
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from archive.custody.anchors import cosigned_note
from archive.custody.notes import parse_note
from archive.custody.tiles import HASH, WIDTH, root
from archive.errors import BadInput, Damaged
from archive.models import Checkpoint, CustodyPosition, CustodyTile

Progress = Callable[[int], None]


def tile_path(level: int | str, index: int, width: int = WIDTH) -> str:
    """Where a tile lies: tile/0/x001/x234/067, and .p/<width> after it when it is partial."""
    parts = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        parts.append(f"x{index % 1000:03d}")
    partial = f".p/{width}" if width < WIDTH else ""
    return f"tile/{level}/{'/'.join(reversed(parts))}{partial}"


def write(folder: Path, *, entries: bool = True, progress: Progress = lambda count: None) -> Checkpoint:
    """Bring a folder up to the newest checkpoint: new tiles first, `checkpoint` last.

    What was published before is compared to the byte and never written over: it tells what others may have read. Raises
    Damaged where it differs from this log, or tiles or events are missing; BadInput when there is no checkpoint yet, the
    folder belongs to another log or cannot be written. What was written before an error is a prefix of the log and does
    no harm.
    """
    newest = Checkpoint.objects.first()
    if newest is None:
        raise BadInput("There is no checkpoint to publish yet: run `manage.py custody checkpoint`.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _require_same_log(folder, newest)
        _write(folder, newest, entries=entries, progress=progress)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{folder} cannot be written, or is no folder of a log ({error}). What lies there is a part of the log; the "
            "same command goes on from there."
        ) from error
    return newest


def _write(folder: Path, newest: Checkpoint, *, entries: bool, progress: Progress) -> None:
    width, level = newest.size, 0
    while width:
        _write_level(folder, level, width)
        width, level = width // WIDTH, level + 1
    if entries:
        _write_entries(folder, newest.size, progress)
    _put(folder / "checkpoint", cosigned_note(newest).encode())


def _require_same_log(folder: Path, newest: Checkpoint) -> None:
    there = folder / "checkpoint"
    for left in folder.glob(".checkpoint.*"):  # by a run that was killed
        left.unlink()
    others = [path.name for path in folder.iterdir() if path.name not in ("checkpoint", "tile")]
    if others:
        raise BadInput(
            f"{folder} holds other things ({others[0]}). Nothing was written: name a folder of its own."
        )
    if not there.exists():
        return
    before = parse_note(there.read_text("utf-8"))
    if before.origin != parse_note(newest.note).origin:
        raise BadInput(f"{folder} holds another log. Nothing was written: name another folder.")
    if before.size > newest.size or root(before.size) != before.root:
        raise Damaged(
            f"{there} has {before.size} events that this log, of {newest.size}, does not begin with: it was rolled back or "
            "rewritten after that was published, or the file was changed. Nothing was written. Run `manage.py custody "
            "verify --known` with that file, and keep both."
        )


def _write_level(folder: Path, level: int, width: int) -> None:
    full, rest = divmod(width, WIDTH)
    for index in range(full + bool(rest)):
        count = WIDTH if index < full else rest
        path = folder / tile_path(level, index, count)
        row = CustodyTile.objects.filter(level=level, index=index).values_list("hashes", flat=True).first()
        content = bytes(row or b"")[: count * HASH]
        if len(content) != count * HASH:
            raise Damaged(
                f"Tile {index} of level {level} is missing or too short: run `manage.py custody verify` and keep the "
                "database as it is."
            )
        _keep(path, content)


def _write_entries(folder: Path, size: int, progress: Progress) -> None:
    full, rest = divmod(size, WIDTH)
    for index in range(full + bool(rest)):
        count = WIDTH if index < full else rest
        _keep(folder / tile_path("entries", index, count), entry_bundle(index, count))
        progress(index * WIDTH + count)


def entry_bundle(index: int, count: int) -> bytes:
    """Up to 256 events from position index * 256 on, each after its length. Raises Damaged when one is missing."""
    first = index * WIDTH
    rows = CustodyPosition.objects.filter(position__gte=first, position__lt=first + count).order_by(
        "position"
    )
    bodies = [bytes(body) for body in rows.values_list("event__canonical", flat=True)]
    if len(bodies) != count:
        raise Damaged(
            f"Events from position {first} on are missing: run `manage.py custody verify` and keep the database."
        )
    return b"".join(len(body).to_bytes(2, "big") + body for body in bodies)


def _keep(path: Path, content: bytes) -> None:
    """Write a file that never changes, or find it there as it must be. Raises Damaged."""
    if not path.exists():
        _put(path, content)
    elif path.read_bytes() != content:
        raise Damaged(
            f"{path} is not what this log holds there: one of the two was changed after it was published. The file was "
            "left as it is, and the published checkpoint too. Run `manage.py custody verify` and keep both; where the "
            "file alone is at fault, move it away and publish again."
        )


def _put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
