"""One pass over what comes in: hashed, sealed and written from the same buffer."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import cycle
from typing import BinaryIO

from archive.errors import BadInput, LimitExceeded
from archive.vault.cobblestone import CHUNK, SEALED, Message
from archive.vault.storage import Draft

Progress = Callable[[str, int, int | None], None]
"""Told (step's code, done so far, total or None): bytes while storing and checking, keys while rotating."""

_FIRST = (
    8  # chunks sealed in the first go, 128 KiB: small files are many, and memory to clear costs them most
)
_WINDOW = 64  # chunks sealed in one go from then on: 1 MiB


def silent(step: str, done: int, total: int | None = None) -> None:
    """The progress of those who do not ask."""


def pour(
    stream: BinaryIO,
    draft: Draft | None,
    message: Message,
    expected_size: int | None,
    limit: int | None,
    progress: Progress,
) -> tuple[bytes, int]:
    """Read to the end: hash, seal, write. Return (SHA-256, size). Without a draft, hash only.

    From the second buffer on, a thread hashes it while this one seals and writes it and fills the next.
    """
    digest, size, chunk = hashlib.sha256(), 0, 0
    hashing: Future | None = None
    with closing(_Hasher()) as hasher:
        if draft:
            draft.write(memoryview(message.header))
        for plain, sealed in _buffers():
            count = _fill(stream, plain)
            end = count < len(plain)
            size += count
            if limit is not None and size > limit:
                raise LimitExceeded(over(limit))
            if expected_size is not None and size > expected_size:
                raise BadInput(f"More than the announced {expected_size} bytes came. Send the file again.")
            if hashing:
                hashing.result()
                hashing = None
            if end or not chunk:
                digest.update(plain[:count])
            else:
                hashing = hasher.start(digest, plain)
            if draft:
                draft.write(sealed[: message.seal_into(chunk, plain[:count], sealed, end=end)])
            progress("store", size, expected_size)
            if end:
                break
            chunk += len(plain) // CHUNK
    return digest.digest(), size


def _buffers() -> Iterator[tuple[memoryview, memoryview]]:
    """Room for plain and for sealed bytes: little at first, then more, the plain in turn from two buffers."""

    def room(chunks: int, size: int) -> memoryview:
        return memoryview(bytearray(chunks * size))

    yield room(_FIRST, CHUNK), room(_FIRST, SEALED)
    one, sealed = room(_WINDOW, CHUNK), room(_WINDOW, SEALED)
    yield one, sealed
    yield from cycle([(room(_WINDOW, CHUNK), sealed), (one, sealed)])


class _Hasher:
    """A thread that hashes, started by the first buffer that is worth one."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def start(self, digest: "hashlib._Hash", data: memoryview) -> Future:
        self._pool = self._pool or ThreadPoolExecutor(1, "vault-hash")
        return self._pool.submit(digest.update, data)

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()


def _fill(stream: BinaryIO, view: memoryview) -> int:
    """Read until `view` is full or the stream ends; return how many bytes came."""
    into = getattr(stream, "readinto", None)
    done = 0
    while done < len(view):
        if into:
            count = into(view[done:])
        else:
            data = stream.read(len(view) - done)
            count = None if data is None else len(data)
            if count:
                view[done : done + count] = data
        if count is None:
            raise BadInput("The stream paused and had not ended. Nothing was stored; send it again.")
        if not count:
            break
        done += count
    return done


def over(limit: int) -> str:
    """The sentence of LimitExceeded."""
    return f"The file is larger than the limit of {limit} bytes. Nothing was stored; the limit is a setting."
