"""The log's private keys: in files of their own, or behind a plug-in so that they need not be on this machine.

A log signs with Ed25519, and beside it with ML-DSA-44 where it has such a key (new instances do).
"""

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from django.conf import settings
from django.utils.module_loading import import_string

from archive.custody.notes import ED25519, KEY_BYTES, ML_DSA_44, Parsed, VerifierKey, subtree_statement
from archive.errors import KeyUnavailable

Algorithm = Literal["ed25519", "ml-dsa-44"]
TYPES: dict[str, int] = {"ed25519": ED25519, "ml-dsa-44": ML_DSA_44}
PrivateKey = Ed25519PrivateKey | MLDSA44PrivateKey


class Signer(Protocol):
    """One private key. A plug-in for PKCS #11 or a key service has this shape: the key may never leave the device."""

    @property
    def algorithm(self) -> Algorithm:
        """The one kind of signature that this key makes."""

    def public_key(self) -> bytes:
        """The raw public key: 32 bytes (Ed25519) or 1,312 (ML-DSA-44). Raises KeyUnavailable."""

    def sign(self, message: bytes) -> bytes:
        """Sign as RFC 8032 (pure Ed25519) or FIPS 204 (pure, empty context) say. Raises KeyUnavailable."""


@dataclass(frozen=True)
class LocalSigner:
    """A private key in our own memory."""

    key: PrivateKey

    @property
    def algorithm(self) -> Algorithm:
        return "ed25519" if isinstance(self.key, Ed25519PrivateKey) else "ml-dsa-44"

    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message)


def log_signers() -> tuple[Signer, ...]:
    """The log's signers: Ed25519 first, then ML-DSA-44 if there is such a key. Raises KeyUnavailable."""
    if settings.SIGNING_KMS:
        return signers_of_plugin(settings.SIGNING_KMS)
    first = LocalSigner(signing_key())
    path = settings.SIGNING_ML_DSA_KEY_FILE
    if not path.exists():
        return (first,)
    second = load_key(path)
    if not isinstance(second, MLDSA44PrivateKey):
        raise KeyUnavailable(f"The key is not an ML-DSA-44 key: {path}")
    return first, LocalSigner(second)


def log_signer() -> Signer:
    """The log's Ed25519 signer, which also signs bundles. Raises KeyUnavailable."""
    return log_signers()[0]


def log_keys() -> tuple[VerifierKey, ...]:
    """The public keys of `log_signers`, under the log's name. Raises KeyUnavailable."""
    return verifier_keys(log_signers(), settings.NAME_IN_LOG)


def verifier_keys(signers: tuple[Signer, ...], origin: str) -> tuple[VerifierKey, ...]:
    """The public keys of these signers under a name."""
    return tuple(VerifierKey(origin, TYPES[signer.algorithm], signer.public_key()) for signer in signers)


def signers_of_plugin(dotted: str) -> tuple[Signer, ...]:
    """The plug-in at a dotted path: called without arguments it returns one signer, or Ed25519 and ML-DSA-44.

    Raises KeyUnavailable when it cannot be imported or gives something else.
    """
    try:
        given = import_string(dotted)()
    except ImportError as error:
        raise KeyUnavailable(
            f"SIGNING_KMS names {dotted}, which cannot be imported: {error}. Nothing was signed."
        ) from error
    signers = tuple(given) if isinstance(given, list | tuple) else (given,)
    algorithms = [getattr(signer, "algorithm", None) for signer in signers]
    if algorithms not in (["ed25519"], ["ed25519", "ml-dsa-44"]):
        raise KeyUnavailable(
            f"SIGNING_KMS {dotted} gave {algorithms}; an Ed25519 signer is wanted, then one of ML-DSA-44 "
            "where there is one. Nothing was signed."
        )
    for signer in signers:
        if len(signer.public_key()) != KEY_BYTES[TYPES[signer.algorithm]]:
            raise KeyUnavailable(f"SIGNING_KMS {dotted} gave an {signer.algorithm} key of a wrong length.")
    return signers


def sign_parsed(signer: Signer, parsed: Parsed, *, clock: Callable[[], float] = time.time) -> str:
    """One signature line of the log itself over a checkpoint. Raises KeyUnavailable."""
    (key,) = verifier_keys((signer,), parsed.origin)
    if key.type == ED25519:
        return key.line(signer.sign(parsed.text))
    moment = int(clock())
    return key.line(moment.to_bytes(8, "big") + signer.sign(subtree_statement(key.name, moment, parsed)))


# --- files ------------------------------------------------------------------------------------------------------


def create_key_file(path: Path, algorithm: Algorithm = "ed25519") -> None:
    """Write a new private key (PKCS #8 PEM), readable by its owner alone. Raises FileExistsError."""
    key = Ed25519PrivateKey.generate() if algorithm == "ed25519" else MLDSA44PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    finally:
        part.unlink()
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_key(path: Path) -> object:
    """A PEM private key of any kind. Raises KeyUnavailable when it is absent or readable by others."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyUnavailable(f"The signing key can be read by others. Run: chmod 600 {path}")
        return load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise KeyUnavailable(
            f"The signing key cannot be read ({error.strerror}): {path}. Set SIGNING_KEY_FILE, or start with ./run."
        ) from error
    except (ValueError, TypeError) as error:
        raise KeyUnavailable(
            f"The signing key is not a PEM private key without a password: {path}"
        ) from error


def signing_key(path: Path | None = None) -> Ed25519PrivateKey:
    """The Ed25519 key in a file. Raises KeyUnavailable when it is absent or readable by others."""
    path = path or settings.SIGNING_KEY_FILE
    key = load_key(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnavailable(f"The signing key is not an Ed25519 key: {path}")
    return key
