"""What is known of an item when rules are applied to it.

`gather` says it in a form that is kept (triage.models.Known): values, and which analyses and notes were read.

    {"analyses": ["9f0c...", ...], "notes": [17], "reliability": 80, "source": "S-01", "captured_on": "2026-05-03",
     "opened_on": "2026-11-01", "places": [["33.510000", "36.290000", true]], "tags": ["bridge"],
     "tracks": [["truck", 12000, 48000]]}

`read` makes Facts of it, now or in a replay years later: analyses and notes never change; tracks are values, as they can
be followed anew. A place is latitude, longitude and whether a person established it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import chain
from typing import Any
from uuid import UUID

from archive.models import Claim, Finding, Item, ItemTag, Note
from triage.models import Analysis, Caption, Detection, ReadText, Tagged, Track
from triage.registry import ONE_RUNS
from triage.results import Suggested

# Time in ms -> class -> confidences suggested there
Frames = Mapping[int, Mapping[str, tuple[Decimal, ...]]]
Kept = dict[str, Any]


@dataclass(frozen=True)
class Tracked:
    """One object that a model followed through a video."""

    label: str
    first_ms: int
    last_ms: int


@dataclass(frozen=True)
class Written:
    """Text: read in the picture at a moment (machine), or a person's note."""

    text: str
    machine: bool
    at_ms: int = 0
    confidence: Decimal = Decimal(1)


@dataclass(frozen=True)
class Place:
    """Where it was captured, in degrees: as a person established it, or as the file or its source claims."""

    latitude: Decimal
    longitude: Decimal
    established: bool


@dataclass(frozen=True)
class Facts:
    """What is known of an item.

    `frames`: time in ms -> class -> confidences of the boxes suggested there. `tags`: what models say of it without a
    box -> the highest confidence anywhere in it. `marked`: words that people put on it.
    """

    frames: Frames = field(default_factory=dict)
    reliability: int | None = None  # of the source, 0 to 100
    captured_on: date | None = None
    opened_on: date | None = None  # the case
    source: str = ""  # its code
    places: tuple[Place, ...] = ()
    tags: Mapping[str, Decimal] = field(default_factory=dict)
    marked: tuple[str, ...] = ()
    tracks: tuple[Tracked, ...] = ()
    texts: tuple[Written, ...] = ()
    # Sentences in which models described it: apart, since nobody wrote them and nothing in the picture says them
    captions: tuple[str, ...] = ()
    # Among how many percent of its case that are least like the rest; not kept: see triage.scoring.with_unusual
    unusual: Decimal | None = None


def current_analyses(ids: Iterable[UUID]) -> dict[UUID, dict[str, Analysis]]:
    """For each item the newest analyses: those whose suggestions count and are shown.

    Under the name of its task for a task that one analyser does, else under the analyser's.
    """
    newest: dict[UUID, dict[str, Analysis]] = defaultdict(dict)
    for analysis in Analysis.objects.filter(item_id__in=list(ids)).order_by("finished_at", "pk"):
        key = analysis.task if analysis.task in ONE_RUNS else analysis.analyser
        newest[analysis.item_id][key] = analysis
    return dict(newest)


# --- what counts now ----------------------------------------------------------------------------------------------


def gather(items: Iterable[Item]) -> dict[UUID, Kept]:
    """What counts for these items now, in the form that is kept. They have their case and source at hand."""
    items = list(items)
    ids = [item.pk for item in items]
    analyses = current_analyses(ids)
    captured, places, tracks = _captured(ids), _places(ids), _tracks(analyses)
    tags: dict[UUID, list[str]] = defaultdict(list)
    for pk, name in ItemTag.objects.filter(item_id__in=ids).values_list("item_id", "tag__name"):
        tags[pk].append(name)
    notes: dict[UUID, list[int]] = defaultdict(list)
    for pk, note in Note.objects.filter(item_id__in=ids).order_by("pk").values_list("item_id", "pk"):
        notes[pk].append(note)
    return {
        item.pk: {
            "analyses": [str(a.pk) for a in analyses.get(item.pk, {}).values()],
            "notes": notes[item.pk],
            "reliability": item.source.reliability if item.source else None,
            "source": item.source.code if item.source else "",
            "captured_on": captured.get(item.pk, ""),
            "opened_on": item.case.created_at.date().isoformat(),
            "places": places[item.pk],
            "tags": sorted(tags[item.pk]),
            "tracks": tracks[item.pk],
        }
        for item in items
    }


def _captured(ids: list[UUID]) -> dict[UUID, str]:
    """The day of capture: as established last, else as claimed first."""
    days: dict[UUID, str] = {}
    claims = Claim.objects.filter(item_id__in=ids, about="captured_at").order_by("-at", "-pk")
    findings = Finding.objects.filter(item_id__in=ids, about="captured_at").order_by("at", "pk")
    for pk, local_time in chain.from_iterable(
        rows.values_list("item_id", "local_time") for rows in (claims, findings)
    ):
        try:
            days[pk] = date.fromisoformat(local_time[:10]).isoformat()
        except ValueError:  # known to the month or the year only, or not at all
            continue
    return days


def _places(ids: list[UUID]) -> dict[UUID, list[list[Any]]]:
    """Coordinates: the one established last, else all that are claimed."""
    places: dict[UUID, list[list[Any]]] = defaultdict(list)
    fields = ("item_id", "latitude", "longitude")
    known = {"item_id__in": ids, "about": "place", "latitude__isnull": False, "longitude__isnull": False}
    for pk, latitude, longitude in Claim.objects.filter(**known).order_by("at", "pk").values_list(*fields):
        places[pk].append([str(latitude), str(longitude), False])
    for pk, latitude, longitude in Finding.objects.filter(**known).order_by("at", "pk").values_list(*fields):
        places[pk] = [[str(latitude), str(longitude), True]]
    return places


def _tracks(analyses: Mapping[UUID, Mapping[str, Analysis]]) -> dict[UUID, list[list[Any]]]:
    owner = {one.pk: pk for pk, ones in analyses.items() for one in ones.values()}
    tracks: dict[UUID, list[list[Any]]] = defaultdict(list)
    rows = Track.objects.filter(analysis_id__in=list(owner)).order_by(
        "first_ms", "last_ms", "label", "number"
    )
    for pk, label, first_ms, last_ms in rows.values_list("analysis_id", "label", "first_ms", "last_ms"):
        tracks[owner[pk]].append([label, first_ms, last_ms])
    return tracks


# --- read again ---------------------------------------------------------------------------------------------------


def read(kept: Mapping[Any, Kept], suggested: Mapping[Any, Suggested] | None = None) -> dict[Any, Facts]:
    """Facts of what was kept, by the same keys, in a few queries.

    `suggested` spares reading the boxes and tags of those for which the caller has them all.
    """
    owner = {UUID(pk): key for key, one in kept.items() for pk in one["analyses"]}
    writer = {pk: key for key, one in kept.items() for pk in one["notes"]}
    at_hand = suggested or {}
    unread = {pk: key for pk, key in owner.items() if key not in at_hand}
    said = {**at_hand, **(_suggested(unread) if unread else {})}
    nothing, texts, captions = Suggested({}, {}), _texts(owner), _captions(owner)
    for pk, text in Note.objects.filter(pk__in=list(writer)).order_by("pk").values_list("pk", "text"):
        texts[writer[pk]].append(Written(text, machine=False))
    return {
        key: Facts(
            **said.get(key, nothing)._asdict(),
            reliability=one["reliability"],
            captured_on=date.fromisoformat(one["captured_on"]) if one["captured_on"] else None,
            opened_on=date.fromisoformat(one["opened_on"]),
            source=one["source"],
            places=tuple(Place(Decimal(y), Decimal(x), sure) for y, x, sure in one["places"]),
            marked=tuple(one["tags"]),
            tracks=tuple(Tracked(*track) for track in one["tracks"]),
            texts=tuple(texts[key]),
            captions=tuple(captions[key]),
        )
        for key, one in kept.items()
    }


def _suggested(owner: Mapping[UUID, Any]) -> dict[Any, Suggested]:
    said: dict[Any, Suggested] = defaultdict(lambda: Suggested({}, {}))
    looked = Analysis.objects.filter(pk__in=list(owner)).values_list("pk", "looked_at_ms")
    for pk, moments in looked:
        said[owner[pk]].frames.update({at_ms: {} for at_ms in moments if at_ms not in said[owner[pk]].frames})
    found = Detection.objects.filter(analysis_id__in=list(owner)).order_by("pk")
    for pk, at_ms, label, confidence in found.values_list("analysis_id", "at_ms", "label", "confidence"):
        seen = said[owner[pk]].frames.setdefault(at_ms, {})
        seen[label] = (*seen.get(label, ()), confidence)
    tagged = Tagged.objects.filter(analysis_id__in=list(owner)).order_by()
    for pk, label, confidence in tagged.values_list("analysis_id", "label", "confidence"):
        tags = said[owner[pk]].tags
        tags[label] = max(tags.get(label, confidence), confidence)
    return said


def _texts(owner: Mapping[UUID, Any]) -> dict[Any, list[Written]]:
    texts: dict[Any, list[Written]] = defaultdict(list)
    rows = ReadText.objects.filter(analysis_id__in=list(owner)).order_by("analysis_id", "at_ms", "pk")
    for pk, text, at_ms, confidence in rows.values_list("analysis_id", "text", "at_ms", "confidence"):
        texts[owner[pk]].append(Written(text, True, at_ms, confidence))
    return texts


def _captions(owner: Mapping[UUID, Any]) -> dict[Any, list[str]]:
    captions: dict[Any, list[str]] = defaultdict(list)
    rows = Caption.objects.filter(analysis_id__in=list(owner)).order_by("analysis_id", "at_ms", "pk")
    for pk, text in rows.values_list("analysis_id", "text"):
        captions[owner[pk]].append(text)
    return captions
