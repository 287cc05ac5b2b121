"""Signed heads in the C2SP signed-note and tlog-checkpoint form.

<origin>\\n<size>\\n<base64 root>\\n\\n— <key name> <base64(key id || Ed25519 signature)>\\n
"""

import base64
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from archive.custody.actor import Actor
from archive.custody.canonical import event_hash, timestamp
from archive.custody.log import record, recording
from archive.custody.tree import Head
from archive.errors import BadInput, KeyUnavailable
from archive.models import Checkpoint, CustodyPosition

ALGORITHM = b"\x01"  # Ed25519 in the signed-note registry


# --- keys -------------------------------------------------------------------------------------------------------


def create_key_file(path: Path) -> None:
    """Write a new Ed25519 signing key (PKCS #8 PEM), readable by its owner alone. Raises FileExistsError."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())


def signing_key(path: Path | None = None) -> Ed25519PrivateKey:
    """Load the log's signing key. Raises KeyUnavailable when it is absent or readable by others."""
    path = path or settings.SIGNING_KEY_FILE
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyUnavailable(f"The signing key can be read by others. Run: chmod 600 {path}")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise KeyUnavailable(
            f"The signing key cannot be read ({error.strerror}): {path}. Set SIGNING_KEY_FILE, or start with ./run."
        ) from error
    except ValueError as error:
        raise KeyUnavailable(f"The signing key is not a PEM private key: {path}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnavailable(f"The signing key is not an Ed25519 key: {path}")
    return key


def public_bytes(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """The 32 raw bytes of a public key."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(name: str, public: bytes) -> bytes:
    """C2SP signed-note key id: SHA-256(name || 0x0A || 0x01 || key)[:4]."""
    return hashlib.sha256(name.encode() + b"\n" + ALGORITHM + public).digest()[:4]


def verifier_key(name: str, public: bytes) -> str:
    """The key as text that any signed-note tool reads: name+hex id+base64(0x01 || key)."""
    return f"{name}+{key_id(name, public).hex()}+{base64.b64encode(ALGORITHM + public).decode()}"


# --- notes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parsed:
    """What a checkpoint says, and the exact text that was signed."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]  # name, key id, signature


def sign_note(origin: str, size: int, root: bytes, key: Ed25519PrivateKey) -> str:
    """Return a signed checkpoint."""
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    blob = key_id(origin, public_bytes(key)) + key.sign(text.encode())
    return f"{text}\n\N{EM DASH} {origin} {base64.b64encode(blob).decode()}\n"


def parse_note(note: str) -> Parsed:
    """Read a checkpoint without trusting it. Raises BadInput when it is not in the form."""
    text, separator, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    try:
        if not separator or len(lines) < 3 or "" in lines or not tail.endswith("\n"):
            raise ValueError("form")
        signatures = []
        for line in tail.rstrip("\n").split("\n"):
            dash, name, encoded = line.split(" ")
            blob = base64.b64decode(encoded, validate=True)
            if dash != "\N{EM DASH}" or len(blob) < 5:
                raise ValueError("signature line")
            signatures.append((name, blob[:4], blob[4:]))
        root = base64.b64decode(lines[2], validate=True)
        if len(root) != 32 or int(lines[1]) < 0 or str(int(lines[1])) != lines[1]:
            raise ValueError("size or root")
        return Parsed(lines[0], int(lines[1]), root, text.encode() + b"\n", tuple(signatures))
    except ValueError as error:
        raise BadInput("This is not a signed checkpoint: give the file exactly as it was written.") from error


def signed_by(parsed: Parsed, name: str, public: bytes) -> bool:
    """Whether a good Ed25519 signature of this key is on the checkpoint."""
    wanted = key_id(name, public)
    for signer, signer_id, signature in parsed.signatures:
        if signer == name and signer_id == wanted:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, parsed.text)
            except InvalidSignature:
                return False
            return True
    return False


# --- the log's own checkpoints ----------------------------------------------------------------------------------


def sign_checkpoint(*, actor: Actor, key: Ed25519PrivateKey | None = None) -> Checkpoint:
    """Sign the head over all sequenced events; the act is itself an event of the system's chain.

    Raises KeyUnavailable; then nothing was written.
    """
    key = key or signing_key()
    head = Head()
    events = CustodyPosition.objects.order_by("position").values_list(
        "position", "event__canonical", "event__hash"
    )
    for position, body, stated in events.iterator(chunk_size=2_000):
        digest = event_hash(bytes(body))
        if position != head.size or digest.hex() != stated:
            raise BadInput(
                f"The log is not sound at position {head.size}, and an unsound head is not signed: "
                "run `manage.py custody verify`."
            )
        head.add(digest)
    note, now = sign_note(settings.NAME_IN_LOG, head.size, head.root(), key), timezone.now()
    with transaction.atomic(durable=True):
        with recording():
            row = Checkpoint.objects.create(size=head.size, root=head.root().hex(), note=note, signed_at=now)
        record(
            "system:main",
            event="system.checkpoint_signed",
            actor=actor,
            payload={
                "size": head.size,
                "root": head.root().hex(),
                "key": verifier_key(settings.NAME_IN_LOG, public_bytes(key)),
                "signed_at": timestamp(now),
            },
        )
    return row
