"""Answers that the rest of the answers contradict: listed for a second look, never changed."""

from typing import Any

import numpy as np
from django.db import transaction
from django.utils import timezone

from archive import access, custody, jobs
from archive.custody import Actor
from archive.errors import BadInput
from archive.models import Case, Item
from triage import given, pool
from triage.elusion import require_person
from triage.given import NO, UNSURE, YES, Given
from triage.learning import Ranker, likeness
from triage.models import Analysis, Doubt, Question, SecondLook
from triage.pool import Pool

MOST = 50  # pointed out at a time, the most contradicted ones
ALIKE = 3  # items named as the reason


def search(*, case: Case, actor: Actor) -> None:
    """Have all answers of a case compared with each other, by a job. Raises NotAllowed."""
    require_person(actor)
    access.require(actor, "decide", case)
    with transaction.atomic(durable=True):
        jobs.enqueue("triage.doubtful", subject=case, once=True)


@jobs.job("triage.doubtful", queue="analyse", attempts=2)
def _search(row: Any, case: Case) -> None:
    """Compare the answers to each open question of a case, and keep which are contradicted."""
    for question in Question.objects.filter(case=case, closed_at=None):
        rebuild(question)


def rebuild(question: Question) -> list[Doubt]:
    """Find the contradicted answers of a question anew, and keep them in place of the earlier ones."""
    known = {n: one for n, one in given.in_force(question).items() if one.value != UNSURE}
    recipes = pool.recipes_of(question.case)
    read = pool.read(question.case, recipes=recipes, among=np.array(sorted(known), np.int64))
    found = [] if read is None else _contradicted(question, read, known)
    with transaction.atomic():
        Doubt.objects.filter(question=question).delete()
        Doubt.objects.bulk_create(found)
    return found


def listed(question: Question) -> list[Doubt]:
    """Contradicted answers that are still in force and that nobody has looked at again, the most contradicted first."""
    known = {one.row: one for one in given.in_force(question).values()}
    looked = set(SecondLook.objects.filter(question=question).values_list("answer", flat=True))
    rows = Doubt.objects.filter(question=question).select_related("item__case")
    out = [row for row in rows if row.answer in known and row.answer not in looked]
    for row in out:
        row.value = known[row.answer].value
        row.other = NO if row.value == YES else YES
    return out


def _contradicted(question: Question, read: Pool, known: dict[int, Given]) -> list[Doubt]:
    answered = [known[int(number)] for number in read.numbers]
    yes = np.array([one.value == YES for one in answered])
    ranker = Ranker(read.features, read.kernel)
    ranker.decide(enumerate(map(bool, yes)))
    ranker.refit()
    said = _models(read)
    found = []
    for place, at in enumerate(ranker.doubtful(MOST), 1):
        others = np.flatnonzero(yes != yes[at])
        near = others[
            np.argsort(-likeness(read.features[at : at + 1], read.features[others])[0], kind="stable")
        ]
        like = [answered[other].number for other in near[:ALIKE]]
        found.append(
            Doubt(
                question=question,
                item_id=answered[at].item,
                place=place,
                answer=answered[at].row,
                like={"numbers": like, "models": said},
                among=len(answered),
                at=timezone.now(),
            )
        )
    return found


def _models(read: Pool) -> list[str]:
    """The embedders that were compared, as screens name them."""
    used = Analysis.objects.filter(item__case=read.case, recipe__in=read.recipes.values()).order_by()
    return sorted(
        {f"{model} ({name} {v})" for model, name, v in used.values_list("model", "analyser", "version")}
    )


def models(question: Question) -> list[str]:
    """The embedders that the doubts of a question rest on."""
    row = Doubt.objects.filter(question=question).first()
    return row.like["models"] if row else []


def leave(*, question: Question, item: Item, actor: Actor, reason: str = "") -> SecondLook:
    """Record that a person looked again and leaves the answer as it is. Raises NotAllowed, BadInput."""
    require_person(actor)
    access.require(actor, "decide", question.case)
    now = given.of(question, item) if item.case_id == question.case_id else None
    if now is None:
        raise BadInput("Nobody has answered this; there is nothing to leave as it is.")
    with transaction.atomic(durable=True):
        return custody.write(
            SecondLook(
                item=item,
                question=question,
                answer=now.row,
                reason=reason.strip(),
                by=actor.user,
                at=timezone.now(),
            ),
            event="item.looked_again",
            actor=actor,
        )


def change(*, question: Question, item: Item, actor: Actor, value: str, reason: str = "") -> None:
    """Answer anew after a second look; the earlier answer stays in the history. Raises as given.give."""
    given.give(
        question=question, item=item, actor=actor, value=value, reason=reason, shown={"came": "second look"}
    )
