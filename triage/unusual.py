"""Which items of a case are least like the rest of it: compared as a whole by a job, stored, and made again exactly.

ask      after a new order: is it time to compare the items anew?
make     vectors in, a stored comparison out (triage.models.CaseAnalysis), with its event `case.analysed`
share    what the newest one says of an item; `shares` of all, for rules
faults   makes a stored comparison once more, and names every difference

It suggests and orders; a usual item matters no less.
"""

import hashlib
import secrets
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from django.db import transaction
from django.utils import timezone
from numpy.typing import NDArray

from archive import custody, jobs
from archive.custody import Actor
from archive.jobs import job
from archive.models import Case, Item, Job
from triage import asking, forest, pool, scoring, standing, versions
from triage.facts import Facts
from triage.models import Analysis, CaseAnalysis, Column, Question, Standing

NAME, VERSION = "isolation-forest", 1
LEAST = 50  # items with a vector
KEPT = 4  # comparisons that a process holds open
Whole = NDArray[np.int64]


# --- in its time --------------------------------------------------------------------------------------------------


def ask(case: Case, *, with_vectors: int, recipes: Mapping[str, str]) -> None:
    """Have the items compared soon, if it is time. In the caller's transaction.

    It is time with 50 items that have a vector, then with a tenth more than the last time, or with other embedders.
    """
    last = newest(case)
    if with_vectors < LEAST:
        return
    if last is None or with_vectors >= 1.1 * last.with_vectors or last.recipes != recipes:
        jobs.enqueue("triage.unusual", subject=case, once=True)


@job("triage.unusual", queue="analyse", attempts=3, limit_s=3600)
def compare(row: Job, case: Case) -> None:
    """Compare the items of the case with each other. Orders whose rules ask for it follow, and alerts."""
    if make(case) is None:
        return
    with transaction.atomic(durable=True):
        for question in Question.objects.filter(case=case, closed_at=None).select_related("case"):
            if scoring.unusual_criteria(standing.rules_of(case, question.number).rules):
                asking.ask(question)
        asking.compare(case)


# --- making -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Compared:
    """Scores in millionths, in the order of the items, the SHA-256 of the vectors that they rest on, and how many trees."""

    scores: Whole
    vectors_sha256: str
    trees: int


def make(case: Case, *, seed: int | None = None) -> CaseAnalysis | None:
    """Compare the case's items and store what came of it; None with fewer than 50. `seed` is for tests."""
    import sklearn

    started_at, recipes = timezone.now(), pool.recipes_of(case)
    numbers, has = pool.present(case, recipes)
    with_vectors = len(numbers)
    gone = Item.objects.filter(case=case, disposed_at__isnull=False).values_list("number", flat=True)
    held = ~np.isin(numbers, list(gone))
    numbers, has = numbers[held], has[held]
    if len(numbers) < LEAST:
        return None
    seed = secrets.randbits(32) if seed is None else seed
    found = _compared(case, recipes, numbers, has, seed)
    arrays = {"pool": numbers, "has": has, "scores": found.scores}
    columns = {name: versions.packed(name, array) for name, array in arrays.items()}
    with transaction.atomic(durable=True):
        Case.objects.select_for_update().get(pk=case.pk)  # one at a time: their numbers follow each other
        last = newest(case)
        Column.objects.bulk_create(columns.values(), ignore_conflicts=True)
        return custody.write(
            CaseAnalysis(
                case=case,
                number=last.number + 1 if last else 1,
                task=Analysis.Task.ANOMALY,
                analyser=NAME,
                version=VERSION,
                model=f"scikit-learn {sklearn.__version__}, IsolationForest",
                parameters={
                    "seed": seed,
                    "trees": found.trees,
                    "samples": forest.SAMPLES,
                    "fitted": forest.FITTED,
                    "numpy": np.__version__,
                },
                recipes=recipes,
                vectors_sha256=found.vectors_sha256,
                items=len(numbers),
                with_vectors=with_vectors,
                started_at=started_at,
                finished_at=timezone.now(),
                result_sha256=_sha256(numbers, found.scores),
                columns={name: column.sha256 for name, column in columns.items()},
            ),
            event="case.analysed",
            actor=Actor.system("worker"),
        )


def _compared(
    case: Case, recipes: Mapping[str, str], numbers: Whole, has: NDArray[np.uint8], seed: int
) -> Compared:
    """Grow the forest from some of them, then score all, some at a time."""
    lot = forest.drawn(len(numbers), seed=seed)
    grown = forest.grow(np.concatenate(list(pool.blocks(case, recipes, numbers[lot], has[lot]))), seed=seed)
    digest, scores = hashlib.sha256(), []
    for rows in pool.blocks(case, recipes, numbers, has):
        digest.update(rows.tobytes())
        scores.append(grown.scores(rows))
    return Compared(np.concatenate(scores), digest.hexdigest(), len(grown.trees))


def _sha256(numbers: Whole, scores: Whole) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(numbers, versions.TYPES["pool"]).tobytes())
    digest.update(np.ascontiguousarray(scores, versions.TYPES["scores"]).tobytes())
    return digest.hexdigest()


# --- reading ------------------------------------------------------------------------------------------------------


def newest(case: Case | Any) -> CaseAnalysis | None:
    """The comparison that counts; None until there is one."""
    return CaseAnalysis.objects.filter(case=case, analyser=NAME).order_by("-number").first()


@dataclass(frozen=True)
class Unusual:
    """What the newest comparison says of an item: it is among the `share` percent that are least like the rest."""

    share: Decimal
    by: CaseAnalysis

    @property
    def beyond(self) -> Decimal:
        """Percent of the items that are more like the rest than this one."""
        return 100 - self.share


def share(item: Item) -> Unusual | None:
    """Of an item; None where it was not compared, or is held no longer."""
    last = newest(item.case_id) if item.disposed_at is None else None
    if last is None:
        return None
    tenths = int(_of(last, np.array([item.number]))[0])
    return Unusual(Decimal(tenths) / 10, last) if tenths else None


def shares(case: Case | Any, numbers: Whole) -> Whole:
    """Of these items: among how many tenths of a percent of the least like the rest each is; 0: not compared."""
    last = newest(case)
    return np.zeros(len(numbers), np.int64) if last is None else _of(last, numbers)


def counted(rows: Iterable[Standing]) -> list[Standing]:
    """Rows with what the rules in force give for how unusual their items are: in memory alone, as no row keeps it."""
    by: dict[tuple[Any, int], list[Standing]] = defaultdict(list)
    for row in rows:
        by[row.case_id, row.question].append(row)
    for (case, question), own in by.items():
        criteria = scoring.unusual_criteria(standing.rules_of(case, question).rules)
        tenths = shares(case, np.array([row.number for row in own])) if criteria else ()
        for row, one in zip(own, tenths, strict=bool(criteria)):
            value, lines = scoring.score({"criteria": criteria}, scoring.with_unusual(Facts(), int(one)))
            if row.known_id and lines:
                row.points += int(value.scaleb(3))
                told = [*row.reasons, *(line.as_json() for line in lines)]
                row.reasons = sorted(told, key=lambda line: -abs(Decimal(line["contribution"])))
    return [row for own in by.values() for row in own]


_open: OrderedDict[tuple[int, str], tuple[Whole, Whole]] = OrderedDict()


def _of(stored: CaseAnalysis, numbers: Whole) -> Whole:
    key = stored.pk, stored.result_sha256
    if key not in _open:
        arrays = _arrays(stored)
        _open[key] = arrays["pool"].astype(np.int64), forest.tenths(arrays["scores"])
        while len(_open) > KEPT:
            _open.popitem(last=False)
    own, tenths = _open[key]
    at = np.minimum(np.searchsorted(own, numbers), len(own) - 1)
    return np.where(own[at] == numbers, tenths[at], 0)


def _arrays(stored: CaseAnalysis) -> dict[str, NDArray[Any]]:
    data = dict(Column.objects.filter(pk__in=stored.columns.values()).values_list("pk", "data"))
    return {name: versions.unpacked(name, data[sha]) for name, sha in stored.columns.items()}


# --- making it again ----------------------------------------------------------------------------------------------


def faults(stored: CaseAnalysis) -> Iterator[str]:
    """How this comparison differs when it is made again from the vectors of then; nothing: it is the same to the digit."""
    arrays = _arrays(stored)
    numbers = arrays["pool"].astype(np.int64)
    if _sha256(numbers, arrays["scores"]) != stored.result_sha256:
        yield "its scores are not those that the custody log vouches for"
    try:
        again = _compared(stored.case, stored.recipes, numbers, arrays["has"], stored.parameters["seed"])
    except LookupError as error:
        yield str(error)
        return
    if again.vectors_sha256 != stored.vectors_sha256:
        yield "the vectors are not those that it was made with"
    elif other := np.count_nonzero(again.scores != arrays["scores"]):
        yield f"{other} of {len(numbers)} items have another score"
