"""The vault gives back what it took in, or names what is wrong, and a crash leaves it whole."""

import errno
import hashlib
import hmac
import io
import json
import multiprocessing
import os
import resource
import stat
import subprocess
import sys
import threading
from base64 import b64decode
from io import StringIO
from pathlib import Path

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.management import CommandError, call_command
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive import vault
from archive.errors import BadInput, Conflict, Damaged, KeyUnavailable, LimitExceeded, Missing, StorageFull
from archive.vault import FileRing, FixedRing, Folder, LocalKey, Vault
from archive.vault.cobblestone import CHUNK, HEADER, SEALED
from archive.vault.keys import JoinedRing
from archive.vault.sealed import KEY_CONTEXT

MIB = 1024 * 1024
KEK = LocalKey(bytes(range(32)))
OTHER = LocalKey(bytes(32))
SIZES = [
    0,
    1,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    128 * 1024,
    1152 * 1024,
    2176 * 1024,
    3200 * 1024,
    3 * MIB + 12345,
]


def pattern(size: int) -> bytes:
    """Bytes of which no two stretches are alike."""
    return hashlib.shake_128(b"pattern").digest(size)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "vault")


@pytest.fixture
def held(folder: Folder) -> Vault:
    return Vault(folder, FixedRing([KEK]))


def put(held: Vault, data: bytes, **options) -> vault.Stored:
    return held.put(io.BytesIO(data), **options)


def files(folder: Folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder.root)): path.read_bytes()
        for path in folder.root.rglob("*")
        if path.is_file() and path.name != "vault.json"
    }


def key_path(folder: Folder, name: str) -> Path:
    return next(folder.path(name).parent.glob(f"{name}.*.key"))


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


# Taking in and giving back


@pytest.mark.parametrize("size", SIZES)
def test_what_goes_in_comes_out(held: Vault, size: int):
    data = pattern(size)
    stored = put(held, data, expected_size=size, expected_sha256=sha(data), limit=size)
    assert (stored.sha256, stored.size, stored.existed) == (sha(data), size, False)
    with held.open(stored.sha256) as reader:
        assert (reader.size, reader.read(), reader.read(1)) == (size, data, b"")
    held.check(stored.sha256)
    assert held.check_name(stored.name) == stored.sha256
    assert list(held.names()) == [stored.name] == [held.name_of(stored.sha256)]


def test_streams_that_give_little_at_a_time_are_read_to_their_end(held: Vault):
    data = pattern(2 * MIB + 17)

    class Trickle:
        """A request body: `read` alone, and never as much as asked for."""

        def __init__(self) -> None:
            self.left = io.BytesIO(data)

        def read(self, count: int) -> bytes:
            return self.left.read(min(count, 7777))

    assert held.put(Trickle()).sha256 == sha(data)
    held.check(sha(data))


def test_a_stream_that_pauses_is_not_taken_for_ended(held: Vault, folder: Folder):
    class Paused:
        def read(self, count: int) -> None:
            return None

    with pytest.raises(BadInput, match="paused"):
        held.put(Paused())
    assert not files(folder)


def test_same_bytes_twice_are_stored_once(held: Vault, folder: Folder):
    data = pattern(100_000)
    put(held, data)
    before = files(folder)
    assert put(held, data).existed
    assert put(held, data, expected_sha256=sha(data)).existed
    assert files(folder) == before


def test_progress_counts_bytes(held: Vault):
    seen: list[tuple] = []
    put(held, pattern(2 * MIB + 1), expected_size=2 * MIB + 1, progress=lambda *step: seen.append(step))
    assert seen == [("store", n, 2 * MIB + 1) for n in (MIB // 8, MIB + MIB // 8, 2 * MIB + 1)]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"expected_size": 99_999}, BadInput),
        ({"expected_size": 100_001}, BadInput),
        ({"expected_sha256": "00" * 32}, BadInput),
        ({"expected_sha256": "not a hash"}, BadInput),
        ({"limit": 99_999}, LimitExceeded),
        ({"limit": 5, "expected_size": 100_000}, LimitExceeded),
    ],
)
def test_refused_bytes_leave_nothing(held: Vault, folder: Folder, options: dict, error: type):
    with pytest.raises(error):
        put(held, pattern(100_000), **options)
    assert not files(folder)


def test_a_stream_that_breaks_leaves_nothing(held: Vault, folder: Folder):
    class Broken(io.RawIOBase):
        left = 3

        def readable(self) -> bool:
            return True

        def readinto(self, view: memoryview) -> int:
            self.left -= 1
            if not self.left:
                raise ConnectionResetError
            return len(view)

    with pytest.raises(ConnectionResetError):
        held.put(Broken())
    assert not files(folder)


def test_unknown_hash_is_missing_and_a_non_hash_is_refused(held: Vault):
    for verb in (held.open, held.check):
        with pytest.raises(Missing):
            verb("00" * 32)
    with pytest.raises(BadInput):
        held.open("../../etc/passwd")


# Reading anywhere


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 1_300_000), st.integers(0, 300_000)), min_size=1, max_size=8))
def test_random_reads_equal_slices(tmp_path_factory, steps):
    data = pattern(1_250_000)
    held = _shared(tmp_path_factory, data)
    with held.open(sha(data)) as reader:
        for offset, count in steps:
            assert reader.seek(offset) == offset
            assert reader.read(count) == data[offset : offset + count]
            assert reader.tell() == max(offset, min(offset + count, len(data)))


_made: dict[str, Vault] = {}


def _shared(factory, data: bytes) -> Vault:
    if "vault" not in _made:
        _made["vault"] = Vault(Folder(factory.mktemp("shared") / "vault"), FixedRing([KEK]))
        put(_made["vault"], data)
    return _made["vault"]


def test_reader_is_a_file_for_others(held: Vault):
    data = pattern(300_000)
    put(held, data)
    with held.open(sha(data)) as reader:
        assert reader.seek(-10, io.SEEK_END) == 299_990 and reader.read() == data[-10:]
        reader.seek(5)
        assert reader.seek(5, io.SEEK_CUR) == 10
        with pytest.raises(ValueError):
            reader.seek(-1)
        reader.seek(0)
        assert io.BufferedReader(reader).read() == data
    with pytest.raises(ValueError):
        reader.read(1)


def test_a_seek_decrypts_only_what_it_touches(held: Vault, folder: Folder, monkeypatch):
    data = pattern(64 * MIB // 4)
    put(held, data)
    read: list[int] = []
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: read.append(len(views[0])) or real(fd, views, at))
    with held.open(sha(data)) as reader:
        reader.seek(7_000_000)
        assert reader.read(1000) == data[7_000_000:7_001_000]
    assert sum(read) <= HEADER + 3 * SEALED


# Format


def test_vault_replays_byte_for_byte_from_its_document(tmp_path: Path):
    """An independent reading of docs/vault.md: with the randomness given, every stored byte is as it says."""
    counter = iter(range(1, 1000))
    replay = Vault(
        Folder(tmp_path / "v"),
        FixedRing([LocalKey(b"K" * 32, random=lambda n: b"N" * n)]),
        random=lambda n: bytes([next(counter)]) * n,
    )
    data = pattern(20_000)
    stored = put(replay, data)
    naming_key, salt, data_key = b"\x02" * 32, b"\x03" * 24, b"\x04" * 32
    name = hmac.new(naming_key, hashlib.sha256(data).digest(), "sha256").hexdigest()
    assert stored.name == name
    root = tmp_path / "v"
    config = json.loads((root / "vault.json").read_text())
    assert (config["format"], config["version"], config["id"]) == ("amparo-vault", 1, "01" * 16)
    blob = (root / name[:2] / name).read_bytes()
    decryptor = Cobblestone256Decryptor(data_key, b"amparo vault blob v1")
    assert blob[:24] == salt and decryptor.update(blob) + decryptor.finalize() == data
    record = json.loads((root / name[:2] / f"{name}.{salt.hex()}.key").read_text())
    wrapped = b64decode(record["wrapped"])
    context = b"amparo vault data key v1\x00" + f"{name}.{salt.hex()}.key".encode()
    assert AESGCM(b"K" * 32).decrypt(wrapped[:12], wrapped[12:], context) == data_key
    assert (
        record["kek"] == "local-" + hmac.new(b"K" * 32, b"amparo vault key id v1", "sha256").hexdigest()[:16]
    )
    assert sha(blob) == "855019d42149ee4041934242c7f9bcc93254ee97e756a46396401e61d7790bd3", (
        "the format changed: old vaults must stay readable"
    )


def test_a_blob_that_the_library_wrote_is_read_at_any_place(held: Vault, folder: Folder):
    data, key = pattern(100_000), b"D" * 32
    name = held.name_of(sha(data))
    encryptor = Cobblestone256Encryptor(key, Vault.context)
    sealed = encryptor.update(data) + encryptor.finalize()
    key_name = f"{name}.{sealed[:24].hex()}.key"
    record = held._wrap(key, KEY_CONTEXT + key_name.encode())
    folder.path(name).write_bytes(sealed)
    folder.path(key_name).write_bytes(
        json.dumps(record, separators=(",", ":"), sort_keys=True).encode() + b"\n"
    )
    with held.open(sha(data)) as reader:
        for offset in (0, 16_383, 16_384, 50_000, 99_999):
            reader.seek(offset)
            assert reader.read(20) == data[offset : offset + 20]
    held.check(sha(data))


def test_disk_tells_neither_hash_nor_content(held: Vault, folder: Folder, tmp_path: Path):
    data = b"the face of a witness " * 100
    stored = put(held, data)
    everything = b"".join(files(folder).values()) + (folder.root / "vault.json").read_bytes()
    everything += "".join(files(folder)).encode()
    assert b"witness" not in everything and sha(data).encode() not in everything
    assert bytes.fromhex(sha(data)) not in everything
    other = Vault(Folder(tmp_path / "other"), FixedRing([KEK]))
    assert put(other, data).name != stored.name, "two vaults with the same file must not look alike"


def test_only_the_owner_may_read(held: Vault, folder: Folder):
    put(held, b"x")
    for path in [folder.root, *folder.root.rglob("*")]:
        assert not path.stat().st_mode & 0o077, path


# Damage


def test_every_flipped_byte_is_caught(held: Vault, folder: Folder):
    """One wrong bit in the blob or in its wrapped key, anywhere, and no byte of it is given out."""
    data = b"evidence"
    stored = put(held, data)
    for path, errors in (
        (folder.path(stored.name), (Damaged,)),
        (key_path(folder, stored.name), (Damaged, KeyUnavailable)),
    ):
        good = path.read_bytes()
        for place in range(len(good)):
            for bit in (0x01, 0x20, 0x80):
                rewrite(path, good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :])
                with pytest.raises(errors):
                    held.open(stored.sha256)
        rewrite(path, good)
    held.check(stored.sha256)


def test_every_flipped_byte_of_vault_json_is_caught(held: Vault, folder: Folder):
    put(held, b"x")
    path = folder.root / "vault.json"
    good = path.read_bytes()
    for place in range(len(good)):
        rewrite(path, good[:place] + bytes([good[place] ^ 0x20]) + good[place + 1 :])
        with pytest.raises((Damaged, KeyUnavailable)):
            Vault(folder, FixedRing([KEK]))


def test_a_lost_vault_json_is_never_silently_made_anew(held: Vault, folder: Folder):
    put(held, b"x")
    (folder.root / "vault.json").unlink()
    with pytest.raises(Damaged, match=r"vault\.json"):
        Vault(folder, FixedRing([KEK]))
    assert not (folder.root / "vault.json").exists()


@pytest.mark.parametrize(
    "change", ["cut_1", "cut_to_chunk", "cut_chunk", "empty", "more", "chunk_more", "swap"]
)
def test_a_blob_with_another_shape_is_refused_before_its_first_byte(held: Vault, folder: Folder, change: str):
    data = pattern(3 * CHUNK + 100)
    stored = put(held, data)
    path = folder.path(stored.name)
    good = path.read_bytes()
    at = [HEADER + i * SEALED for i in range(4)]
    bad = {
        "cut_1": good[:-1],
        "cut_to_chunk": good[: at[3]],
        "cut_chunk": good[: at[2] + 500],
        "empty": b"",
        "more": good + b"\0",
        "chunk_more": good[: at[3]] + good[at[0] : at[1]] + good[at[3] :],
        "swap": good[: at[2]] + good[at[3] :] + good[at[2] : at[3]],
    }[change]
    rewrite(path, bad)
    with pytest.raises(Damaged):
        held.open(stored.sha256)
    with pytest.raises(Damaged):
        held.check(stored.sha256)


def test_chunks_that_changed_places_are_caught_where_they_are_read(held: Vault, folder: Folder):
    data = pattern(3 * CHUNK + 100)
    stored = put(held, data)
    path = folder.path(stored.name)
    good = path.read_bytes()
    at = [HEADER + i * SEALED for i in range(4)]
    rewrite(path, good[: at[0]] + good[at[1] : at[2]] + good[at[0] : at[1]] + good[at[2] :])
    with held.open(stored.sha256) as reader:
        reader.seek(2 * CHUNK)
        assert reader.read(10) == data[2 * CHUNK : 2 * CHUNK + 10]
        reader.seek(CHUNK)
        with pytest.raises(Damaged, match=stored.name):
            reader.read(1)
        reader.seek(3 * CHUNK)
        assert reader.read() == data[3 * CHUNK :], "what is whole can still be saved"
    with pytest.raises(Damaged):
        held.check(stored.sha256)


def test_blobs_and_keys_that_changed_places_are_caught(held: Vault, folder: Folder):
    one, two = put(held, b"one"), put(held, b"two")
    paths = [folder.path(s.name) for s in (one, two)]
    keys = [key_path(folder, s.name) for s in (one, two)]
    whole = {p: p.read_bytes() for p in paths + keys}

    def restored(changes: dict[Path, bytes]) -> None:
        for path in (*whole, *changes):
            rewrite(path, {**whole, **changes}[path]) if path.exists() else path.write_bytes(changes[path])

    for changes in (
        {paths[0]: whole[paths[1]], paths[1]: whole[paths[0]]},
        {keys[0]: whole[keys[1]], keys[1]: whole[keys[0]]},
        {paths[0]: whole[paths[1]], key_as(keys[1], one.name): whole[keys[1]]},
    ):
        restored(changes)
        with pytest.raises(Damaged):
            held.open(one.sha256)
    keys[0].unlink()
    with pytest.raises(Damaged, match="wrapped key"):
        held.open(one.sha256)


def key_as(path: Path, name: str) -> Path:
    """Where a blob called `name` that starts with this key's salt would look for its key."""
    folder = path.parent.parent / name[:2]
    return folder / path.name.replace(path.name[:64], name)


def test_a_damaged_copy_does_not_pass_for_stored(held: Vault, folder: Folder):
    stored = put(held, pattern(50_000))
    rewrite(folder.path(stored.name), folder.path(stored.name).read_bytes()[:-1])
    for options in ({}, {"expected_sha256": stored.sha256}):
        with pytest.raises(Damaged, match="nothing was deleted"):
            put(held, pattern(50_000), **options)


def test_content_that_is_not_what_its_name_stands_for_is_caught(held: Vault, folder: Folder):
    """Whoever holds the keys could store other bytes under a name; reading back finds it."""
    name = held.name_of(sha(b"true"))
    encryptor = Cobblestone256Encryptor(b"D" * 32, Vault.context)
    sealed = encryptor.update(b"false") + encryptor.finalize()
    key_name = f"{name}.{sealed[:24].hex()}.key"
    record = held._wrap(b"D" * 32, KEY_CONTEXT + key_name.encode())
    folder.path(name).write_bytes(sealed)
    folder.path(key_name).write_bytes(
        json.dumps(record, separators=(",", ":"), sort_keys=True).encode() + b"\n"
    )
    with pytest.raises(Damaged, match="name stands for"):
        held.check(sha(b"true"))


# Full disks, crashes, order


class Full(Folder):
    """A folder on a disk with room for so many bytes more."""

    room = 0

    def draft(self, expected_size=0):
        draft, full = super().draft(), self
        real = draft.write

        def write(data: memoryview) -> None:
            full.room -= len(data)
            if full.room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(data)

        draft.write = write
        return draft


@pytest.mark.parametrize("room", [0, 10, 2 * MIB])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, room: int):
    folder = Full(tmp_path / "vault")
    held = Vault(folder, FixedRing([KEK]))
    folder.room = room
    with pytest.raises(StorageFull, match="untouched"):
        put(held, pattern(3 * MIB))
    assert not files(folder)
    folder.room = 10 * MIB
    put(held, pattern(3 * MIB))
    held.check(sha(pattern(3 * MIB)))


def test_a_disk_that_is_full_when_the_key_is_written_leaves_nothing(held: Vault, folder: Folder, monkeypatch):
    real = os.write

    def write(fd: int, data: memoryview) -> int:
        if bytes(data).startswith(b'{"kek"'):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StorageFull):
        put(held, b"x")
    assert not files(folder)


def test_a_limit_of_the_system_counts_as_full(held: Vault, folder: Folder):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, before[1]))
    try:
        with pytest.raises(StorageFull):
            put(held, pattern(3 * MIB))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not files(folder)


def test_bytes_are_durable_before_their_name_and_the_name_before_the_answer(held: Vault, folder, monkeypatch):
    """Guards promise 2, for power cuts: blob and key are synced before the blob has a name."""
    order: list[str] = []

    def what(fd: int) -> str:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        return "folder" if path.is_dir() else "blob" if path.stat().st_size > 1000 else "key"

    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: order.append(f"sync {what(fd)}") or fsync(fd))
    monkeypatch.setattr(
        os,
        "rename",
        lambda a, b: order.append("name key" if str(b).endswith(".key") else "name blob") or rename(a, b),
    )
    put(held, pattern(5000))
    expected = ["sync blob", "sync key", "name key", "name blob", "sync folder"]
    assert order == expected
    order.clear()
    put(held, pattern(5000), expected_sha256=sha(pattern(5000)))
    assert order == ["sync folder"], "'it is there already' must be as durable as 'it was stored'"


@pytest.mark.parametrize("step", range(1, 6))
def test_killed_before_any_durable_step_nothing_is_half_there(tmp_path: Path, step: int):
    """Guards promise 2: SIGKILL before the nth sync or rename; then the same bytes go in and check out."""
    program = f"""
import io, os, signal, itertools
from archive.vault import *
held = Vault(Folder({str(tmp_path / "v")!r}), FixedRing([LocalKey(bytes(range(32)))]))
count = itertools.count(1)
def killing(real):
    def act(*args):
        if next(count) == {step}: os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)
    return act
os.fsync, os.rename = killing(os.fsync), killing(os.rename)
held.put(io.BytesIO(b"evidence" * 1000))
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3])
    assert killed.returncode == -9
    folder = Folder(tmp_path / "v")
    held = Vault(folder, FixedRing([KEK]))
    held.clean()
    assert not list((folder.root / "temp").iterdir())
    stored = put(held, b"evidence" * 1000)
    held.check(stored.sha256)
    assert list(held.names()) == [stored.name]


def _put_many(root: Path, barrier, results) -> None:
    held = Vault(Folder(root), FixedRing([KEK]))
    barrier.wait()
    results.put([put(held, bytes([i]) * 50_000).existed for i in range(30)])


@pytest.mark.slow
def test_processes_that_bring_the_same_bytes_at_once_all_end_well(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_put_many, args=(tmp_path / "v", barrier, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    outcomes = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    for i in range(30):
        assert sum(not existed[i] for existed in outcomes) == 1, "one stored it, the others found it"
    held = Vault(Folder(tmp_path / "v"), FixedRing([KEK]))
    assert len([held.check_name(name) for name in held.names()]) == 30
    assert len(files(Folder(tmp_path / "v"))) == 60, "no spare keys, no temporary files"


def test_cleaning_takes_what_the_dead_left_and_nothing_else(held: Vault, folder: Folder):
    stored = put(held, b"kept")
    (folder.root / "temp" / "999-dead.part").write_bytes(b"half")
    living = folder.draft()
    living.write(memoryview(b"half"))
    assert held.clean() == 1
    assert [path.read_bytes() for path in (folder.root / "temp").iterdir()] == [b"half"]
    living.discard()
    held.check(stored.sha256)


def test_an_orphan_is_reported_and_stays(held: Vault):
    known, unknown = put(held, b"known"), put(held, b"unknown")
    assert list(held.orphans([known.sha256])) == [unknown.name]
    held.check(unknown.sha256)


def test_empty_folders_lost_by_a_backup_are_made_again(held: Vault, folder: Folder):
    stored = put(held, b"x")
    for path in folder.root.iterdir():
        if path.is_dir() and not list(path.iterdir()):
            path.rmdir()
    again = Vault(folder, FixedRing([KEK]))
    again.check(stored.sha256)
    for i in range(20):
        put(again, bytes([i]))


@pytest.mark.slow
def test_a_large_stream_takes_constant_memory(tmp_path: Path):
    program = f"""
import io, resource, sys
from archive.vault import *
class Zeros(io.RawIOBase):
    left = 300 * 1024 * 1024
    def readable(self): return True
    def readinto(self, view):
        count = min(len(view), self.left); self.left -= count
        return count
held = Vault(Folder({str(tmp_path / "v")!r}), FixedRing([LocalKey(bytes(32))]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stored = held.put(Zeros()); held.check(stored.sha256)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = subprocess.check_output([sys.executable, "-c", program], cwd=Path(__file__).parents[3])
    assert int(grown) < 20 * 1024, "KiB"


# Keys


def test_rotation_touches_no_blob_and_retires_the_old_key(held: Vault, folder: Folder):
    stored = [put(held, bytes([i]) * 1000) for i in range(5)]
    blobs = {name: (folder.path(name).stat().st_ino, folder.path(name).read_bytes()) for name in held.names()}
    both = Vault(folder, FixedRing([OTHER, KEK]))
    put(both, b"already under the new one")
    assert both.rotate() == vault.Rotated(renewed=6, current=1)
    assert both.rotate() == vault.Rotated(renewed=0, current=7)
    after = Vault(folder, FixedRing([OTHER]))
    for one in stored:
        after.check(one.sha256)
        assert blobs[one.name] == (folder.path(one.name).stat().st_ino, folder.path(one.name).read_bytes())
    with pytest.raises(KeyUnavailable, match=OTHER.key_id):
        Vault(folder, FixedRing([KEK]))


def test_readers_and_writers_go_on_while_keys_rotate(folder: Folder, tmp_path: Path):
    path = tmp_path / "key"
    vault.create_key_file(path)
    held = Vault(folder, FileRing(path))
    stored = [put(held, bytes([i]) * 100).sha256 for i in range(40)]
    faults: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        number = 0
        while not done.is_set():
            try:
                held.check(stored[number % 40])
                put(held, number.to_bytes(8))
                number += 1
            except BaseException as error:  # noqa: BLE001 - the test's main thread reports it
                faults.append(error)
                return

    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(3):
        ring = FileRing(path)
        ring.make_current(os.urandom(32))
        rotator = Vault(folder, ring)
        while rotator.rotate().renewed:
            pass
    done.set()
    worker.join()
    assert not faults
    assert len(FileRing(path).keys()) == 4
    assert Vault(folder, FileRing(path)).rotate().renewed == 0


def test_wrong_key_says_which_one_is_needed_and_that_nothing_is_lost(held: Vault, folder: Folder):
    with pytest.raises(KeyUnavailable) as caught:
        Vault(folder, FixedRing([OTHER]))
    assert KEK.key_id in caught.value.sentence and "Nothing was lost" in caught.value.sentence


def test_a_key_is_asked_for_before_the_bytes_are_read(held: Vault, tmp_path: Path):
    path = tmp_path / "key"
    vault.create_key_file(path)
    held = Vault(Folder(tmp_path / "v2"), FileRing(path))
    path.unlink()

    class Untouched:
        def read(self, count: int) -> bytes:
            raise AssertionError("read")

    with pytest.raises(KeyUnavailable, match="put the key file back"):
        held.put(Untouched())


def test_key_file_is_private_and_never_overwritten(tmp_path: Path):
    path = tmp_path / "keys" / "vault.key"
    key_id = vault.create_key_file(path)
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [key.key_id for key in FileRing(path).keys()] == [key_id]
    with pytest.raises(Conflict, match="left as it is"):
        vault.create_key_file(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int):
    path = tmp_path / "vault.key"
    vault.create_key_file(path)
    path.chmod(mode)
    with pytest.raises(KeyUnavailable, match=f"chmod 600 {path}"):
        FileRing(path).keys()


@pytest.mark.parametrize("text", ["", "# nothing\n", "00" * 31, "xy" * 32, "00" * 32 + "\nrest"])
def test_a_malformed_key_is_refused_without_being_shown(text: str):
    with pytest.raises(KeyUnavailable) as caught:
        FixedRing.of_text(text)
    assert text.strip() == "" or text.strip() not in caught.value.sentence


class Kms:
    """The shape of a key management service: the key stays there, context is authenticated with it."""

    key_id = "kms:projects/1/keys/7"
    up = True

    def wrap(self, key: bytes, context: bytes) -> bytes:
        if not self.up:
            raise KeyUnavailable("The key service does not answer. Nothing was lost; try again.")
        return b"kms" + OTHER.wrap(key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return OTHER.unwrap(wrapped[3:], context)


def test_a_key_service_takes_over_from_a_key_file(held: Vault, folder: Folder):
    stored = put(held, b"before")
    service = Kms()
    moved = Vault(folder, JoinedRing(FixedRing([service]), FixedRing([KEK])))
    assert moved.rotate().renewed == 2
    alone = Vault(folder, FixedRing([service]))
    alone.check(stored.sha256)
    service.up = False
    with pytest.raises(KeyUnavailable, match="does not answer"):
        put(alone, b"after")
    assert len(files(folder)) == 2


# The vault of the settings, scratch, commands


@pytest.fixture
def home(settings, tmp_path: Path) -> Path:
    settings.VAULT_DIR, settings.SCRATCH_DIR = tmp_path / "vault", tmp_path / "scratch"
    settings.STAGING_DIR, settings.SECOND_COPY = tmp_path / "staging", ""
    settings.VAULT_KEY, settings.VAULT_KMS = "", ""
    settings.VAULT_KEY_FILE = tmp_path / "keys" / "vault.key"
    vault.create_key_file(settings.VAULT_KEY_FILE)
    return tmp_path


def test_functions_of_the_module_use_the_vault_of_the_settings(home: Path, settings):
    stored = vault.put(io.BytesIO(b"x"))
    assert vault.open(stored.sha256).read() == b"x"
    vault.check(stored.sha256)
    assert list(vault.names()) == [vault.name_of(stored.sha256)] == list(vault.orphans([]))
    assert vault.clean() == 0
    settings.VAULT_KEY = "00" * 32
    with pytest.raises(KeyUnavailable):
        vault.default_vault()
    settings.VAULT_KEY, settings.VAULT_KMS = "", f"{__name__}.Kms"
    settings.VAULT_KMS = "nowhere.at.all"
    with pytest.raises(KeyUnavailable, match="VAULT_KMS"):
        vault.default_vault()


def test_scratch_is_private_and_gone_afterwards(home: Path):
    with vault.scratch() as folder:
        (folder / "frame.png").write_bytes(b"x")
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert vault.empty_scratch() == 0, "another process that starts must leave it alone"
        assert (folder / "frame.png").exists()
    assert not list((home / "scratch").iterdir())


def test_scratch_left_by_the_dead_is_emptied_at_start(home: Path):
    left = home / "scratch" / "tmpdead"
    left.mkdir(parents=True)
    (left / "witness.mp4").write_bytes(b"x")
    (home / "scratch" / "loose").write_bytes(b"x")
    (home / "scratch" / "link").symlink_to(home / "keys")
    stored = vault.put(io.BytesIO(b"x"))
    (home / "vault" / "temp" / "1-dead.part").write_bytes(b"half")
    assert vault.empty_scratch() == 4
    assert not list((home / "vault" / "temp").iterdir())
    vault.check(stored.sha256)
    assert not list((home / "scratch").iterdir()) and (home / "keys" / "vault.key").exists()


def run(*args: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("vault", *args, stdout=out, stderr=StringIO())
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


@pytest.mark.django_db
def test_check_names_every_fault_and_answers_good_bad_or_could_not_check(home: Path, settings):
    from archive.models import Blob

    stored = [vault.put(io.BytesIO(bytes([i]) * 50_000)) for i in range(4)]
    for one in stored[:3]:
        Blob.objects.create(sha256=one.sha256, size=one.size, stored_at=timezone.now())
    assert run("check")[0] == run("check", "--all")[0] == 0
    code, said = run("orphans")
    assert (code, said.split()) == (0, [stored[3].name])
    path = Folder(settings.VAULT_DIR).path(stored[0].name)
    good = path.read_bytes()
    rewrite(path, good[:100] + bytes([good[100] ^ 1]) + good[101:])
    assert run("check")[0] == 0, "the short check looks at length and end"
    Folder(settings.VAULT_DIR).path(stored[1].name).unlink()
    code, said = run("check", "--all")
    assert code == 1 and said.count("BAD") == 2 and stored[0].sha256 in said and stored[1].sha256 in said
    rewrite(path, good)
    Blob.objects.filter(pk=stored[1].sha256).delete()
    key = key_path(Folder(settings.VAULT_DIR), stored[2].name)
    key.write_bytes(key.read_bytes().replace(b"local-", b"other-"))
    code, said = run("check")
    assert code == 3 and "COULD NOT CHECK" in said and "Answer: could not check." in said


@pytest.mark.django_db
def test_rotate_moves_everything_under_a_new_key_and_records_it(home: Path, settings, tmp_path: Path):
    from archive import tus
    from archive.models import CustodyEvent

    stored = vault.put(io.BytesIO(b"x"))
    settings.SECOND_COPY = str(tmp_path / "second")
    second = vault.second_copy()
    second.prepare()
    second.bring(stored.sha256)
    upload = Vault(tus.Staging(settings.STAGING_DIR / ("ab" * 16)), vault.default_ring())
    upload.put(io.BytesIO(b"a piece"))
    before = vault.default_ring().keys()[0].key_id
    run("new-key", str(tmp_path / "new.key"))
    code, said = run("rotate", "--new-key-file", str(tmp_path / "new.key"))
    after = vault.default_ring().keys()[0].key_id
    assert code == 0 and before in said and after in said and before != after
    assert [key.key_id for key in vault.default_ring().keys()] == [after, before]
    vault.check(stored.sha256)
    settings.VAULT_KEY_FILE = tmp_path / "new.key"
    vault.check(stored.sha256)
    assert Vault(tus.Staging(settings.STAGING_DIR / ("ab" * 16)), vault.default_ring()).open(sha(b"a piece"))
    Vault(Folder(tmp_path / "second"), vault.default_ring()).check(stored.sha256)
    assert "Nothing changed" in run("rotate")[1]
    assert CustodyEvent.objects.filter(type="system.vault_key_rotated").count() == 1
    settings.VAULT_KEY = "00" * 32
    with pytest.raises(CommandError):
        run("rotate", "--new-key-file", str(tmp_path / "new.key"))


@pytest.mark.django_db
def test_a_second_copy_that_is_away_keeps_the_earlier_key_until_rotation_is_run_again(
    home: Path, settings, tmp_path
):
    settings.SECOND_COPY = str(tmp_path / "second")
    second, sha256 = vault.second_copy(), vault.put(io.BytesIO(b"x")).sha256
    second.prepare()
    second.bring(sha256)
    (tmp_path / "second").rename(tmp_path / "away")
    run("new-key", str(tmp_path / "new.key"))
    code, said = run("rotate", "--new-key-file", str(tmp_path / "new.key"))
    assert code == 3 and "keep it, and run `vault rotate` again" in said
    (tmp_path / "away").rename(tmp_path / "second")
    assert run("rotate")[0] == 0
    settings.VAULT_KEY_FILE = tmp_path / "new.key"
    vault.second_copy().vault.check(sha256)


def test_a_vault_that_many_open_first_at_once_is_one(tmp_path):
    """Each thread opens it for itself and stores at once; none may take the others' blobs for a lost vault's."""
    for attempt in range(10):
        start, raised = threading.Barrier(6), []

        def first(number: int, attempt: int = attempt, start=start, raised=raised) -> None:
            start.wait()
            try:
                put(Vault(Folder(tmp_path / str(attempt)), FixedRing([KEK])), b"%d" % number)
            except Damaged as error:
                raised.append(error)

        threads = [threading.Thread(target=first, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert raised == []
        held = Vault(Folder(tmp_path / str(attempt)), FixedRing([KEK]))
        assert len(list(held.names())) == 6
