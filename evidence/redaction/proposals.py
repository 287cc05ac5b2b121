"""From stored detections to boxes that a person may confirm. Nothing here decides anything.

A face that is found in sampled frames one after another becomes one moving box. Number plates are suggested where a
model of this instance names them, which the ones that come with Amparo do not: there the person draws them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from archive.models import Item
from evidence.redaction.document import MOST_KEYS, MOST_REGIONS, STEP, SUGGESTED
from triage import standing
from triage.models import Analysis, Detection

KINDS = {"face": "face", "number plate": "plate", "license plate": "plate", "licence plate": "plate"}
FAR = Decimal("2.0")  # how many of its own sizes a box may move from one sampled frame to the next
Box = tuple[Decimal, Decimal, Decimal, Decimal]


@dataclass
class Track:
    """One thing, in the sampled frames in which it was found."""

    label: str
    analysis: Analysis
    boxes: list[tuple[int, Box]] = field(default_factory=list)
    confidence: Decimal = Decimal(0)


def propose(item: Item) -> tuple[list[dict[str, Any]], list[Analysis]]:
    """Regions to look at, and the analyses that they come from: the newest of each kind."""
    analyses = list(standing.current_analyses([item.pk]).get(item.pk, {}).values())
    tracks = [track for analysis in analyses for track in _tracks(analysis)]
    tracks.sort(key=lambda track: (track.boxes[0][0], -track.confidence))
    used = {track.analysis.pk for track in tracks}
    regions = [_region(n, track, item) for n, track in enumerate(tracks[:MOST_REGIONS], 1)]
    return regions, [analysis for analysis in analyses if analysis.pk in used]


def knows_plates(item: Item) -> bool:
    """Whether a model that looks for number plates has looked at this item."""
    rows = Detection.objects.filter(
        analysis__item=item, label__in=[k for k, v in KINDS.items() if v == "plate"]
    )
    return rows.exists()


def _tracks(analysis: Analysis) -> list[Track]:
    by_time: dict[int, list[Detection]] = defaultdict(list)
    rows = Detection.objects.filter(analysis=analysis, label__in=KINDS).order_by("at_ms", "-confidence", "pk")
    for row in rows:
        by_time[row.at_ms].append(row)
    looked = sorted(analysis.looked_at_ms) or sorted(by_time)
    live: list[Track] = []
    ended: list[Track] = []
    for at in looked:
        going: list[Track] = []
        for row in by_time.get(at, []):
            box: Box = (row.x, row.y, row.width, row.height)
            near = [track for track in live if track.label == row.label and _near(track.boxes[-1][1], box)]
            track = min(near, key=lambda t: _distance(t.boxes[-1][1], box), default=None)
            if track is None or len(track.boxes) >= MOST_KEYS:
                track = Track(row.label, analysis)
            else:
                live.remove(track)
            track.boxes.append((at, box))
            track.confidence = max(track.confidence, row.confidence)
            going.append(track)
        ended += live
        live = going
    return ended + live


def _centre(box: Box) -> tuple[Decimal, Decimal]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def _distance(a: Box, b: Box) -> Decimal:
    (ax, ay), (bx, by) = _centre(a), _centre(b)
    return abs(ax - bx) + abs(ay - by)


def _near(a: Box, b: Box) -> bool:
    size = max(a[2], a[3], b[2], b[3])
    alike = max(a[2] * a[3], b[2] * b[3]) <= 6 * max(STEP, min(a[2] * a[3], b[2] * b[3]))
    return alike and _distance(a, b) <= FAR * size


def _region(number: int, track: Track, item: Item) -> dict[str, Any]:
    """A track as a region: in a video from the sampled frame before its first to the one after its last, since nobody
    looked between them."""
    start = end = None
    if item.kind == Item.Kind.VIDEO:
        looked = sorted(track.analysis.looked_at_ms)
        first, last = track.boxes[0][0], track.boxes[-1][0]
        start = max((at for at in looked if at < first), default=0)
        length = max(item.duration_ms or 0, last)
        end = min((at for at in looked if at > last), default=length)
    keys = [
        {"at_ms": at if start is not None else None, "box": [str(v) for v in _inside(box)]}
        for at, box in track.boxes
    ]
    place = {"from_ms": start, "to_ms": end, "keys": keys}
    return {
        "id": f"s{number}",
        "kind": KINDS[track.label],
        "fill": "solid",
        "state": SUGGESTED,
        **place,
        "suggestion": {
            "analysis": str(track.analysis.pk),
            "model": track.analysis.model,
            "confidence": str(track.confidence),
            "as": place,
        },
    }


def _inside(box: Box) -> Box:
    """The part of a detection that lies in the picture."""
    x, y = (min(max(value, Decimal(0)), 1 - STEP) for value in box[:2])
    right, bottom = min(box[0] + box[2], Decimal(1)), min(box[1] + box[3], Decimal(1))
    w, h = max(right - x, STEP), max(bottom - y, STEP)
    return tuple(value.quantize(STEP) for value in (x, y, w, h))  # type: ignore[return-value]
