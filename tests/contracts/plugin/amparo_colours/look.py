"""The code behind amparo.toml. It is imported in the confined model process only."""

import numpy

from triage.analysers import Analyser, FrameBatch, Vector, WordsRefused
from triage.runtimes.base import Runtime

MOST = 12  # words


class Colours(Analyser):
    """Blue, green and red as directions."""

    known = ("blue", "green", "red")

    def open(self, runtime: Runtime) -> None:
        """There is nothing to load."""

    def analyse(self, frames: FrameBatch) -> list[list[Vector]]:
        """The mean colour of each frame; a black one has a little of every colour."""
        return [[Vector.of(pixels.reshape(-1, 3).mean(axis=0) + 1)] for pixels in frames.pixels]

    def words(self, text: str) -> Vector:
        """The sum of the colours that are named."""
        said = text.lower().split()
        named = numpy.array([sum(word == colour for word in said) for colour in self.known])
        if len(said) > MOST or not named.any():
            raise WordsRefused("no colour is named, or too much is said")
        return Vector.of(named)


class ArabicColours(Colours):
    """The same in Arabic."""

    known = ("أزرق", "أخضر", "أحمر")
