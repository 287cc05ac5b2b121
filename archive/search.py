"""Finding items by text: names, claims, tags, notes, findings, and what an upper floor suggests. One place for all screens.

Every item has a row of normalised text for each origin (`Words`), made again by `refresh` in the transaction that changes
what it repeats. A term is found anywhere in a text, also inside a word, so that Arabic prefixes and file names need no grammar;
PostgreSQL finds it by a trigram index (pg_trgm, GIN), SQLite by FTS5's trigrams. Terms of one or two signs are looked for
without an index.

Normal form, of the text and of what is asked alike:
1. Unicode NFKD, so that presentation forms, full-width letters and ligatures become plain ones.
2. Marks are dropped (Arabic vowels and shadda, accents), and so are tatweel and signs without a width.
3. Arabic: hamza is dropped and its seat stays; alef wasla as alef, alef maqsura and Persian yeh as yeh, Persian kaf as kaf,
   teh marbuta as heh.
4. Every script's digits as 0 to 9; letters without case; any run of white space as one space.

In it is what everybody who sees an item's case can read on its page. A source's identity is not, nor are drafts and secrets
of any kind: what a person may not see can be neither found nor counted. Which items are searched is the caller's query.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from archive.models import Acquisition, Case, Claim, Finding, Item, ItemTag, Note, Words

Origin = Words.Origin
Collected = dict[UUID, list[str]]
BY_PEOPLE = (Origin.TAG, Origin.NOTE, Origin.FINDING)
BY_FILE = (Origin.FILE, Origin.CLAIM)
BY_MACHINE = (Origin.SUGGESTED, Origin.READ)
BY_CAPTION = (Origin.CAPTION,)
LONGEST = 100_000  # signs of one origin's text that can be found
TERMS = 12
CHUNK = 500
SHORT = 3  # signs of the shortest term that trigrams find

_SAME = str.maketrans(
    {"ٱ": "ا", "ى": "ي", "ی": "ي", "ې": "ي", "ک": "ك", "ة": "ه", "ہ": "ه", "ھ": "ه", "ـ": None, "ء": None}
)


def normal(text: str) -> str:
    """The normal form in which texts are kept and asked for."""
    out = []
    for sign in unicodedata.normalize("NFKD", text).translate(_SAME):
        kind = unicodedata.category(sign)
        if kind == "Nd":
            out.append(str(unicodedata.digit(sign)))
        elif kind == "Cc" or kind[0] == "Z":
            out.append(" ")
        elif kind not in ("Mn", "Me", "Cf"):
            out.append(sign)
    return " ".join("".join(out).casefold().split())


def terms(asked: str) -> list[str]:
    """What has to be found: words, and phrases between straight or typographic double quotes, each in normal form."""
    found = [
        normal(phrase or word)
        for phrase, word in re.findall(r"[\"“”„]([^\"“”„]+)[\"“”„]|([^\s\"“”„]+)", asked)
    ]
    return [term for term in dict.fromkeys(found) if term][:TERMS]


# --- asking -----------------------------------------------------------------------------------------------------


def found(items: QuerySet[Item], asked: str, origins: Collection[str] = ()) -> QuerySet[Item]:
    """Those of these items in whose text (of these origins, or of all) every term is found. No term: all of them."""
    for term in terms(asked):
        items = items.filter(pk__in=holding(term, origins).values("item_id"))
    return items


def holding(term: str, origins: Collection[str] = ()) -> QuerySet[Words]:
    """Rows whose text holds a term that is in normal form."""
    rows = Words.objects.filter(origin__in=origins) if origins else Words.objects.all()
    if connection.vendor == "sqlite" and len(term) >= SHORT:
        quoted = '"' + term.replace('"', '""') + '"'
        sql = "SELECT rowid FROM archive_words_found WHERE archive_words_found MATCH %s"
        return rows.filter(pk__in=RawSQL(sql, (quoted,)))  # noqa: S611 - the term is a parameter
    return rows.filter(text__contains=term)


def where(items: Iterable[Item], asked: str) -> dict[UUID, list[str]]:
    """In which origins of these items a term was found, in the order of `Origin`."""
    wanted = terms(asked)
    if not wanted:
        return {}
    any_of = Q()
    for term in wanted:
        any_of |= Q(pk__in=holding(term).values("pk"))
    told: dict[UUID, set[str]] = defaultdict(set)
    for item, origin in Words.objects.filter(any_of, item__in=list(items)).values_list("item_id", "origin"):
        told[item].add(origin)
    return {item: [o for o in Origin.values if o in origins] for item, origins in told.items()}


# --- keeping it true --------------------------------------------------------------------------------------------

_upper: dict[str, Callable[[Collection[UUID]], Collected]] = {}


def register(origin: str, collect: Callable[[Collection[UUID]], Collected]) -> None:
    """An upper floor's texts: `collect(ids of items)` gives those of each. It calls `refresh_upper` when they change."""
    _upper[origin] = collect


def refresh(items: Iterable[UUID]) -> None:
    """Make this floor's texts of these items again, in the transaction (and behind the event) that changed what they repeat."""
    _refresh(items, set(_OWN))


def refresh_upper(items: Iterable[UUID]) -> None:
    """Make the upper floors' texts of these items again."""
    _refresh(items, set(_upper))


def _refresh(items: Iterable[UUID], origins: set[str]) -> None:
    ids = sorted(set(items))
    Words.objects.filter(item_id__in=ids, origin__in=origins).delete()
    # A conflict: another transaction made them in this moment
    Words.objects.bulk_create(_made(ids, origins), batch_size=CHUNK, ignore_conflicts=True)


def rebuild(case: Case | None = None) -> int:
    """Make the texts of every item (of a case) again; returns of how many."""
    number = 0
    for ids in _chunks(case):
        with transaction.atomic():
            _refresh(ids, {*_OWN, *_upper})
        number += len(ids)
    return number


def faults(case: Case | None = None) -> Iterator[UUID]:
    """Items whose kept texts are not what they would be if made now."""
    for ids in _chunks(case):
        kept: dict[UUID, dict[str, str]] = defaultdict(dict)
        made: dict[UUID, dict[str, str]] = defaultdict(dict)
        for row in Words.objects.filter(item_id__in=ids):
            kept[row.item_id][row.origin] = row.text
        for row in _made(ids, {*_OWN, *_upper}):
            made[row.item_id][str(row.origin)] = row.text
        yield from (pk for pk in ids if kept[pk] != made[pk])


def _chunks(case: Case | None) -> Iterator[list[UUID]]:
    rows = Item.objects.filter(case=case) if case else Item.objects.all()
    ids: list[UUID] = []
    for pk in rows.order_by("pk").values_list("pk", flat=True).iterator(chunk_size=CHUNK):
        ids.append(pk)
        if len(ids) == CHUNK:
            yield ids
            ids = []
    if ids:
        yield ids


def _made(ids: Collection[UUID], origins: Collection[str]) -> list[Words]:
    rows = []
    for origin in origins:
        for item, said in {**_OWN, **_upper}[origin](ids).items():
            if text := "\n".join(dict.fromkeys(n for t in said if (n := normal(t))))[:LONGEST]:
                rows.append(Words(item_id=item, origin=origin, text=text))
    return rows


def _names(ids: Collection[UUID]) -> Collected:
    rows = Item.objects.filter(pk__in=ids).values_list("pk", "file_name")
    came = Acquisition.objects.filter(item_id__in=ids).values_list("item_id", "file_name", "path", "url")
    return _each([*rows, *came])


def _statements(model: type[Claim] | type[Finding], ids: Collection[UUID], *more: str) -> Collected:
    rows = model._default_manager.filter(item_id__in=ids)
    return _each(rows.values_list("item_id", "text", "local_time", *more))


def _each(rows: Iterable[tuple]) -> Collected:
    texts: Collected = defaultdict(list)
    for item, *said in rows:
        texts[item] += said
    return texts


_OWN: dict[str, Callable[[Collection[UUID]], Collected]] = {
    Origin.FILE: _names,
    Origin.CLAIM: lambda ids: _statements(Claim, ids),
    Origin.TAG: lambda ids: _each(
        ItemTag.objects.filter(item_id__in=ids).values_list("item_id", "tag__name")
    ),
    Origin.NOTE: lambda ids: _each(Note.objects.filter(item_id__in=ids).values_list("item_id", "text")),
    Origin.FINDING: lambda ids: _statements(Finding, ids, "basis"),
}
