"""A BagIt 1.0 bag (RFC 8493) as a stream of files, into a folder or a zip, in constant memory.

Knows nothing of cases or custody: `evidence.contents` says what lies in a bag, this says how it is packed.
"""

import hashlib
import io
import os
import re
import shutil
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from archive.errors import Damaged

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE, WORTH_A_THREAD = 2**20, 2**18
BAGIT_TXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MAX_NAME_BYTES = 160
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")  # what Windows keeps for devices


@dataclass(frozen=True)
class Entry:
    """A file of a bag: its path, its bytes, to be read once and in order, and the SHA-256 they must have, if any."""

    path: str
    pieces: Iterable[bytes]
    sha256: str = ""


@dataclass
class Manifest:
    """SHA-256 of files by path, noted while their bytes pass; large pieces are hashed by a thread meanwhile."""

    hasher: Executor
    hashes: dict[str, str] = field(default_factory=dict)
    octets: int = 0

    def note(self, entry: Entry) -> Entry:
        """The same entry, whose hash is noted once its last byte has passed. Then Damaged, if it is a wrong one."""

        def pieces() -> Iterator[bytes]:
            digest, hashing = hashlib.sha256(), None
            for piece in entry.pieces:
                if hashing:
                    hashing.result()
                hashing = self.hasher.submit(digest.update, piece) if len(piece) >= WORTH_A_THREAD else None
                if not hashing:
                    digest.update(piece)
                self.octets += len(piece)
                yield piece
            if hashing:
                hashing.result()
            self.hashes[entry.path] = digest.hexdigest()
            if entry.sha256 not in ("", self.hashes[entry.path]):
                raise Damaged(
                    "An original has not its SHA-256 any more. Nothing was exported: run `vault check`."
                )

        return Entry(entry.path, pieces())

    def text(self) -> bytes:
        """The manifest file."""
        return "".join(
            f"{digest}  {encoded(path)}\n" for path, digest in sorted(self.hashes.items())
        ).encode()


def bag(
    payload: Iterable[Entry],
    tags: dict[str, bytes],
    info: Callable[[Manifest], dict[str, str]],
    seal: Callable[[str], dict[str, bytes]],
) -> Iterator[Entry]:
    """All files of a bag in order: payload, tag files, manifests, and last what `seal` makes of the tag manifest's hash.

    Each entry's pieces must be read to the end before the next is asked for.
    """
    with ThreadPoolExecutor(1, "bag-hash") as hasher:
        listed, tagged = Manifest(hasher), Manifest(hasher)
        for entry in payload:
            yield listed.note(entry)
        lines = "".join(f"{label}: {value}\n" for label, value in info(listed).items())
        for path, data in {**tags, "bagit.txt": BAGIT_TXT, "bag-info.txt": lines.encode()}.items():
            yield tagged.note(Entry(path, [data]))
        yield tagged.note(Entry("manifest-sha256.txt", [listed.text()]))
        last = tagged.text()
        yield Entry("tagmanifest-sha256.txt", [last])
        for path, data in seal(hashlib.sha256(last).hexdigest()).items():
            yield Entry(path, [data])


def encoded(path: str) -> str:
    """A path as manifests write it: LF, CR and percent sign encoded, and only those (RFC 8493, 2.1.3)."""
    return path.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def safe_name(name: str, otherwise: str = "original") -> str:
    """A file name that every system can hold and no reader can be led astray by. The true name is in the metadata.

    Unicode is kept (NFC). Control and direction characters, path separators, percent signs (bagit.py does not decode
    them) and what Windows refuses become "_"; long names keep their beginning and their ending.
    """
    name = unicodedata.normalize("NFC", name)
    name = "".join("_" if unicodedata.category(c)[0] == "C" or c in '/\\:*?"<>|%' else c for c in name)
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


def write_folder(entries: Iterable[Entry], folder: Path) -> None:
    """Write a bag into a new folder and make it durable. The caller removes the folder if this raises."""
    folder.mkdir(mode=0o700)
    folders = {folder}
    with ThreadPoolExecutor(1, "bag-sync") as pool:  # a file goes to the disk while the next is written
        syncing: list[Future] = []
        for entry in entries:
            path = folder / entry.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb", buffering=0) as file:
                for piece in entry.pieces:
                    _write_all(file, piece)
            folders |= set(path.parents) - set(folder.parents)
            syncing = [each for each in syncing if not (each.done() and each.result() is None)]
            syncing.append(pool.submit(sync, path))
        for each in syncing:
            each.result()
    for path in sorted(folders, reverse=True):
        sync(path)


def _write_all(file: io.FileIO, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def sync(path: Path) -> None:
    """Make a file or folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
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


def zip_pieces(entries: Iterable[Entry], top: str) -> Iterator[bytes]:
    """The bytes of a zip with one folder at its top. Stored, not packed: photographs and videos already are."""
    out, now = _Outbox(), datetime.now(UTC).timetuple()[:6]
    with zipfile.ZipFile(cast("BinaryIO", out), "w") as packed:
        for entry in entries:
            info = zipfile.ZipInfo(f"{top}/{entry.path}", now)
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


def write_zip(entries: Iterable[Entry], top: str, path: Path) -> None:
    """Write a bag as a zip and make it durable. The caller removes the file if this raises."""
    with path.open("xb", buffering=0) as file:
        os.fchmod(file.fileno(), 0o600)
        for piece in zip_pieces(entries, top):
            _write_all(file, piece)
        os.fsync(file.fileno())
