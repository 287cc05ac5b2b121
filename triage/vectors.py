"""The stored vectors of a case's items, as matrices for ranking and for likeness.

    numbers, blocks = of_case(case)        # item numbers, and {embedder: float32 matrix} with a row for each of them
    of_item(item)                          # {embedder: (times in ms, float32 matrix)}, frame by frame

Of each embedder the vectors of one recipe are given, the one that most items have: those of different recipes are never
compared. An item's row is its picture's vector, or for a video the mean of its frames', of length 1.
"""

from collections import defaultdict
from typing import TypeAlias
from uuid import UUID

import numpy as np
from django.db.models import Count, Max
from numpy.typing import NDArray

from archive.models import Case, Item
from triage.models import Analysis, Vector

Matrix: TypeAlias = NDArray[np.float32]
Numbers: TypeAlias = NDArray[np.int64]
CHUNK = 5000


def recipes(case: Case) -> dict[str, str]:
    """By embedder, the recipe that most items of the case have; of equals the newest.

    So a newer model takes over once it has looked at as many items as the one before, not with its first.
    """
    rows = (
        Analysis.objects.filter(item__case=case, task=Analysis.Task.EMBED)
        .order_by()
        .values_list("analyser", "recipe")
        .annotate(items=Count("pk"), last=Max("finished_at"))
    )
    return {analyser: recipe for analyser, recipe, *_ in sorted(rows, key=lambda row: row[2:])}


def of_case(case: Case, among: dict[str, str] | None = None) -> tuple[Numbers, dict[str, Matrix]]:
    """Every item that has vectors: its numbers in ascending order, and a block for each embedder with a row for each.

    `among` names the recipes by embedder (those of `recipes` unless given). An embedder that has looked at only some of
    the items is left out, or the items are that it lacks: whichever keeps more vectors.
    """
    chosen = recipes(case) if among is None else among
    found: dict[str, tuple[Numbers, Matrix]] = {
        name: _block(case, name, recipe) for name, recipe in chosen.items()
    }
    ordered = sorted((name for name in found if len(found[name][0])), key=lambda n: (-len(found[n][0]), n))
    best: tuple[int, int, Numbers] = (0, 0, np.empty(0, np.int64))
    shared: Numbers | None = None
    for count, name in enumerate(ordered, 1):
        numbers = found[name][0]
        shared = numbers if shared is None else np.intersect1d(shared, numbers, assume_unique=True)
        best = max(best, (count * len(shared), count, shared), key=lambda held: held[:2])
    _, count, kept = best
    blocks = {}
    for name in [name for name in chosen if name in ordered[:count]]:
        numbers, matrix = found.pop(name)
        whole = len(numbers) == len(kept)
        blocks[name] = matrix if whole else matrix[np.searchsorted(numbers, kept)]
    return kept, blocks


def _block(case: Case, name: str, recipe: str) -> tuple[Numbers, Matrix]:
    """One embedder's rows by item number, straight from one query."""
    rows = (
        Vector.objects.filter(
            analysis__item__case=case, analysis__analyser=name, analysis__recipe=recipe, whole=True
        )
        .order_by("analysis__item__number")
        .values_list("analysis__item__number", "values")
    )
    numbers: list[int] = []
    parts: list[Matrix] = []
    waiting: list[bytes] = []
    for number, values in rows.iterator(chunk_size=CHUNK):
        numbers.append(number)
        waiting.append(values)
        if len(waiting) == CHUNK:
            parts.append(_matrix(waiting))
            waiting = []
    if waiting:
        parts.append(_matrix(waiting))
    matrix = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
    return np.array(numbers, np.int64), matrix


def _matrix(rows: list[bytes]) -> Matrix:
    return np.frombuffer(b"".join(rows), "<f2").reshape(len(rows), -1).astype(np.float32)


def of_item(item: Item) -> dict[str, tuple[Numbers, Matrix]]:
    """An item's vectors by embedder: the times of its frames in ms (0 for a picture), and a row for each."""
    newest: dict[str, UUID] = {}
    for analysis in Analysis.objects.filter(item=item, task=Analysis.Task.EMBED).order_by(
        "finished_at", "pk"
    ):
        newest[analysis.analyser] = analysis.pk
    rows: dict[UUID, list[tuple[int, bytes]]] = defaultdict(list)
    kept = Vector.objects.filter(analysis_id__in=newest.values())
    if item.kind == Item.Kind.VIDEO:
        kept = kept.filter(whole=False)
    for analysis_id, at_ms, values in kept.order_by("at_ms").values_list("analysis_id", "at_ms", "values"):
        rows[analysis_id].append((at_ms, values))
    return {
        name: (np.array([at for at, _ in rows[pk]], np.int64), _matrix([values for _, values in rows[pk]]))
        for name, pk in newest.items()
        if rows[pk]
    }
