"""The learned part of ranking: several embeddings at once, refitted from the decisions made, with reasons.

Numpy only; no database, no model runtime. See docs/triage.md, "Learning and estimating", for formulas and sources.
The same features and decisions in the same order give the same scores. What a score is the sum of are whole numbers of
small steps: no sum of them is ever rounded, so none depends on the order, the processor or the library that adds it up.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Places = NDArray[np.intp]
Kernel = Callable[
    [Floats, Floats, Floats | None], NDArray[np.float32]
]  # features, others, squares of the features

LEARNER = 3  # one more whenever the same answers come to give other scores
PENALTY = 0.1  # 1/C of the logistic regression, C = 10
WIDTH = 0.5  # of the likeness, see likeness()
LEAD = "mobilenet-v1"  # the embedder whose plain regression is half of the model, see Mixed
FOLDS = 5
ANCHORS = 300  # decisions that the model is expressed by; the cost of a refit grows with its square
BLOCK = 8192  # rows at a time where a whole matrix would be large
PANEL = 8  # others at a time
STEP = 2.0**-12  # of a feature: sums of products of rows no longer than 1 are then exact in 32 bits
FINE = 2.0**-20  # step of a likeness and of a share: sums of their products below 4,096 are exact in 64 bits


class Start(StrEnum):
    """What the learned order rests on so far."""

    NOTHING = "nothing"  # no relevant item known: the order is by rules only
    EXAMPLES = "examples"  # relevant ones only: the order is by likeness to them
    DECISIONS = "decisions"  # decisions of both kinds: the order is learned


@dataclass(frozen=True)
class Reason:
    """A decided item that a score rests on. `share` is its part of the score, in log-odds."""

    place: int
    relevant: bool
    share: float


@dataclass(frozen=True)
class Scale:
    """The mean and spread of each column of one embedder's block, by which it is standardised."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def of(cls, block: Floats) -> "Scale":
        """Of all rows; a column that does not vary keeps its size."""
        total = np.zeros(block.shape[1])
        for at in range(0, len(block), BLOCK):
            total += block[at : at + BLOCK].sum(axis=0, dtype=np.float64)
        mean, squares = total / len(block), np.zeros(block.shape[1])
        for at in range(0, len(block), BLOCK):
            squares += ((block[at : at + BLOCK] - mean) ** 2).sum(axis=0)
        spread = np.sqrt(squares / len(block))
        return cls(mean.astype(np.float32), np.where(spread > 1e-6, spread, 1).astype(np.float32))

    def normalised(self, rows: Floats, share: float) -> NDArray[np.float32]:
        """Rows standardised, brought to length `share` (0 to 1), and cut down to whole steps: none grows longer."""
        whole = (np.asarray(rows, np.float32) - self.mean) / self.spread
        length = np.linalg.norm(whole, axis=1, keepdims=True)
        steps = np.trunc(whole * (share / np.where(length > 0, length, 1) / STEP))
        return np.asarray(steps * STEP, np.float32)


def says(widths: Iterable[int]) -> list[float]:
    """The length of each block's rows in the join: its part of a row's squared length is as the root of its width."""
    say = np.sqrt(list(widths))
    return [float(share) for share in np.sqrt(say / say.sum())]


def joined(blocks: Mapping[str, Floats]) -> NDArray[np.float32]:
    """One matrix from several embedders' blocks (rows: the same items in the same order).

    Each block is standardised by column and each of its rows brought to length 1, so its scale does not count; then its
    part of a row's squared length is as the root of its width (a narrow hidden layer says less than a wide one, but
    more than its columns). Raises ValueError when there is none or their lengths differ.
    """
    lengths = {len(block) for block in blocks.values()}
    if len(lengths) != 1:
        raise ValueError("blocks of the same items are needed, at least one")
    names = sorted(blocks)
    widths = [blocks[name].shape[1] for name in names]
    found, left = np.empty((lengths.pop(), sum(widths)), np.float32), 0
    for name, width, share in zip(names, widths, says(widths), strict=True):
        block, scale = blocks[name], Scale.of(blocks[name])
        for at in range(0, len(block), BLOCK):  # a part at a time: the whole is large
            found[at : at + BLOCK, left : left + width] = scale.normalised(block[at : at + BLOCK], share)
        left += width
    return found


def squares(features: Floats) -> NDArray[np.float32]:
    """The squared length of each row."""
    return np.asarray(np.einsum("ij,ij->i", features, features), np.float32)


def likeness(features: Floats, others: Floats, squared: Floats | None = None) -> NDArray[np.float32]:
    """exp(-|x - y|^2 / 2) for rows x of `features` (N x d) and y of `others` (m x d); N x m, 1 for the same.

    The rows of `joined` have length 1, and those of unlike items stand about at right angles, so their squared
    distance is about 2 whatever the data: its width is that distance and is not fitted to anything.
    The rows are in whole steps, as `joined` gives them; so a value is the same whatever else is asked for with it.
    `squared` (`squares` of the features) spares a walk over all of them.
    """
    found = np.empty((len(features), len(others)), np.float32, order="F")
    squared = squares(features) if squared is None else squared
    for left in range(0, len(others), PANEL):
        some = others[left : left + PANEL]
        products = features @ some.T
        for at in range(0, len(features), BLOCK):
            part = slice(at, at + BLOCK)
            away = (
                squared[part, None].astype(np.float64) + squares(some) - 2 * products[part].astype(np.float64)
            )
            found[part, left : left + len(some)] = np.rint(np.exp(away * -WIDTH) / FINE) * FINE
    return found


@dataclass(frozen=True)
class Mixed:
    """The learner's kernel: half `likeness` over all embedders, half the cosine of one embedder's own block, the lead's.

    The sum of two kernels is the kernel of a sum of two functions: one that is free to bend with all embedders, and the
    plain logistic regression on the lead. Where the other embedders see nothing of a question, the second holds the
    order up. A value is 1 for the same item, and whole steps like a likeness.
    """

    lead: slice  # its columns
    length: float  # of its rows

    @classmethod
    def over(cls, widths: Mapping[str, int]) -> "Mixed":
        """For the join of blocks of these widths by name; the lead is LEAD, where it is among them, else the first."""
        names = sorted(widths)
        at = names.index(LEAD) if LEAD in names else 0
        lengths = says(widths[name] for name in names)
        left = sum(widths[name] for name in names[:at])
        return cls(slice(left, left + widths[names[at]]), lengths[at])

    def __call__(
        self, features: Floats, others: Floats, squared: Floats | None = None
    ) -> NDArray[np.float32]:
        """As `likeness` does."""
        found = likeness(features, others, squared)
        for left in range(0, len(others), PANEL):
            own = slice(left, left + PANEL)
            products = features[:, self.lead] @ others[own, self.lead].T
            for at in range(0, len(features), BLOCK):
                part = slice(at, at + BLOCK)
                cosine = products[part].astype(np.float64) / self.length**2
                found[part, own] = np.rint((found[part, own] + cosine) / (2 * FINE)) * FINE
        return found


def inner(features: Floats, others: Floats, squared: Floats | None = None) -> NDArray[np.float32]:
    """The linear kernel, for comparison: with it the model is plain logistic regression."""
    return np.asarray(features @ others.T, np.float32)


def fit_logistic(features: Floats, labels: Floats, penalty: float, weights: Floats) -> Floats:
    """Ridge logistic regression by Newton's method; returns one weight per column and then the intercept.

    Minimises sum_i weights_i log(1 + exp(-y_i f_i)) + penalty/2 |w|^2 over the weights w and a free intercept.
    """
    design = np.column_stack([np.asarray(features, np.float64), np.ones(len(labels))])
    ridge = np.full(design.shape[1], penalty)
    ridge[-1] = 1e-6  # the intercept is free; this keeps it finite
    solution = np.zeros(design.shape[1])

    def loss(at: Floats) -> float:
        margin = design @ at
        return float(weights @ (np.logaddexp(0, margin) - labels * margin) + ridge @ at**2 / 2)

    now = loss(solution)
    for _ in range(50):
        chance = sigmoid(design @ solution)
        slope = design.T @ (weights * (chance - labels)) + ridge * solution
        curve = (design * (weights * chance * (1 - chance))[:, None]).T @ design + np.diag(ridge)
        step, scale = np.linalg.solve(curve, slope), 1.0
        while (then := loss(solution - scale * step)) > now and scale > 1e-4:
            scale /= 2
        if then > now:
            break
        solution, gained, now = solution - scale * step, now - then, then
        if gained < 1e-6 * (1 + now):
            break
    return solution


def sigmoid(value: Floats) -> Floats:
    """1 / (1 + e^-value), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * value))


def balanced(labels: Floats) -> Floats:
    """A weight for each decision so that both kinds have the same sum; the mean is 1."""
    positive = labels.mean()
    return np.where(labels > 0, 0.5 / positive, 0.5 / (1 - positive))


@dataclass(frozen=True)
class Model:
    """Kernel logistic regression: log-odds = kernel with the anchors @ `shares` + `intercept`."""

    shares: Floats
    intercept: float

    def scores(self, likenesses: Sequence[Floats]) -> Floats:
        """Log-odds, uncalibrated. `likenesses`: for each anchor, those of all items to it."""
        found = np.full(len(likenesses[0]), self.intercept)
        for at in range(0, len(found), BLOCK):
            part = found[at : at + BLOCK]
            for column, share in zip(likenesses, self.shares, strict=True):
                part += column[at : at + BLOCK] * share
        return found


def fit(likenesses: Floats, anchors: Places, labels: Floats) -> Model:
    """Fit on decided items: `likenesses` (n x m) to the anchors, which are their rows `anchors`."""
    between = np.asarray(likenesses[anchors], np.float64)
    between = (between + between.T) / 2 + 1e-4 * np.eye(
        len(anchors)
    )  # 32-bit likenesses may be short of full rank
    root = np.linalg.cholesky(between)  # in these coordinates the kernel's penalty is the plain one
    solution = fit_logistic(np.linalg.solve(root, likenesses.T).T, labels, PENALTY, balanced(labels))
    shares = np.append(np.linalg.solve(root.T, solution[:-1]), solution[-1])
    shares = np.rint(shares / FINE) * FINE
    return Model(shares[:-1], float(shares[-1]))


@dataclass(frozen=True)
class Calibration:
    """Platt's map from log-odds to a chance: sigmoid(slope x score + offset)."""

    slope: float
    offset: float

    def chance(self, scores: Floats) -> Floats:
        """Chances from 0 to 1. The order stays."""
        return sigmoid(self.slope * np.asarray(scores, np.float64) + self.offset)


def platt(scores: Floats, labels: Floats) -> Calibration:
    """Platt's fit with his softened targets, on scores of items that the model had not been fitted on."""
    positive = labels.sum()
    soft = np.where(labels > 0, (positive + 1) / (positive + 2), 1 / (len(labels) - positive + 2))
    spread = float(np.std(scores)) or 1.0
    middle = float(np.mean(scores))
    slope, offset = fit_logistic(((scores - middle) / spread)[:, None], soft, 1e-3, np.ones(len(labels)))
    slope = max(float(slope), 1e-6)  # a map that turned the order round would be noise
    return Calibration(slope / spread, float(offset) - slope * middle / spread)


class Ranker:
    """A pool of items, what was decided about some of them, and the order that follows for all.

    `features` is the pool's matrix from `joined` (N x d), `kernel` that of its embedders (Mixed.over). Each decision costs one column of likenesses (N x 4 bytes,
    kept for at most ANCHORS of them), so that a refit touches small matrices only.
    """

    def __init__(self, features: NDArray[np.float32], kernel: Kernel) -> None:
        self.features, self.kernel, self._squares = features, kernel, squares(features)
        self.labels: dict[int, bool] = {}
        self._columns: dict[int, NDArray[np.float32]] = {}  # item -> likenesses of all items to it
        self._anchors: list[int] = []
        self.model: Model | None = None
        self.calibration: Calibration | None = None
        self.held_out: tuple[Places, Floats, Floats] | None = None

    @property
    def anchors(self) -> tuple[int, ...]:
        """The decided places that the model is expressed by, in the order of its shares."""
        return tuple(self._anchors)

    @property
    def start(self) -> Start:
        """What the order rests on."""
        kinds = set(self.labels.values())
        if kinds == {True, False}:
            return Start.DECISIONS
        return Start.EXAMPLES if kinds == {True} else Start.NOTHING

    def decide(self, decisions: Iterable[tuple[int, bool]]) -> None:
        """Take in decisions (or examples) by place in the pool; a later one on the same item replaces the earlier."""
        self.labels.update(decisions)
        self.model = self.calibration = self.held_out = None

    def know(self, decisions: Iterable[tuple[int, bool]]) -> None:
        """Exactly these decisions and no others, in this order."""
        self.labels = {}
        self.decide(decisions)

    def refit(self, *, calibrate: bool = False) -> Start:
        """Fit to all decisions. `calibrate` costs five fits more. Nothing to fit before there are both kinds.

        The same features and decisions in the same order give the same numbers, whatever was known and fitted before.
        """
        self._choose_anchors()
        if self.start is not Start.DECISIONS:
            return self.start
        decided, labels, anchors = self._decided()
        likenesses = self._likenesses(decided)
        self.model = fit(likenesses, anchors, labels)
        if calibrate and (scores := _held_out(likenesses, anchors, labels)) is not None:
            self.held_out = decided, scores, labels
            self.calibration = platt(scores, labels)
        return self.start

    def scores(self) -> Floats | None:
        """A score for each item of the pool: log-odds (uncalibrated), likeness to the examples, or None for neither."""
        if self.model:
            return self.model.scores([self._columns[place] for place in self._anchors])
        if self.start is Start.EXAMPLES:
            return np.maximum.reduce([self._columns[place] for place in self._anchors])
        return None

    def chances(self) -> Floats | None:
        """Calibrated chances; None while there are too few decisions of either kind to calibrate by."""
        scores = self.scores()
        return None if self.calibration is None or scores is None else self.calibration.chance(scores)

    def reasons(self, place: int, most: int = 2) -> list[Reason]:
        """The decided items that speak loudest for this one's rank, strongest first: those marked as it is ranked."""
        likenesses = self._likenesses(np.array([place]))
        found = speaking(
            likenesses[0], self.model, [self.labels[anchor] for anchor in self._anchors], len(self._anchors)
        )
        return [
            Reason(self._anchors[i], self.labels[self._anchors[i]], share)
            for i, share in found
            if self._anchors[i] != place
        ][:most]

    def doubtful(self, most: int = 10) -> list[int]:
        """Decided items that the rest of the decisions contradict most, for a second look: cross-fitted, worst first."""
        if self.start is not Start.DECISIONS:
            return []
        decided, labels, anchors = self._decided()
        scores = _held_out(self._likenesses(decided), anchors, labels)
        if scores is None:
            return []
        against = np.where(labels > 0, -scores, scores)
        return [int(decided[i]) for i in np.argsort(-against, kind="stable")[:most] if against[i] > 0]

    def _decided(self) -> tuple[Places, Floats, Places]:
        """Decided places, their labels, and which of them are the anchors."""
        decided = np.array(list(self.labels), np.intp)
        row = {int(place): i for i, place in enumerate(decided)}
        anchors = np.array([row[place] for place in self._anchors], np.intp)
        return decided, np.array(list(self.labels.values()), np.float64), anchors

    def _choose_anchors(self) -> None:
        """All decided items; past ANCHORS of them some of these, with as many of each kind as there can be."""
        kinds = [[place for place, label in self.labels.items() if label == kind] for kind in (True, False)]
        few, many = sorted(kinds, key=len)
        few = _spread(few, max(ANCHORS // 2, ANCHORS - len(many)))
        chosen = set(few) | set(_spread(many, ANCHORS - len(few)))
        self._anchors = [place for place in self.labels if place in chosen]
        new = [place for place in self._anchors if place not in self._columns]
        if new:
            self._add(new)

    def _add(self, places: Sequence[int]) -> None:
        if len(self._columns) + len(places) > ANCHORS + ANCHORS // 4:  # drop those that are anchors no more
            self._columns = {p: self._columns[p] for p in self._anchors if p in self._columns}
        for at in range(0, len(places), PANEL):
            some = list(places[at : at + PANEL])
            found = self.kernel(self.features, self.features[some], self._squares)
            self._columns.update({place: found[:, i].copy() for i, place in enumerate(some)})

    def _likenesses(self, places: Places) -> NDArray[np.float32]:
        """Likenesses of these items to the anchors."""
        return np.array([self._columns[anchor][places] for anchor in self._anchors], np.float32).T.copy()


def speaking(
    likenesses: Floats, model: Model | None, labels: Sequence[bool], most: int = 2
) -> list[tuple[int, float]]:
    """Which anchors speak loudest for an item's rank, and their part in log-odds (without a model: their likeness).

    `likenesses` are its own to the anchors. Only those marked as it is ranked are named; the strongest come first.
    """
    parts, wanted = likenesses, True
    if model is not None:
        parts = likenesses * model.shares
        wanted = bool(model.scores(likenesses[:, None])[0] > 0)
    found = [(i, float(part)) for i, part in enumerate(parts) if labels[i] == wanted and (part > 0) == wanted]
    return sorted(found, key=lambda one: -abs(one[1]))[:most]


def _spread(places: Sequence[int], most: int) -> list[int]:
    """So many of them, as if by lot. A few more places change a few of the chosen: their columns are there already."""
    if len(places) <= most:
        return list(places)
    return sorted(places, key=lambda place: (place * 0x9E3779B97F4A7C15) % 2**64)[:most]


def _held_out(likenesses: Floats, anchors: Places, labels: Floats) -> Floats | None:
    """A score for each decision by a model fitted without it: folds dealt out in the order of decisions, kind by kind."""
    folds = int(min(FOLDS, labels.sum(), len(labels) - labels.sum()))
    if folds < 2:
        return None
    fold = np.empty(len(labels), np.intp)
    for kind in (0, 1):
        own = np.flatnonzero(labels == kind)
        fold[own] = np.arange(len(own)) % folds
    scores = np.empty(len(labels))
    for out in range(folds):
        rows = np.flatnonzero(fold != out)
        keep = np.flatnonzero(fold[anchors] != out)
        inside = np.searchsorted(rows, anchors[keep])
        model = fit(likenesses[np.ix_(rows, keep)], inside, labels[rows])
        held = np.flatnonzero(fold == out)
        scores[held] = model.scores(likenesses[np.ix_(held, keep)].T)
    return scores
