"""A BagIt 1.0 bag (RFC 8493) as a stream of files, into a folder or a zip, in constant memory.

Knows nothing of cases or custody: `evidence.contents` says what lies in a bag, this says how it is packed.
"""

import hashlib
import io
import os
import re
import shutil
import tempfile
import unicodedata
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, cast

from archive.errors import Damaged

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    Both = tuple[hashlib._Hash, hashlib._Hash]

PIECE = 2**20
HANDED = 2**17  # bytes handed to the system at a time: it takes larger pieces several times more slowly
AHEAD = 8  # pieces that wait to be hashed at most
BAGIT_TXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MAX_NAME_BYTES = 160
SYNCERS, WAITING = 4, 64  # files on their way to the disk while the next are written
SPAN = 2**26  # bytes of one file that are written before they are sent on their way
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")  # what Windows keeps for devices


@dataclass(frozen=True)
class Digests:
    """What the manifests say of a file."""

    sha256: str
    sha512: str
    size: int


@dataclass
class Entry:
    """A file of a bag: its path, its bytes, to be read once and in order, and the SHA-256 they must have, if any.

    `digests` are known from the start of a file that an earlier attempt wrote. Else `hashed` gives them some time after
    the last byte has passed.
    """

    path: str
    pieces: Iterable[bytes]
    sha256: str = ""
    digests: Digests | None = None
    hashed: "Future[Digests] | None" = None


class Hashers:
    """Two threads, one for SHA-256 and one for SHA-512, that hash in order what others read and write meanwhile.

    No more than AHEAD pieces wait for them. What goes wrong there is raised here, by `settle` at the latest.
    """

    def __init__(self) -> None:
        self._threads = [ThreadPoolExecutor(1, f"bag-{name}") for name in ("sha256", "sha512")]
        self._waiting: deque[Future] = deque()

    def __enter__(self) -> "Hashers":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for thread in self._threads:
            thread.shutdown(cancel_futures=True)

    def update(self, digests: "Both", piece: bytes) -> None:
        """Add a piece to both hashes."""
        for thread, digest in zip(self._threads, digests, strict=True):
            self._give(thread, digest.update, piece)

    def then(self, work: Callable[[], Digests]) -> "Future[Digests]":
        """Do something once all pieces given until now are hashed."""
        others = self._threads[0].submit(len, b"")

        def after() -> Digests:
            others.result()
            return work()

        return self._give(self._threads[1], after)

    def settle(self) -> None:
        """Wait until all is hashed."""
        while self._waiting:
            self._waiting.popleft().result()

    def _give(self, thread: Executor, work: Callable, *args: object) -> Future:
        while len(self._waiting) >= 2 * AHEAD:
            self._waiting.popleft().result()
        given = thread.submit(work, *args)
        self._waiting.append(given)
        return given


class Manifest:
    """SHA-256 and SHA-512 of files, noted in one pass.

    The lines lie in two files without names, so that memory does not grow with their number.
    """

    def __init__(self, hashers: Hashers, folder: Path | None = None) -> None:
        self.octets = self.files = 0
        self._hashers, self._open = hashers, ExitStack()
        self._sha256, self._sha512 = (
            self._open.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(2)
        )

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def note(self, entry: Entry) -> Entry:
        """The same entry, whose hashes are noted once its last byte has passed. Soon after, Damaged if it is a wrong one."""

        def pieces() -> Iterator[bytes]:
            digests, size = (hashlib.sha256(), hashlib.sha512()), 0
            for piece in entry.pieces:
                self._hashers.update(digests, piece)
                size += len(piece)
                yield piece
            noted.hashed = self._hashers.then(lambda: self._add(entry, digests, size))

        noted = Entry(entry.path, pieces(), entry.sha256)
        return noted

    def add(self, path: str, digests: Digests) -> None:
        """Note a file whose hashes are known."""
        self._hashers.then(lambda: self._write(path, digests))

    def _add(self, entry: Entry, digests: "Both", size: int) -> Digests:
        known = Digests(digests[0].hexdigest(), digests[1].hexdigest(), size)
        if entry.sha256 not in ("", known.sha256):
            raise Damaged(
                "An original has not its SHA-256 any more. Nothing was exported: run `vault check`."
            )
        return self._write(entry.path, known)

    def _write(self, path: str, digests: Digests) -> Digests:
        self._sha256.write(f"{digests.sha256}  {encoded(path)}\n".encode())
        self._sha512.write(f"{digests.sha512}  {encoded(path)}\n".encode())
        self.octets, self.files = self.octets + digests.size, self.files + 1
        return digests

    def texts(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Algorithm and lines of both manifest files."""
        self._hashers.settle()
        yield "sha256", _pieces_of(self._sha256)
        yield "sha512", _pieces_of(self._sha512)


def _pieces_of(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(PIECE):
        yield piece


def bag(
    payload: Iterable[Entry],
    tags: dict[str, bytes],
    info: Callable[[Manifest], dict[str, str]],
    seal: Callable[[dict[str, str]], dict[str, bytes]],
    scratch: Path | None = None,
) -> Iterator[Entry]:
    """All files of a bag in order: payload, tag files, manifests, and last what `seal` makes of the tag manifests'
    hashes, by algorithm.

    Each entry's pieces must be read to the end before the next is asked for. Entries of the payload that come with
    their digests are in the manifests and are not given out.
    """
    with (
        Hashers() as hashers,
        Manifest(hashers, scratch) as listed,
        Manifest(hashers, scratch) as tagged,
    ):
        for entry in payload:
            if entry.digests:
                listed.add(entry.path, entry.digests)
            else:
                yield listed.note(entry)
        hashers.settle()
        lines = "".join(f"{label}: {value}\n" for label, value in info(listed).items())
        for path, data in {**tags, "bagit.txt": BAGIT_TXT, "bag-info.txt": lines.encode()}.items():
            yield tagged.note(Entry(path, [data]))
        for algorithm, pieces in listed.texts():
            yield tagged.note(Entry(f"manifest-{algorithm}.txt", pieces))
        hashes = {}
        for algorithm, pieces in tagged.texts():
            whole = b"".join(pieces)
            hashes[algorithm] = hashlib.new(algorithm, whole).hexdigest()
            yield Entry(f"tagmanifest-{algorithm}.txt", [whole])
        for path, data in seal(hashes).items():
            yield Entry(path, [data])


def encoded(path: str) -> str:
    """A path as manifests write it: LF, CR and percent sign encoded, and only those (RFC 8493, 2.1.3)."""
    return path.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def safe_name(name: str, otherwise: str = "original") -> str:
    """A file name that every system can hold and no reader can be led astray by. The true name is in the metadata.

    Unicode is kept (NFC). Control and direction characters, path separators, percent signs (bagit.py does not decode
    them), commas (Opticon load files part with them) and what Windows refuses become "_"; long names keep their beginning and their ending.
    """
    name = unicodedata.normalize("NFC", name)
    name = "".join("_" if unicodedata.category(c)[0] == "C" or c in '/\\:*?"<>|%,' else c for c in name)
    name = re.sub(r"[. ]+$", "_", re.sub(r"^[. ~-]+", "_", name))
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    stem, dot, ending = name.rpartition(".")
    ending = f"{dot}{ending}" if stem and len(ending.encode()) <= 16 else ""
    stem = name.removesuffix(ending) if ending else name
    return (_cut(stem, MAX_NAME_BYTES - len(ending.encode())) + ending) or otherwise


def _cut(text: str, octets: int) -> str:
    return text.encode()[:octets].decode(errors="ignore")


# --- into a folder ------------------------------------------------------------------------------------------


def write_folder(
    entries: Iterable[Entry], folder: Path, written: Callable[[Entry], None] = lambda entry: None
) -> int:
    """Write a bag into a folder and make it durable; return how many bytes it took. What is there already of these
    names is written anew. `written` is told of each file once it is durable and hashed, by another thread.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folders, size = {folder}, 0
    waiting: list[Future] = []
    with ThreadPoolExecutor(SYNCERS, "bag-sync") as pool:  # files go to the disk while the next is written

        def durable(path: Path, entry: Entry) -> None:
            sync(path)
            if entry.hashed:
                entry.digests = entry.hashed.result()
            written(entry)

        for entry in entries:
            path = folder / entry.path
            if path.parent not in folders:
                path.parent.mkdir(parents=True, exist_ok=True)
                folders |= set(path.parents) - set(folder.parents)
            path.unlink(missing_ok=True)
            with path.open("xb", buffering=0) as file:
                here = 0
                for piece in entry.pieces:
                    _write_all(file, piece)
                    here += len(piece)
                    if here // SPAN > (here - len(piece)) // SPAN:
                        waiting.append(pool.submit(sync, path))
                size += here
            waiting.append(pool.submit(durable, path, entry))
            while len(waiting) > WAITING or (waiting and waiting[0].done()):
                waiting.pop(0).result()
        for each in waiting:
            each.result()
    for path in sorted(folders, reverse=True):
        sync(path)
    return size


def _write_all(file: io.FileIO, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest[:HANDED]) :]


def sync(path: Path) -> None:
    """Make a file or folder durable. What the system holds of it in memory is given up: nobody reads it again soon."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove what an export that failed has left."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# --- into a zip ---------------------------------------------------------------------------------------------


class _Outbox:
    """What zipfile has written and nobody has taken yet. Cannot be seeked, so zipfile streams."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.waiting.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits anywhere else."""

    def take(self) -> bytes:
        data = b"".join(self.waiting)
        self.waiting.clear()
        return data


def zip_pieces(entries: Iterable[Entry], top: str, dated: datetime) -> Iterator[bytes]:
    """The bytes of a zip with one folder at its top. Stored, not packed: photographs and videos already are."""
    out = _Outbox()
    with zipfile.ZipFile(cast("BinaryIO", out), "w") as packed:
        for entry in entries:
            info = zipfile.ZipInfo(f"{top}/{entry.path}", dated.timetuple()[:6])
            info.external_attr = 0o100644 << 16
            with packed.open(info, "w", force_zip64=True) as file:
                for piece in entry.pieces:
                    file.write(piece)
                    yield out.take()
    yield out.take()


class Stream(io.RawIOBase):
    """Pieces of bytes as a readable stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._held = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Give what is there, at most a buffer full; 0 at the end."""
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._held = memoryview(piece)
        out = memoryview(buffer).cast("B")
        count = min(len(out), len(self._held))
        out[:count], self._held = self._held[:count], self._held[count:]
        return count


def write_file(pieces: Iterable[bytes], path: Path) -> int:
    """Write one file, in place of what is there, and make it durable; return its length."""
    path.unlink(missing_ok=True)
    with path.open("xb", buffering=0) as file:
        os.fchmod(file.fileno(), 0o600)
        for piece in pieces:
            _write_all(file, piece)
        os.fsync(file.fileno())
        return file.tell()
