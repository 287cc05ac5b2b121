"""A review by ASReview's learner in ASReview's own loop. Run as a program, in a folder that may be littered.

    python asreview_loop.py TASK.npz    prints {"version": ..., "orders": [[record, ...], ...]}, one order for each seed

TASK.npz holds `features`, `labels`, `given` (for each seed, the records known beforehand) and `every`, the decisions from
one refit to the next. Imports nothing of Amparo's: importing asreview takes seconds and leaves a cache file where it runs.
"""

import json
import sys
from typing import Any

import numpy as np
from asreview import ActiveLearningCycle, Simulate, __version__
from asreview.models.balancers import Balanced
from asreview.models.classifiers import SVM
from asreview.models.models import get_ai_config
from asreview.models.queriers import Max, Random
from asreview.models.stoppers import IsFittable


def order(features: Any, labels: Any, given: list[int], seed: int, every: int) -> list[int]:
    """The records in the order in which they came up until the last relevant one, without those given."""
    usual = get_ai_config()["value"]  # of ASReview 3: ELAS u4
    cycles = [
        ActiveLearningCycle(Random(random_state=seed), stopper=IsFittable()),
        ActiveLearningCycle(
            Max(),
            SVM(**usual.classifier_param, random_state=seed),
            Balanced(**usual.balancer_param),
            n_query=lambda results: max(every, len(results) // 20),
        ),
    ]
    simulate = Simulate(features, labels, cycles, skip_transform=True, print_progress=False)
    if given:
        simulate.label(given)
    simulate.review()
    return [int(record) for record in simulate._results["record_id"]][len(given) :]


def main() -> None:
    """One order for each seed."""
    task = np.load(sys.argv[1])
    labels = task["labels"].astype(int)
    orders = [
        order(task["features"], labels, given.tolist(), seed, int(task["every"]))
        for seed, given in enumerate(task["given"])
    ]
    json.dump({"version": __version__, "orders": orders}, sys.stdout)


if __name__ == "__main__":
    main()
