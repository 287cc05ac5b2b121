"""`manage.py triage train-indicator`: labelled pictures become an indicator, and its error is measured on pictures it has not seen."""

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from archive.errors import BadInput, ModelUnavailable
from triage import embedding, indicator_model, registry, residuals, trained_indicators
from triage.analysers.indicator_trained import IndicatorTrained
from triage.management import simulating
from triage.trained_indicators import Card

Progress = Callable[[str, int, int], None]


def train(
    *, dataset: Path, positive: str, name: str, seed: int, today: date, progress: Progress
) -> dict[str, Any]:
    """Train on the pictures under `dataset`, of which those in a folder named `positive` are of the kind; measure; register as candidate.

    Pictures with the same name in different folders belong together. They are decoded here: a folder that you trust. Raises BadInput
    for a folder that is no such set, ModelUnavailable where the embedders' weights are not installed.
    """
    trained_indicators.check_name(name)
    pictures, marked, _ = simulating.labelled(dataset, positive)
    embedders = [e for e in embedding.installed() if e.weights in IndicatorTrained.needs]
    if len(embedders) < len(IndicatorTrained.needs):
        raise ModelUnavailable(
            f"Not all embedders' weights are installed. Run: manage.py models pull {' '.join(IndicatorTrained.needs)}"
        )
    cache = settings.DATA_DIR / "cache" / "embeddings"
    found = embedding.embed_files(
        [dataset / path for path in pictures],
        embedders=embedders,
        weights=Path(settings.MODELS_DIR),
        cache=cache,
        progress=progress,
    )
    names = {e.name: e.weights for e in embedders}
    blocks = {names[block]: indicator_model.unit(rows) for block, rows in found.blocks.items()}
    kept = [pictures[i] for i in found.kept]
    blocks[indicator_model.RESIDUALS] = _residuals(
        [dataset / path for path in kept], [found.digests[i] for i in found.kept], cache, progress
    )
    labels = np.array([marked[i] for i in found.kept], bool)
    groups = [path.stem for path in kept]
    try:
        measured = indicator_model.measure(blocks, labels, groups, seed)
    except ValueError as error:
        raise BadInput(f"There are not enough labelled pictures: {error}. Nothing was written.") from error
    classifier = indicator_model.train(blocks, labels, measured, seed)
    lines = sorted(f"{found.digests[i]}  {int(marked[i])}  {pictures[i]}" for i in found.kept)
    card = Card(
        name=name,
        positive=positive,
        features={weights: registry.get(weights).sha256 for weights in names.values()},
        dataset_sha256=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        seed=seed,
        measured=_measured(measured, seed, today),
    )
    entry = trained_indicators.install(classifier, card, Path(settings.MODELS_DIR))
    return {
        "model": entry.name,
        "sha256": entry.sha256,
        "stage": entry.stage,
        "unread": len(found.unread),
        **vars(card),
    }


def _residuals(paths: list[Path], digests: list[str], cache: Path, progress: Progress) -> Any:
    """Residuals of each picture, kept beside the vectors by its SHA-256."""
    from triage.runtimes import decode

    home = cache / f"residuals-{residuals.T}-{residuals.SIDE}"
    home.mkdir(parents=True, exist_ok=True)
    rows = []
    for done, (path, digest) in enumerate(zip(paths, digests, strict=True), 1):
        held = home / digest
        if not held.exists():
            incoming = held.with_name(f".incoming-{os.getpid()}")
            incoming.write_bytes(residuals.spam(decode.image(path.read_bytes())).astype("<f4").tobytes())
            incoming.replace(held)
        rows.append(np.frombuffer(held.read_bytes(), "<f4"))
        progress("residuals", done, len(paths))
    return np.stack(rows)


def _measured(measured: indicator_model.Measured, seed: int, today: date) -> dict[str, str]:
    """The error as text: what stands beside everything that the indicator says."""
    told = measured.chances >= indicator_model.TOLD_FROM
    right, wrong = told[measured.labels], told[~measured.labels]
    low, high = measured.auc_interval(seed)
    return {
        "auc": f"{measured.auc:.3f}",
        "auc_interval": f"{low:.3f} to {high:.3f}" if low < high else "no error seen: no interval",
        "found": _share(int(right.sum()), len(right)),
        "false_alarms": _share(int(wrong.sum()), len(wrong)),
        "pictures": str(len(told)),
        "groups": str(len(set(measured.groups))),
        "on": today.isoformat(),
    }


def _share(hits: int, of: int) -> str:
    """'62 of 108, 0.574 (0.475 to 0.669)': with its exact 95 % interval (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    low = beta.ppf(0.025, hits, of - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, of - hits) if hits < of else 1.0
    return f"{hits} of {of}, {hits / of:.3f} ({low:.3f} to {high:.3f})"


def text(told: dict[str, Any]) -> Iterator[str]:
    """What came of it, for people."""
    measured = told["measured"]
    yield f"{told['model']}  SHA-256 {told['sha256']}  {told['stage']}"
    yield f"{measured['pictures']} pictures in {measured['groups']} groups; data set SHA-256 {told['dataset_sha256']}"
    if told["unread"]:
        yield f"{told['unread']} pictures could not be read and were left out"
    yield f"measured on pictures left out, 5 folds by group: AUC {measured['auc']} ({measured['auc_interval']})"
    yield f"  of the kind, told so:        {measured['found']}"
    yield f"  not of the kind, told so:    {measured['false_alarms']}"
    yield "On other pictures than these it may be wrong more often. It does not run until a person says so:"
    yield f"manage.py models promote {told['model']}"
