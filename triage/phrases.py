"""Words for which pictures are looked for, by a model that puts words and pictures into one space (a text tower).

look_for        keeps the words and asks for a job: the confined model process makes their vector
show            the same for words as an example of what a question looks for: the next order learns from it
search          the pictures of a case that fit words best, by the vectors that this model made of them

Which tower: of those installed that were made for the language of the words, the one that knows most languages. A case says
its languages by what was asked in it: offered first is the language of the last words, else that of the screens.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any
from uuid import UUID

import numpy as np
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop
from numpy.typing import NDArray

from archive import custody, jobs
from archive.custody import Actor
from archive.errors import BadInput
from archive.jobs import job
from archive.media import clean
from archive.models import Case, Item, Job, User
from triage import analysers, asking, examples, registry, similar
from triage.analysers.base import Analyser
from triage.models import Example, ExampleVector, Phrase, PhraseVector, PictureLook, Question
from triage.pipeline import recipe_of, station
from triage.runtimes.process import Work
from triage.similar import CHUNK, Embedder, Match, NothingToCompare, matrix

LONGEST = 300  # characters

NO_TOWER = gettext_noop("No model that compares words in this language with pictures is installed.")
NO_VECTOR = gettext_noop("The model read these words and gave nothing to compare pictures with.")
NOT_READ = gettext_noop(
    "The model that reads these words now is another than when they were asked. Ask again."
)


def towers(among: Iterable[Analyser] | None = None) -> list[Analyser]:
    """The embedders with a text tower that run here, those that know most languages first."""
    some = analysers.plan(registry.in_use()) if among is None else among
    speaking = [one for one in some if one.tower_languages]
    return sorted(speaking, key=lambda one: (-len(one.tower_languages), one.name))


def tower_for(language: str, among: Iterable[Analyser] | None = None) -> Analyser | None:
    """The tower that reads words in a language."""
    return next((one for one in towers(among) if language in one.tower_languages), None)


def languages(case: Case, interface: str) -> list[str]:
    """The languages in which pictures can be asked for here (BCP 47), the one to offer first in front; empty: none."""
    known = list(dict.fromkeys(language for one in towers() for language in one.tower_languages))
    last = Phrase.objects.filter(case=case).order_by("-asked_at").values_list("language", flat=True).first()
    screen = interface.partition("-")[0]
    return sorted(
        known, key=lambda one: (one != last, one.partition("-")[0] != screen)
    )  # the rest as it was: sorting is stable


def of(tower: Analyser) -> Embedder:
    """Whose vectors a tower's are compared with: its own of pictures."""
    model = tower.entry.name if tower.entry else tower.built_in
    return Embedder(tower.name, tower.version, model, tower.entry.sha256 if tower.entry else "")


def look_for(*, case: Case, words: str, language: str, by: User | None) -> Phrase:
    """Words that a model is asked to read; the same again are the same row, asked by whom asked last. Raises BadInput."""
    said = _said(words, language)
    with transaction.atomic(durable=True):
        now = timezone.now()
        phrase, _ = Phrase.objects.update_or_create(
            case=case,
            words=said,
            language=language,
            defaults={"asked_at": now, "by": by, "trouble": ""},
            create_defaults={"asked_at": now, "by": by},
        )
        if read(phrase) is None and not is_awaited(phrase):
            jobs.enqueue("triage.look_for_words", subject=case, payload={"phrase": str(phrase.pk)})
    return phrase


def show(*, words: str, language: str, question: Question, actor: Actor, reason: str = "") -> Example:
    """Show words as an example of what a question looks for. They teach once a model has read them.

    Raises NotAllowed, BadInput, Conflict as `examples.require_new` does.
    """
    examples.require_person(actor, question)
    said = _said(words, language)
    examples.require_new(question, words=said, language=language)
    with transaction.atomic(durable=True):
        example = custody.write(
            Example(
                question=question,
                words=said,
                language=language,
                reason=reason.strip(),
                by=actor.user,
                at=timezone.now(),
            ),
            event="case.example_given",
            actor=actor,
        )
        jobs.enqueue("triage.look_for_words", subject=question.case, payload={"example": example.pk})
    return example


def read_again(case: Case) -> int:
    """Queue all words of a case that still teach, for after `models pull`. Returns how many."""
    held = Example.objects.filter(question__case=case, ended_at=None).exclude(words="")
    for pk in held.values_list("pk", flat=True):
        with transaction.atomic(durable=True):
            jobs.enqueue("triage.look_for_words", subject=case, payload={"example": pk})
    return held.count()


def is_awaited(phrase: Phrase) -> bool:
    """Whether a model has still to read it."""
    waiting = Job.objects.filter(
        name="triage.look_for_words", case=phrase.case_id, payload__phrase=str(phrase.pk)
    )
    return waiting.filter(state__in=[Job.State.QUEUED, Job.State.RUNNING]).exists()


@dataclass(frozen=True)
class Read:
    """What the tower for a phrase's language made of it, and whose pictures it is compared with."""

    of: Embedder
    vector: NDArray[np.float16]


def read(phrase: Phrase) -> Read | None:
    """What the tower that reads its language now made of a phrase; None while it has not read it."""
    tower = tower_for(phrase.language)
    if tower is None:
        return None
    by = of(tower)
    row = phrase.vectors.filter(
        analyser=by.analyser, version=by.version, weights_sha256=by.weights_sha256
    ).first()
    return Read(by, matrix([row.values])[0]) if row else None


def search(phrase: Phrase, *, user: User, count: int = 24) -> list[Match]:
    """The `count` items of the phrase's case that fit it best, the best first, each by its best moment.

    Only what this person may see takes part. Raises NothingToCompare.
    """
    found = read(phrase)
    if found is None:
        raise NothingToCompare(phrase.trouble or (NOT_READ if tower_for(phrase.language) else NO_TOWER))
    held = similar.embedder()
    if held and _names(held) == _names(found.of):
        return similar.search_like(found.vector, user=user, case=phrase.case, count=count)
    return nearest(found, case=phrase.case, user=user, count=count)


def _names(one: Embedder) -> tuple[str, int, str]:
    """By what an embedder's vectors are known."""
    return one.analyser, one.version, one.weights_sha256


def nearest(asked: Read, *, case: Case, user: User, count: int) -> list[Match]:
    """The same without an index: every vector of the case is compared, some at a time."""
    rows = asked.of.vectors.filter(
        analysis__item__case=case, analysis__item__in=Item.objects.visible_to(user).held()
    )
    wanted, best = asked.vector.astype(np.float32), dict[UUID, Match]()
    fields = rows.order_by().values_list("analysis__item_id", "at_ms", "values")
    for some in _blocks(fields.iterator(chunk_size=CHUNK)):
        likeness = matrix([row[2] for row in some]).astype(np.float32) @ wanted
        least = min((one.likeness for one in best.values()), default=-2) if len(best) == count else -2
        for place in np.flatnonzero(likeness > least):
            item, at_ms, _ = some[place]
            if item not in best or best[item].likeness < likeness[place]:
                best[item] = Match(item, at_ms, float(likeness[place]))
        best = dict(sorted(best.items(), key=lambda pair: -pair[1].likeness)[:count])
    return list(best.values())


def _blocks(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while some := list(islice(rows, CHUNK)):
        yield some


@job("triage.look_for_words", queue="analyse", attempts=3, limit_s=600, batch=16)
def look_for_words(rows: list[Job]) -> None:
    """Let the model process read these words. Each job ends, or fails with its reason, by itself."""
    asked = {row.pk: _asked(row) for row in rows}
    with station as process:
        works = []
        for row in rows:
            one = asked[row.pk]
            if tower := tower_for(one.language, process.analysers):
                works.append(_work(row, one.words, tower))
            else:
                _end(row, one, NO_TOWER)
        for outcome in process.look(works):
            row = outcome.work.key
            if not outcome.looked and not outcome.undecodable:
                jobs.fail(row, outcome.error or outcome.sentence)
                continue
            (tower,) = (one for one in process.analysers if one.name == outcome.work.tower)
            made = [v.values for one in outcome.looked if one.analyser == tower.name for v in one.vectors]
            recipe = recipe_of(tower, process.sampling, process.versions).sha256
            trouble = "" if made else outcome.sentence or NO_VECTOR
            _end(row, asked[row.pk], trouble, made, of(tower), recipe)


def _asked(row: Job) -> Phrase | Example:
    if "phrase" in row.payload:
        return Phrase.objects.get(pk=row.payload["phrase"])
    return Example.objects.select_related("question").get(pk=row.payload["example"])


def _work(row: Job, words: str, tower: Analyser) -> Work:
    data = words.encode()
    return Work(row, "words", len(data), lambda: BytesIO(data), tower=tower.name)


def _end(
    row: Job,
    one: Phrase | Example,
    trouble: str,
    made: Iterable[bytes] = (),
    by: Embedder | None = None,
    recipe: str = "",
) -> None:
    with transaction.atomic(durable=True):
        for values in made:
            if isinstance(one, Example):
                ExampleVector.objects.get_or_create(example=one, embedder=recipe, defaults={"values": values})
            elif by:
                PhraseVector.objects.get_or_create(
                    phrase=one,
                    analyser=by.analyser,
                    version=by.version,
                    weights_sha256=by.weights_sha256,
                    defaults={"values": values},
                )
        if isinstance(one, Example):
            look = {"at": timezone.now(), "trouble": trouble}
            PictureLook.objects.update_or_create(example=one, defaults=look)
            asking.ask(one.question)
        else:
            Phrase.objects.filter(pk=one.pk).update(trouble=trouble)
        jobs.finish(row)


def _said(words: str, language: str) -> str:
    said = clean.text(" ".join(words.split()), LONGEST + 1)
    if not 0 < len(said) <= LONGEST:
        raise BadInput(f"Say in 1 to {LONGEST} characters what the pictures show. Nothing was saved.")
    if tower_for(language) is None:
        raise BadInput(NO_TOWER)
    return said
