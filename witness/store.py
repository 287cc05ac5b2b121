"""What a witness remembers, in one folder: its keys, and the newest checkpoint of each log that it cosigned.

witness.sqlite   the logs; each check and its update are one transaction, durable before it returns
ed25519.pem, ml-dsa-44.pem   private keys, readable by their owner alone
name             the name that it signs under
"""

import os
import re
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from witness import merkle
from witness.note import Checkpoint, Key, PrivateKey, cosign, public_key

FILES: dict[str, type[Ed25519PrivateKey] | type[MLDSA44PrivateKey]] = {
    "ed25519.pem": Ed25519PrivateKey,
    "ml-dsa-44.pem": MLDSA44PrivateKey,
}
BUSY_S = 10


class Refused(Exception):
    """A request that is not granted: an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Conflict(Refused):
    """The old size is not the one that was last cosigned, which is `size`; or it is, and of another tree (`forked`)."""

    def __init__(self, size: int, *, forked: bool = False) -> None:
        super().__init__(409, f"{size}\n")
        self.size, self.forked = size, forked


class Unusable(Exception):
    """The folder, a key or an argument cannot be used; the sentence says what to do."""


@dataclass(frozen=True)
class Log:
    """One log, and what was last cosigned of it (`size` None: nothing yet)."""

    origin: str
    keys: tuple[Key, ...]
    size: int | None
    root: bytes
    moment: int
    note: bytes


class Store:
    """The folder of one witness. Several processes may use it at the same time."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Raises Unusable where there is no witness, or others can read its keys."""
        self.folder, self.clock = folder, clock
        try:
            self.name = (folder / "name").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Unusable(
                f"There is no witness in {folder} ({error.strerror}): make one with new-key."
            ) from error
        self.private = tuple(_load(folder / file, kind) for file, kind in FILES.items())
        with self._open() as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS log (origin TEXT PRIMARY KEY, keys TEXT NOT NULL, size INTEGER, "
                "root BLOB NOT NULL, moment INTEGER NOT NULL, note BLOB NOT NULL)"
            )

    @classmethod
    def create(cls, folder: Path, name: str) -> "Store":
        """Make the folder with new keys. Raises Unusable where a witness is there already, or for a bad name."""
        if not name or re.search(r"[\s+\x00-\x1f]", name) or len(name.encode()) > 180:
            raise Unusable("A witness's name has 1 to 180 bytes, without spaces and plus: witness.example/w1")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file, kind in FILES.items():
            pem = kind.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            _write_new(folder / file, pem)
        _write_new(folder / "name", name.encode() + b"\n")
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)
        return cls(folder)

    def keys(self) -> tuple[Key, ...]:
        """The witness's public keys."""
        return tuple(public_key(self.name, private) for private in self.private)

    def add_log(self, origin: str, keys: tuple[Key, ...], *, replace: bool = False) -> Log:
        """Trust keys for a log. What was cosigned of a known log stays; `replace` forgets its other keys."""
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            known = _find(database, origin)
            joined = dict.fromkeys((() if replace or known is None else known.keys) + keys)
            database.execute(
                "INSERT INTO log VALUES (?, ?, NULL, x'', 0, x'') ON CONFLICT (origin) DO UPDATE SET keys=excluded.keys",
                (origin, "\n".join(map(str, joined))),
            )
            database.execute("COMMIT")
        return self.log(origin)

    def log(self, origin: str) -> Log:
        """One log. Raises Refused(404)."""
        with self._open() as database:
            return _known(database, origin)

    def logs(self) -> list[Log]:
        """All logs, by origin."""
        with self._open() as database:
            return [_log(row) for row in database.execute("SELECT * FROM log ORDER BY origin")]

    def witness(self, old: int, proof: list[bytes], checkpoint: Checkpoint) -> str:
        """Check a checkpoint against the last one, remember it, and return the cosignature lines.

        One transaction: when it returns, the checkpoint is on disk; when it raises, nothing has changed. Raises Refused
        with 404, 403, 400, 409 (Conflict) or 422 as C2SP tlog-witness says, 503 when the clock went back.
        """
        _trusted_lines(self.log(checkpoint.origin), checkpoint)  # strangers do not get as far as the lock
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            log = _known(database, checkpoint.origin)
            signed = _trusted_lines(log, checkpoint)
            if old > checkpoint.size:
                raise Refused(400, "The old size is larger than the checkpoint's.")
            if old != (log.size or 0):
                raise Conflict(log.size or 0)
            root = log.root if log.size else merkle.EMPTY
            if old == checkpoint.size and not proof and root != checkpoint.root:
                raise Conflict(old, forked=True)
            if not merkle.consistent(old, root, checkpoint.size, checkpoint.root, proof):
                raise Refused(422, "The checkpoint does not continue the one that was cosigned last.")
            moment = int(self.clock())
            if moment < log.moment:
                raise Refused(503, "The witness's clock went back; it signs nothing until that is mended.")
            lines = "".join(cosign(self.name, private, checkpoint, moment) for private in self.private)
            note = checkpoint.text + b"\n" + (signed + lines).encode()
            database.execute(
                "UPDATE log SET size=?, root=?, moment=?, note=? WHERE origin=?",
                (checkpoint.size, checkpoint.root, moment, note, checkpoint.origin),
            )
            database.execute("COMMIT")
        return lines

    def _open(self) -> closing:
        """A connection whose COMMIT is on disk when it returns, folder entry of the journal included."""
        database = sqlite3.connect(self.folder / "witness.sqlite", timeout=BUSY_S, isolation_level=None)
        database.execute("PRAGMA journal_mode=DELETE")
        database.execute("PRAGMA synchronous=EXTRA")
        return closing(database)  # closing without COMMIT rolls back


def _known(database: sqlite3.Connection, origin: str) -> Log:
    log = _find(database, origin)
    if log is None:
        raise Refused(404, "This witness does not know the log.")
    return log


def _find(database: sqlite3.Connection, origin: str) -> Log | None:
    row = database.execute("SELECT * FROM log WHERE origin=?", (origin,)).fetchone()
    return _log(row) if row else None


def _log(row: tuple) -> Log:
    origin, keys, size, root, moment, note = row
    return Log(origin, tuple(map(Key.parse, keys.split("\n"))), size, root, moment, note)


def _trusted_lines(log: Log, checkpoint: Checkpoint) -> str:
    """The signature lines of trusted keys. Raises Refused(403) without one, or when one of them does not hold."""
    try:
        signers = {(key.name, key.id): key for key in log.keys if key.verify(checkpoint)}
    except InvalidSignature:
        raise Refused(403, "A signature of the log does not hold.") from None
    if not signers:
        raise Refused(403, "No trusted key of the log has signed.")
    return "".join(
        signers[name, its].line(blob) for name, its, blob in checkpoint.signatures if (name, its) in signers
    )


def _write_new(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Unusable(f"There is a {path.name} in {path.parent} already. It was left as it is.") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _load(path: Path, kind: type[Ed25519PrivateKey] | type[MLDSA44PrivateKey]) -> PrivateKey:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Unusable(f"The key can be read by others. Run: chmod 600 {path}")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise Unusable(f"The key cannot be read ({error.strerror}): {path}") from error
    except ValueError:
        raise Unusable(f"This is not a private key: {path}") from None
    if not isinstance(key, kind):
        raise Unusable(f"This is not the key that its name says: {path}")
    return key
