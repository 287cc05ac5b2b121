"""From rules, likeness or what was learned, and waiting, to one score for each item, and to an order. No database.

    score = learned + rules + waiting        each in thousandths, so that the parts sum to the score exactly

    rules    factor x points
    learned  nothing; or likeness to the examples, in standard deviations from its mean; or slope x log-odds + offset
    waiting  one point for every so many days since the item came in

An item without a vector has the mean of the others' learned parts. One that no model has looked at stands level with the
lowest of those that were, and rises from there by rules and by waiting. docs/triage.md says why it is so.

The same numbers and the same seed give the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triage.learning import Calibration, Start, sigmoid

Floats = NDArray[np.floating[Any]]
Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]
ROUNDING = 1e-5  # by less than this may a number differ that is fitted again on another processor


@dataclass(frozen=True)
class Combination:
    """How the parts of a score are put together. `calibrated`: its log-odds are chances that were held out and fitted."""

    slope: float = 0.0
    offset: float = 0.0
    rules: float = 1.0
    calibrated: bool = False

    def as_json(self) -> dict[str, Any]:
        """For storage; `of_json` gives the same numbers back."""
        numbers = {"slope": self.slope, "offset": self.offset, "rules": self.rules}
        return {
            **{name: float(value).hex() for name, value in numbers.items()},
            "calibrated": self.calibrated,
        }

    def near(self, other: "Combination") -> bool:
        """Whether they are the same but for rounding."""
        mine, theirs = ((how.slope, how.offset, how.rules) for how in (self, other))
        return self.calibrated == other.calibrated and np.allclose(mine, theirs, rtol=ROUNDING, atol=ROUNDING)

    @classmethod
    def of_json(cls, told: dict[str, Any]) -> "Combination":
        """What `as_json` told."""
        numbers = {name: float.fromhex(told[name]) for name in ("slope", "offset", "rules")}
        return cls(**numbers, calibrated=told["calibrated"])


@dataclass(frozen=True)
class Parts:
    """Each item's score and what it is the sum of, in thousandths."""

    learned: Whole
    rules: Whole
    waiting: Whole

    @property
    def score(self) -> Whole:
        """The sum."""
        return self.learned + self.rules + self.waiting

    def chances(self) -> Floats:
        """0 to 1, where the combination is calibrated: waiting makes nothing likelier."""
        return sigmoid((self.learned + self.rules) / 1000)


@dataclass(frozen=True)
class Order:
    """Which items come after each other, as places in the arrays that it was made from, and which of them by lot."""

    places: NDArray[np.intp]
    by_lot: Flags


def combination(
    start: Start,
    raw: Floats | None,
    *,
    calibration: Calibration | None,
    held_out: tuple[Floats, Floats, Floats] | None,
) -> Combination:
    """How to combine. `raw`: what the learner says of the items that have vectors.

    `held_out`: of each answer, the learner's score without it, the points by rules, and the answer (1 or 0).
    """
    if raw is None or start is Start.NOTHING:
        return Combination()
    if start is Start.EXAMPLES:
        spread = float(np.std(raw, dtype=np.float64))
        slope = 1 / spread if spread > 1e-6 else 0.0
        return Combination(slope, -slope * float(np.mean(raw, dtype=np.float64)))
    if calibration is None or held_out is None:
        return Combination(1.0, 0.0)
    scores, points, answers = held_out
    factor, shift = _worth(calibration.slope * scores + calibration.offset, points, answers)
    return Combination(calibration.slope, calibration.offset + shift, factor, calibrated=True)


def _worth(learned: Floats, points: Floats, answers: Floats) -> tuple[float, float]:
    """What a point is worth in log-odds beside what was learned, and the shift that belongs to it.

    Logistic regression of the answers on the points, with what was learned as its fixed part. Before it is fitted a point
    is worth 1, give or take 1 (a normal prior); a rule that the answers speak against is worth nothing, never less.
    """
    if np.ptp(points) == 0:
        return 1.0, -float(points[0])
    middle = float(points.mean())
    factor, shift, away = 1.0, 0.0, points - middle
    for _ in range(50):
        chance = sigmoid(learned + factor * away + shift)
        slope = np.array([away @ (chance - answers) + factor - 1, (chance - answers).sum()])
        bend = chance * (1 - chance)
        cross = float(bend @ away)
        curve = np.array([[bend @ away**2 + 1, cross], [cross, bend.sum() + 1e-9]])
        step = np.clip(np.linalg.solve(curve, slope), -1, 1)
        factor, shift = factor - float(step[0]), shift - float(step[1])
        if np.abs(step).max() < 1e-9:
            break
    if factor < 0:
        return 0.0, 0.0
    return factor, shift - factor * middle


def combine(
    how: Combination,
    *,
    raw: Floats | None,
    has_vector: Flags,
    points: Whole,
    looked_at: Flags,
    waited_days: Whole,
    days_a_point: int,
) -> Parts:
    """Score items. `raw` speaks of those with `has_vector`, in their order; `points` are thousandths."""
    learned = np.zeros(len(points), np.int64)
    if raw is not None and len(raw):
        told = np.rint(1000 * (how.slope * np.asarray(raw, np.float64) + how.offset)).astype(np.int64)
        learned[has_vector] = told
        learned[~has_vector] = int(round(float(told.mean())))
    rules = np.rint(how.rules * points).astype(np.int64)
    if looked_at.any():
        learned[~looked_at] = (learned + rules)[looked_at].min()
    return Parts(learned, rules, waited_days * 1000 // days_a_point)


def order(
    score: Whole, arrival: Whole, *, behind: Whole | None = None, audit_percent: int = 0, seed: int = 0
) -> Order:
    """The order: by score from high to low, equal ones by arrival; those with a greater `behind` after all others.

    Each place of those with `behind` 0 goes, with a chance of `audit_percent`, to one drawn by lot from all that have no
    place yet. The draw uses the raw numbers of PCG64 alone, which no version of numpy may change.
    """
    behind = np.zeros(len(score), np.int64) if behind is None else behind
    ranked = np.lexsort((arrival, -score, behind))
    waiting = int((behind == 0).sum())
    by_lot = np.zeros(len(score), bool)
    if not audit_percent or not waiting:
        return Order(ranked, by_lot)
    raw = np.random.PCG64(seed)
    by_lot[:waiting] = raw.random_raw(waiting) < np.uint64(audit_percent * (2**64 // 100))
    best = ranked[:waiting].tolist()
    lot = np.sort(ranked[:waiting])[np.argsort(raw.random_raw(waiting), kind="stable")].tolist()
    placed, places, at = bytearray(len(score)), [], [0, 0]
    for drawn in by_lot[:waiting].tolist():
        source = lot if drawn else best
        while placed[source[at[drawn]]]:
            at[drawn] += 1
        placed[source[at[drawn]]] = 1
        places.append(source[at[drawn]])
    return Order(np.concatenate([np.array(places, np.intp), ranked[waiting:]]), by_lot)


def upcoming(found: Order, waiting: Flags, most: int) -> list[int]:
    """The next places to look at, of those still waiting: what the queue shows, and a replayed review too."""
    return [int(i) for i in found.places[waiting[found.places]][:most]]


def uncertain(chances: Floats | Whole, arrival: Whole) -> NDArray[np.intp]:
    """Places by how near a chance is to one half (or a sum of log-odds to 0), the nearest first."""
    away = np.abs(chances - 0.5) if np.issubdtype(chances.dtype, np.floating) else np.abs(chances)
    return np.lexsort((arrival, away))


def shares(contributions: Sequence[int], total: int, factor: float) -> list[int]:
    """Contributions in thousandths times a factor, whole, summing to `total` exactly: the largest takes the rest."""
    scaled = [round(factor * one) for one in contributions]
    if scaled:
        most = max(range(len(scaled)), key=lambda i: (abs(scaled[i]), -i))
        scaled[most] += total - sum(scaled)
    return scaled
