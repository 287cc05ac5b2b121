"""Bundles for the holders of age keys: encrypted while they are written, in constant memory."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyrage
from django.db import connections

from evidence import bag
from evidence.terms import opened_by

T = TypeVar("T")


def encrypt(pieces: Iterator[bytes], keys: list[str], out: BinaryIO) -> None:
    """Write pieces to `out` in the age format, readable with any one of these keys.

    What `pieces` raises is raised as it is; `out` then holds a message without an end, which no reader takes.
    """
    faults: list[BaseException] = []

    def watched() -> Iterator[bytes]:
        try:
            yield from pieces
        except BaseException as error:
            faults.append(error)
            raise

    try:
        pyrage.encrypt_io(bag.Stream(watched()), out, [opened_by(key) for key in keys])
    except pyrage.EncryptError as error:
        if faults:
            raise faults[0] from error
        raise OSError(str(error)) from error


def write_file(pieces: Iterator[bytes], keys: list[str], path: Path) -> int:
    """Encrypt into a file, in place of what is there, and make it durable; return its length."""
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        encrypt(pieces, keys, file)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def encrypted(pieces: Iterator[bytes], keys: list[str], take: Callable[[BinaryIO], T]) -> T:
    """Encrypt to a reader: `take` is called in a thread with a stream of the encrypted bytes, to be read to its end.

    If `pieces` raises, the stream does too, so that nothing cut short is taken for whole.
    """
    read, write = os.pipe()
    faults: list[BaseException] = []
    broke_off = False

    def sealed() -> Iterator[bytes]:
        nonlocal broke_off
        while piece := os.read(read, bag.PIECE):
            yield piece
        if faults:
            broke_off = True
            raise OSError("what was to be encrypted broke off") from faults[0]

    def taken() -> T:
        try:
            return take(bag.Stream(sealed()))
        finally:
            os.close(read)  # whoever still writes is told
            connections.close_all()

    with ThreadPoolExecutor(1, "age") as pool:
        result = pool.submit(taken)
        with os.fdopen(write, "wb", buffering=0) as out:
            try:
                encrypt(pieces, keys, out)
            except BaseException as error:  # noqa: BLE001 - raised again below, once the thread has seen it
                faults.append(error)
        ended = result.exception()  # waits
        if faults and (broke_off or ended is None):
            raise faults[0]
        return result.result()
