import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import forge as forging  # noqa: E402


@pytest.fixture
def forge():
    return forging.Forge()


@pytest.fixture
def bundle(forge, tmp_path):
    """A good bundle's folder."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    return forge.write(folder)
