"""What is left of a picture when its content is taken away: how the light of neighbouring pixels differs.

First-order SPAM features (Pevny, Bas and Fridrich, *Steganalysis by Subtractive Pixel Adjacency Matrix*, IEEE TIFS 5(2), 2010): the
differences of neighbours along a direction, cut to -T..T, as a Markov chain; its transition probabilities, averaged over the four
straight and over the four diagonal directions. Kirchner and Fridrich (*On detection of median filtering in digital images*, 2010) read
traces of processing from the same numbers. Scaling and strong compression wipe them out.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

T = 4
WIDTH = 2 * (2 * T + 1) ** 2
SIDE = 1024  # pixels that are looked at each way, from the middle, as they are

_STRAIGHT = ((0, 1), (0, -1), (1, 0), (-1, 0))
_DIAGONAL = ((1, 1), (-1, -1), (1, -1), (-1, 1))


def spam(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """WIDTH transition probabilities of an 8-bit BGR picture's light. Of one without neighbours all are nothing."""
    middle = pixels[tuple(slice(max(0, (n - SIDE) // 2), (n + SIDE + 1) // 2) for n in pixels.shape[:2])]
    light = (middle.astype(np.float32) @ np.array([0.114, 0.587, 0.299], np.float32)).round().astype(np.int16)
    return np.concatenate(
        [np.mean([_chain(light, *way) for way in ways], axis=0).ravel() for ways in (_STRAIGHT, _DIAGONAL)]
    ).astype(np.float32)


def _chain(light: NDArray[np.int16], down: int, across: int) -> NDArray[np.float64]:
    """How probable a difference is after another, going one step at a time. Rows: the first of the two."""
    differs = np.clip(_from(light, 0, down, across) - _from(light, 1, down, across), -T, T) + T
    first, then = (_from(differs, n, down, across) for n in (0, 1))
    size = 2 * T + 1
    counted = np.bincount((first * size + then).ravel(), minlength=size * size).reshape(size, size)
    return np.asarray(counted / np.maximum(counted.sum(axis=1, keepdims=True), 1), np.float64)


def _from(grid: NDArray[Any], step: int, down: int, across: int) -> NDArray[Any]:
    """The grid as seen from each place (step 0) or from the next one (step 1), where both are in it."""
    return grid[_part(down, step, grid.shape[0]), _part(across, step, grid.shape[1])]


def _part(way: int, step: int, length: int) -> slice:
    if not way:
        return slice(None)
    ahead = (way > 0) == bool(step)
    return slice(1, None) if ahead else slice(0, max(0, length - 1))
