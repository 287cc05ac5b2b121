"""From examined item to stored, scored suggestions: the one flow of this floor, top to bottom.

analyse   claimed jobs in, their originals streamed through the model process, results stored one by one
rescore   all items of a case again, after its criteria changed
"""

import atexit
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from archive import access, custody, jobs, vault
from archive.custody import Actor
from archive.custody.batch import Batch
from archive.custody.canonical import canonical
from archive.jobs import job
from archive.media.probe import Condition
from archive.models import Case, Item, Job
from triage import (
    about,
    analysers,
    asking,
    questions,
    ranking,
    registry,
    results,
    scoring,
    standing,
    stored,
    tracks,
)
from triage.analysers.base import Analyser
from triage.models import Analysis, Criteria, Question, Standing
from triage.registry import ModelEntry
from triage.results import Looked
from triage.runtimes.decode import Sampling
from triage.runtimes.process import ModelProcess, Outcome, Work

log = logging.getLogger("amparo.triage")

BATCH = 64
IDLE_S = 120.0
NOTHING_TO_DECODE = (Condition.EMPTY, Condition.CANNOT_DECODE, Condition.TOO_LARGE)
State = Standing.State


@dataclass(frozen=True)
class Recipe:
    """What an analysis was made with, and the hash by which it is made once only."""

    analyser: Analyser
    model: str
    weights_sha256: str
    parameters: dict[str, Any]

    @cached_property
    def sha256(self) -> str:
        """Over analyser, version, model, weights and parameters."""
        parts = [self.analyser.name, self.analyser.version, self.model, self.weights_sha256, self.parameters]
        return hashlib.sha256(canonical(parts)).hexdigest()

    def of(self, facts: dict[str, Any]) -> "Recipe":
        """The recipe for an item of which the analyser was told `facts`: where it reads them, they count."""
        if not self.analyser.reads_facts:
            return self
        return replace(self, parameters={**self.parameters, "facts_sha256": about.sha256(facts)})


def recipe_of(analyser: Analyser, sampling: Sampling, versions: dict[str, str]) -> Recipe:
    """The recipe of an analyser as it runs now."""
    parameters: dict[str, Any] = {**analyser.parameters, "video": asdict(sampling)}
    if analyser.entry:
        parameters["files"] = {file.name: file.sha256 for file in analyser.entry.files}
        return Recipe(analyser, analyser.entry.name, analyser.entry.sha256, parameters)
    model = ", ".join(filter(None, (analyser.built_in, analyser.library(versions))))
    return Recipe(analyser, model, "", parameters)


# --- the model process of this worker -------------------------------------------------------------------------


class Station:
    """Keeps the worker's model process between batches, and ends it when the models change or nobody needs it."""

    def __init__(self, choose: Callable[[list[ModelEntry]], list[Analyser]] = analysers.plan) -> None:
        """`choose` says which analysers run with the models that are installed."""
        self.choose = choose
        self._lock = threading.RLock()
        self._process: ModelProcess | None = None
        self._key: tuple[Any, ...] = ()
        self._timer: threading.Timer | None = None

    def __enter__(self) -> ModelProcess:
        """The process for the models that are installed now. One batch at a time has it."""
        self._lock.acquire()
        try:
            if self._timer:
                self._timer.cancel()
            entries = registry.in_use()
            key = (registry.folder(), tuple(entry.sha256 for entry in entries))
            if self._process is None or key != self._key:
                self.close()
                self._process, self._key = ModelProcess(self.choose(entries)), key
            self._process.start()
        except BaseException:
            self.close()
            self._lock.release()
            raise
        return self._process

    def __exit__(self, *_: object) -> None:
        self._timer = threading.Timer(IDLE_S, self._rest)
        self._timer.daemon = True
        self._timer.start()
        self._lock.release()

    def _rest(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self.close()
            finally:
                self._lock.release()

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process:
            self._process.close()
        self._process = None


station = Station()
atexit.register(station.close)


# --- analysing ------------------------------------------------------------------------------------------------


@job("triage.analyse", queue="analyse", attempts=3, limit_s=900, after="item.examined", batch=BATCH)
def analyse(rows: list[Job]) -> None:
    """Look at the items of these jobs. Each is finished, or failed with its reason, by itself."""
    by_key = {row.pk: row for row in rows}
    works = [work for row in rows if (work := _work(row))]
    if not works:
        return
    with station as process:
        recipes = [recipe_of(a, process.sampling, process.versions) for a in process.analysers]
        for outcome in process.look(works):
            row = by_key[outcome.work.key]
            ended = timezone.now()
            if outcome.looked:
                _keep(row, outcome, recipes, ended - timedelta(seconds=outcome.seconds), ended)
            elif outcome.undecodable:
                _stand(row, State.UNREADABLE, outcome.sentence)
            else:
                _failed(row, outcome)


def _work(row: Job) -> Work | None:
    """What to look at for a job. None: nothing, and the item's place says why."""
    item = row.item
    if item.disposed_at is not None:
        _stand(row, State.UNREADABLE, "It was disposed of before a model looked at it.")
    elif item.kind not in (Item.Kind.IMAGE, Item.Kind.VIDEO):
        _stand(row, State.NOT_PICTURES, "")
    elif item.condition in NOTHING_TO_DECODE:
        _stand(row, State.UNREADABLE, "")
    else:
        limit_s = 300 + 4 * (item.duration_ms or 0) / 1000
        return Work(row.pk, item.kind, item.size, lambda: vault.open(item.sha256), limit_s, about.facts(item))
    return None


def _keep(
    row: Job, outcome: Outcome, recipes: list[Recipe], started_at: datetime, finished_at: datetime
) -> None:
    """Store analyses, detections and place, and finish the job: one transaction. A second time changes nothing."""
    item, looked = row.item, outcome.looked
    objects = tracks.followed(looked, outcome.shots) if item.kind == Item.Kind.VIDEO else {}
    for attempt in (1, 2):
        try:
            with transaction.atomic(durable=True):
                have = set(Analysis.objects.filter(item=item).values_list("recipe", flat=True))
                pairs = zip(looked, (r.of(outcome.work.facts) for r in recipes), strict=True)
                fresh = [(one, recipe) for one, recipe in pairs if recipe.sha256 not in have]
                if fresh:
                    analyses = _store(item, fresh, started_at, finished_at)
                    if item.kind == Item.Kind.VIDEO:
                        tracks.keep(item, analyses, objects, outcome.shots)
                standing.place(item, suggested=None if have else results.suggested(looked))
                asking.compare(item.case)
                jobs.finish(row)
            return
        except IntegrityError:  # another worker stored the same in this moment
            if attempt == 2:
                raise


def _store(
    item: Item,
    looked: list[tuple[Looked, Recipe]],
    started_at: datetime,
    finished_at: datetime,
) -> list[Analysis]:
    """The analysers' results, each with its event."""
    log, rows = Batch(Actor.system("worker")), []
    for one, recipe in looked:
        analysis = log.write(
            Analysis(
                item=item,
                task=recipe.analyser.task,
                analyser=recipe.analyser.name,
                version=recipe.analyser.version,
                model=recipe.model,
                weights_sha256=recipe.weights_sha256,
                parameters=recipe.parameters,
                recipe=recipe.sha256,
                started_at=started_at,
                finished_at=finished_at,
                frames=len(one.at_ms),
                looked_at_ms=list(one.at_ms),
                found=one.count,
                truncated=one.truncated,
                result_sha256=one.sha256,
            ),
            event="item.analysed",
            also={"original": item.sha256},
        )
        rows.append((analysis, one))
    log.append()
    for analysis, one in rows:
        stored.put(analysis, one)
    return [analysis for analysis, _ in rows]


def _stand(row: Job, state: str, note: str) -> None:
    """No model can look at this item: say so in its place, and finish the job."""
    with transaction.atomic(durable=True):
        standing.place(row.item, state=state, note=note)
        jobs.finish(row)


def _failed(row: Job, outcome: Outcome) -> None:
    """A failure of ours: the item's place says so, and the job is tried again or stops with the reason."""
    log.warning("analysis failed", extra={"job": str(row.pk), "code": outcome.code, "attempt": row.attempts})
    if row.attempts >= jobs.KINDS[row.name].attempts:
        with transaction.atomic(durable=True):
            standing.place(row.item, state=State.FAILED, note=outcome.sentence)
    jobs.fail(row, outcome.error or outcome.sentence)


# --- asking for it ----------------------------------------------------------------------------------------------


def ask_again(case: Case, *, actor: Actor) -> int:
    """Queue the analysis of every item of a case that today's models have not looked at. Returns how many.

    For after `models pull`: what was looked at before stays, and the newer result is shown.
    """
    access.require(actor, "edit_criteria", case)
    wanted = {entry.sha256 for entry in registry.in_use()}
    asked = 0
    items = Item.objects.filter(
        case=case, kind__in=[Item.Kind.IMAGE, Item.Kind.VIDEO], examined_at__isnull=False
    )
    items = items.exclude(condition__in=NOTHING_TO_DECODE)
    for item in items.select_related("case").iterator():
        have = {a.weights_sha256 for a in Analysis.objects.filter(item=item)}
        if not have or not wanted <= have:
            with transaction.atomic(durable=True):
                asked += jobs.enqueue("triage.analyse", subject=item, once=True) is not None
    return asked


# --- criteria ---------------------------------------------------------------------------------------------------


def set_criteria(
    *,
    case: Case,
    actor: Actor,
    name: str,
    rules: dict[str, Any],
    reason: str = "",
    question: Question | None = None,
) -> Criteria:
    """Make a new version of a question's criteria (without one: question 0's); items are scored again soon after.

    Raises NotAllowed, BadInput that names each fault; then the rules in force stay.
    """
    from django.core.exceptions import ValidationError

    from archive.errors import BadInput, Conflict

    access.require(actor, "edit_criteria", case)
    scoring.validate(rules)
    asked = question.number if question else Question.MAIN
    try:
        with transaction.atomic(durable=True):
            newest = Criteria.objects.filter(case=case, question=asked).order_by("-number").first()
            row = custody.write(
                Criteria(
                    case=case,
                    question=asked,
                    number=newest.number + 1 if newest else 1,
                    name=name.strip(),
                    rules=rules,
                    by=actor.user,
                    at=timezone.now(),
                ),
                event="case.criteria_changed",
                actor=actor,
                reason=reason,
            )
            jobs.enqueue("triage.rescore", subject=case, payload={"question": asked})
    except ValidationError as error:
        raise BadInput("Give the criteria a name of 1 to 120 characters. Nothing was changed.") from error
    except IntegrityError as error:
        raise Conflict(
            "Somebody else changed the criteria first. Nothing of yours was saved: look again."
        ) from error
    return row


@job("triage.rescore", queue="analyse", attempts=3, limit_s=4 * 3600)
def rescore(row: Job, case: Case) -> None:
    """Score every item of a case by the rules in force, and put them in a new order."""
    question = questions.numbered(case, row.payload.get("question", Question.MAIN))
    standing.rescore(case, question.number)
    ranking.ask(question)


# --- checking ---------------------------------------------------------------------------------------------------


def faults(case: Case | None = None) -> Iterator[tuple[Analysis, str]]:
    """Analyses whose stored results are not those that the custody log vouches for, and what is wrong."""
    rows = Analysis.objects.select_related("item__case").order_by("pk")
    if case is not None:
        rows = rows.filter(item__case=case)
    for analysis in rows.iterator(chunk_size=200):
        kept = stored.of(analysis)
        if kept.count != analysis.found:
            yield analysis, f"it has {kept.count} results; the log says {analysis.found}"
        elif kept.sha256 != analysis.result_sha256:
            yield analysis, "its results do not have the hash that the log says"
