"""`manage.py models register-captioner` and `promote`: a mirrored captioner is pinned by hash, then tried before it runs.

Its files are copied to MODELS/caption-NAME, with a card.json beside them that says what is registered. It is a candidate; a
person promotes it, after which the model process opens it beside the other models.
"""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

from archive.errors import BadInput, ModelUnavailable
from triage import analysers, captions, registry, trained
from triage.registry import ModelEntry
from triage.runtimes.process import Limits, ModelProcess, Work

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}\Z")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z", re.ASCII)


def register(folder: Path, *, name: str, language: str, licence: str, source: str, root: Path) -> ModelEntry:
    """Copy a mirrored captioner in as a candidate, in place of the one of that name.

    Raises BadInput for what is none and while a person has that one in use, StorageFull, ModelUnavailable.
    """
    if not _NAME.match(name):
        raise BadInput("A name is 1 to 30 small letters, digits and hyphens, such as vit-gpt2.")
    if not _LANGUAGE.match(language):
        raise BadInput("Say the language that it writes as BCP 47 does, such as en or ar.")
    if not licence.strip() or not source.strip():
        raise BadInput("Say under which licence its weights are, and from where they come.")
    full = registry.CAPTION + name
    before = registry.trained(root).get(full)
    if before and before.stage == registry.IN_USE:
        raise BadInput(
            f"{full} is in use. Give the new one another name, or first run: manage.py models retire {full}"
        )
    try:
        look = captions.check(folder)
    except captions.NoCaptioner as error:
        raise BadInput(f"This is no captioner that can run here: {error}. Nothing was registered.") from error
    entry = registry.captioner_entry(
        name=full,
        title=f"Captioner: {name}",
        language=language,
        source=source.strip(),
        licence=licence.strip(),
        input_size=look.side,
        stage=registry.CANDIDATE,
        files=[registry.pinned(folder / file) for file in captions.FILES],
    )
    registry.install_from(folder, entry, root)
    keep(entry, root)
    return entry


def keep(entry: ModelEntry, root: Path) -> None:
    """Write down what is registered."""
    trained.write(root / entry.name / registry.CARD, json.dumps(registry.as_card(entry), indent=1).encode())


def stage(entry: ModelEntry, wanted: str, root: Path) -> ModelEntry:
    """Promote a candidate once it was tried, or retire it. Raises BadInput, ModelUnavailable; then nothing changed."""
    if entry.stage == wanted:
        raise BadInput(f"{entry.name} is {wanted} already.")
    if wanted == registry.IN_USE:
        if faults := registry.faults(entry, root):
            raise BadInput(f"{' '.join(faults)} Register {entry.name} again.")
        _try(entry, root)
    entry = replace(entry, stage=wanted)
    keep(entry, root)
    return entry


def _try(entry: ModelEntry, root: Path) -> None:
    """Let it look at a plain picture in the model process, beside all that runs there."""
    from PIL import Image

    kept = io.BytesIO()
    Image.new("RGB", (640, 480), (120, 120, 120)).save(kept, "PNG")
    limits, data = Limits(), kept.getvalue()
    work = Work("trial", "image", len(data), lambda: io.BytesIO(data))
    try:
        chosen = analysers.plan([*registry.in_use(root), entry])
        with ModelProcess(chosen, weights=root, limits=limits) as process:
            (outcome,) = process.look([work])
            memory = process.memory >> 20
    except ModelUnavailable as error:
        raise BadInput(
            f"{entry.name} could not be opened in the model process: its networks are not as docs/triage.md (Captions) "
            "says, or too large for it. It stays a candidate."
        ) from error
    if not outcome.looked:
        raise BadInput(f"{entry.name} cannot be used here: {outcome.sentence} It stays a candidate.")
    if memory > limits.soft_memory_mb:
        raise BadInput(
            f"With {entry.name} the model process holds {memory} MiB, and {limits.soft_memory_mb} are its share. Take it "
            "in 8 bits (docs/triage.md, Captions). It stays a candidate."
        )
