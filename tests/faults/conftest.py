"""One launcher for all fault tests of a process, and one instance that they copy."""

import pytest

from tests import cast
from tests.home import Home, Launcher


@pytest.fixture(scope="session")
def launcher():
    process = Launcher()
    yield process
    process.close()


@pytest.fixture(scope="session")
def prepared(launcher, tmp_path_factory):
    """An instance with one open case and an empty vault."""
    home = Home.prepared(launcher, tmp_path_factory.mktemp("faults") / "home")
    assert home.manage("case", "open", "A1", "--title", "River").status == 0
    assert home.call("archive.vault", "clean").status == 0  # the vault itself is made once, not in every copy
    yield home
    home.drop()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(cast.jpeg(480, 320, seed=7))
    return path
