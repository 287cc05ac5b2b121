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
    key, nonce, bound = os.urandom(32), os.urandom(12), context.encode()
    kek = vault.default_ring().keys()[0]
    wrapped = kek.key_id.encode() + b"\n" + kek.wrap(key, b"amparo identity\n" + bound)
    return wrapped, nonce + AESGCM(key).encrypt(nonce, json.dumps(value).encode(), bound)


def unseal(wrapped: bytes, sealed: bytes, *, context: str) -> dict:
    """Return what was sealed. Raises Damaged or KeyUnavailable."""
    key_id, _, inner = bytes(wrapped).partition(b"\n")
    for kek in vault.default_ring().keys():
        if kek.key_id.encode() == key_id:
            break
    else:
        raise KeyUnavailable("The key that sealed this identity is not in the vault's key ring: put it back.")
    key = kek.unwrap(inner, b"amparo identity\n" + context.encode())
    try:
        return json.loads(AESGCM(key).decrypt(bytes(sealed[:12]), bytes(sealed[12:]), context.encode()))
    except InvalidTag as error:
        raise Damaged("The sealed identity was altered, or belongs to another source.") from error
