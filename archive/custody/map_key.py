"""The key that blinds the names in the verifiable map, and the keys that it makes.

A name's key in the map is the hash of a signature that only the archive can make and everyone can check. Signatures of
RSA PKCS #1 v1.5 are unique, so the archive cannot choose among several keys for one name; and whoever has not been
given the signature cannot tell which key a name has.
"""

import hashlib
import stat
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings

from archive.errors import KeyUnavailable

KEY_BITS = 2048


def new_key() -> bytes:
    """A new map key: RSA, 2048 bits, public exponent 65537, as PEM, PKCS 8."""
    key = rsa.generate_private_key(65537, KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def map_key() -> rsa.RSAPrivateKey:
    """Load the map key. Raises KeyUnavailable when it is absent, readable by others or of another kind."""
    path = settings.MAP_KEY_FILE
    try:
        state = path.stat()
        if stat.S_IMODE(state.st_mode) & 0o077:
            raise KeyUnavailable(f"The map key can be read by others. Run: chmod 600 {path}")
        return _load(path, state.st_mtime_ns)
    except OSError as error:
        raise KeyUnavailable(
            f"The map key cannot be read ({error.strerror}): {path}. Put it back from its copy, or set MAP_KEY_FILE; "
            "./run makes one for a new instance."
        ) from error


@lru_cache(maxsize=4)
def _load(path: Path, changed_ns: int) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise KeyUnavailable(f"The map key is not a PEM private key: {path}") from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != KEY_BITS:
        raise KeyUnavailable(f"The map key is not an RSA key of {KEY_BITS} bits: {path}")
    return key


def public_key_der(key: rsa.RSAPrivateKey | None = None) -> bytes:
    """The map key's public half, SubjectPublicKeyInfo, DER."""
    return (key or map_key()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def statement(name: str) -> bytes:
    """What is signed to make the key of a name."""
    return f"amparo-map-key/1\n{settings.NAME_IN_LOG}\n{name}".encode()


def key_of(name: str, *, private: rsa.RSAPrivateKey | None = None) -> tuple[bytes, bytes]:
    """The name's key in the map (32 bytes), and the proof that it is the only one that it can have (256 bytes)."""
    proof = (private or map_key()).sign(statement(name), padding.PKCS1v15(), hashes.SHA256())
    return hashlib.sha256(proof).digest(), proof
