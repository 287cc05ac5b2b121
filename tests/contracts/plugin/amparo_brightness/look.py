"""The code behind amparo.toml. It is imported in the confined model process only."""

from triage.analysers import Analyser, FrameBatch, Tag
from triage.runtimes.base import Runtime


class Brightness(Analyser):
    """What it is called and what it takes stands in amparo.toml."""

    def open(self, runtime: Runtime) -> None:
        """There is nothing to load."""

    def analyse(self, frames: FrameBatch) -> list[list[Tag]]:
        """One tag, where the mean is far enough from the middle."""
        found = []
        for pixels in frames.pixels:
            share = float(pixels.mean()) / 255
            label, score = ("bright", share) if share >= 0.5 else ("dark", 1 - share)
            found.append([Tag(label, score)] if score >= float(self.thresholds["score"]) else [])
        return found
