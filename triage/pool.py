"""The vectors of a case as a learner compares them: one matrix, a row for each item that has any, then for each example.

Which vectors these are is said by recipes (never two of one embedder) and by a mask for each item; so the same matrix can
be read again for a replay, whatever was analysed since.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import connection
from django.db.models import Count, Max
from numpy.typing import NDArray

from archive.models import Case
from triage import learning
from triage.learning import Mixed, Scale
from triage.models import Analysis, Example, ExampleVector, Vector

Numbers = NDArray[np.int64]
SOME = 4096  # items at a time where the whole is not needed at once


@dataclass(frozen=True, eq=False)
class Pool:
    """`numbers`: the items with a row, ascending; `has`: which recipes each has, a bit for each in the order of names.

    The rows of `examples` (their keys) follow those of the items.
    """

    case: Any
    recipes: dict[str, str]
    numbers: Numbers
    has: NDArray[np.uint8]
    examples: tuple[int, ...]
    features: NDArray[np.float32]
    scales: dict[str, Scale]
    sha256: str

    @property
    def kernel(self) -> Mixed:
        """The learner's, over these embedders."""
        return Mixed.over({name: len(scale.mean) for name, scale in self.scales.items()})

    def place(self, number: int) -> int | None:
        """The row of an item."""
        at = int(np.searchsorted(self.numbers, number))
        return at if at < len(self.numbers) and self.numbers[at] == number else None


def recipes_of(case: Case) -> dict[str, str]:
    """Of each embedder that looked at the case, the recipe that most of its vectors have (of equals the newest)."""
    rows = Analysis.objects.filter(item__case=case, task="embed").values("analyser", "recipe").order_by()
    best: dict[str, tuple[int, Any, str]] = {}
    for row in rows.annotate(n=Count("pk"), last=Max("finished_at")):
        key = row["n"], row["last"], row["recipe"]
        best[row["analyser"]] = max(best.get(row["analyser"], key), key)
    return {name: recipe for name, (_, _, recipe) in sorted(best.items())}


def read(
    case: Case,
    *,
    recipes: Mapping[str, str],
    among: Numbers | None = None,
    only: tuple[Numbers, NDArray[np.uint8]] | None = None,
    examples: Sequence[int] = (),
) -> Pool | None:
    """The pool by these recipes; None where nothing has a vector.

    `among` limits it to some items; `only` (numbers, has) to what was there once. Raises LookupError where that is gone.
    """
    names = sorted(recipes)
    found = {name: _vectors(case, recipes[name]) for name in names}
    if among is not None:
        found = {name: _limited(own, values, among) for name, (own, values) in found.items()}
    found = {name: rows for name, rows in found.items() if len(rows[0])}
    names = [name for name in names if name in found]
    if not names:
        return None
    numbers, has = _presence([found[name][0] for name in names])
    if only is not None:
        numbers, has = only
    digest = hashlib.sha256()
    shown = {name: _of_examples(examples, recipes[name]) for name in names}
    widths = [found[name][1].shape[1] for name in names]
    features = np.zeros((len(numbers) + len(examples), sum(widths)), np.float32)
    scales, left = {}, 0
    for bit, (name, width, share) in enumerate(zip(names, widths, learning.says(widths), strict=True)):
        own, values = found.pop(name)
        rows = np.flatnonzero(has & (1 << bit))
        if not np.isin(numbers[rows], own).all():
            raise LookupError(f"vectors of {name} that were there are missing")
        values = values if len(rows) == len(own) else values[np.searchsorted(own, numbers[rows])]
        if not len(rows):
            raise LookupError(f"no item has a vector of {name}")
        digest.update(values.tobytes())
        scales[name] = Scale.of(values)
        for at in range(0, len(rows), learning.BLOCK):
            part = slice(at, at + learning.BLOCK)
            features[rows[part], left : left + width] = scales[name].normalised(values[part], share)
        for place, value in shown[name].items():
            row = scales[name].normalised(value[None], share)[0]
            features[len(numbers) + place, left : left + width] = row
        left += width
    return Pool(
        case.pk,
        {n: recipes[n] for n in names},
        numbers,
        has,
        tuple(examples),
        features,
        scales,
        digest.hexdigest(),
    )


def rows_of(
    pool_recipes: Mapping[str, str], scales: Mapping[str, Scale], case: Case, numbers: Sequence[int]
) -> Any:
    """The rows of some items as they stand in a pool of these scales; a block that an item lacks is nothing."""
    names = sorted(pool_recipes)
    widths = [len(scales[name].mean) for name in names]
    found, left = np.zeros((len(numbers), sum(widths)), np.float32), 0
    if not numbers:
        return found
    for name, width, share in zip(names, widths, learning.says(widths), strict=True):
        own, values = _vectors(case, pool_recipes[name], sorted(set(numbers)))
        at = {int(number): row for row, number in enumerate(own)}
        for place, number in enumerate(numbers):
            if number in at:
                row = values[at[number]][None]
                found[place, left : left + width] = scales[name].normalised(row, share)[0]
        left += width
    return found


def example_rows(
    pool_recipes: Mapping[str, str], scales: Mapping[str, Scale], examples: Sequence[int]
) -> Any:
    """The rows of examples that are a moment or a box."""
    names = sorted(pool_recipes)
    widths = [len(scales[name].mean) for name in names]
    found, left = np.zeros((len(examples), sum(widths)), np.float32), 0
    for name, width, share in zip(names, widths, learning.says(widths), strict=True):
        for place, value in _of_examples(examples, pool_recipes[name]).items():
            found[place, left : left + width] = scales[name].normalised(value[None], share)[0]
        left += width
    return found


def _limited(
    own: Numbers, values: NDArray[np.float16], among: Numbers
) -> tuple[Numbers, NDArray[np.float16]]:
    """Those of some items; the very arrays where all are."""
    kept = np.isin(own, among)
    return (own, values) if kept.all() else (own[kept], values[kept])


def _vectors(
    case: Case, recipe: str, numbers: Sequence[int] | None = None
) -> tuple[Numbers, NDArray[np.float16]]:
    """Item numbers, ascending, and the vectors that stand for these items."""
    rows = Vector.objects.filter(analysis__item__case=case, analysis__recipe=recipe, whole=True)
    if numbers is not None:
        rows = rows.filter(analysis__item__number__in=list(numbers))
    query = rows.order_by("analysis__item__number").values_list("analysis__item__number", "values").query
    own: list[int] = []
    parts: list[NDArray[np.float16]] = []
    with (
        connection.cursor() as cursor
    ):  # as it comes from the database: a hundred thousand rows are read here
        cursor.execute(*query.sql_with_params())
        while some := cursor.fetchmany(learning.BLOCK):
            own += [row[0] for row in some]
            parts.append(np.frombuffer(b"".join(bytes(row[1]) for row in some), "<f2").reshape(len(some), -1))
    values = np.concatenate(parts) if parts else np.empty((0, 0), np.float16)
    return np.array(own, np.int64), values


def present(case: Case, recipes: Mapping[str, str]) -> tuple[Numbers, NDArray[np.uint8]]:
    """Items that have a vector of these recipes, ascending, and which ones: a bit for each in the order of names."""
    rows = Vector.objects.filter(whole=True, analysis__item__case=case)
    numbers = rows.order_by("analysis__item__number").values_list("analysis__item__number", flat=True)
    own = [numbers.filter(analysis__recipe=recipes[name]).iterator(10_000) for name in sorted(recipes)]
    return (
        _presence([np.fromiter(one, np.int64) for one in own])
        if own
        else (np.empty(0, np.int64), np.empty(0, np.uint8))
    )


def blocks(
    case: Case, recipes: Mapping[str, str], numbers: Numbers, has: NDArray[np.uint8]
) -> Iterator[NDArray[np.float32]]:
    """The vectors of these items side by side as they are stored, in the order of names, some items at a time.

    A vector that an item lacks (`has`) is NaN. Raises LookupError where one that it has is gone.
    """
    names = sorted(recipes)
    widths = [_width(case, recipes[name]) for name in names]
    for at in range(0, len(numbers), SOME):
        some, there = numbers[at : at + SOME], has[at : at + SOME]
        found, left = np.full((len(some), sum(widths)), np.nan, np.float32), 0
        for bit, (name, width) in enumerate(zip(names, widths, strict=True)):
            rows = np.flatnonzero(there & (1 << bit))
            if len(rows):
                own, values = _vectors(case, recipes[name], some[rows].tolist())
                if not np.array_equal(own, some[rows]):
                    raise LookupError(f"vectors of {name} that were there are missing")
                found[rows, left : left + width] = values
            left += width
        yield found


def _width(case: Case, recipe: str) -> int:
    rows = Vector.objects.filter(analysis__item__case=case, analysis__recipe=recipe, whole=True)
    values = rows.order_by().values_list("values", flat=True).first()
    return 0 if values is None else len(bytes(values)) // 2


def _presence(own: Sequence[Numbers]) -> tuple[Numbers, NDArray[np.uint8]]:
    numbers = np.unique(np.concatenate(own))
    has = np.zeros(len(numbers), np.uint8)
    for bit, one in enumerate(own):
        has[np.searchsorted(numbers, one)] |= np.uint8(1 << bit)
    return numbers, has


def _of_examples(examples: Sequence[int], recipe: str) -> dict[int, NDArray[np.float16]]:
    """Place among the examples -> the vector of its box, else that of the frame nearest to its moment."""
    own = ExampleVector.objects.filter(example__in=list(examples), embedder=recipe)
    boxes = dict(own.values_list("example_id", "values"))
    found = {}
    for place, example in enumerate(examples):
        values = boxes.get(example)
        if values is None:
            one = Example.objects.get(pk=example)
            if one.item_id is None:
                continue
            rows = Vector.objects.filter(analysis__item_id=one.item_id, analysis__recipe=recipe)
            moments = list(rows.values_list("pk", "at_ms", "whole"))
            if not moments:
                continue
            nearest = min(
                moments, key=lambda row: (abs(row[1] - (one.at_ms or 0)), row[2] is (one.at_ms is not None))
            )
            values = rows.values_list("values", flat=True).get(pk=nearest[0])
        found[place] = np.frombuffer(bytes(values), "<f2")
    return found
