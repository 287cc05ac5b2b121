"""Answers that the rest of the answers contradict: listed for a second look, never changed."""

from typing import Any

import numpy as np
from django.db import transaction
from django.utils import timezone

from archive import access, custody, jobs
from archive.custody import Actor
from archive.errors import BadInput
from archive.models import Case, Item
from triage import given
from triage.elusion import require_person
from triage.given import NO, UNSURE, YES
from triage.learning import Ranker, joined, likeness
from triage.models import Doubt, Question, SecondLook

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
    from triage import vectors

    known = given.in_force(question)
    numbers, blocks = vectors.of_case(question.case)
    rows = [row for row, n in enumerate(numbers) if (one := known.get(int(n))) and one.value != UNSURE]
    found: list[Doubt] = []
    if rows and blocks:
        answered = [known[int(numbers[row])] for row in rows]
        features = joined({name: block[rows] for name, block in blocks.items()})
        yes = np.array([one.value == YES for one in answered])
        ranker = Ranker(features)
        ranker.decide((place, bool(label)) for place, label in enumerate(yes))
        ranker.refit()
        for place, at in enumerate(ranker.doubtful(MOST), 1):
            others = np.flatnonzero(yes != yes[at])
            near = others[np.argsort(-likeness(features[at : at + 1], features[others])[0], kind="stable")]
            found.append(
                Doubt(
                    question=question,
                    item_id=answered[at].item,
                    place=place,
                    answer=answered[at].row,
                    like={
                        "numbers": [answered[other].number for other in near[:ALIKE]],
                        "models": sorted(blocks),
                    },
                    among=len(rows),
                    at=timezone.now(),
                )
            )
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
