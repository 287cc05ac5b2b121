"""The instance folder: private, made once, never made anew over what is there."""

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from archive.errors import KeyUnavailable
from config import instance

KEYS = ("secret", "vault.key", "signing.key", "map.key")


@pytest.fixture
def folder(settings, tmp_path):
    data = tmp_path / "instance"
    settings.DATA_DIR, settings.SECRET_KEY = data, "insecure-default"
    settings.VAULT_DIR, settings.SCRATCH_DIR, settings.MODELS_DIR = (
        data / "vault",
        data / "scratch",
        data / "models",
    )
    settings.VAULT_KEY, settings.VAULT_KMS = "", ""
    settings.VAULT_KEY_FILE, settings.SIGNING_KEY_FILE = data / "keys/vault.key", data / "keys/signing.key"
    settings.MAP_KEY_FILE = data / "keys/map.key"
    return data


def test_folders_and_keys_are_open_to_their_owner_alone(folder):
    instance.create()
    for path in (folder, *folder.iterdir()):
        assert path.stat().st_mode & 0o777 == 0o700, path
    assert sorted(path.name for path in (folder / "keys").iterdir()) == sorted(KEYS)
    for name in KEYS:
        assert (folder / "keys" / name).stat().st_mode & 0o777 == 0o600
    assert len((folder / "keys/secret").read_text()) > 60
    load_pem_private_key((folder / "keys/signing.key").read_bytes(), None)


def test_a_second_time_changes_no_key(folder):
    instance.create()
    before = [(folder / "keys" / name).read_bytes() for name in KEYS]
    instance.create()
    assert [(folder / "keys" / name).read_bytes() for name in KEYS] == before


def test_a_vault_that_lost_its_key_gets_no_other_one(folder):
    instance.create()
    (folder / "vault/some-blob").write_bytes(b"encrypted")
    (folder / "keys/vault.key").unlink()
    with pytest.raises(KeyUnavailable, match="Put the key back"):
        instance.create()
    assert not (folder / "keys/vault.key").exists()


def test_keys_that_the_environment_gives_are_not_made(folder, settings, tmp_path):
    settings.SECRET_KEY, settings.VAULT_KEY = "given" * 12, "given"
    settings.SIGNING_KEY_FILE = tmp_path / "mounted.key"
    settings.SIGNING_KEY_FILE.write_text("given")
    settings.MAP_KEY_FILE = settings.SIGNING_KEY_FILE
    instance.create()
    assert not list((folder / "keys").iterdir())
    assert settings.SIGNING_KEY_FILE.read_text() == "given"


def test_a_private_file_is_never_written_over(tmp_path):
    instance.write_private(tmp_path / "secret", b"first")
    with pytest.raises(FileExistsError):
        instance.write_private(tmp_path / "secret", b"second")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("secret", b"first")]
