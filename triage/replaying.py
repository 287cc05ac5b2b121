"""Stored orders made again: from the facts, rules, answers and vectors that they name, and compared digit by digit."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.errors import Damaged
from archive.models import Case, Decision
from triage import facts, pool, scoring, standing, versions
from triage.learning import LEARNER
from triage.models import Answer, Column, Known, Question, Ranking
from triage.ordering import Combination
from triage.ranking import Calibrated, Fit, Given, Learner, Made, Settings, put_in_order, waited
from triage.versions import Version, opened

Whole = NDArray[np.int64]


class Replayer:
    """Makes versions again. It keeps what several have in common, so that many are made in one go."""

    def __init__(self) -> None:
        self._scored: dict[tuple[str, int], int] = {}  # rules and facts -> thousandths
        self._learner: tuple[Any, Learner | None] = (None, None)
        self._differences: dict[int, list[str]] = {}

    def replay(self, question: Question, number: int) -> list[str]:
        """Make a stored version again from what it says it was made of, and name every difference; none: it is the same.

        Points come from the facts and rules of then, vectors by the recipes of then, and where it was calibrated by an
        earlier version, that one is made again too. Raises Damaged where arrays are missing.
        """
        ranking = Ranking.objects.get(question=question, number=number)
        if ranking.pk not in self._differences:
            self._differences[ranking.pk] = self._replay(question, ranking)
        return self._differences[ranking.pk]

    def _replay(self, question: Question, ranking: Ranking) -> list[str]:
        number, found, calibrated = ranking.number, [], None
        if ranking.learner != LEARNER and ranking.start != Ranking.Start.NOTHING:
            return [
                f"version {number}: learner {ranking.learner} made it, and this release has learner {LEARNER}: "
                "replay it with the release of that day"
            ]
        if (before := ranking.combination["version"]) != number:
            found = self.replay(question, before)
            told = Ranking.objects.get(question=question, number=before).combination
            calibrated = Calibrated(Combination.of_json(told), told["labels"], before)
        version = opened(ranking)
        columns = dict(version.columns)
        given = Given(
            numbers=columns["numbers"].astype(np.int64),
            states=columns["states"].astype(np.int64),
            known=columns["known"].astype(np.int64),
            points=self._points(columns, ranking),
            waited_days=waited(question.case_id, columns["numbers"].astype(np.int64), ranking.at),
            labels=[
                (number, bool(yes), example, bool(extra)) for number, yes, example, extra in ranking.labels
            ],
            settings=Settings(**ranking.settings),
            seed=int(ranking.seed),
        )
        try:
            learner = self._learner_of(question.case, ranking)
        except LookupError as error:
            return [f"version {number}: {error}"]
        if learner is not None and learner.pool.sha256 != ranking.vectors_sha256:
            return [f"version {number}: the vectors are not those that it was made with"]
        made = put_in_order(given, learner, calibrated, stored=Fit(version.how, version.columns["shares"]))
        return found + [f"version {number}: {words}" for words in _differences(version, given, made)]

    def _points(self, columns: Mapping[str, NDArray[Any]], ranking: Ranking) -> Whole:
        """Each item's points by the rules of then over what was known then."""
        known = columns["known"]
        of: dict[int, int] = {0: 0}
        wanted = [int(pk) for pk in np.unique(known) if pk]
        for start in range(0, len(wanted), standing.CHUNK):
            missing = [
                pk
                for pk in wanted[start : start + standing.CHUNK]
                if (ranking.rules_sha256, pk) not in self._scored
            ]
            kept = dict(Known.objects.filter(pk__in=missing).values_list("pk", "facts"))
            for pk, one in facts.read(kept).items():
                self._scored[ranking.rules_sha256, pk] = int(scoring.score(ranking.rules, one)[0].scaleb(3))
        of.update({pk: self._scored[ranking.rules_sha256, pk] for pk in wanted})
        points = np.array([of[int(pk)] for pk in known], np.int64)
        if "unusual" in columns:
            points += np.where(known > 0, scoring.unusual_points(ranking.rules, columns["unusual"]), 0)
        return points

    def _learner_of(self, case: Case, ranking: Ranking) -> Learner | None:
        """A learner on the vectors of then."""
        if "pool" not in ranking.columns:
            return None
        extras = tuple(sorted({example for _n, _yes, example, extra in ranking.labels if extra}))
        key = (
            case.pk,
            ranking.columns["pool"],
            ranking.columns["has"],
            tuple(ranking.recipes.items()),
            extras,
        )
        if self._learner[0] != key:
            self._learner = (None, None)
            arrays = {
                name: versions.unpacked(name, Column.objects.get(pk=ranking.columns[name]).data)
                for name in ("pool", "has")
            }
            only = arrays["pool"].astype(np.int64), arrays["has"]
            found = pool.read(case, recipes=ranking.recipes, only=only, examples=extras)
            if found is None:
                raise LookupError("no vector of then is there any more")
            self._learner = key, Learner(found)
        return self._learner[1]


def _differences(version: Version, given: Given, made: Made) -> Iterator[str]:
    if made.start != version.ranking.start:
        yield f"it rests on {made.start}, not on {version.ranking.start}"
    if made.how != version.how:
        yield "its parts are put together otherwise"
    for name in ("learned", "rules", "waiting"):
        other = np.flatnonzero(getattr(made.parts, name) != getattr(version.parts, name))
        if len(other):
            yield f"{len(other)} items have another part by {name}, the first is item {given.numbers[other[0]]}"
    if not np.array_equal(made.anchors, version.columns["anchors"]):
        yield "the learner rests on other answers"
    if not np.array_equal(made.shares, version.columns["shares"]):
        yield "the learner gives its answers other shares"
    if versions.order_sha256(given.numbers, made.parts, made.order) != version.ranking.sha256:
        yield "the order is another"


# --- ranks that people were shown ---------------------------------------------------------------------------------

Rank = Decision | Answer


def stored_ranks(most: int, case: Case | None = None) -> list[Rank]:
    """The last so many decisions and answers that say which version showed them the item."""
    found: list[Rank] = []
    for model in (Decision, Answer):
        rows = model.objects.filter(shown__version__gt=0).select_related("item__case").order_by("-at")
        found += (rows if case is None else rows.filter(item__case=case))[:most]
    return sorted(found, key=lambda row: row.at)[-most:]


def faults(ranks: Iterable[Rank]) -> Iterator[tuple[str, str]]:
    """Item and difference, wherever a version made again, or a rank in it, is not what was stored."""
    replayer, by = Replayer(), defaultdict(list)
    for row in ranks:
        by[row.item.case, row.shown["question"], row.shown["version"]].append(row)
    for (case, number, version), rows in sorted(by.items(), key=lambda one: (one[0][0].code, *one[0][1:])):
        question = Question.objects.select_related("case").get(case=case, number=number)
        try:
            for fault in replayer.replay(question, version):
                yield case.code, fault
            made = opened(Ranking.objects.get(question=question, number=version))
        except (Damaged, Ranking.DoesNotExist) as error:
            yield case.code, f"version {version}: {error}"
            continue
        reasons = versions.reasons(made, case, [row.item.number for row in rows])
        for row in rows:
            for fault in _rank_faults(made, row, reasons.get(row.item.number)):
                yield row.item.code, fault


def _rank_faults(version: Version, rank: Rank, reasons: list[dict[str, Any]] | None) -> Iterator[str]:
    """How a rank differs from what its version says. What came in after the version has no rank in it."""
    shown, row = rank.shown, version.row(rank.item.number)
    if shown["version_sha256"] != version.ranking.sha256:
        yield f"it was shown by an order of another hash than version {shown['version']}"
    if row is None:
        if shown["came"] != "arrival":
            yield f"it is not in version {shown['version']}"
        return
    again = {
        "place": int(version.place_of[row]),
        "score": str(version.score(row)) if version.looked_at[row] else "",
        "reasons": reasons,
    }
    for name, value in again.items():
        if shown[name] != value:
            yield f"its {name} in version {shown['version']} is {value}, not {shown[name]}"
