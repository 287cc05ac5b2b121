"""A disk that is full stops intake with a clear word, and damages nothing."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from archive import vault
from archive.errors import StorageFull
from archive.vault import FixedRing, Folder, LocalKey, Vault
from archive.vault.room import Room
from archive.vault.scratch import empty_scratch, require_scratch, scratch
from tests import cast

MIB = 1024 * 1024


@pytest.fixture
def tiny(tmp_path: Path):
    """A real disk of 8 MiB; tests that need it are skipped where none can be mounted."""
    place = tmp_path / "tiny"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def free(place: Path) -> int:
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize


@pytest.mark.parametrize("announced", [True, False], ids=["size announced", "size unknown"])
@pytest.mark.parametrize("reserve", [None, MIB], ids=["one per cent", "1 MiB"])
def test_a_disk_that_fills_stops_intake_and_keeps_what_it_had(
    tiny: Path, announced: bool, reserve: int | None
):
    folder = Folder(tiny / "vault", room=Room(reserve))
    held = Vault(folder, FixedRing([LocalKey(bytes(32))]))
    kept = []
    with pytest.raises(StorageFull, match="untouched"):
        for number in range(64):
            data = bytes([number]) * MIB
            kept.append(held.put(io.BytesIO(data), expected_size=MIB if announced else None).sha256)
    assert 4 <= len(kept) <= 7
    for sha256 in kept:
        held.check(sha256)
    assert not list((tiny / "vault" / "temp").iterdir()), "nothing is left half-written"
    if announced:
        assert free(tiny) >= (MIB if reserve else 8 * MIB // 100), "the reserve is still there"
    (tiny / "vault" / "temp" / "other").unlink(missing_ok=True)
    folder.path(held.name_of(kept[0])).unlink()
    assert held.put(io.BytesIO(b"\0" * (MIB // 2)), expected_size=MIB // 2).size, (
        "room was made: intake goes on"
    )


def test_a_second_copy_and_a_repair_on_a_full_disk_leave_all_as_it_was(tiny: Path, tmp_path: Path):
    ring = FixedRing([LocalKey(bytes(32))])
    held = Vault(Folder(tmp_path / "vault"), ring)
    sha256 = held.put(io.BytesIO(bytes(12 * MIB))).sha256
    second = vault.SecondCopy(held, Folder(tiny / "second"))
    second.prepare()
    with pytest.raises(StorageFull, match="untouched"):
        second.bring(sha256)
    assert list(second.place.names()) == [] and not list((tiny / "second" / "temp").iterdir())
    held.check(sha256)


@pytest.mark.django_db
def test_intake_of_every_kind_leaves_the_reserve_alone(instance, settings):
    """Stopped before a byte is read: the whole disk is reserve here."""
    from archive import tus
    from archive.models import Item, Upload

    researcher = cast.person()
    case = cast.case(owner=researcher)
    cast.item(case)
    settings.RESERVE = 2**60
    vault._vault.cache_clear()
    with pytest.raises(StorageFull, match="AMPARO_RESERVE"):
        cast.item(case)
    announced = tus.Announced(file_name="a.jpg", length=1000)
    with pytest.raises(StorageFull):
        tus.begin(case=case, actor=cast.signed_in(researcher), announced=announced)
    assert Item.objects.count() == 1 and not Upload.objects.exists()
    settings.RESERVE = None
    vault._vault.cache_clear()
    cast.item(case)


def test_the_disk_of_the_database_keeps_its_reserve_too(tmp_path: Path, tiny: Path):
    Room(0, beside=[tiny]).require(tmp_path, 1)
    with pytest.raises(StorageFull, match="tiny"):
        Room(9 * MIB, beside=[tiny]).require(tmp_path, 1)


def test_scratch_is_bounded_before_it_is_used(tmp_path: Path, settings, tiny: Path):
    settings.SCRATCH_LIMIT, settings.RESERVE = 3 * MIB, 0
    with scratch(tmp_path, need=2 * MIB) as one:
        (one / "frames").write_bytes(bytes(2 * MIB))
        with pytest.raises(StorageFull, match="AMPARO_SCRATCH_LIMIT"), scratch(tmp_path, need=2 * MIB):
            pass
    with scratch(tmp_path, need=2 * MIB):
        pass
    settings.SCRATCH_LIMIT = 2**40
    with pytest.raises(StorageFull, match="reserve"):
        require_scratch(9 * MIB, tiny)


def test_what_a_dead_process_left_in_scratch_goes_and_what_a_living_one_uses_stays(tmp_path: Path):
    code = (
        "import os, sys; from pathlib import Path; import django; from django.conf import settings;"
        "settings.configure(SCRATCH_LIMIT=2**40, RESERVE=0); from archive.vault.scratch import scratch\n"
        f"with scratch(Path({str(tmp_path)!r})) as folder:\n"
        "    (folder / 'plain').write_bytes(b'decrypted'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=django_settings.ROOT, check=False)
    with scratch(tmp_path) as mine:
        assert len(list(tmp_path.iterdir())) == 2
        assert empty_scratch(tmp_path) == 1
        assert list(tmp_path.iterdir()) == [mine]
