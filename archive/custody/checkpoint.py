"""Signed heads in the C2SP signed-note and tlog-checkpoint form.

<origin>\\n<size>\\n<base64 root>\\n\\n— <key name> <base64(key id || signature)>\\n, a line for each key of the log.
"""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from archive.custody.keychain import signers_in_force
from archive.custody.notes import ED25519, NotSigned, Parsed, VerifierKey, WrongSignature, parse_note
from archive.custody.signers import (
    LocalSigner,
    Signer,
    create_key_file,
    sign_parsed,
    signing_key,
)

__all__ = [
    "Parsed",
    "create_key_file",
    "key_id",
    "parse_note",
    "public_bytes",
    "sign_head",
    "sign_note",
    "signed_by",
    "signing_key",
    "verifier_key",
]


def public_bytes(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """The 32 raw bytes of a public key."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(name: str, public: bytes) -> bytes:
    """C2SP signed-note key id of an Ed25519 key: SHA-256(name || 0x0A || 0x01 || key)[:4]."""
    return VerifierKey(name, ED25519, public).id


def verifier_key(name: str, public: bytes) -> str:
    """An Ed25519 key as text that any signed-note tool reads: name+hex id+base64(0x01 || key)."""
    return str(VerifierKey(name, ED25519, public))


def sign_head(origin: str, size: int, root: bytes) -> str:
    """A checkpoint under all keys of the log that are in force at this size.

    Raises KeyUnavailable when a key cannot be used, or is not the one that the log names; then nothing was signed.
    """
    return _signed(origin, size, root, signers_in_force(size))


def sign_note(origin: str, size: int, root: bytes, key: Ed25519PrivateKey) -> str:
    """A checkpoint under one Ed25519 key, whatever the log says of its keys."""
    return _signed(origin, size, root, (LocalSigner(key),))


def _signed(origin: str, size: int, root: bytes, signers: tuple[Signer, ...]) -> str:
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    head = Parsed(origin, size, root, text.encode(), ())
    return f"{text}\n{''.join(sign_parsed(signer, head) for signer in signers)}"


def signed_by(parsed: Parsed, name: str, public: bytes) -> bool:
    """Whether a good Ed25519 signature of this key is on the checkpoint."""
    try:
        VerifierKey(name, ED25519, public).verify(parsed)
    except (NotSigned, WrongSignature):
        return False
    return True
