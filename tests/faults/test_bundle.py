"""Killed before any of its durable steps, an export leaves no half bundle under its name, and nothing doubled."""

import hashlib
import itertools
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

# Every kill point starts a process anew, and what is killed is the writing of files: once is enough.
pytestmark = [pytest.mark.fault, pytest.mark.embedded, pytest.mark.timeout(900)]
HERE, SOUND = "tests.faults.test_bundle", "tests.faults.sound"


@pytest.fixture(scope="module")
def with_photo(prepared, tmp_path_factory):
    """An instance that holds one photograph."""
    from tests import cast

    folder = tmp_path_factory.mktemp("bundle")
    (folder / "photo.jpg").write_bytes(cast.jpeg(96, 64, seed=7))
    home = prepared.fresh(folder / "home")
    assert home.manage("ingest", folder / "photo.jpg", "--case", "A1").status == 0
    assert home.manage("custody", "sequence").status == 0
    yield home
    home.drop()


def test_export_survives_a_kill_before_each_durable_step(with_photo, tmp_path):
    """What lies under the bundle's name is whole; what was taken out is in the log; it goes on, and says so once."""
    home = with_photo.fresh(tmp_path / "whole")
    steps = len(home.manage("bundle", "export", "--case", "A1", "--out", tmp_path / "out", count=True).steps)
    home.drop()
    assert steps >= 40
    for step in sorted({*range(1, steps, steps // 4), *range(steps - 4, steps + 2)}):
        home = with_photo.fresh(tmp_path / f"home{step}")
        out = tmp_path / f"out{step}"
        ended = home.manage("bundle", "export", "--case", "A1", "--out", out, kill_before=step)
        assert ended.killed == (step <= steps)
        left = list(tmp_path.glob(f".out{step}.*.partial"))
        if left:
            asked = home.sql("SELECT count(*) FROM archive_custodyevent WHERE type = 'bundle.requested'")
            assert asked == [(1,)], f"{left} holds originals, and the log does not know"
        if left and not out.exists() and any(f.stat().st_size for f in left[0].glob("journal")):
            again = home.manage("bundle", "export", "--resume", "--out", out)
            assert again.status == 0, again.out
        elif not out.exists():  # killed before it wrote anything
            again = home.manage("bundle", "export", "--case", "A1", "--out", out)
            assert again.status == 0, again.out
        assert verified(out)
        assert home.sql("SELECT count(*) FROM archive_custodyevent WHERE type = 'item.exported'") == [(1,)]
        assert not [f for f in tmp_path.glob(f".out{step}.*") if (f / "whole").exists()]
        assert home.call(SOUND, "recover").answer["faults"] == []
        home.drop()


def test_build_survives_a_kill_at_its_durable_steps(with_photo, tmp_path):
    """A worker that takes up what another left builds the bundle once, and says so once."""
    for step in itertools.count(1, 11):
        home = with_photo.fresh(tmp_path / f"home{step}")
        home.call(HERE, "ask")
        ended = home.call(SOUND, "run", "evidence.build", kill_before=step)
        found = home.call(SOUND, "recover", "evidence.build").answer
        assert found["faults"] == []
        for kind in ("item.exported", "bundle.built", "bundle.requested"):
            assert home.sql(f"SELECT count(*) FROM archive_custodyevent WHERE type = '{kind}'") == [(1,)], (
                kind
            )
        assert home.call(HERE, "built").answer is True
        home.drop()
        if not ended.killed:
            break
    assert step > 10


def verified(bundle, key=None):
    """Whether the standalone verifier says yes, told the key by another way than the bundle."""
    from evidence.bundle import VERIFIER

    if key is None:
        pem = (bundle / "signature" / "public-key.pem").read_bytes()
        key = hashlib.sha256(load_pem_public_key(pem).public_bytes_raw()).hexdigest()
    command = [sys.executable, "-I", VERIFIER, bundle, "--key", key]
    return subprocess.run(command, capture_output=True).returncode == 0


# --- inside the instance ----------------------------------------------------------------------------------------


def ask() -> None:
    """Ask for a bundle of everything, as a web request would."""
    from archive.custody import Actor
    from archive.models import Case
    from evidence import bundle

    bundle.request(case=Case.objects.get(), actor=Actor.operator())


def built() -> bool:
    """Whether the bundle in the vault is one that the verifier calls good."""
    import tempfile
    from pathlib import Path

    from archive import vault
    from evidence.models import BundleVolume

    volume = BundleVolume.objects.get()
    with tempfile.TemporaryDirectory() as folder, vault.open(volume.blob_id) as stored:
        file = Path(folder) / "bundle.zip"
        file.write_bytes(stored.read())
        return verified(file, volume.bundle.key)
