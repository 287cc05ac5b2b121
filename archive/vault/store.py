"""The vault: bytes in by one pass, out from any place, each blob under its own key.

The numbered steps are those of docs/vault.md.
"""

import base64
import errno
import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from archive.errors import BadInput, Damaged, KeyUnavailable, LimitExceeded, Missing, StorageFull
from archive.vault.cobblestone import CHUNK, HEADER, KEY, SALT, Message, Unauthentic, layout
from archive.vault.intake import Progress, over, pour, silent
from archive.vault.keys import KeyEncryptionKey, Random, Ring
from archive.vault.reader import WINDOW, VaultReader, damaged
from archive.vault.storage import Storage

CONFIG = "vault.json"
CONTEXT = b"amparo vault blob v1"
KEY_CONTEXT = b"amparo vault data key v1\x00"
NAMING_CONTEXT = b"amparo vault naming key v1\x00"
_RECORD = {"kek", "version", "wrapped"}
_CONFIG = {"format", "id", "naming_key", "version"}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


class Vault:
    """A store of immutable encrypted blobs, found by the SHA-256 of their content.

    Opening it makes an empty storage into a vault. Raises KeyUnavailable, Damaged.
    """

    def __init__(self, storage: Storage, ring: Ring, *, random: Random = os.urandom) -> None:
        self._storage, self._ring, self._random = storage, ring, random
        self._naming_key = self._open_config()

    def put(
        self,
        stream: BinaryIO,
        *,
        expected_size: int | None = None,
        expected_sha256: str | None = None,
        limit: int | None = None,
        progress: Progress = silent,
    ) -> Stored:
        """Store what `stream` gives, in one pass and constant memory; durable when it returns.

        The same bytes again write nothing and return `existed=True`. Sizes and `limit` are bytes.
        Raises BadInput (not the expected bytes), LimitExceeded, StorageFull, KeyUnavailable, and Damaged
        where the vault's own copy of these bytes cannot be opened; then nothing was stored.
        """
        if limit is not None and (expected_size or 0) > limit:
            raise LimitExceeded(over(limit))
        self._keys()  # no key: say so before 50 GB were read
        held = expected_sha256 is not None and self._holds(expected_sha256)
        try:
            salt, key = self._random(SALT), self._random(KEY)
            message = Message(key=key, salt=salt, context=CONTEXT)
            draft = None if held else self._storage.draft()
            try:
                digest, size = pour(stream, draft, message, expected_size, limit, progress)
                if expected_size is not None and size != expected_size:
                    raise BadInput(f"{size} bytes came instead of {expected_size}. Send the file again.")
                if expected_sha256 is not None and digest.hex() != expected_sha256.lower():
                    raise BadInput("The file changed on its way: its SHA-256 differs. Send it again.")
                name = self._name(digest)
                if draft is None:
                    self._storage.settle(name)
                    existed = True
                else:
                    key_name = _key_name(name, salt)
                    record = self._wrap(key, KEY_CONTEXT + key_name.encode())
                    existed = not draft.commit(name, key_name, _dump(record))
            finally:
                if draft is not None:
                    draft.discard()
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFull(
                    "The vault has no room for this file, so nothing of it was kept; what was stored before "
                    "is untouched. Make room on the vault's disk and send the file again."
                ) from error
            raise
        if existed:
            self._open_name(name).close()
        return Stored(digest.hex(), size, name, existed)

    def open(self, sha256: str) -> VaultReader:
        """The bytes with this hash, seekable. Their length and end are authenticated before it returns.

        Raises Missing, Damaged, KeyUnavailable; reading from it raises Damaged on the chunk that was altered.
        """
        return self._open_name(self.name_of(sha256))

    def check(self, sha256: str, *, progress: Progress = silent) -> None:
        """Read the stored bytes back from the disk, decrypt and hash all of them, compare with `sha256`.

        Raises Missing, Damaged, KeyUnavailable, or OSError where the disk does not answer.
        """
        self._read_back(self.name_of(sha256), progress)

    def check_name(self, name: str, *, progress: Progress = silent) -> str:
        """As `check`, for whatever lies under a name; return its SHA-256."""
        return self._read_back(name, progress)

    def name_of(self, sha256: str) -> str:
        """The name on disk of the bytes with this hash. Only the naming key leads from one to the other."""
        try:
            digest = bytes.fromhex(sha256)
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise BadInput("A SHA-256 has 64 hexadecimal digits.")
        return self._name(digest)

    def names(self) -> Iterator[str]:
        """Names of all blobs on disk, in order."""
        return self._storage.names()

    def orphans(self, known: Iterable[str]) -> Iterator[str]:
        """Names of blobs whose content is none of the `known` hashes. They are reported, never deleted.

        A file that is just being taken in looks like this until its row is committed.
        """
        expected = {self.name_of(sha256) for sha256 in known}
        return (name for name in self._storage.names() if name not in expected)

    def rotate(self, *, progress: Progress = silent) -> Rotated:
        """Wrap every key anew that is not under the current key-encryption key; no blob is touched.

        Can run while the vault is in use, be killed, and be run again. Raises KeyUnavailable, Damaged; what
        was done until then holds, and what was not is as it was.
        """
        names = [CONFIG, *self._storage.key_names()]
        renewed = 0
        for done, name in enumerate(names):
            renewed += self._renew(name)
            progress("rotate", done + 1, len(names))
        return Rotated(renewed, len(names) - renewed)

    def clean(self) -> int:
        """Remove half-written files of dead processes, never a blob; return how many."""
        return self._storage.clean()

    def _name(self, digest: bytes) -> str:
        return hmac.digest(self._naming_key, digest, hashlib.sha256).hex()

    def _holds(self, sha256: str) -> bool:
        try:
            self.open(sha256).close()
        except Missing:
            return False
        return True

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
            message = Message.of_header(bytes(header), key=key, context=CONTEXT)
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
        key_name = _key_name(name, salt)
        try:
            record = _parse(self._storage.read_small(key_name), _RECORD)
        except FileNotFoundError:
            raise Unauthentic("no wrapped key beside it belongs to its first 24 bytes") from None
        return self._unwrap(record, KEY_CONTEXT + key_name.encode())

    def _read_back(self, name: str, progress: Progress) -> str:
        buffer = memoryview(bytearray(WINDOW * CHUNK))
        digest = hashlib.sha256()
        with self._open_name(name, from_disk=True) as reader:
            while count := reader.readinto(buffer):
                digest.update(buffer[:count])
                progress("check", reader.tell(), reader.size)
            if self._name(digest.digest()) != name:
                raise damaged(name, "its content is not what its name stands for")
        return digest.hexdigest()

    def _open_config(self) -> bytes:
        self._storage.prepare()
        try:
            data = self._storage.read_small(CONFIG)
        except FileNotFoundError:
            data = self._create_config()
        try:
            config = _parse(data, _CONFIG)
            return self._unwrap(config["naming_key"], _naming_context(config))
        except Damaged as error:
            raise _config_damaged(str(error)) from error

    def _create_config(self) -> bytes:
        if next(self._storage.names(), None):
            raise _config_damaged("it is gone, although blobs are there")
        config = {"format": "amparo-vault", "id": self._random(16).hex(), "version": 1}
        config["naming_key"] = self._wrap(self._random(KEY), _naming_context(config))
        self._storage.create_small(CONFIG, _dump(config))
        return self._storage.read_small(CONFIG)  # of two that make the vault at once, one wrote it

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

    def _renew(self, name: str) -> bool:
        old = _parse(self._storage.read_small(name), _CONFIG if name == CONFIG else _RECORD)
        record, context = old, KEY_CONTEXT + name.encode()
        if name == CONFIG:
            record, context = old["naming_key"], _naming_context(old)
        if record["kek"] == self._keys()[0].key_id:
            return False
        new = self._wrap(self._unwrap(record, context), context)
        self._storage.replace_small(name, _dump({**old, "naming_key": new} if name == CONFIG else new))
        return True


def _key_name(name: str, salt: bytes) -> str:
    return f"{name}.{salt.hex()}.key"


def _dump(record: dict) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _parse(data: bytes, fields: set[str]) -> dict:
    """A JSON object with these fields as `_dump` writes it, and no other spelling of it. Raises Damaged."""
    try:
        record = json.loads(data)
        strict = _dump(record) == data and set(record) == fields and record["version"] == 1
        if strict and fields == _CONFIG:
            strict = record["format"] == "amparo-vault" and len(bytes.fromhex(record["id"])) == 16
            _parse(_dump(record["naming_key"]), _RECORD)
        elif strict:
            wrapped = base64.b64decode(record["wrapped"], validate=True)
            strict = base64.b64encode(wrapped).decode() == record["wrapped"] and bool(record["kek"].isascii())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        strict = False
    if not strict:
        raise Damaged("it is not in the form in which it was written")
    return record


def _naming_context(config: dict) -> bytes:
    return NAMING_CONTEXT + config["id"].encode()


def _config_damaged(what: str) -> Damaged:
    return Damaged(
        f"The vault's file {CONFIG} cannot be used: {what}. No blob was touched. Restore that file from a "
        "backup; without it no blob is found by its hash."
    )
