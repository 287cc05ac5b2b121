"""How unlike the others each row of a matrix is: an isolation forest over vectors as they are stored.

F. T. Liu, K. M. Ting, Z.-H. Zhou, 'Isolation Forest', ICDM 2008, as scikit-learn has it: trees that split a random column at
a random value; a row that is soon alone is unusual. Each tree is grown from 256 rows, as published. It reads no database.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SAMPLES = 256  # rows that a tree is grown from: the published number
TREES = (
    100  # the published number, for every SAMPLES columns: a tree of so many rows can split no more of them
)
FITTED = 8192  # rows that the trees draw theirs from, at most: what bounds the memory
STEPS = 1_000_000  # of a score


@dataclass(frozen=True)
class Forest:
    """Trees, and what stands in for a value that a row lacks: the column's mean among the rows they were grown from."""

    trees: Any
    means: Floats

    def scores(self, rows: Floats) -> NDArray[np.int64]:
        """How unusual each row is, in whole millionths from 0 to 1: about half for a usual one, more for an unusual one."""
        raw = -self.trees.score_samples(_filled(rows, self.means))
        return np.rint(raw * STEPS).astype(np.int64)


def grow(rows: Floats, *, seed: int) -> Forest:
    """A forest from these rows (a value that is not there is NaN). The same rows and seed (below 2**32) give the same one."""
    from sklearn.ensemble import IsolationForest

    there = ~np.isnan(rows)
    sums = np.where(there, rows, 0).sum(axis=0, dtype=np.float64)
    means = (sums / np.maximum(there.sum(axis=0), 1)).astype(np.float32)
    trees = IsolationForest(
        n_estimators=number_of_trees(rows.shape[1]), max_samples=min(SAMPLES, len(rows)), random_state=seed
    )
    return Forest(trees.fit(_filled(rows, means)), means)


def number_of_trees(width: int) -> int:
    """Trees for vectors of this width."""
    return -(-TREES * max(width, SAMPLES) // SAMPLES)


def drawn(count: int, *, seed: int) -> NDArray[np.intp]:
    """Places of the rows, of so many, that the trees draw theirs from, ascending."""
    lot = np.random.default_rng(seed).permutation(count)[:FITTED]
    return np.sort(lot)


def tenths(scores: Iterable[int] | NDArray[Any]) -> NDArray[np.int64]:
    """Of each row the smallest share, in tenths of a percent from 1 to 1000, of the most unusual rows that it is among."""
    values = np.asarray(scores, np.int64)
    as_unusual = len(values) - np.searchsorted(np.sort(values), values, side="left")
    return -(-1000 * as_unusual // max(len(values), 1))


def _filled(rows: Floats, means: Floats) -> Floats:
    return np.where(np.isnan(rows), means, rows)
