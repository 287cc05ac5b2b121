"""Items that models have looked at, without a file or a model: analyses with the vectors and boxes that a test gives."""

import hashlib
from decimal import Decimal
from uuid import uuid4

import numpy as np
from django.db import transaction
from django.utils import timezone

from archive.custody.log import recording
from archive.models import Blob, Case, Item
from triage import standing
from triage.models import Analysis, Detection, Vector

EMBEDDER = "mobilenet-v1"


def items(case: Case, count: int) -> list[Item]:
    """Rows of items that nothing is held of: for tests of an order alone."""
    now, first = timezone.now(), case.items.count() + 1
    blobs = [Blob(sha256=uuid4().hex * 2, size=1, stored_at=now) for _ in range(count)]
    made = [
        Item(case=case, number=n, blob=blob, size=1, received_at=now, file_name="a.jpg", kind="image")
        for n, blob in enumerate(blobs, first)
    ]
    with recording(), transaction.atomic():
        Blob.objects.bulk_create(blobs)
        return Item.objects.bulk_create(made)


def at(item: Item, vector=None, labels=(), *, embedder: str = EMBEDDER, recipe: str = "") -> Item:
    """As if an embedder had made this vector of it, and a detector had seen one of each of `labels`."""
    _looked([(item, vector)], embedder, recipe)
    seen = Analysis.objects.get(item=item, task="detect")
    Detection.objects.bulk_create(
        Detection(analysis=seen, at_ms=0, label=label, confidence=Decimal("0.9"), x=0, y=0, width=0, height=0)
        for label in labels
    )
    standing.place(item)
    return item


def two_kinds(case: Case, count: int, *, seed: int = 0, yes_every: int = 5) -> list[Item]:
    """Items of two kinds whose vectors lie apart: every `yes_every`th is of the first kind."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(2, 16))
    return with_vectors(
        case, [middle[int(n % yes_every > 0)] + 0.6 * rng.normal(size=16) for n in range(count)]
    )


def with_vectors(case: Case, vectors) -> list[Item]:
    """Items of which an embedder made these vectors."""
    made = items(case, len(vectors))
    _looked(zip(made, vectors, strict=True), EMBEDDER, "")
    standing.rebuild(case)
    return made


def _looked(pairs, embedder: str, recipe: str) -> None:
    analyses, vectors = [], []
    for item, vector in pairs:
        analyses.append(analysis(item, "detect", "yolo", "yolo"))
        if vector is not None:
            analyses.append(analysis(item, "embed", embedder, recipe or embedder))
            values = np.asarray(vector / np.linalg.norm(vector), "<f2").tobytes()
            vectors.append(Vector(analysis=analyses[-1], at_ms=0, values=values, whole=True))
    with recording(), transaction.atomic():
        Analysis.objects.bulk_create(analyses)
    Vector.objects.bulk_create(vectors)


def analysis(item: Item, task: str, analyser: str, recipe: str) -> Analysis:
    """An analysis that was not stored yet."""
    now = timezone.now()
    return Analysis(
        item=item,
        task=task,
        analyser=analyser,
        version=1,
        model=analyser,
        recipe=hashlib.sha256(recipe.encode()).hexdigest(),
        started_at=now,
        finished_at=now,
        frames=1,
        looked_at_ms=[0],
        found=1,
        result_sha256="0" * 64,
    )
