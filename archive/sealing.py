"""Seal person data with a key of its own, itself wrapped by the vault's key-encryption key.

Destroying the wrapped key destroys the identity and nothing else (crypto-shredding).
"""

import json
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from archive import vault
from archive.errors import Damaged, KeyUnavailable


def seal(value: dict, *, context: str) -> tuple[bytes, bytes]:
    """Return (wrapped key, sealed value). `context` names the row; another row's value does not open."""
    key, nonce = os.urandom(32), os.urandom(12)
    wrapped = _wrap(vault.default_ring().keys()[0], key, context)
    return wrapped, nonce + AESGCM(key).encrypt(nonce, json.dumps(value).encode(), context.encode())


def unseal(wrapped: bytes, sealed: bytes, *, context: str) -> dict:
    """Return what was sealed. Raises Damaged or KeyUnavailable."""
    key = _unwrap(wrapped, context)
    try:
        return json.loads(AESGCM(key).decrypt(bytes(sealed[:12]), bytes(sealed[12:]), context.encode()))
    except InvalidTag as error:
        raise Damaged("The sealed identity was altered, or belongs to another source.") from error


def rewrap(wrapped: bytes, *, context: str) -> bytes | None:
    """The same key under the vault's current key, or None when it is under it already."""
    current = vault.default_ring().keys()[0]
    if bytes(wrapped).partition(b"\n")[0] == current.key_id.encode():
        return None
    return _wrap(current, _unwrap(wrapped, context), context)


def _wrap(kek: vault.KeyEncryptionKey, key: bytes, context: str) -> bytes:
    return kek.key_id.encode() + b"\n" + kek.wrap(key, b"amparo identity\n" + context.encode())


def _unwrap(wrapped: bytes, context: str) -> bytes:
    key_id, _, inner = bytes(wrapped).partition(b"\n")
    for kek in vault.default_ring().keys():
        if kek.key_id.encode() == key_id:
            return kek.unwrap(inner, b"amparo identity\n" + context.encode())
    raise KeyUnavailable("The key that sealed this identity is not in the vault's key ring: put it back.")
