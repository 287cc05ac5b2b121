"""Stored vectors as matrices: one recipe of each embedder, rows that belong to items, nothing lost without need."""

import numpy as np
import pytest

from archive.custody.log import recording
from tests import cast
from tests.unit.triage import looked
from triage import results, vectors
from triage.models import Vector

pytestmark = pytest.mark.django_db


@pytest.fixture
def case():
    return cast.case(owner=cast.person("researcher"))


def test_rows_are_the_items_in_order_of_their_numbers(case):
    assert [len(part) for part in vectors.of_case(case)] == [0, 0]
    made = looked.items(case, 3)
    for item, vector in zip(reversed(made), ([0, 3.0], [4.0, 0], [1.0, 1.0]), strict=True):
        looked.at(item, np.array(vector))
    numbers, blocks = vectors.of_case(case)
    assert list(numbers) == [1, 2, 3]
    assert blocks[looked.EMBEDDER] == pytest.approx(
        np.array([[0.7071, 0.7071], [1, 0], [0, 1]], np.float32), abs=1e-3
    )
    times, frames = vectors.of_item(made[0])[looked.EMBEDDER]
    assert list(times) == [0] and frames.shape == (1, 2)


def embedded(item, vector, *, embedder: str = looked.EMBEDDER, recipe: str = "") -> None:
    """A further embedder, or another recipe of one, has looked at the item."""
    analysis = looked._analysis(item, "embed", embedder, recipe or embedder)
    with recording():
        analysis.save(force_insert=True)
    Vector.objects.create(analysis=analysis, at_ms=0, values=np.array(vector, "<f2").tobytes(), whole=True)


def test_vectors_of_two_recipes_never_meet_and_the_newer_takes_over_when_it_has_seen_all(case):
    made = looked.items(case, 3)
    for item in made:
        looked.at(item, np.array([1.0, 0]))
    for count, item in enumerate(made, 1):
        embedded(item, [0, 1], recipe="newer")
        numbers, blocks = vectors.of_case(case)
        row = [0, 1] if count == 3 else [1, 0]
        assert list(numbers) == [1, 2, 3] and blocks[looked.EMBEDDER].tolist() == [row] * 3


def test_an_embedder_that_saw_few_items_gives_way_to_the_items(case):
    made = looked.items(case, 4)
    for item in made:
        looked.at(item, np.array([1.0, 0]))
    embedded(made[3], [1, 0, 0], embedder="other")
    numbers, blocks = vectors.of_case(case)
    assert list(numbers) == [1, 2, 3, 4] and list(blocks) == [looked.EMBEDDER]
    for item in made[1:3]:
        embedded(item, [0, 1, 0], embedder="other")
    numbers, blocks = vectors.of_case(case)
    assert list(numbers) == [2, 3, 4] and blocks["other"].shape == (3, 3)


def test_the_hash_of_detections_alone_is_as_it_was():
    """Guards promise: results that were recorded before there were tags and vectors still verify."""
    assert results.Looked("yolo", (0,)).sha256 == results.result_sha256([])
    assert results.Looked("yolo", (0,)).canonical == b"[]"
    tagged = results.Looked("t", (0,), tags=(results.Tag(0, "fire", results.SCORE_STEP, 90),))
    assert tagged.canonical == b'[{"at_ms":0,"label":"fire","score":"0.0001","until_ms":90}]'
