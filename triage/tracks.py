"""Keeps what a video is made of: its shots, and the objects that were followed through them. All of it can be rebuilt."""

from collections.abc import Iterable, Mapping, Sequence

from archive.models import Case, Item
from triage import stored, tracking
from triage.models import Analysis, Shot, Track
from triage.results import Looked

TOGETHER = 500
Spans = Sequence[tuple[int, int]]


def followed(looked: Iterable[Looked], shots: Spans) -> dict[str, list[tracking.Followed]]:
    """The objects in what analysers found in one video, by analyser."""
    cuts = [first for first, _last in shots[1:]]
    return {one.analyser: tracking.follow(one.found, one.at_ms, cuts) for one in looked if one.found}


def keep(
    item: Item,
    analyses: Iterable[Analysis],
    objects: Mapping[str, Sequence[tracking.Followed]],
    shots: Spans,
) -> None:
    """Store a video's shots in place of those it had, and new analyses' objects. In the caller's transaction."""
    Shot.objects.filter(item=item).delete()
    Shot.objects.bulk_create(
        [Shot(item=item, first_ms=first, last_ms=last) for first, last in shots], batch_size=TOGETHER
    )
    for analysis in analyses:
        _put(analysis, objects.get(analysis.analyser, ()))


def rebuild(case: Case) -> int:
    """Follow every object of a case's videos again, from stored detections and shots. Returns how many there are."""
    number = 0
    for item in Item.objects.filter(case=case, kind=Item.Kind.VIDEO).order_by("pk").iterator():
        shots = list(Shot.objects.filter(item=item).values_list("first_ms", "last_ms"))
        for analysis in Analysis.objects.filter(item=item, detections__isnull=False).distinct():
            objects = followed([stored.of(analysis)], shots)[analysis.analyser]
            Track.objects.filter(analysis=analysis).delete()
            _put(analysis, objects)
            number += len(objects)
    return number


def _put(analysis: Analysis, objects: Iterable[tracking.Followed]) -> None:
    Track.objects.bulk_create(
        [
            Track(
                analysis=analysis,
                number=one.number,
                label=one.label,
                first_ms=one.first_ms,
                last_ms=one.last_ms,
                confidence=one.most,
                at_ms=one.at_ms,
                x=one.box[0],
                y=one.box[1],
                width=one.box[2],
                height=one.box[3],
                boxes=one.boxes,
            )
            for one in objects
        ],
        batch_size=TOGETHER,
    )
