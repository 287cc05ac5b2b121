"""A box that somebody drew in a picture or a frame, to look for what is like it.

look_for        keeps the box and asks for a job: the confined model process decodes, cuts the box out and makes its vector
vector_of_part  what the index's embedder made of it, for triage.similar.search_like
"""

from collections.abc import Sequence
from decimal import Decimal

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop
from numpy import float16
from numpy.typing import NDArray

from archive import jobs, vault
from archive.errors import BadInput
from archive.jobs import job
from archive.models import Item, Job
from triage.analysers.base import Analyser
from triage.models import Analysis, Part, PartVector
from triage.pipeline import NOTHING_TO_DECODE, station
from triage.runtimes.process import Cut, Work
from triage.similar import NO_INDEX, NO_VECTOR, embedder, matrix

UNIT = Decimal("0.00001")
LEAST_BOX = Decimal("0.01")  # of the frame's width and height

Box = tuple[Decimal, Decimal, Decimal, Decimal]

OTHER_MODEL = gettext_noop(
    "The model that the index is made with cannot be run here, so this part cannot be compared."
)
NOT_HELD = gettext_noop("Its bytes were disposed of, or cannot be decoded: there is nothing to look at.")


def look_for(*, item: Item, box: Sequence[float | str | Decimal], at_ms: int = 0) -> Part:
    """A part of a picture, or of a moment of a video, that a model is asked to look at; the same part again is the same row.

    `box`: x, y, width, height as shares of the frame. Raises BadInput for one that is none.
    """
    x, y, width, height = _box(box)
    pictures = (Item.Kind.IMAGE, Item.Kind.VIDEO)
    if item.disposed_at or item.kind not in pictures or item.condition in NOTHING_TO_DECODE:
        raise BadInput("There is no picture here in which a part could be looked for.")
    if item.kind == Item.Kind.IMAGE:
        at_ms = 0
    elif not 0 <= at_ms <= (item.duration_ms or 0) + 1000:
        raise BadInput("This moment lies outside the video.")
    with transaction.atomic(durable=True):
        part, _ = Part.objects.get_or_create(
            item=item,
            at_ms=at_ms,
            x=x,
            y=y,
            width=width,
            height=height,
            defaults={"asked_at": timezone.now()},
        )
        if vector_of_part(part) is None and not is_awaited(part):
            Part.objects.filter(pk=part.pk).update(trouble="")
            jobs.enqueue("triage.look_at_part", subject=item, payload={"part": str(part.pk)})
    return part


def is_awaited(part: Part) -> bool:
    """Whether a model has still to look at it."""
    waiting = Job.objects.filter(name="triage.look_at_part", item=part.item_id, payload__part=str(part.pk))
    return waiting.filter(state__in=[Job.State.QUEUED, Job.State.RUNNING]).exists()


def vector_of_part(part: Part) -> NDArray[float16] | None:
    """What the index's embedder made of it; None while it has not looked."""
    of = embedder()
    row = (
        of
        and part.vectors.filter(
            analyser=of.analyser, version=of.version, weights_sha256=of.weights_sha256
        ).first()
    )
    return matrix([row.values])[0] if row else None


def _box(given: Sequence[float | str | Decimal]) -> Box:
    try:
        x, y, width, height = (Decimal(str(v)).quantize(UNIT) for v in given)
        inside = 0 <= x <= x + width <= 1 and 0 <= y <= y + height <= 1
    except (ArithmeticError, ValueError) as error:
        raise BadInput(
            "A box is four numbers: left, top, width and height, as shares of the picture."
        ) from error
    if not inside or width < LEAST_BOX or height < LEAST_BOX:
        raise BadInput("The box lies outside the picture, or is too small to look at.")
    return x, y, width, height


@job("triage.look_at_part", queue="analyse", attempts=3, limit_s=600, batch=16)
def look_at_parts(rows: list[Job]) -> None:
    """Let the model process make the vectors of these parts. Each job is finished, or failed with its reason, by itself."""
    asked = {row.payload["part"]: row for row in rows}
    parts = {str(p.pk): p for p in Part.objects.filter(pk__in=list(asked)).select_related("item")}
    works, of = [], embedder()
    for key, row in asked.items():
        part = parts.get(key)
        if part is None:  # its item was disposed of
            jobs.finish(row)
        elif part.item.disposed_at is not None or of is None:
            _end_part(row, part, NOT_HELD if of else NO_INDEX)
        else:
            works.append(_work(row, part))
    if not (works and of):
        return
    with station as process:
        embedders = {a.name: a for a in process.analysers if a.task == Analysis.Task.EMBED}
        own = embedders.get(of.analyser)
        if own is None or (own.version, _weights(own)) != (of.version, of.weights_sha256):
            for work in works:
                _end_part(work.key, parts[work.key.payload["part"]], OTHER_MODEL)
            return
        for outcome in process.look(works):
            row = outcome.work.key
            part = parts[row.payload["part"]]
            if not outcome.looked and not outcome.undecodable:
                jobs.fail(row, outcome.error or outcome.sentence)
                continue
            vectors = [
                PartVector(
                    part=part,
                    analyser=one.analyser,
                    version=embedders[one.analyser].version,
                    weights_sha256=_weights(embedders[one.analyser]),
                    values=vector.values,
                )
                for one in outcome.looked
                for vector in one.vectors
            ]
            seen = any(vector.analyser == of.analyser for vector in vectors)
            _end_part(row, part, "" if seen else outcome.sentence or NO_VECTOR, vectors)


def _weights(analyser: Analyser) -> str:
    return analyser.entry.sha256 if analyser.entry else ""


def _end_part(row: Job, part: Part, trouble: str, vectors: Sequence[PartVector] = ()) -> None:
    with transaction.atomic(durable=True):
        PartVector.objects.bulk_create(vectors, ignore_conflicts=True)
        Part.objects.filter(pk=part.pk).update(trouble=trouble)
        jobs.finish(row)


def _work(row: Job, part: Part) -> Work:
    box = tuple(int(share / UNIT) for share in (part.x, part.y, part.width, part.height))
    item = part.item
    return Work(
        row,
        item.kind,
        item.size,
        lambda: vault.open(item.sha256),
        cut=Cut(part.at_ms, (box[0], box[1], box[2], box[3])),
    )
