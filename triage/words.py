"""What machines said about items, for the search by text: suggested tags, text read in pictures, and captions."""

from collections import defaultdict
from collections.abc import Collection
from uuid import UUID

from archive import search
from archive.models import Item, Words
from triage import standing
from triage.models import Caption, ReadText, Seen


def offer() -> None:
    """Called once, when this floor's app is ready."""
    search.register(Words.Origin.SUGGESTED, suggested)
    search.register(Words.Origin.READ, read)
    search.register(Words.Origin.CAPTION, captioned)


def suggested(items: Collection[UUID]) -> search.Collected:
    """The labels among an item's suggestions."""
    texts: search.Collected = defaultdict(list)
    rows = Seen.objects.filter(item__in=_held(items)).order_by("label")
    for item, label in rows.values_list("item_id", "label"):
        texts[item].append(label)
    return texts


def read(items: Collection[UUID]) -> search.Collected:
    """What engines read in an item, each text once, in the order of its frames."""
    return _said(ReadText, items)


def captioned(items: Collection[UUID]) -> search.Collected:
    """The sentences in which models describe an item, in the order of its frames."""
    return _said(Caption, items)


def _said(kind: type[ReadText] | type[Caption], items: Collection[UUID]) -> search.Collected:
    owner = {
        analysis.pk: item
        for item, analyses in standing.current_analyses(_held(items)).items()
        for analysis in analyses.values()
    }
    texts: search.Collected = defaultdict(list)
    rows = kind.objects.filter(analysis__in=list(owner)).order_by("at_ms", "pk")
    for analysis, text in rows.values_list("analysis_id", "text"):
        texts[owner[analysis]].append(text)
    return texts


def _held(items: Collection[UUID]) -> list[UUID]:
    """Those whose bytes are held: what was read in destroyed pictures is not offered."""
    return list(Item.objects.filter(pk__in=list(items)).held().values_list("pk", flat=True))
