"""When things were suggested in a video: objects followed through it, spans of it, and boxes that belong to no object."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, Max, Min

from archive.views.suggestions import Lane
from triage.models import Analysis, Detection, Tagged, Track
from triage.registry import ONE_RUNS

STEP_MS = 1000
Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Objects:
    """How many objects of a class were followed in a video, from the first one's first sight to the last one's last."""

    number: int
    first_ms: int
    last_ms: int


def counting(items: Iterable[UUID]) -> dict[UUID, UUID]:
    """The analyses that count for these items now, each with its item: as facts.current_analyses, without their contents."""
    newest: dict[tuple[UUID, str], UUID] = {}
    rows = Analysis.objects.filter(item__in=list(items)).order_by("finished_at", "pk")
    for pk, item, task, analyser in rows.values_list("pk", "item", "task", "analyser"):
        newest[item, task if task in ONE_RUNS else analyser] = pk
    return {pk: item for (item, _name), pk in newest.items()}


def objects(owners: Mapping[UUID, UUID]) -> dict[UUID, dict[str, Objects]]:
    """The objects of each item by class: one query. `owners` gives the item of each analysis that counts."""
    found: dict[UUID, dict[str, Objects]] = defaultdict(dict)
    rows = Track.objects.filter(analysis__in=list(owners)).order_by().values_list("analysis", "label")
    counted = rows.annotate(number=Count("pk"), first=Min("first_ms"), last=Max("last_ms"))
    for analysis, label, number, first_ms, last_ms in counted:
        found[owners[analysis]][label] = Objects(number, first_ms, last_ms)
    return found


def lanes(found: Sequence[Detection], analyses: Sequence[Analysis]) -> list[Lane]:
    """One lane for each class, the fullest first.

    A class that was followed has its objects' spans and their number; a tag of parts of the video those parts; any other
    class goes from each look that has it to the next one, with the most at once.
    """
    looked = sorted({at for analysis in analyses for at in analysis.looked_at_ms})
    gaps = sorted(b - a for a, b in zip(looked, looked[1:], strict=False))
    step = gaps[len(gaps) // 2] if gaps else STEP_MS
    following = dict(zip(looked, looked[1:], strict=False))
    spans: dict[str, Spans] = defaultdict(list)
    most: dict[str, int] = defaultdict(int)
    for label, first_ms, last_ms in (
        Track.objects.filter(analysis__in=analyses).order_by().values_list("label", "first_ms", "last_ms")
    ):
        spans[label].append((first_ms, following.get(last_ms, last_ms + step)))
        most[label] += 1
    # an indicator is about the whole file, not about a time in it
    timed = [one for one in analyses if one.task != Analysis.Task.INDICATOR]
    parts = Tagged.objects.filter(analysis__in=timed, until_ms__isnull=False).order_by()
    for label, start, end in parts.values_list("label", "at_ms", "until_ms"):
        spans[label].append((start, end))
    boxes: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for detection in found:
        if detection.label not in spans:
            boxes[detection.label][detection.at_ms] += 1
    for label, at in boxes.items():
        spans[label] = [(start, following.get(start, start + step)) for start in at]
        most[label] = max(at.values())
    made = [Lane(label, most[label], _joined(some)) for label, some in spans.items()]
    made.sort(key=lambda lane: (-sum(end - start for start, end in lane.spans), lane.label))
    return made


def _joined(spans: Iterable[tuple[int, int]]) -> Spans:
    """Spans in order, those that touch as one."""
    joined: Spans = []
    for start, end in sorted(spans):
        if joined and joined[-1][1] >= start:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
