"""Boxes joined into objects over time, by ByteTrack: a pure function over numbers, the same for the same boxes.

Zhang et al., *ByteTrack: Multi-Object Tracking by Associating Every Detection Box*, ECCV 2022, with the motion model of
Wojke et al., *Simple Online and Realtime Tracking with a Deep Association Metric*, 2017: constant velocity of a box's
centre, shape and height. The thresholds are those of the papers, or of Ultralytics' version where that says otherwise.

What is our own, because frames here are sampled and models name classes:
- Time is counted in the papers' frames (1/30 s) whatever lies between two looks.
- A box is offered to the objects of its own class first, then to the others: a car may be a truck for a moment. An object is
  what its boxes say with the greatest sum of confidence.
- Of boxes that lie on each other in one frame the surest stays.
- No object goes on past a cut, or after nothing was seen of it for LOST_MS.
- An object has at least two sure boxes in frames that follow each other: what is less is a detection and no track.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from triage.results import Found

FRAME_MS = 1000 / 30
SURE = 0.5  # boxes from here on open objects and are joined first
MATCH, MATCH_NEW, MATCH_UNSURE = (
    0.2,
    0.3,
    0.5,
)  # least overlap (times confidence, except for unsure boxes) to be joined
SAME = 0.7  # overlap from which two boxes of a frame are one
LOST_MS = 2000
SMALLEST = 1e-5  # side of a box, the step that detections are stored in
# Standard deviations for each frame as shares of the height: of a position, and of a velocity
POSITION, VELOCITY = 1 / 20, 1 / 160

Box = tuple[float, float, float, float]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Followed:
    """One object. `box` is that of its surest moment, `at_ms`; `boxes` says how many were joined."""

    number: int
    label: str
    first_ms: int
    last_ms: int
    most: Decimal
    at_ms: int
    box: tuple[Decimal, Decimal, Decimal, Decimal]
    boxes: int


def follow(found: Iterable[Found], looked: Sequence[int], cuts: Iterable[int] = ()) -> list[Followed]:
    """The objects in one video's boxes, numbered from 1 in order of appearance.

    `looked` are the times in ms that were looked at, in order, those without a box too; `cuts` the times at which a new
    shot begins.
    """
    frames: dict[int, list[Found]] = defaultdict(list)
    for one in found:
        frames[one.at_ms].append(one)
    borders = sorted(cuts)
    live: list[_Object] = []
    done: list[_Object] = []
    shot = 0
    for at_ms in looked:
        now = shot
        while now < len(borders) and borders[now] <= at_ms:
            now += 1
        if now != shot:
            done, live, shot = done + live, [], now
        ended = [one for one in live if at_ms - one.seen_ms > LOST_MS]
        done += ended
        live = [one for one in live if one not in ended]
        _look(live, _single(frames.get(at_ms, [])), at_ms)
        live = [one for one in live if one.confirmed or one.seen_ms == at_ms]
    tracks = [one for one in done + live if one.confirmed]
    tracks.sort(key=lambda one: (one.found[0].at_ms, one.found[0].order()))
    return [one.told(number) for number, one in enumerate(tracks, 1)]


def _look(live: list["_Object"], boxes: list[Found], at_ms: int) -> None:
    """Join one frame's boxes to the objects, and open new ones."""
    for one in live:
        one.predict(at_ms)
    sure = [box for box in boxes if box.score >= SURE]
    unsure = [box for box in boxes if box.score < SURE]
    known = [one for one in live if one.confirmed]
    new = [one for one in live if not one.confirmed]
    known, sure = _join(known, sure, at_ms, MATCH)
    seen_before = [one for one in known if not one.lost]
    left, _ = _join(seen_before, unsure, at_ms, MATCH_UNSURE, weigh=False)
    _, sure = _join(new, sure, at_ms, MATCH_NEW)
    for one in left:
        one.lost = True
    live += [_Object(box) for box in sure]


def _join(
    objects: list["_Object"], boxes: list[Found], at_ms: int, least: float, *, weigh: bool = True
) -> tuple[list["_Object"], list[Found]]:
    """Give boxes to objects so that the overlap is greatest in all, first within a class, then across. Returns the rest."""
    for own_class in (True, False):
        if not objects or not boxes:
            break
        gain = overlaps([one.box for one in objects], [_floats(box) for box in boxes])
        if weigh:
            gain *= [float(box.score) for box in boxes]
        if own_class:
            gain *= [[one.label == box.label for box in boxes] for one in objects]
        pairs = assign(gain, least)
        for row, column in pairs:
            objects[row].add(boxes[column])
        rows, columns = {row for row, _ in pairs}, {column for _, column in pairs}
        objects = [one for row, one in enumerate(objects) if row not in rows]
        boxes = [box for column, box in enumerate(boxes) if column not in columns]
    return objects, boxes


def overlaps(some: Sequence[Box], others: Sequence[Box]) -> Matrix:
    """Intersection over union of each of some boxes (x, y, width, height) with each of others."""
    a, b = np.array(some).reshape(-1, 1, 4), np.array(others).reshape(1, -1, 4)
    ends = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    sides = np.maximum(0.0, ends - np.maximum(a[..., :2], b[..., :2]))
    both = sides.prod(-1)
    return np.asarray(both / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - both))


def assign(gain: Matrix, least: float) -> list[tuple[int, int]]:
    """Pairs (row, column), each used once, whose gains of at least `least` have the greatest sum.

    Shortest augmenting paths (Jonker and Volgenant 1987). A row may also stay alone: each has a column of its own for
    that, of gain 0, and what is under `least` counts as less than that.
    """
    rows, columns = gain.shape
    alone = np.where(np.eye(rows, dtype=bool), 0.0, 1.0)
    cost = np.hstack([np.where(gain >= least, -gain, 1.0), alone])
    price = np.zeros(rows + columns)
    row_price = np.zeros(rows)
    taken = np.full(rows + columns, -1)  # the row that has a column
    for start in range(rows):
        shortest = np.full(rows + columns, np.inf)
        before = np.full(rows + columns, -1)
        done = np.zeros(rows + columns, dtype=bool)
        row, last, reached = start, -1, 0.0
        while row >= 0:
            way = reached + cost[row] - row_price[row] - price
            nearer = ~done & (way < shortest)
            shortest[nearer], before[nearer] = way[nearer], last
            last = int(np.argmin(np.where(done, np.inf, shortest)))
            done[last], reached, row = True, float(shortest[last]), int(taken[last])
        done[last] = False
        row_price[taken[done]] += reached - shortest[done]
        row_price[start] += reached
        price[done] -= reached - shortest[done]
        while last >= 0:
            taken[last] = start if before[last] < 0 else taken[before[last]]
            last = int(before[last])
    return [(int(taken[c]), c) for c in range(columns) if taken[c] >= 0 and gain[taken[c], c] >= least]


def _single(boxes: list[Found]) -> list[Found]:
    """Of boxes that lie on each other the surest, in a fixed order."""
    boxes = sorted(boxes, key=lambda box: (-box.score, box.order()))
    same = overlaps([_floats(box) for box in boxes], [_floats(box) for box in boxes]) >= SAME
    kept: list[int] = []
    for index in range(len(boxes)):
        if not same[index, kept].any():
            kept.append(index)
    return [boxes[index] for index in kept]


def _floats(found: Found) -> Box:
    x, y, width, height = (float(v) for v in found.box)
    return x, y, width, height


class _Line:
    """A Kalman filter of one number and its speed for each frame."""

    def __init__(self, value: float, deviation: float, speed_deviation: float) -> None:
        self.value, self.speed = value, 0.0
        self.p, self.c, self.v = deviation**2, 0.0, speed_deviation**2  # variances, c: of both

    def predict(self, frames: float, deviation: float, speed_deviation: float) -> None:
        """So many frames on, each adding its own uncertainty."""
        n, q = frames, speed_deviation**2
        self.value += n * self.speed
        self.p += 2 * n * self.c + n * n * self.v + n * deviation**2 + q * (n - 1) * n * (2 * n - 1) / 6
        self.c += n * self.v + q * n * (n - 1) / 2
        self.v += n * q

    def correct(self, value: float, deviation: float) -> None:
        """Take a measured value into account."""
        off, total = value - self.value, self.p + deviation**2
        self.value += self.p / total * off
        self.speed += self.c / total * off
        self.v -= self.c * self.c / total
        self.c -= self.p * self.c / total
        self.p -= self.p * self.p / total


class _Object:
    """One object on its way: its boxes so far, and where its motion puts it now."""

    def __init__(self, first: Found) -> None:
        self.found = [first]
        self.lost = False
        self.sums: dict[str, float] = defaultdict(float)
        self.sums[first.label] = float(first.score)
        self.now_ms = first.at_ms
        x, y, shape, height = _measures(first)
        place = (2 * POSITION * height, 10 * VELOCITY * height)
        self.lines = (_Line(x, *place), _Line(y, *place), _Line(shape, 0.01, 1e-5), _Line(height, *place))

    @property
    def confirmed(self) -> bool:
        return len(self.found) > 1

    @property
    def seen_ms(self) -> int:
        return self.found[-1].at_ms

    @property
    def label(self) -> str:
        return min(self.sums, key=lambda label: (-self.sums[label], label))

    @property
    def box(self) -> Box:
        x, y, shape, height = (line.value for line in self.lines)
        height = max(height, SMALLEST)
        width = max(shape * height, SMALLEST)
        return x - width / 2, y - height / 2, width, height

    def predict(self, at_ms: int) -> None:
        """Move on to a later time."""
        frames, self.now_ms = max(1.0, (at_ms - self.now_ms) / FRAME_MS), at_ms
        x, y, shape, height = self.lines
        if self.lost:
            height.speed = 0.0
        place = (POSITION * height.value, VELOCITY * height.value)
        for line in (x, y, height):
            line.predict(frames, *place)
        shape.predict(frames, 0.01, 1e-5)

    def add(self, found: Found) -> None:
        """Join a box."""
        self.found.append(found)
        self.sums[found.label] += float(found.score)
        self.lost = False
        deviation = POSITION * self.lines[3].value
        for line, value, error in zip(
            self.lines, _measures(found), (deviation, deviation, 0.1, deviation), strict=True
        ):
            line.correct(value, error)

    def told(self, number: int) -> Followed:
        """What is kept of it."""
        best = min((f for f in self.found if f.label == self.label), key=lambda f: (-f.score, f.at_ms))
        return Followed(
            number,
            self.label,
            self.found[0].at_ms,
            self.seen_ms,
            best.score,
            best.at_ms,
            best.box,
            len(self.found),
        )


def _measures(found: Found) -> tuple[float, float, float, float]:
    """Centre, shape (width to height) and height."""
    x, y, width, height = _floats(found)
    return x + width / 2, y + height / 2, width / height, height
