"""The instance folder: what is private to one archive and never enters version control.

    db.sqlite3      cases, people, custody log (unless DATABASE_URL names a server)
    vault/          originals and renditions, encrypted
    keys/secret     the web server's secret: lose it and everybody signs in anew
    keys/vault.key  opens the vault: lose it and every original is lost for good
    keys/signing.key  Ed25519, signs checkpoints and bundles: lose it and new ones bear another name
    scratch/ broker/ models/ static/ logs/   can all be made again

    python -m config.instance DIR   makes the folder and those keys that are missing; touches nothing else
"""

import os
import secrets
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from archive import vault

FOLDERS = ("keys", "vault", "scratch", "broker", "models", "static", "logs")


def create(data: Path) -> list[str]:
    """Make the private folders and those keys that are missing. Returns the names of the keys that were made."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.chmod(0o700)
    for name in FOLDERS:
        (data / name).mkdir(mode=0o700, exist_ok=True)
    missing = [name for name in KEYS if not (data / "keys" / name).exists()]
    for name in missing:
        KEYS[name](data / "keys" / name)
    return missing


def secret_file(path: Path) -> None:
    """The web server's secret: 64 random bytes."""
    write_private(path, secrets.token_urlsafe(64).encode() + b"\n")


def signing_key_file(path: Path) -> None:
    """A new Ed25519 key as unencrypted PKCS 8: the folder's permissions are its protection."""
    key = Ed25519PrivateKey.generate()
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner reads, whole or not at all. Raises FileExistsError."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.link(part, path)
    part.unlink()


KEYS = {"secret": secret_file, "vault.key": vault.create_key_file, "signing.key": signing_key_file}


if __name__ == "__main__":
    folder = Path(sys.argv[1]).absolute()
    made = create(folder)
    print(f"{folder}: made {', '.join(made) if made else 'nothing, all keys are there'}")
