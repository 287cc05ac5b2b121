"""A trained clip classifier as a file: plain arrays (safetensors) and a card that says what they are and how well they did.

    FILE        the arrays, with the card in their header: classes, features, data set's SHA-256, seed, measured error
    FILE.json   the same card with the file's SHA-256, for people

Nothing in such a file can run. What a header says is checked before it is believed, since a file may come from elsewhere.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from archive.errors import BadInput, ModelUnavailable
from triage import clips, registry
from triage.registry import ModelEntry

FORMAT = "amparo-clips-1"
FEATURES = "mobilenet-v1-embedding"
MOST_BYTES = 64 << 20
_NAME = re.compile(r"\w[\w .,:()-]{0,59}\Z")


@dataclass(frozen=True)
class Card:
    """What a trained classifier is. `ordinary`: the class that is never suggested, if there is one."""

    classes: tuple[str, ...]
    ordinary: str
    features_sha256: str
    dataset_sha256: str
    labelled: Mapping[str, int]  # clips by class
    seed: int
    measured: Mapping[str, Any] = field(default_factory=dict)
    step_ms: int = clips.STEP_MS
    window: int = clips.WINDOW

    @property
    def ordinary_class(self) -> int | None:
        return self.classes.index(self.ordinary) if self.ordinary else None


def save(path: Path, weights: clips.Weights, card: Card) -> str:
    """Write both files, each whole or not at all. Returns the SHA-256 of the first."""
    from safetensors.numpy import save as packed

    data = packed(dict(weights.arrays), metadata={FORMAT: json.dumps(asdict(card), sort_keys=True)})
    digest = hashlib.sha256(data).hexdigest()
    beside = {"sha256": digest, "size": len(data), **asdict(card)}
    write(path, data)
    write(path.with_name(path.name + ".json"), (json.dumps(beside, indent=1, sort_keys=True) + "\n").encode())
    return digest


def read(path: Path) -> tuple[clips.Weights, Card]:
    """What is in a file. Raises ModelUnavailable for anything that is no clip classifier of this kind."""
    from safetensors import SafetensorError, safe_open

    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is larger than 64 MiB")
        with safe_open(path, framework="numpy") as held:
            untrusted = json.loads((held.metadata() or {})[FORMAT])
            weights = clips.Weights({name: held.get_tensor(name) for name in held.keys()})  # noqa: SIM118  no mapping
        width, _, number = weights.shape
        card = _card(untrusted)
        if number != len(card.classes):
            raise ValueError("it has another number of classes than names")
        if (card.step_ms, card.window) != (clips.STEP_MS, clips.WINDOW):
            raise ValueError("it was trained for other windows than these")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelUnavailable(
            f"{path.name} is no clip classifier that can be used here: {error}."
        ) from error
    return weights, card


def entry_of(path: Path) -> ModelEntry:
    """The model as it is registered. Raises ModelUnavailable."""
    _, card = read(path)
    data = path.read_bytes()
    return registry.trained_entry(
        classes=card.classes,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        title=f"Activities in clips, trained here: {', '.join(card.classes)}",
    )


def register(path: Path, root: Path) -> ModelEntry:
    """Install a trained classifier in place of the one before. Raises BadInput, ModelUnavailable; then that one stays."""
    entry, (_, card) = entry_of(path), read(path)
    if card.features_sha256 != registry.get(FEATURES).sha256:
        raise BadInput(f"{path.name} was trained on other features than those of {FEATURES}. Train it again.")
    home = root / entry.name
    home.mkdir(parents=True, exist_ok=True)
    # the card last: until it is there, the file beside it is not the registered one and is not opened
    write(home / entry.files[0].name, path.read_bytes())
    write(home / registry.CARD, json.dumps(registry.as_card(entry), indent=1).encode())
    return entry


def _card(untrusted: dict[str, Any]) -> Card:
    card = Card(**{**untrusted, "classes": tuple(untrusted["classes"])})
    names_are_names = all(isinstance(name, str) and _NAME.match(name) for name in card.classes)
    if not names_are_names or len(set(card.classes)) != len(card.classes) or len(card.classes) < 2:
        raise ValueError("its classes have no plain names of up to 60 characters")
    if card.ordinary and card.ordinary not in card.classes:
        raise ValueError("its ordinary class is none of its classes")
    return card


def write(path: Path, data: bytes) -> None:
    """Write a file that nobody changes, whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".incoming-", delete=False) as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    os.chmod(out.name, 0o444)
    os.replace(out.name, path)
