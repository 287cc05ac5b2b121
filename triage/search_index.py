"""Nearest vectors among those that the asker may see: an approximate index on disk. Derived, and rebuilt at will.

It knows vectors by the number of their row and the case that they belong to, nothing else. Whom a case was shared with is
not in it: the caller names the cases with every question, and the search passes over everything else, so that nothing
unseen takes a place among the answers or lets itself be counted. Answers are numbers of rows, to be looked up as that person.

On disk (`folder`): `index.json` says which embedder's vectors these are, the cases by number, and the segments. A segment is
two files, a FAISS index and the rows and cases of its places. At most one is large (inverted lists, 8 bits a dimension,
read by memory map) and one recent (16-bit floats, searched whole). A change writes new files, then replaces `index.json`.
"""

import contextlib
import fcntl
import importlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from django.utils.functional import SimpleLazyObject
from numpy.typing import NDArray

from archive.errors import Damaged

# Only what searches or builds needs it: importing it costs 0.2 s and 45 MB.
faiss: Any = SimpleLazyObject(lambda: importlib.import_module("faiss"))

FORMAT = 1
MANIFEST = "index.json"
RECENT = 16_384  # vectors that are searched whole, in some 5 ms; more of them go into lists
LOOKED_AT = 196_608  # visible vectors that a search compares at least, where there are so many; some 50 ms
TRAINING = 40  # vectors for each list, from which its centre is learned (FAISS asks for 39 or more)
CHUNK = 16_384
PLACES = np.dtype([("row", "<i8"), ("case", "<i4")])

Rows = NDArray[np.int64]
Matrix = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """Vectors of length 1 (`values`, one each line), the numbers of their rows, and their cases as text."""

    rows: Rows
    cases: list[str]
    values: Matrix


@dataclass(frozen=True)
class Hit:
    """One row, and the cosine of the angle between its vector and the one asked for (1: the same direction)."""

    row: int
    cosine: float


@dataclass(eq=False)
class _Segment:
    name: str
    index: Any
    places: NDArray[Any]

    @property
    def lists(self) -> int:
        return getattr(self.index, "nlist", 0)


class Index:
    """An opened index: searched by any number of threads, never changed."""

    def __init__(self, folder: Path, told: dict[str, Any]) -> None:
        self.about: dict[str, str] = told["about"]
        self.cases: list[str] = told["cases"]
        self.segments = [_opened(folder, name) for name in told["segments"]]

    def __len__(self) -> int:
        return sum(len(segment.places) for segment in self.segments)

    def rows(self) -> Rows:
        """The numbers of all rows in it, sorted."""
        return np.sort(np.concatenate([s.places["row"] for s in self.segments] or [np.empty(0, np.int64)]))

    def case_of(self) -> dict[int, str]:
        """The case that each row stands under."""
        return {
            int(place["row"]): self.cases[place["case"]]
            for segment in self.segments
            for place in segment.places
        }

    def search(
        self,
        vector: Matrix,
        *,
        cases: Collection[str],
        count: int,
        without: Rows | None = None,
        values: Callable[[Rows], tuple[Rows, Matrix]] | None = None,
    ) -> list[Hit]:
        """The `count` nearest rows of these cases, the nearest first, but those `without`.

        With `values` (rows -> those that still exist, and their vectors) four times as many candidates are compared again by
        the vectors themselves, and a row that it does not know drops out. Without it a cosine is exact to about 0.01.
        """
        query = np.ascontiguousarray(vector, np.float32).reshape(1, -1)
        allowed = np.fromiter((case in cases for case in self.cases), bool, len(self.cases))
        most = count * 4 if values else count
        found = [
            pair for segment in self.segments for pair in _search(segment, query, allowed, without, most)
        ]
        found.sort(key=lambda pair: -pair[1])
        if values and found:
            rows, matrix = values(np.array([row for row, _ in found[:most]], np.int64))
            exact = np.asarray(matrix, np.float32) @ query[0]
            order = np.argsort(-exact, kind="stable")
            found = [(int(rows[i]), float(exact[i])) for i in order]
        return [Hit(row, cosine) for row, cosine in found[:count]]


def opened(folder: Path) -> Index | None:
    """The index as it stands, or None where none was built. Raises Damaged."""
    for _ in range(3):
        try:
            told = json.loads((folder / MANIFEST).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise _damaged() from error
        if told.get("format") != FORMAT:
            raise _damaged()
        try:
            return Index(folder, told)
        except FileNotFoundError:  # replaced between the two looks
            continue
    raise _damaged()


def stamp(folder: Path) -> tuple[int, int] | None:
    """What changes whenever the index does; None where there is none."""
    try:
        seen = (folder / MANIFEST).stat()
    except FileNotFoundError:
        return None
    return seen.st_ino, seen.st_mtime_ns


# --- searching --------------------------------------------------------------------------------------------------


def _search(
    segment: _Segment, query: Matrix, allowed: NDArray[np.bool_], without: Rows | None, count: int
) -> list[tuple[int, float]]:
    wanted = allowed[segment.places["case"]]
    if without is not None and len(without):
        wanted &= ~np.isin(segment.places["row"], without)
    visible = int(np.count_nonzero(wanted))
    if not visible:
        return []
    bits = np.packbits(wanted, bitorder="little")
    selector = faiss.IDSelectorBitmap(bits)
    if segment.lists:
        # Lists as many as hold LOOKED_AT visible vectors on average: the fewer a person sees, the more lists are opened,
        # down to all of them, where the answer is exact.
        probes = min(segment.lists, -(-LOOKED_AT * segment.lists // visible))
        how = faiss.SearchParametersIVF(sel=selector, nprobe=probes)
    else:
        how = faiss.SearchParameters(sel=selector)
    cosines, places = segment.index.search(query, min(count, visible), params=how)
    return [
        (int(segment.places["row"][place]), float(cosine))
        for place, cosine in zip(places[0], cosines[0], strict=True)
        if place >= 0
    ]


def exact(query: Matrix, source: Iterable[Batch], cases: Collection[str], count: int) -> list[list[int]]:
    """For each line of `query`, the `count` nearest rows of these cases, found by comparing all: the measure of recall."""
    query = np.asarray(query, np.float32)
    rows = np.empty((len(query), 0), np.int64)
    cosines = np.empty((len(query), 0), np.float32)
    for batch in source:
        seen = np.fromiter((case in cases for case in batch.cases), bool, len(batch.cases))
        if not seen.any():
            continue
        cosines = np.hstack([cosines, query @ np.asarray(batch.values[seen], np.float32).T])
        rows = np.hstack([rows, np.broadcast_to(batch.rows[seen], (len(query), int(seen.sum())))])
        if cosines.shape[1] > count:
            best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
            cosines, rows = np.take_along_axis(cosines, best, 1), np.take_along_axis(rows, best, 1)
    order = np.argsort(-cosines, axis=1, kind="stable")
    return np.take_along_axis(rows, order, 1).tolist()


# --- making and changing ----------------------------------------------------------------------------------------


def build(folder: Path, about: dict[str, str], source: Iterable[Batch]) -> int:
    """Make the index anew from all vectors of one embedder; returns how many. Until it ends the old one serves.

    The vectors lie in a file of their own meanwhile (2 bytes a number), and at most one copy of them at 1 byte a number
    is in memory.
    """
    with _locked(folder), tempfile.TemporaryFile(dir=folder) as spool:
        cases: dict[str, int] = {}
        parts, width = [], 0
        for batch in source:
            width = batch.values.shape[1]
            spool.write(np.ascontiguousarray(batch.values, "<f2").tobytes())
            parts.append(_places(batch, cases))
        places = np.concatenate(parts) if parts else np.empty(0, PLACES)
        segments = []
        if len(places):
            large = len(places) > RECENT
            index = _lists(_sample(spool, len(places), width), len(places)) if large else _whole(width)
            for values in _spooled(spool, width):
                index.add(values)
            segments.append(_write(folder, index, places))
        _publish(folder, about, list(cases), segments)
        return len(places)


def change(
    folder: Path, about: dict[str, str], *, add: Batch | None = None, remove: Collection[int] = ()
) -> bool:
    """Take rows out and put vectors in (those that it has are passed over).

    False: build it anew, since there is none, or it holds another embedder's vectors, or it has outgrown its lists.
    """
    with _locked(folder):
        index = opened(folder)
        if index is None or index.about != about:
            return False
        numbers = {case: number for number, case in enumerate(index.cases)}
        gone = np.array(sorted(remove), np.int64)
        segments = [_without(folder, segment, gone) for segment in index.segments]
        if add is not None and len(add.rows):
            new = ~np.isin(add.rows, index.rows())
            fresh = Batch(
                add.rows[new], [c for c, n in zip(add.cases, new, strict=True) if n], add.values[new]
            )
            segments = _with(folder, segments, fresh, _places(fresh, numbers)) if new.any() else segments
        kept = [segment for segment in segments if len(segment.places)]
        if kept != index.segments:
            _publish(folder, index.about, list(numbers), kept)
        large, recent = _large(kept), _recent(kept)
        return recent is None or len(recent.places) <= RECENT or large is not None


def _with(folder: Path, segments: list[_Segment], new: Batch, places: NDArray[Any]) -> list[_Segment]:
    """Put new vectors to the recent ones, and those into the lists once they are many."""
    large, recent = _large(segments), _recent(segments)
    values = np.asarray(new.values, np.float32)
    if recent is not None:
        values = np.vstack([recent.index.reconstruct_n(0, len(recent.places)), values])
        places = np.concatenate([recent.places, places])
    if large is not None and len(places) > RECENT:
        index = faiss.read_index(str(_file(folder, large.name)))
        places = np.concatenate([large.places, places])
        index.add(values)
        return [_write(folder, index, places)]
    index = _whole(values.shape[1])
    index.add(values)
    return [*([large] if large else []), _write(folder, index, places)]


def _without(folder: Path, segment: _Segment, gone: Rows) -> _Segment:
    """The segment without these rows: itself where it has none of them."""
    out = np.isin(segment.places["row"], gone)
    if not out.any():
        return segment
    left = segment.places[~out]
    if not segment.lists:
        index = _whole(segment.index.d)
        index.add(segment.index.reconstruct_n(0, len(out))[~out])
        return _write(folder, index, left)
    index = faiss.read_index(str(_file(folder, segment.name)))
    index.remove_ids(faiss.IDSelectorBitmap(np.packbits(out, bitorder="little")))
    _renumber(index, np.cumsum(~out) - 1)
    return _write(folder, index, left)


def _renumber(index: Any, place: NDArray[Any]) -> None:
    """Give what is left in the lists its new places (old place -> new place)."""
    lists = index.invlists
    for number in range(index.nlist):
        size = lists.list_size(number)
        if size:
            ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
            ids[:] = place[ids]


def _whole(width: int) -> Any:
    return faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def _spooled(spool: IO[bytes], width: int) -> Iterator[Matrix]:
    spool.seek(0)
    while data := spool.read(CHUNK * width * 2):
        yield np.frombuffer(data, "<f2").reshape(-1, width).astype(np.float32)


def _sample(spool: IO[bytes], count: int, width: int) -> Matrix:
    """The same vectors each time, drawn at random: enough for that many vectors' lists."""
    most = min(count, TRAINING * _lists_for(count))
    chosen = np.zeros(count, bool)
    chosen[np.random.default_rng(0).choice(count, most, replace=False)] = True
    picked, start = np.empty((most, width), np.float32), 0
    for number, values in enumerate(_spooled(spool, width)):
        part = values[chosen[number * CHUNK : (number + 1) * CHUNK]]
        picked[start : start + len(part)] = part
        start += len(part)
    return picked


def _lists_for(count: int) -> int:
    return int(2 * count**0.5)


def _lists(sample: Matrix, count: int) -> Any:
    """An empty index for so many vectors, the centres of its lists learned from a sample."""
    width, lists = sample.shape[1], _lists_for(count)
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(width), width, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.spherical = True
    index.train(sample)
    return index


def _places(batch: Batch, numbers: dict[str, int]) -> NDArray[Any]:
    """Rows and cases as they are kept; a case not seen before gets the next number."""
    places = np.empty(len(batch.rows), PLACES)
    places["row"] = batch.rows
    places["case"] = [numbers.setdefault(case, len(numbers)) for case in batch.cases]
    return places


def _large(segments: list[_Segment]) -> _Segment | None:
    return next((s for s in segments if s.lists), None)


def _recent(segments: list[_Segment]) -> _Segment | None:
    return next((s for s in segments if not s.lists), None)


# --- files ------------------------------------------------------------------------------------------------------


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.faiss"


def _opened(folder: Path, name: str) -> _Segment:
    path = _file(folder, name)
    path.stat()  # FAISS says nothing that tells an absent file from a broken one
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        places = np.load(folder / f"{name}.npy", mmap_mode="r")
    except (RuntimeError, ValueError) as error:
        raise _damaged() from error
    if len(places) != index.ntotal or places.dtype != PLACES:
        raise _damaged()
    return _Segment(name, index, places)


def _write(folder: Path, index: Any, places: NDArray[Any]) -> _Segment:
    name = secrets.token_hex(8)
    faiss.write_index(index, str(_file(folder, name)))
    np.save(folder / f"{name}.npy", places)
    for path in (_file(folder, name), folder / f"{name}.npy"):
        with path.open("rb") as written:
            os.fsync(written.fileno())
    return _Segment(name, index, places)


def _publish(folder: Path, about: dict[str, str], cases: list[str], segments: list[_Segment]) -> None:
    """Let the index be these segments, and drop the files of those before."""
    names = [segment.name for segment in segments]
    told = {"format": FORMAT, "about": about, "cases": cases, "segments": names}
    incoming = folder / f".{MANIFEST}"
    with incoming.open("w") as out:
        json.dump(told, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    incoming.replace(folder / MANIFEST)
    for path in (*folder.glob("*.faiss"), *folder.glob("*.npy")):
        if path.stem not in names:
            path.unlink()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One change at a time; searches go on."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _damaged() -> Damaged:
    return Damaged(
        "The index for similar items cannot be read. It is made of stored vectors and nothing is lost: run "
        "`manage.py triage index rebuild`."
    )
