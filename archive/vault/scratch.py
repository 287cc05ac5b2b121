"""The private scratch folder: the only place where decrypted bytes may touch a disk, and never for long."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings


@contextmanager
def scratch(root: Path | None = None) -> Iterator[Path]:
    """A new folder that only this user can enter (0700), removed with all in it at the end.

    Locked while it is in use, so that another process that starts does not empty it.
    """
    root = _root(root)
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


def _root(root: Path | None) -> Path:
    root = Path(settings.SCRATCH_DIR if root is None else root)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(root, 0o700)
    return root
