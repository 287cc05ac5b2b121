"""A sentence about a picture, by a captioner that an administrator mirrored, registered and promoted. It makes things up."""

from collections.abc import Mapping

from triage.analysers.base import Analyser, Caption, FrameBatch, Frames, Task, register
from triage.captions import MOST_TOKENS, Speech, Spelling
from triage.registry import CAPTIONER, ModelEntry
from triage.runtimes.base import Runtime

BROKEN_OFF = "…"


@register
class Captioner(Analyser):
    """What a picture shows, as a model would put it. Of a video, a few moments far apart."""

    name, version, task = CAPTIONER, 1, Task.CAPTION
    takes = Frames(most=4)
    weights = CAPTIONER

    def __init__(self, entry: ModelEntry | None = None) -> None:
        super().__init__(entry)
        if entry:  # several may run: each is known by its own name
            self.name = entry.name

    @property
    def parameters(self) -> dict[str, str]:
        """With the language that it writes, and how its words are chosen."""
        said = {"language": self.model.language, "decoding": "greedy", "tokens_at_most": str(MOST_TOKENS)}
        return {**super().parameters, **said}

    def library(self, versions: Mapping[str, str]) -> str:
        """OpenVINO, by its version."""
        return f"OpenVINO {versions.get('openvino', '')}".strip()

    def open(self, runtime: Runtime) -> None:
        """Load both networks, and what its tokens spell."""
        self.net = runtime.load(self.model)
        folder = runtime.copied(self.model)
        self.speech, self.spelling = Speech.of(folder), Spelling(folder)

    def analyse(self, frames: FrameBatch) -> list[list[Caption]]:
        """One sentence a frame; none where the model has nothing to say."""
        return [self._said(frames, index) for index in range(len(frames.pixels))]

    def _said(self, frames: FrameBatch, index: int) -> list[Caption]:
        import numpy

        told = self.net.of(frames, index).own
        tokens, chances = [int(token) for token in told[:, 0]], told[:, 1]
        text = self.spelling.read(tokens)
        if tokens[-1] not in self.speech.ends:
            text += BROKEN_OFF
        # the mean chance of its words (geometric), so that a long sentence is no less sure than a short one
        return [Caption(text, float(numpy.exp(numpy.log(chances).mean())))] if text else []
