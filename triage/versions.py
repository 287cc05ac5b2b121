"""Stored versions of an order, opened: scores, places, who came by lot, and why. Nothing here changes anything.

A version (triage.models.Ranking) names its arrays by their hashes; versions share what did not change (Column). Arrays are
little-endian, under these names; `numbers` are all items of the case by arrival, and the next five go with them:

    numbers  i4     states   u1  band, and 8 where a model had looked     known    i8  what was known (Known; 0: nothing)
    learned  i4     rules    i4     waiting  i4     the parts of the score in thousandths
    pool     i4     has      u1     items that had vectors, and which embedders' (a bit each, in the order of names)
    anchors  i4     shares   f8     which labels the model is expressed by, their shares, and last the intercept
    scale:X  f4     mean and then spread of the columns of embedder X
    unusual  i2     where the rules ask for it, goes with `numbers`: see triage.unusual (0: not compared)

The order itself is not stored: `triage.ordering.order` makes it of these and the seed, and its hash must be the stored one.
"""

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.errors import Damaged
from archive.models import Case
from triage import facts, learning, ordering, pool, scoring
from triage.learning import Scale, Start
from triage.models import Column, Known, Ranking, Standing
from triage.ordering import Combination, Order, Parts
from triage.wording import SHOWN

TYPES = {
    "numbers": "<i4",
    "states": "u1",
    "known": "<i8",
    "learned": "<i4",
    "rules": "<i4",
    "waiting": "<i4",
    "pool": "<i4",
    "has": "u1",
    "anchors": "<i4",
    "shares": "<f8",
    "scale": "<f4",
    "unusual": "<i2",
    "scores": "<i4",
}
LOOKED = 8  # beside the band
KEPT = 4  # versions that a process holds open
LEARNED, WAITED, NO_MODEL = "Learned", "Waiting", "No model has looked"
Array = NDArray[Any]


def packed(name: str, array: Array) -> Column:
    """An array as it is stored."""
    plain = np.ascontiguousarray(array, TYPES[name.split(":")[0]]).tobytes()
    return Column(sha256=hashlib.sha256(plain).hexdigest(), data=zlib.compress(plain, 1))


def unpacked(name: str, data: bytes) -> Array:
    """The array again."""
    return np.frombuffer(zlib.decompress(bytes(data)), TYPES[name.split(":")[0]])


def order_sha256(numbers: Array, parts: Parts, order: Order) -> str:
    """Over item numbers and scores in their order, and who came by lot."""
    digest = hashlib.sha256(np.ascontiguousarray(numbers[order.places], "<i4").tobytes())
    digest.update(np.ascontiguousarray(parts.score[order.places], "<i8").tobytes())
    digest.update(np.packbits(order.by_lot).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Version:
    """A stored version, open."""

    ranking: Ranking
    columns: Mapping[str, Array]
    parts: Parts
    order: Order

    @cached_property
    def numbers(self) -> Array:
        """All items of the case when it was made, by arrival."""
        return self.columns["numbers"]

    @cached_property
    def bands(self) -> Array:
        """Where each stood then."""
        return self.columns["states"] & (LOOKED - 1)

    @cached_property
    def looked_at(self) -> Array:
        """Which of them a model had looked at."""
        return (self.columns["states"] & LOOKED) > 0

    @cached_property
    def place_of(self) -> Array:
        """The place of each in the order, from 1."""
        places = np.empty(len(self.numbers), np.int64)
        places[self.order.places] = np.arange(1, len(self.numbers) + 1)
        return places

    @cached_property
    def mean_learned(self) -> int:
        """What is learned of the items that a model had looked at, on average, in thousandths."""
        return round(float(self.parts.learned[self.looked_at].mean()))

    @cached_property
    def floor(self) -> int:
        """The lowest score of theirs, but for waiting."""
        return int((self.parts.learned + self.parts.rules)[self.looked_at].min())

    @property
    def how(self) -> Combination:
        """How the parts were put together."""
        return Combination.of_json(self.ranking.combination)

    @property
    def last(self) -> int:
        """The number of the newest item in it."""
        return int(self.numbers[-1]) if len(self.numbers) else 0

    def row(self, number: int) -> int | None:
        """Where an item is in the arrays; None for one that came later."""
        at = int(np.searchsorted(self.numbers, number))
        return at if at < len(self.numbers) and self.numbers[at] == number else None

    def score(self, row: int) -> Decimal:
        """In points."""
        return Decimal(int(self.parts.score[row])).scaleb(-3)

    def chance(self, row: int) -> float | None:
        """0 to 1; None where it is not calibrated or no model has looked."""
        if not self.how.calibrated or not self.looked_at[row]:
            return None
        return float(ordering.sigmoid(np.array((self.parts.learned[row] + self.parts.rules[row]) / 1000)))

    def by_lot(self, row: int) -> bool:
        """Whether its place was drawn."""
        return bool(self.order.by_lot[self.place_of[row] - 1])


_open: OrderedDict[tuple[int, str], Version] = OrderedDict()


def opened(ranking: Ranking) -> Version:
    """A version's arrays and order. Raises Damaged where they are not those that were stored."""
    key = ranking.pk, ranking.sha256  # a number may come again where a transaction was rolled back
    found = _open.get(key)
    if found is None:
        found = _read(ranking)
        _open[key] = found
        while len(_open) > KEPT:
            _open.popitem(last=False)
    return found


def _read(ranking: Ranking) -> Version:
    wanted = {name: sha for name, sha in ranking.columns.items() if name not in ("pool", "has")}
    data = dict(Column.objects.filter(pk__in=wanted.values()).values_list("pk", "data"))
    if missing := set(wanted.values()) - set(data):
        raise Damaged(
            f"{len(missing)} arrays of this order are missing. No original is affected; make a new order."
        )
    columns = {name: unpacked(name, data[sha]) for name, sha in wanted.items()}
    parts = Parts(*(columns[name].astype(np.int64) for name in ("learned", "rules", "waiting")))
    bands = columns["states"] & (LOOKED - 1)
    order = in_order(parts, columns["numbers"], bands, ranking.settings["audit_percent"], int(ranking.seed))
    if order_sha256(columns["numbers"], parts, order) != ranking.sha256:
        raise Damaged("This order is not the one that was stored. No original is affected; make a new order.")
    return Version(ranking, columns, parts, order)


def in_order(parts: Parts, numbers: Array, bands: Array, audit_percent: int, seed: int) -> Order:
    """Those that wait first, then the postponed, then the answered."""
    behind = np.maximum(bands.astype(np.int64) - Standing.Band.UNSCORED, 0)
    return ordering.order(parts.score, numbers, behind=behind, audit_percent=audit_percent, seed=seed)


# --- why ----------------------------------------------------------------------------------------------------------


def reasons(version: Version, case: Case, numbers: Iterable[int]) -> dict[int, list[dict[str, Any]]]:
    """Item number -> what its score in this version is the sum of, the weightiest first, as JSON.

    Always made again from what the version rests on, so the same today and in a replay.
    """
    wanted = {n: row for n in numbers if (row := version.row(n)) is not None}
    known = {n: int(version.columns["known"][row]) for n, row in wanted.items()}
    kept = dict(Known.objects.filter(pk__in=[pk for pk in known.values() if pk]).values_list("pk", "facts"))
    read = facts.read(kept)
    if "unusual" in version.columns:
        tenths = {known[n]: int(version.columns["unusual"][row]) for n, row in wanted.items()}
        read = {pk: scoring.with_unusual(one, tenths[pk]) for pk, one in read.items()}
    like = _alike(version, case, [n for n, row in wanted.items() if version.looked_at[row]])
    how, found = version.how, {}
    for n, row in wanted.items():
        lines = scoring.score(version.ranking.rules, read[known[n]])[1] if known[n] else []
        parts = [int(line.contribution.scaleb(3)) for line in lines]
        shares = ordering.shares(parts, int(version.parts.rules[row]), how.rules)
        told = [
            {**line.as_json(), "contribution": _points(part)}
            for line, part in zip(lines, shares, strict=True)
        ]
        told += _learned(version, row, like.get(n, []))
        if waited := int(version.parts.waiting[row]):
            told.append(_line(WAITED, waited, "since it came in", machine=False))
        found[n] = sorted(told, key=lambda line: -abs(Decimal(line["contribution"])))
    return found


def _learned(version: Version, row: int, like: list[tuple[int, bool]]) -> list[dict[str, Any]]:
    part = int(version.parts.learned[row])
    if not version.looked_at[row]:
        words = "level with the lowest that one has looked at"
        return [_line(NO_MODEL, part, words, machine=False)] if part else []
    if version.ranking.start == Start.NOTHING:
        return []
    if not like:
        return [_line(LEARNED, part, "nothing to compare it by: the mean of all", machine=True)]
    names, yes = " and ".join(str(number) if number else SHOWN for number, _ in like), like[0][1]
    words = f"looks like {names}, marked {'yes' if yes else 'no'}"
    items = [number for number, _ in like if number]
    return [{**_line(LEARNED, part, words, machine=True), "items": items}]


def _alike(version: Version, case: Case, numbers: list[int]) -> dict[int, list[tuple[int, bool]]]:
    """The two labelled items that speak loudest for each item's rank."""
    ranking, columns = version.ranking, version.columns
    if ranking.start == Start.NOTHING or not numbers:
        return {}
    scales = {name: _scale(columns[f"scale:{name}"]) for name in ranking.recipes}
    labels = [ranking.labels[int(at)] for at in columns["anchors"]]
    plain = [number for number, _yes, _example, extra in labels if not extra]
    extras = [example for _number, _yes, example, extra in labels if extra]
    anchors = np.zeros((len(labels), sum(len(scale.mean) for scale in scales.values())), np.float32)
    is_extra = np.array([bool(label[3]) for label in labels])
    anchors[~is_extra] = pool.rows_of(ranking.recipes, scales, case, plain)
    anchors[is_extra] = pool.example_rows(ranking.recipes, scales, extras)
    own = pool.rows_of(ranking.recipes, scales, case, numbers)
    shares = columns["shares"]
    model = learning.Model(shares[:-1], float(shares[-1])) if len(shares) else None
    said = [bool(yes) for _number, yes, _example, _extra in labels]
    kernel = learning.Mixed.over({name: len(scale.mean) for name, scale in scales.items()})
    found = {}
    for place, number in enumerate(numbers):
        if not own[place].any():
            continue
        like = kernel(anchors, own[place][None])[:, 0]
        loudest = learning.speaking(like, model, said, len(labels))
        found[number] = [(labels[i][0], said[i]) for i, _ in loudest if labels[i][0] != number][:2]
    return found


def _scale(column: Array) -> Scale:
    mean, spread = np.split(column, 2)
    return Scale(mean, spread)


def _line(criterion: str, part: int, why: str, *, machine: bool) -> dict[str, Any]:
    return {"criterion": criterion, "contribution": _points(part), "why": why, "machine": machine}


def _points(thousandths: int) -> str:
    return str(Decimal(thousandths).scaleb(-3).quantize(scoring.STEP))
