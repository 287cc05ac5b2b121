"""Orders of questions, version by version: make one, find the one that counts, make it again and compare.

ask       a decision, an answer, new rules: make a version soon (the job `triage.rank`); nobody waits for it
make      rules, answers, examples and vectors in; a stored version out (triage.models.Ranking, triage.versions)
current   the version that counts, and `scores`: what it says of each item

triage.replaying makes a stored version once more, from what it says it was made of, and names every difference.

A worker keeps what the last version was made with, so that the next one costs what changed.
"""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from django.db import IntegrityError, connection, transaction
from django.db.models import Max, Q
from django.utils import timezone
from numpy.typing import NDArray

from archive import schedule
from archive.jobs import job
from archive.models import Case, Item, Job, Source
from triage import examples, learning, ordering, pool, questions, scoring, standing, unusual, versions
from triage.asking import Settings, answered, answers_since, ask, compare, newest, set_settings, settings_of
from triage.learning import Ranker, Start
from triage.models import Column, Example, ExampleVector, Known, Question, Ranking, Standing
from triage.ordering import ROUNDING, Combination, Order, Parts
from triage.pool import Pool
from triage.versions import LOOKED, opened

__all__ = [
    "answered",
    "ask",
    "current",
    "make",
    "newest",
    "opened",
    "scores",
    "set_settings",
    "settings_of",
]

EVERY = timedelta(minutes=1)
# Events after which rules may say something else of an item
SAID = ("item.noted", "item.tagged", "item.untagged", "item.finding_recorded")
Whole = NDArray[np.int64]
# Item number, whether a person said yes, the example's key (0: an answer), whether it has a row of its own
Label = tuple[int, bool, int, bool]


# --- reading ------------------------------------------------------------------------------------------------------


def current(question: Question) -> Ranking | None:
    """The version that counts; None until the first is made: the order is by rules, then."""
    return newest(question)


def scores(question: Question) -> dict[UUID, float]:
    """Item -> the calibrated chance (0 to 1) that it is a yes; nothing while there are too few answers to calibrate by.

    Items that no model has looked at have none.
    """
    ranking = newest(question)
    if ranking is None or not ranking.calibrated:
        return {}
    version = opened(ranking)
    chances = version.parts.chances()
    of = {
        int(n): float(c)
        for n, c, seen in zip(version.numbers, chances, version.looked_at, strict=True)
        if seen
    }
    items = Item.objects.filter(case_id=question.case_id).values_list("pk", "number")
    return {pk: of[number] for pk, number in items.iterator(chunk_size=10_000) if number in of}


# --- in its time -------------------------------------------------------------------------------------------------


@schedule.duty("triage.rank_again", every=EVERY)
def rank_again() -> None:
    """Ask for new orders where something was answered, shown as an example or scored since the last one was made."""
    for question in Question.objects.filter(closed_at=None).select_related("case"):
        version = newest(question)
        since = version.at if version else datetime.min.replace(tzinfo=UTC)
        scored = Standing.objects.filter(
            case_id=question.case_id, question=question.number, scored_at__gt=since
        )
        shown = Example.objects.filter(Q(at__gt=since) | Q(ended_at__gt=since), question=question)
        if scored.exists() or shown.exists() or answers_since(question, since):
            with transaction.atomic(durable=True):
                ask(question)


@job("triage.rank", attempts=3, limit_s=1800)  # not behind pictures that wait for a model
def rank(row: Job, case: Case) -> None:
    """Make a new version of a question's order."""
    question = questions.numbered(case, row.payload.get("question", Question.MAIN))
    if question.closed_at is None:
        make(question)
        held = _pools.get(case.pk)
        with transaction.atomic(durable=True):
            compare(case)
            if held is not None:
                unusual.ask(case, with_vectors=len(held[2].numbers), recipes=held[2].recipes)


@job("triage.know_again", attempts=3, after=SAID)
def know_again(row: Job, item: Item) -> None:
    """Score an item again when people said more of it; the order follows in its time."""
    with transaction.atomic(durable=True):
        standing.know_again(item)


@job("triage.know_source", attempts=3, limit_s=4 * 3600, after="source.changed")
def know_source(row: Job, case: Case) -> None:
    """Score a source's items again where its reliability is another than they were scored by; the order follows."""
    standing.know_source_again(Source.objects.get(pk=row.payload["source"]))


# --- making -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Given:
    """All that an order is made from, but vectors. Arrays go with `numbers`, the items by arrival."""

    numbers: Whole
    states: Whole  # band, and LOOKED where a model had looked
    known: Whole
    points: Whole
    waited_days: Whole
    labels: list[Label]
    settings: Settings
    seed: int
    # Where the rules ask for it: how unusual each was (triage.unusual.shares), which is among its points already
    unusual: Whole | None = None


@dataclass(frozen=True)
class Calibrated:
    """A combination that was fitted to so many labels, in that version of the question's order."""

    how: Combination
    labels: int
    version: int


@dataclass(frozen=True, eq=False)
class Made:
    """An order and how it came about."""

    start: Start
    how: Combination
    calibrated: "Calibrated | None"  # where `how` is an earlier version's
    parts: Parts
    order: Order
    anchors: list[int]  # places among the labels
    shares: NDArray[np.float64]  # the anchors' and the intercept; empty without a model


def make(question: Question, *, at: datetime | None = None, seed: int | None = None) -> Ranking:
    """Store a new version of the order. `at` and `seed` are arguments so that a test can fix them."""
    case, at = question.case, at or timezone.now()
    rules = standing.rules_of(case, question.number)
    _bring_up_to_date(case, question, rules)
    examples.settle(question)
    given = _given(question, rules, at, secrets.randbits(63) if seed is None else seed)
    learner = _learner(question, given)
    made = put_in_order(given, learner, _still_calibrated(question, rules, given, learner))
    return _store(question, at, rules, given, learner, made)


def _still_calibrated(
    question: Question, rules: standing.Rules, given: Given, learner: "Learner | None"
) -> "Calibrated | None":
    """The calibration of an earlier version, while there are not a tenth more labels: to fit one costs five models more."""
    before = newest(question)
    if before is None or learner is None or not before.calibrated:
        return None
    told = before.combination
    few = told["labels"] <= len(given.labels) < 1.1 * told["labels"]
    same = before.rules_sha256 == rules.sha256 and before.recipes == learner.pool.recipes
    return Calibrated(Combination.of_json(told), told["labels"], told["version"]) if few and same else None


@dataclass(frozen=True, eq=False)
class Fit:
    """What was fitted for an order, as it was stored. All that follows from it is the same to the digit on any machine."""

    how: Combination
    shares: NDArray[np.float64]


def put_in_order(
    given: Given,
    learner: "Learner | None",
    calibrated: "Calibrated | None" = None,
    *,
    stored: Fit | None = None,
) -> Made:
    """The order that follows. The same inputs give the same order, scores and reasons.

    A fit made on another processor may differ in its last digits: where that is all, the `stored` one is taken.
    """
    start, raw, calibration, held = Start.NOTHING, None, None, None
    has_vector = np.zeros(len(given.numbers), bool)
    anchors: list[int] = []
    shares = np.empty(0)
    if learner is not None:
        start = learner.learn(given.labels, calibrate=calibrated is None)
        if stored is not None:
            learner.settle(stored.shares)
        found = learner.ranker.scores()
        raw = None if found is None else found[: len(learner.pool.numbers)]
        has_vector = np.isin(given.numbers, learner.pool.numbers, assume_unique=True)
        anchors, shares = learner.anchors(), learner.shares()
        calibration, held = learner.ranker.calibration, learner.held_out(given)
    if calibrated is not None and start is Start.DECISIONS:
        how = calibrated.how
    else:
        how = ordering.combination(start, raw, calibration=calibration, held_out=held)
        calibrated = None
    if stored is not None and how.near(stored.how):
        how = stored.how
    looked_at = (given.states & LOOKED) > 0
    parts = ordering.combine(
        how,
        raw=raw,
        has_vector=has_vector,
        points=given.points,
        looked_at=looked_at,
        waited_days=given.waited_days,
        days_a_point=given.settings.waiting_days,
    )
    bands = given.states & (LOOKED - 1)
    order = versions.in_order(parts, given.numbers, bands, given.settings.audit_percent, given.seed)
    return Made(start, how, calibrated, parts, order, anchors, shares)


class Learner:
    """A ranker over a case's vectors, told of one question's labels."""

    def __init__(self, found: Pool) -> None:
        self.pool, self.ranker = found, Ranker(found.features, found.kernel)
        self._labels: list[tuple[int, int]] = []  # row of the features, place among the labels

    def learn(self, labels: Sequence[Label], *, calibrate: bool = True) -> Start:
        """Fit to these labels and no others. An item or example without a vector teaches nothing."""
        self._labels = [(row, at) for at, label in enumerate(labels) if (row := self._row(label)) is not None]
        self.ranker.know((row, labels[at][1]) for row, at in self._labels)
        return self.ranker.refit(calibrate=calibrate)

    def _row(self, label: Label) -> int | None:
        number, _yes, example, extra = label
        if not extra:
            return self.pool.place(number)
        row = len(self.pool.numbers) + self.pool.examples.index(example)
        return row if self.pool.features[row].any() else None

    def anchors(self) -> list[int]:
        """Which labels the model is expressed by."""
        at = dict(self._labels)
        return [at[row] for row in self.ranker.anchors]

    def shares(self) -> NDArray[np.float64]:
        """The anchors' shares and the intercept; nothing without a model."""
        model = self.ranker.model
        return np.empty(0) if model is None else np.append(model.shares, model.intercept)

    def settle(self, shares: NDArray[np.float64]) -> None:
        """Go by these shares (the last is the intercept) where the fitted ones are the same but for rounding."""
        own = self.shares()
        if len(own) and len(own) == len(shares) and np.allclose(own, shares, rtol=ROUNDING, atol=ROUNDING):
            self.ranker.model = learning.Model(shares[:-1], float(shares[-1]))

    def held_out(self, given: Given) -> tuple[Any, Any, Any] | None:
        """Of each answer: its score by a model fitted without it, its points by rules, and whether it was yes."""
        if self.ranker.held_out is None:
            return None
        rows, scores, labels = self.ranker.held_out
        at = dict(self._labels)
        answers = np.array([not given.labels[at[int(row)]][2] for row in rows], bool)
        if not answers.any() or np.ptp(labels[answers]) == 0:
            return None
        numbers = self.pool.numbers[rows[answers]]
        points = given.points[np.searchsorted(given.numbers, numbers)] / 1000
        return scores[answers], points, labels[answers]


def _bring_up_to_date(case: Case, question: Question, rules: standing.Rules) -> None:
    """Every item has a row, scored by the rules in force, from facts that were kept."""
    standing.admit(case, question.number)
    rows = Standing.objects.filter(case=case, question=question.number).exclude(state=Standing.State.WAITING)
    if rows.filter(Q(known=None) | ~Q(rules_sha256=rules.sha256)).exists():
        standing.rescore(case, question.number)


def _given(question: Question, rules: standing.Rules, at: datetime, seed: int) -> Given:
    rows = Standing.objects.filter(case_id=question.case_id, question=question.number).order_by("number")
    query = rows.values_list("number", "band", "state", "known_id", "points").query
    with (
        connection.cursor() as cursor
    ):  # as it comes from the database: a hundred thousand rows, and a person waits
        cursor.execute(*query.sql_with_params())
        found = cursor.fetchall()
    scored = Standing.State.SCORED.value
    plain = np.array(
        [(n, b | (LOOKED if s == scored else 0), k or 0, p) for n, b, s, k, p in found], np.int64
    )
    numbers, states, known, points = plain.reshape(-1, 4).T.copy()
    found_unusual = None
    if scoring.unusual_criteria(rules.rules):
        found_unusual = unusual.shares(question.case, numbers)
        points += scoring.unusual_points(rules.rules, found_unusual)
    points[known == 0] = 0  # nothing was known yet
    return Given(
        numbers,
        states,
        known,
        points,
        waited(question.case_id, numbers, at),
        _labels(question),
        settings_of(question),
        seed,
        found_unusual,
    )


_received: OrderedDict[Any, dict[int, int]] = (
    OrderedDict()
)  # case -> item number -> when it came in, in seconds


def waited(case: Any, numbers: Whole, at: datetime) -> Whole:
    """Whole days from when each item came in to a moment."""
    known = _received.setdefault(case, {})
    if len(known) < len(numbers):
        newer = Item.objects.filter(case_id=case, number__gt=max(known, default=0))
        rows = newer.values_list("number", "received_at").iterator(chunk_size=10_000)
        known.update({number: int(received.timestamp()) for number, received in rows})
        while len(_received) > KEPT_CASES:
            _received.popitem(last=False)
    came = np.array([known[number] for number in numbers.tolist()], np.int64)
    return np.maximum((int(at.timestamp()) - came) // 86_400, 0)


def _labels(question: Question) -> list[Label]:
    """Answers in the order of the items, then examples; an answered item needs no example of itself."""
    said = questions.labels(question)
    pks = list(said)
    number_of: dict[UUID, int] = {}
    for start in range(0, len(pks), 10_000):
        rows = Item.objects.filter(pk__in=pks[start : start + 10_000]).values_list("pk", "number")
        number_of.update(dict(rows))
    labels: list[Label] = sorted((number_of[pk], yes, 0, False) for pk, yes in said.items())
    shown = Example.objects.filter(question=question, ended_at=None).order_by("pk")
    seen = set(ExampleVector.objects.filter(example__in=shown).values_list("example_id", flat=True))
    for pk, item, number, at_ms, x in shown.values_list("pk", "item_id", "item__number", "at_ms", "x"):
        if item is None:  # a picture or words: they teach once a model has looked
            labels += [(0, True, pk, True)] if pk in seen else []
            continue
        extra = (
            pk in seen if x is not None else at_ms is not None
        )  # the item stands for a box not yet looked at
        if extra or (item not in said and all(label[0] != number for label in labels)):
            labels.append((number, True, pk, extra))
    return labels


# --- what a worker keeps ------------------------------------------------------------------------------------------

KEPT_CASES = 1  # whose vectors a worker holds: some 10 KB an item
KEPT_QUESTIONS = 3
_pools: OrderedDict[Any, tuple[Whole, tuple[int, ...], Pool]] = OrderedDict()
_learners: OrderedDict[Any, Learner] = OrderedDict()


def forget() -> None:
    """Let go of everything that is kept between versions."""
    _pools.clear()
    _learners.clear()
    _received.clear()


def _learner(question: Question, given: Given) -> Learner | None:
    """The learner of this question on today's vectors; None where nothing has one."""
    found = _pool(question.case, given)
    if found is None:
        return None
    learner = _learners.get(question.pk)
    if learner is None or learner.pool is not found:
        learner = Learner(found)
        _learners[question.pk] = learner
    _learners.move_to_end(question.pk)
    while len(_learners) > KEPT_QUESTIONS:
        _learners.popitem(last=False)
    return learner


def _pool(case: Case, given: Given) -> Pool | None:
    extras = Example.objects.filter(question__case=case, ended_at=None)
    extras = extras.filter(Q(x=None, at_ms__isnull=False) | Q(pk__in=ExampleVector.objects.values("example")))
    shown = tuple(extras.order_by("pk").values_list("pk", flat=True))
    held = _pools.get(case.pk)
    if held is not None and held[1] == shown and _same_analyses(held[0], given.known):
        return held[2]
    _learners.clear()  # they hold the matrix that is to go
    _pools.clear()
    del held
    found = pool.read(case, recipes=pool.recipes_of(case), among=given.numbers, examples=shown)
    if found is not None:
        _pools[case.pk] = given.known, shown, found
    return found


def _same_analyses(before: Whole, now: Whole) -> bool:
    """Whether nothing was analysed in between: other facts of an item leave its vectors as they are."""
    if len(before) > len(now) or now[len(before) :].any():
        return False
    changed = np.flatnonzero(before != now[: len(before)])
    if len(changed) > standing.CHUNK or not before[changed].all():
        return False
    pairs = [(int(before[row]), int(now[row])) for row in changed]
    kept = dict(Known.objects.filter(pk__in=[pk for pair in pairs for pk in pair]).values_list("pk", "facts"))
    return all(set(kept[old]["analyses"]) == set(kept[new]["analyses"]) for old, new in pairs)


# --- storing ------------------------------------------------------------------------------------------------------


def _store(
    question: Question, at: datetime, rules: standing.Rules, given: Given, learner: Learner | None, made: Made
) -> Ranking:
    arrays: dict[str, Any] = {
        "numbers": given.numbers,
        "states": given.states,
        "known": given.known,
        "learned": made.parts.learned,
        "rules": made.parts.rules,
        "waiting": made.parts.waiting,
        "anchors": made.anchors,
        "shares": made.shares,
    }
    if given.unusual is not None:
        arrays["unusual"] = given.unusual
    if learner is not None:
        arrays |= {"pool": learner.pool.numbers, "has": learner.pool.has}
        for name, scale in learner.pool.scales.items():
            arrays[f"scale:{name}"] = np.concatenate([scale.mean, scale.spread])
    columns = {name: versions.packed(name, np.asarray(array)) for name, array in arrays.items()}
    ranking = Ranking(
        question=question,
        at=at,
        start=made.start,
        learner=learning.LEARNER,
        seed=str(given.seed),
        criteria=rules.number,
        rules=rules.rules,
        rules_sha256=rules.sha256,
        settings=given.settings.as_json(),
        recipes=learner.pool.recipes if learner else {},
        vectors_sha256=learner.pool.sha256 if learner else "",
        labels=[[number, int(yes), example, int(extra)] for number, yes, example, extra in given.labels],
        columns={name: column.sha256 for name, column in columns.items()},
        sha256=versions.order_sha256(given.numbers, made.parts, made.order),
    )
    for attempt in (1, 2):
        try:
            with transaction.atomic():
                last = Ranking.objects.filter(question=question).aggregate(n=Max("number"))["n"] or 0
                ranking.number = last + 1
                fitted = made.calibrated or Calibrated(made.how, len(given.labels), ranking.number)
                ranking.combination = {
                    **made.how.as_json(),
                    "labels": fitted.labels,
                    "version": fitted.version,
                }
                Column.objects.bulk_create(columns.values(), ignore_conflicts=True)
                ranking.save(force_insert=True)
            break
        except IntegrityError:  # another worker stored one in this moment
            if attempt == 2:
                raise
    return ranking
