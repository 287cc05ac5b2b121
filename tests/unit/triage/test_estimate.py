"""Intervals hold as often as they say, by counting every case; agreement and skill are the textbooks'."""

from math import comb

import numpy as np
import pytest

from triage import estimate
from triage.estimate import Elusion


def chance(unseen, relevant, drawn, hits):
    return comb(relevant, hits) * comb(unseen - relevant, drawn - hits) / comb(unseen, drawn)


@pytest.mark.parametrize(("unseen", "drawn"), [(40, 8), (60, 1), (25, 25), (50, 49)])
def test_the_interval_covers_at_its_level_for_every_number_that_may_be_there(unseen, drawn):
    bounds = [estimate.relevant_among(unseen, drawn, hits) for hits in range(drawn + 1)]
    for relevant in range(unseen + 1):
        covered = sum(
            chance(unseen, relevant, drawn, hits)
            for hits, (low, high) in enumerate(bounds)
            if low <= relevant <= high and hits <= relevant and drawn - hits <= unseen - relevant
        )
        assert covered >= 0.95


def test_the_bounds_are_the_widest_numbers_that_the_hits_do_not_contradict():
    low, high = estimate.relevant_among(500, 60, 2)

    def tail(k, hits):
        return sum(chance(500, k, 60, h) for h in hits)

    assert tail(high, range(3)) > 0.025 >= tail(high + 1, range(3))
    assert tail(low, range(2, 61)) > 0.025
    assert low == 2 or tail(low - 1, range(2, 61)) <= 0.025


def test_a_sample_of_all_that_is_unseen_leaves_no_doubt():
    assert estimate.relevant_among(30, 30, 4) == (4, 4)
    interval = Elusion(found=6, unseen=30, drawn=30, hits=4).recall()
    assert interval.low == interval.guess == interval.high == 0.6


def test_no_hit_leaves_about_3_7_in_m():
    _, high = estimate.relevant_among(100_000, 1000, 0)
    assert high / 100_000 == pytest.approx(3.69 / 1000, rel=0.02)


def test_nothing_drawn_says_nothing():
    interval = Elusion(found=10, unseen=90, drawn=0, hits=0).recall()
    assert (interval.low, interval.high) == (0.1, 1.0)


def test_nothing_found_and_nothing_there_is_all_of_it():
    assert Elusion(found=0, unseen=0, drawn=0, hits=0).recall().low == 1.0


@pytest.mark.parametrize("counts", [(1, 5, 6, 0), (1, 5, 3, 4), (-1, 5, 3, 1), (1, 5, 3, -1)])
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(ValueError, match="hits <= drawn"):
        Elusion(*counts)


def test_reviewing_on_after_the_draw_only_raises_the_bounds_and_they_still_hold():
    drawn = Elusion(found=80, unseen=500, drawn=60, hits=1)
    before, after = drawn.recall(), drawn.recall(found_since=12)
    assert before.low < after.low and before.high < after.high <= 1
    low, high = estimate.relevant_among(500, 60, 1)
    assert after.low == pytest.approx(92 / (80 + high)) and after.high == pytest.approx(92 / 92)
    assert drawn.recall(found_since=1).low == pytest.approx(81 / (80 + high))
    with pytest.raises(ValueError, match="includes"):
        Elusion(found=80, unseen=500, drawn=60, hits=3).recall(found_since=2)


def test_looking_after_every_item_of_a_sample_covers_at_the_level():
    rng, missed = np.random.default_rng(1), 0
    for _ in range(300):
        unseen = rng.permutation(np.arange(200) < 12)
        hits = 0
        for drawn, hit in enumerate(unseen[:80], 1):
            hits += int(hit)
            low, high = estimate.while_drawing(200, drawn, hits)
            if not low <= 12 <= high:
                missed += 1
                break
    assert missed / 300 <= 0.05


def test_the_width_promised_is_the_width_that_samples_have():
    told = estimate.promise(found=100, unseen=540, missed=6, drawn=64)
    rng = np.random.default_rng(2)
    widths = [
        Elusion(100, 540, 64, int(hits)).recall().width for hits in rng.hypergeometric(6, 534, 64, size=400)
    ]
    assert told.width == pytest.approx(np.mean(widths), abs=0.02)
    more = estimate.promise(found=100, unseen=540, missed=6, drawn=128)
    assert more.width < told.width and more.low > told.low


def test_kappa_is_cohens_own_and_its_interval_does_not_vanish():
    found = estimate.kappa(20, 5, 10, 15)  # the textbook's example: 0.4
    assert found.guess == pytest.approx(0.4) and 0.13 < found.low < 0.2 and 0.58 < found.high < 0.66
    same = estimate.kappa(4, 0, 0, 6)
    assert same.guess == same.high == 1 and same.low < 0.8
    assert estimate.kappa(0, 0, 0, 5).guess == 1
    assert found == estimate.kappa(20, 5, 10, 15)
    with pytest.raises(ValueError, match="at least one"):
        estimate.kappa(0, 0, 0, 0)


def test_kappas_interval_covers():
    rng = np.random.default_rng(3)
    shares = np.array([0.15, 0.04, 0.06, 0.75])
    true = float(estimate._kappa(shares[None])[0])
    inside = 0
    for _ in range(60):
        found = estimate.kappa(*(int(n) for n in rng.multinomial(80, shares)))
        inside += found.low <= true <= found.high
    assert inside / 60 >= 0.88


def test_work_saved_over_sampling():
    assert estimate.wss([True] * 10 + [False] * 90) == pytest.approx(0.85)
    assert estimate.wss([False] * 90 + [True] * 10) == pytest.approx(-0.95 + 0.90 + 0.0, abs=0.06)
    with pytest.raises(ValueError, match="nothing to find"):
        estimate.wss([False, False])


def test_a_constant_has_no_skill_however_well_it_is_calibrated():
    labels = np.array([1, 0, 0, 0] * 25)
    constant = np.full(100, 0.25)
    assert estimate.expected_calibration_error(constant, labels) == pytest.approx(0)
    assert estimate.brier_skill(constant, labels) == pytest.approx(0)
    assert estimate.brier_skill(labels.astype(float), labels) == 1
    assert estimate.expected_calibration_error(np.ones(100), labels) == pytest.approx(0.75)
