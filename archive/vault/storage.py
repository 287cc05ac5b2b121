"""Where the vault's bytes lie. `Storage` is what any place must offer; `Folder` is a local folder.

A storage knows nothing of keys or hashes: it keeps immutable blobs under names, and beside each one small
file with its wrapped key, which rotation replaces. A blob is removed by an approved disposal alone.
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from archive.errors import StorageFull
from archive.vault.room import FULL, Room

BLOB = re.compile(r"[0-9a-f]{64}")
KEY = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{48}\.key")
_WRITE_BACK = 16 * 1024 * 1024
_PIECE = 1024 * 1024

Copied = Callable[[str, int, int | None], None]


class Unreachable(OSError):
    """A place does not answer, or is not the one it was: nothing is known of what lies there."""

    def __str__(self) -> str:
        return str(self.args[0])


class Draft(Protocol):
    """Bytes on their way in, unseen before `commit`. On S3: a multipart upload under a temporary key."""

    def write(self, data: memoryview) -> None: ...

    def commit(self, name: str, key_name: str, key: bytes) -> bool:
        """Make the bytes, then `key_name`, then `name` durable, in this order; atomic for whoever looks.

        Returns False, and keeps nothing of this draft, where `name` is there already (and is then durable).
        """

    def discard(self) -> None:
        """Forget the bytes. Harmless after `commit`, or twice."""


class Source(Protocol):
    """A stored blob, open for reading at any place. On S3: range requests on one version of the object."""

    size: int

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill `view` from `offset`; return fewer bytes only at the end."""

    def close(self) -> None: ...


class Place(Protocol):
    """What a second copy needs: whole blobs in and out, and small files. Every verb may raise Unreachable."""

    where: str
    """Its address in words for people."""

    def prepare(self) -> None:
        """Make the place ready for a first blob. Harmless when it is."""

    def open(self, name: str, *, from_disk: bool = False) -> Source:
        """Raises FileNotFoundError. With `from_disk`, caches of this machine are passed by where possible."""

    def write(self, name: str, source: Source, *, progress: Copied) -> None:
        """Copy a blob here as it lies elsewhere: durable, whole or not at all. Replaces what has that name."""

    def names(self) -> Iterator[str]:
        """Names of all blobs, in order."""

    def key_names(self) -> Iterator[str]:
        """Names of all wrapped keys, in order."""

    def read_small(self, name: str) -> bytes:
        """Raises FileNotFoundError."""

    def replace_small(self, name: str, data: bytes) -> None:
        """Durable and atomic: a reader sees the old bytes or the new ones."""

    def remove(self, name: str) -> bool:
        """Remove a blob and its wrapped keys, durably, here and in quarantine; False where the blob was gone.

        Harmless twice.
        """


class Storage(Place, Protocol):
    """What the vault itself needs of a place."""

    def clean(self) -> int:
        """Remove what dead processes left half-written, never a blob; return how many."""

    def draft(self, expected_size: int = 0) -> Draft:
        """Raises StorageFull where these bytes would touch the disk's reserve."""

    def settle(self, name: str) -> None:
        """Make durable that `name` is there."""

    def create_small(self, name: str, data: bytes) -> bool:
        """Durable and atomic; False, and nothing written, where `name` is there already."""

    def repairing(self) -> AbstractContextManager[None]:
        """One repair at a time, of all processes. Quarantine is entered inside it alone."""

    def holds(self, name: str) -> bool:
        """Whether a file of this name lies here."""

    def free_aside(self, name: str) -> str:
        """The first name in quarantine that no file has yet, for what has the name `name` here."""

    def set_aside(self, name: str, aside: str) -> bool:
        """Move a file into quarantine, durably; False where it was moved already. Raises FileExistsError."""


class Folder:
    """A local folder: `vault.json`, `temp/`, `quarantine/`, and `00/` to `ff/` with blobs and wrapped keys.

    Needs a POSIX file system with flock and atomic rename, all of it on one file system.
    """

    def __init__(self, root: Path, *, room: Room | None = None) -> None:
        self.root, self.where = Path(root), str(root)
        self._temp, self._quarantine = self.root / "temp", self.root / "quarantine"
        self._room = room

    def prepare(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        have = set(os.listdir(self.root))
        lacking = {"temp", *(f"{i:02x}" for i in range(256))} - have
        for name in lacking:
            (self.root / name).mkdir(mode=0o700, exist_ok=True)
        if lacking:
            _sync_folder(self.root)
            _sync_folder(self.root.parent)

    def clean(self) -> int:
        removed = 0
        for path in self._temp.glob("*.part"):
            try:
                fd = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # its writer has just finished
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(fd, path):
                    path.unlink()
                    removed += 1
            except BlockingIOError:
                continue  # its writer lives
            finally:
                os.close(fd)
        return removed

    def draft(self, expected_size: int = 0) -> "FolderDraft":
        self.require_room(expected_size)
        return FolderDraft(self)

    def require_room(self, needed: int = 0) -> None:
        """Raises StorageFull where `needed` more bytes would touch the reserve."""
        if self._room:
            self._room.require(self.root, needed)

    def write(self, name: str, source: Source, *, progress: Copied) -> None:
        self.require_room(source.size)
        try:
            self._write(name, source, progress)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise StorageFull(
                f"{self.where} has no room for this file, so nothing of it was kept there; what was stored before is "
                "untouched. Make room there, then try again."
            ) from error

    def _write(self, name: str, source: Source, progress: Copied) -> None:
        buffer, done = memoryview(bytearray(_PIECE)), 0
        with _Temp(self._temp) as temp:
            while count := source.read_into(done, buffer):
                temp.write_all(buffer[:count])
                done += count
                progress("copy", done, source.size)
            if done != source.size:
                raise OSError(f"{name} was cut short while it was copied")
            os.fchmod(temp.fd, 0o400)
            os.fsync(temp.fd)
            os.rename(temp.path, self.path(name))
        _sync_folder(self.path(name).parent)

    @contextmanager
    def repairing(self) -> Iterator[None]:
        """One repair at a time, of all processes."""
        self._quarantine.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(self._quarantine, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def holds(self, name: str) -> bool:
        return self.path(name).exists()

    def free_aside(self, name: str) -> str:
        number = 1
        while (self._quarantine / f"{name}.{number}").exists():
            number += 1
        return f"{name}.{number}"

    def set_aside(self, name: str, aside: str) -> bool:
        target = self._quarantine / aside
        moved = self.path(name).exists()
        if moved and target.exists():
            raise FileExistsError(f"{target} is there already")
        if moved:
            os.rename(self.path(name), target)
        _sync_folder(self._quarantine)
        _sync_folder(self.path(name).parent)
        return moved

    def open(self, name: str, *, from_disk: bool = False) -> "FolderSource":
        return FolderSource(os.open(self.path(name), os.O_RDONLY), from_disk)

    def settle(self, name: str) -> None:
        _sync_folder(self.path(name).parent)

    def names(self) -> Iterator[str]:
        return self._listed(BLOB)

    def key_names(self) -> Iterator[str]:
        return self._listed(KEY)

    def read_small(self, name: str) -> bytes:
        return self.path(name).read_bytes()

    def create_small(self, name: str, data: bytes) -> bool:
        with _Temp(self._temp) as temp:
            temp.write_all(data)
            os.fsync(temp.fd)
            try:
                os.link(temp.path, self.path(name))
            except FileExistsError:
                return False
            _sync_folder(self.path(name).parent)
        return True

    def replace_small(self, name: str, data: bytes) -> None:
        self._place(name, data)
        _sync_folder(self.path(name).parent)

    def remove(self, name: str) -> bool:
        """For `Vault.destroy` alone: the file, then its wrapped keys, then what of it is in quarantine."""
        path = self.path(name)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # who stores the same bytes sees them, or sees them gone
            there = path.exists()
            path.unlink(missing_ok=True)
            aside = list(self._quarantine.glob(f"{name}.*"))
            for file in [*path.parent.glob(f"{name}.*.key"), *aside]:
                file.unlink(missing_ok=True)
            os.fsync(folder)
            if aside:
                _sync_folder(self._quarantine)
        finally:
            os.close(folder)
        return there

    def path(self, name: str) -> Path:
        """Where a file of the vault lies."""
        return self.root / name if name == "vault.json" else self.root / name[:2] / name

    def _place(self, name: str, data: bytes) -> None:
        with _Temp(self._temp) as temp:
            temp.write_all(data)
            os.fsync(temp.fd)
            os.rename(temp.path, self.path(name))

    def _listed(self, form: re.Pattern[str]) -> Iterator[str]:
        for i in range(256):
            folder = self.root / f"{i:02x}"
            if folder.is_dir():
                yield from sorted(name for name in os.listdir(folder) if form.fullmatch(name))


class FolderDraft:
    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._file = _Temp(folder._temp)
        self._written = self._handed_on = 0

    def write(self, data: memoryview) -> None:
        self._file.write_all(data)
        self._written += len(data)
        waiting = self._written - self._handed_on
        if waiting >= _WRITE_BACK:  # the disk starts now, so that fsync has little to wait for
            self._folder.require_room()
            os.posix_fadvise(self._file.fd, self._handed_on, waiting, os.POSIX_FADV_DONTNEED)
            self._handed_on = self._written

    def commit(self, name: str, key_name: str, key: bytes) -> bool:
        os.fchmod(self._file.fd, 0o400)
        os.fsync(self._file.fd)
        path = self._folder.path(name)
        shard = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(shard, fcntl.LOCK_EX)  # of two with the same bytes, one waits and sees the other's
            if path.exists():
                os.fsync(shard)
                return False
            self._folder._place(key_name, key)
            os.rename(self._file.path, path)  # after the key, in the same folder: journals keep that order
            os.fsync(shard)
            return True
        finally:
            os.close(shard)
            self.discard()

    def discard(self) -> None:
        self._file.close()


class FolderSource:
    def __init__(self, fd: int, from_disk: bool) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size
        if from_disk:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def read_into(self, offset: int, view: memoryview) -> int:
        done = 0
        while done < len(view):
            count = os.preadv(self._fd, [view[done:]], offset + done)
            if not count:
                break
            done += count
        return done

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Temp:
    """A temporary file, locked while its writer lives: so others can tell it from one left by the dead."""

    def __init__(self, folder: Path) -> None:
        while True:
            self.path = folder / f"{os.getpid()}-{os.urandom(8).hex()}.part"
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if _is_at(self.fd, self.path):
                return
            os.close(self.fd)  # a cleaner was quicker than our lock

    def write_all(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]

    def close(self) -> None:
        if self.fd >= 0:
            if _is_at(self.fd, self.path):
                self.path.unlink()
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> "_Temp":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
