"""What happens in a video, by a classifier that was trained on labelled clips and registered here. Spans, with confidence."""

from typing import Any

from triage.analysers.base import About, Analyser, FrameBatch, Frames, Span, Tag, Task, register
from triage.registry import TRAINED_CLIPS
from triage.runtimes.base import Runtime


@register
class ClipActivity(Analyser):
    """Activities over a sliding window of a video's looks."""

    name, version, task = "clip-activity", 1, Task.CLIP
    takes = Frames()
    weights = TRAINED_CLIPS
    needs = ("mobilenet-v1-embedding",)

    def open(self, runtime: Runtime) -> None:
        """Load the classifier, and the network whose features it looks at."""
        from triage import clips, registry, trained

        arrays, card = trained.read(runtime.copied(self.model) / self.model.files[0].name)
        self.classifier = clips.Classifier(arrays, card.ordinary_class)
        self.features = runtime.load(registry.get(trained.FEATURES))
        self.begin(About("image"))

    def begin(self, item: About) -> None:
        """Forget the clip before."""
        self.moves = item.kind == "video"
        self.at_ms: list[int] = []
        self.rows: list[Any] = []

    def analyse(self, frames: FrameBatch) -> list[list[Tag]]:
        """Nothing of single frames; what the network looks at is kept until the end."""
        for index in range(len(frames.pixels) if self.moves else 0):
            hidden = self.features.of(frames, index).hidden
            if hidden is not None:
                self.at_ms.append(frames.at_ms[index])
                self.rows.append(self.classifier.project(hidden.reshape(1, -1))[0])
        return [[] for _ in frames.pixels]

    def end(self) -> list[Span]:
        """Parts of the video in which a class has the upper hand; the ordinary one is not told."""
        import numpy

        if len(self.at_ms) < 2:
            return []
        return [
            Span(part.at_ms, part.until_ms, Tag(self.classes[part.label], part.score))
            for part in self.classifier.spans(self.at_ms, numpy.stack(self.rows))
            if part.label != self.classifier.ordinary
        ]
