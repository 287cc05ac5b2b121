"""A review replayed with an oracle in the analyst's place, through the same learning and ordering code as the queue's.

Measures order, calibration and interval on a collection whose labels are known. Nothing is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triage import estimate, ordering
from triage.learning import Kernel, Mixed, Ranker, Start, inner, joined, sigmoid

Labels = NDArray[np.bool_]
Places = NDArray[np.intp]
EVERY = 5  # decisions from one refit to the next; past 100 decisions a twentieth of them
AUDIT = 5  # percent of the queue that comes by lot, unless a case says otherwise
EFFORTS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
RECALLS = (0.5, 0.8, 0.95)
SAMPLES = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds."""

    mean: float
    sd: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0)


@dataclass(frozen=True)
class Learner:
    """A way of ordering: a matrix for the items and a kernel."""

    name: str
    features: NDArray[np.float32]
    kernel: Kernel

    def ranker(self) -> Ranker:
        return Ranker(self.features, self.kernel)


def learners(blocks: Mapping[str, NDArray[np.float32]]) -> list[Learner]:
    """Amparo's own learner, and a plain logistic regression on each single embedder beside it."""
    plain = [
        Learner(f"logistic regression on {name}", joined({name: blocks[name]}), inner) for name in blocks
    ]
    kernel = Mixed.over({name: block.shape[1] for name, block in blocks.items()})
    return [Learner("amparo", joined(blocks), kernel), *plain]


def start(
    labels: Labels, *, seed: int, examples: int, pool: Places | None = None
) -> tuple[list[int], Places]:
    """The relevant items given beforehand, and the rest of the pool (or of all items) as it came in: at random."""
    lot = np.random.default_rng(seed).permutation(len(labels) if pool is None else pool)
    given = [int(i) for i in lot if labels[i]][:examples]
    return given, lot[~np.isin(lot, given)]


def review(
    learner: Learner,
    labels: Labels,
    *,
    seed: int,
    examples: int,
    stop: int | None = None,
    pool: Places | None = None,
    audit: int = 0,
) -> tuple[list[int], Ranker]:
    """The order in which the items come up, without the examples; `pool` limits what may be looked at.

    Until there are decisions of both kinds items come by likeness to the examples, or as they came in where there are
    none. `audit` is the share by lot, in percent.
    """
    ranker = learner.ranker()
    given, lot = start(labels, seed=seed, examples=examples, pool=pool)
    ranker.decide((i, True) for i in given)
    arrival = np.full(len(labels), len(labels))
    arrival[lot] = np.arange(len(lot))
    waiting = np.zeros(len(labels), bool)
    waiting[lot] = True
    order: list[int] = []
    wanted = len(lot) if stop is None else min(stop, len(lot))
    while len(order) < wanted:
        if stop is None and not labels[waiting].any():  # all found: the rest of the order changes nothing
            return [*order, *lot[waiting[lot]].tolist()], ranker
        ranker.refit()
        batch = max(EVERY, len(ranker.labels) // 20) if ranker.start is Start.DECISIONS else 1
        queue = _queue(ranker, arrival, waiting, audit=audit, seed=seed * len(labels) + len(order))
        for item in ordering.upcoming(queue, waiting, min(batch, wanted - len(order))):
            ranker.decide([(item, bool(labels[item]))])
            waiting[item] = False
            order.append(item)
    return order, ranker


def _queue(ranker: Ranker, arrival: Places, waiting: Labels, *, audit: int, seed: int) -> ordering.Order:
    """The queue's order as it would be without rules, all items having come in on one day."""
    raw = ranker.scores()
    how = ordering.combination(ranker.start, raw, calibration=None, held_out=None)
    none, all_ = np.zeros(len(arrival), np.int64), np.ones(len(arrival), bool)
    parts = ordering.combine(
        how, raw=raw, has_vector=all_, points=none, looked_at=all_, waited_days=none, days_a_point=1
    )
    return ordering.order(
        parts.score, arrival, behind=(~waiting).astype(np.int64), audit_percent=audit, seed=seed
    )


def judged(name: str, orders: Sequence[Sequence[int]], labels: Labels) -> dict[str, Any]:
    """Recall against effort and WSS@95 of orders, mean and deviation. Examples count in neither."""
    found = [labels[list(order)] for order in orders]
    return {
        "name": name,
        "wss95": asdict(Spread.of([estimate.wss(one) for one in found])),
        "recall": {
            str(effort): asdict(
                Spread.of([float(one[: round(effort * len(one))].sum() / one.sum()) for one in found])
            )
            for effort in EFFORTS
        },
    }


def orders_of(
    learner: Learner, labels: Labels, *, seeds: int, examples: int, audit: int = 0
) -> list[list[int]]:
    """A learner's order for each seed."""
    return [review(learner, labels, seed=s, examples=examples, audit=audit)[0] for s in range(seeds)]


def calibration(
    learner: Learner, labels: Labels, *, seeds: int, examples: int, decisions: int = 200
) -> dict[str, Any]:
    """ECE and Brier skill on a held-out 30 % that the review never saw, after that many decisions at most."""
    rows: dict[str, list[float]] = {name: [] for name in ("ece", "skill", "ece_raw", "skill_raw")}
    taken = 0
    for seed in range(seeds):
        shuffled = np.random.default_rng([seed, 30]).permutation(len(labels))
        held, pool = np.split(shuffled, [round(0.3 * len(labels))])
        order, ranker = review(learner, labels, seed=seed, examples=examples, stop=decisions, pool=pool)
        ranker.refit(calibrate=True)
        scores, chances = ranker.scores(), ranker.chances()
        if ranker.model is None or scores is None or chances is None or len(set(labels[held].tolist())) < 2:
            continue
        taken = max(taken, len(order))
        truth = labels[held].astype(float)
        for end, values in (("", chances[held]), ("_raw", sigmoid(scores[held]))):
            rows["ece" + end].append(estimate.expected_calibration_error(values, truth))
            rows["skill" + end].append(estimate.brier_skill(values, truth))
    return {
        "decisions": taken,
        "seeds": len(rows["ece"]),
        **{name: asdict(Spread.of(values)) for name, values in rows.items() if values},
    }


def intervals(orders: Sequence[Sequence[int]], labels: Labels, *, runs: int = 100) -> list[dict[str, Any]]:
    """Coverage and mean width of the 95 % interval of recall so far, by true recall and size of the elusion sample.

    The review stops where the recall is first reached; a fresh sample is drawn from what is unseen then. The runs
    are dealt out over the orders.
    """
    rows = []
    for recall in RECALLS:
        for share in SAMPLES:
            held, widths = 0, []
            for run in range(runs):
                found = labels[list(orders[run % len(orders)])]
                places = np.flatnonzero(found)
                stop = places[int(np.ceil(recall * len(places) - 1e-9)) - 1] + 1
                seen, unseen = found[:stop], found[stop:]
                drawn = min(round(share * len(found)), len(unseen))
                sample = np.random.default_rng([run, 95]).choice(unseen, drawn, replace=False)
                interval = estimate.Elusion(int(seen.sum()), len(unseen), drawn, int(sample.sum())).recall()
                held += interval.low - 1e-12 <= seen.sum() / found.sum() <= interval.high + 1e-12
                widths.append(interval.width)
            rows.append(
                {"recall": recall, "sample": share, "coverage": held / runs, "width": float(np.mean(widths))}
            )
    return rows


def run(
    blocks: Mapping[str, NDArray[np.float32]], labels: Labels, *, seeds: int = 10, examples: int = 1
) -> dict[str, Any]:
    """What `manage.py triage simulate` tells of Amparo's own order. Raises ValueError where there is nothing to find."""
    if not examples < int(labels.sum()) < len(labels):
        raise ValueError(
            "a screening task needs more relevant items than examples, and some that are not relevant"
        )
    own, *others = learners(blocks)
    orders = orders_of(own, labels, seeds=seeds, examples=examples)
    lots = orders_of(own, labels, seeds=seeds, examples=examples, audit=AUDIT)
    random = [start(labels, seed=s, examples=examples)[1].tolist() for s in range(seeds)]
    return {
        "items": len(labels),
        "relevant": int(labels.sum()),
        "seeds": seeds,
        "examples": examples,
        "embedders": list(blocks),
        "orders": [
            judged(own.name, orders, labels),
            judged(f"{own.name}, {AUDIT} % by lot", lots, labels),
            *(
                judged(one.name, orders_of(one, labels, seeds=seeds, examples=examples), labels)
                for one in others
            ),
            judged("random order", random, labels),
        ],
        "calibration": calibration(own, labels, seeds=seeds, examples=examples),
        "intervals": intervals(orders, labels),
    }
