"""The second copy is the vault once more: in a folder or a store, byte for byte, and it gives back what was lost."""

import hashlib
import io
import os
import threading
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from archive import vault
from archive.errors import Conflict, Damaged, Missing
from archive.vault import FixedRing, Folder, LocalKey, Unreachable, Vault
from archive.vault.bucket import PART, Account, Bucket
from archive.vault.keys import FileRing, create_key_file, read_new_key
from archive.vault.second import SecondCopy
from config import checks

pytestmark = pytest.mark.slow

KEK, OTHER = LocalKey(bytes(range(32))), LocalKey(bytes(32))
SMALL, LARGE = b"a small file", hashlib.shake_128(b"large").digest(PART + 12345)


@pytest.fixture(scope="module")
def store():
    """A real S3 server on this machine: its address and its client."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="k", aws_secret_access_key="s", region_name="eu-west-1"
    )
    yield endpoint, client
    server.stop()


@pytest.fixture(params=["folder", "store"])
def place(request, tmp_path: Path):
    """An empty place of either kind."""
    if request.param == "folder":
        return Folder(tmp_path / "second")
    return bucket(request.getfixturevalue("store"))


def bucket(store, prefix: str = "vault") -> Bucket:
    endpoint, client = store
    name = f"b{os.urandom(6).hex()}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return Bucket(name, prefix, Account(endpoint, "eu-west-1", "k", "s"))


@pytest.fixture
def held(tmp_path: Path) -> Vault:
    return Vault(Folder(tmp_path / "vault"), FixedRing([KEK]))


@pytest.fixture
def second(held: Vault, place) -> SecondCopy:
    copy = SecondCopy(held, place)
    copy.prepare()
    return copy


def put(held: Vault, data: bytes) -> str:
    return held.put(io.BytesIO(data)).sha256


def overwrite(place, name: str, data: bytes) -> None:
    """As a failing medium does: other bytes under the same name."""
    if isinstance(place, Folder):
        place.path(name).unlink()
        place.path(name).write_bytes(data)
    else:
        place.client.put_object(Bucket=place._bucket, Key=place._key(name), Body=data)


def stored(place, name: str) -> bytes:
    source = place.open(name)
    data = bytearray(source.size)
    assert source.read_into(0, memoryview(data)) == source.size
    source.close()
    return bytes(data)


def flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


# --- writing and reading back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "in parts"])
def test_the_copy_is_the_same_bytes_and_opens_as_the_vault_does(held, second, place, data):
    sha256 = put(held, data)
    assert second.bring(sha256) and not second.bring(sha256), "the second time it is there already"
    name = held.name_of(sha256)
    assert stored(place, name) == stored(held.storage, name)
    assert list(place.names()) == list(held.names())
    assert list(place.key_names()) == list(held.storage.key_names())
    with second.vault.open(sha256) as reader:
        assert reader.read() == data
    alone = Vault(place, FixedRing([KEK]))  # from its own vault.json: the first vault is not needed
    assert alone.name_of(sha256) == name


def test_reading_in_order_from_a_store_takes_two_requests(held, store, monkeypatch):
    second = SecondCopy(held, bucket(store))
    second.prepare()
    sha256, asked = put(held, LARGE), []
    second.bring(sha256)
    real = Bucket.get
    monkeypatch.setattr(Bucket, "get", lambda *a, **o: asked.append(o.get("Range", "all")) or real(*a, **o))
    second.vault.check(sha256)
    assert len(asked) == 2 and asked[0] == "all", (
        "one for all bytes in order, one for the end that is read first"
    )


def test_a_place_of_another_vault_is_refused(held, second, place, tmp_path):
    other = SecondCopy(Vault(Folder(tmp_path / "other"), FixedRing([KEK])), place)
    with pytest.raises(Conflict, match="another vault"):
        other.prepare()


def test_a_place_that_was_never_set_up_or_is_away_is_unreachable(held, tmp_path, store):
    sha256 = put(held, SMALL)
    endpoint, _ = store
    places = [
        Folder(tmp_path / "not mounted"),
        bucket(store),
        Bucket("no-such-bucket", "", Account(endpoint, "eu-west-1", "k", "s")),
        Bucket("b", "", Account("http://127.0.0.1:9", "eu-west-1", "k", "s")),
    ]
    for place in places:
        with pytest.raises(Unreachable):
            SecondCopy(held, place).bring(sha256)


def test_a_store_that_breaks_off_leaves_no_half_file(held, second, place, monkeypatch):
    """Killed or cut while it is written: whoever looks sees no file of that name."""
    sha256 = put(held, LARGE)
    source = held.storage.open(held.name_of(sha256))
    real = source.read_into
    monkeypatch.setattr(
        source, "read_into", lambda at, view: real(at, view) if at < PART else _broken(at, view)
    )
    with pytest.raises(OSError):
        place.write(held.name_of(sha256), source, progress=lambda *_: None)
    assert list(place.names()) == []


def _broken(at: int, view: memoryview) -> int:
    raise OSError("the disk does not answer")


def test_settings_name_a_store_and_its_account(instance, settings, store):
    """The whole way from the settings, and what is unsafe in them."""
    made = bucket(store, "archive/two")
    settings.SECOND_COPY = f"{made.where}/"
    settings.SECOND_COPY_ACCOUNT = (store[0], "eu-west-1", "k", "s")
    second = vault.second_copy()
    assert second.where == made.where
    second.prepare()
    sha256 = vault.put(io.BytesIO(SMALL)).sha256
    second.bring(sha256)
    assert [*made.names()] == [vault.name_of(sha256)]
    assert vault.destroy(sha256) and not [*made.names()], "a disposal reaches the second copy first"
    assert not checks.second_copy_is_apart(None)
    settings.SECOND_COPY_ACCOUNT = ("", "eu-west-1", "", "")
    (fault,) = checks.second_copy_is_apart(None)
    assert fault.id == "amparo.E011"
    for place in (settings.VAULT_DIR, settings.VAULT_DIR / "second", settings.VAULT_DIR.parent):
        settings.SECOND_COPY = str(place)
        (fault,) = checks.second_copy_is_apart(None)
        assert fault.id == "amparo.E012"


# --- damage ---------------------------------------------------------------------------------------------------------


def test_a_damaged_copy_is_written_anew_from_good_bytes_alone(held, second, place):
    sha256 = put(held, SMALL)
    name = held.name_of(sha256)
    second.bring(sha256)
    good = stored(held.storage, name)
    overwrite(place, name, flipped(good * 2))
    assert second.bring(sha256) and stored(place, name) == good
    overwrite(place, name, flipped(good * 2))
    overwrite(held.storage, name, flipped(good * 3))
    with pytest.raises(Damaged):
        second.bring(sha256)
    assert stored(place, name) == flipped(good * 2), "bad bytes do not replace other bad bytes"


def test_a_lost_file_and_a_damaged_key_come_back(held, second):
    sha256 = put(held, SMALL)
    second.bring(sha256)
    name = held.name_of(sha256)
    (key,) = held.storage.key_names()
    held.storage.path(name).unlink()
    held.storage.path(key).write_bytes(b"{}")
    with held.storage.repairing():
        second.give_back(sha256)
    held.check(sha256)
    aside = list((held.storage.root / "quarantine").iterdir())
    assert [path.name for path in aside] == [f"{key}.1"] and aside[0].read_bytes() == b"{}"


def test_who_has_nothing_good_says_so(held, second):
    with pytest.raises(Missing):
        second.bring(hashlib.sha256(b"never stored").hexdigest())


def test_removal_reaches_the_copy_and_quarantine(held, second, place):
    sha256 = put(held, SMALL)
    second.bring(sha256)
    name = held.name_of(sha256)
    with held.storage.repairing():
        held.storage.set_aside(name, held.storage.free_aside(name))
    second.vault.destroy(sha256)
    held.destroy(sha256)
    assert not list(place.names()) and not list(place.key_names())
    assert not list((held.storage.root / "quarantine").iterdir())


# --- rotation -------------------------------------------------------------------------------------------------------


def test_keys_rotate_in_both_places_while_files_come_in_and_are_read(tmp_path, place):
    """Nothing fails meanwhile, and afterwards the new key alone opens everything in both."""
    path = tmp_path / "vault.key"
    create_key_file(path)
    held = Vault(Folder(tmp_path / "vault"), FileRing(path))
    second = SecondCopy(held, place)
    second.prepare()
    known = [put(held, b"before %d" % number) for number in range(6)]
    for sha256 in known:
        second.bring(sha256)
    stop, failed = threading.Event(), []

    def come_in() -> None:
        try:
            for number in range(1000):
                if stop.is_set() and number > 3:
                    return
                sha256 = put(held, b"meanwhile %d" % number)
                second.bring(sha256)
                known.append(sha256)
                held.check(known[number % len(known)])
                second.vault.check(known[number % len(known)])
        except Exception as error:  # noqa: BLE001 - told by the test
            failed.append(error)

    busy = threading.Thread(target=come_in)
    busy.start()
    new = tmp_path / "new.key"
    create_key_file(new)
    FileRing(path).make_current(read_new_key(new))
    while held.rotate().renewed:
        pass
    while second.rotate().renewed:
        pass
    stop.set()
    busy.join()
    assert not failed
    assert second.rotate().renewed == held.rotate().renewed == 0
    only = FileRing(new)
    for where in (held.storage, place):
        alone = Vault(where, only)
        for sha256 in known:
            alone.check(sha256)


def test_a_copy_that_was_under_way_while_keys_rotated_ends_under_the_new_key(
    held, second, place, monkeypatch
):
    """The key is read, both places rotate, and only then it is written there: it is compared once more."""
    sha256 = put(held, SMALL)
    both = FixedRing([OTHER, KEK])
    real = place.write

    def write(name, source, *, progress) -> None:
        monkeypatch.setattr(held, "_ring", both)
        monkeypatch.setattr(second.vault, "_ring", both)
        held.rotate()
        real(name, source, progress=progress)

    monkeypatch.setattr(place, "write", write)
    second.bring(sha256)
    Vault(held.storage, FixedRing([OTHER])).check(sha256)
    assert place.read_small(next(iter(place.key_names()))) == held.storage.read_small(
        next(iter(held.storage.key_names()))
    )
