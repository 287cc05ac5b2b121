"""Redaction: regions proposed by models, confirmed by people, burned into a rendition of its own. See docs/redaction.md.

approved(item)      what may be handed out of an item: for bundles
verbs               what people do; each is an event
rendering           the job between them
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archive.models import Item, Rendition


@dataclass(frozen=True)
class Approved:
    """A redacted rendition that a person released, and what it was made by.

    `record` is canonical JSON (see docs/redaction.md): the recipe with the original's hash, the report of rendering and
    checking, and the two hashes that the item's events name.
    """

    rendition: Rendition
    thumbnail: Rendition
    record: dict[str, Any]


def approved(item: Item) -> list[Approved]:
    """The redacted renditions of an item that are released now, the newest first.

    Raises Damaged where a row is not what the item's events say: then nothing of it may go out.
    """
    from evidence.redaction import released

    return [released.checked(row) for row in released.rows(item)]
