"""The learned part of ranking: separable things are learned, reasons are decisions, everything replays."""

import time

import numpy as np
import pytest

from triage import learning
from triage.learning import Mixed, Ranker, Start, joined


def pool(items=400, relevant=40, seed=0):
    """Two blocks of unlike width and scale; the relevant ones lie apart in both."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(items, bool)
    labels[rng.choice(items, relevant, replace=False)] = True
    wide = rng.normal(size=(items, 60)) * 100 + labels[:, None] * 90
    narrow = rng.normal(size=(items, 12)) * 0.01 + labels[:, None] * 0.008
    return {"wide": wide, "narrow": narrow}, labels


def ranker_of(blocks):
    return Ranker(joined(blocks), Mixed.over({name: block.shape[1] for name, block in blocks.items()}))


@pytest.fixture(scope="module")
def decided():
    blocks, labels = pool()
    ranker = ranker_of(blocks)
    ranker.decide((i, bool(labels[i])) for i in range(150))
    ranker.refit(calibrate=True)
    return ranker, labels


def test_a_blocks_say_is_as_the_root_of_its_width_whatever_its_scale():
    blocks, _ = pool()
    whole = joined(blocks)
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=2e-3)  # for the whole steps
    narrow = 12**0.5 / (12**0.5 + 60**0.5)  # it is first by name
    assert np.allclose(np.linalg.norm(whole[:, :12], axis=1) ** 2, narrow, atol=2e-3)
    assert np.allclose(whole, joined({**blocks, "wide": blocks["wide"] * 7 + 3}), atol=learning.STEP)


def test_no_digit_depends_on_the_order_in_which_a_sum_is_made():
    """Guards the replay on another processor: features, likenesses and scores are sums of whole steps."""
    rng = np.random.default_rng(0)
    rows = joined({"a": rng.normal(size=(60, 1000)) ** 3, "b": rng.normal(size=(60, 3000))})
    turned = rng.permutation(4000)
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    assert np.array_equal(rows @ rows.T, exact) and exact.max() <= 1
    assert np.array_equal(rows[:, turned] @ rows[:, turned].T, exact)
    like = learning.likeness(rows, rows)
    assert np.array_equal(like[:, 7:9], learning.likeness(rows[:, turned], rows[7:9][:, turned]))
    assert (like.diagonal() == 1).all()
    kernel = Mixed.over({"a": 1000, "b": 3000})
    like, inside = kernel(rows, rows), np.r_[turned[turned < 1000], turned[turned >= 1000]]
    assert np.array_equal(like[:, 7:9], kernel(rows[:, inside], rows[7:9][:, inside]))
    assert np.array_equal(like / learning.FINE, np.rint(like / learning.FINE))
    labels = np.arange(60) % 3 == 0
    model = learning.fit(like, np.arange(60), labels.astype(float))
    other = learning.Model(model.shares[::-1], model.intercept)
    assert np.array_equal(model.scores(like.T), other.scores(like.T[::-1]))
    assert np.array_equal(model.scores(like.T), like.astype(np.float64) @ model.shares + model.intercept)


def test_the_kernel_is_half_likeness_over_all_and_half_the_cosine_of_the_lead():
    rng = np.random.default_rng(0)
    blocks = {"a": rng.normal(size=(40, 30)), learning.LEAD: rng.normal(size=(40, 50))}
    widths = {name: block.shape[1] for name, block in blocks.items()}
    rows, alone = joined(blocks), joined({learning.LEAD: blocks[learning.LEAD]})
    halves = (learning.likeness(rows, rows) + alone @ alone.T) / 2
    assert np.allclose(Mixed.over(widths)(rows, rows), halves, atol=2e-3)  # for the whole steps
    assert Mixed.over({"b": 3, "a": 2}).lead == slice(0, 2)  # without the lead the first by name


def test_the_other_embedders_cannot_drown_what_the_lead_sees():
    """Guards hard tasks: the join alone falls far below the lead's plain regression where the others see nothing."""
    rng = np.random.default_rng(3)
    labels = rng.random(600) < 0.2
    lead = rng.normal(size=(600, 40)) + labels[:, None] * 0.45
    blocks = {learning.LEAD: lead, "other": rng.normal(size=(600, 8)) @ rng.normal(size=(8, 2000))}

    def found(ranker):
        ranker.decide((i, bool(labels[i])) for i in range(200))
        ranker.refit()
        order = 200 + np.argsort(-ranker.scores()[200:])
        return labels[order[: labels[200:].sum()]].mean()

    own, likeness = found(ranker_of(blocks)), found(Ranker(joined(blocks), learning.likeness))
    plain = found(Ranker(joined({learning.LEAD: lead}), learning.inner))
    assert own > likeness + 0.05 and own > plain - 0.03


def test_blocks_of_different_items_and_none_at_all_are_refused():
    with pytest.raises(ValueError, match="same items"):
        joined({"a": np.ones((3, 2)), "b": np.ones((4, 2))})
    with pytest.raises(ValueError, match="same items"):
        joined({})


def test_a_constant_column_and_an_empty_picture_are_no_trouble():
    assert np.isfinite(joined({"a": np.zeros((5, 3))})).all()


def test_before_there_are_decisions_of_both_kinds_nothing_is_learned():
    ranker = ranker_of(pool()[0])
    assert ranker.refit() is Start.NOTHING and ranker.scores() is None
    ranker.decide([(0, False), (1, False)])
    assert ranker.refit() is Start.NOTHING and ranker.scores() is None and ranker.doubtful() == []


def test_one_example_orders_by_likeness_to_it():
    blocks, labels = pool()
    ranker = ranker_of(blocks)
    example = int(np.flatnonzero(labels)[0])
    ranker.decide([(example, True)])
    assert ranker.refit() is Start.EXAMPLES and ranker.chances() is None
    order = np.argsort(-ranker.scores(), kind="stable")
    assert order[0] == example and labels[order[:20]].mean() > 3 * labels.mean()
    assert [r.place for r in ranker.reasons(int(order[1]))] == [example]


def test_decisions_bring_the_relevant_ones_up(decided):
    ranker, labels = decided
    order = np.argsort(-ranker.scores(), kind="stable")
    unseen = [i for i in order if i >= 150]
    assert labels[unseen[: labels[150:].sum()]].mean() > 0.9


def test_the_fit_is_where_the_slope_is_zero():
    blocks, labels = pool(80, 20)
    features = joined(blocks).astype(float)[:, :8]
    weights = learning.balanced(labels.astype(float))
    solution = learning.fit_logistic(features, labels.astype(float), 0.1, weights)
    residual = weights * (learning.sigmoid(features @ solution[:-1] + solution[-1]) - labels)
    assert np.allclose(features.T @ residual + 0.1 * solution[:-1], 0, atol=1e-3)
    assert abs(residual.sum()) < 1e-3


def test_the_same_decisions_give_the_same_scores_and_reasons():
    blocks, labels = pool()
    runs = []
    for parts in ([range(90)], [range(30), range(30, 90)]):  # at once, or with a refit between
        ranker = ranker_of(blocks)
        for part in parts:
            ranker.decide((i, bool(labels[i])) for i in part)
            ranker.refit()
        runs.append((ranker.scores(), ranker.reasons(200)))
    assert np.array_equal(runs[0][0], runs[1][0]) and runs[0][1] == runs[1][1]


def test_reasons_are_decided_items_of_the_kind_that_the_item_is_ranked_as(decided):
    ranker, labels = decided
    order = np.argsort(-ranker.scores(), kind="stable")
    for place, kind in ((int(order[0]), True), (int(order[-1]), False)):
        reasons = ranker.reasons(place)
        assert len(reasons) == 2 and all(r.relevant is kind and r.place < 150 for r in reasons)
        assert all((r.share > 0) is kind for r in reasons) and abs(reasons[0].share) >= abs(reasons[1].share)


def test_chances_keep_the_order_and_lie_near_the_truth(decided):
    ranker, labels = decided
    chances, scores = ranker.chances(), ranker.scores()
    assert ((chances >= 0) & (chances <= 1)).all()
    assert (np.diff(chances[np.argsort(scores)]) >= 0).all()
    assert abs(chances[150:].mean() - labels[150:].mean()) < 0.05


def test_too_few_of_a_kind_leave_the_score_uncalibrated():
    blocks, labels = pool()
    ranker = ranker_of(blocks)
    ranker.decide(
        [(int(np.flatnonzero(labels)[0]), True), *((int(i), False) for i in np.flatnonzero(~labels)[:9])]
    )
    assert ranker.refit(calibrate=True) is Start.DECISIONS and ranker.chances() is None


def test_a_label_that_the_others_contradict_is_pointed_out():
    blocks, labels = pool()
    ranker = ranker_of(blocks)
    wrong = int(np.flatnonzero(labels[:150])[3])
    ranker.decide((i, bool(labels[i]) and i != wrong) for i in range(150))
    ranker.refit()
    assert wrong in ranker.doubtful(3) and ranker.labels[wrong] is False


def test_a_decision_taken_back_counts_as_it_now_is():
    blocks, labels = pool()
    once, twice = ranker_of(blocks), ranker_of(blocks)
    once.decide((i, bool(labels[i])) for i in range(60))
    twice.decide((i, not labels[i]) for i in range(60))
    twice.decide((i, bool(labels[i])) for i in range(60))
    once.refit(), twice.refit()
    assert np.array_equal(once.scores(), twice.scores())


def test_more_decisions_than_anchors_still_learn(monkeypatch):
    monkeypatch.setattr(learning, "ANCHORS", 40)
    blocks, labels = pool()
    ranker = ranker_of(blocks)
    for start in range(0, 200, 25):
        ranker.decide((i, bool(labels[i])) for i in range(start, start + 25))
        ranker.refit(calibrate=True)
    order = [i for i in np.argsort(-ranker.scores(), kind="stable") if i >= 200]
    assert labels[order[: labels[200:].sum()]].mean() > 0.8
    assert ranker.scores().shape == (400,) and ranker.chances() is not None


def test_a_queue_of_100_000_is_in_a_new_order_within_a_second():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(100_000, 64)).astype(np.float32) / 8
    ranker = Ranker(features, Mixed.over({"one": 40, "other": 24}))
    ranker.decide((i, i % 6 == 0) for i in range(200))
    ranker.refit()
    ranker.decide([(200, True)])
    began = time.process_time()
    ranker.refit()
    np.argsort(-ranker.scores(), kind="stable")
    assert time.process_time() - began < 1
