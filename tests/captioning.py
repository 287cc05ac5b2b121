"""The captioner of tests/vectors/networks, registered as an administrator does it, and what it says of its pictures."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from triage import registry
from triage.management import captioning
from triage.registry import ModelEntry

FOLDER = Path(__file__).parent / "vectors" / "networks" / "captioner"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
SAID = {name: one["words"] for name, one in EXPECTED["said"].items()}


def registered(root: Path, folder: Path = FOLDER, name: str = "drawn") -> ModelEntry:
    """As a candidate named caption-NAME."""
    about = {"name": name, "language": "en", "licence": "AGPL-3.0-or-later", "source": "tests/vectors"}
    return captioning.register(folder, **about, root=root)


def in_use(root: Path, name: str = "drawn") -> ModelEntry:
    """Promoted without a trial, for tests that open it themselves."""
    entry = replace(registered(root, name=name), stage=registry.IN_USE)
    captioning.keep(entry, root)
    return entry
