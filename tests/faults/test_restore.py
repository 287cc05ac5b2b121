"""Killed before each of its durable steps, the repair of a damaged file loses neither the bad bytes nor the good ones."""

import itertools
from pathlib import Path

import pytest

from tests.home import Home

pytestmark = [pytest.mark.fault, pytest.mark.embedded]
HERE = "tests.faults.test_restore"


@pytest.fixture(scope="module")
def damaged(prepared, tmp_path_factory):
    """An instance with one original whose bytes in the vault are damaged, and a good second copy."""
    from tests import cast

    folder = tmp_path_factory.mktemp("restore")
    photo = folder / "photo.jpg"
    photo.write_bytes(cast.jpeg(seed=8))
    home = prepared.fresh(folder / "home")
    assert home.manage("ingest", photo, "--case", "A1").status == 0
    assert home.call(HERE, "set_up").status == 0
    yield home
    home.drop()


def test_restoring_survives_a_kill_before_each_durable_step(damaged: Home, tmp_path: Path):
    """Whatever step was the last, the next run ends well: good in the vault, the bad bytes kept, each told once."""
    killed = 0
    for step in itertools.count(1):
        home = damaged.fresh(tmp_path / f"home{step}")
        ended = home.call(HERE, "restore", kill_before=step)
        again = home.call(HERE, "restore").answer
        assert again in ("restored", "good"), again
        home.call("archive.vault", "clean")
        found = home.call(HERE, "found").answer
        assert found == {
            "fixity": "good",
            "set_aside": "",
            "quarantine": ["bad bytes"],
            "item.quarantined": 1,
            "item.restored": ["second copy"],
            "system.fixity_failed": 1,
            "faults": [],
        }, f"killed before step {step}"
        home.drop()
        if not ended.killed:
            break
        killed += 1
    assert killed > 6, "events, move, folders, bytes, name and COMMIT were not all seen"


# --- inside the instance ----------------------------------------------------------------------------------------------


def set_up() -> None:
    """Copy the original to the second place, then damage it in the vault."""
    from archive import copies
    from archive.custody import Actor

    _use_second_copy()
    copies.set_up()
    copies.copy_missing(actor=Actor.operator())
    path = _path()
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:200] + b"damaged" + data[207:])


def restore() -> str:
    """The verb under test."""
    from archive import copies
    from archive.custody import Actor
    from archive.models import Item

    _use_second_copy()
    return str(copies.restore(Item.objects.get().sha256, actor=Actor.operator()).outcome)


def found() -> dict:
    """What must hold afterwards."""
    import json

    from django.conf import settings

    from archive.models import Blob, CustodyEvent, Item
    from tests.faults import sound

    def told(kind: str) -> list[dict]:
        rows = CustodyEvent.objects.filter(type=kind)
        return [json.loads(bytes(row.canonical))["payload"] for row in rows]

    blob = Blob.objects.get(pk=Item.objects.get().sha256)
    aside = list((settings.VAULT_DIR / "quarantine").iterdir())
    return {
        "fixity": blob.fixity,
        "set_aside": blob.set_aside,
        "quarantine": ["bad bytes" if b"damaged" in path.read_bytes() else path.name for path in aside],
        "item.quarantined": len(told("item.quarantined")),
        "item.restored": [payload["from"] for payload in told("item.restored")],
        "system.fixity_failed": len(told("system.fixity_failed")),
        "faults": sound.facts()["faults"],
    }


def _use_second_copy() -> None:
    from django.conf import settings

    settings.SECOND_COPY = str(settings.DATA_DIR / "second")


def _path() -> Path:
    from archive import vault
    from archive.models import Item

    held = vault.default_vault()
    return held.storage.path(held.name_of(Item.objects.get().sha256))
