"""Where regions lie in a frame, in whole pixels, and what is painted there. Runs inside the sandbox; imports nothing of ours.

The renderer and the check that follows it share this file; tests call it directly. Shares of the picture are counted in
hundred-thousandths, times in nanoseconds, so that all of it is whole numbers and every rounding goes outwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SHARE = 100_000
MS = 1_000_000  # nanoseconds
LEVELS = 16  # apart from each other are the brightnesses that a mosaic's cell may have
BLACK = (16, 128, 128)  # of Y, U, V in limited range


@dataclass(frozen=True)
class Grow:
    """How far a region is grown beyond what was drawn: to each side a share of its size, then pixels, then outwards to
    a grid; and in time."""

    percent: int
    pixels: int
    grid: int
    ms: int


@dataclass(frozen=True)
class Key:
    """Where the box lies at one moment: left, top, right, bottom in hundred-thousandths."""

    at: int
    edges: tuple[int, int, int, int]


@dataclass(frozen=True)
class Region:
    """A box, still or moving, over a range of time (both ends belong to it) or over a picture."""

    name: str
    fill: str  # solid or mosaic
    start: int | None
    end: int | None
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Rect:
    """A region in one frame: left, top inside; right, bottom outside. In pixels."""

    region: Region
    left: int
    top: int
    right: int
    bottom: int


def region(plan: dict[str, Any]) -> Region:
    """A region as the recipe writes it."""
    keys = []
    for key in plan["keys"]:
        x, y, w, h = (share(text) for text in key["box"])
        keys.append(Key((key["at_ms"] or 0) * MS, (x, y, x + w, y + h)))
    bounds = [None if plan[name] is None else plan[name] * MS for name in ("from_ms", "to_ms")]
    return Region(plan["id"], plan["fill"], bounds[0], bounds[1], tuple(sorted(keys, key=lambda key: key.at)))


def share(text: str) -> int:
    """'0.12345' in hundred-thousandths."""
    whole, _, part = text.partition(".")
    return int(whole) * SHARE + int((part + "00000")[:5])


def rects(
    regions: list[Region], grow: Grow, width: int, height: int, shown: int, until: int | None
) -> list[Rect]:
    """The regions of a frame that is on screen from `shown` until just before `until` (None: to the end).

    A frame belongs to a range if it is on screen at any moment of it.
    """
    found = []
    for one in regions:
        first, last = shown, shown if until is None else max(shown, until)
        if one.start is not None and one.end is not None:
            start, end = one.start - grow.ms * MS, one.end + grow.ms * MS
            if shown > end or (until is not None and until <= start):
                continue
            first, last = max(first, start), min(last if until is not None else end, end)
        found.append(_pixels(one, hull(one.keys, first, max(first, last)), grow, width, height))
    return found


def hull(keys: tuple[Key, ...], first: int, last: int) -> tuple[int, int, int, int]:
    """The smallest box that holds the moving one at every moment from `first` to `last`."""
    edges = [_at(keys, first, 0), _at(keys, last, 0), _at(keys, first, 1), _at(keys, last, 1)]
    edges += [key.edges for key in keys if first < key.at < last]
    left, top = (min(edge[side] for edge in edges) for side in (0, 1))
    right, bottom = (max(edge[side] for edge in edges) for side in (2, 3))
    return left, top, right, bottom


def _at(keys: tuple[Key, ...], moment: int, up: int) -> tuple[int, int, int, int]:
    """The box at a moment, on a straight line between two keys; every edge rounded down, or with `up`, up."""
    if moment <= keys[0].at:
        return keys[0].edges
    for before, after in zip(keys, keys[1:], strict=False):
        if moment <= after.at:
            gone, whole = moment - before.at, after.at - before.at
            a, b, c, d = (
                (p * (whole - gone) + q * gone + up * (whole - 1)) // whole
                for p, q in zip(before.edges, after.edges, strict=True)
            )
            return a, b, c, d
    return keys[-1].edges


def _pixels(one: Region, edges: tuple[int, int, int, int], grow: Grow, width: int, height: int) -> Rect:
    placed = []
    for side, size in ((0, width), (1, height)):
        low, high = edges[side], edges[side + 2]
        more = -(-(high - low) * grow.percent // 100)
        start = (low - more) * size // SHARE - grow.pixels
        end = -(-(high + more) * size // SHARE) + grow.pixels
        start, end = start // grow.grid * grow.grid, -(-end // grow.grid) * grow.grid
        placed += [min(max(start, 0), size), min(max(end, 0), size)]
    left, right, top, bottom = placed
    return Rect(one, left, top, right, bottom)


# ---- painting -----------------------------------------------------------------------------------------------------
# A picture is a list of planes (height x width arrays of bytes) with how many pixels of the picture one of theirs spans.

Planes = list[tuple[Any, int]]


class Mosaics:
    """The frozen mosaic of each region: taken from the first frame that has it, with noise, and never again.

    A moving mosaic that followed the picture would give more of it away with every frame.
    """

    def __init__(
        self, cells: int, noise: int, values: dict[str, list[list[list[int]]]] | None = None
    ) -> None:
        """`values`: for each region its planes of cells, where they are known already (for the check)."""
        self.cells, self.noise = cells, noise
        self.values = values if values is not None else {}

    def take(self, planes: Planes, rect: Rect) -> list[list[list[int]]]:
        """Cells of a region: means, coarsely rounded, with noise of the system's random source."""
        import secrets

        wide, high = rect.right - rect.left, rect.bottom - rect.top
        longest = max(wide, high)
        across, down = max(1, wide * self.cells // longest), max(1, high * self.cells // longest)
        taken = []
        for plane, span in planes:
            rows = []
            for top, bottom in _steps(rect.top, rect.bottom, down, span):
                row = []
                for left, right in _steps(rect.left, rect.right, across, span):
                    mean = int(plane[top:bottom, left:right].mean()) if bottom > top and right > left else 128
                    off = secrets.randbelow(2 * self.noise + 1) - self.noise
                    row.append(min(235, max(16, mean // LEVELS * LEVELS + LEVELS // 2 + off)))
                rows.append(row)
            taken.append(rows)
        return taken


def _steps(start: int, end: int, count: int, span: int) -> list[tuple[int, int]]:
    """Edges of `count` cells from start to end, on even pixels, in a plane's own pixels."""
    edges = [(start + (end - start) * i // count) & ~1 for i in range(count)] + [end]
    return [(a // span, b // span) for a, b in zip(edges, edges[1:], strict=False)]


def paint(planes: Planes, covered: list[Rect], mosaics: Mosaics, black: tuple[int, ...]) -> None:
    """Cover the rectangles, in place. What is solid is solid also under and over a mosaic."""
    solid = [rect for rect in covered if rect.region.fill == "solid"]
    _fill(planes, solid, black)
    for rect in covered:
        if rect.region.fill != "solid" and rect.region.name not in mosaics.values:
            mosaics.values[rect.region.name] = mosaics.take(planes, rect)
    for rect in covered:
        if rect.region.fill != "solid":
            for (plane, span), rows in zip(planes, mosaics.values[rect.region.name], strict=True):
                for (top, bottom), row in zip(
                    _steps(rect.top, rect.bottom, len(rows), span), rows, strict=True
                ):
                    for (left, right), value in zip(
                        _steps(rect.left, rect.right, len(row), span), row, strict=True
                    ):
                        plane[top:bottom, left:right] = value
    _fill(planes, solid, black)


def _fill(planes: Planes, solid: list[Rect], black: tuple[int, ...]) -> None:
    for rect in solid:
        for (plane, span), value in zip(planes, black, strict=True):
            plane[rect.top // span : -(-rect.bottom // span), rect.left // span : -(-rect.right // span)] = (
                value
            )
