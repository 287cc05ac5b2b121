"""A trainable indicator: pictures of one kind told from others by the archive's vectors and by residuals. Used where it is trained and run.

Each embedder's vector (brought to length 1) and the residuals (triage.residuals) are a block; blocks are standardised and joined, and a
kernel logistic regression is fitted to them, as the learned part of ranking is (triage.learning). Its error is measured by cross-fitting:
pictures that belong together (same name in different folders: an original and its changed copy) are never on both sides.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triage import learning
from triage.learning import Calibration, Scale

RESIDUALS = "residuals"
FOLDS = 5
ANCHORS = learning.ANCHORS
TOLD_FROM = 0.5  # chance, calibrated on the training pictures, from which it is told
RESAMPLED = 1000

Blocks = Mapping[str, NDArray[Any]]
Rows = NDArray[np.float32]


def unit(rows: NDArray[Any]) -> Rows:
    """Vectors brought to length 1."""
    wide = np.asarray(rows, np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12), np.float32)


@dataclass(frozen=True)
class Classifier:
    """A fitted one. `arrays` is all of it: scales of the blocks, anchors, their shares, intercept, Platt's two numbers."""

    arrays: Mapping[str, Rows]

    def __post_init__(self) -> None:
        """Raises ValueError for arrays that are none of a classifier."""
        widths = [len(self.arrays[f"{name}.mean"]) for name in self.blocks]
        anchors = self.arrays["anchors"]
        shapes = {
            "anchors": (len(anchors), sum(widths)),
            "shares": (len(anchors),),
            "intercept": (1,),
            "platt": (2,),
        }
        for name, width in zip(self.blocks, widths, strict=True):
            shapes |= {f"{name}.mean": (width,), f"{name}.spread": (width,)}
        if not self.blocks or {name: array.shape for name, array in self.arrays.items()} != shapes:
            raise ValueError("the arrays of this indicator do not fit together")
        if not all(np.isfinite(array).all() for array in self.arrays.values()):
            raise ValueError("an array of this indicator holds what is no number")

    @property
    def blocks(self) -> list[str]:
        """What it looks at, in the order of the columns."""
        return sorted(name.removesuffix(".mean") for name in self.arrays if name.endswith(".mean"))

    def scores(self, rows: Blocks) -> NDArray[np.float64]:
        """Log-odds as the model is, uncalibrated: one for each row of the blocks."""
        scales = {
            name: Scale(self.arrays[f"{name}.mean"], self.arrays[f"{name}.spread"]) for name in self.blocks
        }
        likenesses = learning.likeness(_joined(rows, scales), self.arrays["anchors"])
        shares = np.asarray(self.arrays["shares"], np.float64)
        return np.asarray(
            likenesses.astype(np.float64) @ shares + float(self.arrays["intercept"][0]), np.float64
        )

    def chances(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Calibrated on the training pictures."""
        slope, offset = (float(number) for number in self.arrays["platt"])
        return np.asarray(Calibration(slope, offset).chance(scores), np.float64)


@dataclass(frozen=True)
class Measured:
    """What cross-fitting found: a score for each picture by a model fitted without it and without what belongs to it."""

    scores: NDArray[np.float64]
    chances: NDArray[np.float64]  # by Platt's map fitted to the scores of the other folds
    labels: NDArray[np.bool_]
    groups: Sequence[str]

    @property
    def auc(self) -> float:
        """The chance that of two pictures of different kinds the right one has the higher score."""
        return _auc(self.scores, self.labels)

    def auc_interval(self, seed: int) -> tuple[float, float]:
        """95 %, by drawing groups with replacement (percentile bootstrap; Efron and Tibshirani 1993)."""
        rng = np.random.default_rng(seed)
        names, where = np.unique(np.asarray(self.groups), return_inverse=True)
        members = [np.flatnonzero(where == n) for n in range(len(names))]
        drawn = []
        while len(drawn) < RESAMPLED:
            rows = np.concatenate([members[n] for n in rng.integers(len(names), size=len(names))])
            if 0 < self.labels[rows].sum() < len(rows):
                drawn.append(_auc(self.scores[rows], self.labels[rows]))
        low, high = np.quantile(drawn, [0.025, 0.975])
        return float(low), float(high)


def measure(blocks: Blocks, labels: NDArray[np.bool_], groups: Sequence[str], seed: int) -> Measured:
    """Cross-fit. Raises ValueError where a fold would lack pictures of a kind."""
    fold = _folds(labels, groups, seed)
    scores, chances = np.empty(len(labels)), np.empty(len(labels))
    for out in range(FOLDS):
        inside, held = np.flatnonzero(fold != out), np.flatnonzero(fold == out)
        if len(set(labels[inside])) < 2 or not len(held):
            raise ValueError(f"pictures of both kinds are needed in {FOLDS} groups at least")
        classifier = _fit({name: block[inside] for name, block in blocks.items()}, labels[inside], seed)
        scores[held] = classifier.scores({name: block[held] for name, block in blocks.items()})
    for out in range(FOLDS):
        inside, held = fold != out, fold == out
        platt = learning.platt(scores[inside], labels[inside].astype(float))
        chances[held] = platt.chance(scores[held])
    return Measured(scores, chances, labels, groups)


def train(blocks: Blocks, labels: NDArray[np.bool_], measured: Measured, seed: int) -> Classifier:
    """Fit to all pictures, calibrated by the scores that cross-fitting gave."""
    platt = learning.platt(measured.scores, labels.astype(float))
    arrays = dict(_fit(blocks, labels, seed).arrays)
    return Classifier({**arrays, "platt": np.array([platt.slope, platt.offset], np.float32)})


def _fit(blocks: Blocks, labels: NDArray[np.bool_], seed: int) -> Classifier:
    scales = {name: Scale.of(block) for name, block in blocks.items()}
    rows = _joined(blocks, scales)
    anchors = np.sort(np.random.default_rng(seed).permutation(len(rows))[:ANCHORS])
    model = learning.fit(learning.likeness(rows, rows[anchors]), anchors, labels.astype(float))
    arrays = {
        "anchors": rows[anchors],
        "shares": np.asarray(model.shares, np.float32),
        "intercept": np.array([model.intercept], np.float32),
        "platt": np.array([1, 0], np.float32),
    }
    for name, scale in scales.items():
        arrays |= {f"{name}.mean": scale.mean, f"{name}.spread": scale.spread}
    return Classifier(arrays)


def _joined(blocks: Blocks, scales: Mapping[str, Scale]) -> Rows:
    names = sorted(scales)
    shares = learning.says(len(scales[name].mean) for name in names)
    return np.concatenate(
        [scales[name].normalised(blocks[name], share) for name, share in zip(names, shares, strict=True)],
        axis=1,
    )


def _folds(labels: NDArray[np.bool_], groups: Sequence[str], seed: int) -> NDArray[np.intp]:
    """Groups dealt out, those with and those without a picture of the kind each in turn, as if shuffled."""
    marked = {name for name, label in zip(groups, labels, strict=True) if label}

    def order(name: str) -> tuple[bool, str]:
        return name not in marked, hashlib.sha256(f"{seed} {name}".encode()).hexdigest()

    place = {name: n % FOLDS for n, name in enumerate(sorted(set(groups), key=order))}
    return np.array([place[name] for name in groups], np.intp)


def _auc(scores: NDArray[Any], labels: NDArray[np.bool_]) -> float:
    """Mann and Whitney's statistic as a share; ties count half."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    positive = int(labels.sum())
    return float(
        (ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * (len(labels) - positive))
    )
