"""`manage.py triage simulate`: a folder of class folders becomes a screening task, and its figures a page of text."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from archive.errors import BadInput, ModelUnavailable
from triage import embedding, simulation


def simulate(
    *,
    dataset: Path,
    positive: str,
    seeds: int,
    examples: int,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[str, Any]:
    """Replay a review of the files under `dataset`; those in its folder `positive` are the relevant ones.

    Raises BadInput for a folder that is no such task, ModelUnavailable where no embedder's weights are installed.
    """
    if not (dataset / positive).is_dir():
        raise BadInput(
            f"{dataset} has no folder {positive!r}. Name the class folder that holds the relevant items."
        )
    if seeds < 1 or examples < 0:
        raise BadInput("At least 1 seed, and no fewer than 0 examples.")
    embedders = embedding.installed()
    if not embedders:
        names = " ".join(e.weights for e in embedding.EMBEDDERS)
        raise ModelUnavailable(f"No embedder's weights are installed. Run: manage.py models pull {names}")
    paths = sorted(p for p in dataset.glob("*/**/*") if p.is_file())
    found = embedding.embed_files(
        paths,
        embedders=embedders,
        weights=Path(settings.MODELS_DIR),
        cache=settings.DATA_DIR / "cache" / "embeddings",
        progress=progress,
    )
    labels = np.array([paths[i].is_relative_to(dataset / positive) for i in found.kept], bool)
    try:
        told = simulation.run(found.blocks, labels, seeds=seeds, examples=examples)
    except ValueError as error:
        raise BadInput(f"{dataset}: {error}.") from error
    return {"dataset": str(dataset), "positive": positive, "unread": len(found.unread), **told}


def text(told: dict[str, Any]) -> str:
    """The figures as a page for people."""
    lines = [
        f"{told['relevant']} relevant of {told['items']} items, {told['seeds']} seeds, {told['examples']} examples; "
        f"embedders: {', '.join(told['embedders'])}",
    ]
    if told["unread"]:
        lines.append(f"{told['unread']} files could not be read as pictures and are left out")
    lines.append("\nWSS@95, and recall after a share of the queue")
    for order in told["orders"]:
        recall = "  ".join(f"{float(e):.0%} {r['mean']:.2f}" for e, r in order["recall"].items())
        wss = order["wss95"]
        lines.append(f"  {order['name']:38} {wss['mean']:.3f} (sd {wss['sd']:.3f})  {recall}")
    lines.append(f"  {'random order':38} {told['random']['mean']:.3f} (sd {told['random']['sd']:.3f})")
    fit = told["calibration"]
    lines.append(
        f"\nCalibration after {fit['decisions']} decisions, on a held-out 30 % ({fit['seeds']} seeds)"
    )
    if fit["seeds"]:
        for words, end in (("calibrated", ""), ("as it is", "_raw")):
            lines.append(
                f"  {words:12} ECE {fit['ece' + end]['mean']:.3f}  Brier skill {fit['skill' + end]['mean']:.3f}"
            )
    else:
        lines.append("  too few relevant items to measure it")
    lines.append("\n95 % interval of recall so far, by a random sample of the unseen (100 runs)")
    for row in told["intervals"]:
        lines.append(
            f"  recall {row['recall']:.2f}, sample {row['sample']:.0%}: covered {row['coverage']:.2f}, "
            f"width {row['width']:.2f}"
        )
    return "\n".join(lines)


def as_json(told: dict[str, Any]) -> str:
    """The same, for programs."""
    return json.dumps(told, indent=1, sort_keys=True)
