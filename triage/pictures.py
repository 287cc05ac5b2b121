"""Pictures from elsewhere that people show for what a question looks for. They are no evidence and no items.

give             keeps the picture in the vault and asks for two jobs
look_at_pictures has the confined model process make its vectors; the next order learns from them
make_small       has the media sandbox make its veil and its thumbnail, for lists
"""

import os
from typing import BinaryIO

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from archive import custody, ingest, jobs, vault
from archive.custody import Actor
from archive.errors import BadInput
from archive.jobs import job
from archive.models import Blob, Case, Item, Job, Rendition
from triage import asking, examples
from triage.models import Analysis, Example, ExampleVector, PictureLook, Question, SmallPicture
from triage.pipeline import recipe_of, station
from triage.runtimes.process import Cut, Work

LARGEST = 10 * 1024**2  # bytes
SMALL = (Rendition.Kind.VEIL, Rendition.Kind.THUMBNAIL)
WHOLE = Cut(0, (0, 0, 100_000, 100_000))
NO_EMBEDDER = gettext_noop("No model that compares pictures is installed.")


def give(
    *, picture: BinaryIO, size: int, file_name: str, question: Question, actor: Actor, reason: str = ""
) -> Example:
    """Show a picture that is no item as an example of what a question looks for. It teaches once a model has looked.

    Raises NotAllowed, BadInput for none or one of more than LARGEST bytes, Conflict as `examples.require_new` does.
    """
    examples.require_person(actor, question)
    if not 0 < size <= LARGEST:
        raise BadInput("Choose a picture of at most 10 MB. Nothing was saved.")
    examples.require_new(question)
    stored = vault.put(picture)
    now = timezone.now()
    with transaction.atomic(durable=True):
        _hold(stored)
        examples.require_new(question, picture=stored.sha256)
        example = custody.write(
            Example(
                question=question,
                picture_id=stored.sha256,
                file_name=file_name[-255:],
                reason=reason.strip(),
                by=actor.user,
                at=now,
            ),
            event="case.example_given",
            actor=actor,
        )
        for name in ("triage.look_at_picture", "triage.small_picture"):
            jobs.enqueue(name, subject=question.case, payload={"example": example.pk})
    return example


def _hold(stored: vault.Stored) -> None:
    """A row that names these bytes; a disposal of the same bytes waits and sees it. In the caller's transaction."""
    blob = Blob(sha256=stored.sha256, size=stored.size, stored_at=timezone.now())
    Blob.objects.bulk_create([blob], ignore_conflicts=True)
    Blob.objects.select_for_update().get(pk=stored.sha256)
    Blob.objects.filter(pk=stored.sha256).update(destroyed_at=None)


def look_again(case: Case) -> int:
    """Queue all pictures of a case that still teach, for after `models pull`. Returns how many."""
    held = Example.objects.filter(question__case=case, picture__isnull=False, ended_at=None)
    for example in held.prefetch_related("small"):
        with transaction.atomic(durable=True):
            jobs.enqueue("triage.look_at_picture", subject=case, payload={"example": example.pk})
            if not example.small.all():
                jobs.enqueue("triage.small_picture", subject=case, payload={"example": example.pk})
    return held.count()


@job("triage.small_picture", queue="media", attempts=2, limit_s=600)
def make_small(row: Job, case: Case) -> None:
    """Make the veil and the thumbnail of an example's picture, where it can be decoded."""
    from archive.media import renditions

    example = Example.objects.get(pk=row.payload["example"])
    with vault.open(example.picture_id) as picture:
        descriptor = renditions.in_memory(picture.read())
    try:
        found = renditions.examine(descriptor, file_name=example.file_name)
    finally:
        os.close(descriptor)
    made = [(one.kind, ingest.store(one)) for one in found.renditions if one.kind in SMALL]
    with transaction.atomic(durable=True):
        for kind, stored in made:
            _hold(stored)
            SmallPicture.objects.get_or_create(
                example=example, kind=kind, defaults={"blob_id": stored.sha256}
            )


@job("triage.look_at_picture", queue="analyse", attempts=3, limit_s=600, batch=16)
def look_at_pictures(rows: list[Job]) -> None:
    """Let the model process make the vectors of these pictures. Each job ends, or fails with its reason, by itself."""
    of = {
        row.pk: Example.objects.select_related("picture", "question").get(pk=row.payload["example"])
        for row in rows
    }
    works = [_work(row, of[row.pk].picture) for row in rows]
    with station as process:
        recipes = {
            a.name: recipe_of(a, process.sampling, process.versions).sha256
            for a in process.analysers
            if a.task == Analysis.Task.EMBED
        }
        for outcome in process.look(works):
            row = outcome.work.key
            if not outcome.looked and not outcome.undecodable and recipes:
                jobs.fail(row, outcome.error or outcome.sentence)
                continue
            example = of[row.pk]
            vectors = [
                ExampleVector(example=example, embedder=recipes[one.analyser], values=vector.values)
                for one in outcome.looked
                for vector in one.vectors
            ]
            trouble = "" if vectors else outcome.sentence or NO_EMBEDDER
            with transaction.atomic(durable=True):
                ExampleVector.objects.bulk_create(vectors, ignore_conflicts=True)
                PictureLook.objects.update_or_create(
                    example=example, defaults={"at": timezone.now(), "trouble": trouble}
                )
                asking.ask(example.question)
                jobs.finish(row)


def _work(row: Job, picture: Blob) -> Work:
    return Work(row, Item.Kind.IMAGE, picture.size, lambda: vault.open(picture.sha256), cut=WHOLE)
