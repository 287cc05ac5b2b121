"""Learners of others, to hold the simulation against. They are optional: what is not installed is said, not left out."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triage import simulation
from triage.simulation import EVERY, Labels


@dataclass(frozen=True)
class Peer:
    """What another learner did with the same features and examples: an order for each seed, or why there is none."""

    name: str
    orders: list[list[int]]
    absent: str = ""


def asreview(features: NDArray[np.float32], labels: Labels, *, seeds: int, examples: int) -> Peer:
    """ASReview's usual learner (a linear SVM with its balancer), in its own loop and a process of its own."""
    if importlib.util.find_spec("asreview") is None:
        return Peer("ASReview", [], "not installed here (pip install asreview)")
    given = [simulation.start(labels, seed=seed, examples=examples)[0] for seed in range(seeds)]
    with tempfile.TemporaryDirectory(prefix="amparo-asreview-") as folder:
        task = Path(folder, "task.npz")
        np.savez(task, features=features, labels=labels, given=np.array(given, np.intp), every=EVERY)
        program = Path(__file__).with_name("asreview_loop.py")
        ran = subprocess.run([sys.executable, program, task], cwd=folder, capture_output=True, text=True)
    if ran.returncode:
        return Peer("ASReview", [], f"failed: {(ran.stderr.strip().splitlines() or ['no message'])[-1]}")
    told = json.loads(ran.stdout)
    orders = [_whole(order, given[s], len(labels)) for s, order in enumerate(told["orders"])]
    return Peer(f"ASReview {told['version']}", orders)


def _whole(order: list[int], given: list[int], items: int) -> list[int]:
    """Its loop ends with the last relevant item; the rest of the order changes nothing."""
    return [*order, *sorted(set(range(items)) - set(order) - set(given))]
