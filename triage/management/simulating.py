"""`manage.py triage simulate`: a folder of class folders becomes a screening task, and its figures a page of text."""

import json
import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from archive.errors import BadInput, ModelUnavailable
from triage import embedding, simulation
from triage.management import peers


def simulate(
    *,
    dataset: Path,
    positive: str,
    seeds: int,
    examples: int,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[str, Any]:
    """Replay a review of the pictures under `dataset`; those in a folder named `positive`, at any depth, are relevant.

    `positive` may also be a path within it. Hidden files are no items, and videos are counted but not looked at. Raises
    BadInput for a folder that is no such task, ModelUnavailable where no embedder's weights are installed.
    """
    if seeds < 1 or examples < 0:
        raise BadInput("At least 1 seed, and no fewer than 0 examples.")
    pictures, marked, videos = labelled(dataset, positive)
    embedders = embedding.installed()
    if not embedders:
        names = " ".join(e.weights for e in embedding.EMBEDDERS)
        raise ModelUnavailable(f"No embedder's weights are installed. Run: manage.py models pull {names}")
    try:
        found = embedding.embed_files(
            [dataset / path for path in pictures],
            embedders=embedders,
            weights=Path(settings.MODELS_DIR),
            cache=settings.DATA_DIR / "cache" / "embeddings",
            progress=progress,
        )
    except OSError as error:
        raise BadInput(f"{error.filename or dataset} cannot be read or written: {error.strerror}.") from error
    labels = np.array([marked[i] for i in found.kept], bool)
    try:
        told = simulation.run(found.blocks, labels, seeds=seeds, examples=examples)
    except ValueError as error:
        raise BadInput(f"{dataset}, {len(labels)} pictures, {labels.sum()} relevant: {error}.") from error
    peer = peers.asreview(
        simulation.learners(found.blocks)[0].features, labels, seeds=seeds, examples=examples
    )
    if peer.orders:
        told["orders"].append(simulation.judged(peer.name, peer.orders, labels))
    return {
        "dataset": str(dataset),
        "positive": positive,
        "unread": len(found.unread),
        "videos": videos,
        "absent": {peer.name: peer.absent} if peer.absent else {},
        **told,
    }


def labelled(dataset: Path, positive: str) -> tuple[list[Path], list[bool], int]:
    """The pictures under `dataset`, which of them lie in a folder `positive`, and how many videos there are.

    Raises BadInput for a folder that holds none.
    """
    if not dataset.is_dir():
        raise BadInput(f"There is no folder {dataset}.")
    files = [path.relative_to(dataset) for path in sorted(dataset.glob("*/**/*")) if path.is_file()]
    files = [path for path in files if not any(part.startswith(".") for part in path.parts)]
    if not any(_within(path, positive) for path in files):
        raise BadInput(
            f"{dataset} has no folder {positive!r} with files in it. Name the class folder of the relevant items."
        )
    pictures = [path for path in files if not _is_video(path)]
    return pictures, [_within(path, positive) for path in pictures], len(files) - len(pictures)


def _within(path: Path, name: str) -> bool:
    """Whether a folder of this name, or this path, is above the file."""
    wanted = Path(name).parts
    parents = path.parts[:-1]
    return bool(wanted) and (parents[: len(wanted)] == wanted or (len(wanted) == 1 and wanted[0] in parents))


def _is_video(path: Path) -> bool:
    return (mimetypes.guess_type(path.name)[0] or "").startswith("video/")


def text(told: dict[str, Any]) -> str:
    """The figures as a page for people."""
    lines = [
        f"{told['relevant']} relevant of {told['items']} items, {told['seeds']} seeds, {told['examples']} examples; "
        f"embedders: {', '.join(told['embedders'])}",
    ]
    if told["unread"]:
        lines.append(f"{told['unread']} files could not be read as pictures and are left out")
    if told["videos"]:
        lines.append(f"{told['videos']} videos are left out: only pictures are replayed")
    lines.append("\nWSS@95, and recall after a share of the queue")
    for order in told["orders"]:
        recall = "  ".join(f"{float(e):.0%} {r['mean']:.2f}" for e, r in order["recall"].items())
        wss = order["wss95"]
        lines.append(f"  {order['name']:38} {wss['mean']:6.3f} (sd {wss['sd']:.3f})  {recall}")
    lines += [f"  {name:38} {why}" for name, why in told["absent"].items()]
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
