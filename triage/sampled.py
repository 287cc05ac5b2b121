"""What a random sample of the unseen says about the whole, at any look. Plain functions of counts; no database.

See docs/triage.md, "What was missed", for formulas and sources.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from triage.estimate import LEVEL, Floats, Interval, Promise, chances_of_hits, relevant_among, while_drawing

LOOKS = 0.2  # the part of the error that the looks before the sample's end may spend; its end has the rest
BRANCHES = 25  # outcomes that a promise is averaged over


@dataclass(frozen=True)
class Sampled:
    """A pool of items that were unseen at a draw, how far its lot has been read, and what else is known by now.

    The pool had `unseen` items, of which `size` were drawn. Of the first `read` of these, without a gap, `hits` were
    answered yes and `unsure` could not be told. `found_in_pool` and `refused_in_pool` count yes and no in the whole
    pool by now, the sample's included, by whatever way they came. Outside the pool lie the items that had an answer
    before the draw: `found` are yes, `unsettled` neither yes nor no. Raises ValueError for counts that cannot be.
    """

    found: int
    unseen: int
    size: int
    read: int
    hits: int
    unsure: int = 0
    unsettled: int = 0
    found_in_pool: int = 0
    refused_in_pool: int = 0
    level: float = LEVEL

    def __post_init__(self) -> None:
        told = self.read - self.unsure
        if not (0 <= self.read <= self.size <= self.unseen and 0 <= self.hits <= told):
            raise ValueError("a sample needs 0 <= hits <= read - unsure and read <= size <= unseen")
        if self.found_in_pool < self.hits or self.refused_in_pool < told - self.hits:
            raise ValueError("what is known of the pool includes the sample")
        if self.found_in_pool + self.refused_in_pool > self.unseen or min(self.found, self.unsettled) < 0:
            raise ValueError("more answers than items")

    @property
    def done(self) -> bool:
        """Whether the sample was read to its end."""
        return self.read == self.size

    @property
    def found_now(self) -> int:
        """Relevant items known by now."""
        return self.found + self.found_in_pool

    def pool(self) -> Interval:
        """How many relevant items the pool held at the draw: bounds at this look, and the best guess."""
        low, high = self.bounds()
        return Interval(low, self._posterior(low, high), high, self.level)

    def bounds(self) -> tuple[int, int]:
        """Bounds of the relevant in the pool at the draw; those of all looks hold together at the level.

        Before the end it is a confidence sequence that spends LOOKS of the error; at the end the exact bounds for a
        size fixed beforehand, which spend the rest. What could not be told is no for the lower, yes for the upper one.
        """
        error = 1 - self.level
        rule, spent = (relevant_among, 1 - LOOKS) if self.done else (while_drawing, LOOKS)
        low, high = rule(self.unseen, self.read, self.hits, 1 - spent * error)
        if self.unsure:
            _, high = rule(self.unseen, self.read, self.hits + self.unsure, 1 - spent * error)
        possible = self.found_in_pool, self.unseen - self.refused_in_pool
        low = min(max(low, possible[0]), possible[1])
        return low, max(min(high, possible[1]), low)

    def _posterior(self, low: int, high: int) -> float:
        """Mean of the pool's relevant items by Jeffreys' prior, given the sample, within what is possible by now."""
        told = self.read - self.unsure
        rest, yes, no = self.unseen - told, self.hits + 0.5, told - self.hits + 0.5
        more = np.arange(rest)  # log P(more + 1) - log P(more) of the beta-binomial
        steps = np.log((rest - more) * (more + yes)) - np.log((more + 1) * (rest - more - 1 + no))
        logs = np.concatenate([[0.0], np.cumsum(steps)])
        numbers = np.arange(len(logs)) + self.hits
        inside = (numbers >= low) & (numbers <= high)
        chances = np.exp(logs[inside] - logs[inside].max())
        return float(numbers[inside] @ chances / chances.sum())

    def left(self) -> Interval:
        """How many relevant items of the pool nobody has found yet."""
        whole, known = self.pool(), self.found_in_pool
        return Interval(whole.low - known, whole.guess - known, whole.high - known, self.level)

    def recall(self) -> Interval:
        """Share of what matters that is found by now, of all items that were there at the draw; 0 to 1.

        An unsettled item outside the pool counts as relevant for the lower bound, as not relevant for the upper one,
        and by the share of yes among the settled ones of the pool and outside for the guess.
        """
        low, high = self._share()
        settled = self.found_now + self.refused_in_pool
        share = self.found_now / settled if settled else 0.5
        guess = _of(self.found_now, self.left().guess + share * self.unsettled)
        return Interval(low, guess, high, self.level)

    def _share(self) -> tuple[float, float]:
        least, most = (count - self.found_in_pool for count in self.bounds())
        return _of(self.found_now, most + self.unsettled), _of(self.found_now, least)

    def promise(self, relevant: float | None = None) -> Promise:
        """The mean lower bound and width once the rest of the sample has been read, if the pool holds `relevant`.

        Without `relevant`, the best guess of now. What is found until then counts as found.
        """
        rest, unread = self.size - self.read, self.unseen - self.read
        yes, no = self._known_unread()
        wanted = self.pool().guess if relevant is None else relevant
        held = min(max(round(wanted) - self.hits, yes), unread - no)
        outcomes = list(_branches(chances_of_hits(unread, held, rest)))
        ends = [self._after(rest, hits, held)._share() for hits, _ in outcomes]
        low, high = np.average(ends, axis=0, weights=[weight for _, weight in outcomes])
        return Promise(self.size, float(low), float(high - low))

    def _known_unread(self) -> tuple[int, int]:
        """Yes and no that are known by now of items of the pool that the reading of the lot has not reached."""
        return self.found_in_pool - self.hits, self.refused_in_pool - (self.read - self.unsure - self.hits)

    def _after(self, rest: int, hits: int, held: int) -> "Sampled":
        """As it will be when the `rest` is read, `hits` of it relevant, if the unread of the pool hold `held`.

        Of both kinds, those known by now are met in the rest as often as in the pool.
        """
        yes, no = self._known_unread()
        others = self.unseen - self.read - held
        new_yes = ceil(hits * (held - yes) / held) if held else 0
        new_no = ceil((rest - hits) * (others - no) / others) if others else 0
        return replace(
            self,
            read=self.size,
            hits=self.hits + hits,
            found_in_pool=self.found_in_pool + new_yes,
            refused_in_pool=self.refused_in_pool + new_no,
        )


def _of(found: float, left: float) -> float:
    return found / (found + left) if found + left else 1.0


def _branches(chances: Floats) -> Iterable[tuple[int, float]]:
    """The outcomes worth counting: all when they are few, else those at evenly spaced quantiles, weighing the same."""
    likely = np.flatnonzero(chances > 1e-4)
    if len(likely) <= BRANCHES:
        return [(int(n), float(chances[n])) for n in likely]
    at = (np.arange(BRANCHES) + 0.5) / BRANCHES
    return [(int(n), 1.0) for n in np.searchsorted(np.cumsum(chances), at)]
