"""Every test run has an instance folder of its own; no test touches ./instance.

Tests find the cast in tests/cast.py and the database's owner in tests/superuser.py.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management.color import no_style
from django.db import connection
from django.test import TransactionTestCase
from PIL import Image

from tests.home import move_settings

ROOT = Path(__file__).resolve().parent.parent
OPENER = Image.open


def pytest_configure(config: pytest.Config) -> None:
    """Before any connection is opened: a folder, keys, and a database file that threads and processes can share."""
    folder = Path(tempfile.mkdtemp(prefix="amparo-tests-")).resolve()
    folder.chmod(0o700)
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    for name, value in move_settings(folder).items():
        setattr(settings, name, value)
    os.environ["AMPARO_DATA"] = str(folder)
    os.environ["YOLO_CONFIG_DIR"] = str(folder / "scratch" / "ultralytics")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    settings.WHITENOISE_AUTOREFRESH = True
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = str(folder / "test.sqlite3")
    from config import instance

    instance.create()


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    """What outlives a test's database, or its module: the last signed checkpoint, and Pillow's own opener, which
    ultralytics replaces in the whole process by one that wants to install packages."""
    settings.LAST_CHECKPOINT_FILE.unlink(missing_ok=True)
    yield
    settings.LAST_CHECKPOINT_FILE.unlink(missing_ok=True)  # a module's own fixtures come before this one
    Image.open = OPENER


@pytest.fixture
def instance(settings, tmp_path: Path) -> Path:
    """A fresh instance folder with its own keys and an empty vault, for tests that look at files on disk."""
    from config import instance

    folder = tmp_path / "instance"
    for name, value in move_settings(folder).items():
        setattr(settings, name, value)
    instance.create()
    return folder


def _empty_tables(self: TransactionTestCase) -> None:
    """Empty the tables after a transactional test. Only the database's owner can, so the harness acts as one.

    What every instance has after its migrations stays: to make it anew after each test took most of the time.
    """
    from tests.superuser import superuser

    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    filled = [name for name in names if name not in STAYS]
    with superuser(replica=True) as hand:
        if connection.vendor == "postgresql":  # where TRUNCATE costs more than there is to delete
            hand.cursor.execute("; ".join(f'DELETE FROM "{name}"' for name in filled))
        else:
            connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), filled))


STAYS = {"django_migrations", "django_content_type", "auth_permission", "auth_group"}
TransactionTestCase._fixture_teardown = _empty_tables
