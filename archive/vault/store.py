"""The vault: bytes in by one pass, out from any place, each blob under its own key.

The numbered steps are those of docs/vault.md.
"""

import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, cast

from archive.errors import BadInput, Damaged, Missing
from archive.vault.cobblestone import CHUNK, KEY
from archive.vault.intake import Progress, silent
from archive.vault.keys import Random, Ring
from archive.vault.reader import WINDOW, VaultReader, damaged
from archive.vault.sealed import Sealed, Stored, dump, parse, parse_record
from archive.vault.storage import Place, Storage, Unreachable

CONFIG = "vault.json"
NAMING_CONTEXT = b"amparo vault naming key v1\x00"


class Vault(Sealed):
    """A store of immutable encrypted blobs, found by the SHA-256 of their content.

    Opening it makes an empty storage into a vault. Raises KeyUnavailable, Damaged.
    """

    context = b"amparo vault blob v1"

    def __init__(
        self, storage: Storage, ring: Ring, *, random: Random = os.urandom, naming_key: bytes = b""
    ) -> None:
        super().__init__(storage, ring, random=random)
        self._naming_key = naming_key or self._open_config()

    def twin(self, place: Place) -> "Vault":
        """This vault in another place: same names, same keys. Its files may be read, checked and rotated."""
        return Vault(cast(Storage, place), self._ring, random=self._random, naming_key=self._naming_key)

    @property
    def storage(self) -> Storage:
        """Where the files lie."""
        return self._storage

    def identity(self) -> str:
        """The id in vault.json, read now. Raises Unreachable where the place is not this vault's."""
        try:
            return _parse_config(self._storage.read_small(CONFIG))["id"]
        except FileNotFoundError:
            raise Unreachable(
                f"{self._storage.where} holds no {CONFIG}: it is not connected, or was never set up. Nothing "
                "is known of the files there."
            ) from None

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
        held = expected_sha256 is not None and self._holds(expected_sha256)
        stored = self._seal(stream, self._name, held, expected_size, expected_sha256, limit, progress)
        if stored.existed:
            self._open_name(stored.name).close()
        return stored

    def open(self, sha256: str) -> VaultReader:
        """The bytes with this hash, seekable. Their length and end are authenticated before it returns.

        Raises Missing, Damaged, KeyUnavailable; reading from it raises Damaged on the chunk that was altered.
        """
        return self._open_name(self.name_of(sha256))

    def destroy(self, sha256: str) -> bool:
        """Remove the bytes with this hash and their key, durably; False where they were gone. Harmless twice.

        Called by archive/disposal.py alone, under two persons' names and once no row names the bytes any more.
        """
        return self._storage.remove(self.name_of(sha256))

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

    def orphans(self, known: Iterable[str]) -> Iterator[str]:
        """Names of blobs whose content is none of the `known` hashes. They are reported, never deleted.

        A file that is just being taken in looks like this until its row is committed.
        """
        expected = {self.name_of(sha256) for sha256 in known}
        return (name for name in self._storage.names() if name not in expected)

    def _name(self, digest: bytes) -> str:
        return hmac.digest(self._naming_key, digest, hashlib.sha256).hex()

    def _holds(self, sha256: str) -> bool:
        try:
            self.open(sha256).close()
        except Missing:
            return False
        return True

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
            config = _parse_config(data)
            return self._unwrap(config["naming_key"], _naming_context(config))
        except Damaged as error:
            raise _config_damaged(str(error)) from error

    def _create_config(self) -> bytes:
        if next(self._storage.names(), None):
            try:
                return self._storage.read_small(CONFIG)  # another made the vault, and stored, since we looked
            except FileNotFoundError:
                raise _config_damaged("it is gone, although blobs are there") from None
        config = {"format": "amparo-vault", "id": self._random(16).hex(), "version": 1}
        config["naming_key"] = self._wrap(self._random(KEY), _naming_context(config))
        self._storage.create_small(CONFIG, dump(config))
        return self._storage.read_small(CONFIG)  # of two that make the vault at once, one wrote it

    def _wrapped_keys(self) -> Iterator[str]:
        yield CONFIG
        yield from super()._wrapped_keys()

    def _renew(self, name: str) -> bool:
        if name != CONFIG:
            return super()._renew(name)
        config = _parse_config(self._storage.read_small(CONFIG))
        new = self._rewrapped(config["naming_key"], _naming_context(config))
        if new:
            self._storage.replace_small(CONFIG, dump({**config, "naming_key": new}))
        return bool(new)


def _parse_config(data: bytes) -> dict:
    config = parse(data, {"format", "id", "naming_key", "version"})
    if config["format"] != "amparo-vault" or not isinstance(config["id"], str):
        raise Damaged("it is not of a kind that this software knows")
    parse_record(dump(config["naming_key"]))
    return config


def _naming_context(config: dict) -> bytes:
    return NAMING_CONTEXT + config["id"].encode()


def _config_damaged(what: str) -> Damaged:
    return Damaged(
        f"The vault's file {CONFIG} cannot be used: {what}. No blob was touched. Restore that file from a "
        "backup; without it no blob is found by its hash."
    )
