"""The index for likeness: what it finds beside exact search, whom it lets see what, and what a change leaves behind."""

import json

import numpy as np
import pytest

from archive.errors import Damaged
from triage import search_index
from triage.search_index import Batch

WIDTH, CASES = 32, 7
M = {"model": "m"}


def vectors(count: int, seed: int = 0) -> np.ndarray:
    """Vectors in clusters, of length 1."""
    rng = np.random.default_rng(seed)
    made = np.random.default_rng(99).normal(size=(50, WIDTH))[rng.integers(0, 50, count)]
    made += 0.7 * rng.normal(size=made.shape)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype("<f2")


def batch(values: np.ndarray, first: int = 0, case: str = "") -> Batch:
    rows = np.arange(first, first + len(values))
    return Batch(rows, [case or f"case {row % CASES}" for row in rows], values)


ALL = {f"case {n}" for n in range(CASES)}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """An index with lists, over more vectors than are searched whole."""
    folder, values = tmp_path_factory.mktemp("index"), vectors(search_index.RECENT + 4000)
    search_index.build(folder, M, iter([batch(values[:9000]), batch(values[9000:], 9000)]))
    return folder, values


def rows(hits) -> list[int]:
    return [hit.row for hit in hits]


def test_it_finds_the_exact_neighbours_of_those_that_are_seen(many):
    folder, values = many
    index = search_index.opened(folder)
    assert index.segments[0].lists and len(index) == len(values)
    queries = vectors(20, seed=5)
    for cases in (ALL, {"case 3"}, {"case 1", "case 6", "elsewhere"}):
        true = search_index.exact(queries, [batch(values)], cases, 10)
        for query, best in zip(queries, true, strict=True):
            hits = index.search(query, cases=cases, count=10, values=lambda r: (r, values[r]))
            assert rows(hits) == best
            assert all(f"case {hit.row % CASES}" in cases for hit in hits)


def test_nobody_gets_fewer_answers_because_of_what_they_do_not_see(many):
    folder, values = many
    nearest_hidden = values[0]  # of case 0
    hits = search_index.opened(folder).search(nearest_hidden, cases={"case 2"}, count=50)
    assert len(hits) == 50 and {hit.row % CASES for hit in hits} == {2}


def test_who_sees_nothing_finds_nothing(many):
    index = search_index.opened(many[0])
    assert index.search(many[1][0], cases=set(), count=5) == []
    assert index.search(many[1][0], cases={"not here"}, count=5) == []


def test_an_item_does_not_find_itself(many):
    index = search_index.opened(many[0])
    assert rows(index.search(many[1][7], cases=ALL, count=3))[0] == 7
    assert 7 not in rows(index.search(many[1][7], cases=ALL, count=30, without=np.array([7])))


def test_rows_that_no_longer_exist_drop_out(many):
    index, values = search_index.opened(many[0]), many[1]
    hits = index.search(values[7], cases=ALL, count=3, values=lambda r: (r[r != 7], values[r[r != 7]]))
    assert len(hits) == 3 and 7 not in rows(hits)


@pytest.mark.parametrize("count", [300, search_index.RECENT + 500])
def test_what_is_taken_out_and_put_in(tmp_path, count):
    values = vectors(count)
    search_index.build(tmp_path, M, [batch(values)])
    before = search_index.opened(tmp_path)
    assert search_index.change(tmp_path, M, remove=range(0, count, 2))
    assert len(before) == count and before.search(values[0], cases=ALL, count=1)[0].row == 0, "readers go on"
    after = search_index.opened(tmp_path)
    assert set(after.rows().tolist()) == set(range(1, count, 2))
    for query in values[:20]:
        true = search_index.exact(query[None], [batch(values)], ALL, 40)[0]
        found = rows(after.search(query, cases=ALL, count=10, values=lambda r: (r, values[r])))
        assert found == [row for row in true if row % 2][: len(found)]
    more = vectors(40, seed=8)
    assert search_index.change(tmp_path, M, add=batch(more, count, "new case"))
    assert search_index.change(tmp_path, M, add=batch(more, count, "new case")), (
        "the same again changes nothing"
    )
    index = search_index.opened(tmp_path)
    assert len(index) == count // 2 + 40
    assert rows(index.search(more[3], cases={"new case"}, count=1)) == [count + 3]
    assert index.case_of()[count] == "new case" and index.case_of()[1] == "case 1"
    names = set(json.loads((tmp_path / "index.json").read_text())["segments"])
    assert (
        {path.stem for path in tmp_path.glob("*.faiss")} == names == {p.stem for p in tmp_path.glob("*.npy")}
    )


def test_recent_vectors_go_into_the_lists_and_too_many_without_lists_ask_to_be_built_anew(tmp_path):
    values = vectors(search_index.RECENT + 200)
    search_index.build(tmp_path, M, [batch(values)])
    more = vectors(search_index.RECENT + 100, seed=3)
    assert search_index.change(tmp_path, M, add=batch(more, len(values)))
    (segment,) = search_index.opened(tmp_path).segments
    assert segment.lists and len(segment.places) == len(values) + len(more)
    search_index.build(tmp_path, M, [batch(values[:10])])
    assert not search_index.change(tmp_path, M, add=batch(more, 10))


def test_an_index_of_nothing(tmp_path):
    assert search_index.opened(tmp_path) is None and search_index.stamp(tmp_path) is None
    assert not search_index.change(tmp_path, M, add=batch(vectors(5)))
    assert search_index.build(tmp_path, M, []) == 0
    assert search_index.opened(tmp_path).search(vectors(1)[0], cases=ALL, count=3) == []
    assert search_index.change(tmp_path, M, add=batch(vectors(5)))
    assert not search_index.change(tmp_path, {"model": "another"}, add=batch(vectors(5, seed=4), 5))
    assert len(search_index.opened(tmp_path)) == 5


@pytest.mark.parametrize("ending", ["faiss", "npy", "json"])
def test_a_broken_file_is_said_to_be_one(tmp_path, ending):
    search_index.build(tmp_path, M, [batch(vectors(50))])
    path = next(tmp_path.glob(f"*.{ending}"))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(Damaged, match="index rebuild"):
        search_index.opened(tmp_path)
