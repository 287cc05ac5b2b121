"""Near-duplicates: items that show the same picture, re-encoded, resized or cropped a little, reviewed together.

Fingerprint   256 bits of a picture's coarse waves (after PDQ, Facebook 2019: a 64 x 64 grey picture, its discrete cosine
              transform, rows and columns 1 to 16, each bit whether the coefficient is over their median), for the whole
              picture and for 31 windows in it, as a crop would leave them.
Tie           the whole of one picture and the whole or a window of the other differ in at most 60 bits. Two videos are
              tied when at least half of the frames of each differ from a frame of the other in at most 32: films of one
              room differ by little. A video and a photograph are never tied.
Group         all that ties lead to, named after its first item: so it does not depend on the order of arrival.

Fingerprints are made in the sandbox from the small pictures that were made there: a thumbnail, or a video's storyboard.
docs/triage.md says what was measured.
"""

import itertools
import json
import sysconfig
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy
from django.db import transaction

from archive import jobs, vault
from archive.errors import MediaError, SandboxUnavailable
from archive.jobs import job
from archive.media import clean, probe, renditions, sandbox
from archive.media.storyboard import Board
from archive.models import Case, Item, Job, Rendition
from triage.models import Fingerprint, Near

INSIDE = Path(__file__).parent / "inside" / "fingerprints.py"
METHOD = 1  # raise it with any change of what a fingerprint is
CELLS, KEPT = 64, 16
# Standard deviation of the 64 x 64 grey levels (0 to 255) under which a picture has no fingerprint
LEAST_CONTRAST = 4.0
# What a crop of 2 or 7 % at any sides, or of 10 % at some, leaves. Left, top, right, bottom, as shares
_CUTS = [*itertools.product((0.02, 0.07), repeat=4), *itertools.product((0, 0.1), repeat=4)]
WINDOWS = [(0, 0, 1, 1)] + [(a, b, 1 - c, 1 - d) for a, b, c, d in _CUTS if any((a, b, c, d))]
BYTES = len(WINDOWS) * KEPT * KEPT // 8
MOST_APART, MOST_APART_VIDEO = 60, 32  # of 256 bits
# Of the 64 coarsest bits: looked at first, since what is further apart there is never tied in all
MOST_APART_COARSE = 22
TOGETHER = 128  # items fingerprinted in one sandbox
LIMITS = sandbox.Limits(cpu_s=120, wall_s=180, memory_mb=1024, address_mb=6144, output_mb=16, processes=32)


# --- fingerprints -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """The small picture that an item's fingerprints are made from, and when its frames are."""

    item: Item
    rendition: Rendition
    at_ms: tuple[int, ...]
    columns: int
    gap: int


def _source(item: Item) -> _Source | None:
    """A video's storyboard, else the thumbnail; None where there is neither."""
    made = {rendition.kind: rendition for rendition in item.renditions.all()}
    if item.disposed_at is not None or item.kind not in (Item.Kind.IMAGE, Item.Kind.VIDEO):
        return None
    if Rendition.Kind.STORYBOARD in made:
        board = Board.of(made[Rendition.Kind.STORYBOARD].recipe)
        return _Source(item, made[Rendition.Kind.STORYBOARD], board.at_ms, board.columns, board.gap)
    if Rendition.Kind.THUMBNAIL in made:
        return _Source(item, made[Rendition.Kind.THUMBNAIL], (0,), 1, 0)
    return None


@dataclass(frozen=True)
class Sheet:
    """A JPEG of `frames` pictures, row by row in so many columns, `gap` pixels between them."""

    jpeg: bytes
    frames: int = 1
    columns: int = 1
    gap: int = 0


def fingerprints(sheets: list[Sheet]) -> dict[tuple[int, int], bytes]:
    """Place of the sheet and of the frame in it -> the bits, in one sandbox. Those that are too plain have none.

    Raises MediaError, SandboxUnavailable: try again.
    """
    if not sheets:
        return {}
    asked = {
        "packages": sysconfig.get_path("platlib"),
        "cells": CELLS,
        "kept": KEPT,
        "least_contrast": LEAST_CONTRAST,
        "windows": WINDOWS,
        "pictures": [[len(one.jpeg), one.frames, one.columns, one.gap] for one in sheets],
    }
    with open(renditions.in_memory(b"".join(one.jpeg for one in sheets)), "rb") as joined:
        done = sandbox.run(
            [sandbox.python(), "-I", "-S", "/in/fingerprints.py", json.dumps(asked)],
            inputs={"original": joined.fileno(), "fingerprints.py": INSIDE},
            limits=LIMITS,
            python=True,
        )
    if not done.ok:
        if done.stopped is None and done.returncode in (-9, 137):
            raise SandboxUnavailable(
                "The system ended the making of fingerprints, most likely for want of memory."
            )
        raise MediaError("Fingerprints of small pictures could not be made; they are tried again.")
    return believed(done.untrusted_stdout, sheets)


def believed(stream: bytes, sheets: list[Sheet]) -> dict[tuple[int, int], bytes]:
    """What the sandbox said, so far as it can be: bits of the right length for a frame that was asked about."""
    told = {}
    for record in probe.records(stream):
        number, frame = (
            clean.whole(one, TOGETHER * 64) for one in (*clean.listed(record.value), None, None)[:2]
        )
        if number is None or frame is None or number >= len(sheets) or frame >= sheets[number].frames:
            continue
        if len(record.data) == BYTES:
            told[number, frame] = record.data
    return told


def _made(sources: list[_Source]) -> dict[UUID, list[Fingerprint]]:
    """The fingerprints of these items' small pictures."""
    sheets = []
    for source in sources:
        with vault.open(source.rendition.blob_id) as stream:
            sheets.append(Sheet(stream.read(), len(source.at_ms), source.columns, source.gap))
    made: dict[UUID, list[Fingerprint]] = defaultdict(list)
    for (number, frame), bits in sorted(fingerprints(sheets).items()):
        source = sources[number]
        made[source.item.pk].append(
            Fingerprint(item=source.item, at_ms=source.at_ms[frame], method=METHOD, bits=bits)
        )
    return made


@job(
    "triage.near",
    queue="analyse",
    attempts=3,
    limit_s=300,
    after=("item.rendition_made", "item.disposed"),
    batch=TOGETHER,
)
def follow(rows: list[Job]) -> None:
    """Fingerprint the items of these jobs and put them into groups. What was destroyed leaves no fingerprint."""
    ids = {row.item_id for row in rows}
    renew(Item.objects.filter(pk__in=ids))
    for row in rows:
        jobs.finish(row)


def renew(items: Iterable[Item]) -> int:
    """Make these items' fingerprints anew and group them again. Returns how many of them have one."""
    items = list(items.select_related("case").prefetch_related("renditions"))
    made = _made([source for item in items if (source := _source(item))])
    by_case: dict[UUID, list[Item]] = defaultdict(list)
    for item in items:
        by_case[item.case_id].append(item)
    for case, own in by_case.items():
        with transaction.atomic(durable=True):
            Case.objects.select_for_update().get(pk=case)
            ids = [item.pk for item in own]
            Fingerprint.objects.filter(item__in=ids).delete()
            Fingerprint.objects.bulk_create([one for pk in ids for one in made.get(pk, ())], batch_size=500)
            regroup(case, set(ids))
    return len(made)


# --- groups -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prints:
    """All fingerprints of a case, sorted by item. `bits` is n x windows x 4 words of 64 bits."""

    items: list[tuple[UUID, int, bool]]  # id, number, whether a video
    owner: numpy.ndarray  # place in `items` of each fingerprint
    bits: numpy.ndarray

    @classmethod
    def of(cls, case: UUID) -> "Prints":
        rows = Fingerprint.objects.filter(item__case=case, method=METHOD).order_by("item__number", "at_ms")
        told = rows.values_list("item_id", "item__number", "item__kind", "bits")
        items: list[tuple[UUID, int, bool]] = []
        owner, bits = [], bytearray()
        for pk, number, kind, data in told.iterator(chunk_size=2000):
            if not items or items[-1][0] != pk:
                items.append((pk, number, kind == Item.Kind.VIDEO))
            owner.append(len(items) - 1)
            bits += data
        words = numpy.frombuffer(bytes(bits), ">u8").astype(numpy.uint64)
        return cls(items, numpy.array(owner, dtype=numpy.int64), words.reshape(-1, len(WINDOWS), 4))


def rebuild(case: Case) -> int:
    """Make the fingerprints and groups of a whole case again. Returns how many items have one."""
    ids = list(Item.objects.filter(case=case).order_by("number").values_list("pk", flat=True))
    count = 0
    for start in range(0, len(ids), TOGETHER):
        count += renew(Item.objects.filter(pk__in=ids[start : start + TOGETHER]))
    return count


def regroup(case: UUID, fresh: set[UUID]) -> None:
    """Group these items again, and all that were grouped with them. In a transaction that holds the case."""
    torn = Near.objects.filter(case=case, item__in=fresh).values_list("group", flat=True)
    fresh = fresh | set(Near.objects.filter(case=case, group__in=set(torn)).values_list("item_id", flat=True))
    Near.objects.filter(case=case, item__in=fresh).delete()
    prints = Prints.of(case)
    new = [place for place, (pk, _, _) in enumerate(prints.items) if pk in fresh]
    group = dict(Near.objects.filter(case=case).values_list("number", "group"))
    group |= {prints.items[place][1]: prints.items[place][1] for place in new}
    joined = _Joined(group)
    for one, other in ties(prints, new):
        joined.join(prints.items[one][1], prints.items[other][1])
    for old, first in joined.moved():
        Near.objects.filter(case=case, group=old).update(group=first)
    Near.objects.bulk_create(
        [
            Near(item_id=pk, case_id=case, number=number, group=joined.first(number))
            for pk, number, _ in (prints.items[place] for place in new)
        ],
        batch_size=1000,
    )


class _Joined:
    """Groups that grow together: the number of an item leads to that of the first item of its group."""

    def __init__(self, group: dict[int, int]) -> None:
        self._group = group
        self._before = {first: first for first in group.values()}

    def first(self, number: int) -> int:
        """The first item's number of the group that this item is in now."""
        found = self._group[number]
        while self._before[found] != found:
            self._before[found] = self._before[self._before[found]]
            found = self._before[found]
        return found

    def join(self, one: int, other: int) -> None:
        """These two are tied."""
        low, high = sorted((self.first(one), self.first(other)))
        self._before[high] = low

    def moved(self) -> list[tuple[int, int]]:
        """Groups that have another first item now: the old one and the new one."""
        return [(old, self.first(old)) for old in self._before if self._before[old] != old]


def ties(prints: Prints, new: list[int]) -> Iterator[tuple[int, int]]:
    """Pairs of places in `prints.items`, one of them new, that are tied."""
    rows = numpy.flatnonzero(numpy.isin(prints.owner, new))
    frames = numpy.bincount(prints.owner, minlength=len(prints.items))
    matched: dict[tuple[int, int], set[int]] = defaultdict(set)
    for one, other, apart in close(prints.bits, rows):
        a, b = int(prints.owner[one]), int(prints.owner[other])
        film = prints.items[a][2]
        if a != b and film == prints.items[b][2] and apart <= (MOST_APART_VIDEO if film else MOST_APART):
            matched[a, b].add(one)
            matched[b, a].add(other)
    for (a, b), here in matched.items():
        if 2 * len(here) >= frames[a] and 2 * len(matched[b, a]) >= frames[b]:
            yield a, b


def close(bits: numpy.ndarray, rows: numpy.ndarray) -> Iterator[tuple[int, int, int]]:
    """Pairs of fingerprints, the first among `rows`, of which one's whole is close to a window of the other, and in how
    many bits these differ. A pair may come more than once."""
    coarse = numpy.ascontiguousarray(bits[:, :, 0].T)  # windows x n
    for start in range(0, len(rows), 32):
        some = rows[start : start + 32]
        for begin in range(0, bits.shape[0], 8192):
            part = slice(begin, begin + 8192)
            for window in range(len(WINDOWS)):
                for mine, theirs in {(0, window), (window, 0)}:
                    differ = numpy.bitwise_xor.outer(coarse[mine, some], coarse[theirs, part])
                    near = numpy.bitwise_count(differ) <= MOST_APART_COARSE
                    if not near.any():
                        continue
                    one, other = numpy.nonzero(near)
                    one, other = some[one], other + begin
                    apart = numpy.bitwise_count(bits[one, mine] ^ bits[other, theirs]).sum(axis=1)
                    kept = (apart <= MOST_APART) & (one != other)
                    yield from zip(
                        one[kept].tolist(), other[kept].tolist(), apart[kept].tolist(), strict=True
                    )
