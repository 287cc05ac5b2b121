"""Key-encryption keys: where they come from, and how they wrap the keys of the vault.

A ring is what the vault asks for keys: `ring.keys()` gives those known now, the current one first. New data
keys are wrapped under the current one; what an earlier one wrapped stays readable while it is in the ring.
"""

import hashlib
import hmac
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.utils.module_loading import import_string

from archive.errors import BadInput, Conflict, Damaged, KeyUnavailable

Random = Callable[[int], bytes]
_NONCE = 12


class KeyEncryptionKey(Protocol):
    """One key-encryption key. A KMS plug-in has this shape: the key itself may never leave the service."""

    key_id: str
    """Names the key in what it wrapped: stable, unique, ASCII without spaces, nothing secret."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt and authenticate 32 bytes together with `context` (authenticated only).

        Raises KeyUnavailable when the service does not answer or refuses.
        """

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Undo `wrap`. Raises Damaged on other bytes or another context, KeyUnavailable as above."""


class Ring(Protocol):
    def keys(self) -> tuple[KeyEncryptionKey, ...]:
        """All keys known now, the current one first. Raises KeyUnavailable when there is none."""


class LocalKey:
    """A key in our own memory: AES-256-GCM with a random nonce, the context as associated data.

    Good for 2**32 wraps (NIST SP 800-38D, 8.3): that many files between two rotations.
    """

    def __init__(self, secret: bytes, *, random: Random = os.urandom) -> None:
        if len(secret) != 32:
            raise KeyUnavailable("A vault key has 32 bytes. Nothing was lost; put the right key back.")
        self.key_id = "local-" + hmac.digest(secret, b"amparo vault key id v1", hashlib.sha256)[:8].hex()
        self._aead, self._random = AESGCM(secret), random

    def wrap(self, key: bytes, context: bytes) -> bytes:
        nonce = self._random(_NONCE)
        return nonce + self._aead.encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        try:
            return self._aead.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], context)
        except (InvalidTag, ValueError):
            raise Damaged("a wrapped key was altered, or belongs to something else") from None


class FixedRing:
    """Keys that stay as they are while the process runs: from the environment, or a KMS plug-in."""

    def __init__(self, keys: Iterable[KeyEncryptionKey]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def of_text(cls, text: str, *, origin: str = "VAULT_KEY") -> "FixedRing":
        """Keys written as in a key file, current one first. Raises KeyUnavailable."""
        return cls(map(LocalKey, _parse(text, origin)))

    def keys(self) -> tuple[KeyEncryptionKey, ...]:
        return self._keys


class FileRing:
    """Keys in a file of mode 0600, 64 hex digits a line, the current one first; '#' starts a comment.

    The file is read again whenever it changes, so that a rotation reaches processes that are running.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._seen: tuple[int, ...] = ()
        self._keys: tuple[KeyEncryptionKey, ...] = ()

    def keys(self) -> tuple[KeyEncryptionKey, ...]:
        """Raises KeyUnavailable where the file is absent, unreadable, malformed or readable by others."""
        try:
            state = os.stat(self.path)
            seen = (state.st_ino, state.st_mtime_ns, state.st_ctime_ns, state.st_size)
            if seen != self._seen:
                self._keys, self._seen = tuple(map(LocalKey, read_key_file(self.path))), seen
        except OSError as error:
            raise KeyUnavailable(
                f"The vault key cannot be read from {self.path}: {error.strerror}. Nothing was lost; "
                "put the key file back from your safe copy, or set VAULT_KEY_FILE to where it is."
            ) from error
        return self._keys

    def make_current(self, secret: bytes) -> None:
        """Write `secret` as the current key, the earlier ones after it. Durable when it returns."""
        known = [key for key in read_key_file(self.path) if key != secret]
        _write_key_file(self.path, [secret, *known], replace=True)


class JoinedRing:
    """Several rings as one: the first key of the first ring is current."""

    def __init__(self, *rings: Ring) -> None:
        self._rings = rings

    def keys(self) -> tuple[KeyEncryptionKey, ...]:
        return tuple(key for ring in self._rings for key in ring.keys())


def ring_of_plugin(dotted: str) -> Ring:
    """The KMS plug-in at a dotted path: called without arguments it returns its keys, current one first."""
    try:
        keys = import_string(dotted)()
    except ImportError as error:
        raise KeyUnavailable(
            f"VAULT_KMS names {dotted}, which cannot be imported: {error}. Nothing was lost."
        ) from error
    return FixedRing(keys if isinstance(keys, (list, tuple)) else [keys])


def read_key_file(path: Path) -> list[bytes]:
    """The keys in a file, current one first. Raises KeyUnavailable, or OSError where it cannot be opened."""
    with Path(path).open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise KeyUnavailable(
                f"The vault key {path} has mode {mode:04o}: other users of this machine could read it. "
                f"Nothing was lost; run: chmod 600 {path}"
            )
        return _parse(file.read(65536).decode("ascii", "replace"), str(path))


def create_key_file(path: Path, *, random: Random = os.urandom) -> str:
    """Make a new key in a new file of mode 0600 and return its id. Durable when it returns.

    Raises Conflict where the file is there already; it is left as it is.
    """
    path = Path(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = random(32)
    try:
        _write_key_file(path, [secret], replace=False)
    except FileExistsError:
        raise Conflict(f"There is a key at {path} already. It was left as it is.") from None
    return LocalKey(secret).key_id


def _parse(text: str, origin: str) -> list[bytes]:
    words = [word for line in text.splitlines() for word in line.split("#")[0].split()]
    try:
        keys = [bytes.fromhex(word) for word in words]
    except ValueError:
        keys = []
    if not keys or any(len(key) != 32 for key in keys):
        raise KeyUnavailable(
            f"{origin} holds no vault key: 64 hexadecimal digits are expected, and nothing else. "
            "Nothing was lost; put the right key back."
        )
    return keys


def _write_key_file(path: Path, secrets: list[bytes], *, replace: bool) -> None:
    text = "# Amparo vault keys, the current one first. Whoever has them can read the vault; without them\n"
    text += "# no one can. Keep a copy apart from the vault's backups.\n"
    text += "".join(f"{secret.hex()}  # {LocalKey(secret).key_id}\n" for secret in secrets)
    temp = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        (os.replace if replace else os.link)(temp, path)
    finally:
        temp.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_new_key(path: Path) -> bytes:
    """The one key in a file made by `create_key_file`, for rotation. Raises KeyUnavailable, BadInput."""
    try:
        keys = read_key_file(path)
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be read: {error.strerror}. Nothing changed.") from error
    if len(keys) != 1:
        raise BadInput(f"{path} holds {len(keys)} keys. Nothing changed; give a file with the new key alone.")
    return keys[0]
