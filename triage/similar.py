"""What looks like an item, a moment of it, or a part of it (triage/parts.py), among all that a person may see.

keep         a job after each analysis: new vectors go into the index; take_out, after a disposal: they go out of it
rebuild      the index made anew from the stored vectors; check: whether it holds them, and how many true neighbours it finds
search_like  the items nearest to a vector, in the cases that this person sees; those cases are part of the question

The index holds the vectors of one embedder, since those of two cannot be compared: of pictures and of the frames of videos,
each for itself. A likeness is the cosine of the angle between two vectors, and no probability of anything.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.utils.translation import gettext_noop
from numpy.typing import NDArray

from archive import access, jobs, search
from archive.errors import Conflict
from archive.jobs import job
from archive.models import Case, Item, Job, User
from triage import search_index
from triage.models import Analysis, Part, Vector
from triage.search_index import Batch, Index

# Which embedder's vectors are searched, where there are several: docs/triage.md says what was measured.
PREFERRED = ("mobilenet-v1-embedding", "mobilenet-v2-imagenet")
CHUNK = 4096
MOST = 200  # items of one answer
TOGETHER = 500


@dataclass(frozen=True)
class Embedder:
    """Whose vectors are compared."""

    analyser: str
    version: int
    model: str
    weights_sha256: str

    @property
    def vectors(self) -> QuerySet[Vector]:
        """Its vectors that are searched: of pictures and of single frames, of items whose bytes are held."""
        rows = Vector.objects.filter(
            analysis__analyser=self.analyser,
            analysis__version=self.version,
            analysis__weights_sha256=self.weights_sha256,
            analysis__item__disposed_at=None,
        )
        return rows.filter(Q(whole=False) | Q(analysis__item__kind=Item.Kind.IMAGE))


@dataclass(frozen=True)
class Match:
    """An item that looks alike: at which moment (0 for a picture), and how much (1: the same vector)."""

    item: UUID
    at_ms: int
    likeness: float


class NothingToCompare(Conflict):
    """There is no index here, or no vector to compare with. The sentence says which."""

    code = "nothing-to-compare"


# --- the index of this instance -----------------------------------------------------------------------------------


def folder() -> Path:
    """Where the index lies."""
    return Path(settings.INDEX_DIR)


_lock = threading.Lock()
_opened: tuple[tuple[int, int] | None, Index | None] = (None, None)


def index() -> Index | None:
    """The index as it is on disk now, opened once by this process. None: it was not built yet. Raises Damaged."""
    global _opened
    with _lock:
        stamp = search_index.stamp(folder())
        if stamp != _opened[0]:
            _opened = (stamp, search_index.opened(folder()) if stamp else None)
        return _opened[1]


def embedder() -> Embedder | None:
    """Whose vectors the index holds; None before there is one."""
    held = index()
    return _embedder_of(held) if held else None


def _embedder_of(held: Index) -> Embedder:
    about = held.about
    return Embedder(about["analyser"], int(about["version"]), about["model"], about["weights_sha256"])


def chosen() -> Embedder | None:
    """Whose vectors an index built now would hold: the preferred model's, and of it the newest. None: there are no vectors."""
    fields = ("analyser", "version", "model", "weights_sha256")
    rows = Analysis.objects.filter(task=Analysis.Task.EMBED, found__gt=0).order_by().values_list(*fields)
    newest = rows.annotate(newest=Max("finished_at")).order_by("-newest")
    known = [Embedder(*row[:4]) for row in newest]
    order = {name: place for place, name in enumerate(PREFERRED)}
    return min(known, key=lambda e: order.get(e.model, len(order)), default=None)


def rebuild() -> tuple[Embedder | None, int]:
    """Make the index anew from the stored vectors; says whose they are, and how many."""
    of = chosen()
    if of is None:
        return None, 0
    return of, search_index.build(folder(), _told(of), _batches(of.vectors))


def _told(of: Embedder) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(of).items()}


def _batches(rows: QuerySet[Vector]) -> Iterator[Batch]:
    fields = rows.order_by("pk").values_list("pk", "analysis__item__case_id", "values")
    part: list[tuple] = []
    for row in fields.iterator(chunk_size=CHUNK):
        part.append(row)
        if len(part) == CHUNK:
            yield _batch(part)
            part = []
    if part:
        yield _batch(part)


def _batch(rows: Sequence[tuple]) -> Batch:
    numbers = np.array([row[0] for row in rows], np.int64)
    return Batch(numbers, [str(row[1]) for row in rows], matrix([row[2] for row in rows]))


def matrix(values: Sequence[bytes]) -> NDArray[np.float16]:
    """Stored vectors, one each line."""
    return np.frombuffer(b"".join(bytes(v) for v in values), "<f2").reshape(len(values), -1)


@job("triage.index", queue="analyse", attempts=5, limit_s=3600, after="item.analysed", batch=TOGETHER)
@job("triage.index_again", queue="analyse", attempts=5, limit_s=3600, after="item.held_again", batch=TOGETHER)
def keep(rows: list[Job]) -> None:
    """Put what was newly found out of these items into the index for likeness, and into the search by text."""
    items = [row.item_id for row in rows]
    with transaction.atomic(durable=True):
        search.refresh_upper(items)
    of = embedder()
    found = list(_batches(of.vectors.filter(analysis__item__in=items))) if of else []
    fits = all([search_index.change(folder(), _told(of), add=batch) for batch in found if of])
    embedded = Analysis.objects.filter(item__in=items, task=Analysis.Task.EMBED)
    if not fits or (of is None and embedded.exists()):
        rebuild()
    for row in rows:
        jobs.finish(row)


@job("triage.unindex", queue="analyse", attempts=5, limit_s=3600, after="item.disposed", batch=TOGETHER)
def take_out(rows: list[Job]) -> None:
    """Take disposed items out of the index, of the search by what machines said, and what was made of their parts."""
    items = [row.item_id for row in rows]
    with transaction.atomic(durable=True):
        search.refresh_upper(items)
        Part.objects.filter(item__in=items).delete()
    gone = Vector.objects.filter(analysis__item__in=items).values_list("pk", flat=True)
    if of := embedder():
        search_index.change(folder(), _told(of), remove=set(gone))
    for row in rows:
        jobs.finish(row)


# --- checking -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checked:
    """How the index stands beside the stored vectors. `recall`: share of the true 10 nearest that it finds, over `asked`."""

    of: Embedder
    held: int
    missing: int
    surplus: int
    misplaced: int
    asked: int
    recall: float

    @property
    def sound(self) -> bool:
        """Whether it holds what it should, under the cases that it should."""
        return not (self.missing or self.surplus or self.misplaced)


def check(asked: int = 100) -> Checked | None:
    """Compare the index with the stored vectors. None: there is no index, and nothing to be in it. Raises Damaged."""
    held = index()
    if held is None:
        if chosen() is None:
            return None
        raise NothingToCompare(
            "There is no index for similar items here. Run: manage.py triage index rebuild"
        )
    of = _embedder_of(held)
    stored = {
        row: str(case) for row, case in of.vectors.values_list("pk", "analysis__item__case_id").iterator()
    }
    case_of = held.case_of()
    both = stored.keys() & case_of.keys()
    picked = np.random.default_rng(0).permutation(sorted(stored))[:asked].tolist()
    queries = dict(Vector.objects.filter(pk__in=picked).values_list("pk", "values"))
    recall = 1.0
    if queries:
        asking, cases = matrix(list(queries.values())), set(held.cases)
        true = search_index.exact(asking, _batches(of.vectors), cases, 10)
        found = [
            {hit.row for hit in held.search(query, cases=cases, count=10, values=_stored_values)}
            for query in asking
        ]
        recall = float(np.mean([len(f & set(t)) / len(t) for f, t in zip(found, true, strict=True)]))
    return Checked(
        of,
        len(case_of),
        len(stored.keys() - case_of.keys()),
        len(case_of.keys() - stored.keys()),
        sum(stored[row] != case_of[row] for row in both),
        len(queries),
        recall,
    )


def _stored_values(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    found = Vector.objects.filter(pk__in=rows.tolist()).values_list("pk", "values")
    return _numbered(list(found))


def _numbered(found: Sequence[tuple]) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    if not found:
        return np.empty(0, np.int64), np.empty((0, 0), np.float16)
    return np.array([row[0] for row in found], np.int64), matrix([row[1] for row in found])


# --- searching ----------------------------------------------------------------------------------------------------


def search_like(
    vector: NDArray[np.float16],
    *,
    user: User,
    case: Case | None = None,
    but: Item | None = None,
    count: int = 24,
) -> list[Match]:
    """The `count` items (of one case, or of all) that look most like a vector, the likest first, each by its likest moment.

    Only what was shared with this person takes part. `but` is left out. Raises NothingToCompare.
    """
    held = index()
    if held is None:
        raise NothingToCompare(NO_INDEX)
    seen = {str(row["content_object_id"]) for row in access.shared_case_ids(user)}
    cases = seen & {str(case.pk)} if case else seen
    of = _embedder_of(held)
    own = of.vectors.filter(analysis__item=but).values_list("pk", flat=True) if but else ()
    without = np.fromiter(own, np.int64)
    visible = Vector.objects.filter(analysis__item__in=Item.objects.visible_to(user).held())
    places: dict[int, tuple[UUID, int]] = {}

    def values(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        found = list(
            visible.filter(pk__in=rows.tolist()).values_list("pk", "values", "analysis__item_id", "at_ms")
        )
        places.update({row[0]: row[2:] for row in found})
        return _numbered(found)

    wanted = 2 * count
    while True:
        hits = held.search(vector, cases=cases, count=wanted, without=without, values=values)
        best: dict[UUID, Match] = {}
        for hit in hits:
            item, at_ms = places[hit.row]
            best.setdefault(item, Match(item, at_ms, hit.cosine))
        if len(best) >= count or len(hits) < wanted or wanted >= MOST * 8:
            return list(best.values())[:count]
        wanted *= 4  # a video's many frames take the places of other items


def vector_of(item: Item, at_ms: int | None = None) -> NDArray[np.float16]:
    """What an item is compared by: a picture's vector; a video's mean, or that of its frame nearest to a moment.

    Raises NothingToCompare.
    """
    of = embedder()
    if of is None:
        raise NothingToCompare(NO_INDEX)
    rows = Vector.objects.filter(
        analysis__item=item,
        analysis__analyser=of.analyser,
        analysis__version=of.version,
        analysis__weights_sha256=of.weights_sha256,
    ).order_by("-analysis__finished_at")
    if at_ms is None or item.kind == Item.Kind.IMAGE:
        found = rows.filter(whole=True).first()
    else:
        frames = list(rows.filter(whole=False).values_list("at_ms", "pk"))
        nearest = min(frames, key=lambda frame: abs(frame[0] - at_ms), default=None)
        found = Vector.objects.get(pk=nearest[1]) if nearest else None
    if found is None:
        raise NothingToCompare(NO_VECTOR)
    return matrix([found.values])[0]


NO_INDEX = gettext_noop(
    "No index of pictures was built here yet: it is built once a model that compares pictures has looked."
)
NO_VECTOR = gettext_noop(
    "The model that compares pictures has not looked at this item, or saw nothing in it that it could compare."
)
