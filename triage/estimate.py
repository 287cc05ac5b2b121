"""What is still unseen, how far two readers agree, and how good an order or a confidence was.

Plain functions of counts; no database. See docs/triage.md, "Learning and estimating", for formulas and sources.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import lgamma, log, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A best guess with bounds that hold at the stated level; all three in the same unit."""

    low: float
    guess: float
    high: float
    level: float = LEVEL

    @property
    def width(self) -> float:
        return self.high - self.low


@dataclass(frozen=True)
class Elusion:
    """A finished random sample of the unseen. Counts of items, as they stood at the moment of the draw.

    `found`: relevant ones known before it; `unseen`: those that nobody had decided; `drawn` of them were read, and
    `hits` of these were relevant. Raises ValueError for counts that cannot be.
    """

    found: int
    unseen: int
    drawn: int
    hits: int

    def __post_init__(self) -> None:
        if not (0 <= self.hits <= self.drawn <= self.unseen and self.found >= 0):
            raise ValueError("an elusion sample needs 0 <= hits <= drawn <= unseen and found >= 0")

    def missed(self, level: float = LEVEL) -> Interval:
        """How many relevant items there were among the unseen when it was drawn, those of the sample included."""
        low, high = relevant_among(self.unseen, self.drawn, self.hits, level)
        rest = (self.unseen - self.drawn) * (self.hits + 0.5) / (self.drawn + 1)
        return Interval(low, min(max(self.hits + rest, low), high), high, level)

    def recall(self, *, found_since: int = 0, level: float = LEVEL) -> Interval:
        """Share of all relevant items found before the draw; with `found_since`, of those found by now.

        `found_since` counts relevant items found in the unseen since the draw, the sample's `hits` among them (0: as it
        was just before the draw). The interval stays right however long the review goes on after it: what it is
        uncertain about, the number missed at the draw, no longer changes. Raises ValueError for fewer than `hits`.
        """
        if found_since and found_since < self.hits:
            raise ValueError("what was found since the draw includes the sample's hits")
        missed, now = self.missed(level), self.found + found_since
        low, guess, high = (
            self._share(now, max(count, found_since)) for count in (missed.high, missed.guess, missed.low)
        )
        return Interval(low, guess, high, level)

    def _share(self, now: int, missed: float) -> float:
        return now / (self.found + missed) if self.found + missed else 1.0


def relevant_among(unseen: int, drawn: int, hits: int, level: float = LEVEL) -> tuple[int, int]:
    """Exact two-sided bounds of the relevant among `unseen`, when `drawn` at random had `hits` relevant ones.

    The numbers K of relevant items under which neither so few nor so many hits have a chance of (1 - level)/2 or less.
    """
    tail = (1 - level) / 2
    most = unseen - (drawn - hits)
    low = _first(hits, most, lambda k: 1 - _at_most(hits - 1, unseen, k, drawn) > tail)
    high = _first(low, most + 1, lambda k: _at_most(hits, unseen, k, drawn) <= tail) - 1
    return low, max(high, low)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first number from `low` for which it holds (it does from there on); `high` when for none below."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def chances_of_hits(unseen: int, relevant: int, drawn: int, most: int | None = None) -> Floats:
    """Hypergeometric: the chance of each number of hits 0..drawn, or 0..most where that is less."""
    hits = np.arange(min(drawn if most is None else most, drawn) + 1)
    logs = np.full(len(hits), -np.inf)
    can = (hits <= relevant) & (drawn - hits <= unseen - relevant)
    x, f = hits[can], _log_factorials(unseen)
    logs[can] = (
        f[relevant] - f[x] - f[relevant - x]
        + f[unseen - relevant] - f[drawn - x] - f[unseen - relevant - drawn + x]
        - f[unseen] + f[drawn] + f[unseen - drawn]
    )  # fmt: skip
    return np.exp(logs)


def _at_most(hits: int, unseen: int, relevant: int, drawn: int) -> float:
    return float(chances_of_hits(unseen, relevant, drawn, hits).sum()) if hits >= 0 else 0.0


@lru_cache(maxsize=4)
def _log_factorials(most: int) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])


def while_drawing(unseen: int, drawn: int, hits: int, level: float = LEVEL) -> tuple[int, int]:
    """Bounds of the relevant among `unseen` that hold at every look while a sample is being read in its random order.

    Wider than `relevant_among`, which holds for a sample whose size was fixed beforehand and which was read to its end.
    The prior-posterior-ratio sequence of Waudby-Smith and Ramdas with Jeffreys' prior: a number K is kept while its
    posterior has not fallen to (1 - level) times its prior, that is while the chance of these hits under K is more
    than (1 - level) times their chance under the prior.
    """
    numbers = np.arange(hits, unseen - (drawn - hits) + 1)
    f, rest = _log_factorials(unseen), unseen - numbers
    logs = (
        f[numbers] - f[numbers - hits]
        + f[rest] - f[rest - (drawn - hits)]
        - f[unseen] + f[unseen - drawn]
    )  # fmt: skip
    under_prior = lgamma(hits + 0.5) + lgamma(drawn - hits + 0.5) - lgamma(drawn + 1) - log(pi)
    kept = numbers[logs > log(1 - level) + under_prior]
    return int(kept[0]), int(kept[-1])


@dataclass(frozen=True)
class Promise:
    """What a sample of `drawn` would buy on average: the lower bound of recall, and the interval's width."""

    drawn: int
    low: float
    width: float


def promise(*, found: int, unseen: int, missed: float, drawn: int, level: float = LEVEL) -> Promise:
    """The mean lower bound and width of a sample yet to be drawn, if `missed` of the unseen are relevant.

    `missed` is a guess: of an earlier sample, or the sum of the calibrated chances of the unseen.
    """
    chances = chances_of_hits(unseen, min(max(round(missed), 0), unseen), drawn)
    low = width = total = 0.0
    for hits in np.flatnonzero(chances > 1e-4):
        interval = Elusion(found, unseen, drawn, int(hits)).recall(level=level)
        total += chances[hits]
        low += chances[hits] * interval.low
        width += chances[hits] * interval.width
    return Promise(drawn, float(low / total), float(width / total))


def kappa(both: int, first_only: int, second_only: int, neither: int, level: float = LEVEL) -> Interval:
    """Cohen's kappa of two readers of the same items, with its interval; 1 is agreement, 0 what chance would give.

    The guess is Cohen's own. The bounds are those of 20,000 draws (always the same ones) from the Dirichlet posterior
    of the four shares under Jeffreys' prior: unlike the large-sample formula they do not shrink to a point when a few
    items had no disagreement.
    """
    counts = np.array([both, first_only, second_only, neither], np.float64)
    if counts.min() < 0 or not counts.sum():
        raise ValueError("kappa needs at least one item that both have read")
    drawn = np.random.default_rng(0).dirichlet(counts + 0.5, 20_000)
    low, high = np.quantile(_kappa(drawn), [(1 - level) / 2, (1 + level) / 2])
    guess = float(_kappa(counts[None] / counts.sum())[0])
    return Interval(min(float(low), guess), guess, max(float(high), guess), level)


def _kappa(shares: Floats) -> Floats:
    both, first, second, neither = shares.T
    by_chance = (both + first) * (both + second) + (neither + first) * (neither + second)
    agreed = both + neither
    rest = np.where(by_chance < 1, 1 - by_chance, 1)
    return np.where(by_chance < 1, (agreed - by_chance) / rest, 1.0)


# --- how good an order or a confidence was --------------------------------------------------------------------------


def wss(found: Sequence[bool] | NDArray[np.bool_], recall: float = 0.95) -> float:
    """Work saved over sampling: the share of the queue left when `recall` of the relevant is found, less 1 - recall.

    `found` says for each item in the order of review whether it was relevant. Raises ValueError when none was.
    """
    order = np.asarray(found, bool)
    places = np.flatnonzero(order)
    if not len(places):
        raise ValueError("no relevant item: there is nothing to find")
    wanted = int(np.ceil(recall * len(places) - 1e-9))
    return float(1 - (places[wanted - 1] + 1) / len(order) - (1 - recall))


def expected_calibration_error(chances: Floats, labels: Floats, bins: int = 10) -> float:
    """ECE: over bins of equal width, the mean distance of stated chance and share of relevant, weighted by items."""
    at = np.minimum((np.asarray(chances) * bins).astype(int), bins - 1)
    gaps = np.bincount(at, np.asarray(chances) - labels, bins)
    return float(np.abs(gaps).sum() / len(labels))


def brier_skill(chances: Floats, labels: Floats) -> float:
    """1 - Brier score / that of always stating the share of relevant ones: 1 is perfect, 0 says nothing."""
    labels = np.asarray(labels, np.float64)
    base = float(np.mean((labels.mean() - labels) ** 2))
    if not base:
        raise ValueError("Brier skill needs items of both kinds")
    return float(1 - np.mean((np.asarray(chances) - labels) ** 2) / base)
