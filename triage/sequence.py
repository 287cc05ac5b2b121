"""A version of an order as the sequence in which items come, with those that came in after it was made."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from triage import ordering
from triage.models import Standing
from triage.versions import Version

Band, State = Standing.Band, Standing.State
FIRST_LOOK, WIDER, MOST = (
    200,
    4,
    10_000,
)  # looked up at once, how much more of them the next time, and up to when
Numbers = NDArray[np.int64]


def with_fresh(version: Version, fresh: Sequence[Standing]) -> Numbers:
    """Item numbers in the order of the version; `fresh` ones, which it does not know, where rules put them."""
    numbers = version.numbers[version.order.places].astype(np.int64)
    if not fresh:
        return numbers
    scores = np.array([_by_rules(version, row) for row in fresh], np.int64)
    came = np.array([row.number for row in fresh], np.int64)
    turn = np.lexsort((came, -scores))
    return np.insert(numbers, _places(version, scores[turn]) - 1, came[turn])


def fresh_place(version: Version, row: Standing) -> int:
    """Where rules put an item that came in since, from 1."""
    return int(_places(version, np.array([_by_rules(version, row)], np.int64))[0])


def uncertain_first(version: Version) -> Numbers:
    """Those that the learner can tell least about; what no model has looked at comes last."""
    sums = version.parts.learned + version.parts.rules
    sums = np.where(version.looked_at, sums, np.iinfo(np.int64).max)
    return version.numbers[ordering.uncertain(sums, version.numbers)].astype(np.int64)


def unusual_first(version: Version, tenths: Numbers) -> Numbers:
    """Those that are least like the rest of the case (triage.unusual.shares); what was not compared comes last."""
    share = np.where(tenths > 0, tenths, np.iinfo(np.int64).max)
    return version.numbers[np.argsort(share, kind="stable")].astype(np.int64)


def some(numbers: Numbers) -> Iterator[list[int]]:
    """A few from the top, then more and more of them."""
    at, size = 0, FIRST_LOOK
    while at < len(numbers):
        yield numbers[at : at + size].tolist()
        at, size = at + size, min(size * WIDER, MOST)


def _by_rules(version: Version, row: Standing) -> int:
    """The score of an item that is in no version yet: what is learned of it is the mean of all, or the floor."""
    rules = round(version.how.rules * row.points)
    if not version.looked_at.any():
        return rules
    if row.state == State.SCORED:
        return rules + version.mean_learned
    return rules + version.floor


def _places(version: Version, scores: Numbers) -> Numbers:
    """Before the first that waited and was placed by a lower score."""
    places = version.order.places
    waited = version.bands <= Band.UNSCORED
    by_score = np.flatnonzero(~version.order.by_lot & waited[places])
    rising = -version.parts.score[places[by_score]]
    ends = np.append(by_score, waited.sum())
    return np.asarray(ends[np.searchsorted(rising, -scores, side="right")] + 1, np.int64)
