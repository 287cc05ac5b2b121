"""The instance folder: what is private to one archive and never enters version control.

db.sqlite3        cases, people, custody log (unless DATABASE_URL names a server)
vault/            originals and renditions, encrypted
keys/secret       the web server's secret: lose it and everybody signs in anew
keys/vault.key    opens the vault: lose it and every original is lost for good
keys/signing.key  Ed25519, signs checkpoints and bundles: lose it and nobody can tell that a later key is yours
keys/signing-ml-dsa.key  ML-DSA-44, signs checkpoints beside it
keys/map.key      RSA, makes the keys of the log's map: lose it and no further checkpoint can be signed
staging/          pieces of uploads that are not whole yet, encrypted
scratch/ broker/ models/ static/ logs/   can all be made again
"""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings

from archive import vault
from archive.custody import map_key
from archive.custody.signers import create_key_file
from archive.errors import KeyUnavailable

FOLDERS = ("keys", "broker", "static", "logs")


def create() -> None:
    """Make the private folders and those keys that neither exist nor are given by the environment.

    Raises KeyUnavailable when a vault that holds files has lost its key: a new one would open nothing.
    """
    data = settings.DATA_DIR
    for folder in (data, *(data / name for name in FOLDERS), settings.VAULT_DIR, settings.SCRATCH_DIR):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    settings.MODELS_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = data / "keys" / "secret"
    if settings.SECRET_KEY.startswith("insecure") and not secret.exists():
        write_private(secret, secrets.token_urlsafe(64).encode() + b"\n")
    if not (settings.SIGNING_KMS or settings.SIGNING_KEY_FILE.exists()):
        write_private(settings.SIGNING_KEY_FILE, new_signing_key())
        if not settings.SIGNING_ML_DSA_KEY_FILE.exists():
            create_key_file(settings.SIGNING_ML_DSA_KEY_FILE, "ml-dsa-44")
    if not settings.MAP_KEY_FILE.exists():
        write_private(settings.MAP_KEY_FILE, map_key.new_key())
    if not (settings.VAULT_KEY or settings.VAULT_KMS or settings.VAULT_KEY_FILE.exists()):
        if any(path.is_file() for path in settings.VAULT_DIR.rglob("*")):
            raise KeyUnavailable(
                f"The vault holds files, but its key is not there: {settings.VAULT_KEY_FILE}. Nothing was "
                "changed. Put the key back from where you keep its copy; a new key would open none of them."
            )
        vault.create_key_file(settings.VAULT_KEY_FILE)


def new_signing_key() -> bytes:
    """A new Ed25519 key as PEM, PKCS 8, not encrypted: the folder's permissions are its protection."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, whole or not at all. Raises FileExistsError."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.link(part, path)
    finally:
        part.unlink()
