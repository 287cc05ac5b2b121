"""From examined item to stored, scored suggestions: the one flow of this floor, top to bottom.

analyse   claimed jobs in, their originals streamed through the model process, results stored some at a time
rescore   all items of a case again, after its criteria changed
"""

import atexit
import hashlib
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

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
    tracking,
    tracks,
)
from triage.analysers.base import Analyser
from triage.models import Analysis, Criteria, Question, Standing
from triage.registry import ModelEntry
from triage.results import Looked
from triage.runtimes.decode import Sampling
from triage.runtimes.process import ModelProcess, Outcome, Work
from triage.standing import Placing

log = logging.getLogger("amparo.triage")

BATCH = 128  # jobs claimed at a time: between two batches the model process has nothing to do
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
        if library := analyser.library(versions):
            parameters["library"] = library
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


@dataclass(frozen=True)
class Ended:
    """A job that has come to its end: where its item stands now, and what was found in it if a model has looked."""

    row: Job
    state: str = State.SCORED
    note: str = ""
    outcome: Outcome | None = None
    objects: Mapping[str, list[tracking.Followed]] = field(default_factory=dict)


@job("triage.analyse", queue="analyse", attempts=3, limit_s=900, after="item.examined", batch=BATCH)
def analyse(rows: list[Job]) -> None:
    """Look at the items of these jobs. Each is finished, or failed with its reason, by itself."""
    by_key = {row.pk: row for row in rows}
    planned = [_work(row) for row in rows]
    _keep([one for one in planned if isinstance(one, Ended)], [])
    works = [one for one in planned if isinstance(one, Work)]
    if not works:
        return
    with station as process:
        recipes = [recipe_of(a, process.sampling, process.versions) for a in process.analysers]
        for outcomes in process.look_together(works):
            ended = [_ended(by_key[outcome.work.key], outcome) for outcome in outcomes]
            _keep([one for one in ended if one], recipes)


def _work(row: Job) -> Work | Ended:
    """What to look at for a job; or that there is nothing to look at, and why."""
    item = row.item
    if item.disposed_at is not None:
        return Ended(row, State.UNREADABLE, "It was disposed of before a model looked at it.")
    if item.kind not in (Item.Kind.IMAGE, Item.Kind.VIDEO):
        return Ended(row, State.NOT_PICTURES)
    if item.condition in NOTHING_TO_DECODE:
        return Ended(row, State.UNREADABLE)
    limit_s = 300 + 4 * (item.duration_ms or 0) / 1000
    return Work(row.pk, item.kind, item.size, lambda: vault.open(item.sha256), limit_s, about.facts(item))


def _ended(row: Job, outcome: Outcome) -> Ended | None:
    """How a job ends with what became of its work. None: it failed, which is noted."""
    if outcome.looked:
        video = row.item.kind == Item.Kind.VIDEO
        objects = tracks.followed(outcome.looked, outcome.shots) if video else {}
        return Ended(row, outcome=outcome, objects=objects)
    if outcome.undecodable:
        return Ended(row, State.UNREADABLE, outcome.sentence)
    _failed(row, outcome)
    return None


def _keep(ended: list[Ended], recipes: list[Recipe]) -> None:
    """Store what was found and where each item stands, and finish the jobs: one transaction.

    When it fails (one of them cannot be stored, or another worker stored one in this moment), each is stored by itself.
    A second time changes nothing.
    """
    if not ended:
        return
    try:
        with transaction.atomic(durable=True):
            _store(ended, recipes)
    except Exception as error:  # noqa: BLE001 - whichever it was of them says it again by itself
        log.info("stored one by one", exc_info=error, extra={"count": len(ended)})
        for one in ended:
            _keep_alone(one, recipes)


def _keep_alone(one: Ended, recipes: list[Recipe]) -> None:
    try:
        with transaction.atomic(durable=True):
            _store([one], recipes)
    except Exception as error:  # noqa: BLE001 - it is written on the job and shown; the others are stored
        log.warning("not stored", exc_info=error, extra={"job": str(one.row.pk)})
        jobs.fail(one.row, error)


def _store(ended: list[Ended], recipes: list[Recipe]) -> None:
    """Analyses with their events and results, the objects in videos, places, and the ends of the jobs."""
    looked = [(one, one.outcome) for one in ended if one.outcome]
    have = _recipes_of([one.row.item for one, _ in looked])
    fresh = [
        (one, found, recipe)
        for one, outcome in looked
        for found, recipe in zip(outcome.looked, (r.of(outcome.work.facts) for r in recipes), strict=True)
        if recipe.sha256 not in have.get(one.row.item_id, ())
    ]
    analyses = _analyses(fresh)
    stored.put_all((analysis, found) for analysis, (_, found, _) in zip(analyses, fresh, strict=True))
    for one, outcome in looked:
        item = one.row.item
        made = [analysis for analysis in analyses if analysis.item_id == item.pk]
        if made and item.kind == Item.Kind.VIDEO:
            tracks.keep(item, made, one.objects, outcome.shots)
    standing.place_all([_placing(one, first=one.row.item_id not in have) for one in ended])
    for case in {one.row.item.case for one, _ in looked}:
        asking.compare(case)
    jobs.finish_all([one.row for one in ended])


def _recipes_of(items: list[Item]) -> dict[UUID, set[str]]:
    """The recipes by which these items were analysed already."""
    have: dict[UUID, set[str]] = defaultdict(set)
    for item, recipe in Analysis.objects.filter(item__in=items).order_by().values_list("item_id", "recipe"):
        have[item].add(recipe)
    return dict(have)


def _analyses(fresh: list[tuple[Ended, Looked, Recipe]]) -> list[Analysis]:
    """The rows that say what looked at what, each with its event; in the same order."""
    log = Batch(Actor.system("worker"))
    rows = []
    for ended, found, recipe in fresh:
        item, outcome = ended.row.item, ended.outcome
        analysis = Analysis(
            item=item,
            task=recipe.analyser.task,
            analyser=recipe.analyser.name,
            version=recipe.analyser.version,
            model=recipe.model,
            weights_sha256=recipe.weights_sha256,
            parameters=recipe.parameters,
            recipe=recipe.sha256,
            started_at=outcome.ended_at - timedelta(seconds=outcome.seconds),
            finished_at=outcome.ended_at,
            frames=len(found.at_ms),
            looked_at_ms=list(found.at_ms),
            found=found.count,
            truncated=found.truncated,
            result_sha256=found.sha256,
        )
        rows.append(log.write(analysis, event="item.analysed", also={"original": item.sha256}))
    log.append()
    return rows


def _placing(one: Ended, *, first: bool) -> Placing:
    """Where an item goes. Of what was looked at for the first time, the results at hand are all that models say."""
    suggested = results.suggested(one.outcome.looked) if one.outcome and first else None
    return Placing(one.row.item, one.state, one.note, suggested)


def _failed(row: Job, outcome: Outcome) -> None:
    """A failure of ours: the item's place says so, and the job is tried again or stops with the reason."""
    log.warning("analysis failed", extra={"job": str(row.pk), "code": outcome.code, "attempt": row.attempts})
    if row.attempts >= jobs.KINDS[row.name].attempts:
        with transaction.atomic(durable=True):
            standing.place(row.item, state=State.FAILED, note=outcome.sentence)
    jobs.fail(row, outcome.error or outcome.sentence)


# --- asking for it ----------------------------------------------------------------------------------------------


def ask_again(case: Case, *, actor: Actor) -> int:
    """Queue the analysis of every item of a case that one of today's analysers has not looked at. Returns how many.

    For after `models pull`, `models promote` or an upgrade: what was looked at before stays, and the newer result is shown.
    """
    access.require(actor, "edit_criteria", case)
    running = analysers.plan(registry.in_use())
    wanted = {(one.name, one.version, one.entry.sha256 if one.entry else "") for one in running}
    asked = 0
    items = Item.objects.filter(
        case=case, kind__in=[Item.Kind.IMAGE, Item.Kind.VIDEO], examined_at__isnull=False
    )
    items = items.exclude(condition__in=NOTHING_TO_DECODE)
    for item in items.select_related("case").iterator():
        looked = Analysis.objects.filter(item=item).values_list("analyser", "version", "weights_sha256")
        if not wanted <= set(looked):
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
