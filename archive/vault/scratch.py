"""The private scratch folder: the only place where decrypted bytes may touch a disk, and never for long."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from archive.errors import StorageFull
from archive.vault.room import Room


@contextmanager
def scratch(root: Path | None = None, *, need: int = 0) -> Iterator[Path]:
    """A new folder that only this user can enter (0700), removed with all in it at the end.

    Locked while it is in use, so that another process that starts does not empty it. `need` says how many bytes will
    be put there. Raises StorageFull where they would pass the limit of all scratch, or touch the disk's reserve.
    """
    root = _root(root)
    require_scratch(need, root)
    while True:
        path = Path(tempfile.mkdtemp(dir=root))
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            break
        os.close(lock)  # emptied between its making and its lock
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def require_scratch(need: int, root: Path | None = None) -> None:
    """Raises StorageFull where `need` more bytes do not fit into scratch."""
    root = _root(root)
    used = sum(_size(path) for path in root.rglob("*"))
    if used + need > settings.SCRATCH_LIMIT:
        raise StorageFull(
            f"{used:,} bytes of scratch are in use, {need:,} more are needed, and the limit is "
            f"{settings.SCRATCH_LIMIT:,} (AMPARO_SCRATCH_LIMIT). Nothing was lost: this is tried again once other "
            "work has ended; raise the limit if one file alone needs more."
        )
    Room(settings.RESERVE).require(root, need)


def empty_scratch(root: Path | None = None) -> int:
    """Remove everything in the scratch folder that no living process uses; return how many entries.

    Called when web and worker start: what is found then was left by a process that was killed.
    """
    removed = 0
    for path in _root(root).iterdir():
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            removed += 1
            continue
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # its user has just finished
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its user lives
        else:
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
        finally:
            os.close(lock)
    return removed


def _size(path: Path) -> int:
    """What a file takes on the disk; nothing where its user has just removed it."""
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _root(root: Path | None) -> Path:
    root = Path(settings.SCRATCH_DIR if root is None else root)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(root, 0o700)
    return root
