"""A trained indicator as a file: plain arrays (safetensors) and a card that says what they are and how often they are wrong.

    MODELS/indicator-NAME/indicator.safetensors    the arrays, with the card in their header
    MODELS/indicator-NAME/card.json                what is registered: hash, size, stage, label, measured error

Nothing in such a file can run. It is registered as a candidate; it runs once a person has promoted it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from archive.errors import BadInput, ModelUnavailable
from triage import indicators, registry, trained
from triage.indicator_model import TOLD_FROM, Classifier
from triage.registry import ModelEntry

FORMAT = "amparo-indicator-1"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}\Z")


@dataclass(frozen=True)
class Card:
    """What a trained indicator is. `measured`: text by name, as it is shown beside all that it says."""

    name: str
    positive: str
    features: Mapping[str, str]  # SHA-256 of the weights behind each block
    dataset_sha256: str
    seed: int
    measured: Mapping[str, str]


def label(name: str) -> str:
    """The tag that it gives."""
    return indicators.MAY_BE + name


def check_name(name: str) -> None:
    """Raises BadInput for a name that cannot be one."""
    if not _NAME.match(name):
        raise BadInput("A name is 1 to 30 small letters, digits and hyphens, such as spliced.")


def install(classifier: Classifier, card: Card, root: Path) -> ModelEntry:
    """Write it as a candidate, in place of the one of that name. Raises BadInput while a person has that one in use."""
    from safetensors.numpy import save as packed

    check_name(card.name)
    name = registry.INDICATOR + card.name
    before = registry.trained(root).get(name)
    if before and before.stage == registry.IN_USE:
        raise BadInput(
            f"{name} is in use. Give the new one another name, or first run: manage.py models retire {name}"
        )
    data = packed(dict(classifier.arrays), metadata={FORMAT: json.dumps(asdict(card), sort_keys=True)})
    entry = registry.indicator_entry(
        name=name,
        label=label(card.name),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        title=f"Indicator trained here: may be {card.name}",
        stage=registry.CANDIDATE,
        threshold=f"{TOLD_FROM:.2f}",
        measured=dict(card.measured),
    )
    home = root / name
    home.mkdir(parents=True, exist_ok=True)
    trained.write(home / entry.files[0].name, data)
    _register(entry, root)
    return entry


def stage(name: str, wanted: str, root: Path) -> ModelEntry:
    """Promote a candidate, or retire it. Raises BadInput for a model that was not trained here."""
    entry = registry.trained(root).get(name)
    if entry is None or entry.family != registry.TRAINED_INDICATOR:
        known = ", ".join(
            n for n, e in registry.trained(root).items() if e.family == registry.TRAINED_INDICATOR
        )
        raise BadInput(f"There is no trained indicator {name!r}. There are: {known or 'none'}.")
    if entry.stage == wanted:
        raise BadInput(f"{name} is {wanted} already.")
    if wanted == registry.IN_USE and registry.faults(entry, root):
        raise BadInput(f"The file of {name} is not the registered one. Train it again.")
    entry = replace(entry, stage=wanted)
    _register(entry, root)
    return entry


def read(path: Path) -> tuple[Classifier, Card]:
    """What is in a file. Raises ModelUnavailable for anything that is no indicator of this kind."""
    from safetensors import SafetensorError, safe_open

    try:
        if path.stat().st_size > trained.MOST_BYTES:
            raise ValueError("it is larger than 64 MiB")
        with safe_open(path, framework="numpy") as held:
            untrusted: dict[str, Any] = json.loads((held.metadata() or {})[FORMAT])
            arrays = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118  no mapping
        return Classifier(arrays), Card(**untrusted)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelUnavailable(f"{path.name} is no indicator that can be used here: {error}.") from error


def _register(entry: ModelEntry, root: Path) -> None:
    trained.write(root / entry.name / registry.CARD, json.dumps(registry.as_card(entry), indent=1).encode())
