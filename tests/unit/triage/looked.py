"""Items that models have looked at, without a model: analyses with the vectors and boxes that a test gives."""

import hashlib
from decimal import Decimal

import numpy as np
from django.utils import timezone

from archive import custody
from archive.custody import Actor
from archive.models import Item
from tests import cast
from triage import standing
from triage.models import Analysis, Detection, Vector

EMBEDDER = "mobilenet-v1"


def at(item: Item, vector=None, labels=(), *, embedder: str = EMBEDDER, recipe: str = "") -> Item:
    """As if an embedder had made this vector of it, and a detector had seen one of each of `labels`."""
    if vector is not None:
        values = np.asarray(vector, "<f2").tobytes()
        analysis = _analysis(item, "embed", embedder, recipe or hashlib.sha256(embedder.encode()).hexdigest())
        Vector.objects.create(analysis=analysis, at_ms=0, values=values, whole=True)
    analysis = _analysis(item, "detect", "yolo", hashlib.sha256(b"yolo").hexdigest())
    Detection.objects.bulk_create(
        Detection(
            analysis=analysis, at_ms=0, label=label, confidence=Decimal("0.9"), x=0, y=0, width=0, height=0
        )
        for label in labels
    )
    standing.place(item)
    return item


def _analysis(item: Item, task: str, analyser: str, recipe: str) -> Analysis:
    now = timezone.now()
    return custody.write(
        Analysis(
            item=item,
            task=task,
            analyser=analyser,
            version=1,
            model=analyser,
            recipe=recipe,
            started_at=now,
            finished_at=now,
            frames=1,
            looked_at_ms=[0],
            found=1,
            result_sha256="0" * 64,
        ),
        event="item.analysed",
        actor=Actor.system("worker"),
    )


def two_kinds(case, count: int, *, seed: int = 0, yes_every: int = 5) -> list[Item]:
    """Items of two kinds whose vectors lie apart: every `yes_every`th is of the first kind."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(2, 16))
    vectors = [middle[int(n % yes_every > 0)] + 0.6 * rng.normal(size=16) for n in range(count)]
    return [at(cast.item(case), v / np.linalg.norm(v)) for v in vectors]
