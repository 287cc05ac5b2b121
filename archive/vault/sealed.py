"""Sealed files under wrapped keys: what the vault is made of."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from archive.errors import BadInput, Damaged, KeyUnavailable, LimitExceeded, Missing, StorageFull
from archive.vault.cobblestone import HEADER, KEY, SALT, Message, Unauthentic, layout
from archive.vault.intake import Progress, over, pour, silent
from archive.vault.keys import KeyEncryptionKey, Random, Ring
from archive.vault.reader import VaultReader, damaged
from archive.vault.room import FULL
from archive.vault.storage import Storage

KEY_CONTEXT = b"amparo vault data key v1\x00"
_SPELLING = "it is not in the form in which it was written"


@dataclass(frozen=True)
class Stored:
    """Bytes that are durable in the vault."""

    sha256: str
    size: int
    name: str
    existed: bool


@dataclass(frozen=True)
class Rotated:
    """What a rotation found: wrapped keys renewed now, and those that were under the current key already."""

    renewed: int
    current: int


class Sealed:
    """A storage of files, each encrypted under a key of its own, that key wrapped beside it."""

    context = b""
    """Tells one kind of file from another: what is of one kind does not open as another."""

    def __init__(self, storage: Storage, ring: Ring, *, random: Random = os.urandom) -> None:
        self._storage, self._ring, self._random = storage, ring, random

    def names(self) -> Iterator[str]:
        """Names of all blobs on disk, in order."""
        return self._storage.names()

    def rotate(self, *, progress: Progress = silent) -> Rotated:
        """Wrap every key anew that is not under the current key-encryption key; no blob is touched.

        Can run while the vault is in use, be killed, and be run again. Raises KeyUnavailable, Damaged; what
        was done until then holds, and what was not is as it was.
        """
        names = [*self._wrapped_keys()]
        renewed = 0
        for done, name in enumerate(names):
            renewed += self._renew(name)
            progress("rotate", done + 1, len(names))
        return Rotated(renewed, len(names) - renewed)

    def clean(self) -> int:
        """Remove half-written files of dead processes, never a blob; return how many."""
        return self._storage.clean()

    def _seal(
        self,
        stream: BinaryIO,
        name_of: Callable[[bytes], str],
        held: bool,
        expected_size: int | None,
        expected_sha256: str | None,
        limit: int | None,
        progress: Progress,
    ) -> Stored:
        """Store `stream` under the name that its SHA-256 gets; with `held`, only compare and settle."""
        if limit is not None and (expected_size or 0) > limit:
            raise LimitExceeded(over(limit))
        self._keys()  # no key: say so before 50 GB were read
        salt, key = self._random(SALT), self._random(KEY)
        message = Message(key=key, salt=salt, context=self.context)
        try:
            draft = None if held else self._storage.draft(expected_size or 0)
            try:
                digest, size = pour(stream, draft, message, expected_size, limit, progress)
                if expected_size is not None and size != expected_size:
                    raise BadInput(f"{size} bytes came instead of {expected_size}. Send the file again.")
                if expected_sha256 is not None and digest.hex() != expected_sha256.lower():
                    raise BadInput("The file changed on its way: its SHA-256 differs. Send it again.")
                name = name_of(digest)
                if draft is None:
                    self._storage.settle(name)
                    return Stored(digest.hex(), size, name, existed=True)
                key_name = key_name_of(name, salt)
                record = self._wrap(key, KEY_CONTEXT + key_name.encode())
                new = draft.commit(name, key_name, dump(record))
                return Stored(digest.hex(), size, name, existed=not new)
            finally:
                if draft is not None:
                    draft.discard()
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise StorageFull(
                "The vault has no room for this file, so nothing of it was kept; what was stored before is "
                "untouched. Make room on the vault's disk and send the file again."
            ) from error

    def _open_name(self, name: str, *, from_disk: bool = False) -> VaultReader:
        try:
            source = self._storage.open(name, from_disk=from_disk)
        except FileNotFoundError:
            raise Missing(
                f"The vault holds no blob {name}. Nothing was changed; look for it in the vault's backup."
            ) from None
        try:
            header = bytearray(HEADER)
            size, last = layout(source.size)
            if source.read_into(0, memoryview(header)) != HEADER:
                raise Unauthentic("its first 56 bytes cannot be read")
            key = self._data_key(name, bytes(header[:SALT]))
            message = Message.of_header(bytes(header), key=key, context=self.context)
            reader = VaultReader(source, message, name=name, size=size)
            reader._load(last, 1)
        except (Unauthentic, Damaged) as error:
            source.close()
            raise damaged(name, error) from error
        except BaseException:
            source.close()
            raise
        return reader

    def _data_key(self, name: str, salt: bytes) -> bytes:
        return self.key_of(key_name_of(name, salt))

    def key_of(self, key_name: str) -> bytes:
        """The data key in a small file. Raises Unauthentic, Damaged, KeyUnavailable."""
        try:
            record = parse_record(self._storage.read_small(key_name))
        except FileNotFoundError:
            raise Unauthentic("no wrapped key beside it belongs to its first 24 bytes") from None
        return self._unwrap(record, KEY_CONTEXT + key_name.encode())

    def _keys(self) -> tuple[KeyEncryptionKey, ...]:
        keys = self._ring.keys()
        if not keys:
            raise KeyUnavailable("The vault was given no key. Nothing was lost; set VAULT_KEY_FILE.")
        return keys

    def _wrap(self, key: bytes, context: bytes) -> dict:
        current = self._keys()[0]
        wrapped = current.wrap(key, context)
        if current.unwrap(wrapped, context) != key:
            raise KeyUnavailable(f"Key {current.key_id} does not give back what it wrapped. Nothing changed.")
        return {"kek": current.key_id, "version": 1, "wrapped": base64.b64encode(wrapped).decode()}

    def _unwrap(self, record: dict, context: bytes) -> bytes:
        known = {key.key_id: key for key in self._keys()}
        if record["kek"] not in known:
            raise KeyUnavailable(
                f"This was encrypted under vault key {record['kek']}, and the vault was given only "
                f"{', '.join(known)}. Nothing was lost; put that key back (see VAULT_KEY_FILE)."
            )
        key = known[record["kek"]].unwrap(base64.b64decode(record["wrapped"]), context)
        if len(key) != KEY:
            raise Damaged("a wrapped key has the wrong length")
        return key

    def _wrapped_keys(self) -> Iterator[str]:
        """Names of all small files that hold a wrapped key."""
        return self._storage.key_names()

    def _renew(self, name: str) -> bool:
        """Wrap the key in a small file under the current key; False where it is already."""
        record = parse_record(self._storage.read_small(name))
        new = self._rewrapped(record, KEY_CONTEXT + name.encode())
        if new:
            self._storage.replace_small(name, dump(new))
        return bool(new)

    def _rewrapped(self, record: dict, context: bytes) -> dict | None:
        if record["kek"] == self._keys()[0].key_id:
            return None
        return self._wrap(self._unwrap(record, context), context)


def key_name_of(name: str, salt: bytes) -> str:
    """Name of the small file with the data key of the file `name` that starts with `salt`."""
    return f"{name}.{salt.hex()}.key"


def dump(record: dict) -> bytes:
    """The one spelling of a record."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def parse(data: bytes, fields: set[str]) -> dict:
    """A JSON object with these fields as `dump` writes it, and no other spelling. Raises Damaged."""
    try:
        record = json.loads(data)
        if dump(record) == data and set(record) == fields and record["version"] == 1:
            return record
    except (ValueError, TypeError, RecursionError) as error:
        raise Damaged(_SPELLING) from error
    raise Damaged(_SPELLING)


def parse_record(data: bytes) -> dict:
    """A wrapped key in its one spelling. Raises Damaged."""
    record = parse(data, {"kek", "version", "wrapped"})
    try:
        strict = (
            base64.b64encode(base64.b64decode(record["wrapped"], validate=True)).decode() == record["wrapped"]
        )
    except (ValueError, TypeError):
        strict = False
    if not strict or not isinstance(record["kek"], str):
        raise Damaged(_SPELLING)
    return record
