"""`manage.py triage train-clips`: labelled clips become a classifier, and its error is measured on people it has not seen."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from archive.errors import BadInput
from archive.models import Case, Item
from triage import clips, questions, registry, trained
from triage.clips import Clip
from triage.models import Analysis, Vector

Progress = Callable[[str, int, int], None]
OTHER = "other"
NO_SOURCE = "no source"  # the group of those whose source is unknown


@dataclass(frozen=True)
class Labelled:
    """Clips to learn from, the names of their classes, and one hash over all of them with their labels."""

    clips: list[Clip]
    classes: tuple[str, ...]
    sha256: str


def from_folder(dataset: Path, *, progress: Progress) -> Labelled:
    """The clips in a folder of folders named `GROUP_CLASS`, or `CLASS` alone. They are decoded here: a folder that you trust.

    Raises BadInput for a folder that is none, ModelUnavailable where the features' weights are not installed.
    """
    from triage.runtimes.base import Runtime
    from triage.runtimes.decode import Sampling, Undecodable, video

    paths = sorted(path for path in dataset.glob("*/*") if path.is_file())
    named = [_named(path.parent.name) for path in paths]
    classes = tuple(sorted({label for _, label in named}))
    found, lines = [], []
    with tempfile.TemporaryDirectory(prefix="amparo-training-") as scratch:
        runtime = Runtime(Path(settings.MODELS_DIR), scratch=Path(scratch))
        try:
            net = runtime.load(registry.get(trained.FEATURES))
            for done, (path, (group, label)) in enumerate(zip(paths, named, strict=True), 1):
                with path.open("rb") as stream:
                    lines.append(
                        f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {path.relative_to(dataset)}"
                    )
                    stream.seek(0)
                    try:
                        looks = [(at, net(pixels).hidden) for at, pixels in video(stream, Sampling())]
                    except Undecodable as error:
                        raise BadInput(f"{path} is no clip that can be decoded ({error.code}).") from error
                rows = np.stack([row for _, row in looks if row is not None])
                found.append(Clip([at for at, _ in looks], rows, classes.index(label), group))
                progress(path.name, done, len(paths))
        finally:
            runtime.close()
    return Labelled(found, classes, hashlib.sha256("\n".join(lines).encode()).hexdigest())


def from_case(case: Case, number: int) -> Labelled:
    """The videos of a case that people answered a question about, by the vectors that were stored of them.

    A video belongs to its source: that is left out at a time. Raises BadInput where no question has the number.
    """
    question = questions.numbered(case, number)
    said = questions.labels(question)
    classes = (OTHER, f"question {question.number}")
    found, lines = [], []
    videos = Item.objects.filter(pk__in=list(said), kind=Item.Kind.VIDEO).held()
    for item in videos.select_related("source").order_by("number"):
        looks = _looks(item)
        if looks:
            at_ms, rows = looks
            lines.append(f"{item.sha256}  {said[item.pk]}")
            group = item.source.code if item.source else NO_SOURCE
            found.append(Clip(at_ms, rows, int(said[item.pk]), group))
    return Labelled(found, classes, hashlib.sha256("\n".join(lines).encode()).hexdigest())


def _looks(item: Item) -> tuple[list[int], Any] | None:
    """The stored vectors of an item's frames, by the network that the classifier looks through."""
    analysis = (
        Analysis.objects.filter(
            item=item, weights_sha256=registry.get(trained.FEATURES).sha256, task=Analysis.Task.EMBED
        )
        .order_by("-finished_at")
        .first()
    )
    rows = (
        list(Vector.objects.filter(analysis=analysis, whole=False).values_list("at_ms", "values"))
        if analysis
        else []
    )
    if len(rows) < 2:
        return None
    return [at for at, _ in rows], np.stack([np.frombuffer(bytes(values), "<f2") for _, values in rows])


def train(
    labelled: Labelled, *, out: Path, ordinary: str, leave_out: str, seed: int, progress: Progress
) -> dict[str, Any]:
    """Train, measure and write. With `leave_out` that group is only measured on, else each in turn is, and all are learned from.

    Raises BadInput where there is not enough to learn from or to measure on; then nothing is written.
    """
    if ordinary and ordinary not in labelled.classes:
        raise BadInput(f"There is no class {ordinary!r}. There are: {', '.join(labelled.classes)}.")
    groups = sorted({clip.group for clip in labelled.clips})
    if leave_out and leave_out not in groups:
        raise BadInput(f"There is no group {leave_out!r}. There are: {', '.join(groups)}.")
    usual = labelled.classes.index(ordinary) if ordinary else None
    options: dict[str, Any] = {"classes": len(labelled.classes), "seed": seed, "ordinary": usual}
    measured = []
    try:
        for done, group in enumerate([leave_out] if leave_out else groups if len(groups) > 1 else [], 1):
            rest = [clip for clip in labelled.clips if clip.group != group]
            weights = clips.train(rest, **options)
            measured.append(_measure(weights, usual, group, labelled))
            progress(f"without {group}", done, 1 if leave_out else len(groups))
        if not leave_out:
            weights = clips.train(labelled.clips, **options)
    except (ValueError, IndexError) as error:
        raise BadInput(
            "There are not enough labelled clips: each class needs one, in what is left without a group too. "
            "Nothing was written."
        ) from error
    card = trained.Card(
        classes=labelled.classes,
        ordinary=ordinary,
        features_sha256=registry.get(trained.FEATURES).sha256,
        dataset_sha256=labelled.sha256,
        labelled=dict(sorted(Counter(labelled.classes[clip.label] for clip in labelled.clips).items())),
        seed=seed,
        measured=_summed(measured, labelled, leave_out),
    )
    return {"file": str(out), "sha256": trained.save(out, weights, card), **card.__dict__}


def _measure(weights: clips.Weights, ordinary: int | None, group: str, labelled: Labelled) -> dict[str, Any]:
    """How a network does on the clips of a group."""
    classifier = clips.Classifier(weights, ordinary)
    told = [
        (
            labelled.classes[clip.label],
            labelled.classes[int(classifier.clip(clip.at_ms, clip.vectors).argmax())],
        )
        for clip in labelled.clips
        if clip.group == group
    ]
    return {
        "group": group,
        "told": [list(pair) for pair in told],
        **_rate([is_ == said for is_, said in told]),
    }


def _summed(measured: list[dict[str, Any]], labelled: Labelled, leave_out: str) -> dict[str, Any]:
    told = [pair for one in measured for pair in one["told"]]
    if not told:
        return {"how": "not measured: the clips belong to one group"}
    return {
        "how": f"on {leave_out}, which was left out" if leave_out else "each group left out in turn",
        **_rate([is_ == said for is_, said in told]),
        "classes": {
            name: _rate([said == name for is_, said in told if is_ == name])
            for name in labelled.classes
            if any(is_ == name for is_, _ in told)
        },
        "groups": [{k: v for k, v in one.items() if k != "told"} for one in measured],
    }


def _rate(right: Sequence[bool]) -> dict[str, Any]:
    """Share of right ones, with its exact 95 % interval, as text."""
    low, high = interval(sum(right), len(right))
    return {
        "right": sum(right),
        "of": len(right),
        "accuracy": f"{sum(right) / len(right):.3f}",
        "interval": [f"{low:.3f}", f"{high:.3f}"],
    }


def interval(hits: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Exact bounds of a share (Clopper and Pearson 1934): the shares under which neither tail has less than half the rest."""
    half = (1 - level) / 2

    def at_most(count: int, share: float) -> float:
        return sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count + 1))

    def bisect(count: int, tail: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if at_most(count, middle) > tail else (low, middle)
        return low

    return (bisect(hits - 1, 1 - half) if hits else 0.0), (bisect(hits, half) if hits < of else 1.0)


def _named(folder: str) -> tuple[str, str]:
    """Group and class out of a folder's name: what stands before the first underscore is the group."""
    group, underscore, label = folder.partition("_")
    return (group, label) if underscore and label else ("", folder)


def text(told: dict[str, Any]) -> Iterator[str]:
    """What came of it, for people."""
    yield f"{told['file']}  SHA-256 {told['sha256']}"
    yield f"classes: {', '.join(f'{name} {number}' for name, number in told['labelled'].items())}; seed {told['seed']}"
    yield f"data set SHA-256 {told['dataset_sha256']}"
    measured = told["measured"]
    if "of" not in measured:
        yield measured["how"]
        return
    yield f"accuracy by clip, {measured['how']} (exact 95 % interval)"
    for one in measured["groups"]:
        yield f"  {one['group']:12} {_line(one)}"
    yield f"  {'all':12} {_line(measured)}"
    for name, one in measured["classes"].items():
        yield f"  of {name:9} {_line(one)}"
    yield "To run it here: manage.py models register FILE"


def _line(rate: dict[str, Any]) -> str:
    low, high = rate["interval"]
    return f"{rate['right']} of {rate['of']}  {rate['accuracy']} ({low} to {high})"
