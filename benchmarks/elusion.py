"""How often the interval of a sample by lot holds: at its end, and at every look while it is being read.

    python benchmarks/elusion.py [--runs 1000] [--json]

A pool of unseen items holds some that matter; a sample of it is read in the order of the lot, while a ranked queue that
prefers what matters decides others beside it, some of the lot among them. After every answer somebody looks. Counted is
how many runs had no wrong interval at any look, how many had a right one at the end, and the widths: those of one look
in the middle and of the end. Goal: at least 0.95 of the runs without any wrong interval.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from triage.sampled import Sampled  # noqa: E402

GOAL = 0.95
COLLECTION, RELEVANT = 1000, 100
RECALLS, SHARES = (0.5, 0.8, 0.95), (0.05, 0.1, 0.2)
SEEN = 0.3


def run(rng: np.random.Generator, *, recall: float, size: int) -> tuple[bool, bool, float, float]:
    """One review: whether every look held, whether the end did, the width half-way and at the end."""
    found = round(recall * RELEVANT)
    unseen = round(COLLECTION * (1 - SEEN))
    matters = np.zeros(unseen, bool)
    matters[rng.choice(unseen, RELEVANT - found, replace=False)] = True
    order = rng.permutation(unseen)[:size]
    ranked = iter(np.argsort(-(3 * matters + rng.normal(size=unseen))))
    known = np.zeros(unseen, bool)
    held, half = True, 0.0
    while True:
        gaps = np.flatnonzero(~known[order])
        read = int(gaps[0]) if len(gaps) else size
        now = Sampled(
            found=found,
            unseen=unseen,
            size=size,
            read=read,
            hits=int(matters[order[:read]].sum()),
            found_in_pool=int((known & matters).sum()),
            refused_in_pool=int((known & ~matters).sum()),
        )
        told = now.recall()
        right = told.low - 1e-9 <= now.found_now / RELEVANT <= told.high + 1e-9
        held &= right
        if read <= size // 2:
            half = told.width
        if read == size:
            return held, right, half, told.width
        known[order[read]] = True
        if rng.random() < 0.5:
            known[next(ranked)] = True


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--runs", type=int, default=1000)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    rng, rows = np.random.default_rng(0), []
    for recall in RECALLS:
        for share in SHARES:
            size = round(share * COLLECTION)
            runs = [run(rng, recall=recall, size=size) for _ in range(given.runs)]
            held, right, half, width = np.mean(runs, axis=0)
            rows.append(
                {
                    "recall": recall,
                    "drawn": size,
                    "every_look": held,
                    "end": right,
                    "half": half,
                    "width": width,
                }
            )
    if given.json:
        print(json.dumps(rows))
    else:
        print(f"{COLLECTION} items, {RELEVANT} matter, {SEEN:.0%} seen at the draw; {given.runs} runs each")
        print("recall  drawn  held at every look  held at the end  width half-way  width at the end")
        for row in rows:
            print(
                f"{row['recall']:6.2f} {row['drawn']:6d} {row['every_look']:19.3f} {row['end']:16.3f}"
                f" {row['half']:15.2f} {row['width']:17.2f}"
            )
    return 0 if all(row["every_look"] >= GOAL for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
