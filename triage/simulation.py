"""A review replayed with an oracle in the analyst's place, through the same learning code as the queue's.

Measures order, calibration and interval on a collection whose labels are known. Nothing is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triage import estimate
from triage.learning import Ranker, Start, inner, joined, likeness, sigmoid

Labels = NDArray[np.bool_]
EVERY = 5  # decisions from one refit to the next
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
    linear: bool = False

    def ranker(self) -> Ranker:
        return Ranker(self.features, kernel=inner if self.linear else likeness)


def learners(blocks: Mapping[str, NDArray[np.float32]]) -> list[Learner]:
    """Amparo's own learner, and a plain logistic regression on each single embedder beside it."""
    plain = [Learner(f"logistic regression on {name}", joined({name: blocks[name]}), True) for name in blocks]
    return [Learner("amparo", joined(blocks)), *plain]


def review(
    learner: Learner,
    labels: Labels,
    *,
    seed: int,
    examples: int,
    stop: int | None = None,
    pool: NDArray[np.intp] | None = None,
) -> tuple[list[int], Ranker]:
    """The order in which the items come up, without the examples; `pool` limits what may be looked at.

    Examples are relevant items given beforehand. Until there are decisions of both kinds items come by likeness to the
    examples, or at random where there are none.
    """
    rng = np.random.default_rng(seed)
    lot = rng.permutation(len(labels) if pool is None else pool)
    ranker = learner.ranker()
    given = [int(i) for i in lot if labels[i]][:examples]
    ranker.decide((i, True) for i in given)
    waiting = np.ones(len(labels), bool)
    waiting[given] = False
    lot = lot[waiting[lot]]
    place = np.full(len(labels), len(labels))
    place[lot] = np.arange(len(lot))
    order: list[int] = []
    wanted = len(lot) if stop is None else min(stop, len(lot))
    while len(order) < wanted:
        if (
            stop is None and not labels[lot[waiting[lot]]].any()
        ):  # all found: the rest of the order changes nothing
            return [*order, *lot[waiting[lot]].tolist()], ranker
        ranker.refit()
        scores = ranker.scores()
        left = lot[waiting[lot]]
        batch = EVERY if ranker.start is Start.DECISIONS else 1
        if scores is not None:
            left = left[np.lexsort((place[left], -scores[left]))]
        for item in left[: min(batch, wanted - len(order))].tolist():
            ranker.decide([(item, bool(labels[item]))])
            waiting[item] = False
            order.append(item)
    return order, ranker


def replay_order(learner: Learner, labels: Labels, *, seeds: int, examples: int) -> dict[str, Any]:
    """Recall against effort and WSS@95 of a learner, mean and deviation over seeds. Examples count in neither."""
    orders = [labels[review(learner, labels, seed=s, examples=examples)[0]] for s in range(seeds)]
    return {
        "name": learner.name,
        "wss95": asdict(Spread.of([estimate.wss(found) for found in orders])),
        "recall": {
            str(effort): asdict(
                Spread.of(
                    [float(found[: round(effort * len(found))].sum() / found.sum()) for found in orders]
                )
            )
            for effort in EFFORTS
        },
    }


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


def intervals(
    learner: Learner, labels: Labels, *, seeds: int, examples: int, runs: int = 100
) -> list[dict[str, Any]]:
    """Coverage and mean width of the 95 % interval of recall so far, by true recall and size of the elusion sample.

    The review stops where the recall is first reached; a fresh sample is drawn from what is unseen then. The runs
    are dealt out over the seeds' orders.
    """
    orders = [labels[review(learner, labels, seed=s, examples=examples)[0]] for s in range(seeds)]
    rows = []
    for recall in RECALLS:
        for share in SAMPLES:
            held, widths = 0, []
            for run in range(runs):
                found = orders[run % seeds]
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
    """All that `manage.py triage simulate` tells. Raises ValueError where there is nothing to find by examples."""
    if not examples < int(labels.sum()) < len(labels):
        raise ValueError(
            "a screening task needs more relevant items than examples, and some that are not relevant"
        )
    own, *others = learners(blocks)
    lots = [estimate.wss(np.random.default_rng([s, 1]).permutation(labels)) for s in range(seeds)]
    return {
        "items": len(labels),
        "relevant": int(labels.sum()),
        "seeds": seeds,
        "examples": examples,
        "embedders": list(blocks),
        "orders": [replay_order(one, labels, seeds=seeds, examples=examples) for one in (own, *others)],
        "random": asdict(Spread.of(lots)),
        "calibration": calibration(own, labels, seeds=seeds, examples=examples),
        "intervals": intervals(own, labels, seeds=seeds, examples=examples),
    }
