"""What a sample says holds at every look, however the review goes on beside it; and it says what it will buy."""

from dataclasses import replace

import numpy as np
import pytest

from triage.sampled import Sampled


def looks(rng, *, unseen=160, relevant=10, size=50, outside=60, likes=3.0):
    """A review of which a sample is read bit by bit while a ranked queue decides others of the pool; every look at it.

    The queue prefers relevant items (by `likes` on a noisy score), so that what it decides of the lot comes too early.
    """
    matters = np.zeros(unseen, bool)
    matters[rng.choice(unseen, relevant, replace=False)] = True
    order = rng.permutation(unseen)[:size]
    ranked = list(np.argsort(-(likes * matters + rng.normal(size=unseen))))
    known = np.zeros(unseen, bool)
    while True:
        gaps = np.flatnonzero(~known[order])
        read = int(gaps[0]) if len(gaps) else size
        yield (
            Sampled(
                found=outside,
                unseen=unseen,
                size=size,
                read=read,
                hits=int(matters[order[:read]].sum()),
                found_in_pool=int((known & matters).sum()),
                refused_in_pool=int((known & ~matters).sum()),
            ),
            (outside + (known & matters).sum()) / (outside + relevant),
        )
        if read == size:
            return
        known[order[read]] = True
        for place in [p for p in ranked if not known[p]][: int(rng.integers(3))]:
            known[place] = True


@pytest.mark.parametrize(("relevant", "likes"), [(2, 3.0), (10, 3.0), (10, 0.0), (60, 2.0)])
def test_the_bounds_of_all_looks_hold_together_while_a_queue_goes_on_beside_the_lot(relevant, likes):
    rng, wrong = np.random.default_rng(relevant), 0
    for _ in range(60):
        wrong += any(
            not told.recall().low - 1e-9 <= true <= told.recall().high + 1e-9
            for told, true in looks(rng, relevant=relevant, likes=likes)
        )
    assert wrong / 60 <= 0.05


def test_a_sample_that_is_read_to_its_end_is_narrower_than_a_look_before_it():
    whole = Sampled(found=80, unseen=500, size=60, read=60, hits=1, found_in_pool=1, refused_in_pool=59)
    before = replace(whole, size=61)
    assert whole.recall().width < before.recall().width
    assert whole.recall().low <= whole.recall().guess <= whole.recall().high


def test_what_could_not_be_told_widens_it():
    clear = Sampled(found=80, unseen=500, size=60, read=60, hits=1, found_in_pool=1, refused_in_pool=59)
    unsure = replace(clear, unsure=5, refused_in_pool=54)
    assert unsure.pool().high > clear.pool().high and unsure.pool().low == clear.pool().low
    open_before = replace(clear, unsettled=4)
    assert open_before.recall().low < clear.recall().low and open_before.recall().high == clear.recall().high


def test_what_is_decided_since_is_never_contradicted():
    told = Sampled(found=0, unseen=20, size=5, read=5, hits=0, found_in_pool=9, refused_in_pool=10)
    low, high = told.bounds()
    assert 9 <= low <= high <= 10 and told.left().high <= 1
    all_known = replace(told, refused_in_pool=11)
    assert all_known.recall().low == all_known.recall().guess == all_known.recall().high == 1


def test_nothing_read_says_nothing():
    told = Sampled(found=10, unseen=90, size=20, read=0, hits=0)
    assert (told.recall().low, told.recall().high) == (0.1, 1.0)


def test_the_promise_is_what_samples_turn_out_to_say():
    fresh = Sampled(found=100, unseen=540, size=64, read=0, hits=0)
    rng = np.random.default_rng(2)
    ends = [
        replace(fresh, read=64, hits=h, found_in_pool=h, refused_in_pool=64 - h).recall()
        for h in map(int, rng.hypergeometric(6, 534, 64, size=300))
    ]
    told = fresh.promise(6)
    assert told.width == pytest.approx(np.mean([end.width for end in ends]), abs=0.02)
    assert told.low == pytest.approx(np.mean([end.low for end in ends]), abs=0.02)
    assert replace(fresh, size=128).promise(6).width < told.width


def test_a_promise_in_the_middle_counts_what_the_queue_decided_meanwhile():
    half = Sampled(found=100, unseen=540, size=64, read=30, hits=1, found_in_pool=4, refused_in_pool=80)
    assert half.recall().low < half.promise().low < 1


def test_a_promise_over_a_hundred_thousand_items_is_told_at_once():
    assert 0 < Sampled(found=2000, unseen=90_000, size=5000, read=0, hits=0).promise(900).low < 1


@pytest.mark.parametrize(
    "odd",
    [
        {"hits": 3, "read": 2, "found_in_pool": 3},
        {"read": 6},
        {"size": 21},
        {"hits": 2, "read": 2},
        {"read": 2},
        {"found_in_pool": 15, "refused_in_pool": 15},
        {"unsettled": -1},
    ],
)
def test_counts_that_cannot_be_are_refused(odd):
    with pytest.raises(ValueError, match="sample|answers"):
        Sampled(**({"found": 1, "unseen": 20, "size": 5, "read": 0, "hits": 0} | odd))
