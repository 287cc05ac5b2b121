"""Results as rows, and rows as results: what is stored of an analysis is what its hash covers."""

from collections.abc import Iterable

from django.db import models

from triage import results
from triage.models import Analysis, Caption, Detection, ReadText, Tagged, Vector
from triage.results import BoxOf, Found, Looked, Tag, Words

TOGETHER = 500


def put(analysis: Analysis, looked: Looked) -> None:
    """Insert what was found, in the caller's transaction."""
    put_all([(analysis, looked)])


def put_all(pairs: Iterable[tuple[Analysis, Looked]]) -> None:
    """Insert what was found in each analysis, in the caller's transaction."""
    kinds: tuple[type[models.Model], ...] = (Detection, ReadText, Tagged, Caption, Vector)
    rows: dict[type[models.Model], list[models.Model]] = {kind: [] for kind in kinds}
    for analysis, looked in pairs:
        rows[Detection] += [Detection(analysis=analysis, label=f.label, **_placed(f)) for f in looked.found]
        rows[ReadText] += [ReadText(analysis=analysis, text=w.text, **_placed(w)) for w in looked.words]
        rows[Tagged] += [_tagged(analysis, tag) for tag in looked.tags]
        rows[Caption] += [
            Caption(analysis=analysis, at_ms=c.at_ms, text=c.text, confidence=c.score)
            for c in looked.captions
        ]
        rows[Vector] += [
            Vector(analysis=analysis, at_ms=v.at_ms, values=v.values, whole=v.whole) for v in looked.vectors
        ]
    for model, found in rows.items():
        if found:
            model._base_manager.bulk_create(found, batch_size=TOGETHER)


def of(analysis: Analysis) -> Looked:
    """An analysis's results as they are stored, in the form that its hash covers."""
    return Looked(
        analysis.analyser,
        tuple(analysis.looked_at_ms),
        tuple(Found(d.at_ms, d.label, d.confidence, _box(d)) for d in analysis.detections.order_by("pk")),
        analysis.truncated,
        tuple(Tag(t.at_ms, t.label, t.confidence, t.until_ms) for t in analysis.tags.order_by("pk")),
        tuple(Words(w.at_ms, w.text, w.confidence, _box(w)) for w in analysis.words.order_by("pk")),
        tuple(results.Vector(v.at_ms, bytes(v.values), v.whole) for v in analysis.vectors.order_by("pk")),
        tuple(results.Caption(c.at_ms, c.text, c.confidence) for c in analysis.captions.order_by("pk")),
    )


def _tagged(analysis: Analysis, tag: Tag) -> Tagged:
    return Tagged(
        analysis=analysis, at_ms=tag.at_ms, until_ms=tag.until_ms, label=tag.label, confidence=tag.score
    )


def _placed(row: Found | Words) -> dict[str, object]:
    x, y, width, height = row.box
    return {
        "at_ms": row.at_ms,
        "confidence": row.score,
        **{"x": x, "y": y, "width": width, "height": height},
    }


def _box(row: Detection | ReadText) -> BoxOf:
    return row.x, row.y, row.width, row.height
