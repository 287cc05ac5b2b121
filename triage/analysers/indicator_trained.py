"""Indicators that were trained here on labelled pictures (`manage.py triage train-indicator`). Only those run that a person promoted."""

from typing import Any

from triage.analysers.base import About, Analyser, FrameBatch, Frames, Tag, Task, register
from triage.registry import TRAINED_INDICATOR, ModelEntry
from triage.runtimes.base import Runtime


@register
class IndicatorTrained(Analyser):
    """What pictures of the kind look like that it was trained on. What was measured of it goes with all that it says."""

    name, version, task = TRAINED_INDICATOR, 1, Task.INDICATOR
    takes = Frames(most=60)
    weights = TRAINED_INDICATOR
    needs = ("mobilenet-v1-embedding", "mobilenet-v2-imagenet", "yolo11n-int8-openvino")

    def __init__(self, entry: ModelEntry | None = None) -> None:
        super().__init__(entry)
        if entry:  # several may run: each is known by its own name
            self.name = entry.name

    @property
    def parameters(self) -> dict[str, str]:
        """The measured error, too."""
        return {**super().parameters, **{f"measured_{name}": said for name, said in self.model.measured}}

    def open(self, runtime: Runtime) -> None:
        """Load the classifier, and the networks whose vectors it looks at."""
        from triage import registry, trained_indicators

        self.classifier, _ = trained_indicators.read(runtime.copied(self.model) / self.model.files[0].name)
        self.nets = {name: runtime.load(registry.get(name)) for name in self.needs}
        self.least = float(self.thresholds["score"])
        self.begin(About("image"))

    def begin(self, item: About) -> None:
        """Forget the item before."""
        self.scores: list[float] = []

    def analyse(self, frames: FrameBatch) -> list[list[Tag]]:
        """Nothing of single frames: what they score is kept until the end."""
        for index in range(len(frames.pixels)):
            rows: dict[str, Any] = {name: net.of(frames, index).hidden for name, net in self.nets.items()}
            if all(row is not None for row in rows.values()):
                residuals = frames.once(index, "residuals", lambda i=index: _residuals(frames.pixels[i]))  # type: ignore[misc]
                self.scores.append(float(self.classifier.scores(_blocks(rows, residuals))[0]))
        return [[] for _ in frames.pixels]

    def end(self) -> list[Tag]:
        """The kind, from its threshold on, by the mean over the frames."""
        import numpy

        if not self.scores:
            return []
        chance = float(self.classifier.chances(numpy.array([numpy.mean(self.scores)]))[0])
        return [Tag(self.classes[0], chance)] if chance >= self.least else []


def _residuals(pixels: Any) -> Any:
    from triage import residuals

    return residuals.spam(pixels)


def _blocks(rows: dict[str, Any], residuals: Any) -> dict[str, Any]:
    from triage import indicator_model

    found = {name: indicator_model.unit(row.reshape(1, -1)) for name, row in rows.items()}
    return {**found, indicator_model.RESIDUALS: residuals.reshape(1, -1)}
