"""Encrypted, content-addressed, write-once store of original bytes. docs/vault.md says every byte and step.

cobblestone.py  one message in chunks, opened at any place
keys.py         key-encryption keys: file, environment, KMS plug-in
storage.py      where bytes lie: a local folder
bucket.py       an S3-compatible store, for a second copy
room.py         the reserve on each disk that intake leaves alone
second.py       the second copy: written, read back, given back
intake.py       one pass over what comes in
reader.py       reading from any place
sealed.py       files under wrapped keys: sealing, opening, renewing the wrap
store.py        Vault: put, open, check, rotate
scratch.py      the one place where decrypted bytes may touch a disk

The functions here speak to the vault that the settings name.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from archive.vault.bucket import Account, Bucket
from archive.vault.intake import Progress, silent
from archive.vault.keys import (
    FileRing,
    FixedRing,
    JoinedRing,
    KeyEncryptionKey,
    LocalKey,
    Ring,
    create_key_file,
    ring_of_plugin,
)
from archive.vault.reader import VaultReader
from archive.vault.room import Room
from archive.vault.scratch import empty_scratch as _empty_scratch
from archive.vault.scratch import scratch
from archive.vault.sealed import Rotated, Stored
from archive.vault.second import SecondCopy
from archive.vault.storage import Folder, Storage, Unreachable
from archive.vault.store import Vault

__all__ = [
    "FileRing",
    "FixedRing",
    "Folder",
    "JoinedRing",
    "KeyEncryptionKey",
    "LocalKey",
    "Progress",
    "Ring",
    "Rotated",
    "SecondCopy",
    "Storage",
    "Stored",
    "Unreachable",
    "Vault",
    "VaultReader",
    "check",
    "clean",
    "create_key_file",
    "default_ring",
    "default_vault",
    "destroy",
    "empty_scratch",
    "name_of",
    "names",
    "open",
    "orphans",
    "put",
    "require_room",
    "room",
    "rotate",
    "scratch",
    "second_copy",
    "silent",
]


def default_vault() -> Vault:
    """The vault that the settings name, opened once for each process. Raises KeyUnavailable, Damaged."""
    key_file = Path(settings.VAULT_KEY_FILE)
    return _vault(Path(settings.VAULT_DIR), settings.VAULT_KEY, key_file, settings.VAULT_KMS)


def default_ring() -> Ring:
    """The keys that the settings name: VAULT_KMS first, then VAULT_KEY or else the file VAULT_KEY_FILE."""
    return _ring(settings.VAULT_KEY, Path(settings.VAULT_KEY_FILE), settings.VAULT_KMS)


def second_copy() -> SecondCopy | None:
    """The second copy that AMPARO_SECOND_COPY names, or None. Nothing is asked of that place yet."""
    address = settings.SECOND_COPY
    return _second(address, settings.SECOND_COPY_ACCOUNT, default_vault()) if address else None


def put(
    stream: BinaryIO,
    *,
    expected_size: int | None = None,
    expected_sha256: str | None = None,
    limit: int | None = None,
    progress: Progress = silent,
) -> Stored:
    """See Vault.put."""
    return default_vault().put(
        stream, expected_size=expected_size, expected_sha256=expected_sha256, limit=limit, progress=progress
    )


def open(sha256: str) -> VaultReader:
    """See Vault.open."""
    return default_vault().open(sha256)


def room() -> Room:
    """The reserve that intake leaves on its own disk, and on the one of the instance: database, logs, messages."""
    return Room(settings.RESERVE, beside=[Path(settings.DATA_DIR)])


def require_room(size: int) -> None:
    """Raises StorageFull unless a file that comes in pieces fits: its pieces, and the whole beside them."""
    held, staging = Path(settings.VAULT_DIR), Path(settings.STAGING_DIR)
    staging.mkdir(mode=0o700, parents=True, exist_ok=True)
    together = held.stat().st_dev == staging.stat().st_dev
    room().require(held, 2 * size if together else size)
    room().require(staging, size)


def destroy(sha256: str) -> bool:
    """See Vault.destroy; the second copy first. Raises Unreachable where that one does not answer."""
    second = second_copy()
    if second is not None:
        second.require()
        second.vault.destroy(sha256)
    return default_vault().destroy(sha256)


def check(sha256: str, *, progress: Progress = silent) -> None:
    """See Vault.check."""
    default_vault().check(sha256, progress=progress)


def name_of(sha256: str) -> str:
    """See Vault.name_of."""
    return default_vault().name_of(sha256)


def names() -> Iterator[str]:
    """See Vault.names."""
    return default_vault().names()


def orphans(known: Iterable[str]) -> Iterator[str]:
    """See Vault.orphans."""
    return default_vault().orphans(known)


def rotate(*, progress: Progress = silent) -> Rotated:
    """See Vault.rotate."""
    return default_vault().rotate(progress=progress)


def clean() -> int:
    """Remove half-written files that killed processes left, never a blob; return how many. Needs no key."""
    return Folder(Path(settings.VAULT_DIR)).clean()


def empty_scratch() -> int:
    """Called when web and worker start: `clean`, and everything in scratch that no living process uses."""
    return clean() + _empty_scratch()


@lru_cache(maxsize=2)
def _vault(folder: Path, key: str, key_file: Path, kms: str) -> Vault:
    return Vault(Folder(folder, room=room()), _ring(key, key_file, kms))


@lru_cache(maxsize=2)
def _second(address: str, account: tuple[str, str, str, str], held: Vault) -> SecondCopy:
    if address.startswith("s3://"):
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        return SecondCopy(held, Bucket(bucket, prefix, Account(*account)))
    return SecondCopy(held, Folder(Path(address), room=Room(settings.RESERVE)))


def _ring(key: str, key_file: Path, kms: str) -> Ring:
    local = FixedRing.of_text(key) if key else FileRing(key_file)
    if not kms:
        return local
    plugin = ring_of_plugin(kms)  # keys beside it were used before it and still open what they wrapped
    return JoinedRing(plugin, local) if key or key_file.exists() else plugin
